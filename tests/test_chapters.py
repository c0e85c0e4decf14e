"""Every chapter runs from the first cell to the last as a learner has it, with its hidden checks beside it.

So `make test` runs a chapter once, not once for its cells and once more for the learner's copy.
"""
import multiprocessing
import os
import re
import time

import nbformat
import pytest
from nbclient import NotebookClient

from part import part_of_toynette
from sotalearn.school.copy import chapters, in_language
from sotalearn.settings import settings_text

SMALL = dict(SOTALEARN_DATASET='toynette', SOTALEARN_EPOCHS='1', SOTALEARN_SIZE='32', SOTALEARN_TRAIN_IMAGES='200',
             OMP_NUM_THREADS='1')
TRAINING = ('01', '02', '03', '05', '06', '07', '08')            # chapters that train as the settings say
# A learner has no hidden cells: what they define is seen by other hidden cells alone.
ASIDE = '''
def run_aside(source, known={}):
    here = globals()
    scope = dict(here) | {name: value for name, (value, beneath) in known.items() if here.get(name) is beneath}
    exec(compile(source, 'a hidden cell', 'exec'), scope)
    known.update({name: (value, here.get(name)) for name, value in scope.items() if here.get(name) is not value})
'''


def with_checks(path, language):
    "The learner's copy of a chapter with the hidden cells in their places."
    nb = nbformat.read(path, as_version=4)
    for cell in nb.cells:
        if re.search(r'^#\| *hide$', cell.source, flags=re.M): cell.source = f'run_aside({cell.source!r})'
    nb.cells.insert(0, nbformat.v4.new_code_cell(ASIDE))
    return in_language(nb, language)


def shown(nb):
    "What the outputs show in one language or the other, as HTML."
    told = [output.get('data', {}).get('text/html', '') for cell in nb.cells for output in cell.get('outputs', [])]
    return [text for text in told if 'lang=' in text]


def be_a_kernel(words, environment, folder):
    "What a process of its own does: what `python -m ipykernel_launcher` does, in a session of its own."
    os.setsid()
    os.environ.clear()
    os.environ.update(environment, JPY_PARENT_PID=str(os.getppid()))
    os.chdir(folder)
    multiprocessing.set_start_method('fork', force=True)        # for the loader's processes, as in any other kernel
    from fastai.torch_core import defaults
    defaults.cpus = 1                                           # loads for it: the other core has a test of its own
    from ipykernel.kernelapp import launch_new_instance
    launch_new_instance(words)


class Kernel:
    "A kernel that has fastai already, with what jupyter_client asks of a `subprocess.Popen`."
    stdin = stdout = stderr = None

    def __init__(self, forks, command, env, cwd):
        self.process = forks.Process(target=be_a_kernel, args=(command[command.index('-f'):], dict(env), cwd))
        self.process.start()
        self.pid = self.process.pid
        while self.poll() is None and os.getpgid(self.pid) != self.pid: time.sleep(.01)     # a signal is for it alone

    def poll(self): return self.process.exitcode

    returncode = property(poll)

    def wait(self, timeout=None):
        self.process.join(timeout)
        return self.poll()

    def send_signal(self, number): os.kill(self.pid, number)
    def terminate(self): self.process.terminate()
    def kill(self): self.process.kill()


@pytest.fixture(scope='module')
def fewer(tmp_path_factory):
    "A fastai folder with a part of Toynette."
    home = tmp_path_factory.mktemp('fastai')
    part_of_toynette(home/'data')
    return home


@pytest.mark.timeout(600)
@pytest.mark.parametrize('path', chapters(), ids=lambda path: path.stem)
def test_a_chapter_runs_in_chinese(tmp_path, monkeypatch, forks, fewer, path):
    monkeypatch.setattr('jupyter_client.provisioning.local_provisioner.launch_kernel',
                        lambda command, env, cwd, **how: Kernel(forks, command, env, cwd))
    for variable, value in dict(SMALL, FASTAI_HOME=str(fewer)).items(): monkeypatch.setenv(variable, value)
    monkeypatch.delenv('DEMO_LANGUAGES', raising=False)         # for notebooks that are stored in both languages
    (tmp_path/'settings.ini').write_text(settings_text('zh'), encoding='utf-8')
    nb = with_checks(path, 'zh')
    NotebookClient(nb, timeout=500, kernel_name='python3', resources=dict(metadata=dict(path=str(tmp_path)))).execute()
    still, live = ([text for text in shown(nb) if text.startswith(tag)] for tag in ('<img', '<div'))
    demos = [text for text in live if 'class="sotalearn-demo"' in text]
    fields = [text for text in live if 'class="sotalearn-guess"' in text]
    answers = [text for text in live if text not in demos + fields]      # exercises and what they say
    assert still or live
    assert all('<img lang="zh" alt=' in text and 'lang="en"' not in text for text in still)
    assert all(text.startswith('<div lang="zh" class="sotalearn-demo">') for text in demos)
    assert all('<div lang="zh" class="sotalearn-guess"' in text and 'lang="en"' not in text for text in fields)
    assert all(text.startswith('<div lang="en" hidden ') and '<div lang="zh" ' in text for text in answers)
    assert (tmp_path/'results'/'runs.csv').exists() == path.name.startswith(TRAINING)


def test_hidden_cells_share_nothing_with_what_a_learner_runs():
    learner = {}
    exec(ASIDE + 'x = 1', learner)
    learner['run_aside']('y = x + 1')
    assert 'y' not in learner
    learner['run_aside']('assert y == 2 and x == 1')
    learner['y'] = 5                                        # a later cell of the chapter's wins
    learner['run_aside']('assert y == 5')
