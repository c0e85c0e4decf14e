"""Datasets: found or named in one sentence, and every kind of picture opened."""
import shutil
from pathlib import Path

import numpy as np
import pytest
from fastai.data.external import fastai_cfg, fastai_path
from PIL import Image

from sotalearn import pictures
from sotalearn.data import get_dls
from sotalearn.datasets import data_folder, dataset_folder, dataset_name
from sotalearn.demos.plots import batch_figure
from sotalearn.pictures import Picture, about, choose_images, dataset, photographs
from sotalearn.toynette import CLASSES, scene


@pytest.fixture(scope='module')
def small(toynette_of): return toynette_of(4, 2)


@pytest.fixture
def mine(small, tmp_path):
    "A copy of it that a test may spoil."
    return shutil.copytree(small, tmp_path/'mine')


def test_fastais_folder_is_found_without_fastai(monkeypatch, tmp_path):
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path))
    fastai_cfg.cache_clear()
    try: assert data_folder() == fastai_path('data')
    finally: fastai_cfg.cache_clear()


def test_auto_takes_photographs_only_where_they_lie(monkeypatch, tmp_path, small):
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path))
    monkeypatch.setattr(pictures, 'untar_data', lambda *_: pytest.fail('auto started a download'))
    monkeypatch.setattr(pictures, 'make_toynette', lambda: small)
    assert dataset('auto') == small
    photographs = shutil.copytree(small, data_folder()/'imagenette2-160')
    assert dataset('auto') == dataset('imagenette-160') == photographs
    assert dataset_name(photographs) == 'imagenette-160' and dataset_name(small) == str(small)


def test_no_network_is_one_sentence_and_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path))
    fastai_cfg.cache_clear()

    def broken(url, data):
        part = fastai_path('archive')/'imagenette2-160.tgz.part'
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b'half')
        raise OSError('Name or service not known')

    monkeypatch.setattr(pictures, 'untar_data', broken)
    try:
        with pytest.raises(ConnectionError) as caught: dataset('imagenette-160')
        assert "could not be downloaded" in str(caught.value) and "dataset('toynette')" in str(caught.value)
        assert [o for o in tmp_path.rglob('*') if 'tgz' in o.name] == []
    finally: fastai_cfg.cache_clear()


@pytest.mark.parametrize('spoil, complaint', [
    (lambda p: shutil.rmtree(p/'val'), "must hold 'val/<class>/<pictures>'"),
    (lambda p: shutil.rmtree(p/'train'), "must hold 'train/<class>/<pictures>'"),
    (lambda p: [o.unlink() for o in (p/'train'/'dog').iterdir()], 'must hold at least one picture, got none'),
    (lambda p: (p/'val'/'dog').rename(p/'val'/'wolf'), "got wolf in 'val' only"),
    (lambda p: shutil.rmtree(p), 'or a folder, got')])
def test_a_folder_laid_out_wrongly_is_named(mine, spoil, complaint):
    spoil(mine)
    with pytest.raises(ValueError) as caught: dataset(mine)
    assert complaint in str(caught.value) and '\n' not in str(caught.value)


def test_a_broken_picture_is_named_before_anything_trains(mine):
    file = mine/'train'/'dog'/'dog_0000.jpg'
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(ValueError) as caught: get_dls(4, 32, mine, num_workers=0)
    assert 'dog_0000.jpg' in str(caught.value) and 'replace it or delete it' in str(caught.value)
    (mine/'train'/'dog'/'dog_0001.jpg').write_text('not a picture')
    with pytest.raises(ValueError, match='2 such files in all'): get_dls(4, 32, mine, num_workers=0)


def grey16(path): Image.fromarray(np.linspace(0, 65535, 160*200).reshape(160, 200).astype(np.uint16)).save(path)


@pytest.mark.parametrize('name, save', [
    ('a.png', lambda im, p: im.convert('L').save(p)), ('b.png', lambda im, p: im.convert('P').save(p)),
    ('c.jpg', lambda im, p: im.convert('CMYK').save(p)), ('d.png', lambda im, p: grey16(p)),
    ('e.png', lambda im, p: im.convert('RGBA').save(p)), ('f.png', lambda im, p: im.convert('1').save(p)),
    ('g.tiff', lambda im, p: Image.fromarray(np.asarray(im.convert('L'), dtype=np.float32)).save(p)),
    ('h.gif', lambda im, p: im.save(p)), ('i.webp', lambda im, p: im.save(p))])
