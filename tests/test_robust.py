"""Each fault that was found in a learner's hands, and its whole kind, with the right answer beside it."""
import copy, csv, importlib, io, os, sys, warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.callback.core import Callback
from fastai.data.transforms import Normalize
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.vision.all import ImageDataLoaders, Resize, ResizeMethod, imagenet_stats, xresnet18
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

import sotalearn
from sotalearn import recipes, training
from sotalearn.bookkeeping import train_missing
from sotalearn.checkpoints import checkpoint_path, run_facts
from sotalearn.experiments import compare
from sotalearn.files import as_path, read_text
from sotalearn.mixup import manifold_mixup
from sotalearn.models import load_model, save_model
from sotalearn.pictures import Picture, split_of
from sotalearn.recipes import COLUMNS, Recipe, append_run, own_table, read_runs, record_run, writable_table
from sotalearn.school.cli import main
from sotalearn.school.copy import write_copy
from sotalearn.school.progress import progress, record
from sotalearn.settings import find_settings, results_path, say, settings, settings_text
from sotalearn.training import make_learner, train
from sotalearn.tta import _for_inference, predict_views
from test_reader import make_folder

ROW = vars(Recipe(dataset='toynette', seed=7)) | dict(accuracy=.75)


@pytest.fixture
def mine(tmp_path): return make_folder(tmp_path/'mine')


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path/'home'))
    (tmp_path/'home').mkdir()
    return tmp_path/'home'


# ------------------------------------------------------------------ paths and text files

@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le-sig'])
def test_settings_are_read_as_any_editor_saves_them(tmp_path, encoding, no_environment):
    text = settings_text('zh', epochs=9)
    data = b'\xff\xfe' + text.encode('utf-16-le') if encoding == 'utf-16-le-sig' else text.encode(encoding)
    (tmp_path/'settings.ini').write_bytes(data)
    assert settings(tmp_path).epochs == 9 and settings(tmp_path).language == 'zh'


@pytest.mark.parametrize('data', ['[sotalearn]\nresults = 结果.csv\n'.encode('gbk'), b'[sotalearn]\n\0epochs = 3\n'])
def test_settings_in_another_encoding_are_refused_and_not_passed_over(tmp_path, data, no_environment):
    (tmp_path/'settings.ini').write_bytes(data)
    assert find_settings(tmp_path) == tmp_path/'settings.ini'
    with pytest.raises(ValueError, match='settings.ini must be text in UTF-8, got another encoding; save it as UTF-8'):
        settings(tmp_path)


def test_the_language_is_remembered_in_settings_saved_as_utf_16(tmp_path, no_environment):
    (tmp_path/'settings.ini').write_text(settings_text(epochs=9), encoding='utf-16')
    write_copy(tmp_path, 'zh', sources=[])
    assert settings(tmp_path).language == 'zh' and settings(tmp_path).epochs == 9


def test_a_tilde_is_the_home_folder_wherever_a_path_is_given(tmp_path, home, no_environment, monkeypatch):
    (tmp_path/'settings.ini').write_text('[sotalearn]\nresults = ~/runs.csv\n')
    assert results_path(tmp_path) == own_table('~/runs.csv') == home/'runs.csv'
    assert append_run(dict(seed=1, accuracy=.5), '~/deep/runs.csv') == home/'deep'/'runs.csv'
    assert len(read_runs('~/deep/runs.csv')) == 1
    make_folder(home/'mine', train=2, val=1)
    facts = run_facts(Recipe(dataset='~/mine', size=32))
    assert checkpoint_path(facts, '~/runs.csv').is_relative_to(home)
    assert training.get_dls(2, 32, '~/mine', num_workers=0).path == home/'mine'
    with pytest.raises(ValueError, match='path must begin with a home that exists'): as_path('~nobody-here/x')
    assert not (tmp_path/'~').exists() and not Path('~').exists()


@pytest.fixture
def moved_away(tmp_path, monkeypatch, no_environment):
    "The current folder is one that somebody deleted meanwhile."
    (tmp_path/'gone').mkdir()
    monkeypatch.chdir(tmp_path/'gone')
    (tmp_path/'gone').rmdir()


