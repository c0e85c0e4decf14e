"""Decoded pictures: kept once, never half, and whoever cannot keep them decodes as before."""
import os, pickle, shutil, subprocess, sys, time
from multiprocessing.context import set_spawning_popen

import numpy as np
import pytest

from sotalearn import cache, pictures
from sotalearn.cache import Store, kept, open_kept, pictures_folder, presized
from sotalearn.data import get_dls, is_cached
from sotalearn.pictures import Picture, choose_images
from sotalearn.tta import predict_views


@pytest.fixture(scope='module')
def toys(toynette_of): return toynette_of(4, 2)


@pytest.fixture
def home(tmp_path, monkeypatch):
    "A data folder of one's own; nothing said yet."
    monkeypatch.setattr(cache, 'data_folder', lambda: tmp_path/'home')
    monkeypatch.setattr(pictures, '_told', set())
    return tmp_path/'home'


def stores(home): return sorted((home/'.sotalearn'/'pictures').glob('*.pictures'))


def pixels_of(opener, file): return np.asarray(opener.create(file))


def test_kept_pictures_are_found_again(toys, home, monkeypatch, capsys):
    files = choose_images(toys)
    opener = open_kept(files, toys, 64)
    assert len(stores(home)) == 2 and kept() in capsys.readouterr().err and '2 files' in kept()
    assert open_kept(files, toys, 32) and capsys.readouterr().err == ''     # of another size: one line a process is enough
    monkeypatch.setattr(cache, 'write_store', lambda *args: pytest.fail('they are kept already'))
    again = open_kept(files, toys, 64)
    assert (pixels_of(again, files[0]) == pixels_of(opener, files[0])).all()
    assert open_kept(choose_images(toys, 20, seed=3), toys, 64)     # some of them


