"""Training: runs that repeat, rows that say everything, and what cannot be recorded is refused before it costs time."""
import gc
import inspect
import weakref

import numpy as np
import pytest
import torch

training = pytest.importorskip('sotalearn.training')
from sotalearn.data import is_cached             # noqa: E402
from sotalearn.models import dls_stats          # noqa: E402
from sotalearn.recipes import COLUMNS           # noqa: E402
from sotalearn.speed import Timing, Way         # noqa: E402


@pytest.fixture(scope='module')
def small(toynette_of): return toynette_of(8, 2)


@pytest.fixture(scope='module')
def trained(small, tmp_path_factory):
    "A learner after one short epoch, and the table with its run."
    table = tmp_path_factory.mktemp('results')/'runs.csv'
    recipe = training.Recipe(dataset=str(small), size=32, epochs=1, bs=16, tta=1, seed=5)
    return training.train(recipe, table), table


def test_a_table_that_cannot_be_written_costs_no_training(tmp_path, monkeypatch):
    monkeypatch.setattr(training, 'make_learner', lambda *args: pytest.fail('nothing is to be trained'))
    (tmp_path/'notes.md').write_text('# My notes')
    with pytest.raises(ValueError, match='results must be a results table in UTF-8'):
        training.train(training.Recipe(), tmp_path/'notes.md')
    with pytest.raises(ValueError, match='got the folder'): training.train(training.Recipe(), tmp_path)
    with pytest.raises(ValueError, match='fit must be sotalearn.resizing.fit_stages'):
        training.train(training.Recipe(stages='1x32'), tmp_path/'runs.csv')


@pytest.mark.parametrize('measure, told', [
    (lambda probs, targets: dict(mine=probs), 'measure: mine must be'),
    (lambda probs, targets: dict(accuracy=.5), "new columns, got 'accuracy'")])
def test_a_measure_that_cannot_be_recorded_costs_no_training(small, tmp_path, monkeypatch, measure, told):
    monkeypatch.setattr(training.Learner, 'fit_one_cycle', lambda *args: pytest.fail('nothing is to be trained'))
    recipe = training.Recipe(dataset=str(small), size=32, epochs=1, bs=16)
    with pytest.raises(ValueError, match=told): training.train(recipe, tmp_path/'runs.csv', measure=measure)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_a_bfloat16_model_as_it_was(small):
    learn = training.make_learner(training.Recipe(dataset=str(small), size=32, epochs=1, bs=16, bf16=True))

    def stop(*args): raise KeyboardInterrupt
    hook = learn.model[0].register_forward_hook(stop)
    with learn.no_bar(), pytest.raises(KeyboardInterrupt): learn.fit_one_cycle(1)
    hook.remove()
    assert 'forward' not in vars(learn.model)


def test_a_model_with_a_forward_of_its_own_keeps_it(small):
    "As `torch.compile` gives it one; an interrupt before it is called, too, leaves the next batch well."
    learn, called = training.make_learner(training.Recipe(dataset=str(small), size=32, bs=16, bf16=True)), []
    forward = learn.model.forward

    def own(x):
        called.append(torch.is_autocast_enabled('cpu'))
        return forward(x)
    def stop(*args): raise KeyboardInterrupt
    learn.model.forward = own
    with learn.no_bar(), learn.no_logging():
        hook = learn.model.register_forward_pre_hook(stop)
        with pytest.raises(KeyboardInterrupt): learn.fit(1)
        hook.remove()
        learn.fit(1)
    assert not [value for value in vars(learn.b_float16).values() if inspect.isfunction(value)]          # it can be pickled
    assert called and all(called) and vars(learn.model)['forward'] is own


@pytest.mark.parametrize('size, dtype', [(16, torch.float32), (17, torch.bfloat16)])
def test_small_pictures_stay_in_float32(small, size, dtype):
    """Of a 3 × 3 convolution over a single pixel, which a network makes of 16, PyTorch's bfloat16 leaves gradients unset."""
    learn, seen = training.make_learner(training.Recipe(dataset=str(small), size=32, bs=16, bf16=True)), []
    learn.dls = training.get_dls(16, size, small)
    learn.model[0].register_forward_hook(lambda module, given, made: seen.append(made.dtype))
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    assert set(seen) == {dtype}
    assert all(weights.isfinite().all() for weights in learn.model.parameters())


