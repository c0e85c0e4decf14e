"""Faults really done: processes killed at random moments, a disk that is full, a home that cannot be written.

They take minutes and run with --thorough; some need root, for a small disk of their own and for another user's rights."""
import os
import random
import shutil
import signal
import subprocess
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch

from sotalearn.cache import open_kept, pictures_folder
from sotalearn.checkpoints import _load, _save
from sotalearn.data import get_dls
from sotalearn.pictures import choose_images, split_pictures
from sotalearn.recipes import Recipe, append_run, read_runs, record_run
from sotalearn.school.progress import progress, record
from sotalearn.toynette import make_toynette
from sotalearn.training import train
from test_reader import make_folder

pytestmark = [pytest.mark.thorough, pytest.mark.skipif(not hasattr(os, 'fork'), reason='this system does not fork')]
MOMENTS = 50


def started(work):
    "A process of its own that does the work, and the end of a pipe to which it tells what is finished."
    heard, told = os.pipe()
    if pid := os.fork():
        os.close(told)
        return pid, heard
    code = 1
    try:
        os.close(heard)
        os.setsid()
        work(lambda number: os.write(told, f'{number}\n'.encode()))
        code = 0
    except BaseException: traceback.print_exc()
    finally: os._exit(code)


def finished(heard):
    "The numbers that a process has told, the last one last."
    with open(heard) as file: return [int(line) for line in file.read().split('\n')[:-1]]


def killed(work, seconds):
    "What a process told that was killed after so many seconds, or had come to its end by then."
    pid, heard = started(work)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return finished(heard)


def moments(work, count=MOMENTS):
    "Random moments within what the whole work takes."
    start = time.perf_counter()
    pid, heard = started(work)
    assert os.waitpid(pid, 0)[1] == 0 and finished(heard) is not None
    whole = time.perf_counter() - start
    return [random.Random(i).uniform(0, whole) for i in range(count)]


def test_killed_while_toynette_is_made(tmp_path):
    folder = tmp_path/'toynette'
    def work(tell): make_toynette(folder, train=2, val=1, workers=2, show_progress=False)
    for seconds in moments(work):
        shutil.rmtree(folder, ignore_errors=True)
        killed(work, seconds)
        if folder.exists(): assert [*map(len, split_pictures(folder).values())] == [20, 10]
    assert [*map(len, split_pictures(make_toynette(folder, train=2, val=1, show_progress=False)).values())] == [20, 10]
    assert [file.name for file in tmp_path.iterdir() if 'making' in file.name] == []


def test_killed_while_pictures_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr('sotalearn.cache.data_folder', lambda: tmp_path/'home')
    folder = make_folder(tmp_path/'mine', train=150, val=50)
    files = choose_images(folder)
    def work(tell): assert open_kept(files, folder, 128)
    times = moments(work)
    right = {file: open_kept(files, folder, 128).pixels(file).copy() for file in files[::40]}
    for seconds in times:
        shutil.rmtree(pictures_folder())
        killed(work, seconds)
        opener = open_kept(files, folder, 128)
        assert all(np.array_equal(opener.pixels(file), pixels) for file, pixels in right.items())
        assert not list(pictures_folder().glob('.draft-*'))


def test_killed_while_a_checkpoint_is_written(tmp_path):
    path = tmp_path/'checkpoint.safetensors'
    tensors = {f'model.{i}': torch.full((500, 1000), float(i)) for i in range(8)}

    def work(tell):
        for epoch in range(1, 20):
            _save(path, dict(run={}, epochs=epoch), {name: tensor + epoch for name, tensor in tensors.items()})
            tell(epoch)
    for seconds in moments(work):
        path.unlink(missing_ok=True)
        done = killed(work, seconds)
        if not done and not path.exists(): continue
        facts, found = _load(path)
        assert facts['epochs'] in (len(done), len(done) + 1)
        assert all((found[name] == tensor + facts['epochs']).all() for name, tensor in tensors.items())
    _save(path, dict(run={}, epochs=1), tensors)                    # what a killed one left is removed by the next
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_killed_while_two_append(tmp_path):
    table = tmp_path/'runs.csv'

    def appends(first):
        def work(tell):
            for seed in range(first, first + 10):
                append_run(dict(dataset='toynette', seed=seed, accuracy=.5), table)
                tell(seed)
        return work
    for seconds in moments(appends(0)):
        table.unlink(missing_ok=True)
        pid, heard = started(appends(100))
        told = killed(appends(0), seconds)
        assert os.waitpid(pid, 0)[1] == 0
        seeds = read_runs(table).seed.tolist()
        assert set(range(100, 110)) | set(told) <= set(seeds) and len(seeds) == len(set(seeds))
        assert len(finished(heard)) == 10