@pytest.mark.parametrize('spoil', [
    lambda whole: whole[:len(whole)//2], lambda whole: whole[:-1], lambda whole: b'', lambda whole: b'not a picture',
    lambda whole: whole + b'more', lambda whole: whole[:-300] + bytes(200) + whole[-100:]])
def test_cut_off_and_foreign_files_are_made_anew(toys, home, spoil):
    files = choose_images(toys)
    right = pixels_of(open_kept(files, toys, 64), files[0])
    sizes = [file.stat().st_size for file in stores(home)]
    for file in stores(home): file.write_bytes(spoil(file.read_bytes()))
    opener = open_kept(files, toys, 64)
    assert opener and (pixels_of(opener, files[0]) == right).all()
    assert [Store(file).file.stat().st_size for file in stores(home)] == sizes


def test_a_picture_that_changes_or_goes_while_it_is_kept_is_not_shown_as_it_was(toys, home, tmp_path):
    mine = shutil.copytree(toys, tmp_path/'mine')
    files = choose_images(mine)
    opener = open_kept(files, mine, 64)
    Picture.create(files[1]).rotate(180).save(files[0], quality=95)
    assert (pixels_of(opener, files[0]) == np.asarray(Picture.create(files[0]))).all()
    assert (pixels_of(opener, files[1]) == presized(Picture.create(files[1]), 64)).all()
    files[1].unlink()
    with pytest.raises(ValueError, match='there is no such file'): pixels_of(opener, files[1])


def test_a_changed_picture_is_decoded_again(toys, home, tmp_path):
    mine = shutil.copytree(toys, tmp_path/'mine')
    files = choose_images(mine)
    open_kept(files, mine, 64)
    Picture.create(files[1]).rotate(180).save(files[0], quality=95)
    opener = open_kept(choose_images(mine), mine, 64)
    assert (pixels_of(opener, files[0]) == presized(Picture.create(files[0]), 64)).all()


def test_a_damaged_picture_is_decoded_from_its_file(toys, home):
    files = choose_images(toys)
    open_kept(files, toys, 64)
    for file in stores(home):
        whole = bytearray(file.read_bytes())
        whole[100:2000] = bytes(1900)                               # in the first picture
        file.write_bytes(whole)
    opener = open_kept(files, toys, 64)
    whole = [file for file in files if Picture.create(file).size == opener.create(file).size]
    assert len(whole) == 2 and not opener.pixels(whole[0])          # in the size of its file; one a store


def fails(toys, capsys, **kwargs):
    "What is said where nothing can be kept; and pictures are decoded all the same."
    files = choose_images(toys)
    opener = open_kept(files, toys, 64, **kwargs)
    assert not opener and opener.create(files[0]).size == Picture.create(files[0]).size
    open_kept(files, toys, 64, **kwargs)
    line, = capsys.readouterr().err.splitlines()                    # once
    assert line.startswith('Pictures are decoded every time, for they cannot be kept in ')
    return line


def test_a_folder_that_cannot_be_written(toys, home, capsys):
    home.mkdir()
    (home/'.sotalearn').write_text('a file')
    assert 'Not a directory' in fails(toys, capsys)
    dls = get_dls(4, 32, toys, num_workers=0)
    assert not is_cached(dls) and len(dls.one_batch()[0]) == 4


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_a_folder_without_permission(toys, home, capsys):
    home.mkdir(mode=0o500)
    assert 'ermission' in fails(toys, capsys)


def test_pictures_above_the_limit(toys, home, capsys):
    assert 'the limit is 0.0 GB' in fails(toys, capsys, limit=10_000)
    assert stores(home) == []


@pytest.fixture
def tiny_disk(home):
    "A disk of 300 kB."
    home.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=300k', 'tmpfs', home], capture_output=True).returncode:
        pytest.skip('only root can mount a small disk')
    yield home
    subprocess.run(['umount', '-l', home], check=True)


def test_a_disk_without_room(toys, tiny_disk, capsys):
    assert 'MB are free' in fails(toys, capsys)
    assert list(pictures_folder().glob('.draft-*')) == stores(tiny_disk) == []


def test_a_disk_that_fills_up_meanwhile(toys, tiny_disk, capsys, monkeypatch):
    monkeypatch.setattr(cache, '_make_room', lambda *args: None)    # as if there had been room
    assert 'No space left on device' in fails(toys, capsys)
    assert list(pictures_folder().glob('.draft-*')) == stores(tiny_disk) == []


def test_what_was_used_longest_ago_goes_first(toys, home):
    files = choose_images(toys)
    for side in (32, 40, 48): open_kept(files, toys, side)
    sizes = {file.name.split('-')[0]: 0 for file in stores(home)}
    for file in stores(home): sizes[file.name.split('-')[0]] += file.stat().st_size
    past = time.time() - 100
    for i, side in enumerate((40, 32, 48)):
        for file in home.rglob(f'{side}-*.pictures'): os.utime(file, (past + i, past + i))
    limit = sum(sizes.values()) + 32*32*3*60                        # 40 must go for it
    open_kept(files, toys, 32, limit=limit)
    open_kept(files, toys, 33, limit=limit)
    assert {file.name.split('-')[0] for file in stores(home)} >= {'32', '33', '48'}
    assert sum(file.stat().st_size for file in stores(home)) <= limit


def test_pictures_that_others_removed_before_they_were_read_are_decoded(toys, home):
    files = choose_images(toys)
    opener = open_kept(files, toys, 64)
    for file in stores(home): file.unlink()
    assert opener.create(files[0]).size == Picture.create(files[0]).size


def test_what_a_killed_process_left_is_removed(toys, home):
    pictures_folder().mkdir(parents=True)
    (pictures_folder()/'.draft-abc').write_bytes(bytes(1000))
    open_kept(choose_images(toys), toys, 32)
    assert list(pictures_folder().glob('.draft-*')) == []


def test_an_interrupt_leaves_nothing(toys, home, monkeypatch):
    def interrupt(*args): raise KeyboardInterrupt
    monkeypatch.setattr(cache, '_decoded', interrupt)
    with pytest.raises(KeyboardInterrupt): open_kept(choose_images(toys), toys, 32)
    assert list(pictures_folder().glob('.draft-*')) == stores(home) == []


def decode(toys, home, said):
    "What a process of its own does: decode what nobody has decoded yet; what it tells goes into a file."
    os.environ['FASTAI_HOME'] = str(home)
    with open(said, 'w', encoding='utf-8') as sys.stderr: assert open_kept(choose_images(toys), toys, 64)


def test_two_processes_decode_once(toys, tmp_path, forks):
    files = [tmp_path/f'said-{number}' for number in (1, 2)]
    both = [forks.Process(target=decode, args=(toys, tmp_path, file)) for file in files]
    for process in both: process.start()
    for process in both: process.join(240)
    assert [process.exitcode for process in both] == [0, 0]
    said = [file.read_text(encoding='utf-8') for file in files]
    assert sum('decoded pictures' in line for line in said) == 1 and len(list(tmp_path.rglob('*.pictures'))) == 2


# Decoded at full size and then shrunk, or kept shrunk: the same numbers to within a level of 256, but for the two columns
# at the edge of a centre square, where a kept picture goes on and a cut one ends.
MEAN, INSIDE = .1, 2.


@pytest.mark.parametrize('size', [16, 32, 80])
def test_validation_batches_are_those_of_decoded_pictures(toys, home, size):
    (x, y), (our_x, our_y) = (get_dls(20, size, toys, normalize=False, num_workers=0, cache=on).valid.one_batch()
                              for on in (False, True))
    off = 255*(x - our_x).abs()
    assert (y == our_y).all() and off.mean() < MEAN and off[..., 2:-2, 2:-2].max() < INSIDE


def test_training_batches_are_the_same_in_distribution(toys, home):
    means = []
    for on in (False, True):
        dls = get_dls(40, 32, toys, normalize=False, cache=on, seed=3, num_workers=0)
        batches = [x for _ in range(8) for x, _ in dls.train]
        means.append([(x.mean().item(), x.std().item()) for x in batches])
    ours, theirs = np.array(means[1]), np.array(means[0])
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0))/len(ours))
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 4*error + 1e-3).all()


