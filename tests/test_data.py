"""Datasets: made whole or not at all, and every kind of picture opened or named in one sentence."""
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sotalearn.toynette import CLASSES, data_folder, make_toynette, scene

DATA = pytest.importorskip('sotalearn.data')


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    "A Toynette of 4 training and 2 validation pictures a class."
    return make_toynette(tmp_path_factory.mktemp('data')/'small', train=4, val=2, show_progress=False)


@pytest.fixture
def mine(small, tmp_path):
    "A copy of it that a test may spoil."
    return shutil.copytree(small, tmp_path/'mine')


def pixels(folder):
    "Every picture of a folder by name, as bytes."
    return {o.relative_to(folder).as_posix(): o.read_bytes() for o in sorted(folder.rglob('*.jpg'))}


def test_toynette_is_laid_out_as_imagenette(small):
    assert sorted(o.name for o in (small/'train').iterdir()) == sorted(CLASSES)
    assert {len(list((small/split/label).iterdir())) for split, n in (('train', 4), ('val', 2)) for label in CLASSES} == {4, 2}
    sizes = [Image.open(o).size for o in small.rglob('*.jpg')]
    assert {min(o) for o in sizes} == {160}
    assert any(w > h for w, h in sizes) and any(w < h for w, h in sizes)


def test_the_same_seed_gives_the_same_pixels_whoever_draws(small, tmp_path):
    again = make_toynette(tmp_path/'again', train=4, val=2, workers=1, show_progress=False)
    other = make_toynette(tmp_path/'other', train=4, val=2, seed=7, show_progress=False)
    assert pixels(again) == pixels(small)
    assert set(pixels(other)) == set(pixels(small)) and pixels(other) != pixels(small)


def test_train_and_val_share_no_picture(small):
    contents = list(pixels(small).values())
    assert len(set(contents)) == len(contents) == 60


def test_a_set_that_is_there_is_not_made_again(small):
    before = {o: o.stat().st_mtime_ns for o in small.rglob('*.jpg')}
    assert make_toynette(small, train=9, val=9) == small
    assert {o: o.stat().st_mtime_ns for o in small.rglob('*.jpg')} == before


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_making_leaves_nothing_half_made(tmp_path, how):
    code = ("import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"         # a shell's background jobs ignore it
            f"from sotalearn.toynette import make_toynette; make_toynette({str(tmp_path/'set')!r}, show_progress=False)")
    process = subprocess.Popen([sys.executable, '-c', code], stderr=subprocess.PIPE)
    drafts = lambda: list(tmp_path.glob('.set.making-*'))
    begun = lambda: any(o for draft in drafts() for o in draft.rglob('*.jpg'))
    deadline = time.time() + 60
    while not begun() and time.time() < deadline: time.sleep(.05)
    assert begun(), 'drawing never began'
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode and not (tmp_path/'set').exists()
    if how == signal.SIGINT: assert not drafts()
    made = make_toynette(tmp_path/'set', train=1, val=1, show_progress=False)      # and the next one is whole
    assert len(pixels(made)) == 20 and not drafts()


def test_two_makings_at_once_make_one_set(tmp_path):
    code = f"from sotalearn.toynette import make_toynette; make_toynette({str(tmp_path/'set')!r}, train=3, val=1, show_progress=False)"
    processes = [subprocess.Popen([sys.executable, '-c', code]) for _ in range(2)]
    assert [o.wait(timeout=120) for o in processes] == [0, 0]
    assert len(pixels(tmp_path/'set')) == 40
    assert [o.name for o in tmp_path.iterdir() if 'making' in o.name] == []


@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() != 0, reason='only root can mount a small disk to fill')
def test_a_full_disk_is_said_in_one_sentence_and_nothing_stays(tmp_path):
    disk = tmp_path/'disk'
    disk.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=300k', 'tmpfs', disk], capture_output=True)
    if mounted.returncode: pytest.skip('this machine lets nobody mount a tmpfs')
    try:
        with pytest.raises(OSError) as caught: make_toynette(disk/'set', train=20, val=2, show_progress=False)
        assert os.strerror(errno.ENOSPC) in str(caught.value) and 'nothing half-made was left' in str(caught.value)
        assert [o.name for o in disk.iterdir() if not o.name.endswith('.lock')] == []
    finally: subprocess.run(['umount', disk], check=True)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path/'file').write_text('x')
    with pytest.raises(OSError, match='Toynette could not be made in'): make_toynette(tmp_path/'file'/'set', train=1, val=1)


def test_the_object_is_often_near_an_edge_and_never_outside():
    boxes = [(scene(label, i, 'val'), label) for label in CLASSES for i in range(12)]
    cut_by_centre_crop = 0
    for (picture, (left, top, right, bottom)), label in boxes:
        assert 0 <= left < right <= picture.width and 0 <= top < bottom <= picture.height, label
        margin_x, margin_y = (picture.width - 160)/2, (picture.height - 160)/2
        inside = max(0, min(right, picture.width - margin_x) - max(left, margin_x))*max(0, min(bottom, picture.height - margin_y) - max(top, margin_y))
        cut_by_centre_crop += inside < .8*(right - left)*(bottom - top)
    assert cut_by_centre_crop >= len(boxes)*.1      # what test time augmentation is for


