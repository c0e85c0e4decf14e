"""Comparisons: what is reused, what is trained, who may write where, and what comes of it when it is stopped."""
import math
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from weakref import WeakSet

import pandas as pd
import pytest
from scipy import stats

from sotalearn import bookkeeping, datasets, recipes as tables
from sotalearn.bookkeeping import find_runs, missing_runs
from sotalearn.demos.comparison import plot_comparison
from sotalearn.experiments import RECIPES, compare, readable
from sotalearn.pictures import split_of
from sotalearn.recipes import COLUMNS, Recipe, append_run, course_recipes, pixels_seen, read_runs
from sotalearn.school.cli import main


@pytest.fixture(scope='module')
def small(toynette_of): return toynette_of(2, 1)


@pytest.fixture
def recipes(small):
    "A baseline, the same with test time augmentation, and Mixup: 20 pictures, 1 epoch."
    base = Recipe(dataset=str(small), size=16, epochs=1, bs=10)
    return dict(baseline=base, tta=replace(base, tta=1), mixup=replace(base, mixup=.4))


@pytest.fixture
def trained(monkeypatch):
    "The runs that were asked for; each is recorded at once instead of trained."
    runs = []

    def run(recipe, results=None, watch=None):
        runs.append(recipe)
        record(recipe, results, accuracy=.5 + .1*bool(recipe.mixup) + recipe.seed/100)
    monkeypatch.setattr(bookkeeping, 'run', run)
    return runs


def record(recipe, table, n_train=20, n_val=10, **measured):
    "A row as `train` would write it."
    row = dict(accuracy=.5, accuracy_tta=measured.get('accuracy', .5) + .02 if recipe.tta else '', seconds=10.,
               cpu_seconds=8., n_train=n_train, n_val=n_val, device='CPU', commit='abc', date='2026-01-01')
    split = dict(split=split_of(recipe.dataset)) if Path(recipe.dataset).is_dir() else {}
    append_run(asdict(recipe) | split | row | measured, table)


def quietly(recipes, seeds, table, **how):
    "`compare` without a word."
    return compare(recipes, seeds, table, show_progress=False, **how)


def test_the_time_left_is_not_told_by_another_kind_of_machine(recipes, tmp_path, monkeypatch):
    for seed, device in ((1, 'CPU (2 cores) AMD EPYC'), (2, 'NVIDIA H100')):
        record(replace(recipes['mixup'], seed=seed), tmp_path/'runs.csv', device=device, seconds=20. if seed == 1 else .2)
    runs = read_runs(tmp_path/'runs.csv').assign(table='course')
    pixels = pixels_seen(recipes['mixup'])*20
    for on_a_gpu, seconds in ((False, 20), (True, .2)):
        monkeypatch.setattr(bookkeeping.torch.accelerator, 'is_available', lambda: on_a_gpu)
        assert bookkeeping._seconds({recipes['mixup']: pixels}, runs) == pytest.approx(seconds)


def test_each_training_happens_once_whatever_its_names(recipes, trained, tmp_path):
    recipes = {**recipes, 'again': recipes['mixup']}
    table = quietly(recipes, (1, 2), tmp_path/'runs.csv')
    assert sorted((run.seed, run.tta, run.mixup) for run in trained) == [(1, 0, .4), (1, 1, 0), (2, 0, .4), (2, 1, 0)]
    assert list(table.seeds) == [2]*4 and table.scores['mixup'] == table.scores['again']
    assert table.scores['tta'] == {1: .53, 2: .54} and table.scores['baseline'] == {1: .51, 2: .52}
    quietly(recipes, (1, 2), tmp_path/'runs.csv')
    assert len(trained) == 4
    quietly(recipes, (1, 2, 3), tmp_path/'runs.csv')
    assert [run.seed for run in trained[4:]] == [3, 3]


def test_the_figures_are_scipys(recipes, tmp_path):
    accuracies = {1: (.50, .56), 2: (.53, .58), 3: (.49, .59)}
    for seed, (plain, mixed) in accuracies.items():
        record(replace(recipes['baseline'], seed=seed), tmp_path/'runs.csv', accuracy=plain)
        record(replace(recipes['mixup'], seed=seed), tmp_path/'runs.csv', accuracy=mixed, cpu_seconds=12.)
    table = quietly({name: recipes[name] for name in ('baseline', 'mixup')}, (3, 1, 2), tmp_path/'runs.csv')
    plain, mixed = zip(*accuracies.values())
    low, high = stats.ttest_rel(mixed, plain).confidence_interval(.95)
    assert table.loc['mixup', ['diff_low', 'diff_high']].tolist() == pytest.approx([low, high])
    low, high = stats.ttest_1samp(mixed, 0).confidence_interval(.95)
    assert table.loc['mixup', ['mean', 'low', 'high']].tolist() == pytest.approx([sum(mixed)/3, low, high])
    assert list(table.difference) == pytest.approx([0, .07]) and list(table.budget) == [1, 1]
    shown = readable(table)
    assert shown.loc['mixup', 'training time'] == '× 1.50' and shown.loc['mixup', 'changes'] == 'mixup=0.4'
    assert re.fullmatch(r'\+7\.0 \([−+]\d+\.\d to \+\d+\.\d\)', shown.loc['mixup', 'difference, points'])


