"""Damaged files of every kind that the course reads: a sentence, or it simply works; nothing else is damaged.

40 of each kind; 5,000 with --thorough."""
import io
import json
import os
import random
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from PIL import Image

from sotalearn import pictures
from sotalearn.cache import _opened, open_kept, pictures_folder
from sotalearn.checkpoints import _load, _save, checkpoint_path, find_checkpoint
from sotalearn.data import get_dls
from sotalearn.models import load_model, make_model, save_model
from sotalearn.pictures import Picture, check_pictures, choose_images
from sotalearn.reader import read_picture
from sotalearn.recipes import append_run, read_runs
from sotalearn.school.copy import write_copy
from sotalearn.school.progress import progress, progress_path, record
from sotalearn.settings import Settings, settings, settings_text
from test_reader import drawn, make_folder


@pytest.fixture
def often(request): return 5_000 if request.config.getoption('--thorough') else 40


def damaged(data, rng):
    "The bytes of a file, cut, flipped, overwritten, doubled or mixed up, mostly in a few places."
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5, 20])):
        at, length = rng.randrange(len(data) or 1), rng.choice([1, 1, 4, 64, 1024])
        kind = rng.choice(['cut', 'flip', 'zero', 'noise', 'double', 'drop', 'text'])
        if kind == 'cut': data = data[:at]
        elif kind == 'flip' and data: data[at] ^= 1 << rng.randrange(8)
        elif kind == 'zero': data[at:at + length] = bytes(len(data[at:at + length]))
        elif kind == 'noise': data[at:at + length] = rng.randbytes(length)
        elif kind == 'double': data[at:at] = data[at:at + length]
        elif kind == 'drop': del data[at:at + length]
        elif kind == 'text': data[at:at] = rng.choice([b'\0', b'"', b',', b'\n', b'\xff', b'{', b'nan', b'1e999', b'-1', b'~'])
    return bytes(data)


def in_one_sentence(error): assert str(error) and '\n' not in str(error) and '0x7f' not in str(error), error


# ------------------------------------------------------------------ pictures

def files_of_all_kinds():
    image, lying = drawn(1, (120, 96)), Image.Exif()
    lying[0x0112], lying[0x010F], lying[0x8769] = 6, 'a maker', {0x9003: '2026:11:26 10:00:00'}
    kinds = dict(JPEG=dict(exif=lying), PNG=dict(exif=lying), GIF={}, TIFF={}, WEBP=dict(exif=lying), BMP={}, PPM={}, TGA={})
    for kind, how in kinds.items():
        buffer = io.BytesIO()
        image.save(buffer, kind, **how)
        yield buffer.getvalue()
    for mode in ('RGBA', 'P', 'I;16', 'L'):
        buffer = io.BytesIO()
        (Image.fromarray(np.asarray(image.convert('L')).astype(np.uint16)*257) if mode == 'I;16' else image.convert(mode)
         ).save(buffer, 'PNG')
        yield buffer.getvalue()
    buffer = io.BytesIO()
    image.save(buffer, 'JPEG', progressive=True)
    yield buffer.getvalue()


def test_damaged_pictures(often, tmp_path):
    rng, originals = random.Random(1), list(files_of_all_kinds())
    read = refused = 0
    for i in range(often):
        data = damaged(originals[i % len(originals)], rng)
        try: found = read_picture(data)
        except ValueError as e:
            in_one_sentence(e)
            refused += 1
            continue
        assert found.mode == 'RGB' and min(found.size) > 0
        read += 1
    assert read > often/20 and refused > often/20


def test_a_cut_at_every_kilobyte_is_found_by_the_check_if_reading_fails(tmp_path):
    image = Picture.create(np.random.default_rng(0).integers(0, 255, (160, 200, 3), dtype=np.uint8))
    image.save(tmp_path/'whole.jpg', quality=95)
    data, file = (tmp_path/'whole.jpg').read_bytes(), tmp_path/'cut.jpg'
    for size in range(0, len(data), 1024):
        file.write_bytes(data[:size])
        os.utime(file, ns=(size, size))
        with pytest.raises(ValueError) as caught: check_pictures([file])
        in_one_sentence(caught.value)
        with pytest.raises(ValueError): read_picture(file)


