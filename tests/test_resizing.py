"""Progressive resizing: the calls that stages make, what they cost, and the recipe that they keep to."""
import re
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from sotalearn.recipes import Recipe, check_stages
from sotalearn.resizing import (fit_cost, fit_stages, measured_cost, progressive_fit, schedule_runs, time_batches,
                                timed_sides)

ROOT = Path(__file__).parent.parent


BAD_STAGES = [(stages, complaint) for complaint, several in {
    'stages must be a list of (epochs, size, bs), got ': (None, 5, [5], '4x32', [(4, 32, 64, 1)], ((1, 32, 64), ())),
    'stages must grow in size from one to the next, got sizes ': (
        [(4, 64, 8), (1, 64, 8)], [(1, 32, 8), (1, 64, 8), (1, 48, 8)]),
    'stages: epochs must be a whole number from 1 to 1000, got ': [[(epochs, 32, 64)] for epochs in (
        -1, 1.5, float('nan'), float('inf'), True, '4', None)],
    'stages: size must be a whole number from 8 to 4096, got ': [[(4, size, 64)] for size in (7, 32., 5000, (32, 32))],
    'stages: bs must be a whole number from 2 to 65536, got ': [[(4, 32, bs)] for bs in (0, float('nan'))]}.items()
    for stages in several]


@pytest.mark.parametrize('stages, complaint', BAD_STAGES, ids=[repr(stages) for stages, _ in BAD_STAGES])
def test_stages_that_cannot_be_are_refused(stages, complaint):
    with pytest.raises(ValueError) as error: check_stages(stages)
    assert str(error.value).startswith(complaint) and '\n' not in str(error.value)


class Student:
    "Stands in for a learner and writes down what it is asked to do."

    def __init__(self): self.calls, self.dls = [], dls(0, 0)

    def fit_one_cycle(self, epochs, lr): self.calls.append(('fit_one_cycle', epochs, lr, self.dls.size, self.dls.bs))

    def fine_tune(self, epochs, lr): self.calls.append(('fine_tune', epochs, lr, self.dls.size, self.dls.bs))


def dls(bs, size, vocab='ab'): return SimpleNamespace(bs=bs, size=size, vocab=list(vocab), train_ds=range(100))


def test_the_calls_are_those_of_the_notes():
    learn = Student()
    stages = progressive_fit(learn, [(4, 128, 128), (5, 224, 64)], dls_at=dls)
    assert learn.calls == [('fit_one_cycle', 4, 3e-3, 128, 128), ('fine_tune', 5, 1e-3, 224, 64)]
    assert [tuple(stage.values())[:4] for stage in stages] == [(4, 128, 128, 400), (5, 224, 64, 600)]
    assert learn.dls.size == 224 and all(stage['seconds'] >= 0 for stage in stages)


def test_a_pretrained_model_is_fine_tuned_from_the_first_stage_on():
    learn = Student()
    stages = progressive_fit(learn, [(2, 32, 8), (3, 48, 8), (1, 64, 8)], 2e-3, 5e-4, dls_at=dls, pretrained=True)
    expected = [('fine_tune', 2, 2e-3, 32), ('fine_tune', 3, 5e-4, 48), ('fine_tune', 1, 5e-4, 64)]
    assert [call[:4] for call in learn.calls] == expected
    assert [stage['images'] for stage in stages] == [300, 400, 200]


@pytest.mark.parametrize('change, complaint', [
    (dict(stages=[(1, 64, 8), (1, 32, 8)]), 'stages must grow in size'), (dict(lr='3e-3'), "got '3e-3'"),
    (dict(lr=0), 'lr must be a number from 1e-08 to 10, got 0'), (dict(lr=float('nan')), 'lr must be a number'),
    (dict(fine_lr=-1e-3), 'fine_lr must be a number from 1e-08 to 10, got -0.001'),
    (dict(fine_lr=float('inf')), 'fine_lr must be a number from 1e-08 to 10, got inf'),
    (dict(dls_at=None, stages=[(1, 32, 101)]), 'stages: bs must be a whole number from 2 to 100, got 101'),
    (dict(dls_at=lambda bs, size: dls(bs, size, 'abc')), 'must give DataLoaders of the same 2 classes, got a, b'),
    (dict(dls_at=lambda bs, size: dls(bs, size, 'ba')), 'got b, a')])
