"""Runs side by side: what is killed, stopped or broken, on this machine and on a cluster started as a user would."""
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from dataclasses import asdict, replace
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest
import torch

from apart import die_always, die_at_first, root, tell_and_wait, want_memory
from lab import free_port
from sotalearn import bookkeeping, jobs
from sotalearn.experiments import compare
from sotalearn.jobs import Outcome, check_jobs, check_workers, connect, side_by_side
from sotalearn.pictures import split_of
from sotalearn.recipes import Recipe, read_runs
from sotalearn.school.cli import main

HERE = Path(__file__).parent


@pytest.fixture(scope='module')
def small(toynette_of): return toynette_of(8, 2)


@pytest.fixture
def recipes(small):
    base = Recipe(dataset=str(small), size=16, epochs=2, bs=10)
    return dict(baseline=base, mixup=replace(base, mixup=.4))


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, no_environment):
    "What other processes need to find the library and these tests."
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(HERE.parent), str(HERE), os.environ.get('PYTHONPATH', '')]))


def _workers_of(pid):
    "The processes that joblib has started, but for the one that cleans up after them."
    words = {child.pid: ' '.join(child.cmdline()) for child in psutil.Process(pid).children()}
    return [pid for pid, line in words.items() if 'loky' in line and 'resource_tracker' not in line]


# ---------------------------------------------------------------- on this machine

def test_each_task_is_done_once_and_a_failure_stops_no_other():
    outcomes = {outcome.task: outcome for outcome in side_by_side(root, [4, -1, 9, 16])}
    assert outcomes == {4: Outcome(4, 2., None), 9: Outcome(9, 3., None), 16: Outcome(16, 4., None),
                        -1: Outcome(-1, None, 'number must be 0 or more, got -1')}
    assert not _workers_of(os.getpid())                 # they are ended with the last task


def test_a_task_whose_process_is_killed_is_done_again(tmp_path):
    tasks = [(str(tmp_path/'seen'), number) for number in range(5)]
    outcomes = list(side_by_side(die_at_first, tasks))
    assert sorted(outcome.value for outcome in outcomes) == [0, 1, 2, 3, 4] and (tmp_path/'seen').exists()


def test_a_task_that_always_kills_its_process_is_given_up_alone():
    outcomes = {outcome.task: outcome for outcome in side_by_side(die_always, list(range(5)))}
    assert [outcomes[number].value for number in (0, 1, 3, 4)] == [0, 1, 3, 4]
    assert outcomes[2].failure == jobs.say_killed()


def test_a_task_that_finds_no_memory_beside_another_is_done_after_them(tmp_path):
    tasks = [(str(tmp_path), number) for number in (1, 2, 3, -1)]
    outcomes = {outcome.task[1]: outcome for outcome in side_by_side(want_memory, tasks)}
    assert [outcomes[number].value for number in (1, 2, 3)] == [1, 2, 3]
    assert outcomes[-1] == Outcome(tasks[3], None, 'MemoryError: none left')        # alone as well


def test_it_is_told_how_far_each_task_is():
    told = []
    list(side_by_side(tell_and_wait, [3, 5], tick=told.append))
    assert {3: 3., 5: 5.} in told


def test_what_is_left_early_is_ended_without_a_word(recwarn):
    outcomes = side_by_side(tell_and_wait, [1, 2, 3])
    next(outcomes)
    outcomes.close()
    assert not recwarn.list and not _workers_of(os.getpid())


def test_more_jobs_than_memory_allows_are_refused(monkeypatch):
    monkeypatch.setattr(jobs, 'free_memory', lambda: int(3.5*2**30))
    monkeypatch.setattr(jobs, 'cpu_count', lambda: 16)
    assert check_jobs('auto', 100) == 3 and check_jobs('auto', 2) == 2 and check_jobs(8, 2) == 2
    with pytest.raises(ValueError, match='jobs must be at most 3 here, .* and 3.5 are free, got 4'): check_jobs(4, 100)


@pytest.mark.parametrize('free, room', [(3, 1), (7.9, 1), (13, 3), (80, 5)])
def test_on_a_gpu_as_many_runs_go_side_by_side_as_its_memory_holds(monkeypatch, free, room):
    monkeypatch.setattr(bookkeeping, '_seconds', lambda works, runs: 1000.)
    monkeypatch.setattr(jobs, 'cpu_count', lambda: 16)
    monkeypatch.setattr(jobs, 'free_memory', lambda: 2**35)
    works = dict.fromkeys(range(5), 1)
    assert bookkeeping._check_jobs('auto', works, None) == 5                # this machine has none
    monkeypatch.setattr(torch.accelerator, 'is_available', lambda: True)
    assert bookkeeping._check_jobs('auto', works, None) == 1                # one that is not CUDA's
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda: (int(free*2**30), 80*2**30))
    assert bookkeeping._check_jobs('auto', works, None) == room
    monkeypatch.setattr(bookkeeping, '_seconds', lambda works, runs: 10.)
    assert bookkeeping._check_jobs('auto', works, None) == 1                # not worth other processes


