"""Every figure of the prose is held by code, and the page of results tells its rows apart."""
import importlib
import re
from pathlib import Path

import nbformat
import pytest

from sotalearn.recipes import course_table
from sotalearn.school.copy import in_language

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT/'nbs'
PROSE = [*sorted(NOTEBOOKS.glob('[0-9]*.ipynb')), NOTEBOOKS/'index.ipynb', NOTEBOOKS/'questions'/'questionnaire.ipynb']
FIGURE = '(a figure)'
# What is no run of ours: the level of every interval, what the notes got, and Imagenette's leaderboard.
GIVEN = {95., 82.4, 86.3, 3.9, 87.4, 2312., 2340., 2678., 87.43, 93.55}
NUMBER = r'(?<![\w.,])[+−-]?\d+(?:,\d{3})*(?:\.\d+)?'


def figures(text):
    "The numbers in percent or points of an English text, with those of the bracket behind."
    text = re.sub(r'\$\$.+?\$\$|\$[^$\n]+\$|```.*?```|`[^`]+`|\]\([^)]*\)', ' ', text, flags=re.S)
    several = rf'(?:{NUMBER}(?:\s*(?:to|and|or|,|against|from)\s*)?)+'
    marked = re.finditer(rf'{several}\s*(?:%|points?\b)(?:\]?\s*\((?!chapter)[^)]*\))?', text)
    numbers = [number for found in marked for number in re.findall(NUMBER, found[0])]
    return [float(number.replace('−', '-').replace(',', '')) for number in numbers]


def not_held(cells):
    "The figures of the English prose that stand in no cell that checks, as percent or as a share."
    code = [cell.source for cell in cells if cell.cell_type == 'code']
    checks = '\n'.join(source for source in code if re.search(r'\bassert\b|\btest_\w+\(', source))
    known = {float(number) for number in re.findall(r'(?<![\w.])\d*\.?\d+(?:e-?\d+)?', checks)}
    prose = [cell.source for cell in cells if cell.cell_type == 'markdown' and 'en' in cell.metadata.get('tags', [])]
    def is_held(figure): return any(abs(abs(figure)*scale - number) < 1e-9 for scale in (1, .01) for number in known)
    return [figure for text in prose for figure in figures(text)
            if figure not in GIVEN and not is_held(figure)]


@pytest.mark.parametrize('path', PROSE, ids=lambda path: path.stem)
def test_every_figure_of_a_chapter_stands_in_its_checks(path):
    assert not_held(nbformat.read(path, as_version=4).cells) == []


def test_a_figure_that_nothing_holds_is_found():
    prose = nbformat.v4.new_markdown_cell('Mixup is worse by [1.7 points (1.1 to 2.4)](results.html#a).',
                                          metadata=dict(tags=['en']))
    held, other = (nbformat.v4.new_code_cell(f'#| hide\ntest_close(gap, {gap})')
                   for gap in ([1.7, 1.1, 2.4], [1.7, 1.1]))
    assert not_held([prose, held]) == [] and not_held([prose, other]) == [2.4]


@pytest.fixture(scope='module')
def page():
    "The page of results: its English text."
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT/'docs'))
        nb = in_language(importlib.import_module('results').notebook(course_table()), 'en')
    return '\n\n'.join(cell.source if cell.cell_type == 'markdown' else FIGURE for cell in nb.cells)


def test_what_pays_is_a_figure_and_so_is_each_table_but_the_earlier_ones(page):
    assert page.index('## What pays') < page.index(FIGURE) < page.index('## Beside the notes')
    earlier = page.index('## Earlier runs')
    tables = sum('| <span' in part for part in page[:earlier].split(':::{div} results-table'))
    assert page[:earlier].count(FIGURE) == 2 + tables and FIGURE not in page[earlier:]      # and the box to paste a row into


def rows_of(page):
    "{heading: the rows of its table}, each row its cells."
    parts = re.split(r'^#{2,3} ', page, flags=re.M)[1:]
    return {part.split('\n')[0]: [line.split(' | ') for line in part.split('\n') if line.startswith('| <span')]
            for part in parts}


def test_no_two_rows_of_results_have_one_name(page):
    anchors = re.findall(r'<span class="anchor" id="([^"]+)"', page)
    of_rows = re.findall(r'^\| <span class="anchor"', page, flags=re.M)
    names = [(heading.split(':')[0], re.sub('<.*>', '', row[0]))
             for heading, rows in rows_of(page).items() for row in rows]
    assert len(anchors) == len(set(anchors)) and len(of_rows) == len(set(names)) == len(names) > 30


def test_rows_of_one_table_share_size_and_training_set_and_tell_their_cost(page):
    for heading, rows in rows_of(page).items():
        shared = {tuple(re.findall(r'(?<=>)\d+ px|[\d,]+ training images|xresnet\d+|earlier runs', row[0])) for row in rows}
        assert len(shared) <= 1, heading
        costs = [row[2] for row in rows]
        assert all(re.fullmatch(r'\d+\.\d\d( \(\d+\.\d\d\))?', cost) for cost in costs), heading
        if 'xresnet50' not in heading: assert all('(' in cost for cost in costs), heading


def test_earlier_runs_stand_apart_and_say_so(page):
    official, earlier = page.index('## Imagenette-160, the official split'), page.index('## Earlier runs')
    assert official < earlier and 'No accuracy in the course rests on them' in page[earlier:]
    assert 'id="earlier-' not in page[:earlier] and 'bfloat16' not in page[official:earlier]


def test_figures_lead_to_their_rows(page):
    anchors = set(re.findall(r'id="([^"]+)"', page))
    sources = [cell.source for path in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in path.parts
               for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == 'markdown']
    links = [link for source in sources for link in re.findall(r'\]\(results\.html#([^)]+)\)', source)]
    assert len(links) > 20 and set(links) <= anchors


@pytest.mark.parametrize('path', sorted((ROOT/'nbs').glob('0[1-8]*.ipynb')), ids=lambda path: path.stem[:2])
def test_whoever_reads_an_interval_finds_its_rows(path):
    interval = re.compile(r'(from |\()[+−]?\d+\.\d{1,3} to [+−]?\d+\.\d')
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if 'en' in cell.metadata.get('tags', [])]
    assert [cell.id for cell in cells if interval.search(cell.source) and 'results.html#' not in cell.source] == []
