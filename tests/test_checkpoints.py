"""Checkpoints: a run that is killed at any moment goes on, and ends bit for bit as if it had never been stopped."""
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import threading
import time
from dataclasses import replace
from hashlib import sha256
from itertools import groupby

import pytest

from sotalearn.recipes import Recipe, fits_of, read_runs

MEASURED = ('accuracy', 'accuracy_tta', 'train_loss', 'valid_loss', 'nll', 'confidence')


# ---------------------------------------------------------------- runs that are killed

def train_here(recipe, table, moment, **how):
    "What a process of its own does: go on with a run, be killed at a moment or write down what came out."
    from sotalearn import checkpoints, training
    from sotalearn.resizing import fit_stages
    multiprocessing.set_start_method('fork', force=True)        # for the loader's processes, as in any other program
    if how.pop('no_workers', False): training.defaults.cpus = 0

    def die(*args): os.kill(os.getpid(), signal.SIGKILL)

    def die_when_spent():
        while time.process_time() < moment: time.sleep(.003)
        die()

    def die_halfway(tensors, draft, header):
        draft.write_bytes(b'half of a checkpoint')
        die()

    write = checkpoints.save_file
    def die_at_the_second(tensors, draft, header):
        write(tensors, draft, header)
        checkpoints.save_file = die_halfway
    if moment == 'writing': checkpoints.save_file = die_at_the_second
    if moment == 'judging': training.judged = die
    if isinstance(moment, float): threading.Thread(target=die_when_spent, daemon=True).start()

    def fit(learn):
        with learn.no_bar(), learn.no_logging():
            if recipe.stages: fit_stages(learn)
            else: learn.fit_one_cycle(recipe.epochs, recipe.lr)
        ends.update(recorded(learn))                            # later `get_preds` would have cleared it
    ends = {}
    learn = training.train(recipe, table, fit, resume=True, **how)
    weights = sha256(b''.join(tensor.numpy().tobytes() for tensor in learn.model.state_dict().values()))
    ends |= dict(weights=weights.hexdigest(), row={name: learn.result[name] for name in MEASURED},
                 spent=time.process_time())
    table.with_name('ends.json').write_text(json.dumps(ends))


def recorded(learn):
    "What fastai wrote down in the last fit."
    recorder = learn.recorder
    return dict(values=[list(row) for row in recorder.values], iters=recorder.iters, steps=learn.train_iter,
                losses=[loss.item() for loss in recorder.losses], lrs=[float(lr) for lr in recorder.lrs],
                moms=[float(mom) for mom in recorder.hps['mom']])


@pytest.fixture(scope='module')
def process(forks):
    "Starts a process that trains."
    def start(*args, **how):
        started = forks.Process(target=train_here, args=args, kwargs=how)
        started.start()
        return started
    return start


@pytest.fixture(scope='module')
def small(toynette_of): return toynette_of(8, 2)


def run_to_the_end(process, recipe, table, **how):
    "What came out of a run that nobody stops, and the seconds that its process worked."
    running = process(recipe, table, None, **how)
    running.join(300)
    assert running.exitcode == 0
    ends = json.loads(table.with_name('ends.json').read_text())
    return ends, ends.pop('spent')


CASES = {'stages, Mixup, smoothing, TTA, loader processes, as in the notes': (
             dict(stages='1x16', epochs=1, mixup=.4, smoothing=.1, tta=1), dict(plain=True)),
         'CutMix, bfloat16, fused AdamW, no loader processes': (
             dict(epochs=3, cutmix=1., bf16=True, tta=1), dict(no_workers=True))}


@pytest.mark.parametrize('changes, how', CASES.values(), ids=CASES)
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(process, small, tmp_path, changes, how):
    recipe = Recipe(dataset=str(small), size=24, bs=16, seed=5, **changes)
    unbroken, seconds = run_to_the_end(process, recipe, tmp_path/'unbroken'/'runs.csv', **how)
    table, seed = tmp_path/'killed'/'runs.csv', random.randrange(10**6)
    print('random moments of seed', seed)                   # shown if the test fails
    rng = random.Random(seed)
    for moment in ('writing', rng.uniform(.2, .8)*seconds, rng.uniform(.05, .4)*seconds, 'judging'):
        running = process(recipe, table, moment, **how)
        running.join(300)
        if table.exists() and moment not in ('writing', 'judging'):         # its row was written before: once more, anew
            shutil.rmtree(table.parent)
            running = process(recipe, table, moment/8, **how)
            running.join(300)
        assert running.exitcode == -signal.SIGKILL and not table.exists()
    assert list(table.parent.glob('.sotalearn/checkpoints/*/checkpoint.safetensors'))
    went_on, _ = run_to_the_end(process, recipe, table, **how)
    assert went_on == unbroken and len(unbroken['losses']) == 5*recipe.epochs          # of the last fit
    assert len(read_runs(table)) == 1 and not (table.parent/'.sotalearn').exists()


