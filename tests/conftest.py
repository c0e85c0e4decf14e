"""What all tests share."""
import multiprocessing
import os
from multiprocessing import forkserver
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis
import pytest

from lab import chromium
from sotalearn.datasets import DATASETS, dataset_folder


def pytest_addoption(parser):
    parser.addoption('--thorough', action='store_true',
                     help='what takes minutes, too: thousands of examples and of damaged files, killed processes, full disks')


def pytest_configure(config):
    "A fastai folder for these tests alone, of which nothing is left afterwards; the user's datasets can be read there."
    config.addinivalue_line('markers', 'thorough: takes long; runs with --thorough alone')
    for name, examples in (('quick', 200), ('thorough', 10_000)):
        hypothesis.settings.register_profile(name, max_examples=examples, deadline=None, derandomize=name == 'quick',
                                             database=None, suppress_health_check=list(hypothesis.HealthCheck))
    hypothesis.settings.load_profile('thorough' if config.getoption('--thorough') else 'quick')
    if hasattr(config, 'workerinput'): return                   # the process that started this one has made it
    home = TemporaryDirectory(prefix='sotalearn-tests-')
    config.add_cleanup(home.cleanup)
    data = Path(home.name)/'data'
    data.mkdir()
    for folder in map(dataset_folder, DATASETS[1:]):
        if folder.is_dir(): (data/folder.name).symlink_to(folder.resolve())
    os.environ['FASTAI_HOME'] = home.name
    os.environ['LANGUAGE'] = 'en'                               # whatever this machine speaks


# What takes longest begins first, so that no core waits for the other in the end.
LONGEST = ('docs', 'chapters', 'demo_browser', 'demo', 'side_by_side', 'checkpoints', 'lab', 'distributed', 'questionnaire',
           'robust', 'questionnaire_browser', 'languages', 'repository')


def pytest_collection_modifyitems(config, items):
    if not config.getoption('--thorough'):
        slow = [item for item in items if item.get_closest_marker('thorough')]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]
    order = {f'test_{name}.py': place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    "With several cores: the tests of a file share its fixtures and stay together; a chapter is work enough for itself."
    from xdist.scheduler import LoadScopeScheduling

    class ByFileAndChapter(LoadScopeScheduling):
        def _split_scope(self, nodeid): return nodeid if 'test_chapters.py' in nodeid else nodeid.split('::')[0]

    config.option.loadscopereorder = False                      # it would leave the chapters, one test each, to the end
    return ByFileAndChapter(config, log)


@pytest.fixture(scope='session')
def forks():
    """Starts processes that have fastai already, one thread and matplotlib as a kernel has it.

    Importing fastai anew costs each process six seconds."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['sotalearn.training', 'sotalearn.resizing', 'ipykernel.kernelapp'])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('OMP_NUM_THREADS', '1')
        patch.setenv('MPLBACKEND', 'module://matplotlib_inline.backend_inline')
        forkserver.ensure_running()
    return context


@pytest.fixture(scope='session')
def toynette_of(tmp_path_factory):
    "The folder with a Toynette of so many pictures a class, made once a process: a test that changes one copies it."
    from sotalearn.toynette import make_toynette
    folder = tmp_path_factory.mktemp('toynettes')

    def made(train, val): return make_toynette(folder/f'{train}-{val}', train, val, show_progress=False)
    return made


@pytest.fixture(scope='module')
def learn(tmp_path_factory):
    "A learner of two classes that never learned: what it says is arbitrary, but always the same."
    import numpy as np
    import torch
    from fastai.vision.all import CrossEntropyLossFlat, Learner
    from PIL import Image
    from torch import nn
    from sotalearn.data import get_dls
    folder, rng = tmp_path_factory.mktemp('noise'), np.random.default_rng(0)
    for split, count in (('train', 4), ('val', 9)):
        for label in ('a', 'b'):
            (folder/split/label).mkdir(parents=True)
            for i in range(count):
                shape = (40, 60, 3) if i % 2 else (50, 40, 3)
                picture = Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8))
                picture.save(folder/split/label/f'{i}.png')
    dls = get_dls(4, 16, folder, num_workers=0)
    torch.manual_seed(0)
    body = nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    learn = Learner(dls, nn.Sequential(*body, nn.Linear(8, 2)), loss_func=CrossEntropyLossFlat())
    with learn.no_bar(): yield learn


@pytest.fixture(scope='module')
def measured(learn):
    "What it says of 8 augmented views."
    from sotalearn.tta import measure_views
    return measure_views(learn, 8)


@pytest.fixture(scope='module')
def browser():
    "A headless Chromium."
    with chromium() as browser: yield browser


@pytest.fixture
def no_loaders(monkeypatch):
    "A process loads its pictures itself: starting others for a few takes longer than all the rest."
    from fastai.torch_core import defaults
    monkeypatch.setattr(defaults, 'cpus', 0)


@pytest.fixture
def no_environment(monkeypatch):
    "Settings from files and arguments only."
    for name in list(os.environ):
        if name.startswith('SOTALEARN_'): monkeypatch.delenv(name)