def test_fastais_folder_is_found_without_fastai(monkeypatch, tmp_path):
    from fastai.data.external import fastai_cfg, fastai_path
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path))
    fastai_cfg.cache_clear()
    try: assert data_folder() == fastai_path('data')
    finally: fastai_cfg.cache_clear()


def test_auto_takes_photographs_only_where_they_lie(monkeypatch, tmp_path, small):
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path))
    monkeypatch.setattr(DATA, 'untar_data', lambda *_: pytest.fail('auto started a download'))
    monkeypatch.setattr(DATA, 'make_toynette', lambda: small)
    assert DATA.dataset('auto') == small
    photographs = shutil.copytree(small, data_folder()/'imagenette2-160')
    assert DATA.dataset('auto') == DATA.dataset('imagenette-160') == photographs
    assert DATA.dataset_name(photographs) == 'imagenette-160' and DATA.dataset_name(small) == str(small)


def test_no_network_is_one_sentence_and_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path))
    DATA.fastai_cfg.cache_clear()

    def broken(url):
        part = DATA.fastai_path('archive')/'imagenette2-160.tgz.part'
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b'half')
        raise OSError('Name or service not known')

    monkeypatch.setattr(DATA, 'untar_data', broken)
    try:
        with pytest.raises(ConnectionError) as caught: DATA.dataset('imagenette-160')
        assert "could not be downloaded" in str(caught.value) and "dataset('toynette')" in str(caught.value)
        assert [o for o in tmp_path.rglob('*') if 'tgz' in o.name] == []
    finally: DATA.fastai_cfg.cache_clear()


@pytest.mark.parametrize('spoil, complaint', [
    (lambda p: shutil.rmtree(p/'val'), "must hold 'val/<class>/<pictures>'"),
    (lambda p: shutil.rmtree(p/'train'), "must hold 'train/<class>/<pictures>'"),
    (lambda p: [o.unlink() for o in (p/'train'/'dog').iterdir()], 'must hold at least one picture, got none'),
    (lambda p: (p/'val'/'dog').rename(p/'val'/'wolf'), "got wolf in 'val' only"),
    (lambda p: shutil.rmtree(p), 'or a folder, got')])
def test_a_folder_laid_out_wrongly_is_named(mine, spoil, complaint):
    spoil(mine)
    with pytest.raises(ValueError) as caught: DATA.dataset(mine)
    assert complaint in str(caught.value) and '\n' not in str(caught.value)


def test_a_broken_picture_is_named_before_anything_trains(mine):
    file = mine/'train'/'dog'/'dog_0000.jpg'
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(ValueError) as caught: DATA.get_dls(4, 32, mine, num_workers=0)
    assert 'dog_0000.jpg' in str(caught.value) and 'replace it or delete it' in str(caught.value)
    (mine/'train'/'dog'/'dog_0001.jpg').write_text('not a picture')
    with pytest.raises(ValueError, match='2 such files in all'): DATA.get_dls(4, 32, mine, num_workers=0)


def grey16(path): Image.fromarray(np.linspace(0, 65535, 160*200).reshape(160, 200).astype(np.uint16)).save(path)


@pytest.mark.parametrize('name, save', [
    ('a.png', lambda im, p: im.convert('L').save(p)), ('b.png', lambda im, p: im.convert('P').save(p)),
    ('c.jpg', lambda im, p: im.convert('CMYK').save(p)), ('d.png', lambda im, p: grey16(p)),
    ('e.png', lambda im, p: im.convert('RGBA').save(p)), ('f.png', lambda im, p: im.convert('1').save(p)),
    ('g.tiff', lambda im, p: Image.fromarray(np.asarray(im.convert('L'), dtype=np.float32)).save(p)),
    ('h.gif', lambda im, p: im.save(p)), ('i.webp', lambda im, p: im.save(p))])
def test_any_kind_of_picture_trains(mine, name, save):
    save(scene('church', 0)[0], mine/'train'/'church'/name)
    dls = DATA.get_dls(41, 16, mine, num_workers=0)
    x, _ = dls.one_batch()
    assert x.shape == (41, 3, 16, 16) and x.isfinite().all()
    opened = np.asarray(DATA.Picture.create(mine/'train'/'church'/name))
    assert opened.dtype == np.uint8 and opened.ndim == 3 and 20 < opened.mean() < 235 and opened.std() > 15


def test_a_picture_lying_on_its_side_stands_up(tmp_path):
    picture = scene('church', 0)[0].resize((200, 160))
    lying = Image.Exif()
    lying[0x0112] = 8
    picture.rotate(-90, expand=True).save(tmp_path/'a.jpg', exif=lying, quality=95)
    opened = np.asarray(DATA.Picture.create(tmp_path/'a.jpg'), dtype=float)
    assert opened.shape[:2] == (160, 200)
    assert abs(opened - np.asarray(picture, dtype=float)).mean() < 8