def test_what_the_check_lets_through_can_be_read(often, tmp_path):
    rng, file = random.Random(2), tmp_path/'a.jpg'
    originals = list(files_of_all_kinds())
    for i in range(often):
        file.write_bytes(damaged(originals[i % len(originals)], rng))
        try: read_picture(file, hasty=True)
        except ValueError: continue
        read_picture(file)


@pytest.mark.parametrize('size', [(1, 1), (20_000, 1), (1, 20_000), (3, 4000)])
def test_pictures_of_odd_shapes_train(tmp_path, size):
    folder = make_folder(tmp_path/'mine', train=3, val=1)
    Image.new('RGB', size, (250, 10, 10)).save(folder/'train'/'cat'/'odd.png')
    x, _ = get_dls(7, 32, folder, num_workers=0).one_batch()
    assert x.shape == (7, 3, 32, 32) and x.isfinite().all()


def test_a_bomb_is_refused_without_being_unpacked(tmp_path):
    import struct, zlib
    def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    head = struct.pack('>IIBBBBB', 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(bytes(10_000))) + chunk(b'IEND', b'')
    with pytest.raises(ValueError, match='exceeds limit'): read_picture(bomb)


# ------------------------------------------------------------------ what a learner writes or edits

def test_damaged_settings(often, tmp_path, no_environment):
    rng, file = random.Random(3), tmp_path/'settings.ini'
    whole = settings_text('zh').encode()
    for _ in range(often):
        data = damaged(whole, rng)
        file.write_bytes(data)
        try: assert isinstance(settings(tmp_path), Settings)
        except ValueError as e: in_one_sentence(e)
        assert file.read_bytes() == data


def test_damaged_tables(often, tmp_path):
    rng, file = random.Random(4), tmp_path/'runs.csv'
    for seed in range(1, 5): append_run(dict(dataset='toynette', seed=seed, size=32, accuracy=.5, how='a, "b"'), file)
    whole = file.read_bytes()
    for i in range(often):
        data = damaged(whole, rng)
        file.write_bytes(data)
        try: before = len(read_runs(file))
        except ValueError as e:
            in_one_sentence(e)
            before = None
        assert file.read_bytes() == data
        if i % 10: continue                                         # writing waits for the disk
        try: append_run(dict(dataset='toynette', seed=9, accuracy=.6), file)
        except ValueError as e:
            in_one_sentence(e)
            assert file.read_bytes() == data
        else: assert before is None or len(read_runs(file)) == before + 1


def test_damaged_progress(often, tmp_path, monkeypatch, no_environment):
    monkeypatch.chdir(tmp_path)
    for name in 'abc': record(name, True)
    rng, file = random.Random(5), progress_path()
    whole = file.read_bytes()
    for i in range(often):
        data = damaged(whole, rng)
        file.write_bytes(data)
        tasks, _ = progress()
        assert isinstance(tasks, dict)
        if not file.exists(): assert any(aside.read_bytes() == data for aside in file.parent.glob('progress.damaged*'))
        for aside in file.parent.glob('progress.damaged*'): aside.unlink()
    file.write_bytes(b'{')
    assert record('d', True) and progress()[0]['d']['tries'] == 1


def test_damaged_notebooks_of_the_learners(often, tmp_path, monkeypatch):
    import nbformat
    monkeypatch.setattr('sotalearn.school.copy.NotebookNotary', lambda: pytest.skip)        # nothing is signed here
    source = tmp_path/'source'/'a.ipynb'
    source.parent.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell('one')]), source)
    mine, rng = tmp_path/'mine', random.Random(6)
    write_copy(mine, 'en', [source])
    whole, memory = (mine/'a.ipynb').read_bytes(), mine/'.sotalearn'/'written.json'
    remembered = memory.read_bytes()
    for i in range(min(often, 1000)):
        data = damaged(whole, rng)
        (mine/'a.ipynb').write_bytes(data)
        memory.write_bytes(damaged(remembered, rng) if i % 2 else remembered)
        write_copy(mine, 'en', [source])
        if data != whole: assert data in {file.read_bytes() for file in mine.glob('a*.ipynb')} or same(data, whole)
        for beside in mine.glob('a.new*.ipynb'): beside.unlink()


