"""Statistics: in the precision of the batch, exact over any split into batches, and there before fastai is."""
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sotalearn.normalization import channel_stats, dataset_stats

CHAPTER = Path(__file__).parent.parent/'nbs'/'03_normalization.ipynb'


def batch(*shape, dtype=torch.float32):
    "A batch of random numbers, always the same."
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def run(code, *args):
    "Run `code` in a fresh Python; it fails if the code does."
    subprocess.run([sys.executable, '-c', code, *map(str, args)], check=True, timeout=120, stdout=subprocess.DEVNULL)


def test_the_idea_costs_no_import_of_fastai():
    run("import sys, sotalearn; assert 'torch' not in sys.modules\n"
        'from sotalearn.normalization import channel_stats\n'
        "slow = {'fastai', 'matplotlib', 'pandas', 'IPython', 'torchvision', 'sotalearn.data'} & set(sys.modules)\n"
        'assert not slow, slow')


def test_the_chapter_reaches_its_live_figure_before_fastai():
    run('import json, sys\n'
        'from IPython.core.interactiveshell import InteractiveShell\n'
        "cells = json.load(open(sys.argv[1], encoding='utf-8'))['cells']\n"
        "sources = [''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code']\n"
        "last = next(i for i, source in enumerate(sources) if 'normalization_demo()' in source)\n"
        'shell = InteractiveShell.instance()\n'
        'for source in sources[:last + 1]: shell.run_cell(source).raise_error()\n'
        "assert 'matplotlib' in sys.modules\n"
        "slow = {'fastai', 'fastbook', 'pandas', 'torchvision', 'sotalearn.data'} & set(sys.modules)\n"
        'assert not slow, slow', CHAPTER)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_stats_have_the_dtype_of_the_batch(dtype):
    x = batch(4, 3, 5, 7, dtype=dtype)
    mean, std = channel_stats(x)
    assert mean.shape == std.shape == (3,) and mean.dtype == std.dtype == dtype
    assert torch.allclose(mean, x.mean(dim=(0, 2, 3))) and torch.allclose(std, x.std(dim=(0, 2, 3)))


@pytest.mark.parametrize('sizes', [[(1, 4, 4)]*10, [(3, 5, 2), (1, 1, 1), (7, 3, 9)], [(40, 2, 2)]])
def test_one_pass_is_exact(sizes):
    batches = [batch(n, 3, h, w, dtype=torch.float64)*(i + 1) + 1e4 for i, (n, h, w) in enumerate(sizes)]
    values = torch.cat([o.transpose(0, 1).flatten(1) for o in batches], dim=1)
    mean, std = dataset_stats(batches)
    assert torch.allclose(mean, values.mean(1), rtol=1e-12) and torch.allclose(std, values.std(1), rtol=1e-8)


def test_one_pass_takes_a_generator_and_keeps_nothing():
    mean, _ = dataset_stats(torch.full((1, 3, 2, 2), float(i)) for i in range(5))
    assert mean.tolist() == [2., 2., 2.]