def test_where_the_current_folder_was_moved_away_the_course_still_speaks(moved_away):
    assert say('stopped') == 'stopped' and settings().epochs == 5
    for use in (results_path, own_table, lambda: append_run(dict(seed=1))):
        with pytest.raises(ValueError, match='the current one was moved away or deleted'): use()
    assert progress() == ({}, None) and 'could not be kept' in record('q1', True)[0]


def test_a_run_whose_folder_was_moved_away_is_printed_and_kept(moved_away, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    assert 'could not be recorded' in record_run(ROW)
    assert '7,0.75' in capsys.readouterr().out and read_runs(*tmp_path.glob('*-not-recorded-*.csv')).accuracy.tolist() == [.75]


def test_settings_that_others_may_not_read_are_not_ours(tmp_path, monkeypatch, no_environment):
    (tmp_path/'settings.ini').write_text(settings_text(epochs=9))
    (tmp_path/'below').mkdir()

    def refuse(path): raise PermissionError(13, 'Permission denied')
    monkeypatch.setattr('sotalearn.settings.read_text', refuse)
    assert settings(tmp_path/'below').epochs == 5


# ------------------------------------------------------------------ results tables

def table_of(tmp_path, seeds=(1, 2)):
    for seed in seeds:
        append_run(dict(dataset='toynette', seed=seed, bs=64, size=32, accuracy=.5 + seed/100), tmp_path/'runs.csv')
    return tmp_path/'runs.csv'


@pytest.mark.parametrize('extra', ['\n', '\n\n\n', ',,,,,,,,,,\n', ' , , \n', 'my best so far\n', '"mine, the best",,\n',
                                   'Summe,' + ','*70 + '\n'])
def test_blank_rows_and_notes_are_passed_over_and_kept(tmp_path, extra):
    table = table_of(tmp_path)
    before = read_runs(table)
    table.write_text(table.read_text() + extra)
    pd.testing.assert_frame_equal(read_runs(table), before)
    assert read_runs(table).seed.tolist() == [1, 2] and read_runs(table)['size'].dtype.kind == 'i'
    append_run(dict(dataset='toynette', seed=3, accuracy=.6), table)
    assert read_runs(table).seed.tolist() == [1, 2, 3]
    assert extra.strip('\n ,') in table.read_text()


def test_a_link_to_a_table_stays_one(tmp_path):
    table, link = table_of(tmp_path), tmp_path/'link.csv'
    link.symlink_to(table)
    append_run(dict(dataset='toynette', seed=3), link)
    assert link.is_symlink() and read_runs(table).seed.tolist() == read_runs(link).seed.tolist() == [1, 2, 3]
    assert not list(tmp_path.glob('.link.csv*'))                    # the lock is the table's, whoever asks for it


@pytest.mark.parametrize('sign, name', [(';', 'semicolons'), ('\t', 'tabs')])
def test_a_table_with_another_separator_is_refused_by_its_name(tmp_path, sign, name):
    table = table_of(tmp_path)
    rows = list(csv.reader(io.StringIO(table.read_text())))
    table.write_text('\n'.join(sign.join(row) for row in rows))
    before = table.read_bytes()
    for use in (own_table, read_runs, lambda path: append_run(dict(seed=3), path)):
        with pytest.raises(ValueError, match=f'with {name} between its cells'): use(table)
    assert table.read_bytes() == before


def test_decimal_commas_are_named(tmp_path):
    table = table_of(tmp_path)
    table.write_text(table.read_text().replace('0.51', '"0,51"'))
    with pytest.raises(ValueError, match="must have decimal points, got '0,51' in column accuracy"): read_runs(table)


def test_headings_are_read_with_their_blanks(tmp_path):
    table = table_of(tmp_path)
    table.write_text(table.read_text().replace(',accuracy,', ', accuracy ,'))
    assert read_runs(table).accuracy.tolist() == [.51, .52]


@pytest.mark.parametrize('cell', ['51%', '51 %', '#DIV/0!', "'0.51", '0.51 (best)', '٠.٥١', '0_51'])
def test_what_a_spreadsheet_made_of_a_number_is_named(tmp_path, cell):
    table = table_of(tmp_path)
    table.write_text(table.read_text().replace('0.51', cell), encoding='utf-8')
    with pytest.raises(ValueError) as caught: read_runs(table)
    assert f'must have plain numbers, got {cell!r} in column accuracy' in str(caught.value)


def test_comparing_does_not_stop_at_a_note(tmp_path, mine):
    base = Recipe(dataset=str(mine), size=32, epochs=1, bs=4)
    for seed in (1, 2): append_run(dict(vars(base), seed=seed, split='', accuracy=.5, accuracy_tta=''), tmp_path/'runs.csv')
    with open(tmp_path/'runs.csv', 'a') as file: file.write('\nmy best so far\n,,,\n')
    table = compare(dict(base=base), (1, 2), tmp_path/'runs.csv', run_missing=False, show_progress=False)
    assert table['mean'].tolist() == [.5]


@pytest.mark.parametrize('place', ['/dev/null/x/runs.csv', '/proc/nothing/runs.csv'])
def test_a_table_that_cannot_be_written_is_refused_before_anything_trains(mine, place, monkeypatch):
    monkeypatch.setattr(training, 'make_learner', lambda *_, **__: pytest.fail('it went on to train'))
    recipe = Recipe(dataset=str(mine), size=32, epochs=1, bs=4)
    with pytest.raises(ValueError, match='results must be a table that can be written'): train(recipe, place)
    with pytest.raises(ValueError, match='results must be a table that can be written'):
        train_missing(dict(base=recipe), [1], place, tell=None)


@pytest.mark.parametrize('fault', [OSError(28, 'No space left on device'), ValueError('results must be a results table')])
def test_a_run_that_cannot_be_recorded_at_the_end_is_printed_and_kept(tmp_path, monkeypatch, capsys, fault):
    def fails(*_): raise fault
    monkeypatch.setattr(recipes, 'append_run', fails)
    row = ROW
    told = record_run(row, tmp_path/'runs.csv')
    kept, = tmp_path.glob('runs-not-recorded-*.csv')
    assert str(kept) in told and 'could not be recorded' in told
    assert '7,0.75' in capsys.readouterr().out
    assert read_runs(kept).accuracy.tolist() == [.75]


def test_settings_that_are_spoilt_while_it_trains_cost_no_run(tmp_path, monkeypatch, capsys, no_environment):
    monkeypatch.chdir(tmp_path)
    Path('settings.ini').write_text('[sotalearn]\nepoch = 3\n')
    assert "unknown setting 'epoch'" in record_run(ROW)
    kept, = tmp_path.glob('runs-not-recorded-*.csv')
    assert '7,0.75' in capsys.readouterr().out and read_runs(kept).accuracy.tolist() == [.75]


def test_such_a_run_gives_back_its_learner_and_keeps_its_checkpoint(tmp_path, mine, monkeypatch, capsys):
    def full(*_): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(recipes, 'append_run', full)
    recipe, table = Recipe(dataset=str(mine), size=32, epochs=1, bs=4), tmp_path/'runs.csv'
    learn = train(recipe, table)
    assert 0 <= learn.result['accuracy'] <= 1
    assert 'could not be recorded' in capsys.readouterr().out
    assert list(tmp_path.rglob('checkpoint.safetensors')) and list(tmp_path.glob('runs-not-recorded-*.csv'))


# ------------------------------------------------------------------ what a callback swaps

class Stop(Callback):
    order = 60
    def __init__(self, error): self.error, self.on = error, True
    def after_batch(self):
        if self.on and self.training: raise self.error


@pytest.mark.parametrize('kind', [{}, dict(mixup=.4), dict(cutmix=1.), 'manifold'])
@pytest.mark.parametrize('error', [KeyboardInterrupt(), ValueError('something else'), SystemExit(1)])
def test_a_stopped_training_leaves_the_learner_as_it_was(mine, kind, error):
    recipe = Recipe(dataset=str(mine), size=32, epochs=1, bs=4, bf16=False, **({} if kind == 'manifold' else kind))
    learn, stop = make_learner(recipe), Stop(error)
    if kind == 'manifold': learn.add_cb(manifold_mixup())
    loss, forward = learn.loss_func, learn.model.forward
    learn.add_cb(stop)
    with learn.no_bar(), learn.no_logging():
        with pytest.raises(type(error)): learn.fit(1)
        stop.on = False
        assert learn.loss_func is loss and learn.model.forward == forward
        assert not any(layer._forward_hooks for layer in learn.model.children()) or kind == 'manifold'
        sums = learn.get_preds()[0].sum(dim=1)
        assert torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
        assert learn.predict(next(mine.rglob('*.jpg')))[0] in ('cat', 'dog')
        assert predict_views(learn, 1)[0].shape == (2, 8, 2)
        learn.fit(1)


# ------------------------------------------------------------------ saved models

def learner_of(mine, resize, batch_tfms):
    dls = ImageDataLoaders.from_folder(mine, valid='val', item_tfms=resize, batch_tfms=batch_tfms, bs=4, num_workers=0)
    return Learner(dls, xresnet18(n_out=2), loss_func=CrossEntropyLossFlat())


def norm(): return Normalize.from_stats(*imagenet_stats)


@pytest.mark.parametrize('resize, batch_tfms', [
    (lambda: Resize(32), lambda: [norm()]), (lambda: Resize(48), lambda: []), (lambda: Resize(31), lambda: [norm()])])
def test_a_model_that_is_saved_answers_as_its_learner(mine, tmp_path, resize, batch_tfms):
    learn = learner_of(mine, resize(), batch_tfms())
    saved = load_model(save_model(learn, tmp_path/'model', arch='xresnet18'))
    for file in (mine/'val').rglob('*.jpg'):
        with learn.no_bar(): ours = learn.predict(file)[2]
        for way in (file, str(file), file.read_bytes()): assert torch.allclose(saved.predict(way)[1], ours, atol=1e-4)


@pytest.mark.parametrize('resize, batch_tfms, told', [
    (lambda: Resize(32, ResizeMethod.Squish), lambda: [norm()], "Resize(method='squish')"),
    (lambda: Resize(32, ResizeMethod.Pad), lambda: [norm()], "Resize(method='pad')"),
    (lambda: [Resize(64), Resize(32, ResizeMethod.Squish)], lambda: [norm()], "Resize(method='squish')")])
def test_a_model_whose_pictures_are_made_otherwise_is_not_saved(mine, tmp_path, resize, batch_tfms, told):
    learn = learner_of(mine, resize(), batch_tfms())
    with pytest.raises(ValueError) as caught: save_model(learn, tmp_path/'model', arch='xresnet18')
    assert told in str(caught.value) and 'learn.export' in str(caught.value) and not list(tmp_path.glob('model*'))


def test_nor_is_one_that_normalizes_twice(mine, tmp_path):
    learn = learner_of(mine, Resize(32), [norm()])
    learn.dls.add_tfms([Normalize.from_stats([.1]*3, [.2]*3)], 'after_batch')
    with pytest.raises(ValueError, match='got a second Normalize, which load_model would leave out'):
        save_model(learn, tmp_path/'model', arch='xresnet18')


# ------------------------------------------------------------------ unusual models in the fast way to predict

def small_net(change=lambda conv: conv, **of_norm):
    conv = change(nn.Conv2d(3, 8, 3, padding=1, bias=False))
    return nn.Sequential(nn.Sequential(conv, nn.BatchNorm2d(8, **of_norm), nn.ReLU()), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(8, 3))


@pytest.mark.parametrize('bf16', [False, True])
@pytest.mark.parametrize('make', [
    small_net, lambda: small_net(parametrizations.spectral_norm), lambda: small_net(parametrizations.weight_norm),
    lambda: small_net(spectral_norm), lambda: small_net(track_running_stats=False), lambda: small_net(affine=False)])
def test_unusual_layers_answer_as_before(make, bf16):
    torch.manual_seed(0)
    model, x = make(), torch.rand(16, 3, 12, 12)
    for _ in range(3): model.train()(x)
    model.eval()
    with torch.no_grad(): right = model(x).softmax(dim=1)
    fast = _for_inference(copy.deepcopy(model), bf16)
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16, enabled=bf16): found = fast(x).float().softmax(dim=1)
    assert torch.allclose(found, right, atol=.02 if bf16 else 1e-5)


