"""One run in two processes: what cannot be shared is refused, a dead process ends it, and its row is that of one run."""
import os
import signal
import time
from multiprocessing import active_children
from threading import Thread

import pytest

from sotalearn import distributed
from sotalearn.distributed import check_processes, train_processes
from sotalearn.recipes import Recipe, read_runs


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    "Two processes are allowed on one core, too: these tests are about what they do, not about their pace."
    monkeypatch.setattr(distributed, 'cpu_count', lambda: 2)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')


@pytest.fixture(scope='module')
def small(toynette_of): return toynette_of(8, 2)


@pytest.mark.parametrize('processes, how, told', [
    (0, {}, 'processes must be a whole number, 1 or more, got 0'),
    (-2, {}, 'processes must be a whole number, 1 or more, got -2'),
    (1.5, {}, 'processes must be a whole number, 1 or more, got 1.5'),
    ('2', {}, "processes must be a whole number, 1 or more, got '2'"),
    (True, {}, 'processes must be a whole number, 1 or more, got True'),
    (4, {}, 'processes must be at most the 2 processor cores of this machine, got 4'),
    (2, dict(bs=15), 'bs must be a multiple of the 2 processes, with two pictures or more for each, got 15'),
    (2, dict(bs=2), 'bs must be a multiple of the 2 processes, with two pictures or more for each, got 2'),
    (2, dict(stages='1x32x9'), 'bs must be a multiple of the 2 processes, with two pictures or more for each, got 9')])
def test_what_cannot_be_shared_is_refused_before_anything_starts(processes, how, told, tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, '_family', lambda *args: pytest.fail('nothing is to be started'))
    with pytest.raises(ValueError) as e: train_processes(Recipe(**how), processes, tmp_path/'runs.csv')
    assert str(e.value) == told and list(tmp_path.iterdir()) == []


def test_what_torchrun_started_cannot_share_other_batches_either(tmp_path, monkeypatch, capsys):
    from sotalearn.school.cli import main
    monkeypatch.setenv('WORLD_SIZE', '3')
    monkeypatch.setenv('RANK', '1')
    with pytest.raises(ValueError, match='bs must be a multiple of the 3 processes, .* got 64'):
        train_processes(Recipe(), results=tmp_path/'runs.csv')
    assert main(['train', '--plain']) == 2
    assert "plain must be False in torchrun's processes, got True" in capsys.readouterr().err


def test_without_accelerate_there_is_one_sentence(monkeypatch):
    monkeypatch.setattr(distributed, 'find_spec', lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'sotalearn\[distributed\]'"): check_processes(Recipe(), 2)
    assert check_processes(Recipe(bs=1), 1) == 1


def _kill_one(after):
    "Kill the second of two processes with SIGKILL once the file `after` is there."
    until = time.monotonic() + 200
    while time.monotonic() < until and not list(after()): time.sleep(.05)
    second = max(active_children(), key=lambda process: process.pid)
    os.kill(second.pid, signal.SIGKILL)
    killed.append(time.monotonic())


killed = []


@pytest.mark.timeout(600)            # each process imports fastai, maybe on a busy machine
def test_a_dead_process_ends_the_run_which_goes_on_when_asked_again(small, tmp_path, forks):
    table, recipe = tmp_path/'runs.csv', Recipe(dataset=str(small), size=32, epochs=3, bs=16, seed=5, bf16=False)
    Thread(target=_kill_one, args=(lambda: tmp_path.glob('.sotalearn/checkpoints/*/*.safetensors'),)).start()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match=r'process 2 of 2 was killed \(SIGKILL.* resume'):
        patch.setattr(distributed, 'get_context', lambda way: forks)        # sooner there; the second time as a user has it
        train_processes(recipe, 2, table)
    assert time.monotonic() - killed[0] < 10
    assert not active_children() and not table.exists()

    row = train_processes(recipe, 2, table)
    run, = read_runs(table).to_dict('records')
    assert (run['bs'], run['n_train'], run['n_val']) == (16, 80, 20) and run['how'].endswith('2 processes')
    assert run['valid_loss'] == row['valid_loss'] == pytest.approx(row['nll'], rel=1e-4)   # both halves, and all by one
    assert not (tmp_path/'.sotalearn').exists() and not active_children()


def test_each_picture_is_seen_once_an_epoch_whatever_their_number(small, monkeypatch):
    ranks, data = pytest.importorskip('sotalearn.ranks'), pytest.importorskip('sotalearn.data')
    monkeypatch.setattr(ranks.SharedDL, '_broadcast', lambda self, numbers, rank: numbers)

    def seen(dl, processes):
        "The indices that each process takes, batch by batch."
        shares = [ranks.SharedDL(dl, rank, processes) for rank in range(processes)]
        dl.get_idxs = lambda order=dl.get_idxs(): order                 # the first process's, which all know
        monkeypatch.setattr(dl, 'create_batches', lambda samples: dl.chunkify(samples))
        taken = [[list(batch) for batch in share.create_batches(iter(share.get_idxs()))] for share in shares]
        assert [len(batches) for batches in taken] == [len(share) for share in shares] and dl.bs == 15
        return taken

    dls = data.get_dls(15, 32, small, num_workers=0)
    for processes in (1, 3, 5):
        training, validation = seen(dls.train, processes), seen(dls.valid, processes)
        trained = [i for share in training for batch in share for i in batch]
        assert len(trained) == 75 and len(set(trained)) == 75           # of 80: as one process, which fills five batches
        assert {len(batch) for share in training for batch in share} == {15//processes}
        assert sorted(i for share in validation for batch in share for i in batch) == list(range(20))
