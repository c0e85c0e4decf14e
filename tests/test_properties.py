"""Every pure function against its definition in NumPy's float64, on whatever tensors Hypothesis thinks of.

200 examples each; 10,000 with --thorough."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import special, stats
from torch import Tensor

from sotalearn.cache import presized
from sotalearn.experiments import mean_interval, paired_difference, power, seeds_needed
from sotalearn.mixup import blend, loss_floor, mix_batch, mixup_weights, one_hot, weight_facts
from sotalearn.normalization import channel_stats, dataset_stats, denormalize, normalize
from sotalearn.reader import read_picture
from sotalearn.recipes import check_stages, epochs_of, fits_of, images_seen, schedule_name
from sotalearn.resizing import fit_cost, schedule_seconds
from sotalearn.smoothing import calibration, fit_temperature, optimal_logit, smooth_labels, temperature_scale
from sotalearn.tta import average_views, corner_boxes, crop_box, share_kept

FLOATS = torch.float32, torch.float64, torch.float16, torch.bfloat16
EPS = {dtype: torch.finfo(dtype).eps for dtype in FLOATS}
seeds = st.integers(0, 2**32 - 1)
classes = st.integers(2, 12)
alphas = st.floats(.01, 100)
shares = st.floats(0, 1)


def laid_out(x, how):
    "The same numbers, otherwise in memory."
    if how == 'channels last' and x.ndim == 4: return x.contiguous(memory_format=torch.channels_last)
    if how == 'sliced': return torch.stack([x, x.flip(0)], dim=-1)[..., 0]
    if how == 'transposed': return x.transpose(0, -1).contiguous().transpose(0, -1)
    return x


@st.composite
def tensors(draw, shape, dtypes=FLOATS, low=-1., high=1., scales=(1., 1., 255., 1e-4, 0.)):
    "Floating point of a shape, in any memory layout, of ordinary, tiny and equal values."
    shape = tuple(draw(st.integers(*side)) if isinstance(side, tuple) else side for side in shape)
    values = np.random.default_rng(draw(seeds)).uniform(low, high, shape)*draw(st.sampled_from(scales))
    how = draw(st.sampled_from(['plain', 'channels last', 'sliced', 'transposed']))
    return laid_out(torch.tensor(values).to(draw(st.sampled_from(dtypes))), how)


@st.composite
def answers(draw, n=(1, 20), dtypes=(torch.float32, torch.float64)):
    "Probabilities of shape (n, classes), from unsure to certain, and as many targets."
    n, c = draw(st.integers(*n)), draw(classes)
    rng = np.random.default_rng(draw(seeds))
    probs = special.softmax(rng.normal(size=(n, c))*draw(st.sampled_from([0, .1, 1, 10, 1e3])), axis=1)
    dtype, how = draw(st.sampled_from(dtypes)), draw(st.sampled_from(['plain', 'sliced', 'transposed']))
    return laid_out(torch.tensor(probs).to(dtype), how), torch.tensor(rng.integers(0, c, n))


def exact(x): return x.detach().double().numpy()


def close(found, right, dtype, times=8, scale=None):
    "Equal to within a few roundings of `dtype`, relative to the largest number at hand."
    scale = max(1e-30, np.abs(right).max() if scale is None else scale)
    np.testing.assert_allclose(exact(found) if isinstance(found, Tensor) else found, right, rtol=0,
                               atol=times*EPS[dtype]*scale)


def unchanged(function, *given):
    "What the function returns; it must not change what it was given."
    before = [x.clone() for x in given]
    found = function(*given)
    for x, was in zip(given, before): assert torch.equal(x, was) or x.isnan().any()
    return found


BATCH = ((1, 5), (1, 4), (1, 9), (1, 9))


# ------------------------------------------------------------------ normalization

@given(tensors(BATCH, dtypes=(torch.float32, torch.float64)))
def test_channel_stats(x):
    if x.shape[0]*x.shape[2]*x.shape[3] < 2:
        with pytest.raises(ValueError): channel_stats(x)
        return
    mean, std = unchanged(channel_stats, x)
    assert mean.shape == std.shape == x.shape[1:2] and mean.dtype == std.dtype == x.dtype
    scale = np.abs(exact(x)).max()
    close(mean, exact(x).mean(axis=(0, 2, 3)), x.dtype, 32, scale)
    close(std, exact(x).std(axis=(0, 2, 3), ddof=1), x.dtype, 64, scale)


@given(tensors(BATCH), seeds)
def test_normalize_and_back(x, seed):
    rng = np.random.default_rng(seed)
    mean, std = rng.uniform(-1, 1, x.shape[1]), rng.uniform(.1, 2, x.shape[1])
    found = unchanged(lambda x: normalize(x, mean, std), x)
    assert found.shape == x.shape and found.dtype == x.dtype
    of = lambda numbers: torch.tensor(numbers).to(x.dtype).double().numpy()[:, None, None]
    scale = (np.abs(exact(x)).max() + 1)/.1
    close(found, (exact(x) - of(mean))/of(std), x.dtype, 8, scale)
    close(denormalize(found, mean, std), exact(x), x.dtype, 16, scale*2)


@given(st.lists(tensors(((1, 4), 3, (1, 6), (1, 6)), dtypes=(torch.float32, torch.float64)), min_size=1, max_size=4))
def test_dataset_stats_is_that_of_all_at_once(batches):
    pixels = np.concatenate([exact(x).transpose(1, 0, 2, 3).reshape(3, -1) for x in batches], axis=1)
    if pixels.shape[1] < 2:
        with pytest.raises(ValueError): dataset_stats(batches)
        return
    mean, std = dataset_stats(batches)
    np.testing.assert_allclose(mean, pixels.mean(axis=1), atol=1e-12*255)
    np.testing.assert_allclose(std, pixels.std(axis=1, ddof=1), atol=1e-9*255)


# ------------------------------------------------------------------ mixup

@given(tensors(((1, 5), (1, 4), (1, 5), (1, 5))), seeds, st.booleans(), shares)
def test_blend(a, seed, is_each, share):
    rng = np.random.default_rng(seed)
    b = torch.tensor(rng.uniform(-1, 1, a.shape)).to(a.dtype)
    t = torch.tensor(rng.uniform(0, 1, len(a))) if is_each else share
    found = unchanged(lambda a, b: blend(a, b, t), a, b)
    assert found.shape == a.shape and found.dtype == a.dtype
    weights = exact(torch.as_tensor(t, dtype=torch.float64).to(a.dtype)).reshape(-1, *[1]*(a.ndim - 1))
    right = weights*exact(a) + (1 - weights)*exact(b)
    close(found, right, a.dtype, 8, max(np.abs(exact(a)).max(), 1))
    assert torch.equal(blend(a, b, 1), a) and torch.equal(blend(a, b, 0), b)


@given(classes, seeds, st.integers(1, 30), st.sampled_from([torch.int64, torch.uint8, torch.int32]))
def test_one_hot(n_classes, seed, n, dtype):
    targets = np.random.default_rng(seed).integers(0, n_classes, n)
    for given_as in (torch.tensor(targets).to(dtype), targets.tolist(), targets):
        found = one_hot(given_as, n_classes)
        assert found.dtype == torch.float32 and (found.numpy() == np.eye(n_classes)[targets]).all()


@given(st.integers(1, 200), alphas)
def test_mixup_weights(n, alpha):
    found = mixup_weights(n, alpha)
    assert found.shape == (n,) and found.dtype == torch.float32 and ((.5 <= found) & (found <= 1)).all()


@given(alphas)
def test_weight_facts_and_the_loss_floor(alpha):
    facts, beta = weight_facts(alpha), stats.beta(alpha, alpha)
    assert math.isclose(facts['median'], beta.ppf(.75), abs_tol=1e-6)
    assert math.isclose(facts['above_90'], 2*beta.sf(.9), abs_tol=1e-9)
    assert math.isclose(facts['above_99'], 2*beta.sf(.99), abs_tol=1e-9)
    # 200 equally likely weights stand for all of them
    quantiles = beta.ppf((np.arange(2000) + .5)/2000)
    assert math.isclose(facts['mean'], np.maximum(quantiles, 1 - quantiles).mean(), abs_tol=2e-3)
    entropy = -(special.xlogy(quantiles, quantiles) + special.xlogy(1 - quantiles, 1 - quantiles)).mean()
    assert math.isclose(loss_floor(alpha, 0), entropy, abs_tol=2e-3)


@given(tensors(((2, 6), (1, 3), (1, 4))), classes, seeds, alphas)
def test_mix_batch_mixes_items_and_targets_alike(x, n_classes, seed, alpha):
    targets = torch.tensor(np.random.default_rng(seed).integers(0, n_classes, len(x)))
    torch.manual_seed(seed % 2**31)
    mixed, soft = unchanged(lambda x: mix_batch(x, targets, n_classes, alpha), x)
    torch.manual_seed(seed % 2**31)
    t, order = mixup_weights(len(x), alpha), torch.randperm(len(x))
    weights = exact(t.to(x.dtype))[:, None, None]
    close(mixed, weights*exact(x) + (1 - weights)*exact(x[order]), x.dtype, 8, max(np.abs(exact(x)).max(), 1e-6))
    right = exact(t)[:, None]*np.eye(n_classes)[targets] + (1 - exact(t)[:, None])*np.eye(n_classes)[targets[order]]
    close(soft, right, torch.float32)
    assert mixed.dtype == x.dtype and soft.shape == (len(x), n_classes)


# ------------------------------------------------------------------ label smoothing and calibration

@given(classes, st.floats(0, .999), seeds, st.integers(1, 20), st.sampled_from(FLOATS))
def test_smooth_labels(n_classes, eps, seed, n, dtype):
    targets = np.random.default_rng(seed).integers(0, n_classes, n)
    found = smooth_labels(targets, n_classes, eps, dtype)
    close(found, (1 - eps)*np.eye(n_classes)[targets] + eps/n_classes, dtype, 4, 1)
    assert found.dtype == dtype
    if eps > 1e-9: assert math.isclose(optimal_logit(n_classes, eps), math.log(((1 - eps) + eps/n_classes)/(eps/n_classes)),
                                       rel_tol=1e-9, abs_tol=1e-12)


def ece_of(probs, targets, bins):
    "By the definition, bin by bin."
    top, guess, total = probs.max(axis=1), probs.argmax(axis=1), 0.
    for i in range(bins):
        inside = (top > i/bins) & (top <= (i + 1)/bins) if i else top <= 1/bins
        if inside.any(): total += inside.sum()*abs(top[inside].mean() - (guess[inside] == targets[inside]).mean())
    return total/len(probs)


@given(answers(), st.integers(1, 100))
def test_calibration(answer, bins):
    probs, targets = answer
    found = unchanged(lambda probs, targets: calibration(probs, targets, bins), probs, targets)
    exactly = exact(probs)
    tops = exactly.max(axis=1)*bins
    if np.abs(tops - tops.round()).min() > 1e-9:                    # nobody stands on the edge of a bin
        assert math.isclose(found['ece'], ece_of(exactly, targets.numpy(), bins), abs_tol=1e-12)
    assert found['count'].sum() == len(probs) and 0 <= found['ece'] <= 1
    assert all(len(found[name]) == bins for name in ('confidence', 'accuracy', 'count'))
    assert torch.equal(found['confidence'].isnan(), found['count'] == 0)


@given(answers(), st.floats(.05, 20))
def test_temperature(answer, temperature):
    probs, targets = answer
    found = unchanged(lambda probs: temperature_scale(probs, temperature), probs)
    logits = np.log(np.maximum(exact(probs), np.finfo(np.float32).tiny))
    np.testing.assert_allclose(found, special.softmax(logits/temperature, axis=1), atol=1e-9)
    best = fit_temperature(probs, targets)

    def nll(t): return -special.log_softmax(logits/t, axis=1)[np.arange(len(targets)), targets].mean()
    assert .05 <= best <= 20
    for other in (.05, .5, 1, 2, 20): assert nll(best) <= nll(other) + 1e-6


# ------------------------------------------------------------------ several views

@given(st.integers(1, 5), answers(), st.one_of(st.none(), shares), st.sampled_from(['mean', 'max']), seeds)
def test_average_views(k, answer, beta, how, seed):
    plain, _ = answer
    if how == 'max': beta = None
    rng = np.random.default_rng(seed)
    views = torch.stack([plain, *(plain[torch.tensor(rng.permutation(len(plain)))] for _ in range(k - 1))])
    found = unchanged(lambda views: average_views(views, how, beta), views)
    exactly = exact(views)
    right = exactly.max(axis=0) if how == 'max' else exactly.mean(axis=0)
    if beta is not None and k > 1: right = beta*exactly[0] + (1 - beta)*exactly[1:].mean(axis=0)
    close(found, right, plain.dtype, 16, 1)
    assert found.dtype == plain.dtype
    assert torch.equal(average_views(list(views), how, beta), found)


sides = st.integers(1, 4000)


@given(sides, sides, st.floats(.5, 1))
def test_boxes_lie_in_the_picture(width, height, share):
    left, top, right, bottom = crop_box((width, height))
    side = min(width, height)
    assert right - left == bottom - top == side and (left, top) == ((width - side)//2, (height - side)//2)
    boxes = corner_boxes((width, height), share)
    for box in boxes:
        assert 0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height
        assert box[2] - box[0] == box[3] - box[1] == max(1, round(share*side))
        assert share_kept(box, (0, 0, width, height)) == 1
    assert boxes[1][:2] == (0, 0) and boxes[4][2:] == (width, height)


@given(*[st.integers(0, 60)]*4, *[st.integers(1, 60)]*4)
def test_share_kept_counts_pixels(left, top, x, y, width, height, w, h):
    box, crop = (left, top, left + width, top + height), (x, y, x + w, y + h)
    canvas = np.zeros((130, 130), bool)
    canvas[y:y + h, x:x + w] = True
    assert math.isclose(share_kept(box, crop), canvas[top:top + height, left:left + width].mean())


# ------------------------------------------------------------------ experiments

numbers = st.lists(st.floats(-1e3, 1e3), min_size=0, max_size=12)


@given(numbers, st.floats(.5, .999))
def test_mean_interval(values, level):
    mean, low, high = mean_interval(values, level)
    if not values: return
    assert math.isclose(mean, math.fsum(values)/len(values), abs_tol=1e-9)
    if len(values) == 1:
        assert math.isnan(low) and math.isnan(high)
        return
    half = stats.t.ppf((1 + level)/2, len(values) - 1)*np.std(values, ddof=1)/math.sqrt(len(values))
    np.testing.assert_allclose([low, high], [mean - half, mean + half], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(paired_difference(values, [0]*len(values), level), [mean, low, high], atol=1e-9)


@given(st.floats(.001, 5), st.floats(.01, 5), st.integers(2, 40))
def test_more_seeds_find_more(difference, spread, n):
    assert .05 - 1e-9 <= power(difference, spread, n) <= power(difference, spread, n + 1) + 1e-9 <= 1 + 2e-9
    if difference/spread > .5:
        needed = seeds_needed(difference, spread)
        assert power(difference, spread, needed) >= .8
        assert needed == 2 or power(difference, spread, needed - 1) < .8


# ------------------------------------------------------------------ schedules

@st.composite
def schedules(draw):
    sizes = sorted(draw(st.lists(st.integers(8, 4096), min_size=1, max_size=4, unique=True)))
    return [(draw(st.integers(1, 50)), size, draw(st.integers(2, 512))) for size in sizes]


@given(schedules(), st.integers(1, 20000), st.integers(0, 5000))
def test_images_are_counted_epoch_by_epoch(stages, n_train, n_val):
    assert [tuple(stage) for stage in check_stages(stages)] == stages
    seen, epochs = images_seen(stages, n_train, n_val), epochs_of(stages)
    for i, (stage, count) in enumerate(zip(stages, epochs)):
        assert count == stage[0] + (i > 0)
        assert math.isclose(seen[stage[1]], sum(n_train + n_val/3 for _ in range(count)))
    assert [fit.epochs for fit in fits_of(stages)] == epochs
    assert schedule_name(stages).count('×') == len(stages)
    assert math.isclose(schedule_seconds(stages, lambda size: size**2, n_train, n_val),
                        sum(count*stage[1]**2*(n_train + n_val/3) for stage, count in zip(stages, epochs)), rel_tol=1e-9)


@given(st.floats(1e-6, 1e-2), st.floats(1e-6, 1e-2), st.lists(st.integers(8, 1024), min_size=2, max_size=5, unique=True))
def test_a_cost_is_found_again(fixed, by_area, sizes):
    def true(size): return fixed + by_area*(size/64)**2
    found = fit_cost({size: true(size) for size in sizes})
    for size in sizes: assert math.isclose(found(size), true(size), rel_tol=1e-4)


# ------------------------------------------------------------------ pictures

@given(st.integers(1, 40), st.integers(1, 40), seeds, st.sampled_from(['L', 'RGB', 'RGBA', 'LA', '1', 'P', 'CMYK', 'F', 'I']))
def test_reading_keeps_size_and_range(width, height, seed, mode):
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert('RGB').convert(mode if mode != 'LA' else 'L')
    if mode == 'LA': image.putalpha(255)
    found = read_picture(image)
    assert found.size == (width, height) and found.mode == 'RGB' and found.info == {}
    if mode == 'RGB': assert (np.asarray(found) == pixels).all()
    assert (np.asarray(read_picture(found)) == np.asarray(found)).all()


@given(st.integers(8, 200), st.integers(8, 200), st.integers(8, 64))
def test_presized_keeps_the_shorter_side_and_the_shape(width, height, side):
    found = presized(Image.new('RGB', (width, height), (10, 20, 30)), side)
    assert min(found.shape[:2]) == side and (found == [10, 20, 30]).all()
    longer = max(width, height)/min(width, height)*side
    assert longer - 2*side/min(width, height) - 2 <= max(found.shape[:2]) <= longer + 1


# ------------------------------------------------------------------ gradients

def test_gradients_flow_where_they_are_wanted():
    torch.manual_seed(0)
    x, y = (torch.rand(3, 2, 4, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    t = torch.rand(3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x, y: blend(x, y, t), (x, y))
    assert torch.autograd.gradcheck(lambda x: normalize(x, [.1, .2], [.5, 2.]), (x,))
    assert torch.autograd.gradcheck(lambda x: denormalize(x, [.1, .2], [.5, 2.]), (x,))
    assert torch.autograd.gradcheck(lambda x: channel_stats(x)[0], (x,))
    assert torch.autograd.gradcheck(lambda x: channel_stats(x)[1], (x,))
    logits = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: average_views(z.softmax(dim=2)), (logits,))
    assert torch.autograd.gradcheck(lambda z: average_views(z.softmax(dim=2), beta=.25), (logits,))
