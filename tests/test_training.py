"""Training: runs that repeat, rows that say everything, and what cannot be recorded is refused before it costs time."""
import pytest
import torch

from sotalearn.toynette import make_toynette

training = pytest.importorskip('sotalearn.training')
from sotalearn.models import dls_stats          # noqa: E402


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    return make_toynette(tmp_path_factory.mktemp('data')/'small', train=8, val=2, show_progress=False)


@pytest.fixture(scope='module')
def trained(small, tmp_path_factory):
    "A learner after one short epoch, and the table with its run."
    table = tmp_path_factory.mktemp('results')/'runs.csv'
    recipe = training.Recipe(dataset=str(small), size=32, epochs=1, bs=16, tta=1, seed=5)
    return training.train(recipe, table), table


def test_a_table_that_cannot_be_written_costs_no_training(tmp_path, monkeypatch):
    monkeypatch.setattr(training, 'make_learner', lambda recipe: pytest.fail('nothing is to be trained'))
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


def test_the_row_says_everything(trained):
    learn, table = trained
    row = training.read_runs(table).iloc[0]
    assert len(training.read_runs(table)) == 1 and list(training.read_runs(table).columns) == list(training.COLUMNS)
    assert (row.n_train, row.n_val, row['size'], row.seed, row.tta) == (80, 20, 32, 5, 1)
    assert 0 <= row.accuracy <= 1 and 0 <= row.accuracy_tta <= 1 and row.seconds > 0 and row.images_per_second > 0
    assert 'torch' in row.versions and ('CPU' in row.device or torch.cuda.is_available()) and row.date.endswith('+00:00')


def test_the_same_recipe_gives_the_same_result(trained, small, tmp_path):
    learn, _ = trained
    again = training.train(learn.recipe, tmp_path/'runs.csv')
    assert again.result['accuracy'] == learn.result['accuracy']
    assert again.result['valid_loss'] == pytest.approx(learn.result['valid_loss'], rel=1e-4)


def test_an_interrupted_run_leaves_no_row(small, tmp_path, monkeypatch):
    def interrupt(*_): raise KeyboardInterrupt
    monkeypatch.setattr(training.Learner, 'fit_one_cycle', interrupt)
    recipe = training.Recipe(dataset=str(small), size=32, epochs=1)
    with pytest.raises(KeyboardInterrupt): training.train(recipe, tmp_path/'runs.csv')
    assert list(tmp_path.iterdir()) == []


def test_switches_do_what_they_say(small):
    learn = training.make_learner(training.Recipe(dataset=str(small), size=32, mixup=.4, smoothing=.1, normalize=False))
    assert learn.mix_up.distrib.concentration1 == pytest.approx(.4)
    assert learn.loss_func.func.eps == .1 and dls_stats(learn.dls) == ([0.]*3, [1.]*3)
