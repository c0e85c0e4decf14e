"""A chapter takes as long as the home page says: 200 words a minute, four seconds a line of code, and what is done."""
import ast, re

import nbformat
import pytest

from sotalearn.school.copy import FOLDED, chapters, in_language

READ = [path for path in chapters() if path.name[:2] in '01 02 03 04 05 06 07 08'.split()]
WAIT = {'02': 2, '03': 1.5, '04': 2, '05': 2, '06': 1.5, '07': 3, '08': 2}      # minutes, the middle of what they say of their trainings


def _words(text):
    text = re.sub(r'<!--.*?-->|```.*?```|\]\([^)]*\)|</?\w+>', ' ', text, flags=re.S)
    return len(re.findall(r"[A-Za-z0-9][\w'’.%-]*", text))


def _of_cell(cell):
    "Minutes for a cell: words, or the lines of code in sight, a live figure, an exercise, a guess."
    if cell.cell_type == 'markdown': return _words(cell.source)/200
    if 'guess' in cell.metadata: return .5
    if cell.metadata.get('jupyter', {}).get('source_hidden'): return 0
    lines = [line for line in cell.source.splitlines() if line.strip()]
    asks = re.search(r"^exercise\('\w+'\)$", cell.source, re.M)
    return len(lines)*4/60 + 1.5*('_demo(' in cell.source) + 2*bool(asks)


def parts(path):
    "A chapter's cells in English that everybody reads, and those that are optional."
    to_all, further, is_further = [], [], False
    for cell in in_language(nbformat.read(path, as_version=4), 'en').cells:
        if cell.cell_type == 'markdown' and cell.source.startswith('## '): is_further = FOLDED in cell.metadata
        (further if is_further else to_all).append(cell)
    return to_all, further


def stated():
    "{chapter's number: minutes} in each language, as the home page says."
    source = '\n'.join(cell.source for cell in nbformat.read(chapters()[0], as_version=4).cells)
    return [dict(re.findall(rf'^\| \[(\d\d) .*\| (\d+) {unit} \|$', source, re.M)) for unit in ('min', '分钟')]


def test_both_languages_say_the_same(): assert len(stated()[0]) == 9 and stated()[0] == stated()[1]


@pytest.mark.parametrize('path', READ, ids=lambda path: path.name[:2])
def test_a_chapter_takes_as_long_as_it_says(path):
    number, (to_all, further) = path.name[:2], parts(path)
    minutes = sum(map(_of_cell, to_all)) + WAIT.get(number, 0)
    assert abs(minutes - int(stated()[0][number])) <= 2.5, minutes
    if number in ('06', '08'): assert minutes <= 40 and sum(map(_of_cell, further)) > 5


def _made(node):
    "The names that a node of a tree makes."
    if isinstance(node, ast.Name): return {node.id} if isinstance(node.ctx, ast.Store) else set()
    if isinstance(node, ast.arg): return {node.arg}
    return {node.name} if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else set()


@pytest.mark.parametrize('path', READ, ids=lambda path: path.name[:2])
def test_what_everybody_reads_needs_nothing_optional(path):
    "A name that only an optional part makes is used in no other part."
    nodes = [[node for cell in cells if cell.cell_type == 'code' for node in ast.walk(ast.parse(cell.source))] for cells in parts(path)]
    to_all, further = (set().union(*map(_made, found)) for found in nodes)
    used = {node.id for node in nodes[0] if isinstance(node, ast.Name)}
    assert used & (further - to_all) == set()
