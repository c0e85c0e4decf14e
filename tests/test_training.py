"""Training: recipes that repeat, a table that loses no row, models that bring their statistics along."""
import subprocess
import sys

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from sotalearn.toynette import make_toynette

training = pytest.importorskip('sotalearn.training')
from sotalearn.data import Picture, get_dls          # noqa: E402
from sotalearn.normalization import dls_stats, load_model, save_model          # noqa: E402


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    return make_toynette(tmp_path_factory.mktemp('data')/'small', train=8, val=2, show_progress=False)


@pytest.fixture(scope='module')
def trained(small, tmp_path_factory):
    "A learner after one short epoch, and the table with its run."
    table = tmp_path_factory.mktemp('results')/'runs.csv'
    recipe = training.Recipe(dataset=str(small), size=32, epochs=1, bs=16, tta=1, seed=5)
    return training.train(recipe, table), table


def test_many_processes_append_without_losing_a_row(tmp_path):
    table = tmp_path/'runs.csv'
    code = ('import sys; from sotalearn.training import append_run\n'
            f'for i in range(10): append_run(dict(seed=int(sys.argv[1])*100 + i, arch="a, \\"b\\"\\nc"), {str(table)!r})')
    processes = [subprocess.Popen([sys.executable, '-c', code, str(k)]) for k in range(2)]
    assert [o.wait(timeout=120) for o in processes] == [0, 0]
    runs = training.read_runs(table)
    assert sorted(runs.seed) == sorted(k*100 + i for k in range(2) for i in range(10))


def test_a_table_that_excel_saved_goes_on(tmp_path):
    table = tmp_path/'runs.csv'
    table.write_text('dataset,seed,note\ntoynette,1,"first line\nsecond\u2028line"\n', encoding='utf-8-sig')
    training.append_run(dict(dataset='toynette', seed=2), table)
    runs = training.read_runs(table)
    assert list(runs.columns) == ['dataset', 'seed', 'note'] and list(runs.seed) == [1, 2]
    assert runs.note[0] == 'first line\nsecond\u2028line'
    (tmp_path/'empty.csv').touch()
    assert training.read_runs(tmp_path/'empty.csv').empty


def test_what_is_no_table_is_refused_and_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(training, 'make_learner', lambda recipe: pytest.fail('nothing is to be trained'))
    for name, content in (('notes.md', b'# My notes\nMixup, "as is", helped.\n'), ('latin.csv', 'seed,note\n1,caf\xe9\n'.encode('latin-1')), ('mark.csv', b'\xef\xbb\xbf')):
        file = tmp_path/name
        file.write_bytes(content)
        for write in (lambda: training.append_run(dict(seed=2), file), lambda: training.train(training.Recipe(), file)):
            with pytest.raises(ValueError, match='results must be a results table in UTF-8'): write()
        assert file.read_bytes() == content
    with pytest.raises(ValueError, match='got the folder'): training.train(training.Recipe(), tmp_path)


def test_a_measure_that_cannot_be_recorded_costs_no_training(small, tmp_path, monkeypatch):
    monkeypatch.setattr(training.Learner, 'fit_one_cycle', lambda *args: pytest.fail('nothing is to be trained'))
    recipe = training.Recipe(dataset=str(small), size=32, epochs=1, bs=16)
    for measure, told in ((lambda p, y: dict(mine=p), 'measure: mine must be'), (lambda p, y: dict(accuracy=.5), "new columns, got 'accuracy'")):
        with pytest.raises(ValueError, match=told): training.train(recipe, tmp_path/'runs.csv', measure=measure)
    assert list(tmp_path.iterdir()) == []


def test_recipes_hold_what_a_table_can_find_again():
    import numpy as np
    assert type(training.Recipe(lr=np.float32(.5)).lr) is float and type(training.Recipe(size=np.int64(64)).size) is int
    for bad, told in ((dict(bf16=1), 'bf16 must be True or False, got 1'), (dict(stages=None), 'stages must be text, got None'),
                      (dict(dataset=5), 'dataset must be text, got 5'), (dict(stages='1x32x1'), 'bs must be 2 or more in stages, got 1')):
        with pytest.raises(ValueError, match=told): training.Recipe(**bad)


def test_an_interrupt_leaves_a_bfloat16_model_as_it_was(small):
    learn = training.make_learner(training.Recipe(dataset=str(small), size=32, epochs=1, bs=16, bf16=True))
    def stop(*args): raise KeyboardInterrupt
    hook = learn.model[0].register_forward_hook(stop)
    with learn.no_bar(), pytest.raises(KeyboardInterrupt): learn.fit_one_cycle(1)
    hook.remove()
    assert 'forward' not in vars(learn.model)


def test_an_older_table_is_widened_and_keeps_its_rows_and_columns(tmp_path):
    table = tmp_path/'runs.csv'
    table.write_text('seed,mine\n1,"a, b"\n')
    training.append_run(dict(seed=2, accuracy=.5), table)
    runs = training.read_runs(table)
    assert list(runs.columns) == ['seed', 'mine', 'accuracy']
    assert list(runs.seed) == [1, 2] and runs.mine[0] == 'a, b' and pd.isna(runs.accuracy[0])


