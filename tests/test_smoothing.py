"""Label smoothing and calibration: against second implementations, for all dtypes, and clear about what they cannot take."""
import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from sotalearn.demos.plots import pairs_figure, reliability_figure
from sotalearn.experiments import compare_pairs
from sotalearn.smoothing import calibration, optimal_logit, smooth_labels

DEVICES = ['cpu', *['cuda']*torch.cuda.is_available(), *['mps']*torch.backends.mps.is_available()]
WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


# ------------------------------------------------------------ smooth_labels

@pytest.mark.parametrize('eps', [0, 1e-6, .1, .5, .999])
@pytest.mark.parametrize('n_classes', [2, 5, 10, 1000])
def test_targets_are_written_out_one_by_one(n_classes, eps):
    targets = [0, n_classes - 1, 1]
    expected = [[1 - eps + eps/n_classes if k == y else eps/n_classes for k in range(n_classes)] for y in targets]
    found = smooth_labels(targets, n_classes, eps, dtype=torch.float64)
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=1e-15, rtol=1e-12)
    assert torch.allclose(found.sum(dim=1), torch.ones(3, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', WHOLE)
def test_targets_of_any_whole_dtype(dtype, device):
    found = smooth_labels(torch.tensor([1, 0, 4], dtype=dtype, device=device), 5)
    assert found.device.type == device and found.dtype == torch.float32
    assert torch.equal(found.cpu(), smooth_labels([1, 0, 4], 5))


@pytest.mark.parametrize('dtype', FLOATS)
def test_the_dtype_that_was_asked_for(dtype):
    found = smooth_labels([3], 10, dtype=dtype)
    assert found.dtype == dtype and torch.allclose(found.double().sum(), torch.tensor(1.).double(), atol=20*torch.finfo(dtype).eps)


def test_torchs_default_dtype_is_followed():
    torch.set_default_dtype(torch.float64)
    try: assert smooth_labels([1], 3).dtype == torch.float64
    finally: torch.set_default_dtype(torch.float32)


def test_arrays_ranges_and_fastais_targets():
    vision = pytest.importorskip('fastai.vision.all')
    expected = smooth_labels(torch.arange(3), 3)
    for targets in (range(3), (0, 1, 2), np.arange(3), np.arange(3, dtype=np.uint8), vision.TensorCategory(torch.arange(3))):
        found = smooth_labels(targets, 3)
        assert type(found) is torch.Tensor and torch.equal(found, expected)


def test_what_came_in_is_not_changed():
    targets = torch.tensor([2, 0])
    smooth_labels(targets, 3, .5)
    assert targets.tolist() == [2, 0]


@pytest.mark.parametrize('eps', [.01, .1, .3])
@pytest.mark.parametrize('n_classes', [2, 7, 100])
@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
def test_the_loss_is_torchs_and_fastais(n_classes, eps, reduction):
    theirs = pytest.importorskip('fastai.losses').LabelSmoothingCrossEntropy(eps, reduction=reduction)
    g = torch.Generator().manual_seed(n_classes)
    logits, targets = 4*torch.randn(31, n_classes, generator=g, dtype=torch.float64), torch.randint(n_classes, (31,), generator=g)
    soft = smooth_labels(targets, n_classes, eps, dtype=torch.float64)

    def value_and_gradient(loss):
        z = logits.clone().requires_grad_()
        value = loss(z)
        return value.detach(), torch.autograd.grad(value.sum(), z)[0]
    ours = value_and_gradient(lambda z: F.cross_entropy(z, soft, reduction=reduction))
    for loss in (lambda z: F.cross_entropy(z, targets, label_smoothing=eps, reduction=reduction), lambda z: theirs(z, targets)):
        for a, b in zip(ours, value_and_gradient(loss)): assert torch.allclose(a, b, atol=1e-12, rtol=1e-12)


# What the chapter's cells test of bad input is not repeated here and below.
@pytest.mark.parametrize('targets, complaint', [
    (torch.tensor([300], dtype=torch.int16), 'got 300'), ([1., math.nan], 'got torch.float32'), (torch.tensor([1j]), 'got torch.complex64'),
    (torch.tensor(1), r'got \(\)'), (1, r'got \(\)'), (torch.eye(5), r'got \(5, 5\)'), (None, 'got None'), ('church', "got 'church'"),
    ([1, [2]], r'got \[1, \[2\]\]')])
def test_bad_targets_are_refused_in_a_sentence(targets, complaint):
    with pytest.raises(ValueError, match=f'targets must .*{complaint}') as e: smooth_labels(targets, 5)
    assert '\n' not in str(e.value)


# ------------------------------------------------------------ the optimum

@pytest.mark.parametrize('n_classes, eps', [(2, .5), (5, .1), (10, .1), (1000, .01)])
def test_the_optimal_logit_is_where_a_search_finds_it(n_classes, eps):
    from scipy.optimize import minimize_scalar
    target = smooth_labels([0], n_classes, eps, dtype=torch.float64)
    loss = lambda z: F.cross_entropy(F.pad(torch.tensor([[z]], dtype=torch.float64), (0, n_classes - 1)), target).item()
    found = minimize_scalar(loss, bounds=(-5, 30), method='bounded', options=dict(xatol=1e-9))
    assert abs(found.x - optimal_logit(n_classes, eps)) < 1e-5
    assert abs(found.fun - torch.special.entr(target).sum().item()) < 1e-9


# ------------------------------------------------------------ calibration

def by_hand(probs, targets, bins):
    "The expected calibration error, prediction by prediction, in NumPy."
    probs, targets = np.asarray(probs, dtype=np.float64), np.asarray(targets)
    top, error = probs.max(axis=1), 0
    for low, high in zip(np.arange(bins)/bins, np.arange(1, bins + 1)/bins):
        inside = (low < top) & (top <= high)
        if inside.any(): error += inside.mean()*abs(top[inside].mean() - (probs.argmax(axis=1) == targets)[inside].mean())
    return error


@pytest.mark.parametrize('bins', [1, 2, 10, 15, 100])
@pytest.mark.parametrize('scale', [.1, 1, 10])
def test_the_error_is_that_of_a_second_implementation(bins, scale):
    g = torch.Generator().manual_seed(bins)
    probs = (scale*torch.randn(700, 10, generator=g, dtype=torch.float64)).softmax(dim=1)
    targets = torch.randint(10, (700,), generator=g)
    found = calibration(probs, targets, bins)
    assert abs(found['ece'] - by_hand(probs, targets, bins)) < 1e-12
    assert found['count'].sum() == 700 and all(len(found[o]) == bins for o in ('confidence', 'accuracy', 'count'))
    assert torch.equal(found['confidence'].isnan(), found['count'] == 0)


def two_classes(*tops):
    "Predictions of class 0 with these probabilities."
    top = torch.tensor(tops, dtype=torch.float64)
    return torch.stack([top, 1 - top], dim=1)


def test_a_perfectly_calibrated_model_has_no_error():
    assert calibration(two_classes(.75, .75, .75, .75, .5, .5), [0, 0, 0, 1, 0, 1])['ece'] < 1e-15


def test_sure_and_right_sure_and_wrong():
    assert calibration(torch.eye(4), range(4))['ece'] == 0
    assert calibration(torch.eye(4), [1, 2, 3, 0])['ece'] == 1


def test_one_bin_compares_the_means():
    probs, targets = two_classes(.9, .8, .7, .6), [0, 0, 0, 1]
    found = calibration(probs, targets, bins=1)
    assert abs(found['ece'] - abs(.75 - .75)) < 1e-12 and found['count'].tolist() == [4]
    assert calibration(probs, targets, bins=15)['ece'] > .1


def test_edges_belong_to_the_lower_bin_and_1_to_the_last():
    assert calibration(two_classes(.5, .75, 1.), [0, 0, 0], bins=4)['count'].tolist() == [0, 1, 1, 1]
    assert calibration(two_classes(.5 + 1e-9), [0], bins=4)['count'].tolist() == [0, 0, 1, 0]


def test_order_and_precision_do_not_matter():
    g = torch.Generator().manual_seed(0)
    probs, targets = torch.randn(300, 5, generator=g).softmax(dim=1), torch.randint(5, (300,), generator=g)
    order = torch.randperm(300, generator=g)
    assert abs(calibration(probs, targets)['ece'] - calibration(probs[order], targets[order])['ece']) < 1e-12
    assert abs(calibration(probs, targets)['ece'] - calibration(probs.double(), targets.to(torch.uint8))['ece']) < 1e-12
    for dtype in (torch.float16, torch.bfloat16): assert 0 <= calibration(probs.to(dtype), targets)['ece'] <= 1


@pytest.mark.parametrize('device', DEVICES)
def test_probabilities_with_a_gradient_or_on_a_device(device):
    logits = torch.zeros(3, 2, device=device, requires_grad=True)
    assert calibration(logits.softmax(dim=1), torch.tensor([0, 1, 0], device=device))['count'].device.type == 'cpu'


NAN = math.nan
@pytest.mark.parametrize('probs, targets, complaint', [
    (torch.tensor([[.5, NAN]]), [0], r'got \[0.5, nan\] in row 0'), (torch.tensor([[math.inf, 0]]), [0], r'got \[inf, 0.0\]'),
    (torch.tensor([[1.5, -.5]]), [0], r'got \[1.5, -0.5\]'), (torch.tensor([[.5, .5], [.5, .6]]), [0, 0], 'in row 1, which sums to 1.1'),
    (torch.randn(4, 100), [0]*4, 'probs must be rows'), (torch.ones(2), [0, 1], r'got \(2,\)'), ([[1., 0.]], [0], 'got list'),
    (torch.zeros(0, 2), [], 'targets must have shape'), (torch.eye(2), [0., 1.], 'targets must be whole numbers')])
def test_what_cannot_be_judged_is_refused_in_a_sentence(probs, targets, complaint):
    with pytest.raises(ValueError, match=complaint) as e: calibration(probs, targets)
    assert '\n' not in str(e.value) and len(str(e.value)) < 300


def test_the_figure_tells_what_the_function_found():
    result = calibration(two_classes(.9, .9, .6, .6), [0, 1, 0, 0])
    figure = reliability_figure([result], [('a model', '某模型', '#777777')])
    assert figure.alt['en'] == f'Reliability diagrams. a model: mean top probability 75.0 %, right 75.0 %, ECE {result["ece"]:.3f}.'
    assert '某模型：最大概率平均 75.0 %，答对 75.0 %' in figure.alt['zh'] and set(figure.data) == {'en', 'zh'}


# ------------------------------------------------------------ pairs of runs

def runs(seeds, *accuracy):
    "A table of runs; what is not the accuracy is made from it."
    return pd.DataFrame(dict(seed=seeds, accuracy=accuracy, nll=[2*o for o in accuracy], confidence=accuracy, ece=accuracy))


def test_pairs_are_those_of_scipys_paired_test():
    from scipy.stats import ttest_rel
    hard, smoothed = runs([1, 2, 3, 9], .70, .69, .71, 0), runs([3, 1, 2], .74, .71, .72)
    table = compare_pairs(hard, smoothed)
    low, high = ttest_rel([.71, .72, .74], [.70, .69, .71]).confidence_interval(.95)
    assert np.allclose(table.loc['accuracy', ['hard', 'smoothed', 'difference', 'low', 'high', 'pairs']].astype(float),
                       [.70, .72333333, .02333333, low, high, 3])
    assert np.isclose(table.loc['nll', 'difference'], 2*.02333333)
    assert '3 pairs' in pairs_figure(hard, smoothed, [('hard', '硬', 'C0'), ('smoothed', '平滑', 'C1')]).alt['en']


def test_a_single_pair_has_no_interval_and_no_pair_is_an_error():
    table = compare_pairs(runs([1], .7), runs([1], .8))
    assert np.isclose(table.loc['accuracy', 'difference'], .1) and table.low.isna().all()
    with pytest.raises(ValueError, match=r'must share seeds, each once, got \[\[1\], \[2\]\]'): compare_pairs(runs([1], .7), runs([2], .8))
    with pytest.raises(ValueError, match='each once'): compare_pairs(runs([1, 1], .7, .6), runs([1], .8))
