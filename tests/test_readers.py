"""A stored notebook where only still pictures are allowed: nbconvert's Markdown and sanitized HTML, and all of them together."""
import re
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter, MarkdownExporter

from sotalearn.demos.controls import Slider
from sotalearn.demos.base import demo
from sotalearn.figures import StillFigure
from sotalearn.stored import STILLS
from sotalearn.school.copy import in_language

NOTEBOOKS = sorted(o for o in (Path(__file__).parent.parent/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in o.parts)
MOST_BYTES = 36_400_000        # of all notebooks: a fifth more than before figures were stored so that every reader shows them
ALTS = dict(en=('A line that rises.', 'A bar of 2.'), zh=('一条上升的线。', '一根高 2 的柱子。'))


def line(fig, say): fig.add_subplot().plot([0, 1])


@demo(Slider('height', ('height', '高'), 0, 4, 1, start=2), mosaic='s', widths=(2,), heights=(2,))
def bar(page, height):
    page.boxes('s', 0, 0, .5, [height/4], 'k')
    page.alt(*(alt.replace('2', str(height)) for alt in ('A bar of 2.', '一根高 2 的柱子。')))


@pytest.fixture
def stored(monkeypatch):
    "A notebook with a still and a live figure as docs/outputs.py stores them."
    monkeypatch.setenv('DEMO_LANGUAGES', 'en,zh')
    shown = [thing._repr_mimebundle_() for thing in (StillFigure(line, *(ALTS[each][0] for each in ALTS)), bar('en'))]
    outputs = [nbformat.v4.new_output('display_data', data=data, metadata=told) for data, told in shown]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell('show()', outputs=[output]) for output in outputs])


def test_markdown_has_each_figure_once_as_a_file(stored):
    text, resources = MarkdownExporter().from_notebook_node(stored)
    assert len(re.findall(r'!\[(?:png|jpeg)\]\(output_\d_0\.(?:png|jpe?g)\)', text)) == len(resources['outputs']) == 2
    assert not re.search('base64|<script|<img', text)


def test_sanitized_html_has_each_figure_once_with_its_words(stored):
    exporter = HTMLExporter(sanitize_html=True, exclude_input=True, template_name='classic')     # lab's leaves out all alt texts
    page = exporter.from_notebook_node(stored)[0].split('<body')[1]
    assert re.findall(r'<img[^>]*\balt="([^"]*)"', page) == list(ALTS['en'])
    assert page.count('src="data:image/') == 2 and '&lt;' not in page and '一' not in page


@pytest.mark.parametrize('language', ALTS)
def test_a_copy_has_one_picture_a_figure_in_its_language(stored, language):
    copy = in_language(stored, language)
    for cell, alt in zip(copy.cells, ALTS[language]):
        data, told = cell.outputs[0].data, cell.outputs[0].metadata
        kind, = set(STILLS) & set(data)
        assert told[kind]['alt'] == alt and f'alt="{alt}"' in data['text/html']
        assert data['text/html'].count('<img') == 1 and 'languages' not in told
    text, resources = MarkdownExporter(display_data_priority=['image/png', 'image/jpeg']).from_notebook_node(copy)
    assert len(resources['outputs']) == 2


def test_all_notebooks_together_stay_small():
    assert sum(path.stat().st_size for path in NOTEBOOKS) <= MOST_BYTES
