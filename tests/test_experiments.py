"""Comparisons: what is reused, what is trained, who may write where, and what comes of it when it is stopped."""
import math
import multiprocessing
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from sotalearn.cli import main
from sotalearn.toynette import make_toynette

experiments = pytest.importorskip('sotalearn.experiments')
from sotalearn import training          # noqa: E402
from sotalearn.training import COLUMNS, Recipe, append_run, read_runs, train          # noqa: E402


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    return make_toynette(tmp_path_factory.mktemp('data')/'small', train=2, val=1, show_progress=False)


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
    monkeypatch.setattr(experiments, 'run', run)
    return runs


def record(recipe, table, n_train=20, n_val=10, **measured):
    "A row as `train` would write it."
    row = dict(accuracy=.5, accuracy_tta=measured.get('accuracy', .5) + .02 if recipe.tta else '', seconds=10., cpu_seconds=8., n_train=n_train,
               n_val=n_val, device='CPU', commit='abc', date='2026-01-01T00:00:00+00:00')
    append_run({**asdict(recipe), **row, **measured}, table)


def test_each_training_happens_once_whatever_its_names(recipes, trained, tmp_path):
    recipes = {**recipes, 'again': recipes['mixup']}
    table = experiments.compare(recipes, (1, 2), tmp_path/'runs.csv', show_progress=False)
    assert sorted((o.seed, o.tta, o.mixup) for o in trained) == [(1, 0, .4), (1, 1, 0), (2, 0, .4), (2, 1, 0)]
    assert list(table.seeds) == [2]*4 and table.scores['mixup'] == table.scores['again']
    assert table.scores['tta'] == {1: .53, 2: .54} and table.scores['baseline'] == {1: .51, 2: .52}
    experiments.compare(recipes, (1, 2), tmp_path/'runs.csv', show_progress=False)
    assert len(trained) == 4
    experiments.compare(recipes, (1, 2, 3), tmp_path/'runs.csv', show_progress=False)
    assert [o.seed for o in trained[4:]] == [3, 3]


def test_the_figures_are_scipys(recipes, tmp_path):
    accuracies = {1: (.50, .56), 2: (.53, .58), 3: (.49, .59)}
    for seed, (plain, mixed) in accuracies.items():
        record(replace(recipes['baseline'], seed=seed), tmp_path/'runs.csv', accuracy=plain)
        record(replace(recipes['mixup'], seed=seed), tmp_path/'runs.csv', accuracy=mixed, cpu_seconds=12.)
    table = experiments.compare({o: recipes[o] for o in ('baseline', 'mixup')}, (3, 1, 2), tmp_path/'runs.csv', show_progress=False)
    plain, mixed = zip(*accuracies.values())
    low, high = stats.ttest_rel(mixed, plain).confidence_interval(.95)
    assert table.loc['mixup', ['diff_low', 'diff_high']].tolist() == pytest.approx([low, high])
    low, high = stats.ttest_1samp(mixed, 0).confidence_interval(.95)
    assert table.loc['mixup', ['mean', 'low', 'high']].tolist() == pytest.approx([sum(mixed)/3, low, high])
    assert list(table.difference) == pytest.approx([0, .07]) and list(table.budget) == [1, 1]
    shown = experiments.readable(table)
    assert shown.loc['mixup', 'training time'] == '× 1.50' and shown.loc['mixup', 'changes'] == 'mixup=0.4'
    assert re.fullmatch(r'\+7\.0 \([−+]\d+\.\d to \+\d+\.\d\)', shown.loc['mixup', 'difference, points'])


def test_one_seed_has_no_interval_and_says_so(recipes, trained, tmp_path, capsys):
    table = experiments.compare(recipes, [7], tmp_path/'runs.csv')
    assert table[['low', 'high', 'diff_low', 'diff_high']].isna().all().all() and table['mean'].notna().all()
    assert 'One seed shows no spread' in capsys.readouterr().out
    assert '(' not in experiments.readable(table)['accuracy, %']['mixup']
    assert 'Mixup 61.0' not in repr(experiments.plot_comparison(table)) and '57.0' in repr(experiments.plot_comparison(table))


def test_unequal_seeds_are_paired_where_both_have_them(recipes, tmp_path):
    for seed in (1, 2, 3): record(replace(recipes['baseline'], seed=seed), tmp_path/'runs.csv', accuracy=.5 + seed/100)
    record(replace(recipes['mixup'], seed=2), tmp_path/'runs.csv', accuracy=.6)
    table = experiments.compare(recipes, (1, 2, 3), tmp_path/'runs.csv', run_missing=False, show_progress=False)
    assert list(table.seeds) == [3, 0, 1] and list(table.pairs) == [3, 0, 1]
    assert table.difference['mixup'] == pytest.approx(.08) and math.isnan(table.difference['tta'])
    assert experiments.readable(table).loc['tta', 'accuracy, %'] == '-'