def test_nothing_is_trained_on_bad_input(change, complaint):
    learn = Student()
    with pytest.raises(ValueError, match=re.escape(complaint)):
        progressive_fit(learn, **{**dict(stages=[(1, 32, 8), (1, 64, 8)], dls_at=dls), **change})
    assert learn.calls == []


def test_odd_timings_give_no_negative_cost(): assert fit_cost({32: 1., 64: .5})(8) >= 0


@pytest.mark.parametrize('timings, complaint', [
    ({}, 'timings must hold at least two sizes, got none'), ({64: .1}, 'got 64'),
    ({64: .1, 128: 0}, 'timings: seconds must be a number from'), ({64: .1, 128: float('nan')}, 'got nan'),
    ({64: .1, 'large': .2}, "timings: size must be a whole number from 8 to 4096, got 'large'")])
def test_timings_that_tell_nothing_are_refused(timings, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)): fit_cost(timings)


def test_what_a_schedule_reached_is_of_the_official_split_and_its_time_of_the_table_of_chapter_02():
    from sotalearn.datasets import OFFICIAL
    for size in (64, 128):
        for runs in schedule_runs(size).values(): assert set(runs.split) == {OFFICIAL} and set(runs['size']) == {size}
    assert {'5×64', '8×64', '5×128', '6×64 + (1+2)×128'} <= set(schedule_runs(64) | schedule_runs(128))
    costs = pd.read_csv(ROOT/'results'/'cost.csv')
    epochs = costs[(costs.sweep == 'side') & (costs.what == 'epoch')].set_index('side').ms
    assert len(epochs) > 2 and timed_sides() == pytest.approx((epochs/1000).to_dict())
    with pytest.raises(ValueError, match='size must be one of 64, 128, got 96'): schedule_runs(96)


def test_the_exercise_has_costs_like_those_measured():
    "A fixed cost and one for the pixels, as in the chapter: half the side is neither a quarter of the time nor a half."
    from sotalearn.school.judges.resizing import _seconds
    cost = measured_cost()
    for size in (32, 64): assert abs(_seconds([(1, size)], [1])/_seconds([(1, 128)], [1]) - cost(size)/cost(128)) < .11


def test_timing_leaves_the_model_as_it_was():
    layers = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    model = torch.nn.Sequential(*layers).eval()
    before = {name: o.clone() for name, o in model.state_dict().items()}
    timings = time_batches(model, (16, 8), bs=2, repeats=1)
    assert list(timings) == [16, 8] and not model.training and all(o.grad is None for o in model.parameters())
    assert all(torch.equal(o, before[name]) for name, o in model.state_dict().items())
    for change in (dict(sizes=(7,)), dict(sizes=16), dict(bs=1), dict(repeats=0), dict(repeats=float('nan'))):
        with pytest.raises(ValueError): time_batches(model, **{**dict(sizes=(8,)), **change})


def test_a_new_field_of_the_data_reaches_every_stage(monkeypatch):
    "The stages ask for what `Recipe.dls_args` says: a field that it learns cannot be forgotten here."
    from sotalearn import data
    known, asked = Recipe.dls_args, []

    def get_dls(path, **args):
        asked.append((path, args))
        return dls(args['bs'], args['size'])
    monkeypatch.setattr(data, 'get_dls', get_dls)
    monkeypatch.setattr(Recipe, 'dls_args', lambda recipe, stage=None: known(recipe, stage) | dict(fog=.5))
    learn = Student()
    learn.dls.path, learn.recipe = 'a folder', Recipe(size=32, stages='1x16x4', bs=8, splitter='random', seed=7)
    fit_stages(learn)
    assert asked == [('a folder', known(learn.recipe, stage) | dict(fog=.5)) for stage in learn.recipe.schedule()]
    assert [call[3:] for call in learn.calls] == [(16, 4), (32, 8)]


# ---------------------------------------------------------------- with fastai

@pytest.fixture(scope='module')
def small(toynette_of): return toynette_of(2, 1)


def learner(path):
    from sotalearn.training import make_learner
    return make_learner(Recipe(dataset=str(path), size=16, epochs=1, bs=4, seed=3))


