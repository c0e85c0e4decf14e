"""Progressive resizing: stages that can be trained, the calls they make, what they cost, and the live plan of them."""
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from sotalearn.resizing import check_stages, fit_cost, images_seen, progressive_fit, schedule_name, schedule_seconds, time_batches


def test_the_idea_costs_no_import_of_fastai():
    code = ('import sys\nfrom sotalearn.resizing import check_stages, fit_cost, images_seen\n'
            "slow = {'fastai', 'fastbook', 'matplotlib', 'pandas', 'scipy', 'IPython', 'torchvision', 'sotalearn.data'} & set(sys.modules)\n"
            'assert not slow, slow')
    subprocess.run([sys.executable, '-c', code], check=True, timeout=120)


BAD_STAGES = [
    (None, 'stages must be a list of (epochs, size, bs), got None'), ([], 'got []'), (5, 'got 5'), ([5], 'got [5]'),
    ('4x32', "got '4x32'"), ([(4, 32)], 'got [(4, 32)]'), ([(4, 32, 64, 1)], 'stages must be a list'), (((1, 32, 64), ()), 'stages must be a list'),
    ([(4, 64, 64), (1, 64, 64)], 'stages must grow in size from one to the next, got sizes 64, 64'),
    ([(4, 64, 64), (1, 32, 64)], 'got sizes 64, 32'), ([(1, 32, 8), (1, 64, 8), (1, 48, 8)], 'got sizes 32, 64, 48'),
    ([(0, 32, 64)], 'stages: epochs must be a whole number from 1 to 1000, got 0'), ([(-1, 32, 64)], 'got -1'), ([(1.5, 32, 64)], 'got 1.5'),
    ([(float('nan'), 32, 64)], 'stages: epochs must be a whole number from 1 to 1000, got nan'), ([(float('inf'), 32, 64)], 'got inf'),
    ([(True, 32, 64)], 'got True'), ([('4', 32, 64)], "got '4'"), ([(None, 32, 64)], 'got None'),
    ([(4, 7, 64)], 'stages: size must be a whole number from 8 to 4096, got 7'), ([(4, 32., 64)], 'stages: size must be'),
    ([(4, 5000, 64)], 'got 5000'), ([(4, (32, 32), 64)], 'got (32, 32)'),
    ([(4, 32, 1)], 'stages: bs must be a whole number from 2 to 65536, got 1'), ([(4, 32, 0)], 'got 0'), ([(4, 32, float('nan'))], 'got nan')]


@pytest.mark.parametrize('stages, complaint', BAD_STAGES, ids=[repr(o[0]) for o in BAD_STAGES])
def test_stages_that_cannot_be_are_refused(stages, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)) as error: check_stages(stages)
    assert str(error.value).startswith('stages') and '\n' not in str(error.value)


def test_stages_may_be_any_iterable_of_triples():
    assert check_stages(list(o) for o in [(4, 32, 64)]) == [(4, 32, 64)]
    assert check_stages(((1, 32, 64), (2, 64, 32), (1, 96, 16))) == [(1, 32, 64), (2, 64, 32), (1, 96, 16)]


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
    assert [(o['epochs'], o['size'], o['bs'], o['images']) for o in stages] == [(4, 128, 128, 400), (5, 224, 64, 600)]
    assert learn.dls.size == 224 and all(o['seconds'] >= 0 for o in stages)


def test_a_pretrained_model_is_fine_tuned_from_the_first_stage_on():
    learn = Student()
    stages = progressive_fit(learn, [(2, 32, 8), (3, 48, 8), (1, 64, 8)], lr=2e-3, fine_lr=5e-4, dls_at=dls, pretrained=True)
    assert [o[:4] for o in learn.calls] == [('fine_tune', 2, 2e-3, 32), ('fine_tune', 3, 5e-4, 48), ('fine_tune', 1, 5e-4, 64)]
    assert [o['images'] for o in stages] == [300, 400, 200]


