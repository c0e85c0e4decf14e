"""Where the time of a training goes: seconds an epoch against pictures, side and runs at once, and the parts of a step.

Chapter 02 reads the table from results/cost.csv. About five minutes on two cores, on which nothing else may run:

    OMP_NUM_THREADS=1 python benchmarks/cost.py [results/cost.csv] [--dataset toynette] [--scale 1]

One thread a run, as runs train side by side. What the pictures show does not change what they cost: those of the dataset
are taken, under further names where they are too few. `--scale 0.1` tries it on a tenth of the pictures.

The predictions, written before the first measurement:
- pictures: an epoch takes as many times longer as there are more pictures, to within a tenth;
- side: all but the optimizer grows with the number of pixels, so twice the side takes nearly four times as long;
- runs at once: as many as there are cores keep their pace nearly, more share the cores and gain nothing;
- parts: from 64 px on the model takes more than half of an epoch and is bound by arithmetic; the optimizer, which takes
  the same time at any side, is bound by memory; decoding takes longer than all the rest at 32 px if done every epoch.
"""
import argparse, os, statistics, sys, tempfile, time
from dataclasses import replace
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT/'benchmarks')]
os.environ['PYTHONPATH'] = os.pathsep.join(sys.path[:2])        # other processes import this file, too
import pandas as pd   # noqa: E402
import torch   # noqa: E402
from fastai.vision.all import Adam, Callback, CancelFitException, Pipeline, get_image_files   # noqa: E402
from joblib import cpu_count   # noqa: E402
from torch.utils.flop_counter import FlopCounterMode   # noqa: E402
from sotalearn.cache import presized   # noqa: E402
from sotalearn.data import dataset, get_dls   # noqa: E402
from sotalearn.datasets import dataset_name   # noqa: E402
from sotalearn.jobs import side_by_side   # noqa: E402
from sotalearn.pictures import Picture   # noqa: E402
from sotalearn.recipes import Recipe   # noqa: E402
from sotalearn.speed import Way, machine, threads_set   # noqa: E402
from sotalearn.training import make_learner   # noqa: E402
import cost   # noqa: E402: itself, by the name that other processes know

PICTURES, SIDES = (1000, 2000, 4000, 9000), (32, 48, 64, 96, 128, 160)
BYTES = 4*(4 + 3)           # that AdamW moves for a weight: reads it, its gradient and two averages, writes three of them


def many_pictures(path, # a folder laid out as Imagenette
                  folder:Path, # where links to its pictures go
                  n_train:int, n_val:int,
                 )->Path:
    "So many pictures of a dataset, under further names where they are too few."
    for split, wanted in (('train', n_train), ('val', n_val)):
        files = get_image_files(path/split).sorted()
        files = [files[i] for label in range(97) for i in range(label, len(files), 97)]         # all classes early on
        for number in range(wanted):
            file = files[number % len(files)]
            link = folder/split/file.parent.name/f'{number}{file.suffix}'
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.resolve())
    return folder


class Clock(Callback):
    "How long the training and the validation of an epoch took, in seconds; with `batches` only so many to warm up."
    order = 99

    def __init__(self, batches=None): self.batches, self.seconds = batches, {}

    def before_train(self): self.start = time.perf_counter()

    def after_train(self): self.seconds['epoch'] = time.perf_counter() - self.start

    def before_validate(self): self.start = time.perf_counter()

    def after_validate(self): self.seconds['validation'] = time.perf_counter() - self.start

    def after_batch(self):
        if self.batches and self.iter + 1 >= self.batches: raise CancelFitException


def timed_epoch(learn, ready=lambda: None)->dict: # of `epoch` and `validation`
    "The seconds of one epoch, after two batches that do not count, and of the validation after it."
    clock = Clock()
    with threads_set(learn.way.threads), learn.no_bar(), learn.no_logging():
        with learn.added_cbs(Clock(2)): learn.fit(1)
        ready()
        with learn.added_cbs(clock): learn.fit_one_cycle(1, 3e-3)
    return clock.seconds


def trained(learn):
    "How many pictures an epoch trains on: those that fill no batch are left out."
    return learn.dls.bs*len(learn.dls.train)


def timed(act, times:int):
    "The median of the seconds that an act takes, once warm."
    took = []
    for _ in range(1 + times):
        start = time.perf_counter()
        act()
        took.append(time.perf_counter() - start)
    return statistics.median(took[1:])


def parts(learn)->dict: # name: (milliseconds a picture, rate or None)
    "What the parts of a step take, one by one."
    dls, n = learn.dls, learn.dls.bs
    files, presize = list(dls.train_ds.items[:2*n]), dls.train.after_item.fs[0].size[0]
    bare = dls.train.new()
    bare.after_batch = Pipeline([])
    x, y = dls.train.one_batch()
    plain = bare.one_batch()
    learn.create_opt()
    model, weights = learn.model.train(), sum(parameter.numel() for parameter in learn.model.parameters())
    if learn.way.channels_last: model.to(memory_format=torch.channels_last)

    def step():
        with torch.autocast('cpu', torch.bfloat16, enabled=learn.way.bf16): logits = model(x)
        learn.loss_func(logits.float(), y).backward()
    with FlopCounterMode(display=False) as counted: step()
    took = dict(decode=timed(lambda: [presized(Picture.create(file), presize) for file in files], 1)/2,
                load=timed(lambda: [bare.one_batch() for _ in range(4)], 3)/4,
                augment=timed(lambda: dls.train.after_batch(plain), 5), model=timed(step, 5),
                optimizer=timed(lambda: learn.opt.step(), 5))
    rates = dict(model=counted.get_total_flops()/took['model']/1e9, optimizer=weights*BYTES/took['optimizer']/1e9)
    return {name: (1000*seconds/n, rates.get(name)) for name, seconds in took.items()}


