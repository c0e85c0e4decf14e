"""The command as a process, and a training that is started by it."""
import importlib
import io
import math
import os
import subprocess
import sys
import tomllib
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from sotalearn import bookkeeping
from sotalearn.recipes import COLUMNS, Recipe, append_run, read_runs
from sotalearn.school import cli
from sotalearn.school.cli import main

ROOT = Path(__file__).parent.parent


def test_the_installed_command_is_this_one():
    scripts = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['project']['scripts']
    module, name = scripts['sotalearn'].split(':')
    assert getattr(importlib.import_module(module), name) is main


MISTAKES = {                    # command line: the nearest name that is offered, if there is one
    'train --size 0': '', 'compare --seeds 1;2': '', 'compare --jobs some': '', 'train --processes 0': '',
    'train --epochs five': '', 'trian': 'train', 'train --epocs 3': '--epochs', 'compare --sheduler x': '--scheduler',
    'train --arch xresnet19': 'xresnet18', 'train --arch torchvision/resnet81': 'resnet18',
    'compare --arch torchvision/resnet81': 'resnet18', 'train --dataset imagenete-160': 'imagenette-160',
    'compare --dataset toynete': 'toynette', 'data toynete': 'toynette', 'train --splitter folder': 'folders',
    'compare --recipes mixpu': 'mixup', 'results --technique smothing': 'smoothing',
    'results --sort acuracy': 'accuracy', 'results --columns seed,epoch': 'epochs', 'lab --lang zn': ''}


def test_help_and_mistakes_do_not_wait_for_fastai(tmp_path):
    "All in one process: starting one for each would be most of the time."
    code = ('import sys; from sotalearn.school.cli import main\n'
            'for line in sys.argv[1:]:\n'
            '    try: status = main(line.split())\n'
            '    except SystemExit as stopped: status = stopped.code\n'
            '    print("status", status, file=sys.stderr)\n'
            'assert not {"fastai", "torch", "pandas", "scipy", "matplotlib", "nbformat", "joblib"} & set(sys.modules)')
    done = subprocess.run([sys.executable, '-c', code, '--help', 'compare --help', *MISTAKES], cwd=tmp_path, check=True,
                          capture_output=True, text=True, timeout=60)
    said = done.stderr.splitlines()
    assert said[:2] == ['status 0', 'status 0'] and len(said) == 2 + 2*len(MISTAKES)
    for (line, nearest), told, status in zip(MISTAKES.items(), said[2::2], said[3::2]):
        assert status == 'status 2' and told.startswith('sotalearn: '), line
        assert (f'(did you mean {nearest}?)' in told.replace("'", '')) == bool(nearest), (line, told)


def record(recipe, table, **measured):
    append_run({**asdict(recipe), 'accuracy': .5, 'accuracy_tta': '', 'date': '2026-01-02T03:04:05', **measured}, table)


@pytest.fixture
def measured(tmp_path, monkeypatch, no_environment):
    "A course's table with one row and a learner's with three."
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, 'course_table', lambda: tmp_path/'course.csv')
    base = Recipe(dataset='toynette', size=32)
    record(base, tmp_path/'course.csv', accuracy=.9, date='2026-01-01T00:00:00')
    for seed, accuracy in ((1, .5), (2, .7)): record(replace(base, mixup=.4, seed=seed), None, accuracy=accuracy)
    record(replace(base, smoothing=.1, tta=4, seed=3), None, accuracy=.4, accuracy_tta=.6, date='2026-02-01T00:00:00')
    return base


def rows(capsys, *words):
    "The first column of what `sotalearn results` prints."
    assert main(['results', *words]) == 0
    return [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]


def test_what_was_measured_is_listed_filtered_and_sorted(measured, capsys):
    assert rows(capsys) == ['c1', '1', '2', '3']
    assert rows(capsys, '--technique', 'mixup') == ['1', '2'] and rows(capsys, '--mixup', '0.4') == ['1', '2']
    assert rows(capsys, '--technique', 'smoothing') == ['3'] and rows(capsys, '--seed', '2') == ['2']
    assert rows(capsys, '--sort', 'accuracy') == ['3', '1', '2', 'c1']
    assert rows(capsys, '--sort', 'accuracy', '--reverse', '--columns', 'seed,accuracy') == ['c1', '2', '1', '3']
    assert main(['results', '--technique', 'cutmix']) == 2
    assert capsys.readouterr().err == 'sotalearn: no run like that was measured yet\n'


def test_recipes_are_compared_over_their_seeds(measured, capsys):
    assert main(['results', '--technique', 'mixup', '--compare', '--csv']) == 0
    head, values = (line.split(',') for line in capsys.readouterr().out.splitlines())
    found = dict(zip(head, values))
    assert (found['technique'], found['seeds'], found['accuracy']) == ('mixup', '2', '60.0')
    assert float(found['low']) < 50