@pytest.mark.skipif(not hasattr(os, 'killpg'), reason='this system has no process groups')
def test_ctrl_c_ends_every_process_and_keeps_what_is_over():
    script = textwrap.dedent('''
        import signal, time
        signal.signal(signal.SIGINT, signal.default_int_handler)        # a shell's background job would ignore it
        from sotalearn.jobs import side_by_side
        try:
            for outcome in side_by_side(lambda task, report: time.sleep(task), [0, 300, 301]):
                print(outcome.task, flush=True)
        except KeyboardInterrupt: print('stopped', flush=True)''')
    process = subprocess.Popen([sys.executable, '-c', script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    assert process.stdout.readline() == '0\n'
    workers = _workers_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)               # as a terminal does: all of them at once
    try: printed, complaints = process.communicate(timeout=120)
    finally:
        if process.poll() is None: os.killpg(process.pid, signal.SIGKILL)
    assert (printed, complaints) == ('stopped\n', '') and workers
    time.sleep(.5)
    assert not any(map(psutil.pid_exists, workers))


def test_the_processes_leave_with_the_one_that_they_work_for():
    script = textwrap.dedent('''
        import time
        from sotalearn.jobs import side_by_side
        for outcome in side_by_side(lambda task, report: time.sleep(task), [0, 300, 301]): print(outcome.task, flush=True)''')
    process = subprocess.Popen([sys.executable, '-c', script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == '0\n'
    workers = [psutil.Process(pid) for pid in _workers_of(process.pid)]
    process.kill()
    process.wait(60)
    gone, left = psutil.wait_procs(workers, timeout=60)
    for worker in left: worker.kill()
    assert gone and not left


@pytest.mark.skipif(not hasattr(signal, 'pthread_sigmask'), reason='this system blocks no signals')
def test_ctrl_c_never_reaches_a_process_that_is_started_later():
    "joblib's thread replaces one that holds too much memory; before it has imported anything, Ctrl-C would end it."
    begin, told = Event(), []
    ask = [sys.executable, '-c', 'import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))']

    def start_later(): told.append(begin.wait() and subprocess.check_output(ask, text=True))
    with jobs._no_interrupts(): (thread := Thread(target=start_later)).start()
    begin.set()
    thread.join()
    assert told == ['True\n'] and signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


# ---------------------------------------------------------------- a comparison

def row_of(recipe, table=None):
    return asdict(recipe) | dict(split=split_of(recipe.dataset), accuracy=.5, seconds=1., cpu_seconds=1., n_train=80,
                                 n_val=20, date='2026')


def spread(monkeypatch, results):
    "Put in the place of other processes: gives `results(recipe)`, a value and a failure, and notes the order."
    begun = []

    def fake(function, tasks, jobs, client, tick):
        for task in tasks:
            begun.append(task)
            yield Outcome(task, *results(task))
    monkeypatch.setattr(bookkeeping, 'side_by_side', fake)
    return begun


def test_the_longest_begin_first_and_each_is_one_row(recipes, tmp_path, monkeypatch, capsys):
    recipes['long'] = replace(recipes['baseline'], epochs=9)
    begun = spread(monkeypatch, lambda recipe: ((row_of(recipe), tmp_path/'none'/'none'), None))
    table = compare(recipes, (1, 2), tmp_path/'runs.csv', jobs=2)
    assert [recipe.epochs for recipe in begun] == [9, 9, 2, 2, 2, 2] and list(table.seeds) == [2]*3
    assert len(read_runs(tmp_path/'runs.csv')) == 6 and table.attrs['failures'] == {}
    printed = capsys.readouterr().out
    assert '6 runs are missing' in printed and 'long, seed 1: accuracy 50.0%; 1 of 6 runs, about ' in printed
    assert '\r' not in printed and '6 of 6 runs\n' in printed


def test_failures_are_told_at_the_end_and_the_rest_is_recorded(recipes, tmp_path, monkeypatch):
    def results(recipe):
        if recipe.seed == 1 and recipe.mixup: return None, 'its disk is full'
        row = row_of(recipe)
        return (row | dict(split='another') if recipe.seed == 2 and not recipe.mixup else row, tmp_path/'none'/'none'), None
    spread(monkeypatch, results)
    with pytest.warns(UserWarning) as told: table = compare(recipes, (1, 2), tmp_path/'runs.csv', jobs=2)
    here = split_of(recipes['baseline'].dataset)
    assert table.attrs['failures'] == {'mixup, seed 1': 'its disk is full', 'baseline, seed 2':
                                       f'it was trained on the split another, and here is {here}'}
    assert 'mixup, seed 1: its disk is full' in [str(warning.message) for warning in told]
    assert len(read_runs(tmp_path/'runs.csv')) == 2


def test_an_interrupt_leaves_what_is_over(recipes, tmp_path, monkeypatch, capsys):
    def results(recipe):
        if recipe.seed == 2: raise KeyboardInterrupt
        return (row_of(recipe), tmp_path/'none'/'none'), None
    spread(monkeypatch, results)
    with pytest.raises(KeyboardInterrupt): compare(recipes, (1, 2), tmp_path/'runs.csv', jobs=2)
    assert len(read_runs(tmp_path/'runs.csv')) == 2
    assert 'Stopped with 2 of 4 runs still missing. Call compare again' in capsys.readouterr().out


@pytest.mark.parametrize('change, complaint', [
    (dict(jobs=0), 'jobs must be a whole number from 1 to 1024, got 0'), (dict(jobs='all'), "jobs must be 'auto' or"),
    (dict(arch='torchvision/resnet19'), "got 'resnet19' \\(did you mean 'resnet1")])
def test_what_cannot_be_spread_is_refused_before_anything_trains(recipes, tmp_path, monkeypatch, change, complaint):
    begun = spread(monkeypatch, None)
    if 'arch' in change: recipes = {name: replace(recipe, **change) for name, recipe in recipes.items()}
    how = {name: value for name, value in change.items() if name == 'jobs'} or dict(jobs=2)
    with pytest.raises(ValueError, match=complaint): compare(recipes, (1,), tmp_path/'runs.csv', **how)
    assert not begun and not (tmp_path/'runs.csv').exists()


# ---------------------------------------------------------------- a cluster, started as a user would

@pytest.fixture(scope='module')
def cluster(tmp_path_factory):
    "The address of a scheduler with two workers, and these; each has a process group of its own."
    from distributed import Client
    folder, address = tmp_path_factory.mktemp('cluster'), f'tcp://127.0.0.1:{free_port()}'
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(HERE.parent), str(HERE)]), OMP_NUM_THREADS='1')

    def start(*words):
        log = open(folder/f'{words[0]}.log', 'a')
        return subprocess.Popen([sys.executable, '-m', 'dask', *words, '--no-dashboard'], cwd=folder, env=environment,
                                stdout=log, stderr=log, start_new_session=True)
    started = [start('scheduler', '--host', '127.0.0.1', '--port', address.rpartition(':')[2])]
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if not probe.connect_ex(('127.0.0.1', int(address.rpartition(':')[2]))): break
            time.sleep(.2)
        started += [start('worker', address, '--nthreads', '1', '--name', name) for name in ('one', 'two')]
        with Client(address, timeout=60, set_as_default=False) as client: client.wait_for_workers(2, timeout=120)
        yield address, dict(one=started[1], two=started[2])
    finally:
        for process in started:
            try: os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError: pass
            process.wait()