def same(data, whole):
    "Do both hold the same cells?"
    try: return json.loads(data)['cells'] == json.loads(whole)['cells']
    except (ValueError, KeyError, TypeError): return False


# ------------------------------------------------------------------ what the course keeps for itself

def test_damaged_checkpoints(often, tmp_path):
    facts = dict(recipe={}, pictures='', versions='', plain=True, processes=1)
    table, rng = tmp_path/'runs.csv', random.Random(7)
    path = checkpoint_path(facts, table)
    path.parent.mkdir(parents=True)
    tensors = {'model.a': torch.rand(4, 3), 'model.b': torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last)}
    _save(path, dict(run=facts, epochs=3), tensors)
    whole = path.read_bytes()
    for _ in range(often):
        path.write_bytes(damaged(whole, rng))
        try: kept = find_checkpoint(facts, table, resume='auto')
        except ValueError as e: in_one_sentence(e)
        else:
            assert kept.facts['epochs'] == 3
            assert all(torch.equal(kept.tensors[name], tensor) for name, tensor in tensors.items())
    path.write_bytes(whole)
    assert _load(path)[0]['epochs'] == 3


def test_damaged_saved_models(often, tmp_path):
    folder = make_folder(tmp_path/'mine', train=3, val=1)
    learn = Learner(get_dls(4, 32, folder, num_workers=0), make_model('xresnet18', 2), loss_func=CrossEntropyLossFlat())
    whole = save_model(learn, tmp_path/'model', arch='xresnet18').read_bytes()
    header = int.from_bytes(whole[:8], 'little') + 8
    rng, file = random.Random(8), tmp_path/'damaged.safetensors'
    for _ in range(max(4, often//50)):                             # each is 45 MB: the head of the file is what is read
        file.write_bytes(damaged(whole[:header], rng) + whole[header:] if rng.random() < .9 else whole[:rng.randrange(len(whole))])
        try: saved = load_model(file)
        except ValueError as e: in_one_sentence(e)
        else: assert len(saved.vocab) == 2


def test_damaged_decoded_pictures(often, tmp_path, monkeypatch):
    monkeypatch.setattr('sotalearn.cache.data_folder', lambda: tmp_path/'home')
    folder = make_folder(tmp_path/'mine', train=3, val=1)
    files = choose_images(folder)
    opener = open_kept(files, folder, 32)
    right = {file: opener.pixels(file).copy() for file in files}
    stores, rng = {file: file.read_bytes() for file in pictures_folder().glob('*.pictures')}, random.Random(9)
    for i in range(often):
        for file, data in stores.items(): file.write_bytes(damaged(data, rng))
        for file in stores:
            store = _opened(file)
            for state in store.places if store else ():
                pixels = store.read(state)
                if pixels is not None: assert any(np.array_equal(pixels, image) for image in right.values())
        if i % 100: continue
        again = open_kept(files, folder, 32)
        for file in files:
            pixels = again.pixels(file)
            assert pixels is None or np.array_equal(pixels, right[file])
            again.create(file)


# ------------------------------------------------------------------ archives

def archive(path, *members):
    "A tar of files, and of whatever should not be in one."
    with tarfile.open(path, 'w:gz') as tar:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, 4 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b'data'))
    return path


EVIL = [('../outside.txt', tarfile.REGTYPE, ''), ('/tmp/sotalearn-outside.txt', tarfile.REGTYPE, ''),
        ('imagenette2-160/link', tarfile.SYMTYPE, '/etc'), ('imagenette2-160/up', tarfile.SYMTYPE, '../../..'),
        ('imagenette2-160/hard', tarfile.LNKTYPE, '/etc/passwd'), ('imagenette2-160/null', tarfile.CHRTYPE, ''),
        ('imagenette2-160/pipe', tarfile.FIFOTYPE, '')]


