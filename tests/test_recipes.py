"""Recipes and the table of runs: no row is lost, what is no table is left alone, whoever saved it."""
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from sotalearn import recipes
from sotalearn.datasets import SPLITS
from sotalearn.recipes import (COLUMNS, MEASURED, Recipe, append_run, course_table, measured_runs, own_table,
                               read_runs)


def test_many_processes_append_without_losing_a_row(tmp_path):
    table = tmp_path/'runs.csv'
    code = ('import sys; from sotalearn.recipes import append_run\n'
            f'for i in range(10): append_run(dict(seed=int(sys.argv[1])*100 + i, arch="a, \\"b\\"\\nc"), {str(table)!r})')
    processes = [subprocess.Popen([sys.executable, '-c', code, str(k)]) for k in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert sorted(read_runs(table).seed) == sorted(k*100 + i for k in range(2) for i in range(10))


def test_a_table_that_excel_saved_goes_on(tmp_path):
    table = tmp_path/'runs.csv'
    table.write_text('dataset,seed,note\ntoynette,1,"first line\nsecond\u2028line"\n', encoding='utf-8-sig')
    append_run(dict(dataset='toynette', seed=2), table)
    runs = read_runs(table)
    assert list(runs.columns) == ['dataset', 'seed', 'note'] and list(runs.seed) == [1, 2]
    assert runs.note[0] == 'first line\nsecond\u2028line'
    (tmp_path/'empty.csv').touch()
    assert read_runs(tmp_path/'empty.csv').empty


@pytest.mark.parametrize('name, content', [
    ('notes.md', b'# My notes\nMixup, "as is", helped.\n'), ('latin.csv', 'seed,note\n1,caf\xe9\n'.encode('latin-1')),
    ('mark.csv', b'\xef\xbb\xbf')])
def test_what_is_no_table_is_refused_and_left_alone(tmp_path, name, content):
    file = tmp_path/name
    file.write_bytes(content)
    for use in (lambda: append_run(dict(seed=2), file), lambda: own_table(file)):
        with pytest.raises(ValueError, match='results must be a results table in UTF-8'): use()
    assert file.read_bytes() == content
    with pytest.raises(ValueError, match='got the folder'): own_table(tmp_path)


def test_the_installed_table_is_not_written_to(tmp_path, monkeypatch):
    package = tmp_path/'sotalearn'
    table = package/'results'/'runs.csv'
    table.parent.mkdir(parents=True)
    table.write_text('seed\n1\n')
    monkeypatch.setattr(recipes.sotalearn, '__file__', str(package/'__init__.py'))
    monkeypatch.setattr(recipes, 'course_table', lambda: table)
    with pytest.raises(ValueError, match="results must be a table of your own, got .*, the course's"): own_table(table)


def test_an_older_table_is_widened_and_keeps_its_rows_and_columns(tmp_path):
    table = tmp_path/'runs.csv'
    table.write_text('seed,mine\n1,"a, b"\n')
    append_run(dict(seed=2, accuracy=.5), table)
    runs = read_runs(table)
    assert list(runs.columns) == ['seed', 'mine', 'accuracy']
    assert list(runs.seed) == [1, 2] and runs.mine[0] == 'a, b' and pd.isna(runs.accuracy[0])


def test_a_table_that_was_never_written_is_empty(tmp_path):
    runs = read_runs(tmp_path/'none.csv')
    assert len(runs) == 0 and list(runs.columns) == list(COLUMNS)


def test_recipes_hold_what_a_table_can_find_again():
    assert type(Recipe(lr=np.float32(.5)).lr) is float and type(Recipe(size=np.int64(64)).size) is int


def test_the_measured_runs_are_whole():
    runs = read_runs(course_table())
    assert set(COLUMNS) <= set(runs.columns)
    dated = ('accuracy', 'train_loss', 'valid_loss', 'seconds', 'n_train', 'n_val', 'device', 'versions', 'date')
    assert runs[list(dated)].notna().all().all()
    named = runs[runs.split != '']
    assert set(named.split) <= set(SPLITS.values()) and named[list(MEASURED)].notna().all().all()
    assert not named.duplicated([*asdict(Recipe())]).any()
    for normalize in (True, False): assert set(measured_runs(normalize=normalize).seed) == {1, 2, 3, 4, 5}
    assert (measured_runs().n_train == 9469).all() and (measured_runs().n_val == 3925).all()