def test_the_same_run_twice_is_the_same_to_the_last_bit(process, small, tmp_path):
    recipe = Recipe(dataset=str(small), size=16, epochs=1, bs=16, bf16=False)
    first, _ = run_to_the_end(process, recipe, tmp_path/'first'/'runs.csv', plain=True)
    again, _ = run_to_the_end(process, recipe, tmp_path/'again'/'runs.csv', plain=True)
    other, _ = run_to_the_end(process, replace(recipe, seed=1), tmp_path/'other'/'runs.csv', plain=True)
    assert first == again and first['losses'] != other['losses']


# ---------------------------------------------------------------- what cannot be gone on with

@pytest.fixture(scope='module')
def tiny(toynette_of): return toynette_of(2, 1)


@pytest.fixture
def recipe(tiny, no_loaders): return Recipe(dataset=str(tiny), size=16, epochs=2, bs=8, bf16=False)


def interrupted_in(epoch):
    "A `fit` that Ctrl-C interrupts in the middle of an epoch, counted from 1."
    from fastai.callback.core import Callback

    def fit(learn):
        def stop(callback):
            if learn.training and learn.seed_epochs.begun == epoch: raise KeyboardInterrupt
        with learn.no_bar(), learn.no_logging(), learn.added_cbs(Callback(after_step=stop)):
            learn.fit_one_cycle(learn.recipe.epochs, learn.recipe.lr)
    return fit


def stop_in(epoch, recipe, table, **how):
    from sotalearn.training import train
    with pytest.raises(KeyboardInterrupt): train(recipe, table, interrupted_in(epoch), plain=True, **how)
    found = table.parent.glob('.sotalearn/checkpoints/*/checkpoint.safetensors')
    return max(found, key=lambda file: file.stat().st_mtime_ns, default=None)


def refusal(recipe, table):
    "The one sentence in which it is refused to go on."
    from sotalearn.training import train
    with pytest.raises(ValueError) as error:
        train(recipe, table, lambda learn: pytest.fail('nothing is to be trained'), plain=True, resume=True)
    assert '\n' not in str(error.value)
    return str(error.value)


def damages(good):
    yield 'cut off', good[:len(good)//2]
    yield 'cut off in the header', good[:20]
    yield 'empty', b''
    yield 'something else', b'# My notes\n'*100
    yield 'another format', good.replace(b'sotalearn-checkpoint-2', b'sotalearn-checkpoint-9')
    yield 'spoilt facts', good.replace(b'\\"epochs\\"', b'\\"epochs\\x')
    yield 'another fact', good.replace(b'\\"smooth_count\\": ', b'\\"smooth_count\\":1')
    for place in (-1, -len(good)//2): yield 'a flipped bit', good[:place] + bytes([good[place] ^ 16]) + good[place:][1:]


def test_what_is_there_stays_whatever_is_wrong_with_it(recipe, tmp_path, monkeypatch):
    "One stopped run; then its checkpoint is spoilt, and what it belongs to is changed."
    from sotalearn import checkpoints
    table = tmp_path/'runs.csv'
    path = stop_in(2, recipe, table)
    good = path.read_bytes()
    for damage, content in damages(good):
        path.write_bytes(content)
        assert 'cannot be read' in refusal(recipe, table) and path.read_bytes() == content, damage
    path.write_bytes(good)
    facts = checkpoints.run_facts(recipe, plain=True)
    elsewhere = checkpoints.checkpoint_path(checkpoints.run_facts(replace(recipe, lr=1e-3), plain=True), table)
    elsewhere.parent.mkdir()
    path.rename(elsewhere)
    assert 'of another; delete it' in refusal(replace(recipe, lr=1e-3), table) and elsewhere.read_bytes() == good
    elsewhere.rename(path)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, 'version', lambda name: '9.9')
        assert "and not 'torch 9.9, fastai 9.9, sotalearn 9.9'" in refusal(recipe, table)
        assert checkpoints.find_checkpoint(checkpoints.run_facts(recipe, True), table, 'auto') is None
    with pytest.raises(ValueError, match='plain True and not False'):
        checkpoints.find_checkpoint(dict(facts, plain=False), table)
    assert path.read_bytes() == good and not table.exists()


def test_other_versions_checkpoints_are_announced_once_and_go_with_their_run(recipe, tmp_path, capsys, monkeypatch):
    from sotalearn import checkpoints
    from sotalearn.training import train
    monkeypatch.setattr(checkpoints, '_told', set())
    table, other = tmp_path/'runs.csv', replace(recipe, seed=7)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, 'version', lambda name: '0.9')
        old, kept = (stop_in(2, which, table) for which in (recipe, other))
    assert not capsys.readouterr().out.count('other versions')
    stop_in(2, recipe, table)
    told = capsys.readouterr().out
    assert told.count('Checkpoints of other versions take') == 1 and old.parent.name in told and kept.parent.name in told
    train(recipe, table, interrupted_in(None), plain=True, resume=True)
    assert 'other versions' not in capsys.readouterr().out
    assert not old.exists() and kept.exists()              # the other run is in no table yet
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, 'version', lambda name: '0.9')
        assert checkpoints.find_checkpoint(checkpoints.run_facts(other, True), table).facts['epochs'] == 1