def test_one_seed_has_no_interval_and_says_so(recipes, trained, tmp_path, capsys):
    table = compare(recipes, [7], tmp_path/'runs.csv')
    assert table[['low', 'high', 'diff_low', 'diff_high']].isna().all().all() and table['mean'].notna().all()
    assert 'One seed shows no spread' in capsys.readouterr().out
    assert '(' not in readable(table)['accuracy, %']['mixup'] and '57.0' in repr(plot_comparison(table))


def test_unequal_seeds_are_paired_where_both_have_them(recipes, tmp_path):
    for seed in (1, 2, 3): record(replace(recipes['baseline'], seed=seed), tmp_path/'runs.csv', accuracy=.5 + seed/100)
    record(replace(recipes['mixup'], seed=2), tmp_path/'runs.csv', accuracy=.6)
    table = quietly(recipes, (1, 2, 3), tmp_path/'runs.csv', run_missing=False)
    assert list(table.seeds) == [3, 0, 1] and list(table.pairs) == [3, 0, 1]
    assert table.difference['mixup'] == pytest.approx(.08) and math.isnan(table.difference['tta'])
    assert readable(table).loc['tta', 'accuracy, %'] == '-'


def test_the_learners_newest_run_counts_and_the_courses_fills_in(recipes, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bookkeeping, 'course_table', lambda: tmp_path/'course.csv')
    base = recipes['baseline']
    for seed in (1, 2):
        record(replace(base, seed=seed), tmp_path/'course.csv', accuracy=.4, device='GPU', commit='old', date='2027-01')
    record(replace(base, seed=1), tmp_path/'mine.csv', accuracy=.7, date='2026-02-02')
    record(replace(base, seed=1), tmp_path/'mine.csv', accuracy=.6, date='2026-01-01')
    table = compare(dict(baseline=base), (1, 2), tmp_path/'mine.csv')
    assert table.scores['baseline'] == {1: .7, 2: .4}
    assert table.loc['baseline', ['device', 'commit', 'table']].tolist() == ['CPU, GPU', 'abc, old', 'course, yours']
    printed = capsys.readouterr().out
    assert '2 computers' in printed and '2 commits' in printed
    assert 'training time' not in readable(table)               # a GPU's seconds among a processor's


def test_a_table_from_before_a_field_was_there_still_serves(recipes, tmp_path):
    base = recipes['baseline']
    row = asdict(base) | dict(split=split_of(base.dataset), seed=1, accuracy=.6, n_train=20, n_val=10, date='2026')
    for later in ('stages', 'fine_lr', 'cutmix', 'wrong_labels', 'bf16'): del row[later]
    pd.DataFrame([row]).to_csv(tmp_path/'runs.csv', index=False)
    assert quietly(dict(baseline=base), [1], tmp_path/'runs.csv').scores['baseline'] == {1: .6}
    todo = missing_runs(dict(baseline=base, mixup=recipes['mixup']), [1], tmp_path/'runs.csv')
    assert [run.mixup for run in todo] == [.4]


def test_runs_on_other_pictures_are_passed_over(recipes, tmp_path):
    base = dict(baseline=recipes['baseline'])
    record(replace(base['baseline'], seed=1), tmp_path/'runs.csv', split='another')
    assert len(missing_runs(base, [1], tmp_path/'runs.csv')) == 1
    assert len(find_runs(base, [1], tmp_path/'runs.csv', on_disk=False)) == 1


def test_auto_is_the_dataset_that_it_stands_for(monkeypatch, tmp_path, small):
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path))
    photographs = shutil.copytree(small, datasets.data_folder()/'imagenette2-160')
    record(Recipe(dataset='imagenette-160', split=split_of(photographs), size=16, seed=1), tmp_path/'runs.csv')
    assert missing_runs(dict(a=Recipe(dataset='auto', size=16)), [1], tmp_path/'runs.csv') == []


def test_looking_up_makes_and_downloads_nothing(monkeypatch, tmp_path):
    def download(name): raise AssertionError('nothing may be downloaded')
    monkeypatch.setattr(bookkeeping, 'dataset', download)
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path))
    quietly(RECIPES, (1, 2, 3), tmp_path/'none.csv', run_missing=False)
    missing_runs(course_recipes(), results=tmp_path/'none.csv')
    assert not list(tmp_path.rglob('*.jpg'))


