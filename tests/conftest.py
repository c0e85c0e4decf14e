"""What all tests share."""
import os

import pytest


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
