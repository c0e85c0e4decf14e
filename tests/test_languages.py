"""The two languages say the same: the same code, links, numbers and formulas in both, and neither speaks the other."""
import ast
import html
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from markdown_it import MarkdownIt

from sotalearn.languages import chinese_of, pieces, twins
from sotalearn.school.copy import in_language

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT/'docs'))
import contents  # noqa: E402: docs/ is no package
from catalogue import CATALOGUE, read_catalogue  # noqa: E402
GLOSSARY = (ROOT/'docs'/'text'/'glossary.md').read_text(encoding='utf-8')
NOTEBOOKS = sorted(o for o in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in o.parts)


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


def with_english_names(zh, en):
    "The Chinese text with the rows and columns that it calls by their Chinese names as the English one calls them."
    for name in sorted(set(re.findall('`([^`\n]+)`', en)), key=len):
        if f'`{name}`' not in zh: zh = zh.replace(f'“{chinese_of(name, "label")}”', f'`{name}`')
    return zh


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda o: o.stem)
def test_twins_hold_the_same_facts(path):
    cells = prose(path)
    for en, zh in zip(cells[::2], cells[1::2]):
        assert facts(en.source) == facts(with_english_names(zh.source, en.source)), f'{en.source}\n---\n{zh.source}'


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda o: o.stem)
def test_chinese_is_chinese_and_english_is_not(path):
    cells = prose(path)
    for en, zh in zip(cells[::2], cells[1::2]):
        assert not re.search(r'[\u4e00-\u9fff]', en.source), en.source
        assert re.search(r'[\u4e00-\u9fff]', zh.source), zh.source


def without_words(source):
    "The code of a cell: comments are gone, literals empty."
    tree = ast.parse(re.sub(r'^[%!].*$', 'pass', source, flags=re.M))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str): node.value = ''
        if isinstance(node, ast.JoinedStr): node.values = []
    return ast.dump(tree)


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda o: o.stem)
def test_one_language_has_the_same_code_as_the_other(path):
    nb = nbformat.read(path, as_version=4)
    english, chinese = ([o.source for o in in_language(nb, lang).cells if o.cell_type == 'code'] for lang in ('en', 'zh'))
    assert english == [re.sub('^#\\|.*\n?', '', source, flags=re.M).rstrip('\n') for source in english]
    assert [*map(without_words, english)] == [*map(without_words, chinese)]


CHAPTERS = [path for path in NOTEBOOKS if path.parent.name in ('nbs', 'questions')]
ENGLISH = re.compile(r"[A-Za-z][a-z'’]+(?:[ ,;:]+[A-Za-z'’]{2,}){2,}")        # three words or more
# Names and quotations, English that explains a term, what other programs say, and Python's way to show a value.
QUOTED = re.compile(r"Chan, Golub and LeVeque|\w+ et al|“[^”]*”|\*[A-Z][^*]+\*|（[A-Za-z -]+[，）]|https?://\S+|"
                    r"mat1 and mat2 shapes cannot be multiplied|name '\w+' is not defined|sotalearn data \S+|"
                    r"`[^`]*`|Wrong image height! Expected \d+ but got \d+|cannot identify image file|did you mean '|"
                    r"a comment that nobody has translated|必须是 [\w, -]+ 之一|"
                    r"\w+\((?:\w+=.*)+\)|[\[(](?:'[^']*'(?:, )?)+[\])]|[\[({]+'?[\w.]+'?[],:].*|\w+: (?:float|int) = ")


def said(nb):
    "What a notebook in one language says to a reader outside of code."
    for cell in nb.cells:
        if cell.cell_type == 'markdown':
            yield re.sub(r'```.*?```|`[^`]*`|\]\([^)]*\)|<[^>]+>|\$[^$]+\$', '|', cell.source, flags=re.S)
            continue
        yield from (re.sub('`[^`]*`', '|', text) for *_, kind, text in pieces(cell.source) if kind != 'sentence')
        for output in cell.outputs:
            data = output.get('data', {})
            shown = re.sub(r'<(script|style|pre|code)\b.*?</\1>', '|', data.get('text/html', ''), flags=re.S)
            yield from (html.unescape(text) for text in re.findall(r'(?:alt="|>)([^"<>]+)["<]', shown))
            yield from (output.get('text', '') + data.get('text/plain', '')).splitlines()


def english_in(nb):
    "Runs of English words in what a notebook says."
    return [found[0] for text in said(nb) for found in ENGLISH.finditer(QUOTED.sub('|', text))]


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda o: o.stem)
def test_the_chinese_edition_says_nothing_in_english(path):
    assert english_in(in_language(nbformat.read(path, as_version=4), 'zh')) == []


