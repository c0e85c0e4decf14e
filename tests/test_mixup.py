"""Mixup: exact in value and gradient, equal to fastai's, and clear about what it cannot take."""
import math
import pickle

import pytest
import torch
import torch.nn.functional as F

from sotalearn.mixup import blend, loss_floor, manifold_mixup, mix_batch, mixup_weights, one_hot, weight_facts


def batch(*shape, dtype=torch.float32, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize('dtype, eps', [(torch.float64, 1e-15), (torch.float32, 1e-6), (torch.bfloat16, 1e-2), (torch.float16, 1e-3)])
@pytest.mark.parametrize('shape', [(5,), (5, 3), (5, 3, 8, 8)])
def test_blend_is_the_weighted_mean(shape, dtype, eps):
    a, b, t = batch(*shape, dtype=dtype), batch(*shape, dtype=dtype, seed=1), torch.tensor([0, .25, .5, .75, 1])
    before = a.clone(), b.clone()
    each = blend(a, b, t)
    assert each.dtype == dtype and each.shape == a.shape
    for i, share in enumerate(t.tolist()):
        expected = share*a[i].double() + (1 - share)*b[i].double()
        assert torch.allclose(each[i].double(), expected, atol=eps) and torch.equal(each[i], blend(a, b, share)[i])
    assert torch.equal(each[0], b[0]) and torch.equal(each[4], a[4])
    assert torch.equal(a, before[0]) and torch.equal(b, before[1])


def test_blend_takes_a_list_and_lets_gradients_through():
    a, b = batch(2, 3).requires_grad_(), batch(2, 3, seed=1)
    blend(a, b, [.2, .7]).sum().backward()
    assert torch.allclose(a.grad, torch.tensor([[.2]*3, [.7]*3]))


# What the chapter's cells test of bad input is not repeated here and below.
@pytest.mark.parametrize('a, b, t, complaint', [
    (batch(2), torch.tensor([True, False]), .5, 'b must be floating point, got torch.bool'),
    ([.1, .2], batch(2), .5, 'a must be a floating point tensor, got list'), (None, batch(2), .5, 'got NoneType'),
    (batch(2), batch(2), [.5, 1.5], 't must be from 0 to 1, got 1.5'), (batch(2), batch(2), -.01, 'got -0.01'),
    (batch(2), batch(2), [.5, math.nan], 't must be from 0 to 1, got nan'), (batch(2), batch(2), math.inf, 'got inf'),
    (batch(2), batch(2), [.1, .2, .3], r'one for each item of a, whose shape is \(2,\), got shape \(3,\)'),
    (batch(2, 3), batch(2, 3), batch(2, 3), r'got shape \(2, 3\)'), (torch.tensor(.5), torch.tensor(.1), [.5], 'got shape'),
    (batch(2), batch(2), 'half', "t must be numbers from 0 to 1, got 'half'"), (batch(2), batch(2), None, 'got None'),
    (batch(2), batch(2), True, 'got True'), (batch(2), batch(2), torch.tensor([True, False]), 't must be numbers')])
def test_what_cannot_be_blended_is_refused(a, b, t, complaint):
    with pytest.raises(ValueError, match=complaint): blend(a, b, t)


@pytest.mark.parametrize('alpha', [.01, .1, .4, 1, 2, 100])
def test_what_is_said_of_the_weights_is_so(alpha):
    quad = pytest.importorskip('scipy.integrate').quad
    stats = pytest.importorskip('scipy.stats')
    # in the variable u with t = u**k the density has no pole at 0
    k = 1/min(alpha, 1)
    mean = 2*quad(lambda u: (1 - u**k)*stats.beta.pdf(u**k, alpha, alpha)*k*u**(k - 1), 1e-300, .5**(1/k))[0]
    facts = weight_facts(alpha)
    assert facts['mean'] == pytest.approx(mean, abs=1e-4)
    torch.manual_seed(0)
    drawn = mixup_weights(50_000, alpha)
    assert .5 <= drawn.min() and drawn.max() <= 1 and drawn.dtype == torch.float32 and not drawn.isnan().any()
    assert facts['mean'] == pytest.approx(drawn.mean().item(), abs=.005)
    assert facts['above_90'] == pytest.approx((drawn > .9).float().mean().item(), abs=.01)
    assert facts['above_99'] == pytest.approx((drawn > .99).float().mean().item(), abs=.01)
    assert (drawn < facts['median']).float().mean().item() == pytest.approx(.5, abs=.01) or facts['median'] > .9999


@pytest.mark.parametrize('x, y, complaint', [
    (batch(0, 3), [], 'x must be a batch of at least 2 items'), (torch.tensor(1.), [0], 'at least 2 items'),
    ([[1.], [2.]], [0, 1], 'x must be a floating point tensor, got list'), (batch(2, 3), [0, 5], 'targets must be from 0 to 4, got 5')])
def test_a_batch_that_cannot_be_mixed_is_refused(x, y, complaint):
    with pytest.raises(ValueError, match=complaint): mix_batch(x, y, 5)


@pytest.mark.parametrize('alpha', [.1, .4, 2])
@pytest.mark.parametrize('same_class', [0, .1, .5, 1])
def test_the_floor_is_the_mean_entropy(alpha, same_class):
    quad, stats = pytest.importorskip('scipy.integrate').quad, pytest.importorskip('scipy.stats')
    k = 1/min(alpha, 1)
    def entropy(t): return -t*math.log(t) - (1 - t)*math.log1p(-t)

    mean = 2*quad(lambda u: entropy(u**k)*stats.beta.pdf(u**k, alpha, alpha)*k*u**(k - 1), 1e-12, .5**(1/k))[0]
    assert loss_floor(alpha, same_class) == pytest.approx((1 - same_class)*mean, abs=1e-6)


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_weights_are_float32_whatever_torchs_default_is(dtype):
    usual = torch.get_default_dtype()
    torch.manual_seed(0)
    expected = mixup_weights(5)
    try:
        torch.set_default_dtype(dtype)
        torch.manual_seed(0)
        assert torch.equal(mixup_weights(5), expected) and expected.dtype == torch.float32
    finally: torch.set_default_dtype(usual)


def test_no_model_gets_below_the_floor():
    torch.manual_seed(0)
    _, y = mix_batch(torch.zeros(20_000, 1), torch.arange(10).repeat(2000), 10)
    told = y.clamp_min(1e-30).log()                   # a model that knows every blend
    assert F.cross_entropy(told, y).item() == pytest.approx(loss_floor(), abs=.005)
    for change in (told*.9, told*1.1, told + torch.randn_like(told)): assert F.cross_entropy(change, y) > F.cross_entropy(told, y)


# ------------------------------------------------------------ beside fastai

def begin(callback, x, y, loss_func):
    "A mixing callback that has prepared one batch, and its learner."
    from fastai.vision.all import Learner
    learn = Learner(None, torch.nn.Identity(), loss_func=loss_func, cbs=callback)
    learn.xb, learn.yb, learn.training = (x.clone(),), (y,), True
    callback.before_train()
    callback.before_batch()
    return learn


@pytest.mark.parametrize('shape', [(2, 3), (64, 3, 8, 8), (17, 5)])
def test_fastais_mixup_is_the_same(shape):
    vision = pytest.importorskip('fastai.vision.all')
    x, y, mixup = batch(*shape), torch.arange(shape[0])%10, vision.MixUp(.4)
    torch.manual_seed(3)
    learn = begin(mixup, x, y, vision.CrossEntropyLossFlat())
    torch.manual_seed(3)
    mixed, targets = mix_batch(x, y, 10)
    assert torch.allclose(learn.x, mixed, atol=1e-6)
    assert torch.allclose(blend(one_hot(y, 10), one_hot(mixup.yb1[0], 10), mixup.lam), targets, atol=1e-6)


@pytest.mark.parametrize('eps', [0, .1])
@pytest.mark.parametrize('kind', ['MixUp', 'CutMix'])
def test_fastais_two_losses_are_the_loss_on_the_soft_target(kind, eps):
    vision = pytest.importorskip('fastai.vision.all')
    x, y, callback = batch(32, 3, 16, 16), torch.arange(32)%10, getattr(vision, kind)(.4)
    learn = begin(callback, x, y, vision.LabelSmoothingCrossEntropyFlat(eps=eps) if eps else vision.CrossEntropyLossFlat())
    logits = batch(32, 10, seed=1).mul(4).requires_grad_()
    targets = blend(one_hot(y, 10), one_hot(callback.yb1[0], 10), callback.lam.expand(32).float())
    theirs, ours = learn.loss_func(logits, y), F.cross_entropy(logits, targets, label_smoothing=eps)
    assert theirs.item() == pytest.approx(ours.item(), abs=1e-5)
    assert torch.allclose(*(torch.autograd.grad(o, logits)[0] for o in (theirs, ours)), atol=1e-7)


# ------------------------------------------------------------ activations

@pytest.fixture
def learner():
    "A small learner on random pictures of two kinds, and the activations that each layer gave, batch by batch."
    vision = pytest.importorskip('fastai.vision.all')
    from torch.utils.data import TensorDataset
    vision.set_seed(0)
    y = torch.arange(32)%2
    x = batch(32, 3, 8, 8)*.5 + y[:, None, None, None]*.5
    data = TensorDataset(x, y)

    def make(cbs=None, loss_func=None, bs=8, model=None):
        model = model or torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2))
        learn = vision.Learner(vision.DataLoaders.from_dsets(data, data, bs=bs, num_workers=0), model,
                               loss_func=loss_func or vision.CrossEntropyLossFlat(), metrics=vision.accuracy, cbs=cbs)
        learn.remove_cbs(learn.cbs.filter(lambda o: type(o).__name__ == 'ProgressCallback'))
        return learn
    return make