def test_the_row_says_everything(trained):
    learn, table = trained
    row = training.read_runs(table).iloc[0]
    assert len(training.read_runs(table)) == 1 and list(training.read_runs(table).columns) == list(COLUMNS)
    assert (row.n_train, row.n_val, row['size'], row.seed, row.tta) == (80, 20, 32, 5, 1)
    assert 0 <= row.accuracy <= 1 and 0 <= row.accuracy_tta <= 1 and row.seconds > 0 and row.images_per_second > 0
    assert 'torch' in row.versions and ('CPU' in row.device or torch.cuda.is_available()) and row.date.endswith('+00:00')


def test_the_same_recipe_gives_the_same_result(trained, small, tmp_path):
    learn, _ = trained
    again = training.train(learn.recipe, tmp_path/'runs.csv')
    assert again.result['accuracy'] == learn.result['accuracy']
    assert again.result['valid_loss'] == pytest.approx(learn.result['valid_loss'], rel=1e-4)


def test_switches_do_what_they_say(small):
    learn = training.make_learner(training.Recipe(dataset=str(small), size=32, mixup=.4, smoothing=.1, normalize=False))
    assert learn.mix_up.distrib.concentration1 == pytest.approx(.4)
    assert learn.loss_func.func.eps == .1 and dls_stats(learn.dls) == ([0.]*3, [1.]*3)


@pytest.fixture
def quiet():
    "A fit without bars."
    def fit(learn):
        with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(learn.recipe.epochs, learn.recipe.lr)
    return fit


def own_metric(learn): learn.metrics = training.error_rate
def two_metrics(learn): learn.metrics = [training.error_rate, training.accuracy]
def of_training_too(learn): learn.recorder.train_metrics = True
def judged_before(learn): learn.validate()
def predicted_before(learn): learn.get_preds()


@pytest.mark.parametrize('begin, end', [(own_metric, None), (two_metrics, None), (of_training_too, None),
                                        (None, judged_before), (None, predicted_before)])
def test_a_row_is_of_the_model_that_is_left_whatever_fit_has_done(small, tmp_path, quiet, no_loaders, begin, end):
    recipe = training.Recipe(dataset=str(small), size=16, epochs=1, bs=8, bf16=False)

    def fit(learn):
        if begin: begin(learn)
        with learn.no_bar(): quiet(learn), end and end(learn)
    usual = training.train(recipe, tmp_path/'usual.csv', quiet, plain=True).result
    found = training.train(recipe, tmp_path/'mine.csv', fit, plain=True).result
    for name in ('accuracy', 'train_loss', 'valid_loss', 'nll', 'confidence'): assert found[name] == usual[name]


def test_a_row_is_of_the_model_that_was_kept(small, tmp_path, no_loaders):
    from fastai.callback.tracker import SaveModelCallback
    recipe, kept = training.Recipe(dataset=str(small), size=16, epochs=3, bs=8, bf16=False), []

    def fit(learn):
        with learn.no_bar(), learn.no_logging():
            learn.fit(3, 1e-3, cbs=[SaveModelCallback(monitor='valid_loss', comp=np.less)])
            kept.extend(learn.validate())
    row = training.train(recipe, tmp_path/'runs.csv', fit, plain=True).result
    assert [row['valid_loss'], row['accuracy']] == pytest.approx(kept, abs=1e-5)


def test_a_fit_that_trains_nothing_is_said(small, tmp_path, no_loaders):
    recipe = training.Recipe(dataset=str(small), size=16, epochs=1, bs=8)
    with pytest.raises(ValueError, match='fit must train for an epoch or more, got none'):
        training.train(recipe, tmp_path/'runs.csv', lambda learn: None, plain=True)
    assert not (tmp_path/'runs.csv').exists()


def test_a_run_that_diverges_is_a_row_that_says_so(small, tmp_path, no_loaders, monkeypatch):
    from sotalearn import bookkeeping
    def diverge(learn, epochs, lr):
        learn.fit(epochs, lr)
        with torch.no_grad(): next(learn.model.parameters()).fill_(float('nan'))
    monkeypatch.setattr(training.Learner, 'fit_one_cycle', diverge)
    bookkeeping.run(training.Recipe(dataset=str(small), size=16, epochs=1, bs=8, tta=1), tmp_path/'runs.csv')
    row = training.read_runs(tmp_path/'runs.csv').iloc[0]
    assert np.isnan([row.valid_loss, row.nll, row.ece]).all() and 0 <= row.accuracy < .5


