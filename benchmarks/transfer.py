"""What small images first do to a pretrained model: the experiment of chapter 04, with rows in results/transfer.csv.

Pretrains on half of the classes and learns the other half from a few images, at full size at once or small first. The
same two ways from scratch stand beside them, to show what the pretrained weights are worth. Prints what came of it, and
writes a row for each run where a file is named; some minutes:

    OMP_NUM_THREADS=1 python benchmarks/transfer.py [FILE.csv] [--dataset imagenette-160] [--bf16] [--seeds 1 2 3]
"""
import argparse, shutil, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import pandas as pd   # noqa: E402
from fastai.vision.all import Callback, CancelValidException, CrossEntropyLossFlat, accuracy   # noqa: E402
from sotalearn.checks import check_limits, check_whole   # noqa: E402
from sotalearn.data import dataset, get_dls   # noqa: E402
from sotalearn.datasets import dataset_name   # noqa: E402
from sotalearn.pictures import split_of   # noqa: E402
from sotalearn.recipes import Recipe   # noqa: E402
from sotalearn.resizing import progressive_fit, transfer_learner   # noqa: E402
from sotalearn.training import BFloat16, make_learner   # noqa: E402


def measure_transfer(path, # a folder laid out as Imagenette, with at least four classes
                     size:int=64, # side of the images in pixels, in both tasks, 16 or more; small is half of it
                     epochs:int=6, # of the pretraining, and the `n` of `fine_tune(n)`; at least 4
                     images:int=100, # training images of the second task
                     bs:int=20, # images in a batch of the second task
                     seeds=(1, 2, 3), # for each the pretraining is run and the second task's images are chosen anew
                     bf16:bool=False, # as in `Recipe`
                    )->pd.DataFrame: # a row for each run
    "Pretrain, then learn other classes, at full size or small first; and both from scratch. The largest rate is 3e-3."
    check_whole(epochs, 'epochs', 4, 1000)
    check_whole(size, 'size', 16, 4096)
    check_whole(images, 'images', 2)
    check_whole(bs, 'bs', 2, images)
    seeds = [check_limits(seed, 'seeds: each', 'seed') for seed in seeds]
    if not seeds: raise ValueError('seeds must hold at least one seed, got none')
    rows, split = [], split_of(path)
    with tempfile.TemporaryDirectory() as folder:
        first, second = halves(path, folder)
        for seed in seeds:
            source = make_learner(Recipe(dataset=str(first), size=size, epochs=epochs, bf16=bf16, seed=seed))
            untrained = make_learner(source.recipe).model
            with source.no_bar(), source.no_logging(): source.fit_one_cycle(epochs, source.recipe.lr)
            shared = dict(dataset=dataset_name(path), split=split, size=size, pretrain_epochs=epochs, bf16=bf16)
            for way, stages in ways(epochs, size, bs).items():
                pretrained = not way.startswith('scratch')
                model = source.model if pretrained else untrained
                rows.append({**shared, 'way': way, 'seed': seed,
                             **learned(model, second, stages, seed, images, bf16, pretrained)})
    return pd.DataFrame(rows)


def ways(epochs, size, bs):
    "The stages of each way: from scratch the first of them is `fit_one_cycle`, which adds no epoch of its own."
    half, rest = epochs//2, epochs - epochs//2 - 1
    return dict(full=[(epochs, size, bs)], small_first=[(half, size//2, bs), (rest, size, bs)],
                scratch=[(epochs + 1, size, bs)], scratch_small_first=[(half + 1, size//2, bs), (rest, size, bs)])


def halves(path, folder):
    "Copies of a dataset, each with one half of the classes."
    classes = sorted(entry.name for entry in (Path(path)/'train').iterdir() if entry.is_dir())
    check_whole(len(classes), "path: classes in 'train'", 4)
    middle = len(classes)//2
    copies = Path(folder)/'first', Path(folder)/'second'
    for copy, labels in zip(copies, (classes[:middle], classes[middle:])):
        for split in ('train', 'val'):
            for label in labels: shutil.copytree(Path(path)/split/label, copy/split/label)
    return copies


class OnlyTrain(Callback):
    "Leaves out validation, which takes longer here than training."
    def before_validate(self): raise CancelValidException


def learned(model, task, stages, seed, images, bf16, pretrained):
    "Train a copy of `model` for another task by `stages`; what came of it as a dict."
    def dls_at(bs, size): return get_dls(bs, size, task, train_images=images, seed=seed)
    _, size, bs = stages[-1]
    learn = transfer_learner(model, dls_at(bs, size), loss_func=CrossEntropyLossFlat(), metrics=accuracy,
                             cbs=[BFloat16()]*bf16)
    start = time.process_time()
    with learn.no_bar(), learn.no_logging(), learn.added_cbs(OnlyTrain()):
        progressive_fit(learn, stages, fine_lr=3e-3, dls_at=dls_at, pretrained=pretrained)
    spent = time.process_time() - start
    with learn.no_bar(): _, right = learn.validate()
    return dict(stages=' '.join(f'{epochs}x{size}' for epochs, size, _ in stages), bs=bs, accuracy=round(right, 6),
                cpu_seconds=round(spent, 1), n_train=len(learn.dls.train_ds), n_val=len(learn.dls.valid_ds))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('path', nargs='?')
    parser.add_argument('--dataset', default='auto')
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3])
    parser.add_argument('--bf16', action='store_true')
    for name, default in (('size', 64), ('epochs', 6), ('images', 100)):
        parser.add_argument(f'--{name}', type=int, default=default)
    chosen = parser.parse_args()
    rows = measure_transfer(dataset(chosen.dataset), chosen.size, chosen.epochs, chosen.images, seeds=chosen.seeds,
                            bf16=chosen.bf16)
    means = (100*rows.groupby('way', sort=False).accuracy.mean()).round(1)
    print(means.to_string())
    print(f'small first against full size at once: {means.small_first/means.full:.2f} pretrained, '
          f'{means.scratch_small_first/means.scratch:.2f} from scratch')
    if chosen.path: rows.to_csv(chosen.path, index=False)


if __name__ == '__main__': main()