def test_a_run_made_again_is_no_other_seed(measured, capsys):
    for accuracy in (.6, .8): record(replace(measured, mixup=.4, seed=2), None, accuracy=accuracy)
    assert main(['results', '--technique', 'mixup', '--compare', '--csv', '--columns', 'seeds,accuracy,low']) == 0
    seeds, accuracy, low = capsys.readouterr().out.splitlines()[1].split(',')
    assert (seeds, accuracy) == ('2', '65.0') and float(low) < 0                # of .5 and .8, the newest of seed 2


@pytest.mark.parametrize('words', [['train', '--like', ''], ['results', '--sort', ''], ['results', '--columns', ''],
                                   ['results', '--technique', ''], ['lab', '--dir', '']])
def test_a_variable_that_was_not_set_is_no_wish_for_the_default(measured, words, capsys):
    assert main(words) == 2 and "got ''" in capsys.readouterr().err


def test_a_run_that_diverged_does_not_spoil_the_table(measured, capsys):
    record(replace(measured, seed=4), None, accuracy=.1, valid_loss=math.nan)
    record(replace(measured, seed=5), None, accuracy=.2, valid_loss=2.)
    assert read_runs().valid_loss.mean() == 2 and rows(capsys, '--sort', 'valid_loss')[0] == '5'


def test_a_table_of_recipes_is_sorted_and_has_the_columns_asked_for(measured, capsys):
    assert rows(capsys, '--compare', '--columns', 'accuracy', '--sort', 'accuracy') == ['40.0', '60.0', '90.0']
    for words in (['--sort', 'low'], ['--compare', '--sort', 'seconds'], ['--compare', '--columns', 'seconds']):
        assert main(['results', *words]) == 2 and 'must be one of' in capsys.readouterr().err


def test_runs_are_found_by_the_folder_of_their_dataset(measured, tmp_path, monkeypatch, capsys):
    (tmp_path/'mine').mkdir()
    record(Recipe(dataset=str(tmp_path/'mine')), None)
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path))                # no photographs there: 'auto' is Toynette
    assert rows(capsys, '--dataset', 'mine') == rows(capsys, '--dataset', str(tmp_path/'mine')) == ['4']
    assert rows(capsys, '--dataset', 'auto') == ['c1', '1', '2', '3']


def test_only_the_recipes_asked_for_have_limits(measured, capsys):
    assert main(['compare', '--recipes', 'baseline,tta', '--seeds', '1', '--size', '8', '--dataset', 'toynette',
                 '--missing']) == 0
    assert '1 runs are missing' in capsys.readouterr().out


def test_all_columns_go_into_a_pipe(measured, capsys):
    assert main(['results', '--csv']) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert list(table.columns) == ['row', *COLUMNS, 'technique'] and table.row.tolist() == ['c1', '1', '2', '3']


def test_a_reader_that_has_seen_enough_is_no_mistake(measured, monkeypatch, capfd):
    "As `sotalearn results | head -1`."
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, 'w') as pipe:
        monkeypatch.setattr(sys, 'stdout', pipe)
        assert main(['results']) == 0
    assert capfd.readouterr().err == ''


def test_a_row_is_run_again(measured, monkeypatch, capsys):
    asked = []

    def run(recipe, **how):
        asked.append((recipe, how))
        return SimpleNamespace(result=dict(accuracy=.5))
    monkeypatch.setattr(bookkeeping, 'run', run)
    assert main(['train', '--like', '2', '--resume']) == 0
    assert asked.pop() == (replace(measured, mixup=.4, seed=2, bf16=False), dict(resume=True, plain=False))
    assert main(['train', '--like', 'c1', '--plain', '--seed', '5', '--size', '16']) == 0
    assert asked.pop() == (replace(measured, seed=5, size=16, bf16=False), dict(resume=False, plain=True))
    assert main(['train', '--like', '2026-02']) == 0 and asked.pop()[0].smoothing == .1
    capsys.readouterr()
    for wanted, told in (('4', "(c1 … 3) or the date of one, got '4'"),
                         ('2026-01-02', 'of which there are 2: rows 1, 2')):
        assert main(['train', '--like', wanted]) == 2 and told in capsys.readouterr().err
    assert not asked


def test_a_recipe_with_stages_is_trained_and_its_row_printed(toynette_of, tmp_path, monkeypatch, no_environment,
                                                             capsys):
    monkeypatch.chdir(tmp_path)
    small = str(toynette_of(2, 1))
    words = ['train', '--dataset', small, '--stages', '1x16', '--size', '32', '--epochs', '1', '--bs', '10']
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert '\r' not in printed and 'epoch  train_loss  valid_loss  accuracy  time' in printed
    shown = dict(line.split(maxsplit=1) for line in printed.splitlines() if len(line.split()) > 1)
    assert (shown['stages'], shown['size'], shown['n_train']) == ('1x16', '32', '20')
    run, = read_runs(tmp_path/'results'/'runs.csv').to_dict('records')
    assert run['stages'] == '1x16' and 0 <= run['accuracy'] <= 1 and run['ece'] >= 0