def test_other_pictures_are_another_run(recipe, tiny, tmp_path):
    own = shutil.copytree(tiny, tmp_path/'own')
    recipe, table = replace(recipe, dataset=str(own)), tmp_path/'runs.csv'
    path = stop_in(2, recipe, table)
    good = path.read_bytes()
    picture = next((own/'train').glob('*/*'))
    picture.write_bytes(picture.read_bytes() + b'\0')
    assert 'of the same pictures and versions' in refusal(recipe, table) and path.read_bytes() == good


def test_stopping_tells_how_to_go_on(recipe, tmp_path, capsys, monkeypatch):
    table = tmp_path/'runs.csv'
    assert stop_in(1, recipe, table) is None and list(tmp_path.iterdir()) == []
    assert 'next time the run begins at the start' in capsys.readouterr().out
    monkeypatch.setenv('SOTALEARN_LANGUAGE', 'zh')
    assert stop_in(2, recipe, table) and '2 个周期已完成 1 个' in capsys.readouterr().out
    monkeypatch.setenv('SOTALEARN_LANGUAGE', 'en')
    assert stop_in(1, recipe, table)                        # begun anew: what was kept stays until an epoch is over
    told = capsys.readouterr().out
    assert 'resume=True would go on with it' in told and 'Stopped with 1 of 2 epochs done' in told
    stop_in(2, recipe, table, resume=True)
    assert 'Stopped with 1 of 2 epochs done. To go on from there: train(recipe, resume=True)' in capsys.readouterr().out
    stop_in(2, recipe, table, resume='auto')                # of many runs: whoever started them says how to go on
    assert capsys.readouterr().out == ''


def test_the_bar_of_a_resumed_run_says_in_which_epoch_it_is(recipe, tmp_path, capsys):
    from sotalearn.training import train
    table, recipe = tmp_path/'runs.csv', replace(recipe, epochs=12)
    stop_in(10, recipe, table)
    capsys.readouterr()
    train(recipe, table, plain=True, resume=True)
    told = re.findall(r'Epoch (\d+)/12', capsys.readouterr().out)
    assert [number for number, _ in groupby(told)][-3:] == ['10', '11', '12']


def test_where_no_checkpoint_can_be_written_training_goes_on(recipe, tmp_path, capsys):
    from sotalearn.training import train
    (tmp_path/'.sotalearn').write_text('a file where the folder should be')
    train(recipe, tmp_path/'runs.csv', interrupted_in(None), plain=True)
    told = capsys.readouterr().out
    assert told.count('No checkpoint can be written to') == 1 and told.count('\n') == 1
    assert len(read_runs(tmp_path/'runs.csv')) == 1 and (tmp_path/'.sotalearn').is_file()


def test_a_full_disk_leaves_the_last_good_checkpoint(recipe, tmp_path, capsys, monkeypatch):
    "A limit on the size of files stands in for the disk: the system itself refuses to write."
    from sotalearn import checkpoints
    table, save = tmp_path/'runs.csv', checkpoints._save
    recipe = replace(recipe, epochs=3)

    def full_after_the_first(path, facts, tensors):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        if facts['epochs'] > 1: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        try: save(path, facts, tensors)
        finally: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    monkeypatch.setattr(checkpoints, '_save', full_after_the_first)
    path = stop_in(3, recipe, table)
    assert capsys.readouterr().out.count('No checkpoint can be written to') == 1
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    facts = checkpoints.run_facts(recipe, plain=True)
    assert checkpoints.find_checkpoint(facts, table).facts['epochs'] == 1


# ---------------------------------------------------------------- what is trained

def test_the_fits_of_a_recipe_are_what_its_schedule_calls():
    fits = Recipe(stages='2x16 3x24', size=32, epochs=4, bs=8, lr=2e-3, fine_lr=5e-4).fits()
    assert [(fit.how, fit.stage.size, fit.lr, fit.epochs) for fit in fits] == [
        ('fit_one_cycle', 16, 2e-3, 2), ('fine_tune', 24, 5e-4, 4), ('fine_tune', 32, 5e-4, 5)]
    assert [fit.how for fit in fits_of([(1, 8, 2)], pretrained=True)] == ['fine_tune']


