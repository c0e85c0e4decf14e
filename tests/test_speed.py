"""What is fastest is measured and remembered; threads are put back; the fused optimizer takes fastai's steps."""
import json
from types import SimpleNamespace

import pytest
import torch

speed = pytest.importorskip('sotalearn.speed')
from fastai.vision.all import (Adam, CrossEntropyLossFlat, DataLoaders, L, Learner, TfmdDL, params,  # noqa: E402
                               set_seed, xresnet18)
from sotalearn import training  # noqa: E402
from sotalearn.recipes import Recipe  # noqa: E402
from sotalearn.speed import KeepPace, Timing, Way, fastest, fused_adam, quickest, threads_set, timings  # noqa: E402


def small_model():
    set_seed(1)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
                               torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, 'data_folder', lambda: tmp_path)
    return tmp_path


def test_what_was_measured_is_remembered(home, monkeypatch):
    model = small_model()
    found = timings(model, 32, 8, threads=1)
    assert {timing.way for timing in found} == {Way(1, True, True), Way(1, False, True), Way(1, False, False)}
    monkeypatch.setattr(speed, '_Trial', lambda *args: pytest.fail('it was measured already'))
    assert timings(model, 32, 8, threads=1) == found
    assert fastest(model, 32, 8, threads=1) == min(found, key=lambda timing: timing.seconds).way
    assert timings(model, 32, 8, threads=1, bf16=False) == [timing for timing in found if not timing.way.bf16]


class Quick:
    "In the place of a trial: whatever is tried takes so many seconds, by way; what was tried stands in `tried`."
    seconds, room, tried = {}, True, []

    def __init__(self, *args): pass

    def time(self, ways):
        self.tried.extend(ways)
        return {way: self.seconds.get(way, .1) for way in ways}

    def time_if_room(self, way): return self.time([way]) if self.room else {}


@pytest.fixture
def quick(home, monkeypatch):
    monkeypatch.setattr(speed, '_Trial', Quick)
    monkeypatch.setattr(Quick, 'tried', [])
    return lambda **values: [monkeypatch.setattr(Quick, name, value) for name, value in values.items()]


def test_a_way_that_was_found_stays_the_same(quick, home):
    "Else two runs of a recipe would differ by more than rounding, for one of them was timed at a busy moment."
    float32, low = Way(1, False, True), Way(1, True, True)
    quick(seconds={float32: .1, low: .05})
    assert fastest(small_model(), 32, 8, threads=1) == low
    quick(seconds={float32: .1, low: .5})
    for how in (dict(threads=1), dict(threads=2), dict(threads=1, bf16=True)):
        assert fastest(small_model(), 32, 8, **how).bf16
    file = home/'.sotalearn'/'speed.json'
    key, = json.loads(file.read_text())[speed.machine()]
    found = speed._remember(key, {low: 9., Way(3, True, True): 1.})         # as of a process that began at the same time
    assert found[low] == .05 and found[Way(3, True, True)] == 1.
    assert len(json.loads(file.read_text())[speed.machine()][key]) == 5


def test_each_model_shape_and_machine_is_measured_by_itself(quick, monkeypatch):
    model = small_model()
    for ask in ((model, 16, 8), (model, 32, 8), (model, 16, 4), (torch.nn.Sequential(model, torch.nn.Linear(3, 2)), 16, 8)):
        timings(*ask, threads=1, bf16=False)
        timings(*ask, threads=1, bf16=False)
    monkeypatch.setattr(speed, 'machine', lambda: 'another')
    timings(model, 16, 8, threads=1, bf16=False)
    assert len(Quick.tried) == 5*2                                          # two memory layouts each