def test_any_kind_of_picture_trains(mine, name, save):
    save(scene('church', 0)[0], mine/'train'/'church'/name)
    dls = get_dls(41, 16, mine, num_workers=0)
    x, _ = dls.one_batch()
    assert x.shape == (41, 3, 16, 16) and x.isfinite().all()
    opened = np.asarray(Picture.create(mine/'train'/'church'/name))
    assert opened.dtype == np.uint8 and opened.ndim == 3 and 20 < opened.mean() < 235 and opened.std() > 15


def test_a_picture_lying_on_its_side_stands_up(tmp_path):
    picture = scene('church', 0)[0].resize((200, 160))
    lying = Image.Exif()
    lying[0x0112] = 8
    picture.rotate(-90, expand=True).save(tmp_path/'a.jpg', exif=lying, quality=95)
    opened = np.asarray(Picture.create(tmp_path/'a.jpg'), dtype=float)
    assert opened.shape[:2] == (160, 200)
    assert abs(opened - np.asarray(picture, dtype=float)).mean() < 8


def test_a_picture_in_memory_is_opened_as_a_file_is():
    assert Picture.create(Image.new('L', (4, 4), 100)).mode == 'RGB'
    shares = Image.fromarray(np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4))
    assert np.asarray(Picture.create(shares)).max() == 255


@pytest.mark.parametrize('how', [OSError('No space left on device'), KeyboardInterrupt()])
def test_half_an_unpacked_dataset_is_removed(monkeypatch, tmp_path, how):
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path/'100% mine'))
    fastai_cfg.cache_clear()
    def broken(url, data):
        fastai_cfg()['data'] = data                                     # as fastai does
        half = fastai_path('data')/'imagenette2-160'
        assert half.parent.is_dir() and half != data_folder()/'imagenette2-160'         # half of it is nobody's data set
        (half/'train').mkdir(parents=True)
        raise how

    monkeypatch.setattr(pictures, 'untar_data', broken)
    try:
        with pytest.raises(ConnectionError if isinstance(how, OSError) else KeyboardInterrupt): dataset('imagenette-160')
        assert not list(data_folder().glob('*imagenette2-160*/')) and fastai_path('data') == data_folder()
    finally: fastai_cfg.cache_clear()


def test_an_interrupt_while_another_process_downloads_costs_that_one_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path))
    fastai_cfg.cache_clear()
    try:
        part = fastai_path('archive')/'imagenette2-160.tgz.part'
        draft = data_folder()/'.imagenette2-160.fetching-theirs'/'imagenette2-160'
        for path in (part, draft/'train'): path.mkdir(parents=True)

        def interrupt(*_): raise KeyboardInterrupt
        monkeypatch.setattr(pictures.FileLock, 'acquire', interrupt)                # it waits for the other's lock
        with pytest.raises(KeyboardInterrupt): dataset('imagenette-160')
        assert part.exists() and (draft/'train').exists()
    finally: fastai_cfg.cache_clear()


def test_who_waited_for_a_download_takes_it(monkeypatch, tmp_path, small):
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path))
    acquire = pictures.FileLock.acquire

    def after_the_other(lock, *args, **kwargs):
        shutil.copytree(small, data_folder()/'imagenette2-160')
        return acquire(lock, *args, **kwargs)
    monkeypatch.setattr(pictures.FileLock, 'acquire', after_the_other)
    monkeypatch.setattr(pictures, 'untar_data', lambda *_, **__: pytest.fail('it is there by now'))
    assert dataset('imagenette-160') == data_folder()/'imagenette2-160'


def test_sets_are_not_taken_for_classes(tmp_path, small):
    from sotalearn.pictures import split_folder
    for mine, theirs in (('train', 'Training'), ('val', 'Testing')): shutil.copytree(small/mine, tmp_path/'mine'/theirs)
    with pytest.raises(ValueError, match='a folder for each class, got Testing, Training, which are sets'):
        split_folder(tmp_path/'mine')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['mine']


def test_two_who_split_a_folder_at_once_get_the_same(tmp_path, small, monkeypatch):
    from sotalearn.pictures import split_folder
    folder, rename, first = shutil.copytree(small/'train', tmp_path/'mine'), Path.rename, []

    def after_the_other(draft, target):
        if not first:
            first.append(draft)
            monkeypatch.setattr(Path, 'rename', rename)
            split_folder(folder)
        return rename(draft, target)
    monkeypatch.setattr(Path, 'rename', after_the_other)
    assert split_folder(folder) == tmp_path/'mine-split' and first
    assert sorted(path.name for path in tmp_path.iterdir()) == ['mine', 'mine-split']


def test_transparency_is_laid_on_white(tmp_path):
    Image.new('RGBA', (20, 20), (255, 0, 0, 0)).save(tmp_path/'a.png')
    assert np.asarray(Picture.create(tmp_path/'a.png')).min() == 255


