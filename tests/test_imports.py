"""What a learner need not wait for: a room imports no more than its idea needs."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

CHAPTER = Path(__file__).parent.parent/'nbs'/'03_normalization.ipynb'
TO_THE_LIVE_FIGURE = f'''import json, os
from IPython.core.interactiveshell import InteractiveShell
cells = json.load(open({str(CHAPTER)!r}, encoding='utf-8'))['cells']
sources = [''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code']
last = next(i for i, source in enumerate(sources) if 'normalization_demo()' in source)
shell, sys.stdout = InteractiveShell.instance(), open(os.devnull, 'w')
for source in sources[:last + 1]: shell.run_cell(source).raise_error()
assert 'matplotlib' in sys.modules'''
SLOW = 'fastai matplotlib pandas IPython torchvision sotalearn.data'
# what is run → what it must not have imported, without torch and with it
WITHOUT_TORCH = {
    'import sotalearn': f'torch {SLOW}',
    'import sotalearn.toynette.make': f'numpy PIL torch {SLOW}',
    'import sotalearn.school.questionnaire': f'torch {SLOW}'}
WITH_TORCH = {
    'from sotalearn.normalization import channel_stats': SLOW,
    'from sotalearn import mixup, smoothing': f'scipy {SLOW}',
    'from sotalearn import mixup; mixup.weight_facts()': f'scipy.stats {SLOW}',
    'from sotalearn.tta import average_views': SLOW,
    'from sotalearn.resizing import fit_cost, schedule_seconds': f'scipy {SLOW}',
    'import sotalearn.models': SLOW,
    TO_THE_LIVE_FIGURE: 'fastai fastbook pandas torchvision sotalearn.data'}
# Each in a process of its own, which has torch from the one that it was forked from: importing it would be most of the time.
PROGRAM = '''
import json, os, sys
def run(code):
    child = os.fork()
    if child: return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said, status = sys.stdout, 1
    try:
        exec(code, dict(sys=sys))
        print(json.dumps([code, list(sys.modules)]), file=said, flush=True)
        status = 0
    except BaseException: sys.excepthook(*sys.exc_info())
    finally: os._exit(status)
without_torch, with_torch = json.loads(sys.argv[1])
failed = [*map(run, without_torch)]
import torch
sys.exit(any(failed + [*map(run, with_torch)]))
'''


@pytest.fixture(scope='module')
def imported():
    "{what was run: the modules that were there afterwards}."
    words = json.dumps([list(WITHOUT_TORCH), list(WITH_TORCH)])
    done = subprocess.run([sys.executable, '-c', PROGRAM, words], capture_output=True, text=True, timeout=120)
    assert not done.returncode, done.stderr
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.parametrize('code, unwanted', {**WITHOUT_TORCH, **WITH_TORCH}.items(), ids=lambda words: words[:50])
def test_a_room_imports_no_more_than_it_needs(imported, code, unwanted):
    assert not set(unwanted.split()) & set(imported[code])
    assert ('torch' in imported[code]) == (code in WITH_TORCH)
