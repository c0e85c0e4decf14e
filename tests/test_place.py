"""`place` in a notebook and the paste box of the results page say the same of the same row."""
import csv, io, sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lab import CHROMIUM, chromium
from sotalearn.recipes import course_table, read_runs
from sotalearn.school.place import Place, groups_of_seeds, place
from sotalearn.settings import LANGUAGES

sys.path.append(str(Path(__file__).parent.parent/'docs'))
RUNS = read_runs(course_table())
ROW = next(row for row in RUNS.to_dict('records') if row['dataset'] == 'imagenette-160')


def text_of(row):
    "A row as its table has it, under the table's first line."
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    writer.writerows([row, ['' if value is None else value for value in row.values()]])
    return out.getvalue()


def as_a_spreadsheet_copies(row):
    "The same with tabs, and nothing around cells that hold commas."
    return '\n'.join('\t'.join(map(str, cells)) for cells in (row, ['' if value is None else value for value in row.values()]))


def as_pandas_copies(row):
    "As `to_clipboard()` does: with tabs, and a first column without a name."
    heads, cells = as_a_spreadsheet_copies(row).split('\n')
    return f'\t{heads}\n0\t{cells}\n'


def without(*names): return {name: value for name, value in ROW.items() if name not in names}


CHANGED = dict(
    inside={}, far_below=dict(accuracy=.3), far_above=dict(accuracy=.999), nothing_right=dict(accuracy=0), all_right=dict(accuracy=1),
    half_a_digit=dict(accuracy=.7625), other_pictures=dict(split='0123456789abcdef', n_train=500, n_val=100),
    other_precision=dict(bf16=True, accuracy=.5), statistics=dict(normalize=not ROW['normalize'], accuracy=.2),
    steps=dict(epochs=3, size=48, bs=32, accuracy=.4), stages=dict(stages='4x32'), plain_128=dict(size=128, epochs=5, stages=''),
    small_lr=dict(lr=.00001), lr_as_text=dict(lr='3e-3'), odd_lr=dict(lr=.1 + .2),
    full_width=dict(size='６４', accuracy='０.７６'), no_number=dict(epochs='a few', smoothing='low'),
    booleans_as_numbers=dict(normalize='1', bf16='0'), views_lose=dict(accuracy_tta=.1), views_win=dict(accuracy_tta=.99),
    views_unknown=dict(accuracy_tta=np.nan), empty_cells=dict(normalize='', stages=np.nan, mixup=None, n_val=''),
    commas_and_quotes=dict(arch='a "net", of `mine`'), long=dict(arch='x'*300), wrong_labels=dict(wrong_labels=.2, train_images=1000),
    toynette=dict(dataset='toynette'), other_dataset=dict(dataset='pets'), spaces=dict(dataset=' imagenette-160 '),
    percent=dict(accuracy=76.2), words=dict(accuracy='high'), no_accuracy=dict(accuracy=''), below_zero=dict(accuracy=-.1))
ROWS = {name: {**ROW, **changes} for name, changes in CHANGED.items()} | dict(
    few_columns=without('split', 'n_train', 'n_val', 'bf16', 'accuracy_tta'), lacks_accuracy=without('accuracy'),
    lacks_dataset=without('dataset'), only_needed=dict(dataset='imagenette-160', accuracy=.77))


@pytest.fixture(scope='module', autouse=True)
def one_reading_of_the_table():
    "The course's table is read once, not for each row."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('sotalearn.school.place.groups_of_seeds', cache(groups_of_seeds))
        yield


@pytest.fixture(scope='module')
def boxes():
    "The paste box alone, without the site around it."
    from results import paste_box
    html = paste_box().outputs[0].data['text/html']
    with chromium() as browser:
        page = browser.new_page()
        page.set_content(f'<!doctype html><meta charset="utf-8">{html}')
        yield {language: page.locator(f'.sotalearn-place[lang={language}]') for language in LANGUAGES}


def answer(box, text):
    "What the box says of a text, however it is shown, and the axis's words."
    box.evaluate('''(box, text) => {
        const form = box.querySelector('form');
        form.elements.row.value = text;
        form.requestSubmit();
    }''', text)
    return box.evaluate('box => box.querySelector(".guess-said p").textContent')


@pytest.mark.skipif(not CHROMIUM, reason='no Chromium on this machine: Debian has it as `chromium`')
@pytest.mark.parametrize('name', ROWS)
def test_the_box_says_what_the_notebook_says(boxes, name):
    row = ROWS[name]
    told = place(row)
    meant = told.text if callable(getattr(told, 'text', None)) else lambda: told.text
    for language, text in zip(LANGUAGES, meant()):
        for pasted in (text_of(row), as_a_spreadsheet_copies(row), as_pandas_copies(row), repr(row)):
            assert answer(boxes[language], pasted) == text.replace('`', ''), pasted
    drawn = boxes['en'].locator('svg').count()
    assert drawn == isinstance(told, Place)


def test_a_table_without_rows_is_told_in_a_sentence(tmp_path):
    (tmp_path/'mine.csv').write_text(course_table().read_text(encoding='utf-8').splitlines()[0] + '\n', encoding='utf-8')
    for nothing in (RUNS[:0], type(RUNS)(), {}, tmp_path/'mine.csv'):
        assert repr(place(nothing)).startswith('This row cannot be placed: it has no `dataset`')