def test_no_scheduler_is_told_within_ten_seconds(recipes, tmp_path, capsys):
    address = f'tcp://127.0.0.1:{free_port()}'
    start = time.monotonic()
    with pytest.raises(ValueError, match=f'No scheduler answers at {address}'):
        compare(recipes, (1,), tmp_path/'runs.csv', scheduler=address)
    assert main(['compare', '--dataset', recipes['baseline'].dataset, '--scheduler', address]) == 2
    assert f'No scheduler answers at {address}' in capsys.readouterr().err
    assert time.monotonic() - start < 20


def _kill_in_the_middle(address, worker, checkpoints):
    "Kill a worker, with all its processes, as soon as runs have got as far as a checkpoint and it is at one."
    with connect(address) as client:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            names = {info['name']: where for where, info in client.scheduler_info(n_workers=-1)['workers'].items()}
            if any(checkpoints.rglob('*')) and client.processing().get(names.get('one')): break
            time.sleep(.05)
    os.killpg(worker.pid, signal.SIGKILL)


@pytest.mark.timeout(600)
@pytest.mark.skipif(not hasattr(os, 'killpg'), reason='this system has no process groups')
def test_a_cluster_of_which_a_worker_dies_does_every_run_once(recipes, cluster, tmp_path, capsys):
    address, workers = cluster
    with connect(address) as client:
        with pytest.raises(ValueError, match='dataset must be on every worker, got tcp://.* without the folder'):
            check_workers(client, tmp_path/'nowhere')
    recipes = {name: replace(recipe, epochs=3) for name, recipe in recipes.items()}
    killer = Thread(target=_kill_in_the_middle, args=(address, workers['one'], tmp_path/'.sotalearn'))
    killer.start()
    table = compare(recipes, (1, 2), tmp_path/'runs.csv', scheduler=address)
    killer.join()
    runs = read_runs(tmp_path/'runs.csv')
    assert workers['one'].wait() == -signal.SIGKILL and table.attrs['failures'] == {}
    assert len(runs) == 4 and len(runs.drop_duplicates(['mixup', 'seed'])) == 4 and list(table.seeds) == [2, 2]
    assert '4 of 4 runs' in capsys.readouterr().out


# ---------------------------------------------------------------- really trained in two processes

def test_side_by_side_they_are_the_runs_that_one_process_makes(recipes, tmp_path):
    table = compare(recipes, (1,), tmp_path/'both.csv', show_progress=False, jobs=2)
    both = read_runs(tmp_path/'both.csv')
    assert list(table.seeds) == [1, 1] and len(both) == 2 and '1 thread' in both.how[0]
    assert not list(tmp_path.rglob('checkpoints'))
