"""What one training run takes: the notes' code (`train(…, plain=True)`) and the way of this machine, in turn.

Prints a table and writes it as JSON:

    python benchmarks/training.py [FILE.json] [--sizes 64 32] [--images 1000] [--epochs 1] [--rounds 3] [--dataset auto]

Each round trains both; a ratio is of one round, and its median stands beside its range over the rounds. Seconds are
those of the fit on the clock, validation after each epoch included, so nothing else should run. Then, in turn with
quiet runs, a run beside one process that keeps a core busy. `compute` is the same number of steps and validation batches on
one batch that is there already: what is left when loading, augmentation and the Learner cost nothing.
"""
import argparse, json, os, statistics, subprocess, sys, tempfile, time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from sotalearn.cache import kept   # noqa: E402
from sotalearn.data import dataset   # noqa: E402
import torch   # noqa: E402
from sotalearn.datasets import dataset_name   # noqa: E402
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', nargs='?', help='where the figures go, as JSON')
    parser.add_argument('--sizes', type=int, nargs='+', default=[64, 32])
    parser.add_argument('--images', type=int, default=1000, help='training pictures; 0 for all')
    parser.add_argument('--epochs', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--dataset', default='auto')
    chosen = parser.parse_args()
    name = dataset_name(dataset(chosen.dataset))
    base = Recipe(dataset=name, epochs=chosen.epochs, train_images=chosen.images, seed=1)
    figures = dict(machine=machine(), threads=torch.get_num_threads(), dataset=name, load=os.getloadavg()[0],
                   one_run={size: one_run(replace(base, size=size), chosen.rounds) for size in chosen.sizes})
    figures |= dict(kept=kept())
    for size, found in figures['one_run'].items():
        print(f'{size} px')
        for what in ('against_the_notes', 'cpu_against_the_notes', 'share_of_compute', 'beside_a_busy_process'):
            print(f'  {what:24} {found[what]["median"]:6.2f}  ({found[what]["low"]:.2f} to {found[what]["high"]:.2f})')
    if chosen.file: Path(chosen.file).write_text(json.dumps(figures, indent=1) + '\n')


if __name__ == '__main__': main()