def test_a_learner_without_a_recipe_keeps_to_its_folder(small):
    learn = learner(small)
    del learn.recipe
    with learn.no_bar(), learn.no_logging(): stages = progressive_fit(learn, [(1, 8, 4), (1, 16, 4)])
    assert learn.dls.path == small and [stage['images'] for stage in stages] == [20, 40]
    assert learn.dls.one_batch()[0].shape[-2:] == (16, 16)


def test_a_learner_without_a_recipe_keeps_to_its_pictures_and_what_is_done_to_them(small):
    from sotalearn.data import get_dls
    learn = learner(small)
    del learn.recipe
    learn.dls = get_dls(4, 8, small, normalize=False, splitter='random', seed=5, cache=False)
    before, pictures = learn.dls, list(learn.dls.train_ds.items)
    with learn.no_bar(), learn.no_logging(): progressive_fit(learn, [(1, 8, 4), (1, 16, 4)])
    assert learn.dls is not before and list(learn.dls.train_ds.items) == pictures
    assert 'Normalize' not in str(learn.dls.valid.after_batch)
    learn.dls = get_dls(4, 8, small, presize=16, cache=False)
    with pytest.raises(ValueError, match='stages: size must be a whole number from 1 to 16, got 32'):
        progressive_fit(learn, [(1, 8, 4), (1, 32, 4)])
    del learn.dls.again                                             # as of DataLoaders of another make
    with pytest.raises(ValueError, match='dls_at must be given for DataLoaders that get_dls did not make, got none'):
        progressive_fit(learn, [(1, 8, 4), (1, 16, 4)])


def test_a_run_that_is_interrupted_in_its_second_stage_leaves_no_row(small, tmp_path, monkeypatch):
    from sotalearn import training
    reached = []

    def interrupt(learn, *_):
        reached.append(learn.dls.one_batch()[0].shape[-1])
        raise KeyboardInterrupt
    monkeypatch.setattr(training.Learner, 'fine_tune', interrupt)
    recipe = Recipe(dataset=str(small), size=16, epochs=1, bs=4, stages='1x8', seed=3)
    with pytest.raises(KeyboardInterrupt): training.train(recipe, tmp_path/'runs.csv', fit=fit_stages)
    assert reached == [16] and not (tmp_path/'runs.csv').exists()       # its checkpoint is there, to go on from


def test_a_new_head_on_a_trained_body(small):
    from sotalearn.resizing import transfer_learner
    old = learner(small)
    new = transfer_learner(old.model, old.dls)
    assert new.model is not old.model and not torch.equal(new.model[-1].weight, old.model[-1].weight)
    new.freeze()
    head, stem = ([o.requires_grad for o in layer.parameters()] for layer in (new.model[-1], new.model[0][0]))
    assert len(new.opt.param_lists) == 2 and (head, stem) == ([True, True], [False])
    for model, got in ((torch.nn.Sequential(torch.nn.ReLU()), 'ReLU'), (torch.nn.Conv2d(1, 1, 1), 'Conv2d')):
        with pytest.raises(ValueError, match=f'must end in a Linear layer, got {got}'): transfer_learner(model, old.dls)


def test_the_transfer_experiment_is_that_of_its_table(tmp_path, monkeypatch):
    import pandas as pd
    monkeypatch.syspath_prepend(ROOT/'benchmarks')
    from transfer import measure_transfer, ways
    table = pd.read_csv(ROOT/'results'/'transfer.csv')
    epochs, size, bs = (int(table[name].unique().item()) for name in ('pretrain_epochs', 'size', 'bs'))
    for way, stages in ways(epochs, size, bs).items():
        assert set(table[table.way == way].stages) == {' '.join(f'{epochs}x{size}' for epochs, size, _ in stages)}
    for label in 'abc': (tmp_path/'train'/label).mkdir(parents=True)
    for change, complaint in ((dict(), "path: classes in 'train' must be a whole number, 4 or more, got 3"),
                              (dict(epochs=3), 'epochs must be a whole number from 4 to 1000, got 3'),
                              (dict(size=8), 'size must be a whole number from 16 to 4096, got 8')):
        with pytest.raises(ValueError, match=complaint): measure_transfer(tmp_path, **change)
