__version__ = "0.1.0"

import sys, warnings

# fastai 2.8 calls torch.jit.script, which torch 2.15 calls deprecated; a learner can do nothing about it.
warnings.filterwarnings('ignore', message='.*torch.jit.script.*')
# Nor about a sign in the name of a class that no font has: matplotlib draws a box.
warnings.filterwarnings('ignore', message=r'Glyph \d+ .* missing from')

if 'IPython' in sys.modules:        # then `blend?` shows what stands beside each parameter,
    from .languages import speak_tables
    from .signatures import show_comments
    from .settings import reader_language
    show_comments()
    speak_tables()                  # a table is shown in the learner's language,
    if reader_language() == 'zh':   # and an error is told in it
        from .catalogue import show_errors
        show_errors()
