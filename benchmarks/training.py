"""What one training run takes: the notes' code (`train(…, plain=True)`) and the way of this machine, in turn.

Prints a table and writes it as JSON:

    python benchmarks/training.py [FILE.json] [--sizes 64 32] [--images 1000] [--epochs 1] [--rounds 3] [--dataset auto]
    python benchmarks/training.py [FILE.json] --what six --sizes 64 --epochs 3 --rounds 2       some six minutes
    python benchmarks/training.py [FILE.json] --what six --sizes 32 --epochs 6 --rounds 2       some six minutes

Each round trains both; a ratio is of one round, and its median stands beside its range over the rounds. Nothing else
should run.

`--what one`: one run. Seconds are those of the fit on the clock, validation after each epoch included. Then, in turn with
quiet runs, a run beside one process that keeps a core busy. `compute` is the same number of steps and validation batches on
one batch that is there already: what is left when loading, augmentation and the Learner cost nothing.

`--what six`: three recipes with two seeds each, by `compare(…, jobs='auto')`, all that it takes to start processes and to
judge the models included, against the notes' code for the same six, one after another. Beside it the memory that a run's
process takes for itself at most (Linux): what it has written. Libraries and kept pictures that it only reads can be
dropped at any time, and do not count.
"""
import argparse, json, os, statistics, subprocess, sys, tempfile, threading, time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import psutil   # noqa: E402
from sotalearn.cache import kept   # noqa: E402
from sotalearn.data import dataset   # noqa: E402
import torch   # noqa: E402
from sotalearn.datasets import dataset_name   # noqa: E402
from sotalearn.experiments import compare   # noqa: E402
from sotalearn.recipes import Recipe   # noqa: E402
from sotalearn.speed import machine, threads_set   # noqa: E402
from sotalearn.training import make_learner, train   # noqa: E402


def timed_run(recipe:Recipe, # what is trained
              plain:bool=False, # the notes' code to the letter
             )->dict: # the row of the run; its `seconds` not rounded
    "Train a recipe into a table of its own, without bars."
    took = []

    def fit(learn):
        start = time.perf_counter()
        with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(recipe.epochs, recipe.lr)
        took.append(time.perf_counter() - start)
    with tempfile.TemporaryDirectory() as folder: row = train(recipe, Path(folder)/'runs.csv', fit, plain=plain).result
    return row | dict(seconds=took[0])


def compute_seconds(recipe:Recipe, # what a run trained
                   )->float:
    "What its arithmetic takes alone: as many steps and validation batches on one and the same batch."
    learn = make_learner(recipe)
    x, y = learn.dls.one_batch()
    epochs, steps, valid = recipe.epochs, len(learn.dls.train), len(learn.dls.valid_ds)/len(x)
    learn.create_opt()
    model = learn.model.to(memory_format=torch.channels_last if learn.way.channels_last else torch.contiguous_format)

    def forward():
        with torch.autocast(x.device.type, torch.bfloat16, enabled=learn.way.bf16): return model(x).float()

    def step():
        learn.loss_func(forward(), y).backward()
        learn.opt.step()
        learn.opt.zero_grad()

    def clocked(act, times):
        act()
        start = time.perf_counter()
        for _ in range(times): act()
        return time.perf_counter() - start
    with threads_set(learn.way.threads):
        training = clocked(step, epochs*steps)
        model.eval()
        with torch.no_grad(): judging = clocked(forward, round(epochs*valid))
    return training + judging


@contextmanager
def busy_process():
    "A process that keeps one core busy."
    process = subprocess.Popen([sys.executable, '-c', 'while True: pass'])
    try: yield
    finally:
        process.kill()
        process.wait()


def spread(ratios:list, # of one round each
          )->dict:
    "The median of some ratios and their range."
    return dict(median=round(statistics.median(ratios), 3), low=round(min(ratios), 3), high=round(max(ratios), 3),
                rounds=len(ratios))