def test_views_of_a_model_without_statistics_are_those_of_its_own_batches(mine):
    dls = training.get_dls(4, 32, mine, num_workers=0)
    learn = Learner(dls, nn.Sequential(small_net(track_running_stats=False)[:3], nn.Linear(8, 2)),
                    loss_func=CrossEntropyLossFlat())
    with learn.no_bar(): right = learn.get_preds()[0]
    assert torch.allclose(predict_views(learn, 3, bf16=False)[0][0], right, atol=1e-4)


# ------------------------------------------------------------------ what a stream cannot say

@pytest.mark.parametrize('encoding', ['gbk', 'cp1252', 'ascii', 'utf-8', 'cp437', 'shift_jis'])
def test_a_table_gets_through_any_pipe(encoding, tmp_path, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, 'stdout', stream)
    shown = pd.DataFrame({'difference': ['−0.3 (−1.2 to +0.6)'], 'cost': ['× 1.00'], 'name': ['混合 Ænima …']})
    monkeypatch.setattr('sotalearn.school.cli.results', lambda **_: print(shown.to_string()))
    assert main(['results']) == 0
    stream.flush()
    text = stream.buffer.getvalue().decode(encoding)
    assert '0.3 (' in text and '1.00' in text
    if encoding == 'ascii': assert '-0.3 (-1.2 to +0.6)' in text and 'x 1.00' in text and '...' in text


