"""The confusion matrix that one picks a cell of: the right pictures and numbers, by pointer, touch and keyboard, small, never a photograph."""
import json, re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from lab import CHROMIUM, chromium
from sotalearn.datasets import dataset_folder
from sotalearn.demos.base import Demo
from sotalearn.demos.confusion import confused, confusion_demo, confusion_figure
from sotalearn.figures import StillFigure

VOCAB = ['church', 'dog', 'gas_pump']
COLOURS = [(250, 20, 20), (20, 250, 20), (20, 20, 250), (250, 250, 20), (250, 20, 250), (20, 250, 250), (120, 120, 120)]
TARGETS = torch.tensor([0, 0, 0, 1, 1, 2, 2])
PROBS = torch.tensor([[.2, .7, .1], [.1, .9, 0], [.8, .1, .1], [.2, .6, .2], [.3, .6, .1], [.1, .3, .6], [.5, .1, .4]])
CELLS = ['church/church', 'church/dog', 'dog/dog', 'gas_pump/church', 'gas_pump/gas_pump']


def loaders(path='mine', n=7):
    "What the demo needs of DataLoaders: a picture of one colour for each of the first targets."
    pictures = [(Image.new('RGB', (90, 60), colour), None) for colour in COLOURS[:n]]
    return SimpleNamespace(vocab=VOCAB, valid_ds=pictures, path=Path(path))


@pytest.fixture
def matrix():
    demo = confusion_demo(PROBS, TARGETS, loaders(), language='en')
    yield demo
    demo.close()


def told(page): return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1])


def colour_at(picture, left):
    "The colour in the middle of the picture that begins `left` inches from the figure's left edge."
    return picture.getpixel((round(192*(.08 + left + .35)), 84))


def test_a_cell_shows_its_pictures_the_surest_mistake_first(matrix):
    assert matrix.cell == 'church/dog' and list(matrix.controls[0].options) == CELLS       # the most common mistake
    assert confused(PROBS, TARGETS, 0, 1).tolist() == [1, 0]
    for left, expected in ((0, COLOURS[1]), (.85, COLOURS[0]), (1.7, (255, 255, 255))):
        assert np.allclose(colour_at(matrix.picture(), left), expected, atol=3)
    assert np.allclose(colour_at(matrix.picture(cell='gas_pump/church'), 0), COLOURS[6], atol=3)
    assert matrix.alt() == 'church, taken for dog: 2 of 3. The 2 of which the model is surest: dog 0.90, 0.70; church 0.10, 0.20.'
    assert matrix.alt(cell='dog/dog') == 'dog, recognized: 2 of 2. The 2 of which the model is surest: dog 0.60, 0.60.'
    assert '教堂，被认成狗：3 张里有 2 张' in confusion_demo(PROBS, TARGETS, loaders(), language='zh').alt()


def test_every_cell_that_holds_a_picture_plays_without_a_kernel_and_the_matrix_is_there_without_scripts(matrix):
    page = matrix.html(['en', 'zh'])
    assert len(page.encode()) < 1_500_000
    for line, language in zip(page.split('\n'), ('en', 'zh')):
        data = told(line)
        assert [option['value'] for option in data['spec']['controls'][0]['options']] == CELLS
        assert len(data['pictures']) == len(CELLS) and all(one['alt'] and one['data'] for one in data['pictures'].values())
        cover = confusion_figure(PROBS, TARGETS, VOCAB, language)
        assert f'alt="{cover.alt[language]}"' in line.split('<script')[0] and f'width="{round(96*cover.size[0])}"' in line
    shown, words = matrix._repr_mimebundle_()
    kind = next(kind for kind in shown if kind.startswith('image/'))
    assert words[kind]['alt'].startswith('The hardest class is church, 33 % right.')


def test_no_photograph_of_imagenette_is_stored_and_the_kernel_shows_it_all_the_same():
    demo = confusion_demo(PROBS, TARGETS, loaders(dataset_folder('imagenette-160')), language='en')
    grey = colour_at(demo._drawing(demo.values, 2, stored=True), 0)
    assert max(grey) - min(grey) < 3 and np.allclose(colour_at(demo.picture(), 0), COLOURS[1], atol=3)
    assert told(demo.html())['spec']['stand_in'] is True
    demo.close()


@pytest.mark.parametrize('probs, targets, said', [
    (PROBS[:3], TARGETS, 'probs must have shape (7, 3), got (3, 3)'), (PROBS[:, :2], TARGETS, 'probs must have shape (7, 3), got (7, 2)'),
    (PROBS[:3], TARGETS[:3], 'targets must be of the 7 validation pictures, got 3'), (PROBS, TARGETS + 1, 'targets must be from 0 to 2, got 3'),
    (PROBS, TARGETS.float(), 'targets must be whole numbers'), (PROBS, TARGETS[:0], 'targets must have shape (n,) with n of 1 or more')])