def hooks(model): return sum(len(o._forward_hooks) for o in model.modules())


@pytest.mark.parametrize('layer', [0, 1, 2])
def test_one_layers_output_is_blended_in_training_only(learner, layer):
    callback = manifold_mixup(.4, layers=[layer])
    learn, seen = learner(callback), []
    given = learn.model[layer].forward

    def spy(x):
        out = given(x)
        seen.append((learn.training, out.detach()))
        return out
    learn.model[layer].forward = spy
    received = []
    learn.model[layer + 1].register_forward_pre_hook(lambda module, inputs: received.append((inputs[0].detach(), callback.lam, callback.shuffle)))
    with learn.no_logging(): learn.fit(1)
    assert {training for training, _ in seen} == {True, False} and len(seen) == len(received) == 8
    for (training, out), (got, lam, shuffle) in zip(seen, received):
        assert torch.equal(got, blend(out, out[shuffle], lam) if training else out)
    assert hooks(learn.model) == 0
    assert type(learn.loss_func).__name__ == 'CrossEntropyLossFlat'


def test_its_loss_is_that_of_the_soft_target(learner):
    from fastai.vision.all import Callback
    told = []

    class Spy(Callback):
        order, run_valid = 60, False

        def after_loss(self):
            mix = self.learn.manifold_mix_up
            targets = blend(one_hot(self.y, 2), one_hot(mix.yb1[0], 2), mix.lam)
            told.append((self.loss_grad.item(), F.cross_entropy(self.pred, targets).item()))

    learn = learner([manifold_mixup(.4), Spy()])
    with learn.no_logging(): learn.fit(2)
    assert len(told) == 8
    for theirs, ours in told: assert theirs == pytest.approx(ours, abs=1e-5)