@pytest.mark.parametrize('change, complaint', [
    (dict(seeds=(1, -2)), 'seeds must be a whole number from 0'), (dict(level=2), 'level must be'),
    (dict(recipes=dict(a=Recipe(dataset='no/such/folder'))), 'dataset must be one of')])
def test_what_cannot_be_compared_is_refused_before_anything_trains(recipes, trained, tmp_path, change, complaint):
    asked = dict(recipes=recipes, seeds=(1, 2), results=tmp_path/'runs.csv') | change
    with pytest.raises(ValueError, match=complaint): compare(**asked)
    assert not trained and list(tmp_path.iterdir()) == []


def test_too_many_training_images_are_refused_before_the_first_run(recipes, trained, tmp_path):
    recipes['large'] = replace(recipes['baseline'], train_images=500)
    with pytest.raises(ValueError, match='train_images must be a whole number from 10 to 20, got 500'):
        quietly(recipes, (1,), tmp_path/'runs.csv')
    assert not trained


def test_tta_is_compared_within_one_training(recipes, tmp_path):
    base, table = recipes['baseline'], tmp_path/'runs.csv'
    for seed, accuracy in ((1, .60), (2, .61), (3, .62)):
        record(replace(base, tta=1, seed=seed), table, accuracy=accuracy)
        record(replace(base, seed=seed), table, accuracy=.56, date='2026-02-01')
    found = quietly(dict(baseline=base, tta=recipes['tta']), (1, 2, 3), table, run_missing=False)
    assert found.difference['tta'] == pytest.approx(.02) and found.scores['baseline'] == {1: .60, 2: .61, 3: .62}


def test_the_installed_table_is_read_and_never_written(recipes, trained, tmp_path, monkeypatch):
    package = tmp_path/'sotalearn'
    installed = package/'results'/'runs.csv'
    record(replace(recipes['baseline'], seed=1), installed)
    monkeypatch.setattr(tables.sotalearn, '__file__', str(package/'__init__.py'))
    for module in (bookkeeping, tables): monkeypatch.setattr(module, 'course_table', lambda: installed)
    with pytest.raises(ValueError, match="results must be a table of your own, got .*, the course's"):
        quietly(recipes, (1, 2), installed)
    assert not trained
    assert quietly(recipes, (1, 2), installed, run_missing=False).seeds['baseline'] == 1
    quietly(recipes, (1, 2), tmp_path/'mine.csv')
    assert len(read_runs(installed)) == 1 and len(read_runs(tmp_path/'mine.csv')) == len(trained) > 0


def test_stopped_it_goes_on_where_it_was(recipes, tmp_path, monkeypatch, capsys):
    table = tmp_path/'runs.csv'

    def stop_at_the_third(recipe, results=None, watch=None):
        if len(read_runs(results)) == 2: raise KeyboardInterrupt
        record(recipe, results)
    monkeypatch.setattr(bookkeeping, 'run', stop_at_the_third)
    with pytest.raises(KeyboardInterrupt): compare(recipes, (1, 2), table)
    assert 'Stopped with 2 of 4 runs still missing' in capsys.readouterr().out
    assert len(read_runs(table)) == len(missing_runs(recipes, (1, 2), table)) == 2
    monkeypatch.setattr(bookkeeping, 'run', lambda recipe, results, watch: record(recipe, results))
    assert list(compare(recipes, (1, 2), table).seeds) == [2, 2, 2]
    assert '2 runs are missing' in capsys.readouterr().out and len(read_runs(table)) == 4


def test_one_that_fails_does_not_stop_the_others(recipes, tmp_path, monkeypatch, capsys):
    def run(recipe, results=None, watch=None):
        if recipe.mixup and recipe.seed == 1: raise ValueError('its pictures are gone')
        record(recipe, results)
    monkeypatch.setattr(bookkeeping, 'run', run)
    with pytest.warns(UserWarning, match='mixup, seed 1: its pictures are gone'):
        table = compare(recipes, (1, 2), tmp_path/'runs.csv')
    assert table.attrs['failures'] == {'mixup, seed 1': 'its pictures are gone'} and list(table.seeds) == [2, 2, 1]
    assert 'mixup, seed 1: its pictures are gone' in capsys.readouterr().out


def test_a_run_that_found_no_room_for_its_row_is_a_failure(recipes, tmp_path, monkeypatch):
    monkeypatch.setattr(bookkeeping, 'run', lambda recipe, results, watch: recipe.seed == 1 or record(recipe, results))
    with pytest.warns(UserWarning, match='mixup, seed 1: its row could not be recorded'):
        table = compare(recipes, (1, 2), tmp_path/'runs.csv')
    assert len(table.attrs['failures']) == 2 and list(table.seeds) == [1, 1, 1]


