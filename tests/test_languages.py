"""The two languages say the same: the same code, links, numbers and formulas in both."""
import re
from pathlib import Path

import nbformat
import pytest

from sotalearn.school.copy import in_language

NOTEBOOKS = sorted(o for o in (Path(__file__).parent.parent/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in o.parts)


def prose(path):
    "The markdown cells of a notebook."
    return [o for o in nbformat.read(path, as_version=4).cells if o.cell_type == 'markdown']


def facts(text):
    "What must not differ between the languages, by kind."
    formulas = re.findall(r'\$\$.+?\$\$|\$[^$\n]+\$', text, flags=re.S)
    rest = re.sub(r'\$\$.+?\$\$|\$[^$\n]+\$', ' ', text, flags=re.S)
    code = re.findall(r'```.*?```|`[^`]+`', rest, flags=re.S)
    rest = re.sub(r'```.*?```|`[^`]+`', ' ', rest, flags=re.S)
    links = re.findall(r'\]\(([^)]+)\)', rest)
    rest = re.sub(r'\]\([^)]+\)', ' ', rest)
    rest = re.sub(r'^\s*\d+\. ', ' ', rest, flags=re.M)          # the numbers of a list
    numbers = re.findall(r'(?<![A-Za-z\d])\d+(?:,\d{3})*(?:\.\d+)?', rest)
    return dict(code=sorted(code), links=sorted(links), formulas=sorted(formulas), numbers=sorted(numbers),
                headings=re.findall(r'^(#+) ', text, flags=re.M), rows=len(re.findall(r'^\|', text, flags=re.M)))


def test_there_are_notebooks():
    names = {o.name for o in NOTEBOOKS}
    assert {'index.ipynb', '01_imagenette.ipynb', '02_baseline.ipynb', '03_normalization.ipynb'} <= names


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda o: o.stem)
def test_twins_hold_the_same_facts(path):
    cells = prose(path)
    for en, zh in zip(cells[::2], cells[1::2]):
        assert facts(en.source) == facts(zh.source), f'{en.source}\n---\n{zh.source}'


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda o: o.stem)
def test_chinese_is_chinese_and_english_is_not(path):
    cells = prose(path)
    for en, zh in zip(cells[::2], cells[1::2]):
        assert not re.search(r'[\u4e00-\u9fff]', en.source), en.source
        assert re.search(r'[\u4e00-\u9fff]', zh.source), zh.source


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda o: o.stem)
def test_one_language_has_the_same_code_as_the_other(path):
    nb = nbformat.read(path, as_version=4)
    code = [[o.source for o in in_language(nb, lang).cells if o.cell_type == 'code'] for lang in ('en', 'zh')]
    assert code[0] == code[1]


def test_a_missing_number_is_found():
    assert facts('from 67 % to 11 %') != facts('从 67 % 降到 12 %')
    assert facts('`blend(a, b, t)`') != facts('`blend(a, t)`')
    assert facts('see [here](a.ipynb)') != facts('见[这里](b.ipynb)')
