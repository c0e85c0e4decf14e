"""What is committed is what it should be: exported, clean, fit to be published, and true to the measured runs."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sotalearn import __version__
from sotalearn.settings import settings_text

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT/'docs'))
from problems import problems  # noqa: E402: docs/ is no package
NOTEBOOKS = sorted(o for o in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in o.parts)


def tool(name):
    "A command that was installed beside this Python."
    return Path(sys.executable).parent/name


@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    "The parts of the repository that nbdev reads and writes, in another place."
    folder = tmp_path_factory.mktemp('repository')
    for name in ('nbs', 'sotalearn'):
        shutil.copytree(ROOT/name, folder/name, ignore=shutil.ignore_patterns('.ipynb_checkpoints', '__pycache__', '.last_checked'))
    for name in ('pyproject.toml', 'README.md'): shutil.copy(ROOT/name, folder/name)
    return folder


def differences(folder, name):
    "Files below `name` that differ between the repository and `folder`."
    def read(root):
        files = (o for o in (root/name).rglob('*') if o.is_file() and not {'.ipynb_checkpoints', '__pycache__'} & set(o.parts))
        return {o.relative_to(root).as_posix(): o.read_bytes() for o in files if o.name != '.last_checked'}
    ours, theirs = read(ROOT), read(folder)
    return sorted(o for o in ours.keys() | theirs.keys() if ours.get(o) != theirs.get(o))


def nbdev(command, folder):
    "Run one of nbdev's commands in `folder`."
    environment = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}    # nbdev-export does nothing under IN_TEST
    subprocess.run([tool(command)], cwd=folder, env=environment, check=True, capture_output=True, timeout=120)


def test_export_leaves_no_difference(copy):
    nbdev('nbdev-export', copy)
    assert differences(copy, 'sotalearn') == []


def test_clean_leaves_no_difference(copy):
    nbdev('nbdev-clean', copy)
    assert differences(copy, 'nbs') == []


def test_export_would_notice_an_edited_module(copy):
    module = copy/'sotalearn'/'mixup.py'
    module.write_text(module.read_text() + '\nx = 1\n')
    assert differences(copy, 'sotalearn') == ['sotalearn/mixup.py']
    nbdev('nbdev-export', copy)
    assert differences(copy, 'sotalearn') == []


def test_a_line_of_the_library_can_be_read_without_scrolling():
    modules = [path for path in (ROOT/'sotalearn').rglob('*.py') if path.name != '_modidx.py']
    assert len(modules) > 40
    for path in modules:
        text = re.sub(r'^__all__ = .*?\]$', '', path.read_text(encoding='utf-8'), flags=re.M | re.S)     # nbdev's own line
        assert [line for line in text.split('\n') if len(line) > 120] == [], path


def test_settings_ini_is_what_the_course_writes():
    assert (ROOT/'settings.ini').read_text(encoding='utf-8') == settings_text('en')


def test_the_changelog_begins_with_this_version():
    told = re.findall(r'^## (.+)$', (ROOT/'CHANGELOG.md').read_text(encoding='utf-8'), flags=re.M)[0]
    assert re.fullmatch(rf'{re.escape(__version__)} · (unreleased|\d{{4}}-\d\d-\d\d)', told)


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: f'{path.parent.name}-{path.stem}')
def test_every_notebook_is_fit_to_be_a_page(path):
    "Both languages, clean outputs that need no kernel, words for every picture: what docs/problems.py tells."
    assert problems(path) == []


def test_nothing_names_a_registry_or_this_machine():
    files = subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True).stdout.split('\n')
    if files == ['']: pytest.skip('not a git clone')
    for name in filter(None, files):
        path = ROOT/name
        if path.suffix in ('.ipynb', '.png', '.webp', '.jpg', '.svg') or path.name == 'test_repository.py' or not path.is_file(): continue
        text = path.read_text(encoding='utf-8', errors='replace')
        assert not re.search(r'pypi\.org|registry\.npmjs|files\.pythonhosted|(?<![\w.:/])/(?:root|work)/', text), name



