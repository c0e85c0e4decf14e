"""Rivals of test time augmentation on one set of models: other crops, mirrored pictures, more pixels at test.

Trains the baseline for each seed, keeps its weights, and asks each model in every way; rows go to a table, which the
chapter on test time augmentation reads. Some six processor minutes a seed; weights that are there are not trained anew,
rows that are there not measured again:

    OMP_NUM_THREADS=1 python benchmarks/views.py [FILE.csv] [--weights FOLDER] [--seeds 1 2 3] [--dataset NAME]
"""
import argparse, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import pandas as pd   # noqa: E402
import torch   # noqa: E402
from fastai.vision.all import set_seed   # noqa: E402
from torch.nn import functional as F   # noqa: E402
from sotalearn.data import dataset, get_dls   # noqa: E402
from sotalearn.datasets import data_folder   # noqa: E402
from sotalearn.recipes import Recipe   # noqa: E402
from sotalearn.training import make_learner, train   # noqa: E402
from sotalearn.tta import _batches, _model_of, average_views, predict_corners, predict_views   # noqa: E402

SIZES = 56, 64, 72, 80, 96                             # pixels at test; the baseline trains at 64
MIRRORED = 64, 72                                      # those at which each picture is asked mirrored as well


def trained(recipe, weights):
    "A learner of the recipe: with the weights kept for its seed, or trained now, and they are kept."
    file = weights/f'{recipe.seed}.pth'
    if not file.exists():
        weights.mkdir(parents=True, exist_ok=True)
        learn = train(recipe, weights/'runs.csv', resume='auto')
        torch.save(learn.model.state_dict(), draft := file.with_suffix('.part'))
        draft.rename(file)
    learn = make_learner(recipe)
    learn.model.load_state_dict(torch.load(file, weights_only=True))
    return learn


def mirrored(learn, dl):
    "Probabilities of each picture mirrored: (items, classes)."
    probabilities = _model_of(learn, bf16=False)
    return torch.cat([probabilities(plain.flip(-1))[0] for plain, _ in _batches(dl, 0)])


def loader_at(learn, size):
    "The validation pictures as the learner's own, but so many pixels wide when the network gets them."
    recipe = learn.recipe
    presize = learn.dls[1].after_item.fs[0].size[0]
    return get_dls(path=dataset(recipe.dataset), presize=presize, **recipe.dls_args() | dict(size=size))[1]


def answers(learn):
    "(way, pixels in squares of the training size, probabilities (items, classes)) of each way, and the targets."
    size, found = learn.recipe.size, {}
    views, targets = predict_views(learn, 4, bf16=False)
    found['random'] = 5, average_views(views, beta=.25)
    for other in SIZES:
        dl = loader_at(learn, other)
        (plain,), _ = predict_views(learn, 0, dl, bf16=False)
        found[f'{other} px'] = (other/size)**2, plain
        if other not in MIRRORED: continue
        found[f'{other} px, mirrored'] = 2*(other/size)**2, average_views([plain, mirrored(learn, dl)])
    corners, _ = predict_corners(learn, bf16=False)
    found['closer'], found['corners'] = (1, corners[0]), (5, average_views(corners))
    ends, _ = predict_corners(learn, share=1, bf16=False)
    found['ends'] = 3, average_views(ends[[0, 1, 4]])          # the other two corners are the same squares again
    return found, targets


def rows_of(learn):
    "A row of the table for each way."
    recipe = learn.recipe
    set_seed(recipe.seed)
    found, targets = answers(learn)
    shared = dict(dataset=recipe.dataset, split=recipe.split, size=recipe.size, epochs=recipe.epochs, seed=recipe.seed)
    return [dict(shared, way=way, passes=round(passes, 3), n_val=len(targets),
                 accuracy=round((probs.argmax(dim=1) == targets).float().mean().item(), 6),
                 nll=round(F.nll_loss(probs.clamp_min(1e-12).log(), targets).item(), 6))
            for way, (passes, probs) in found.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('file', nargs='?', type=Path, default=ROOT/'results'/'views.csv')
    parser.add_argument('--weights', type=Path, default=data_folder()/'.sotalearn'/'views')
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3, 4, 5])
    parser.add_argument('--dataset', default='imagenette-160')
    chosen = parser.parse_args()
    known = pd.read_csv(chosen.file) if chosen.file.exists() else pd.DataFrame(columns=['seed'])
    for seed in chosen.seeds:
        if seed in set(known.seed): continue
        learn = trained(Recipe(dataset=chosen.dataset, bf16=False, seed=seed), chosen.weights)
        with learn.no_bar(): rows = rows_of(learn)
        known = pd.concat([known, pd.DataFrame(rows)], ignore_index=True)
        known.to_csv(chosen.file, index=False, lineterminator='\n')
        print(pd.DataFrame(rows).to_string(), flush=True)


if __name__ == '__main__': main()