def test_the_learners_newest_run_counts_and_the_courses_fills_in(recipes, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(experiments, 'course_table', lambda: tmp_path/'course.csv')
    base = recipes['baseline']
    for seed in (1, 2): record(replace(base, seed=seed), tmp_path/'course.csv', accuracy=.4, device='GPU', commit='old', date='2027-01-01')
    record(replace(base, seed=1), tmp_path/'mine.csv', accuracy=.7, date='2026-02-02')
    record(replace(base, seed=1), tmp_path/'mine.csv', accuracy=.6, date='2026-01-01')
    table = experiments.compare(dict(baseline=base), (1, 2), tmp_path/'mine.csv')
    assert table.scores['baseline'] == {1: .7, 2: .4}
    assert (table.device['baseline'], table.commit['baseline'], table.table['baseline']) == ('CPU, GPU', 'abc, old', 'course, yours')
    printed = capsys.readouterr().out
    assert '2 computers' in printed and '2 commits' in printed
    assert experiments.readable(table.rename(dict(baseline='a')))['training time'].tolist() == ['× 1.00']


def test_a_table_from_before_a_field_was_there_still_serves(recipes, tmp_path):
    old = pd.DataFrame([dict(dataset=recipes['baseline'].dataset, size=16, epochs=1, bs=10, seed=1, accuracy=.6, n_train=20, n_val=10, date='2026')])
    old.to_csv(tmp_path/'runs.csv', index=False)
    assert len(experiments.find_runs(recipes, [1], tmp_path/'runs.csv')) == 1
    assert [o.mixup for o in experiments.missing_runs(dict(baseline=recipes['baseline'], mixup=recipes['mixup']), [1], tmp_path/'runs.csv')] == [.4]


def test_runs_on_other_pictures_are_passed_over(recipes, tmp_path):
    record(replace(recipes['baseline'], seed=1), tmp_path/'runs.csv', n_train=4000, n_val=1000)
    assert len(experiments.missing_runs(dict(baseline=recipes['baseline']), [1], tmp_path/'runs.csv')) == 1
    assert len(experiments.find_runs(recipes, [1], tmp_path/'runs.csv', on_disk=False)) == 1


def test_auto_is_the_dataset_that_it_stands_for(monkeypatch, tmp_path, small):
    monkeypatch.setattr(experiments, 'dataset', lambda name: small if name == 'auto' else Path(name))
    record(Recipe(dataset=str(small), size=16, seed=1), tmp_path/'runs.csv')
    assert experiments.missing_runs(dict(a=Recipe(dataset='auto', size=16)), [1], tmp_path/'runs.csv') == []


def test_looking_up_downloads_nothing(monkeypatch, tmp_path):
    def download(name): raise AssertionError('nothing may be downloaded')
    monkeypatch.setattr(experiments, 'dataset', download)
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path))
    experiments.compare(experiments.RECIPES, results=tmp_path/'none.csv', run_missing=False, show_progress=False)
    experiments.missing_runs(experiments.RECIPES, results=tmp_path/'none.csv')


@pytest.mark.parametrize('change, complaint', [
    (dict(seeds=(1, 1)), 'each only once, got 1, 1'), (dict(seeds=(1, -2)), 'seeds must be a whole number from 0'), (dict(seeds=[True]), 'got True'),
    (dict(recipes={}), 'at least one, got {}'), (dict(recipes={'': Recipe(dataset='toynette')}), "names of letters, got ''"),
    (dict(recipes=dict(a=Recipe(dataset='toynette'), b=Recipe(dataset='imagenette'))), 'the same dataset, got toynette (a) and imagenette (b)'),
    (dict(recipes=dict(a=Recipe(dataset='no/such/folder'))), 'dataset must be one of'), (dict(level=2), 'level must be')])
def test_what_cannot_be_compared_is_refused_before_anything_trains(recipes, trained, tmp_path, change, complaint):
    with pytest.raises(ValueError) as caught: experiments.compare(**{**dict(recipes=recipes, seeds=(1, 2), results=tmp_path/'runs.csv'), **change})
    assert complaint in str(caught.value) and not trained and list(tmp_path.iterdir()) == []