def peaks(bf16):
    "What one thread can do at best here: GFLOP a second in a large matrix product, GB a second in a large copy."
    a = torch.rand(2048, 2048, dtype=torch.bfloat16 if bf16 else torch.float32)
    b, copy = torch.rand(50_000_000), torch.empty(50_000_000)
    return dict(model=2*2048**3/timed(lambda: a @ a, 3)/1e9, optimizer=2*4*len(b)/timed(lambda: copy.copy_(b), 3)/1e9)


def beside(task, report):
    "One of several runs at once: an epoch that begins when all are ready."
    recipe, number, jobs, folder = task
    torch.set_num_threads(1)
    learn = make_learner(recipe)

    def ready():
        (Path(folder)/f'{jobs}-{number}').touch()
        until = time.monotonic() + 120
        while len(list(Path(folder).glob(f'{jobs}-*'))) < jobs and time.monotonic() < until: time.sleep(.01)
    return trained(learn), timed_epoch(learn, ready)['epoch']


def changes(recipe:Recipe):
    "Learners that differ in one thing each from that of this machine's fastest way with one thread, which comes first."
    base = make_learner(recipe)
    yield 'nothing', base
    ways = {'bfloat16': Way(1, True, True), 'float32': Way(1, False, True),
            'float32, channels first': Way(1, False, False), 'all cores for one run': base.way._replace(threads=cpu_count())}
    for name, way in ways.items():
        if way != base.way: yield name, make_learner(replace(recipe, bf16=way.bf16), way=way)
    learn = make_learner(recipe)
    learn.opt_func = Adam
    yield "fastai's Adam", learn
    for name, how in (('a process that loads', dict(num_workers=1)), ('decoding every time', dict(cache=False, num_workers=0)),
                      ('decoding every time, in a process', dict(cache=False, num_workers=1))):
        learn = make_learner(recipe)
        learn.dls = get_dls(path=Path(recipe.dataset), **recipe.dls_args(), **how)
        yield name, learn


def measure(path:Path, # from `many_pictures`
            scale:float, # of the numbers of pictures
            folder:Path, # for notes between processes
           ):
    "Rows of the table, one after another."
    base = Recipe(dataset=str(path), size=32, seed=1)

    def few(n): return max(130, round(n*scale)//10*10)

    def row(sweep, what, recipe, ms, seconds=None, rate=None, jobs=1):
        return dict(sweep=sweep, what=what, side=recipe.size, pictures=recipe.train_images, jobs=jobs, seconds=seconds,
                    ms=ms, rate=rate)

    def epoch(sweep, recipe, learn=None, what='epoch'):
        learn = learn or make_learner(recipe)
        took = timed_epoch(learn)
        yield row(sweep, what, recipe, 1000*took['epoch']/trained(learn), took['epoch'])
        if sweep == 'side':
            yield row(sweep, 'validation', recipe, 1000*took['validation']/len(learn.dls.valid_ds))
            for name, (ms, rate) in parts(learn).items(): yield row(sweep, name, recipe, ms, rate=rate)
    for n in PICTURES: yield from epoch('pictures', replace(base, train_images=few(n)))
    for side in SIDES:
        yield from epoch('side', replace(base, size=side, train_images=few(1000 if side <= 64 else 500)))
    at_64 = replace(base, size=64, train_images=few(1000))
    for name, rate in peaks(make_learner(at_64).way.bf16).items(): yield row('peak', name, at_64, None, rate=rate)
    for jobs in (1, cpu_count(), 2*cpu_count()):
        done = list(side_by_side(cost.beside, [(at_64, number, jobs, str(folder)) for number in range(jobs)], jobs))
        failures = [outcome.failure for outcome in done if outcome.failure]
        if failures: raise RuntimeError(failures[0])
        n, seconds = max(outcome.value for outcome in done)
        yield row('jobs', 'epoch', at_64, 1000*seconds/n/jobs, seconds, jobs=jobs)
    for recipe in (replace(at_64, size=32), at_64):
        for name, learn in changes(recipe): yield from epoch('change', recipe, learn, name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', nargs='?', help='where the table goes, as CSV')
    parser.add_argument('--dataset', default='toynette')
    parser.add_argument('--scale', type=float, default=1.)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    source, start, rows = dataset(chosen.dataset), time.perf_counter(), []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        os.environ['FASTAI_HOME'] = str(folder/'home')          # kept pictures and measured speeds go there as well
        path = many_pictures(source, folder/'pictures', max(PICTURES) + 500, 250)       # of each class enough
        for row in measure(path, chosen.scale, folder):
            rows.append(row)
            print(f'{time.perf_counter() - start:5.0f} s  {row}', file=sys.stderr, flush=True)
    shared = dict(dataset=chosen.dataset if chosen.dataset != 'auto' else dataset_name(source), cores=cpu_count(),
                  load=round(os.getloadavg()[0], 1), machine=machine(), date=date.today().isoformat())
    table = pd.DataFrame(rows).assign(**shared).round(dict(seconds=3, ms=3, rate=1))
    print(table.to_string())
    if chosen.file: table.to_csv(chosen.file, index=False)


if __name__ == '__main__': main()