def test_it_trains_what_the_course_trains(learner):
    from fastai.vision.all import xresnet18
    from sotalearn.training import BFloat16
    learn = learner([manifold_mixup(.4, layers=(3, 4, 5)), BFloat16()], model=xresnet18(n_out=2))
    with learn.no_logging(): learn.fit(1)
    assert math.isfinite(learn.recorder.values[-1][0]) and hooks(learn.model) == 0


def test_a_learner_that_has_it_can_be_pickled(learner):
    learn = learner(manifold_mixup(.3, layers=[1]))
    with learn.no_logging(): learn.fit(1)
    loaded = pickle.loads(pickle.dumps(learn))          # as learn.export() does
    assert loaded.manifold_mix_up.distrib.concentration1 == pytest.approx(.3)
    with learn.no_bar(), loaded.no_bar(): before, after = learn.get_preds()[0], loaded.get_preds()[0]
    assert torch.equal(before, after) and hooks(loaded.model) == 0
    with loaded.no_logging(): loaded.fit(1)


def test_what_it_cannot_train_is_refused_before_training(learner):
    for kwargs, complaint in ((dict(cbs=manifold_mixup(layers=(0, 4))), 'layers must be from 0 to 3 for this model, got 4'),
                              (dict(cbs=manifold_mixup(), loss_func=torch.nn.CrossEntropyLoss()), 'loss_func must take whole numbers'),
                              (dict(cbs=manifold_mixup(), bs=1), 'bs must be 2 or more to blend a batch, got 1')):
        learn = learner(**kwargs)
        before = [o.clone() for o in learn.model.parameters()]
        with pytest.raises(ValueError, match=complaint), learn.no_logging(): learn.fit(1)
        assert all(torch.equal(*o) for o in zip(before, learn.model.parameters()))
    for layers, complaint in (((-1,), 'layers must be a whole number, 0 or more, got -1'), ((.5,), 'layers must be a whole number'),
                              (2, 'layers must be a sequence of whole numbers, got 2')):
        with pytest.raises(ValueError, match=complaint): manifold_mixup(layers=layers)