def test_a_subset_is_balanced_and_leaves_validation_alone(small):
    files = choose_images(small, train_images=25, seed=1)
    train = [o for o in files if o.parent.parent.name == 'train']
    assert {sum(o.parent.name == label for o in train) for label in CLASSES} == {2}
    assert len(files) - len(train) == 20
    assert files == choose_images(small, train_images=25, seed=1) != choose_images(small, train_images=25, seed=2)


def test_a_batch_is_shown_in_its_colours(small, monkeypatch):
    shown = []
    monkeypatch.setattr('sotalearn.demos.plots.picture_row', lambda pictures, *_, **__: shown.extend(pictures))
    for normalize in (True, False):
        dls = get_dls(8, 32, small, normalize=normalize, num_workers=0)
        batch_figure(dls, dls.one_batch(), 4)
    assert len(shown) == 8 and all(o.dtype == np.uint8 and 20 < o.mean() < 235 and o.std() > 10 for o in shown)


def test_presizing_never_enlarges_needlessly(small):
    resize = lambda dls: next(max(o.size) for o in dls.train.after_item.fs if type(o).__name__ == 'Resize')
    assert resize(get_dls(4, 64, small)) == 128
    assert resize(get_dls(4, 128, small)) == 160
    assert resize(get_dls(4, 200, small)) == 200


def test_real_photographs_where_they_lie():
    path = data_folder()/'imagenette2-160'
    if not path.is_dir(): pytest.skip('no Imagenette-160 in fastai\'s data folder (sotalearn data imagenette-160 gets it)')
    assert dataset('auto') == path
    x, y = get_dls(8, 64, path, train_images=100, num_workers=0).one_batch()
    assert x.shape == (8, 3, 64, 64) and 'imagenette-160' in about(path)


def test_a_download_in_which_one_byte_is_another_is_refused(small, tmp_path, monkeypatch):
    "As many pictures of the same sizes: fastai's own check ends after a megabyte."
    from sotalearn import pictures
    folder = shutil.copytree(small, tmp_path/'imagenette2-160')
    monkeypatch.setattr(pictures, 'untar_data', lambda url, data: folder)
    monkeypatch.setattr(pictures, '_OFFICIAL_COUNTS', [*map(len, pictures.split_pictures(folder).values())])
    monkeypatch.setattr(pictures, 'SPLITS', {'imagenette-160': pictures.split_of(folder)})
    monkeypatch.setattr(pictures, '_CONTENTS', {'imagenette-160': pictures._contents(folder)})
    assert pictures._fetched('imagenette-160', tmp_path) == folder
    picture = next((folder/'val').rglob('*.jpg'))
    data = bytearray(picture.read_bytes())
    data[-3] ^= 1
    picture.write_bytes(data)
    with pytest.raises(ValueError, match='its pictures are not those that were published'):
        pictures._fetched('imagenette-160', tmp_path)


def test_one_class_or_no_full_batch_is_refused(small, tmp_path):
    with pytest.raises(ValueError, match='bs must be at most the .* training pictures, got 4096'): get_dls(4096, 32, small)
    for split in ('train', 'val'): shutil.copytree(small/split/'dog', tmp_path/split/'dog')
    with pytest.raises(ValueError, match='must have two classes or more, got dog alone'): dataset(tmp_path)
    with pytest.raises(ValueError, match='must have two classes or more, got dog alone'): get_dls(2, 32, tmp_path)


def test_the_tests_keep_what_they_make_in_a_folder_of_their_own():
    assert data_folder().parent.name.startswith('sotalearn-tests-')
    assert not dataset_folder('toynette').exists() or dataset_name(dataset_folder('toynette')) == 'toynette'


def test_other_pictures_than_the_courses_are_told_once_with_both_counts(tmp_path, small, monkeypatch, capsys):
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path))
    monkeypatch.setattr(pictures, '_told', set())
    here = shutil.copytree(small, data_folder()/'imagenette2-160')
    n_train, n_val = (len(files) for files in pictures.split_pictures(here).values())
    found = [pictures.check_split('', here) for _ in range(2)]
    said = capsys.readouterr().err
    assert said.count(f'imagenette-160 has {n_train} training and {n_val} validation pictures here, and not the 9,469 and 3,925') == 1
    assert found[0] in said and pictures.check_split(found[0], here) == found[0]
    mine = shutil.copytree(small, tmp_path/'mine'/'imagenette-160')
    for folder in (small, mine): pictures.check_split('', folder)         # what is one's own is nobody's
    assert capsys.readouterr().err == ''
    with pytest.raises(ValueError, match='9,469 training and 3,925 validation pictures; a file missing, added'):
        pictures.check_split(pictures.OFFICIAL, here)