# ------------------------------------------------------------------ names that others would interpret

def test_a_sign_that_no_font_has_warns_nobody():
    from sotalearn.demos.mixup import mixup_demo
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        importlib.reload(sotalearn)                                 # its filters are pytest's no more
        mixup_demo({name: np.zeros((20, 20, 3), np.uint8) for name in ('🐈', '🐕')}, 'en').picture()
    assert not [warning for warning in told if 'Glyph' in str(warning.message)]


def test_file_names_that_are_no_text_train_and_class_names_are_refused(mine):
    "As an old archive leaves them: Latin-1 where UTF-8 is meant."
    picture, old = next((mine/'train'/'cat').iterdir()), os.fsdecode(b'caf\xe9')
    try: picture.rename(picture.with_name(f'{old}.jpg'))
    except OSError: pytest.skip('this disk has no such names')
    recipe = Recipe(dataset=str(mine), size=32, bs=4)
    assert len(split_of(mine)) == 16 and run_facts(recipe)['pictures']
    assert len(training.get_dls(4, 32, mine, num_workers=0).one_batch()[0]) == 4
    (mine/'train'/'cat').rename(mine/'train'/old)
    with pytest.raises(ValueError, match=r"must have a name in UTF-8; rename it"): training.get_dls(4, 32, mine)


NASTY = ('$\\alpha$', '_hidden', '<img src=x onerror=alert(1)>', 'a & b', '100 %', '{x}', '</script>', '$', '\\frac')


def test_names_are_drawn_and_told_as_they_are():
    from sotalearn.demos.mixup import mixup_demo
    from sotalearn.figures import plot_bars
    from sotalearn.stored import as_html
    pictures = dict(zip(NASTY[:3], map(lambda i: Picture.create(np.full((20, 20, 3), 40*i, dtype=np.uint8)), range(3))))
    for pair in (NASTY[:2], NASTY[1:3], ('</script>', '$\\alpha$')):
        demo = mixup_demo({name: Picture.create(np.zeros((20, 20, 3), np.uint8)) for name in pair}, 'en')
        page = demo.html(['en'])
        assert '<img src=x' not in page and page.count('</script>') == 2
    bars = plot_bars([.5]*len(NASTY), [(name, name) for name in NASTY], ' '.join(NASTY), ' '.join(NASTY))
    assert repr(bars) == ' '.join(NASTY)
    shown = as_html('', 'image/png', 'en', ' '.join(NASTY), 500)
    assert shown.count('<') == 1 and '&lt;img src=x onerror=alert(1)&gt;' in shown