# ---------------------------------------------------------------- what a `fit` of one's own may do

def search(learn, times=1):
    with learn.no_bar(), learn.no_logging():
        for _ in range(times): learn.lr_find(show_plot=False, num_it=6)


@pytest.mark.parametrize('moment', ['before', 'after'])
def test_the_search_for_a_learning_rate_is_no_epoch_of_the_run(recipe, tmp_path, moment):
    from sotalearn.training import train

    def fit(usual):
        def searching(learn):
            if moment == 'before': search(learn, 3)
            usual(learn)
            if moment == 'after': search(learn)
        return searching
    unbroken = train(recipe, tmp_path/'unbroken.csv', fit(interrupted_in(99)), plain=True)
    with pytest.raises(KeyboardInterrupt): train(recipe, tmp_path/'mine.csv', fit(interrupted_in(2)), plain=True)
    went_on = train(recipe, tmp_path/'mine.csv', fit(interrupted_in(99)), plain=True, resume=True)
    for name in MEASURED: assert went_on.result[name] == unbroken.result[name]


@pytest.mark.parametrize('what', ['lr_find', 'SaveModelCallback'])
def test_what_needs_earlier_epochs_models_is_refused_where_a_run_goes_on(recipe, tmp_path, what):
    from fastai.callback.tracker import SaveModelCallback
    from sotalearn.training import train

    def fit(learn):
        with learn.no_bar(), learn.no_logging():
            learn.fit(1, 1e-3, cbs=SaveModelCallback() if what == 'SaveModelCallback' else None)
            if what == 'lr_find': search(learn)
            learn.fit(1, 1e-3)

    def stopped(learn):
        fit(learn)
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): train(recipe, tmp_path/'runs.csv', stopped, plain=True)
    with pytest.raises(ValueError, match=f'fit must do without {what} where a stopped run goes on'):
        train(recipe, tmp_path/'runs.csv', fit, plain=True, resume=True)


def test_a_look_before_the_epochs_that_are_skipped_does_no_harm(recipe, tmp_path):
    from sotalearn.training import train

    def looking(learn):
        with learn.no_bar(), learn.no_logging(): learn.validate(), learn.get_preds()
        interrupted_in(99)(learn)
    unbroken = train(recipe, tmp_path/'unbroken.csv', looking, plain=True)
    stop_in(2, recipe, tmp_path/'runs.csv')
    went_on = train(recipe, tmp_path/'runs.csv', looking, plain=True, resume=True)
    for name in MEASURED: assert went_on.result[name] == unbroken.result[name]


def test_a_fit_that_ends_before_the_epochs_that_are_done_records_nothing(recipe, tmp_path):
    from sotalearn.training import train

    def fits(times):
        def fit(learn):
            with learn.no_bar(), learn.no_logging():
                for _ in range(times): learn.fit(1, 1e-3)
            if times > 1: raise KeyboardInterrupt
        return fit
    with pytest.raises(KeyboardInterrupt): train(recipe, tmp_path/'runs.csv', fits(3), plain=True)
    with pytest.raises(ValueError, match='fit must train as in the run that was stopped, 3 epochs or more, got 1'):
        train(recipe, tmp_path/'runs.csv', fits(1), plain=True, resume=True)
    assert not (tmp_path/'runs.csv').exists()


def test_a_run_that_stops_early_has_the_loss_of_its_last_epoch(recipe, tmp_path):
    from fastai.callback.tracker import EarlyStoppingCallback
    from sotalearn.training import train
    losses = []

    def fit(learn):
        with learn.no_bar(), learn.no_logging():
            learn.fit(9, 1e-3, cbs=EarlyStoppingCallback(monitor='accuracy', min_delta=2., patience=2))
        losses.extend(row[0] for row in learn.recorder.values)
    row = train(recipe, tmp_path/'runs.csv', fit, plain=True).result
    assert len(losses) < 9 and row['train_loss'] == pytest.approx(losses[-1], abs=1e-6)


def test_where_a_gpu_has_no_float64_a_run_goes_on(recipe, tmp_path, monkeypatch):
    import torch
    from sotalearn.training import train
    stop_in(2, recipe, tmp_path/'runs.csv')
    to = torch.Tensor.to

    def as_apples(tensor, *args, **how):
        assert tensor.dtype != torch.float64 or not isinstance((*args, how.get('device'))[0], torch.device)
        return to(tensor, *args, **how)
    monkeypatch.setattr(torch.Tensor, 'to', as_apples)
    assert train(recipe, tmp_path/'runs.csv', interrupted_in(99), plain=True, resume=True).result['accuracy'] >= 0