@pytest.mark.parametrize('member', [*EVIL, None], ids=lambda member: member[0] if member else 'other pictures')
def test_an_archive_that_is_not_the_data_set_is_refused_and_nothing_of_it_stays(tmp_path, monkeypatch, member):
    from fastai.data.external import fastai_cfg, fastai_path
    monkeypatch.setenv('FASTAI_HOME', str(tmp_path/'home'))
    fastai_cfg.cache_clear()
    try:
        data = fastai_path('data')
        data.mkdir(parents=True, exist_ok=True)
        members = [('imagenette2-160/train/cat/a.jpg', tarfile.REGTYPE, ''), *([member] if member else [])]
        evil = archive(tmp_path/'imagenette2-160.tgz', *members)

        def unpacked(url, data):
            import shutil
            shutil.unpack_archive(str(evil), str(data))
            return data/'imagenette2-160'
        monkeypatch.setattr(pictures, 'untar_data', unpacked)
        with pytest.raises(ConnectionError) as caught: pictures.dataset('imagenette-160')
        in_one_sentence(caught.value)
        if member and member[1] != tarfile.REGTYPE: assert 'Link' in str(caught.value) or 'File' in str(caught.value)
        assert not (data/'imagenette2-160').exists()
        assert not (tmp_path/'home'/'outside.txt').exists() and not Path('/tmp/sotalearn-outside.txt').exists()
    finally: fastai_cfg.cache_clear()


def test_an_archive_puts_nothing_into_the_folder_of_another_dataset(tmp_path):
    import shutil
    own = tmp_path/'data'/'toynette-1'
    own.mkdir(parents=True)
    (own/'mine.jpg').write_text('mine')
    regular, symbolic, hard = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
    evil = archive(tmp_path/'evil.tgz', ('toynette-1/a.jpg', regular, ''), ('imagenette2-160/../toynette-1/b.jpg', regular, ''),
                   ('imagenette2-160/side', symbolic, '../toynette-1'), ('imagenette2-160/side/c.jpg', regular, ''),
                   ('imagenette2-160/mine.jpg', hard, 'toynette-1/mine.jpg'), ('imagenette2-160/mine.jpg', regular, ''),
                   ('imagenette2-320/train/cat/d.jpg', regular, ''), ('./imagenette2-160/e.jpg', regular, ''),
                   ('imagenette2-160/f.jpg', hard, 'imagenette2-160/e.jpg'))
    with pictures._data_alone('imagenette2-160'): shutil.unpack_archive(str(evil), str(tmp_path/'data'))
    left = {path.relative_to(tmp_path/'data').as_posix(): path.read_text() for path in (tmp_path/'data').rglob('*') if path.is_file()}
    assert left == {'toynette-1/mine.jpg': 'mine'} | {f'imagenette2-160/{name}.jpg': 'data' for name in ('side/c', 'mine', 'e', 'f')}


# ------------------------------------------------------------------ messages from the front end

def junk(rng, deep=0):
    "A value such as a page may send by mistake or by malice."
    kinds = [None, True, 0, -1, 3, .5, 1e999, float('nan'), 2**70, '', 't', '<img src=x onerror=alert(1)>', '__class__', b'\0']
    if deep > 2 or rng.random() < .6: return rng.choice(kinds)
    if rng.random() < .5: return [junk(rng, deep + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(['ask', 'density', 't', 'spec', '_esm', 'values', '', 'x'*50]): junk(rng, deep + 1)
            for _ in range(rng.randrange(4))}


def test_messages_that_are_no_questions_get_a_sentence_and_change_nothing(often, monkeypatch):
    from sotalearn.demos.mixup import mixup_demo
    demo, rng, sent = mixup_demo(('church', 'gas_pump'), 'en'), random.Random(10), []
    monkeypatch.setattr(type(demo), 'send', lambda self, reply, buffers=None: sent.append((reply, buffers)))
    kept = {name: getattr(demo, name) for name in ('spec', '_esm')}       # a note may say why not
    for _ in range(often):
        message = junk(rng)
        demo._answer(message, [])
        (reply, buffers), = sent
        if buffers: assert message['ask'].keys() == {'t'} and 0 <= message['ask']['t'] <= 1
        else: in_one_sentence(reply['error'])
        sent.clear()
        try: demo.set_state(junk(rng))
        except Exception: pass                                      # traitlets refuses it
        assert 0 <= demo.t <= 1 and {name: getattr(demo, name) for name in kept} == kept