def test_killed_while_progress_is_saved(tmp_path, monkeypatch, no_environment):
    monkeypatch.chdir(tmp_path)

    def work(tell):
        for i in range(1, 30):
            record('task', True)
            tell(i)
    for seconds in moments(work):
        shutil.rmtree(tmp_path/'.sotalearn', ignore_errors=True)
        told = killed(work, seconds)
        tasks, note = progress()
        assert note is None and tasks.get('task', dict(tries=0))['tries'] in (len(told), len(told) + 1)


# ------------------------------------------------------------------ a full disk

@pytest.fixture
def small_disk(tmp_path):
    "Half a megabyte."
    place = tmp_path/'disk'
    place.mkdir()
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', place], capture_output=True)
    if done.returncode: pytest.skip('only root may mount a small disk')
    yield place
    subprocess.run(['umount', '-l', place], check=True)


def fill(place, leave=0):
    "Nothing fits any more, but for so many bytes."
    with open(place/'filler', 'wb', buffering=0) as file:
        try:
            while True: file.write(bytes(4096))
        except OSError: pass
        file.truncate(max(0, file.tell() - leave))


def test_a_checkpoint_a_row_and_progress_on_a_full_disk(small_disk, tmp_path, monkeypatch, capsys, no_environment):
    folder, table = make_folder(tmp_path/'mine'), small_disk/'runs.csv'
    append_run(dict(dataset='toynette', seed=1, accuracy=.5), table)
    before = table.read_bytes()
    monkeypatch.chdir(tmp_path)
    learn = train(Recipe(dataset=str(folder), size=32, epochs=1, bs=4), table, fit=lambda learn: (learn.fit(1), fill(small_disk)))
    told = capsys.readouterr().out
    assert 'No checkpoint can be written' in told and 'could not be recorded' in told
    assert table.read_bytes() == before and 0 <= learn.result['accuracy'] <= 1
    kept, = tmp_path.glob('runs-not-recorded-*.csv')
    assert read_runs(kept).accuracy.tolist() == [learn.result['accuracy']]
    (small_disk/'filler').unlink()
    assert record_run(learn.result, table) is None and len(read_runs(table)) == 2
    monkeypatch.chdir(small_disk)
    record('a', True)
    fill(small_disk)
    assert record('b', True) is not None                            # said, not raised
    (small_disk/'filler').unlink()
    assert record('c', True) is None and set(progress()[0]) == {'a', 'c'}


# ------------------------------------------------------------------ a home that cannot be written

def test_a_home_that_cannot_be_written(tmp_path, monkeypatch, no_environment):
    if os.geteuid(): pytest.skip('only root can become somebody else')
    home, folder = tmp_path/'home', make_folder(tmp_path/'mine')
    home.mkdir()
    for place in (tmp_path, *tmp_path.rglob('*')): place.chmod(0o755 if place.is_dir() else 0o644)
    for place in tmp_path.parents:
        if place != Path('/') and place != Path('/tmp'): place.chmod(0o755)
    home.chmod(0o555)
    monkeypatch.setenv('HOME', str(home))
    monkeypatch.setenv('FASTAI_HOME', str(home/'.fastai'))
    monkeypatch.chdir(home)

    def work(tell):
        os.setgid(65534)
        os.setuid(65534)
        assert len(get_dls(4, 32, folder, num_workers=0).one_batch()[0]) == 4
        assert record('a', True) is not None
        for attempt in (lambda: train(Recipe(dataset=str(folder), size=32, epochs=1, bs=4)), lambda: make_toynette()):
            try: attempt()
            except (ValueError, OSError) as e: tell(int('written' in str(e) or 'could not be made' in str(e)))
    pid, heard = started(work)
    assert os.waitpid(pid, 0)[1] == 0
    assert finished(heard) == [1, 1]


# ------------------------------------------------------------------ long hours

def used():
    "Memory in MB, and open files."
    import psutil
    process = psutil.Process()
    return process.memory_info().rss/1e6, process.num_fds()


def test_200_tiny_epochs_take_no_more_memory(tmp_path, capsys):
    from fastai.callback.core import Callback

    class Look(Callback):
        def after_epoch(self):
            if self.epoch % 50 == 49: facts.append(used())
    folder, facts = make_folder(tmp_path/'mine', train=4, val=1), []
    recipe = Recipe(dataset=str(folder), size=16, epochs=200, bs=4)

    def fit(learn):
        with learn.no_bar(), learn.no_logging(), learn.added_cbs(Look()): learn.fit_one_cycle(200, 1e-3)
    train(recipe, tmp_path/'runs.csv', fit)
    with capsys.disabled(): print('\nepochs by fifty: MB and open files', facts)
    assert facts[-1][0] < facts[0][0] + 30 and facts[-1][1] <= facts[0][1]