def test_what_does_not_belong_together_is_refused_in_a_sentence(probs, targets, said):
    with pytest.raises(ValueError, match=re.escape(said)): confusion_demo(probs, targets, loaders())


def test_a_cell_that_is_not_there_is_refused_and_the_old_one_stays(matrix):
    for wrong in ('dog/church', 'dog', '', None, ['dog/dog'], 7):
        matrix.cell = wrong
        assert matrix.cell == 'church/dog' and matrix.note.startswith('cell must be a row and a column that have something in common')
    with pytest.raises(ValueError, match="such as 'church/church', got 'dog/church'"): confusion_demo(PROBS, TARGETS, loaders(), cell='dog/church')


def test_a_model_without_mistakes_and_one_of_very_many_classes():
    right = confusion_demo(torch.eye(3)[TARGETS], TARGETS, loaders(), language='en')
    assert isinstance(right, Demo) and right.alt().startswith('church, recognized: 3 of 3')
    told = repr(confusion_figure(torch.eye(3)[TARGETS], TARGETS, VOCAB, language='en'))
    assert 'The hardest class is church, 100 % right. No picture is taken for another class.' in told
    many = SimpleNamespace(vocab=list(map(str, range(30))), valid_ds=range(30), path=Path('mine'))
    assert isinstance(confusion_demo(torch.eye(30), torch.arange(30), many), StillFigure)


def test_a_class_without_pictures_is_not_the_hardest():
    told = repr(confusion_figure(PROBS[:5], TARGETS[:5], VOCAB, language='en'))
    assert 'The hardest class is church, 33 % right. The most common mistake: church, of which 67 % are taken for dog.' in told


def test_classes_may_be_of_any_whole_kind_and_must_fit():
    classes = torch.arange(20)
    told = repr(confusion_figure(torch.eye(20), classes.to(torch.uint8), [f'c{i}' for i in range(20)], language='en'))
    assert told == repr(confusion_figure(torch.eye(20), classes.tolist(), [f'c{i}' for i in range(20)], language='en'))
    assert '100 % right. No picture' in told and confused(PROBS, TARGETS.tolist(), 0, 1).tolist() == [1, 0]
    with pytest.raises(ValueError, match=r'probs must have shape \(7, 2\), got \(7, 3\)'): confusion_figure(PROBS, TARGETS % 2, VOCAB[:2])


@pytest.mark.skipif(not CHROMIUM, reason='no Chromium on this machine: Debian has it as `chromium`')
@pytest.mark.parametrize('language, name', [('en', 'church, taken for dog: 2 of 3, 67 %'), ('zh', '教堂，被认成狗：3 张里有 2 张, 67 %')])
def test_a_cell_is_picked_by_keyboard_pointer_and_touch(tmp_path, language, name):
    file = tmp_path/'matrix.html'
    demo = confusion_demo(PROBS, TARGETS, loaders(), language=language)
    file.write_text(f'<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">{demo.html()}', encoding='utf-8')
    with chromium() as browser:
        page = browser.new_context(offline=True, has_touch=True, viewport=dict(width=390, height=800)).new_page()
        page.goto(file.as_uri())
        page.locator('.demo-picture[data-shown="1"]').wait_for()
        def shows(number, cell):
            page.locator(f'.demo-picture[data-shown="{number}"]').wait_for()
            assert page.locator('.demo-picture').get_attribute('alt') == demo.alt(cell=cell)
            assert page.locator('input:checked').get_attribute('value') == cell
        page.keyboard.press('Tab')
        assert page.evaluate('document.activeElement.ariaLabel') == name
        for key, number, cell in (('ArrowRight', 2, 'dog/dog'), ('ArrowLeft', 1, 'church/dog'), ('ArrowUp', 2, 'dog/dog'),
                                  ('ArrowDown', 1, 'church/dog'), ('ArrowLeft', 0, 'church/church'), ('ArrowDown', 3, 'gas_pump/church')):
            page.keyboard.press(key)
            shows(number, cell)
        assert page.evaluate('document.activeElement.value') == 'gas_pump/church'
        page.locator('.demo-cell', has=page.locator('[value="dog/dog"]')).tap()
        shows(2, 'dog/dog')
        page.locator('.demo-cell', has=page.locator('[value="church/dog"]')).click()
        shows(1, 'church/dog')
        sizes = page.locator('.demo-cell').evaluate_all('all => all.map(o => o.getBoundingClientRect()).map(o => Math.min(o.width, o.height))')
        assert len(sizes) == len(CELLS) and min(sizes) >= 24            # as large as a finger needs
        assert page.evaluate('document.documentElement.scrollWidth') <= 390