def test_a_table_that_was_never_written_is_empty(tmp_path):
    runs = training.read_runs(tmp_path/'none.csv')
    assert len(runs) == 0 and list(runs.columns) == list(training.COLUMNS)


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
    with pytest.raises(KeyboardInterrupt): training.train(training.Recipe(dataset=str(small), size=32, epochs=1), tmp_path/'runs.csv')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('change, complaint', [
    (dict(size=0), 'size must be a whole number from 8 to 1024, got 0'), (dict(bs=-1), 'bs must be'), (dict(epochs=1.5), 'got 1.5'),
    (dict(lr=0), 'lr must be a number from 1e-08 to 10, got 0'), (dict(lr=float('inf')), 'got inf'),
    (dict(mixup=-.4), 'mixup must be a number from 0 to 100, got -0.4'), (dict(smoothing=1), 'smoothing must be'),
    (dict(arch='resnet'), 'arch must be one of xresnet18'), (dict(splitter='none'), 'splitter must be one of folders, random'),
    (dict(normalize='no'), 'normalize must be True or False')])
def test_a_recipe_that_cannot_be_run_is_refused(change, complaint):
    with pytest.raises(ValueError) as caught: training.Recipe(**change)
    assert complaint in str(caught.value)


def test_switches_do_what_they_say(small):
    learn = training.make_learner(training.Recipe(dataset=str(small), size=32, mixup=.4, smoothing=.1, normalize=False))
    assert [o for o in learn.cbs if type(o).__name__ == 'MixUp'][0].distrib.concentration1 == pytest.approx(.4)
    assert learn.loss_func.func.eps == .1 and dls_stats(learn.dls) == ([0.]*3, [1.]*3)


def test_a_saved_model_says_what_the_learner_says(trained, tmp_path):
    learn, _ = trained
    loaded = load_model(save_model(learn, tmp_path/'model'))
    assert loaded.vocab == list(learn.dls.vocab) and (loaded.size, loaded.arch) == (32, 'xresnet18')
    for file in learn.dls.valid_ds.items[:3]:
        label, probs = loaded.predict(file)
        with learn.no_bar(): expected = learn.predict(Picture.create(file))
        assert label == expected[0] and torch.allclose(probs, expected[2], atol=1e-4)
        assert probs.sum().item() == pytest.approx(1, abs=1e-5)


def test_other_statistics_are_warned_of_and_the_same_are_not(trained, tmp_path, recwarn):
    learn, _ = trained
    file = save_model(learn, tmp_path/'model')
    load_model(file, stats=dls_stats(learn.dls))
    assert not [o for o in recwarn if 'was trained with' in str(o.message)]
    with pytest.warns(UserWarning, match='was trained with mean'): load_model(file, stats=([0]*3, [1]*3))


def test_a_file_without_statistics_is_refused(trained, tmp_path):
    learn, _ = trained
    file = save_model(learn, tmp_path/'model')
    weights = load_file(file)
    save_file(weights, tmp_path/'bare.safetensors')
    with pytest.raises(ValueError, match='must carry the statistics, classes and size'): load_model(tmp_path/'bare.safetensors')
    (tmp_path/'cut.safetensors').write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match='must be a safetensors file'): load_model(tmp_path/'cut.safetensors')
    with pytest.raises(ValueError, match='which is no file'): load_model(tmp_path/'none.safetensors')


def test_saving_never_overwrites_unasked(trained, tmp_path):
    learn, _ = trained
    file = save_model(learn, tmp_path/'model')
    before = file.read_bytes()
    with pytest.raises(ValueError, match='which exists'): save_model(learn, tmp_path/'model')
    assert file.read_bytes() == before and save_model(learn, file, overwrite=True) == file


def test_a_learner_of_unknown_architecture_is_asked_for_it(small, tmp_path):
    learn = training.Learner(get_dls(16, 32, small), training.xresnet18(n_out=10), loss_func=training.CrossEntropyLossFlat())
    with pytest.raises(ValueError, match='arch must be one of xresnet18'): save_model(learn, tmp_path/'model')
    assert not list(tmp_path.iterdir())
    assert load_model(save_model(learn, tmp_path/'model', arch='xresnet18')).arch == 'xresnet18'


def test_the_measured_runs_are_whole():
    runs = training.read_runs(training.course_folder('results')/'runs.csv')
    assert set(training.COLUMNS) <= set(runs.columns)
    core = runs[(runs.arch == 'xresnet18') & (runs['size'] == 64) & (runs.epochs == 5) & (runs.splitter == 'folders')]
    counts = core.groupby(['dataset', 'normalize']).seed.nunique()
    for name in ('imagenette-160', 'toynette'):
        for normalize in (True, False): assert counts[name, normalize] >= 3
    later = ['accuracy_tta', 'nll', 'confidence', 'ece', 'cpu_seconds']        # not recorded by the first runs
    assert runs[[o for o in training.MEASURED if o not in ('commit', *later)]].notna().all().all()
    assert runs.loc[runs.tta > 0, later].notna().all().all()