@pytest.mark.parametrize('change, complaint', [
    (dict(stages=[(1, 64, 8), (1, 32, 8)]), 'stages must grow in size'), (dict(lr=0), 'lr must be a number from 1e-08 to 10, got 0'),
    (dict(lr=float('nan')), 'lr must be a number from 1e-08 to 10, got nan'), (dict(lr='3e-3'), "got '3e-3'"), (dict(fine_lr=-1e-3), 'fine_lr must be'),
    (dict(fine_lr=float('inf')), 'fine_lr must be a number from 1e-08 to 10, got inf'),
    (dict(dls_at=None, stages=[(1, 32, 101)]), 'stages: bs must be a whole number from 2 to 100, got 101'),
    (dict(dls_at=lambda bs, size: dls(bs, size, 'abc')), 'dls_at must give DataLoaders of the same 2 classes, got a, b, c'),
    (dict(dls_at=lambda bs, size: dls(bs, size, 'ba')), 'got b, a')])
def test_nothing_is_trained_on_bad_input(change, complaint):
    learn = Student()
    with pytest.raises(ValueError, match=re.escape(complaint)):
        progressive_fit(learn, **{**dict(stages=[(1, 32, 8), (1, 64, 8)], dls_at=dls), **change})
    assert learn.calls == []


def test_the_cost_of_a_size_is_found_again():
    cost = fit_cost({size: .002 + .003*(size/64)**2 for size in (32, 64, 160)})
    assert cost(128) == pytest.approx(.014) and cost(224) == pytest.approx(.002 + .003*3.5**2)
    assert fit_cost({32: 1., 64: .5})(8) >= 0                                   # odd timings give no negative cost


@pytest.mark.parametrize('timings, complaint', [
    ({}, 'timings must hold at least two sizes, got none'), ({64: .1}, 'got 64'), ({64: .1, 128: 0}, 'timings: seconds must be a number'),
    ({64: .1, 128: float('nan')}, 'got nan'), ({64: .1, 'large': .2}, "timings: size must be a whole number from 8 to 4096, got 'large'")])
def test_timings_that_tell_nothing_are_refused(timings, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)): fit_cost(timings)


def test_a_schedule_costs_what_its_images_cost():
    stages = [(4, 64, 64), (1, 128, 64)]
    assert images_seen(stages, 300, 30) == {64: 4*310, 128: 2*310}
    assert images_seen([(5, 128, 64)], 300) == {128: 1500}
    assert schedule_seconds(stages, lambda size: size/64, 300, 30) == 4*310 + 2*310*2
    assert schedule_name(stages) == '4×64 + (1+1)×128' and schedule_name([(5, 64, 8)]) == '5×64'
    for n in (0, -1, 1.5, None):
        with pytest.raises(ValueError, match='n_train must be a whole number, 1 or more'): images_seen(stages, n)


def test_timing_leaves_the_model_as_it_was():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    before = {name: o.clone() for name, o in model.state_dict().items()}
    timings = time_batches(model, (16, 8), bs=2, repeats=1)
    assert list(timings) == [16, 8] and not model.training and all(o.grad is None for o in model.parameters())
    assert all(torch.equal(o, before[name]) for name, o in model.state_dict().items())
    for change in (dict(sizes=(7,)), dict(bs=1), dict(repeats=0), dict(repeats=float('nan'))):
        with pytest.raises(ValueError): time_batches(model, **{**dict(sizes=(8,)), **change})


# ---------------------------------------------------------------- with fastai

@pytest.fixture(scope='module')
def small(tmp_path_factory):
    from sotalearn.toynette import make_toynette
    return make_toynette(tmp_path_factory.mktemp('data')/'small', train=2, val=1, show_progress=False)


def learner(path, **change):
    training = pytest.importorskip('sotalearn.training')
    return training.make_learner(training.Recipe(dataset=str(path), **{**dict(size=16, epochs=1, bs=4, seed=3), **change}))


def weights(learn): return torch.cat([o.detach().cpu().flatten() for o in learn.model.parameters()])


def test_one_stage_is_fit_one_cycle(small):
    from sotalearn.data import get_dls
    ours, theirs = learner(small), learner(small)
    with ours.no_bar(), ours.no_logging(): progressive_fit(ours, [(1, 16, 4)])
    theirs.dls = get_dls(4, 16, small, seed=3)
    with theirs.no_bar(), theirs.no_logging(): theirs.fit_one_cycle(1, 3e-3)
    assert torch.allclose(weights(ours), weights(theirs), atol=1e-6)


def test_a_learner_without_a_recipe_keeps_to_its_folder(small):
    learn = learner(small)
    del learn.recipe
    with learn.no_bar(), learn.no_logging(): stages = progressive_fit(learn, [(1, 8, 4), (1, 16, 4)])
    assert learn.dls.path == small and [o['images'] for o in stages] == [20, 40]
    assert learn.dls.one_batch()[0].shape[-2:] == (16, 16)