def test_the_same_seed_gives_the_same_batches(toys, home):
    first, again, other = (get_dls(8, 32, toys, seed=seed).one_batch()[0] for seed in (1, 1, 2))
    assert (first == again).all() and not (first == other).all()


def test_the_rest_of_get_dls_stays(toys, home):
    dls = get_dls(8, 32, toys, wrong_labels=.5, splitter='folders')
    assert is_cached(dls) and dls.train.fake_l.num_workers == 0
    right = [dls.vocab[int(dls.train_ds[i][1])] == file.parent.name for i, file in enumerate(dls.train_ds.items)]
    assert sum(right) == 20
    dls = get_dls(8, 32, toys, splitter='random')
    assert len(dls.valid_ds) == 12 and sum(len(x) for x, _ in dls.valid) == 12
    assert not is_cached(get_dls(8, 32, toys, cache=False))


def test_pictures_from_elsewhere_are_decoded(toys, home, tmp_path):
    dls = get_dls(8, 32, toys)
    foreign = tmp_path/'foreign.png'
    Picture.create(dls.train_ds.items[0]).save(foreign)
    mixed = dls.test_dl([foreign, dls.valid_ds.items[0]])
    x, = mixed.one_batch()
    assert x.shape == (2, 3, 32, 32)
    batch, labels = dls.test_dl(dls.valid_ds.items[:3], with_labels=True).one_batch()
    assert len(batch) == len(labels) == 3


def test_views_are_predicted_from_kept_pictures(toys, home):
    from sotalearn.recipes import Recipe
    from sotalearn.training import make_learner
    learn = make_learner(Recipe(dataset=str(toys), size=32, bs=8))
    probs, targets = predict_views(learn, 2, bf16=False)
    with learn.no_bar(): plain, theirs = learn.get_preds()
    assert probs.shape == (3, 20, 10) and (targets == theirs).all()
    assert not (probs[1] == probs[0]).all()


def test_other_processes_can_have_it(toys, home):
    dls = get_dls(8, 32, toys, num_workers=2)
    set_spawning_popen(True)                                            # as while a process is being started
    try: again, size = pickle.loads(pickle.dumps(dls.train)), len(pickle.dumps(dls.train.after_item.fs[0].opener))
    finally: set_spawning_popen(None)
    assert again.after_item.fs[0].opener.pixels(dls.train_ds.items[0]).shape[2] == 3 and size < 100_000
    assert sum(len(x) for x, _ in dls.valid) == 20


def test_an_exported_learner_knows_no_picture_of_this_machine(toys, home, tmp_path):
    from fastai.learner import load_learner
    from sotalearn.recipes import Recipe
    from sotalearn.training import make_learner
    learn = make_learner(Recipe(dataset=str(toys), size=16, bs=4))
    opener, file = learn.dls.train.after_item.fs[0].opener, learn.dls.train_ds.items[0]
    assert opener and opener.pixels(file) is not None
    learn.export(tmp_path/'learner.pkl')
    assert file.name.encode() not in (tmp_path/'learner.pkl').read_bytes()
    label, _, probs = load_learner(tmp_path/'learner.pkl').predict(file)
    assert label == learn.predict(file)[0] and probs.sum().item() == pytest.approx(1)