def test_english_is_found_wherever_it_stands():
    cells = [nbformat.v4.new_markdown_cell('这里 some English words remain'),
             nbformat.v4.new_code_cell('x = 1  # nobody has translated this'),
             nbformat.v4.new_code_cell('x', outputs=[nbformat.v4.new_output('stream', text='it is said aloud\n')]),
             nbformat.v4.new_code_cell('x', outputs=[nbformat.v4.new_output('display_data', data={
                 'text/html': '<img alt="a bar for each"><th>mean of all runs</th><code>code stays as it is</code>'})])]
    found = english_in(nbformat.v4.new_notebook(cells=cells))
    assert found == ['some English words remain', 'nobody has translated this', 'it is said aloud', 'bar for each',
                     'mean of all runs']


def words_of(nb):
    "(kind, English) of all in a chapter's code and tables that needs a twin: with two letters side by side."
    for cell in in_language(nb, 'en').cells:
        if cell.cell_type != 'code': continue
        yield from ((kind, text) for *_, kind, text in pieces(cell.source) if kind != 'sentence')
        printed = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)
                   and getattr(node.func, 'id', '') == 'print']
        literals = [literal for node in printed for literal in node.args
                    if isinstance(literal, (ast.Constant, ast.JoinedStr))]
        yield from (('sentence', ast.get_source_segment(cell.source, literal)) for literal in literals)


@pytest.mark.parametrize('path', CHAPTERS, ids=lambda o: o.stem)
def test_every_comment_and_printed_sentence_has_its_chinese(path):
    needed = dict.fromkeys(words_of(nbformat.read(path, as_version=4)))
    lacking = [(kind, text) for kind, text in needed if re.search('[A-Za-z]{2}', text) and text not in twins(kind)]
    assert lacking == [], 'give these their Chinese in sotalearn/locale/zh_CN/LC_MESSAGES/chapters.po'


def test_a_kernel_shows_tables_in_the_learners_language():
    code = ("from IPython.core.interactiveshell import InteractiveShell; shell = InteractiveShell.instance()\n"
            "import pandas as pd, sotalearn\n"
            "print(shell.display_formatter.format(pd.DataFrame({'accuracy': [.5]}))[0]['text/html'])")
    for language, heading in dict(en='<th>accuracy</th>', zh='<th title="accuracy">准确率</th>').items():
        environment = {**os.environ, 'SOTALEARN_LANGUAGE': language, 'PYTHONPATH': str(ROOT), 'PYTHONIOENCODING': 'utf-8'}
        ran = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, encoding='utf-8')
        assert heading in ran.stdout, ran.stderr


def test_a_missing_number_is_found():
    assert facts('from 67 % to 11 %') != facts('从 67 % 降到 12 %')
    assert facts('`blend(a, b, t)`') != facts('`blend(a, t)`')
    assert facts('see [here](a.ipynb)') != facts('见[这里](b.ipynb)')


def test_the_prose_calls_a_row_by_the_name_that_the_table_shows():
    assert with_english_names('看“基线”一行，`seeds` 一列', 'the row `baseline`, the column `seeds`') == \
        '看`baseline`一行，`seeds` 一列'


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda o: o.stem)
def test_bold_shows_as_bold(path):
    markdown = MarkdownIt('commonmark').enable('table')
    tokens = [token for cell in prose(path) for block in markdown.parse(cell.source) for token in block.children or []]
    assert [token.content for token in tokens if token.type == 'text' and '*' in token.content] == []

# ------------------------------------------------------------ README

def readme(name):
    "What must be equal in both, by kind: commands, code, links, headings and the numbers of each row of a table."
    text = re.sub(r'(-zh|\.en|\.zh)(?=\.(?:md|webp))', '', (ROOT/name).read_text(encoding='utf-8'))
    blocks = re.findall(r'```\w+\n(.*?)```', text, flags=re.S)
    commands = [line.split('  #')[0].strip() for block in blocks for line in block.split('\n')]
    prose = re.sub(r'```.*?```', '', text.replace('[English](README.md)', '[简体中文](README.md)'), flags=re.S)
    rows = [[re.findall(r'(?:[+−]|× )?\d+(?:[.,]\d+)*|`[^`]+`', cell) for cell in row.split('|')]
            for row in re.findall(r'^\|(.+)\|$', prose, flags=re.M)]
    return dict(facts(prose), commands=sorted(commands), columns=rows)


def test_the_readmes_say_the_same():
    english, chinese = readme('README.md'), readme('README.zh.md')
    for kind in english: assert english[kind] == chinese[kind], kind
    assert len(english['columns']) > 20 and 'make test' in english['commands']