def test_a_learner_is_let_go_before_the_next_run(recipes, tmp_path, monkeypatch):
    class Learner: pass
    learners = WeakSet()

    def run(recipe, results, watch):
        assert not learners
        record(recipe, results)
        learners.add(learner := Learner())
        return learner
    monkeypatch.setattr(bookkeeping, 'run', run)
    assert quietly(recipes, (1, 2), tmp_path/'runs.csv').attrs['failures'] == {}


def test_no_time_is_told_beside_a_baseline_without_one(recipes, trained, tmp_path):
    table = quietly(recipes, (1,), tmp_path/'runs.csv')
    assert readable(table)['training time'].tolist() == ['× 1.00']*3
    table.loc['baseline', 'cpu_seconds'] = math.nan
    assert 'training time' not in readable(table)


def test_how_long_it_takes_is_said_first(recipes, trained, tmp_path, capsys):
    compare(recipes, (1,), tmp_path/'runs.csv')
    capsys.readouterr()
    compare(recipes, (1, 2), tmp_path/'runs.csv')
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r'2 runs are missing: about \d+ (s|min), going by earlier runs\.', first)
    assert second == 'baseline and tta, seed 2'


def test_really_trained_it_is_a_whole_row(recipes, tmp_path, capsys):
    table = tmp_path/'runs.csv'
    learn = bookkeeping.run(replace(recipes['tta'], seed=1), table)
    assert learn.result['seed'] == 1 and 'valid_loss' in capsys.readouterr().out     # alone it shows fastai's own table
    small_first = replace(recipes['baseline'], size=32, stages='1x16')
    found = quietly(dict(baseline=recipes['baseline'], tta=recipes['tta'], progressive=small_first), (1,), table)
    runs = read_runs(table)
    assert len(runs) == 2 and list(runs.columns) == list(COLUMNS) and runs.ece.notna().all()
    assert list(found.seeds) == [1]*3 and found.budget['progressive'] == 1 + 2*4
    assert capsys.readouterr().out == ''


def test_the_figure_has_a_row_for_each_recipe_with_runs(recipes, tmp_path):
    for seed in (1, 2): record(replace(recipes['baseline'], seed=seed), tmp_path/'runs.csv', accuracy=.5)
    table = quietly(recipes, (1, 2), tmp_path/'runs.csv', run_missing=False, level=.5)
    figure = plot_comparison(table, dict(baseline=('plain', '原样')), en='Two runs.', zh='两次训练。')
    assert figure.alt['en'] == ('Two runs. Validation accuracy in percent, mean and 50 % interval: '
                                'plain 50.0 (50.0 to 50.0).')
    assert '原样 50.0' in figure.alt['zh'] and '50% 区间' in figure.alt['zh']
    with pytest.raises(ValueError, match='table must have at least one recipe with a run'):
        plot_comparison(quietly(recipes, (9,), tmp_path/'runs.csv', run_missing=False))


def test_the_same_budget_means_the_same_pixels():
    for size, epochs in ((64, 5), (128, 10), (64, 20)):
        work = {name: pixels_seen(recipe) for name, recipe in course_recipes(size=size, epochs=epochs).items()}
        for name, pixels in work.items(): assert .75 <= pixels/work['baseline'] <= 1.05, (size, epochs, name)


def test_the_command_trains_and_prints_the_table_alone(small, trained, tmp_path, monkeypatch, no_environment, capsys):
    monkeypatch.chdir(tmp_path)
    words = ['compare', '--recipes', 'baseline,tta', '--seeds', '1,2', '--dataset', str(small),
             '--size', '16', '--epochs', '1', '--bs', '10']
    assert main([*words, '--missing']) == 0 and not list(tmp_path.iterdir())
    assert capsys.readouterr().out == 'baseline and tta, seed 1\nbaseline and tta, seed 2\n2 runs are missing\n'
    assert main(words) == 0
    printed, told = capsys.readouterr()
    lines = printed.splitlines()
    assert 'accuracy, %' in lines[0] and [line.split()[0] for line in lines[2:]] == ['baseline', 'tta']
    assert '2 runs are missing' in told and len(read_runs(tmp_path/'results'/'runs.csv')) == len(trained) == 2
    assert main([*words, '--train-images', '500']) == 2
    assert capsys.readouterr().err == 'sotalearn: train_images must be a whole number from 10 to 20, got 500\n'


def test_a_single_validation_picture_costs_no_finished_run(tmp_path, small):
    for file in sorted((small/'val').glob('*/*'))[:1] + sorted((small/'train').glob('*/*')):
        copied = tmp_path/'one'/file.relative_to(small)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copied)
    learn = bookkeeping.run(Recipe(dataset=str(tmp_path/'one'), size=16, epochs=1, bs=10), tmp_path/'runs.csv')
    assert learn.result['n_val'] == 1 and len(read_runs(tmp_path/'runs.csv')) == 1
