"""One reader for every picture, and one way to tell which pictures a folder has."""
import io, pickle, struct
from pathlib import Path

import numpy as np
import pytest
import torch
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.vision.core import PILImage
from fastai.vision.models.xresnet import xresnet18
from PIL import Image

from sotalearn import pictures
from sotalearn.data import get_dls
from sotalearn.demos.pictures import square
from sotalearn.pictures import Picture, about, check_pictures, choose_images, dataset, mislabel
from sotalearn.reader import endings, read_picture
from sotalearn.tta import predict_views

ORIENTATION = 0x0112


def drawn(i, size=(60, 48)):
    "A picture of coloured squares, no two of which are alike."
    squares = np.random.default_rng(i).integers(0, 255, (size[1]//12, size[0]//12, 3), dtype=np.uint8)
    return Image.fromarray(squares.repeat(12, axis=0).repeat(12, axis=1))


def off(a, b): return abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean()


def make_folder(root, classes=('cat', 'dog'), train=10, val=4, inside=''):
    "Drawn pictures laid out as Imagenette."
    number = 0
    for split, n in (('train', train), ('val', val)):
        for label in classes:
            place = root/split/label/inside
            place.mkdir(parents=True)
            for i in range(n):
                number += 1
                drawn(number).save(place/f'{i}.jpg')
    return root


@pytest.fixture
def mine(tmp_path): return make_folder(tmp_path/'mine')


def sources(file):
    "The same file in each way that it may come in."
    return dict(path=file, text=str(file), bytes=file.read_bytes(), memory=io.BytesIO(file.read_bytes()),
                opened=open(file, 'rb'), PIL=Image.open(file), upload=memoryview(file.read_bytes()))       # the last by ipywidgets


def save(image, kind):
    if kind == '16 bit': return Image.fromarray(np.asarray(image.convert('L')).astype(np.uint16)*257), 'png', {}
    if kind == 'clear': return Image.merge('RGBA', (*image.split(), Image.new('L', image.size, 90))), 'png', {}
    if kind == 'palette':
        return image.convert('P', palette=Image.Palette.ADAPTIVE), 'png', dict(transparency=bytes(range(256)))
    if kind in ('CMYK', 'L', 'YCbCr'): return image.convert(kind), 'jpg', {}
    lying = Image.Exif()
    lying[ORIENTATION] = kind
    return image, 'jpg', dict(exif=lying)


@pytest.mark.parametrize('kind', ['16 bit', 'clear', 'palette', 'CMYK', 'L', 'YCbCr', *range(1, 9)])
def test_a_file_is_the_same_picture_by_every_way_in(tmp_path, kind):
    image, ending, how = save(drawn(1), kind)
    file = tmp_path/f'a.{ending}'
    image.save(file, **how)
    right = np.asarray(read_picture(file))
    for way, source in sources(file).items():
        assert (np.asarray(Picture.create(source)) == right).all(), way
    assert (np.asarray(Picture.create(Picture.create(file))) == right).all()        # nothing is turned twice
    demo, training = square(Image.open(file)), square(Picture.create(file))
    assert (demo - training).abs().max() == 0


@pytest.mark.parametrize('orientation', range(1, 9))
def test_it_stands_as_the_camera_was_held(tmp_path, orientation):
    "Pillow's own function is the reference."
    from PIL import ImageOps
    lying = Image.Exif()
    lying[ORIENTATION] = orientation
    drawn(2).save(tmp_path/'a.png', exif=lying)
    assert off(read_picture(tmp_path/'a.png'), ImageOps.exif_transpose(Image.open(tmp_path/'a.png'))) == 0


def exif(*tags):
    "An EXIF block of raw (tag, type, count, four bytes): as broken as one likes."
    entries = b''.join(struct.pack('<HHI4s', *tag) for tag in tags)
    return b'Exif\0\0II*\0\x08\0\0\0' + struct.pack('<H', len(tags)) + entries + b'\0\0\0\0'


TURNED = (ORIENTATION, 3, 1, b'\6\0\0\0')


@pytest.mark.parametrize('block, is_turned', [
    (exif(TURNED), True),
    (exif((0x010F, 2, 9999, b'\xff\xff\0\0'), TURNED), True),               # a maker's name far outside the file
    (exif(TURNED, (0x8769, 4, 1, b'\xf0\xff\xff\0')), True),                # a table that is not there
    (exif(TURNED, (0x9286, 13, 70000, b'\1\0\0\0')), True),                 # of a type that there is none
    (exif((0x011A, 5, 1, b'\x20\0\0\0'), TURNED), True),                    # a resolution by zero
    (exif((ORIENTATION, 4, 1, b'\6\0\0\0')), True),                         # a longer number than the standard's
    (exif((ORIENTATION, 1, 1, b'\6\0\0\0')), True),                         # a byte
    (exif((ORIENTATION, 3, 1, b'\x63\0\0\0')), False),                      # 99
    (exif((ORIENTATION, 2, 4, b'six\0')), False),                           # a word
    (b'Exif\0\0II*\0\x08\0', False), (b'Exif\0\0rubbish', False), (b'Exif\0\0', False)])
def test_broken_notes_in_a_picture_do_no_harm(tmp_path, block, is_turned):
    file = tmp_path/'a.jpg'
    drawn(3).save(file, exif=block, quality=95)
    check_pictures([file])
    assert Picture.create(file).size == ((48, 60) if is_turned else (60, 48))


def test_pixels_in_memory():
    grey, colour = np.asarray(drawn(4).convert('L')), np.asarray(drawn(4))
    for pixels in (colour, torch.tensor(colour), torch.tensor(colour).permute(2, 0, 1), colour/255., colour*257.):
        assert off(read_picture(pixels), colour) <= 1
    for pixels in (grey, grey[..., None], grey.astype(np.int64)*257, torch.tensor(grey)/255):
        assert off(read_picture(pixels), grey[..., None].repeat(3, axis=2)) <= 1
    assert np.asarray(read_picture(np.array([[True, False]])))[..., 0].tolist() == [[255, 0]]
    dark = np.array([[0, 257, 514]], np.uint16)                     # 16 bits, however little light there is
    for pixels in (dark, Image.fromarray(dark)): assert np.asarray(read_picture(pixels))[..., 0].tolist() == [[0, 1, 2]]
    holes = np.array([[np.nan, .5, np.inf]])
    assert np.asarray(read_picture(holes[:, :2]))[..., 0].tolist() == [[0, 128]] and read_picture(holes).size == (3, 1)


@pytest.mark.parametrize('source', [b'', b'not a picture', memoryview(b'none'), 3, None, np.zeros((2, 2, 7)), np.zeros((0, 4, 3), np.uint8), np.zeros(3), [], 'no/such.jpg'])
def test_what_is_no_picture_is_said_in_one_sentence(source):
    with pytest.raises(ValueError) as caught: read_picture(source)
    assert 'cannot be read as a picture' in str(caught.value) and '\n' not in str(caught.value)
    assert ' at 0x' not in str(caught.value)


def test_endings_do_not_depend_on_the_systems_table(monkeypatch, tmp_path):
    import mimetypes
    monkeypatch.setattr(mimetypes, 'types_map', {})
    endings.cache_clear()
    assert {'.jpg', '.jpeg', '.jfif', '.png', '.webp', '.gif', '.bmp', '.tif', '.tiff'} <= endings()
    assert not {'.svg', '.pdf', '.mpg', '.txt', '.csv'} & endings()
    folder = make_folder(tmp_path/'mine', train=2, val=1)
    drawn(9).save(folder/'train'/'cat'/'phone.WEBP')
    assert '5 training' in about(folder) and len(choose_images(folder)) == 7


@pytest.mark.parametrize('kind, value', [('Path', Path), ('text', str), ('bytes', Path.read_bytes),
                                         ('upload', lambda file: memoryview(file.read_bytes())),
                                         ('PIL', PILImage.create), ('array', lambda file: np.asarray(Image.open(file)))])
@pytest.mark.parametrize('cache', [True, False])
def test_a_learner_predicts_whatever_fastai_takes(mine, kind, value, cache):
    dls = get_dls(4, 32, mine, num_workers=0, cache=cache)
    learn = Learner(dls, xresnet18(n_out=2), loss_func=CrossEntropyLossFlat())
    file = mine/'val'/'dog'/'1.jpg'
    with learn.no_bar(): by_path, given = learn.predict(file)[2], learn.predict(value(file))[2]
    assert torch.allclose(by_path, given, atol=.05) and given.sum().isclose(torch.tensor(1.))


def nest(folder, split):
    "Every second picture a folder deeper, as phones store them."
    for file in sorted((folder/split).glob('*/*.jpg'))[::2]:
        (file.parent/'2023').mkdir(exist_ok=True)
        file.rename(file.parent/'2023'/file.name)


def test_the_class_is_the_folder_below_the_split_however_deep_a_picture_lies(mine, tmp_path):
    nest(mine, 'train')
    nest(mine, 'val')
    dls = get_dls(4, 32, mine, num_workers=0)
    assert (len(dls.train_ds), len(dls.valid_ds), list(dls.vocab)) == (20, 8, ['cat', 'dog'])
    assert about(mine).startswith('mine: 20 training and 8 validation pictures.')
    for i, file in enumerate(dls.valid_ds.items):
        assert dls.vocab[int(dls.valid_ds[i][1])] == file.relative_to(mine).parts[1]
    pooled = get_dls(4, 32, mine, splitter='random', num_workers=0)
    assert list(pooled.vocab) == ['cat', 'dog'] and len(pooled.train_ds) + len(pooled.valid_ds) == 28
    labels = mislabel(choose_images(mine), .3, path=mine)
    assert set(labels.values()) == {'cat', 'dog'}
    assert sum(label != file.relative_to(mine).parts[1] for file, label in labels.items()) == 6
    everything = get_dls(4, 32, make_folder(tmp_path/'deep', inside='2023/05'), num_workers=0)
    assert (len(everything.train_ds), list(everything.vocab)) == (20, ['cat', 'dog'])


def test_loose_pictures_make_no_class_and_what_is_left_out_is_told(mine, capsys, monkeypatch):
    monkeypatch.setattr(pictures, '_told', set())
    drawn(50).save(mine/'train'/'loose.jpg')
    (mine/'train'/'cat'/'photo.heic').write_bytes(b'from a phone')
    (mine/'train'/'cat'/'._0.jpg').write_bytes(b'left by macOS')
    for splitter in ('folders', 'random'):
        assert list(get_dls(4, 32, mine, splitter=splitter, num_workers=0).vocab) == ['cat', 'dog']
    assert 'Not used: 1 picture in no class folder; 1 file whose ending is no picture\'s (1 .heic).' in about(mine)
    dataset(mine)
    dataset(mine)
    assert capsys.readouterr().err.count('Not used') == 1


def test_a_rare_class_keeps_its_place_whatever_a_random_split_leaves_of_it(mine):
    (mine/'train'/'elk').mkdir()
    drawn(60).save(mine/'train'/'elk'/'only.jpg')
    seen = set()
    for seed in range(12):
        dls = get_dls(4, 32, mine, splitter='random', seed=seed, num_workers=0)
        assert list(dls.vocab) == ['cat', 'dog', 'elk']
        is_trained = any(file.parent.name == 'elk' for file in dls.train_ds.items)
        seen.add(is_trained)
        if not is_trained: assert 2 in [int(dls.valid_ds[i][1]) for i in range(len(dls.valid_ds))]
    assert seen == {True, False}


def loaders(folder):
    dls = get_dls(4, 32, folder, num_workers=2)
    yield dls.train
    yield dls.valid
    yield get_dls(4, 32, folder, num_workers=2, wrong_labels=.3).train
    yield get_dls(4, 32, folder, num_workers=2, splitter='redrawn').train
    yield get_dls(4, 32, folder, num_workers=2, cache=False).train
    yield dls.test_dl([folder/'val'/'cat'/'0.jpg'], num_workers=2)


def test_every_loader_can_be_sent_to_a_process_that_is_not_forked(mine):
    for dl in loaders(mine):
        copied = pickle.loads(pickle.dumps(dl))
        assert type(copied) is type(dl) and len(copied.dataset) == len(dl.dataset)
        assert torch.equal(copied.dataset[0][1], dl.dataset[0][1]) if len(dl.dataset[0]) > 1 else True


@pytest.mark.thorough
def test_wrong_labels_load_in_processes_that_are_not_forked(mine, forks, monkeypatch):
    dl = get_dls(4, 32, mine, num_workers=1, wrong_labels=.3).train
    monkeypatch.setattr(type(dl.fake_l), 'multiprocessing_context', forks)
    assert [len(x) for x, _ in dl] == [4]*5
