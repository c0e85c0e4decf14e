"""Views: averaged, drawn as fastai draws them, decoded once, and clear about what they cannot take."""
import pytest
import torch
from torch import nn

from sotalearn.tta import average_views, corner_boxes, crop_box, has_bf16, share_kept


def some_probs(views=5, n=7, classes=4, dtype=torch.float32):
    made_up = torch.rand(views, n, classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return made_up.mul(4).softmax(dim=2).to(dtype)


# ------------------------------------------------------------------ the idea, pure

@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize('views', [1, 2, 9])
def test_averages_have_the_shape_and_dtype_of_a_view(views, dtype):
    probs = some_probs(views, dtype=dtype)
    for how, beta in (('mean', None), ('mean', .25), ('max', None)):
        average = average_views(probs, how, beta)
        assert average.shape == probs.shape[1:] and average.dtype == dtype and type(average) is torch.Tensor


def test_the_mean_is_a_probability_and_the_maximum_is_not():
    probs = some_probs()
    for beta in (None, 0, .25, 1):
        assert torch.allclose(average_views(probs, beta=beta).sum(dim=1), torch.ones(7), atol=1e-6)
    assert (average_views(probs, 'max').sum(dim=1) > 1).all()


NAN, OK = float('nan'), some_probs()
@pytest.mark.parametrize('probs, complaint', [
    ([OK[0], OK[1].double()], 'views of one dtype, got torch.float32 and torch.float64'),
    ([OK[0], OK[0][:3]], r'views of one shape, got \(7, 4\) and \(3, 4\)'), ([], 'got none'), (OK[0], r'got \(7, 4\)'),
    (OK[:0], r'got \(0, 7, 4\)'), (OK[:, :0], r'got \(5, 0, 4\)'), (OK[..., :1]*0 + 1, 'at least 2 classes, got 1'),
    (OK.mul(10).long(), 'floating point, got torch.int64'), (OK - .5, 'from 0 to 1'), (OK*NAN, 'got nan to nan'),
    (OK.log(), 'take the softmax of logits first'), (OK*.9, 'sum to 1 over the classes, got a row that is off by 0.1'),
    (OK.numpy(), 'a tensor or a list of tensors, got ndarray'), (None, 'got NoneType')])
def test_what_is_no_view_is_refused(probs, complaint):
    with pytest.raises(ValueError, match=complaint): average_views(probs)


@pytest.mark.parametrize('arguments, complaint', [
    (dict(beta=-.01), 'beta must be a number from 0 to 1, got -0.01'), (dict(beta=1.01), 'got 1.01'),
    (dict(beta=NAN), 'got nan'), (dict(beta='a'), "got 'a'"),
    (dict(how='min'), "how must be one of mean, max, got 'min'"), (dict(how=None), 'got None'),
    (dict(how='max', beta=.25), "beta must be None with how='max', got 0.25")])
def test_what_is_no_way_to_average_is_refused(arguments, complaint):
    with pytest.raises(ValueError, match=complaint): average_views(OK, **arguments)


def test_share_kept():
    crop = (20, 0, 180, 160)
    assert share_kept((30, 10, 60, 40), crop) == 1 and share_kept((0, 0, 20, 20), crop) == 0
    with pytest.raises(ValueError, match='size must be a whole number, 1 or more, got 0'): crop_box((0, 5))


@pytest.mark.parametrize('size', [(213, 160), (160, 213), (64, 64)])
def test_corners_cover_what_the_centre_crop_loses(size):
    centre, *corners = corner_boxes(size)
    side, (width, height) = round(.875*min(size)), size
    assert all((right - left, bottom - top) == (side, side) for left, top, right, bottom in (centre, *corners))
    assert {box[:2] for box in corners} == {(left, top) for left in (0, width - side) for top in (0, height - side)}
    assert (centre[0], centre[1]) == ((width - side)//2, (height - side)//2)
    assert corner_boxes(size, share=1)[0] == crop_box(size)
    for share in (.4, 1.1): pytest.raises(ValueError, corner_boxes, size, share=share)


def test_devices_that_are_not_ours_have_no_bf16():
    assert not has_bf16('meta') and isinstance(has_bf16(), bool)


# ------------------------------------------------------------------ with a learner

def predict(learn, n=2, seed=0, **how):
    from fastai.vision.all import set_seed
    from sotalearn.tta import predict_views
    set_seed(seed)
    return predict_views(learn, n, **{'bf16': False, **how})


def test_the_plain_view_is_what_get_preds_says(learn):
    probs, targets = predict(learn)
    expected, expected_targets = learn.get_preds()
    assert probs.shape == (3, 18, 2) and probs.dtype == torch.float32 and not probs.is_inference()
    assert torch.allclose(probs[0], expected, atol=1e-6)
    assert torch.equal(targets, expected_targets.as_subclass(torch.Tensor))


def test_an_augmented_view_is_what_fastai_draws_from_the_same_seed(learn):
    from fastai.vision.all import set_seed
    dl = learn.dls[1].new(shuffle=False, bs=18)     # one batch: preparing a plain one uses up random numbers, too
    ours = predict(learn, 1, seed=5, dl=dl)[0]
    set_seed(5)
    with dl.dataset.set_split_idx(0): fastais = learn.get_preds(dl=dl)[0]
    assert torch.allclose(ours[1], fastais, atol=1e-6) and not torch.allclose(ours[0], fastais, atol=1e-6)


def test_the_same_seed_gives_the_same_views_and_another_does_not(learn):
    first, again, other = (predict(learn, seed=o)[0] for o in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first[1:], other[1:]) and torch.equal(first[0], other[0])
    assert not torch.equal(first[1], first[2])


def test_loading_processes_change_nothing_of_the_plain_view(learn):
    dl = learn.dls[1].new(num_workers=2)
    probs, targets = predict(learn, dl=dl)
    assert torch.allclose(probs[0], predict(learn)[0][0], atol=1e-6) and targets.tolist() == [0]*9 + [1]*9


def test_bfloat16_says_nearly_the_same(learn):
    exact, rounded = predict(learn)[0], predict(learn, bf16=True)[0]
    assert rounded.dtype == torch.float32 and torch.allclose(exact, rounded, atol=.02)


def test_kept_pictures_give_the_views_that_decoded_ones_give(learn, monkeypatch):
    kept = predict(learn)[0]
    monkeypatch.setattr('sotalearn.loading.KeptDL.has_a_short_cut', lambda self: False)
    assert torch.equal(predict(learn)[0], kept)


@pytest.mark.parametrize('size', [(1, 1), (2, 2), (1, 2), (3, 3)])
@pytest.mark.parametrize('dtype, off', [(torch.float32, 1e-5), (torch.bfloat16, .05)])
def test_a_small_map_as_one_matrix_is_the_same_convolution(size, dtype, off):
    from sotalearn.tta import _SmallMaps
    torch.manual_seed(0)
    conv, x = nn.Conv2d(16, 24, 3, padding=1), torch.randn(5, 16, *size)
    found = _SmallMaps(conv.to(dtype))(x.to(dtype))
    assert found.shape == (5, 24, *size) and torch.allclose(found.float(), conv.float()(x), atol=off)


@pytest.mark.parametrize('bf16, off', [(False, 1e-5), (True, .03)])
def test_on_the_same_views_the_prepared_model_says_what_the_learners_says(learn, bf16, off, monkeypatch):
    from fastai.vision.all import xresnet18
    from sotalearn.tta import _batches, _model_of
    torch.manual_seed(1)
    model = xresnet18(n_out=2)
    for norm in (layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, .5, 1.)         # fastai begins with 0 in some, which would hide a fault before it
        norm.running_mean.normal_()
    monkeypatch.setattr(learn, 'model', model.eval())
    views, _ = next(_batches(learn.dls[1], 3))
    with torch.inference_mode(): expected = model(views.flatten(0, 1)).softmax(dim=1).unflatten(0, views.shape[:2])
    found = _model_of(learn, bf16)(views)
    assert torch.allclose(found, expected, atol=off) and expected.std() > .01


def test_the_learner_is_left_as_it_was(learn):
    weights = {name: o.clone() for name, o in learn.model.state_dict().items()}
    learn.model.train()
    predict(learn, bf16=True)
    assert learn.model.training and learn.model[0].weight.dtype == torch.float32
    assert all(torch.equal(o, weights[name]) for name, o in learn.model.state_dict().items())


def test_files_without_labels_have_no_targets(learn):
    probs, targets = predict(learn, 0, dl=learn.dls.test_dl(learn.dls.valid_ds.items[:3]))
    assert probs.shape == (1, 3, 2) and targets is None


def test_a_shuffled_loader_comes_back_in_order(learn):
    _, targets = predict(learn, 0, dl=learn.dls[1].new(shuffle=True))
    assert targets.tolist() == [0]*9 + [1]*9


@pytest.mark.parametrize('arguments, complaint', [
    (dict(n=-1), 'n must be a whole number from 0 to 64, got -1'), (dict(n=65), 'got 65'), (dict(n=NAN), 'got nan'),
    (dict(n=1.), 'got 1.0'), (dict(n=True), 'got True'),
    (dict(bf16='no'), "bf16 must be 'auto', True or False, got 'no'")])
def test_what_cannot_be_predicted_is_refused(learn, arguments, complaint):
    from sotalearn.tta import predict_views
    with pytest.raises(ValueError, match=complaint): predict_views(learn, **arguments)


def test_corners_are_predicted_and_a_whole_centre_is_the_plain_view(learn):
    from sotalearn.tta import predict_corners
    plain, targets = predict(learn, 0)
    probs, same_targets = predict_corners(learn, share=1, bf16=False)
    assert probs.shape == (5, 18, 2) and torch.allclose(probs[0], plain[0], atol=1e-6) and torch.equal(targets, same_targets)
    assert not torch.allclose(predict_corners(learn, bf16=False)[0][0], plain[0], atol=1e-4)
    with pytest.raises(ValueError, match='share must be a number from 0.5 to 1, got 2'): predict_corners(learn, share=2)
    with pytest.raises(ValueError, match='dl must make its pictures square by Resize'):
        predict_corners(learn, dl=learn.dls[1].new(after_item=[]))


def test_a_loader_that_drops_its_last_batch_drops_no_picture(learn):
    train = learn.dls.train.new(bs=3)
    assert train.drop_last and len(train.dataset) % train.bs
    assert predict(learn, 1, dl=train)[0].shape[1] == len(train.dataset)


class Scaled(nn.Conv2d):
    "A convolution that is more than its weights, as timm's of standardized weights are."
    def forward(self, x): return 2*super().forward(x)


class Activated(nn.BatchNorm2d):
    "A batch normalization with its activation in it, as in timm's DenseNet."
    def forward(self, x): return super().forward(x).relu()


@pytest.mark.parametrize('bf16, off', [(False, 1e-5), (True, .05)])
@pytest.mark.parametrize('conv, norm', [(nn.Conv2d, Activated), (Scaled, nn.BatchNorm2d), (nn.Conv2d, nn.BatchNorm2d)])
def test_layers_that_do_more_than_their_kind_answer_as_before(conv, norm, bf16, off):
    from copy import deepcopy
    from sotalearn.tta import _for_inference
    torch.manual_seed(0)
    model = nn.Sequential(conv(3, 8, 3), norm(8), nn.ReLU()).eval()
    nn.init.normal_(model[1].bias)
    model[2].register_forward_hook(lambda layer, given, made: made + 1)
    x = torch.randn(4, 3, 8, 8)
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16, enabled=bf16):
        assert torch.allclose(_for_inference(deepcopy(model), bf16)(x).float(), model(x).float(), atol=off)


def test_an_empty_validation_set_is_refused(learn):
    nothing = learn.dls[1].new(dataset=[])
    with pytest.raises(ValueError, match='dl must have at least one picture, got none'): predict(learn, dl=nothing)


# ------------------------------------------------------------------ measured

def test_measured_views(measured):
    assert measured.probs.shape == (9, 18, 2) and len(measured.seconds) == len(measured.accuracy()) == 9
    plain = (measured.probs[0].argmax(1) == measured.targets).float().mean().item()
    assert measured.accuracy('max')[0] == measured.accuracy(beta=.5)[0] == pytest.approx(plain)


@pytest.mark.parametrize('arguments, complaint', [
    (dict(n=0), 'n must be a whole number from 1 to 64, got 0'), (dict(n=65), 'got 65'),
    (dict(), 'dl must have labels, got none')])
def test_what_cannot_be_measured_is_refused(learn, arguments, complaint):
    from sotalearn.tta import measure_views
    unlabelled = learn.dls.test_dl(learn.dls.valid_ds.items[:2])
    with pytest.raises(ValueError, match=complaint): measure_views(learn, dl=unlabelled, **arguments)


def test_every_step_of_a_prediction_costs_something(learn):
    from sotalearn.tta import view_costs
    costs = view_costs(learn, pictures=4, n=2)
    assert len(costs) == 9 and (costs.ms > 0).all()
    with pytest.raises(ValueError, match='pictures must be a whole number from 1 to 1024, got 0'): view_costs(learn, 0)


def test_the_table_of_rivals_is_whole():
    "Every model was asked in every way, on the official split."
    import pandas as pd
    from pathlib import Path
    from sotalearn.recipes import SPLITS
    table = pd.read_csv(Path(__file__).parents[1]/'results'/'views.csv')
    assert set(table.split) == {SPLITS['imagenette-160']} and set(table.n_val) == {3925}
    assert (table.groupby('seed').way.apply(set) == set(table.way)).all() and not table.duplicated(['seed', 'way']).any()
    assert table.accuracy.between(.6, .9).all() and table[table.way == '64 px'].passes.eq(1).all()
