"""Label smoothing and calibration: against second implementations, for all dtypes, and clear about what they cannot take."""
import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from sotalearn.demos.plots import pairs_figure, reliability_figure
from sotalearn.experiments import compare_pairs
from sotalearn.smoothing import (calibration, fit_temperature, optimal_logit, scaled_calibration, smooth_labels,
                                 temperature_scale)

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


def test_torchs_default_dtype_is_followed():
    torch.set_default_dtype(torch.float64)
    try: assert smooth_labels([1], 3).dtype == torch.float64
    finally: torch.set_default_dtype(torch.float32)


def test_a_filtered_column_is_read_by_its_order():
    column = pd.Series([0, 2, 1, 2])
    assert torch.equal(smooth_labels(column[column > 0], 3), smooth_labels([2, 1, 2], 3))


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
    assert '某模型：最大概率的均值 75.0%，答对 75.0%' in figure.alt['zh'] and figure.pictures


# ------------------------------------------------------------ temperature

def answers(n=400, times=1., seed=0):
    "Logits whose softmax is right, and the truth drawn from it; the probabilities told are those of `times` the logits."
    g = torch.Generator().manual_seed(seed)
    logits = 2*torch.randn(n, 10, generator=g, dtype=torch.float64)
    targets = torch.multinomial(logits.softmax(dim=1), 1, generator=g)[:, 0]
    return times*logits, targets


@pytest.mark.parametrize('dtype', FLOATS)
@pytest.mark.parametrize('temperature', [.05, .5, 1, 3, 20])
def test_probabilities_are_scaled_as_logits_are(temperature, dtype):
    logits, _ = answers(50)
    probs = logits.softmax(dim=1).to(dtype)
    found = temperature_scale(probs, temperature)
    assert found.dtype == torch.float64 and torch.allclose(found.sum(dim=1), torch.ones(50, dtype=torch.float64))
    assert torch.allclose(found, (probs.double().log()/temperature).softmax(dim=1), atol=1e-12)
    if dtype == torch.float64: assert torch.allclose(found, (logits/temperature).softmax(dim=1), atol=1e-12)


@pytest.mark.parametrize('temperature', [.05, .5, 1, 3, 20])
def test_a_temperature_changes_no_answer(temperature):
    probs = answers()[0].softmax(dim=1)
    assert torch.equal(temperature_scale(probs, temperature).argmax(dim=1), probs.argmax(dim=1))


def test_the_highest_temperature_says_next_to_nothing_and_1_changes_nothing():
    probs = answers()[0].softmax(dim=1)
    assert temperature_scale(probs, 20).max() < .25 and torch.allclose(temperature_scale(probs, 1), probs, atol=1e-12)


@pytest.mark.parametrize('times', [.25, 1, 2.5])
@pytest.mark.parametrize('seed', [0, 1])
def test_the_temperature_is_where_a_search_finds_it(times, seed):
    from scipy.optimize import minimize_scalar
    logits, targets = answers(times=times, seed=seed)
    loss = lambda temperature: F.cross_entropy(logits/temperature, targets).item()
    found = minimize_scalar(loss, bounds=(.05, 20), method='bounded', options=dict(xatol=1e-9))
    assert fit_temperature(logits.softmax(dim=1), targets) == pytest.approx(found.x, rel=1e-4)


def test_the_temperature_undoes_what_was_done_to_the_logits():
    right, (too_sure, targets) = fit_temperature(answers(4_000)[0].softmax(dim=1), answers(4_000)[1]), answers(4_000, times=3)
    assert right == pytest.approx(1, abs=.05)
    assert fit_temperature(too_sure.softmax(dim=1), targets) == pytest.approx(3*right, rel=1e-6)


def test_all_right_and_all_wrong_end_at_the_limits():
    assert fit_temperature(two_classes(.9, .8), [0, 0]) == pytest.approx(.05)
    assert fit_temperature(two_classes(.9, .8), [1, 1]) == pytest.approx(20)
    assert fit_temperature(torch.eye(4), range(4)) == pytest.approx(.05)           # probabilities of 0 have logarithms, too