def test_both_readmes_lead_to_the_other_and_their_pictures_are_there():
    for name, other in (('README.md', 'README.zh.md'), ('README.zh.md', 'README.md')):
        links = re.findall(r'\]\(([^)]+)\)', (ROOT/name).read_text(encoding='utf-8'))
        assert other in links
        for link in links: assert link.startswith('https://') or (ROOT/link).is_file(), link


# ------------------------------------------------------------ one word for one thing

def chinese():
    "All Chinese of the course by its place: prose, text in code, the site's pages. Code spans are left out."
    told = {}
    for path in NOTEBOOKS:
        for i, cell in enumerate(nbformat.read(path, as_version=4).cells):
            name = f'{path.relative_to(ROOT)} cell {i}'
            if cell.cell_type == 'code':
                told[name] = '\n'.join(re.findall(r"""'[^'\n]*[\u4e00-\u9fff][^'\n]*'|"[^"\n]*[\u4e00-\u9fff][^"\n]*\"""", cell.source))
            elif 'zh' in cell.metadata.get('tags', []): told[name] = cell.source
    for path in (ROOT/'README.zh.md', *(ROOT/'docs'/'text').glob('*.zh.md')): told[path.name] = path.read_text(encoding='utf-8')
    told['catalogue'] = '\n'.join(read_catalogue(CATALOGUE.read_text(encoding='utf-8')).values())
    told['api'] = '\n'.join(read_catalogue((CATALOGUE.parent/'api.po').read_text(encoding='utf-8')).values())
    told['glossary'] = contents.glossary(GLOSSARY, 'zh')
    return {name: re.sub(r'```.*?```|`[^`]*`', '', text, flags=re.S) for name, text in told.items()}


def variants(places):
    "{place: the words there that the glossary does not use}."
    refused = re.compile('|'.join(variant for term in contents.terms(GLOSSARY) for variant in term['not']))
    found = {name: refused.findall(text) for name, text in places.items()}
    return {name: words for name, words in found.items() if words}


def test_every_term_of_the_glossary_is_there_in_both_languages():
    terms = contents.terms(GLOSSARY)
    assert len(terms) > 40 and len({term['en'] for term in terms}) == len({term['zh'] for term in terms}) == len(terms)
    for term in terms:
        assert all(term[name].strip() for name in ('en', 'zh', 'd2l', 'told_en', 'told_zh')), term
        assert not re.search(r'[\u4e00-\u9fff]', term['told_en']) and re.search(r'[\u4e00-\u9fff]', term['told_zh']), term


def test_a_variant_is_found_and_a_term_is_not():
    assert variants({'a': '正确率是 3 个点，图在下标 2 处', 'b': '准确率高 3 个百分点，索引 2'}) == \
        {'a': ['正确率', '3 个点', '下标']}
    assert not variants({term['en']: term['zh'] for term in contents.terms(GLOSSARY)})


def test_the_course_has_one_word_for_one_thing():
    assert not variants(chinese())


# Words of every day, or whose English is theirs in Chinese, too.
EVERYDAY = {'批', '数据集', '像素', '概率', '比例', '目标', 'logit', 'softmax', 'Mixup', '子集、完整数据集', '实际耗时', '视图', '训练集', '分不出'}


def unexplained(nb):
    "The terms of the glossary whose first use in a chapter's Chinese prose comes without their English."
    told = '\n'.join(cell.source for cell in nb.cells if 'zh' in cell.metadata.get('tags', []))
    told = re.sub(r'```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]+\$|\]\([^)]*\)', '', told, flags=re.S)
    told = re.sub(r'^(?:# .*\n+>|#+ |\||下一章：).*', '', told, flags=re.M)        # headings, descriptions, tables
    pairs = [pair for term in contents.terms(GLOSSARY) if term['zh'] not in EVERYDAY
             for pair in zip(term['zh'].split('、'), term['en'].split(', '))]
    for chinese, english in pairs:
        first = re.search(rf'(?<!批){chinese}', told)
        if first and not re.search(re.sub('[ -]', '[ -]', english), told[:first.end() + 60], flags=re.I): yield chinese


@pytest.mark.parametrize('path', sorted((ROOT/'nbs').glob('0[1-8]*.ipynb')), ids=lambda o: o.stem)
def test_a_term_carries_its_english_at_first_use(path):
    assert [*unexplained(nbformat.read(path, as_version=4))] == []


def test_a_term_without_its_english_is_found():
    def found(text):
        cell = nbformat.v4.new_markdown_cell(text, metadata=dict(tags=['zh']))
        return [*unexplained(nbformat.v4.new_notebook(cells=[cell]))]
    assert found('# 基线\n\n> 基线。\n\n先看**基线**（baseline）。再看基线和独热目标。') == ['独热']
    assert found('| 基线 | 1 |') == []