def test_tta_is_compared_within_one_training(recipes, tmp_path):
    base, table = recipes['baseline'], tmp_path/'runs.csv'
    for seed, accuracy in ((1, .60), (2, .61), (3, .62)): record(replace(base, tta=1, seed=seed), table, accuracy=accuracy)
    for seed in (1, 2, 3): record(replace(base, seed=seed), table, accuracy=.56, date='2026-02-01T00:00:00+00:00')
    found = experiments.compare(dict(baseline=base, tta=recipes['tta']), results=table, run_missing=False, show_progress=False)
    assert found.difference['tta'] == pytest.approx(.02) and found.scores['baseline'] == {1: .60, 2: .61, 3: .62}


def test_the_figure_tells_the_level_of_its_intervals(recipes, trained, tmp_path):
    table = experiments.compare(recipes, (1, 2), tmp_path/'runs.csv', show_progress=False, level=.5)
    assert 'mean and 50 % interval' in repr(experiments.plot_comparison(table)) and '95' not in repr(experiments.plot_comparison(table))


def test_too_many_training_images_are_refused_before_the_first_run(recipes, trained, tmp_path):
    with pytest.raises(ValueError, match='train_images must be a whole number from 10 to 20, got 500'):
        experiments.compare(dict(recipes, large=replace(recipes['baseline'], train_images=500)), (1,), tmp_path/'runs.csv', show_progress=False)
    assert not trained


def test_the_installed_table_is_never_written(recipes, trained, tmp_path, monkeypatch):
    package = tmp_path/'sotalearn'
    (package/'results').mkdir(parents=True)
    record(replace(recipes['baseline'], seed=1), package/'results'/'runs.csv')
    monkeypatch.setattr(training.sotalearn, '__file__', str(package/'__init__.py'))
    for module in (experiments, training): monkeypatch.setattr(module, 'course_table', lambda: package/'results'/'runs.csv')
    for write in (lambda: train(recipes['baseline'], package/'results'/'runs.csv'), lambda: append_run({}, package/'results'/'runs.csv')):
        with pytest.raises(ValueError, match='results must be a table of your own'): write()
    with pytest.raises(ValueError, match='results must be a table of your own'):
        experiments.compare(recipes, (1, 2), package/'results'/'runs.csv', show_progress=False)
    assert not trained
    found = experiments.compare(recipes, (1, 2), package/'results'/'runs.csv', run_missing=False, show_progress=False)
    assert found.seeds['baseline'] == 1
    experiments.compare(recipes, (1, 2), tmp_path/'mine.csv', show_progress=False)
    assert len(read_runs(package/'results'/'runs.csv')) == 1 and len(read_runs(tmp_path/'mine.csv')) == len(trained) > 0


def test_stopped_it_goes_on_where_it_was(recipes, tmp_path, monkeypatch, capsys):
    def stop_at_the_third(recipe, results=None, watch=None):
        if len(read_runs(results)) == 2: raise KeyboardInterrupt
        record(recipe, results)
    monkeypatch.setattr(experiments, 'run', stop_at_the_third)
    with pytest.raises(KeyboardInterrupt): experiments.compare(recipes, (1, 2), tmp_path/'runs.csv')
    assert 'Stopped with 2 of 4 runs still missing' in capsys.readouterr().out
    assert len(read_runs(tmp_path/'runs.csv')) == 2 and len(experiments.missing_runs(recipes, (1, 2), tmp_path/'runs.csv')) == 2
    monkeypatch.setattr(experiments, 'run', lambda recipe, results, watch: record(recipe, results))
    assert list(experiments.compare(recipes, (1, 2), tmp_path/'runs.csv').seeds) == [2, 2, 2]
    assert '2 runs are missing' in capsys.readouterr().out and len(read_runs(tmp_path/'runs.csv')) == 4


def test_how_long_it_takes_is_said_first(recipes, trained, tmp_path, capsys):
    experiments.compare(recipes, (1,), tmp_path/'runs.csv')
    experiments.compare(recipes, (1, 2), tmp_path/'runs.csv')
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r'2 runs are missing: about \d+ (s|min), going by earlier runs\.', next(o for o in lines[1:] if 'missing' in o))
    assert 'baseline and tta, seed 2' in lines


def _slow_run(recipe, results, watch):
    "A training that takes a moment; its commit says which process did it."
    time.sleep(.2)
    record(recipe, results, commit=f'process {os.getpid()}')


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='this system cannot fork a process')
def test_two_processes_share_the_work_and_lose_no_row(recipes, tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, 'run', _slow_run)
    pair, table = {o: recipes[o] for o in ('baseline', 'mixup')}, tmp_path/'runs.csv'
    fork = multiprocessing.get_context('fork')
    both = [fork.Process(target=experiments.compare, args=(pair, range(5), table), kwargs=dict(show_progress=False)) for _ in range(2)]
    for o in both: o.start()
    for o in both: o.join()
    runs = read_runs(table)
    assert [o.exitcode for o in both] == [0, 0]
    assert len(runs) == 10 and len(runs.drop_duplicates(['mixup', 'seed'])) == 10 and runs.commit.nunique() == 2
    assert not list(tmp_path.glob('.runs.csv.*.lock'))