def test_a_picture_in_memory_is_opened_as_a_file_is():
    assert DATA.Picture.create(Image.new('L', (4, 4), 100)).mode == 'RGB'
    shares = Image.fromarray(np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4))
    assert np.asarray(DATA.Picture.create(shares)).max() == 255


@pytest.mark.parametrize('how', [OSError('No space left on device'), KeyboardInterrupt()])
def test_half_an_unpacked_dataset_is_removed(monkeypatch, tmp_path, how):
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path))
    DATA.fastai_cfg.cache_clear()
    half = data_folder()/'imagenette2-160'/'train'

    def broken(url):
        half.mkdir(parents=True)
        raise how

    monkeypatch.setattr(DATA, 'untar_data', broken)
    try:
        with pytest.raises(ConnectionError if isinstance(how, OSError) else KeyboardInterrupt): DATA.dataset('imagenette-160')
        assert not half.parent.exists()
    finally: DATA.fastai_cfg.cache_clear()


def test_transparency_is_laid_on_white(tmp_path):
    Image.new('RGBA', (20, 20), (255, 0, 0, 0)).save(tmp_path/'a.png')
    assert np.asarray(DATA.Picture.create(tmp_path/'a.png')).min() == 255


@pytest.mark.parametrize('arguments, complaint', [
    (dict(bs=0, size=32), 'bs must be a whole number'), (dict(bs=-4, size=32), 'got -4'), (dict(bs=4.5, size=32), 'got 4.5'),
    (dict(bs=4, size=0), 'size must be'), (dict(bs=4, size=float('nan')), 'got nan'), (dict(bs=4, size='64'), "got '64'"),
    (dict(bs=4, size=64, presize=32), 'presize must be a whole number from 64'),
    (dict(bs=4, size=32, seed=-1), 'seed must be'), (dict(bs=4, size=32, num_workers=-1), 'num_workers must be'),
    (dict(bs=4, size=32, train_images=41), 'train_images must be a whole number from 10 to 40, got 41'),
    (dict(bs=4, size=32, normalize=([0, 0, 0], [1, 1, 0])), 'std above 0'), (dict(bs=4, size=32, normalize='yes'), "got 'yes'"),
    (dict(bs=4, size=32, normalize=([0, 0], [1, 1])), 'three numbers each')])
def test_bad_arguments_of_get_dls(small, arguments, complaint):
    with pytest.raises(ValueError) as caught: DATA.get_dls(path=small, **arguments)
    assert complaint in str(caught.value) and '\n' not in str(caught.value)


def test_a_subset_is_balanced_and_leaves_validation_alone(small):
    files = DATA.choose_images(small, train_images=25, seed=1)
    train = [o for o in files if o.parent.parent.name == 'train']
    assert {sum(o.parent.name == label for o in train) for label in CLASSES} == {2}
    assert len(files) - len(train) == 20
    assert files == DATA.choose_images(small, train_images=25, seed=1) != DATA.choose_images(small, train_images=25, seed=2)


def test_a_batch_is_shown_in_its_colours(small, monkeypatch):
    shown = []
    monkeypatch.setattr('sotalearn.figures.picture_row', lambda pictures, *_, **__: shown.extend(pictures))
    for normalize in (True, False):
        dls = DATA.get_dls(8, 32, small, normalize=normalize, num_workers=0)
        DATA.batch_figure(dls, dls.one_batch(), 4)
    assert len(shown) == 8 and all(o.dtype == np.uint8 and 20 < o.mean() < 235 and o.std() > 10 for o in shown)


def test_presizing_never_enlarges_needlessly(small):
    resize = lambda dls: next(max(o.size) for o in dls.train.after_item.fs if type(o).__name__ == 'Resize')
    assert resize(DATA.get_dls(4, 64, small)) == 128
    assert resize(DATA.get_dls(4, 128, small)) == 160
    assert resize(DATA.get_dls(4, 200, small)) == 200


def test_real_photographs_where_they_lie():
    path = data_folder()/'imagenette2-160'
    if not path.is_dir(): pytest.skip('no Imagenette-160 in fastai\'s data folder (sotalearn data imagenette-160 gets it)')
    assert DATA.dataset('auto') == path
    x, y = DATA.get_dls(8, 64, path, train_images=100, num_workers=0).one_batch()
    assert x.shape == (8, 3, 64, 64) and 'imagenette-160' in DATA.about(path)


def test_fastbooks_photographs_are_there():
    sizes = {name: Image.open(o).size for name, o in DATA.photographs().items()}
    assert set(sizes) == {'cat', 'bear'} and all(min(o) > 100 for o in sizes.values())


def test_one_class_or_no_full_batch_is_refused(small, tmp_path):
    with pytest.raises(ValueError, match='bs must be at most the .* training pictures, got 4096'): DATA.get_dls(4096, 32, small)
    for split in ('train', 'val'): shutil.copytree(small/split/'dog', tmp_path/split/'dog')
    with pytest.raises(ValueError, match='must have two classes or more, got dog alone'): DATA.dataset(tmp_path)
    with pytest.raises(ValueError, match='path must be a dataset of two classes or more, got dog alone'): DATA.get_dls(2, 32, tmp_path)
