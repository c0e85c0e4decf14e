"""Statistics: equal to torch's and fastai's, exact over any split into batches, and clear about what they cannot take."""
import subprocess
import sys

import pytest
import torch

from sotalearn.normalization import channel_stats, dataset_stats, denormalize, normalize


def batch(*shape, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def test_the_idea_costs_no_import_of_fastai():
    code = ("import sys, sotalearn; assert 'torch' not in sys.modules\n"
            'from sotalearn.normalization import channel_stats\n'
            "slow = {'fastai', 'fastbook', 'matplotlib', 'pandas', 'IPython', 'torchvision', 'sotalearn.data'} & set(sys.modules)\n"
            'assert not slow, slow')
    subprocess.run([sys.executable, '-c', code], check=True, timeout=120)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_stats_are_torchs(dtype):
    x = batch(4, 3, 5, 7, dtype=dtype)
    mean, std = channel_stats(x)
    assert mean.shape == std.shape == (3,) and mean.dtype == dtype
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


def test_there_and_back():
    x = batch(2, 3, 4, 4)
    assert torch.allclose(denormalize(normalize(x, [.5, .4, .3], [.2, .3, .4]), [.5, .4, .3], [.2, .3, .4]), x, atol=1e-6)


def test_fastais_normalize_is_the_same():
    vision = pytest.importorskip('fastai.vision.all')
    x = batch(2, 3, 4, 4)
    theirs = vision.Normalize.from_stats(*vision.imagenet_stats, cuda=False)(vision.TensorImage(x))
    assert torch.allclose(normalize(x, *vision.imagenet_stats), theirs.as_subclass(torch.Tensor), atol=1e-6)


@pytest.mark.parametrize('x, complaint', [
    (torch.rand(3, 4, 4), r'got shape \(3, 4, 4\)'), (torch.rand(4), r'got shape \(4,\)'), (torch.rand(1, 2, 3, 4, 5), 'got shape'),
    (torch.rand(1, 3, 1, 1), 'at least 2 values in each channel'), (torch.rand(0, 3, 4, 4), 'at least 2 values'),
    (torch.zeros(2, 3, 4, 4, dtype=torch.int64), 'must hold floats, got torch.int64'), ([[1., 2.]], r'got shape \(1, 2\)')])
def test_a_batch_that_is_none_is_refused(x, complaint):
    with pytest.raises(ValueError, match=complaint): channel_stats(x)


@pytest.mark.parametrize('mean, std, complaint', [
    ([0]*3, [1, 1, 0], 'std must be above 0'), ([0]*3, [1, 1, -1], 'std must be above 0'), ([0]*2, [1]*3, 'mean must have one number'),
    ([0]*3, [1]*4, 'std must have one number'), ([float('nan')]*3, [1]*3, 'mean must be finite'), ([0]*3, [float('inf')]*3, 'std must be finite')])
def test_statistics_that_are_none_are_refused(mean, std, complaint):
    for function in (normalize, denormalize):
        with pytest.raises(ValueError, match=complaint): function(torch.rand(2, 3, 4, 4), mean, std)


def test_batches_must_agree():
    with pytest.raises(ValueError, match='batch must have 3 channels as the first one, got 1'):
        dataset_stats([torch.rand(2, 3, 4, 4), torch.rand(2, 1, 4, 4)])
    with pytest.raises(ValueError, match='got 0'): dataset_stats([])
