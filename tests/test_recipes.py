"""Recipes and the table of runs: no row is lost, what is no table is left alone, whoever saved it."""
import csv
import io
import subprocess
import sys
from dataclasses import asdict, fields

import numpy as np
import pandas as pd
import pytest

from sotalearn.datasets import SPLITS
from sotalearn.recipes import (COLUMNS, MEASURED, Recipe, append_run, course_table, measured_runs, own_table,
                               read_runs, recipe_of)


def test_many_processes_append_without_losing_a_row(tmp_path):
    table = tmp_path/'runs.csv'
    code = ('import sys; from sotalearn.recipes import append_run\n'
            f'for i in range(10): append_run(dict(seed=int(sys.argv[1])*100 + i, arch="a, \\"b\\"\\nc"), {str(table)!r})')
    processes = [subprocess.Popen([sys.executable, '-c', code, str(k)]) for k in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert sorted(read_runs(table).seed) == sorted(k*100 + i for k in range(2) for i in range(10))


# The columns of the oldest tables, and a run in one.
FIRST = ('dataset,arch,size,epochs,bs,lr,normalize,splitter,mixup,smoothing,tta,train_images,seed,accuracy,accuracy_tta,'
         'train_loss,valid_loss,seconds,images_per_second,n_train,n_val,device,versions,commit,date')
FIRST_ROW = 'toynette,xresnet18,32,1,64,0.003,True,folders,0,0,0,0,1,0.5,,2,2,9,9,80,20,CPU,,,2026-11-23'


def test_a_table_that_excel_saved_goes_on(tmp_path):
    table = tmp_path/'runs.csv'
    table.write_text(f'{FIRST},note\n{FIRST_ROW},"first line\nsecond\u2028line"\n', encoding='utf-8-sig')
    append_run(dict(dataset='toynette', seed=2), table)
    runs = read_runs(table)
    assert table.read_text().startswith(f'{FIRST},note,') and list(runs.seed) == [1, 2]
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


def test_an_older_table_is_widened_and_keeps_its_rows_and_columns(tmp_path):
    table = tmp_path/'runs.csv'
    table.write_text(f'{FIRST},mine\n{FIRST_ROW},"a, b"\n')
    runs = read_runs(table)
    assert {*COLUMNS} < {*runs.columns} and runs.stages[0] == '' and pd.isna(runs.nll[0])
    append_run(dict(seed=2, stages='2x32', yours=.5), table)
    runs = read_runs(table)
    later = [name for name in COLUMNS if name not in FIRST.split(',')]
    assert table.read_text().splitlines()[0] == ','.join([FIRST, 'mine', *later, 'yours'])
    assert list(runs.seed) == [1, 2] and runs.mine[0] == 'a, b' and runs.yours[1] == .5


def test_cells_under_no_heading_stay_under_none(tmp_path):
    table = tmp_path/'runs.csv'
    table.write_text(f'{FIRST}\n{FIRST_ROW},,beside it\na note,{","*80}\n')
    append_run(dict(seed=2, accuracy=.6, stages='2x32'), table)
    runs = read_runs(table)
    assert runs.stages.tolist() == ['', '2x32'] and runs.nll.isna().all() and runs.accuracy.tolist() == [.5, .6]
    assert 'beside it' in table.read_text() and 'a note' in table.read_text()


@pytest.mark.parametrize('name', [field.name for field in fields(Recipe) if field.name != 'split'] + ['accuracy'])
@pytest.mark.parametrize('heading', ['mine', '', None])
def test_a_column_without_which_a_run_would_be_another_is_named(tmp_path, name, heading):
    table = append_run(dict(dataset='toynette', seed=1, accuracy=.5), tmp_path/'runs.csv')
    rows = list(csv.reader(io.StringIO(table.read_text())))
    at = rows[0].index(name)
    for row in rows: row[at:at + 1] = [] if heading is None else [heading if row is rows[0] else row[at]]
    with open(table, 'w', newline='') as file: csv.writer(file).writerows(rows)
    before = table.read_bytes()
    for use in (read_runs, own_table, lambda path: append_run(dict(seed=2), path)):
        with pytest.raises(ValueError, match=rf'written with, got none named {name} in the first line of .*runs\.csv.$'): use(table)
    assert table.read_bytes() == before


def test_a_table_that_was_never_written_is_empty(tmp_path):
    runs = read_runs(tmp_path/'none.csv')
    assert len(runs) == 0 and list(runs.columns) == list(COLUMNS)


def test_checksums_of_digits_alone_stay_text(tmp_path):
    table = tmp_path/'runs.csv'
    for seed, split in enumerate(('0123456789012345', '123e456789012345')):
        append_run(asdict(Recipe(dataset='2024', split=split, seed=seed)) | dict(commit='12e4567'), table)
    runs = read_runs(table)
    assert runs.split.tolist() == ['0123456789012345', '123e456789012345'] and set(runs.commit) == {'12e4567'}
    assert recipe_of(runs.loc[1]) == Recipe(dataset='2024', split='123e456789012345', seed=1, bf16=False)


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
