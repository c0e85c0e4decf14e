__version__ = "0.1.0"

import sys, warnings

# fastai 2.8 calls torch.jit.script, which torch 2.15 calls deprecated; a learner can do nothing about it.
warnings.filterwarnings('ignore', message='.*torch.jit.script.*')

if 'IPython' in sys.modules:        # then `blend?` shows what stands beside each parameter
    from .signatures import show_comments
    show_comments()