def test_the_notes_code_to_the_letter(small, tmp_path, quiet, no_loaders):
    threads = torch.get_num_threads()
    recipe = training.Recipe(dataset=str(small), size=32, epochs=1, bs=16)
    learn = training.train(recipe, tmp_path/'runs.csv', quiet, plain=True)
    assert learn.opt_func is training.Adam and learn.way is None and not is_cached(learn.dls)
    assert type(learn.dls.train) is training.TfmdDL and not hasattr(learn, 'b_float16')
    row = training.read_runs(tmp_path/'runs.csv').iloc[0]
    assert (row.how, row.bf16, torch.get_num_threads()) == ('plain', False, threads)
    with pytest.raises(ValueError, match='bf16 must be False or None with plain=True, got True'):
        training.train(training.Recipe(dataset=str(small), bf16=True), tmp_path/'runs.csv', plain=True)


@pytest.mark.parametrize('bf16', [False, True])
def test_what_was_used_stands_in_the_row(small, tmp_path, quiet, bf16):
    recipe = training.Recipe(dataset=str(small), size=32, epochs=1, bs=16, bf16=bf16)
    training.train(recipe, tmp_path/'runs.csv', quiet)
    row = training.read_runs(tmp_path/'runs.csv').iloc[0]
    assert row.bf16 == bf16 and ('bfloat16' in row.how) == bf16 and 'thread' in row.how
    assert row.how.startswith('fused AdamW, ') and row.how.endswith(', cached pictures')


def test_bf16_is_settled_by_the_machine(small):
    learn = training.make_learner(training.Recipe(dataset=str(small), size=32, bs=16))
    assert learn.recipe.bf16 == learn.way.bf16 in (True, False)


def test_more_threads_that_are_not_worth_it_are_not_taken_later_either(small, tmp_path, monkeypatch):
    "Two are faster here, but not by a tenth: one thread trains, from the first batch to the last."
    found = [Timing(Way(threads, False, True), seconds) for threads, seconds in ((1, .01), (2, .0095))]
    monkeypatch.setattr(training, 'timings', lambda *args, **kwargs: found)
    seen = []

    def fit(learn):
        learn.fit(1, 1e-3)
        seen.append((learn.way.threads, [timing.way.threads for timing in learn.paces]))
    training.train(training.Recipe(dataset=str(small), size=32, bs=16), tmp_path/'runs.csv', fit)
    assert seen == [(1, [1])]


def test_threads_are_as_before_after_an_interrupt(small, tmp_path, monkeypatch):
    "Also when the run was sent to fewer threads."
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    seen = []

    def interrupt(learn):
        seen.append(torch.get_num_threads())
        torch.set_num_threads(1)
        raise KeyboardInterrupt
    monkeypatch.setattr(training, 'timings', lambda *args, **kwargs: [Timing(Way(3, False, True), .01)])
    try:
        with pytest.raises(KeyboardInterrupt):
            training.train(training.Recipe(dataset=str(small), size=32, bs=16), tmp_path/'runs.csv', interrupt)
        assert seen == [3] and torch.get_num_threads() == 2 and list(tmp_path.iterdir()) == []
    finally: torch.set_num_threads(before)


def test_a_fast_run_learns_as_the_plain_one(small, tmp_path, quiet, no_loaders):
    "Fused AdamW, kept pictures and the shorter augmentation change rounding only: the losses of a short run stay close."
    recipe = training.Recipe(dataset=str(small), size=32, epochs=2, bs=16, bf16=False)
    losses = [training.train(recipe, tmp_path/'runs.csv', quiet, plain=plain).result['train_loss'] for plain in (True, False)]
    assert losses[1] == pytest.approx(losses[0], rel=.02)


def test_the_run_before_does_not_stay_in_memory(small, tmp_path, quiet, no_loaders):
    recipe = training.Recipe(dataset=str(small), size=16, epochs=1, bs=16)
    gc.disable()                    # it would come by itself, but not soon
    try:
        before = weakref.ref(training.train(recipe, tmp_path/'runs.csv', quiet))
        training.train(recipe, tmp_path/'runs.csv', quiet)
        assert before() is None
    finally: gc.enable()
