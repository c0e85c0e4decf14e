"""Toynette: the same pixels whoever draws, a set made whole or not at all."""
import errno
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from sotalearn.datasets import EDITION
from sotalearn.toynette import CLASSES, make_toynette, scene


@pytest.fixture(scope='module')
def small(toynette_of): return toynette_of(4, 2)


def pixels(folder):
    "Every picture of a folder by name, as bytes."
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob('*.jpg'))}


def test_toynette_is_laid_out_as_imagenette(small):
    for split, count in (('train', 4), ('val', 2)):
        assert sorted(folder.name for folder in (small/split).iterdir()) == sorted(CLASSES)
        assert {len(list(folder.iterdir())) for folder in (small/split).iterdir()} == {count}
    sizes = [Image.open(path).size for path in small.rglob('*.jpg')]
    assert {min(size) for size in sizes} == {160}
    assert any(width > height for width, height in sizes)
    assert any(width < height for width, height in sizes)


# Box of the object and mean colour of the first training picture of each class.
DRAWN = {1: dict(
    cassette_player=((30, 15, 154, 157), (121, 128, 120)), chain_saw=((0, 81, 71, 131), (120, 135, 120)),
    church=((87, 118, 160, 215), (188, 184, 183)), dog=((3, 37, 75, 141), (165, 142, 118)),
    fish=((122, 32, 196, 118), (155, 193, 188)), french_horn=((6, 76, 116, 160), (116, 154, 159)),
    garbage_truck=((92, 22, 151, 71), (118, 107, 104)), gas_pump=((57, 24, 155, 154), (150, 133, 121)),
    golf_ball=((13, 29, 105, 133), (190, 203, 198)), parachute=((7, 0, 125, 132), (125, 126, 140)))}


@pytest.mark.parametrize('label', CLASSES)
def test_other_drawings_are_another_edition(label):
    assert EDITION in DRAWN, 'write down here what the new edition draws'
    picture, box = scene(label, 0)
    known_box, known_colour = DRAWN[EDITION][label]
    assert np.abs(np.subtract(box, known_box)).max() <= 1, 'other pixels: raise EDITION in sotalearn.datasets'
    assert np.abs(np.asarray(picture).mean((0, 1)) - known_colour).max() < 1.5


def test_the_same_seed_gives_the_same_pixels_whoever_draws(small, tmp_path):
    again = make_toynette(tmp_path/'again', train=4, val=2, workers=1, show_progress=False)
    other = make_toynette(tmp_path/'other', train=4, val=2, seed=7, show_progress=False)
    assert pixels(again) == pixels(small)
    assert set(pixels(other)) == set(pixels(small)) and pixels(other) != pixels(small)


def test_train_and_val_share_no_picture(small):
    contents = list(pixels(small).values())
    assert len(set(contents)) == len(contents) == 60


def test_a_set_that_is_there_is_not_made_again(small, monkeypatch):
    monkeypatch.setattr('os.cpu_count', lambda: 384)            # no number of cores is a mistake of the learner's
    def times(): return {path: path.stat().st_mtime_ns for path in small.rglob('*.jpg')}
    before = times()
    assert make_toynette(small, train=9, val=9) == small
    assert times() == before


def making(folder, **numbers):
    "A process that makes a set. A shell's background jobs ignore SIGINT, so it asks for it first."
    code = f"""import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from sotalearn.toynette import make_toynette
make_toynette({str(folder)!r}, show_progress=False, **{numbers})"""
    return subprocess.Popen([sys.executable, '-c', code], stderr=subprocess.PIPE)


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_making_leaves_nothing_half_made(tmp_path, how):
    def drafts(): return list(tmp_path.glob('.set.making-*'))
    def begun(): return any(path for draft in drafts() for path in draft.rglob('*.jpg'))
    process = making(tmp_path/'set')
    deadline = time.time() + 60
    while not begun() and time.time() < deadline: time.sleep(.05)
    assert begun(), 'drawing never began'
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode and not (tmp_path/'set').exists()
    if how == signal.SIGINT: assert not drafts()
    made = make_toynette(tmp_path/'set', train=1, val=1, show_progress=False)      # and the next one is whole
    assert len(pixels(made)) == 20 and not drafts()


@pytest.mark.skipif(os.name != 'posix', reason='the launcher is a shell script')
def test_a_launcher_between_the_two_is_no_orphanage(tmp_path, monkeypatch):
    launcher = tmp_path/'python'                        # as in a virtual environment on Windows
    launcher.write_text(f'#!/bin/sh\n{sys.executable} "$@"\nexit $?\n')
    launcher.chmod(0o755)
    monkeypatch.setattr('sys.executable', str(launcher))
    assert len(pixels(make_toynette(tmp_path/'set', train=1, val=1, workers=2, show_progress=False))) == 20


def test_a_set_with_a_picture_lacking_gets_no_name(tmp_path, monkeypatch):
    monkeypatch.setattr('sotalearn.toynette.make._START', 'pass')
    with pytest.raises(OSError, match='only 0 of 20 pictures were drawn'):
        make_toynette(tmp_path/'set', train=1, val=1, show_progress=False)
    assert not (tmp_path/'set').exists()


def test_two_makings_at_once_make_one_set(tmp_path):
    processes = [making(tmp_path/'set', train=3, val=1) for _ in range(2)]
    for process in processes:
        complaint = process.communicate(timeout=120)[1]
        assert process.returncode == 0, complaint
    assert len(pixels(tmp_path/'set')) == 40
    assert not list(tmp_path.glob('*making*'))


@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() != 0, reason='only root can mount a small disk')
def test_a_full_disk_is_said_in_one_sentence_and_nothing_stays(tmp_path):
    disk = tmp_path/'disk'
    disk.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=300k', 'tmpfs', disk], capture_output=True)
    if mounted.returncode: pytest.skip('this machine lets nobody mount a tmpfs')
    try:
        with pytest.raises(OSError, match='could not be made in .* nothing half-made was left behind') as caught:
            make_toynette(disk/'set', train=20, val=2, show_progress=False)
        assert os.strerror(errno.ENOSPC) in str(caught.value)
        assert [path.name for path in disk.iterdir() if path.suffix != '.lock'] == []
    finally: subprocess.run(['umount', disk], check=True)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path/'file').write_text('x')
    with pytest.raises(OSError, match='Toynette could not be made in'):
        make_toynette(tmp_path/'file'/'set', train=1, val=1)


def test_the_object_is_often_near_an_edge_and_never_outside():
    often = []
    for label in CLASSES:
        for index in range(12):
            picture, (left, top, right, bottom) = scene(label, index, 'val')
            assert 0 <= left < right <= picture.width and 0 <= top < bottom <= picture.height, label
            across, down = (picture.width - 160)/2, (picture.height - 160)/2       # what a centre crop cuts off
            width = max(0, min(right, picture.width - across) - max(left, across))
            height = max(0, min(bottom, picture.height - down) - max(top, down))
            often.append(width*height < .8*(right - left)*(bottom - top))
    assert np.mean(often) >= .1      # what test time augmentation is for
