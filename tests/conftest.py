"""What all tests share."""
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sotalearn.datasets import DATASETS, dataset_folder


def pytest_configure(config):
    "A fastai folder for these tests alone, of which nothing is left afterwards; the user's datasets can be read there."
    if hasattr(config, 'workerinput'): return                   # the process that started this one has made it
    home = TemporaryDirectory(prefix='sotalearn-tests-')
    config.add_cleanup(home.cleanup)
    data = Path(home.name)/'data'
    data.mkdir()
    for folder in map(dataset_folder, DATASETS[1:]):
        if folder.is_dir(): (data/folder.name).symlink_to(folder.resolve())
    os.environ['FASTAI_HOME'] = home.name


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    "With several cores: the tests of a file share its fixtures and stay together; a chapter is work enough for itself."
    from xdist.scheduler import LoadScopeScheduling

    class ByFileAndChapter(LoadScopeScheduling):
        def _split_scope(self, nodeid): return nodeid if 'test_chapters.py' in nodeid else nodeid.split('::')[0]

    return ByFileAndChapter(config, log)


@pytest.fixture
def no_environment(monkeypatch):
    "Settings from files and arguments only."
    for name in list(os.environ):
        if name.startswith('SOTALEARN_'): monkeypatch.delenv(name)