def test_a_run_that_is_interrupted_in_its_second_stage_leaves_no_row(small, tmp_path, monkeypatch):
    from sotalearn import training
    from sotalearn.resizing import fit_stages
    reached = []

    def interrupt(learn, *_):
        reached.append(learn.dls.one_batch()[0].shape[-1])
        raise KeyboardInterrupt
    monkeypatch.setattr(training.Learner, 'fine_tune', interrupt)
    recipe = training.Recipe(dataset=str(small), size=16, epochs=1, bs=4, stages='1x8', seed=3)
    with pytest.raises(KeyboardInterrupt): training.train(recipe, tmp_path/'runs.csv', fit=fit_stages)
    assert reached == [16] and list(tmp_path.iterdir()) == []


def test_a_new_head_on_a_trained_body(small):
    from sotalearn.resizing import transfer_learner
    old = learner(small)
    new = transfer_learner(old.model, old.dls)
    assert new.model is not old.model and not torch.equal(new.model[-1].weight, old.model[-1].weight)
    new.freeze()
    trained = [o.requires_grad for o in new.model[-1].parameters()], [o.requires_grad for o in new.model[0][0].parameters()]
    assert len(new.opt.param_lists) == 2 and trained == ([True, True], [False])
    for model, got in ((torch.nn.Sequential(torch.nn.ReLU()), 'ReLU'), (torch.nn.Conv2d(1, 1, 1), 'Conv2d')):
        with pytest.raises(ValueError, match=f'model must end in a Linear layer, got {got}'): transfer_learner(model, old.dls)


def test_transfer_needs_classes_to_halve(tmp_path):
    from sotalearn.resizing import measure_transfer
    for split in ('train', 'val'):
        for label in 'abc': (tmp_path/split/label).mkdir(parents=True)
    with pytest.raises(ValueError, match="path: classes in 'train' must be a whole number, 4 or more, got 3"): measure_transfer(tmp_path)
    with pytest.raises(ValueError, match='epochs must be a whole number from 4 to 1000, got 3'): measure_transfer(tmp_path, epochs=3)
    with pytest.raises(ValueError, match='size must be a whole number from 16 to 1024, got 8'): measure_transfer(tmp_path, size=8)


@pytest.fixture(scope='module')
def demo():
    from sotalearn.resizing import resizing_demo
    demo = resizing_demo(language='en')
    yield demo
    demo.close()


def test_the_plan_follows_its_sliders(demo):
    minutes = lambda **values: float(re.search(r'([\d.]+) minutes', demo.alt(**{**demo.values, **values}))[1])
    demo.picture()
    assert demo.alt(**demo.values).startswith('3×64 + (1+1)×128: ')
    assert minutes(small_epochs=1) < minutes() < minutes(small=96) < minutes(small=96, large_epochs=3)
    assert demo.alt(small=64, small_epochs=0, large_epochs=2).startswith('2×128: ')        # nothing before: no epoch to settle in
    first, second = demo.picture(small_epochs=3), demo.picture(small_epochs=0)
    assert first.size == second.size and first.tobytes() != second.tobytes()


def test_your_own_machine_has_its_own_minutes():
    from sotalearn.resizing import resizing_demo
    demo = resizing_demo(lambda size: 60*(size/128)**2, n_train=1, n_val=0, language='en')
    demo.picture()
    assert demo.alt(**demo.values) == '3×64 + (1+1)×128: 2.8 minutes, 55 % of the dashed.'
    demo.close()


def test_the_stored_plan_is_small_and_speaks_both_languages(demo):
    page = demo.html(['en', 'zh'])
    assert len(page.encode()) < 1_500_000
    told = [json.loads(o) for o in re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)]
    assert [o['spec']['language'] for o in told] == ['en', 'zh']
    assert all(len(o['pictures']) == 3*4*2 and not o['spec']['failed'] for o in told)
    assert 'minutes' in told[0]['pictures']['2,3,0']['alt'] and '分钟' in told[1]['pictures']['2,3,0']['alt']


def test_without_measured_runs_the_plan_says_what_it_needs(monkeypatch):
    from sotalearn import resizing
    monkeypatch.setattr(resizing, 'schedule_runs', lambda size: {})
    demo = resizing.resizing_demo(language='en')
    assert 'seconds_per_image must be given' in repr(demo)
    demo.close()
