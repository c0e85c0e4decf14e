"""Statistics: exact over any split into batches."""
import pytest
import torch

from sotalearn.normalization import channel_stats, dataset_stats, denormalize, normalize


def batch(*shape, dtype=torch.float32):
    "A batch of random numbers, always the same."
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize('sizes', [[(1, 4, 4)]*10, [(3, 5, 2), (1, 1, 1), (7, 3, 9)], [(40, 2, 2)]])
def test_one_pass_is_exact(sizes):
    batches = [batch(n, 3, h, w, dtype=torch.float64)*(i + 1) + 1e4 for i, (n, h, w) in enumerate(sizes)]
    values = torch.cat([o.transpose(0, 1).flatten(1) for o in batches], dim=1)
    mean, std = dataset_stats(batches)
    assert torch.allclose(mean, values.mean(1), rtol=1e-12) and torch.allclose(std, values.std(1), rtol=1e-8)


@pytest.mark.parametrize('place', [0, 1])
def test_an_empty_batch_says_nothing(place):
    batches = [torch.rand(5, 3, 4, 4, requires_grad=True)]
    alone = dataset_stats(batches)
    batches.insert(place, torch.rand(0, 3, 4, 4))
    assert all(map(torch.equal, dataset_stats(batches), alone)) and not alone[0].requires_grad


@pytest.mark.parametrize('use, told', [
    (lambda x, y: dataset_stats([(x, y)]), 'batch must be one tensor, got 2; give x of each'),
    (lambda x, y: channel_stats((x, y)), 'x must be one tensor, got 2; give x of each'),
    (lambda x, y: channel_stats('red'), 'x must be a tensor or numbers, got str'),
    (lambda x, y: normalize(x, None, 1), 'mean must be a tensor or numbers, got NoneType'),
    (lambda x, y: denormalize(x, 0, None), 'std must be a tensor or numbers, got NoneType')])
def test_what_is_no_batch_is_said_in_a_sentence(use, told):
    with pytest.raises(ValueError, match=told): use(batch(2, 3, 4, 4), torch.tensor([0, 1]))


def test_one_pass_takes_a_generator_and_keeps_nothing():
    mean, _ = dataset_stats(torch.full((1, 3, 2, 2), float(i)) for i in range(5))
    assert mean.tolist() == [2., 2., 2.]