@pytest.mark.parametrize('n', [40, 401])
def test_each_half_is_judged_at_the_temperature_of_the_other(n):
    logits, targets = answers(n, times=2)
    probs, order = logits.softmax(dim=1), torch.randperm(n, generator=torch.Generator().manual_seed(3))
    halves, scaled = (order[::2], order[1::2]), torch.zeros_like(probs)
    heats = [fit_temperature(probs[half], targets[half]) for half in halves]
    for half, heat in zip(halves, heats[::-1]): scaled[half] = temperature_scale(probs[half], heat)
    found = scaled_calibration(probs, targets, seed=3)
    assert found['temperature'] == pytest.approx(sum(heats)/2)
    assert found['nll_scaled'] == pytest.approx(F.nll_loss(scaled.log(), targets).item())
    assert found['ece_scaled'] == pytest.approx(calibration(scaled, targets)['ece'])


def test_a_model_that_is_too_sure_is_mended_and_a_right_one_left_alone():
    for times in (1, 3):
        logits, targets = answers(4_000, times)
        probs = logits.softmax(dim=1)
        found, before = scaled_calibration(probs, targets), calibration(probs, targets)['ece']
        assert found['temperature'] == pytest.approx(times, rel=.05) and found['ece_scaled'] < .03
        assert before < .03 if times == 1 else before > .2
    assert scaled_calibration(torch.full((10, 10), .1), range(10))['nll_scaled'] == pytest.approx(math.log(10))


def test_a_networks_own_answers_in_float32_are_scaled_in_a_moment():
    logits, targets = answers(3_925, times=2)
    assert scaled_calibration(logits.float().softmax(dim=1), targets)['temperature'] == pytest.approx(2, rel=.05)


@pytest.mark.parametrize('call, complaint', [
    (lambda: temperature_scale(torch.eye(2), 0), 'temperature must be a number from 0.05 to 20, got 0'),
    (lambda: temperature_scale(torch.eye(2), NAN), 'got nan'), (lambda: temperature_scale(torch.eye(2), '2'), "got '2'"),
    (lambda: temperature_scale(torch.randn(4, 100), 1), 'probs must be rows of numbers from 0 to 1 that sum to 1'),
    (lambda: fit_temperature(torch.eye(2), [0, 2]), 'targets must be from 0 to 1, got 2'),
    (lambda: fit_temperature(torch.eye(2), [0]), 'one row for each of the 1 targets, got 2'),
    (lambda: scaled_calibration(torch.eye(2)[:1], [0]), 'probs must have 2 rows or more to be halved, got 1'),
    (lambda: scaled_calibration(torch.eye(2), [0, 1], seed=-1), 'seed must be a whole number from 0')])
def test_what_cannot_be_scaled_is_refused_in_a_sentence(call, complaint):
    with pytest.raises(ValueError, match=complaint) as e: call()
    assert '\n' not in str(e.value) and len(str(e.value)) < 300


# ------------------------------------------------------------ pairs of runs

def runs(seeds, *accuracy):
    "A table of runs; what is not the accuracy is made from it."
    return pd.DataFrame(dict(seed=seeds, accuracy=accuracy, nll=[2*o for o in accuracy], confidence=accuracy, ece=accuracy))


def test_pairs_are_those_of_scipys_paired_test():
    from scipy.stats import ttest_rel
    hard, smoothed = runs([1, 2, 3, 9], .70, .69, .71, 0), runs([3, 1, 2], .74, .71, .72)
    table = compare_pairs(hard, smoothed)
    low, high = ttest_rel([.71, .72, .74], [.70, .69, .71]).confidence_interval(.95)
    assert np.allclose(table.loc['accuracy', ['baseline', 'changed', 'difference', 'low', 'high', 'pairs']].astype(float),
                       [.70, .72333333, .02333333, low, high, 3])
    assert np.isclose(table.loc['nll', 'difference'], 2*.02333333)
    assert set(table.verdict) == {'cannot tell'}
    assert compare_pairs(hard, runs([1, 2, 3], .90, .88, .91)).verdict.accuracy == 'higher'
    assert '3 pairs' in pairs_figure(hard, smoothed, [('hard', '硬', 'C0'), ('smoothed', '平滑', 'C1')]).alt['en']


def test_a_single_pair_has_no_interval_and_no_pair_is_an_error():
    table = compare_pairs(runs([1], .7), runs([1], .8))
    assert np.isclose(table.loc['accuracy', 'difference'], .1) and table.low.isna().all()
    assert set(table.verdict) == {'too few seeds'}
    with pytest.raises(ValueError, match=r'must share seeds, each once, got \[\[1\], \[2\]\]'): compare_pairs(runs([1], .7), runs([2], .8))
    with pytest.raises(ValueError, match='each once'): compare_pairs(runs([1, 1], .7, .6), runs([1], .8))
