"""The command as a process, and a training that is started by it."""
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sotalearn.recipes import read_runs
from sotalearn.school.cli import main
from sotalearn.toynette import make_toynette

ROOT = Path(__file__).parent.parent


def test_the_installed_command_is_this_one():
    scripts = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['project']['scripts']
    module, name = scripts['sotalearn'].split(':')
    assert getattr(importlib.import_module(module), name) is main


@pytest.mark.parametrize('words', [('--help',), ('compare', '--help'), ('train', '--size', '0'),
                                   ('compare', '--recipes', 'mixpu'), ('compare', '--seeds', '1;2')])
def test_help_and_mistakes_do_not_wait_for_fastai(tmp_path, words):
    code = ('import sys; from sotalearn.school.cli import main\n'
            'try: main(sys.argv[1:])\n'
            'except SystemExit: pass\n'
            'assert not {"fastai", "torch", "pandas", "scipy", "matplotlib", "nbformat"} & set(sys.modules)')
    subprocess.run([sys.executable, '-c', code, *words], cwd=tmp_path, check=True, capture_output=True, timeout=60)


def test_a_recipe_with_stages_is_trained_and_its_row_printed(tmp_path, monkeypatch, no_environment, capsys):
    monkeypatch.chdir(tmp_path)
    small = make_toynette(tmp_path/'small', train=2, val=1, show_progress=False)
    words = ['train', '--dataset', str(small), '--stages', '1x16', '--size', '32', '--epochs', '1', '--bs', '10']
    assert main(words) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if len(line.split()) > 1)
    assert (shown['stages'], shown['size'], shown['n_train']) == ('1x16', '32', '20')
    run, = read_runs(tmp_path/'results'/'runs.csv').to_dict('records')
    assert run['stages'] == '1x16' and 0 <= run['accuracy'] <= 1 and run['ece'] >= 0