@pytest.mark.parametrize('spoil', [
    lambda text: text[:len(text)//2], lambda text: '[1, 2]', lambda text: '{"AMD": 3}', lambda text: '',
    lambda text: text.replace('1,', '4096,'), lambda text: text.replace('true', '"x"').replace('0.', '-0.')])
def test_a_spoilt_memory_is_measured_anew(home, spoil):
    timings(small_model(), 16, 8, threads=1)
    file = home/'.sotalearn'/'speed.json'
    file.write_text(spoil(file.read_text()))
    assert all(timing.way.threads == 1 and timing.seconds > 0 for timing in timings(small_model(), 16, 8, threads=1))
    assert isinstance(json.loads(file.read_text()), dict)


def test_no_memory_is_no_reason_not_to_train(home):
    (home/'.sotalearn').write_text('a file where the folder would be')
    assert fastest(small_model(), 16, 8, threads=1).threads == 1


def test_on_a_busy_machine_one_thread_is_taken_and_more_are_tried_another_time(quick, monkeypatch):
    many = Way(2, True, True)
    quick(room=False, seconds={many: .01, Way(1, True, True): .05})
    assert fastest(small_model(), 32, 8, threads=2).threads == 1
    assert many not in Quick.tried
    quick(room=True)
    assert fastest(small_model(), 32, 8, threads=2) == many
    monkeypatch.setattr(speed, '_Trial', lambda *args: pytest.fail('it was measured already'))
    assert fastest(small_model(), 32, 8, threads=2) == many and fastest(small_model(), 32, 8, threads=1).threads == 1


def test_room_is_looked_for_before_more_threads_are_tried(monkeypatch):
    trial, stepped = speed._Trial(small_model(), 32, 8, torch.device('cpu')), []
    monkeypatch.setattr(trial, 'step', lambda way: stepped.append(way.threads) or .01)
    monkeypatch.setattr(speed.Room, 'for_threads', lambda self, threads: False)
    assert trial.time_if_room(Way(2, False, True)) == {} and set(stepped) == {1}
    monkeypatch.setattr(speed.Room, 'for_threads', lambda self, threads: True)
    assert trial.time_if_room(Way(2, False, True)) == {Way(2, False, True): .01/trial.n}


def test_more_threads_must_be_worth_it():
    one, many = Timing(Way(1, False, True), 1.), Way(2, False, True)
    assert quickest([one, Timing(many, .95)]).threads == 1
    assert quickest([one, Timing(many, .6)]).threads == 2


def test_only_what_was_asked_for_is_tried(home):
    assert not any(timing.way.bf16 for timing in timings(small_model(), 16, 8, threads=1, bf16=False))
    assert fastest(small_model(), 32, 8, threads=1, bf16=True) == Way(1, True, True)
    assert not any(timing.way.bf16 for timing in timings(small_model(), 16, 8, threads=1))
    with pytest.raises(ValueError, match='bf16 must be False or None below 17 px, got True'):
        timings(small_model(), 16, 8, threads=1, bf16=True)
    for bad in (dict(size=4), dict(bs=0), dict(threads=0)):
        with pytest.raises(ValueError, match='must be a whole number'):
            timings(small_model(), **{**dict(size=16, bs=8), **bad})


def test_a_model_is_left_as_it_was(home):
    model = small_model().append(torch.nn.Dropout()).eval()
    before = [tensor.clone() for tensor in model.state_dict().values()]
    state = torch.get_rng_state()
    timings(model, 16, 8, threads=1)
    assert not model.training and all(map(torch.equal, before, model.state_dict().values()))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


class Clock:
    "A clock that says what it is told."
    now = 0.
    def __call__(self): return self.now


@pytest.fixture
def pace(monkeypatch):
    "A `KeepPace` made on two threads; `pace.batch(seconds)` is a training batch that takes so long."
    clock, before = Clock(), torch.get_num_threads()
    monkeypatch.setattr(speed, 'perf_counter', clock)
    monkeypatch.setattr(speed.Room, 'for_threads', lambda self, threads: pace.free)
    torch.set_num_threads(2)
    pace = KeepPace([Timing(Way(1, True, True), .01), Timing(Way(2, True, True), .006)], 8, speed.Room())
    pace.free, pace.learn = True, SimpleNamespace(x=torch.zeros(10, 3, 8, 8))

    def batch(seconds):
        pace.before_batch()
        clock.now += seconds
        pace.after_batch()
        return torch.get_num_threads()
    pace.batch = batch
    yield pace
    torch.set_num_threads(before)


def test_fewer_threads_while_the_machine_is_busy(pace):
    assert [pace.batch(.06) for _ in range(5)] == [2]*5
    assert [pace.batch(.2) for _ in range(3)] == [2, 1, 1]          # the median of three
    pace.free = False
    assert {pace.batch(.1) for _ in range(300)} == {1}              # no core to spare, however long it waits
    pace.free = True
    assert 2 in {pace.batch(.1) for _ in range(100)} and pace.used == {1, 2}
    assert pace.batch(.06) == 2


def test_a_hopeless_batch_is_enough(pace):
    assert pace.batch(2.) == 1
    assert [pace.batch(.1) for _ in range(90)] == [1]*90            # not tried again for a while
    while pace.batch(.1) == 1: pass
    assert pace.batch(.2) == 1                                      # once slow is enough this time


def test_a_machine_that_is_busy_already_gets_one_thread_from_the_first_batch(pace):
    pace.free = False
    assert [pace.batch(.1) for _ in range(60)] == [1]*60 and pace.used == {1}
    pace.free = True
    assert 2 in {pace.batch(.1) for _ in range(60)} and pace.batch(.06) == 2 and pace.used == {1, 2}


def test_a_run_asks_for_room_while_its_learner_is_made(toynette_of, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(speed.Room, 'for_threads', lambda self, threads: asked.append(threads))
    with threads_set(2), monkeypatch.context() as patch:
        patch.setattr(training, 'timings', lambda *args, **kwargs: [Timing(Way(n, False, True), 1/n) for n in (1, 2)])
        recipe = Recipe(dataset=str(toynette_of(2, 1)), size=16, epochs=1, bs=10, tta=0)
        learn = training.train(recipe, tmp_path/'runs.csv')
        assert torch.get_num_threads() == 2                         # put back
    assert asked == [2] and ', 1 thread, ' in learn.result['how']      # what was really used


def test_one_thread_is_never_changed():
    pace = KeepPace([Timing(Way(1, True, True), .01)], 8, speed.Room())
    pace.learn, before = SimpleNamespace(x=torch.zeros(10, 3, 8, 8)), torch.get_num_threads()
    for _ in range(5):
        pace.before_batch()
        pace.after_batch()
    assert torch.get_num_threads() == before


def learner(opt_func, **kwargs):
    x, y = torch.rand(24, 3, 8, 8, generator=torch.Generator().manual_seed(3)), torch.arange(24) % 3
    dl = TfmdDL(list(zip(x, y)), bs=8, num_workers=0)
    return Learner(DataLoaders(dl, dl), small_model(), CrossEntropyLossFlat(), opt_func=opt_func, **kwargs)


@pytest.mark.parametrize('train', [
    lambda learn: learn.fit_one_cycle(3, 3e-3, wd=.3), lambda learn: learn.fine_tune(2, 3e-3),
    lambda learn: learn.fit(2, slice(1e-4, 3e-3), wd=.1)])
def test_the_fused_optimizer_takes_fastais_steps(train):
    groups = dict(splitter=lambda model: L(params(model[:3]), params(model[3:])))
    weights = []
    for opt_func in (Adam, fused_adam()):
        learn = learner(opt_func, **groups)
        with learn.no_bar(), learn.no_logging(): train(learn)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in learn.model.parameters()]))
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-4, atol=1e-5)


def test_biases_and_batch_normalization_are_not_decayed():
    learn = learner(fused_adam())
    learn.create_opt()
    decayed, others = learn.opt._parts(learn.opt.opt.param_groups[0])
    assert (len(decayed['params']), len(others['params']), others['weight_decay']) == (2, 3, 0.)


def test_a_real_model_is_measured_in_a_moment(home):
    found = timings(xresnet18(n_out=10), 32, 64, threads=1)
    assert len(found) == 3 and all(timing.seconds < 1 for timing in found)