def one_run(recipe:Recipe, # at one size
            rounds:int, # of one run each: theirs, ours, compute alone, ours beside a busy process
           )->dict:
    "The figures of one run: against the notes' code, against compute alone, beside a busy process."
    start = time.perf_counter()
    timed_run(replace(recipe, epochs=1))                    # decodes, measures and warms up
    first, runs = time.perf_counter() - start, []
    for i in range(rounds):
        theirs, ours = timed_run(recipe, plain=True), timed_run(recipe)
        alone = compute_seconds(recipe)
        with busy_process(): beside = timed_run(recipe)
        runs.append(dict(theirs=theirs['seconds'], ours=ours['seconds'], compute=alone, beside=beside['seconds'],
                         theirs_cpu=theirs['cpu_seconds'], ours_cpu=ours['cpu_seconds'], how=ours['how'],
                         how_beside=beside['how'], accuracy=ours['accuracy'], accuracy_theirs=theirs['accuracy'],
                         n_train=ours['n_train'], n_val=ours['n_val']))
        print(f'{recipe.size} px, round {i + 1} of {rounds}: {runs[-1]}', file=sys.stderr, flush=True)
    ratios = dict(against_the_notes=[run['theirs']/run['ours'] for run in runs],
                  cpu_against_the_notes=[run['theirs_cpu']/max(.1, run['ours_cpu']) for run in runs],
                  share_of_compute=[run['compute']/run['ours'] for run in runs],
                  beside_a_busy_process=[run['ours']/run['beside'] for run in runs])
    return dict(first_seconds=round(first, 2), **{name: spread(found) for name, found in ratios.items()}, runs=runs)


class Memory:
    "Watches inside a `with` how much memory each of this process's children has written at most."
    def __init__(self): self.peaks, self.over = {}, threading.Event()

    def _look(self):
        for child in psutil.Process().children(recursive=True):
            with suppress(OSError, StopIteration):              # it is gone
                lines = Path(f'/proc/{child.pid}/smaps_rollup').read_text().splitlines()
                written = next(int(line.split()[1]) for line in lines if line.startswith('Private_Dirty'))
                self.peaks[child.pid] = max(1024*written, self.peaks.get(child.pid, 0))

    def _watch(self):
        while not self.over.wait(2): self._look()

    def __enter__(self):
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_): self.over.set()


def six_runs(base:Recipe, # at one size; its seed does not matter
             rounds:int, # of the six one after another, and side by side
            )->dict:
    "The figures of six runs: three recipes with two seeds, side by side against the notes' code one after another."
    recipes, seeds, runs = dict(plain=base, mixup=replace(base, mixup=.4), smoothing=replace(base, smoothing=.1)), (1, 2), []
    timed_run(replace(base, epochs=1))                      # decodes and measures
    for i in range(rounds):
        start = time.perf_counter()
        for recipe in recipes.values():
            for seed in seeds: timed_run(replace(recipe, seed=seed), plain=True)
        theirs = time.perf_counter() - start
        with tempfile.TemporaryDirectory() as folder, Memory() as memory:
            start = time.perf_counter()
            table = compare(recipes, seeds, Path(folder)/'runs.csv', show_progress=False)
            ours = time.perf_counter() - start
        if table.attrs['failures'] or set(table.seeds) != {len(seeds)}: raise RuntimeError(table.attrs['failures'])
        gigabytes = [round(peak/2**30, 2) for peak in sorted(memory.peaks.values(), reverse=True)]
        runs.append(dict(theirs=theirs, ours=ours, gigabytes_of_each_process=gigabytes))
        print(f'{base.size} px, round {i + 1} of {rounds}: {runs[-1]}', file=sys.stderr, flush=True)
    return dict(six_against_the_notes=spread([run['theirs']/run['ours'] for run in runs]),
                gigabytes_per_run=spread([max(run['gigabytes_of_each_process'], default=0) for run in runs]), runs=runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', nargs='?', help='where the figures go, as JSON')
    parser.add_argument('--what', choices=('one', 'six'), default='one', help='one run, or six side by side')
    parser.add_argument('--sizes', type=int, nargs='+', default=[64, 32])
    parser.add_argument('--images', type=int, default=1000, help='training pictures; 0 for all')
    parser.add_argument('--epochs', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--dataset', default='auto')
    chosen = parser.parse_args()
    name = dataset_name(dataset(chosen.dataset))
    base = Recipe(dataset=name, epochs=chosen.epochs, train_images=chosen.images, seed=1)
    measure = dict(one=one_run, six=six_runs)[chosen.what]
    figures = dict(machine=machine(), threads=torch.get_num_threads(), dataset=name, load=os.getloadavg()[0])
    figures[f'{chosen.what}_run'] = {size: measure(replace(base, size=size), chosen.rounds) for size in chosen.sizes}
    figures |= dict(kept=kept())
    for size, found in figures[f'{chosen.what}_run'].items():
        print(f'{size} px')
        for what, ratios in found.items():
            if not isinstance(ratios, dict): continue
            print(f'  {what:24} {ratios["median"]:6.2f}  ({ratios["low"]:.2f} to {ratios["high"]:.2f})')
    if chosen.file: Path(chosen.file).write_text(json.dumps(figures, indent=1) + '\n')


if __name__ == '__main__': main()