def test_really_trained_it_is_a_whole_row(recipes, tmp_path):
    small_first = replace(recipes['baseline'], size=32, stages='1x16')
    table = experiments.compare(dict(recipes, progressive=small_first), (1,), tmp_path/'runs.csv', show_progress=False)
    runs = read_runs(tmp_path/'runs.csv')
    assert len(runs) == 3 and list(runs.columns) == list(COLUMNS) and runs.ece.notna().all()
    assert list(table.seeds) == [1]*4 and table.budget['progressive'] == 1 + 2*4


def test_run_alone_shows_fastais_own_table(recipes, tmp_path, capsys):
    learn = experiments.run(replace(recipes['baseline'], seed=3), tmp_path/'runs.csv')
    assert learn.result['seed'] == 3 and 'valid_loss' in capsys.readouterr().out


def test_the_figure_has_a_row_for_each_recipe_with_runs(recipes, tmp_path):
    for seed in (1, 2): record(replace(recipes['baseline'], seed=seed), tmp_path/'runs.csv', accuracy=.5)
    table = experiments.compare(recipes, (1, 2), tmp_path/'runs.csv', run_missing=False, show_progress=False)
    figure = experiments.plot_comparison(table, dict(baseline=('plain', '原样')), en='Two runs.', zh='两次训练。')
    assert figure.alt['en'] == 'Two runs. Validation accuracy in percent, mean and 95 % interval: plain 50.0 (50.0 to 50.0).'
    assert '原样 50.0' in figure.alt['zh']
    with pytest.raises(ValueError, match='table must have at least one recipe with a run'):
        experiments.plot_comparison(experiments.compare(recipes, (9,), tmp_path/'runs.csv', run_missing=False, show_progress=False))


def test_the_same_budget_means_the_same_pixels():
    for size, epochs in ((64, 5), (128, 10), (64, 20)):
        recipes = experiments.course_recipes(size=size, epochs=epochs)
        work = {name: experiments._work(recipe, 100) for name, recipe in recipes.items()}
        for name in work: assert .75 <= work[name]/work['baseline'] <= 1.05, (size, epochs, name)


def test_the_seeds_demo_counts_what_it_draws():
    demo = experiments.seeds_demo(language='en')
    told = demo.alt(seeds=12, difference=4., spread=.2)
    assert '40 of 40 intervals leave zero out' in told and 'expected: 100 %' in told
    share = float(re.search(r'expected: (\d+) %', demo.alt(seeds=2, difference=0., spread=1.))[1])
    assert share == 5


def test_the_command_trains_and_prints_the_table_alone(small, trained, tmp_path, monkeypatch, capsys):
    for name in [o for o in os.environ if o.startswith('SOTALEARN_')]: monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    words = ['compare', '--recipes', 'baseline,tta', '--seeds', '1,2', '--dataset', str(small), '--size', '16', '--epochs', '1', '--bs', '10']
    assert main([*words, '--missing']) == 0 and not list(tmp_path.iterdir())
    assert capsys.readouterr().out == 'baseline and tta, seed 1\nbaseline and tta, seed 2\n2 runs are missing\n'
    assert main(words) == 0
    printed, told = capsys.readouterr()
    lines = printed.splitlines()
    assert 'accuracy, %' in lines[0] and [o.split()[0] for o in lines[2:]] == ['baseline', 'tta']
    assert '2 runs are missing' in told and len(read_runs(tmp_path/'results'/'runs.csv')) == len(trained) == 2
    assert main([*words, '--train-images', '500']) == 2
    assert capsys.readouterr().err == 'sotalearn: train_images must be a whole number from 10 to 20, got 500\n'


def test_help_and_mistakes_do_not_wait_for_fastai(tmp_path):
    code = ('import sys; from sotalearn.cli import main\n'
            'try: main(sys.argv[1:])\nexcept SystemExit: pass\nassert not {"fastai", "torch", "pandas", "scipy"} & set(sys.modules)')
    for words in (('--help',), ('compare', '--help'), ('compare', '--recipes', 'mixpu'), ('compare', '--seeds', '1;2')):
        subprocess.run([sys.executable, '-c', code, *words], cwd=tmp_path, check=True, capture_output=True, timeout=60)
