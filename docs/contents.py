"""The pages that no notebook holds alone: the home page, the pages of the reference, and the site's list of pages."""
import ast, html, json, re
from dataclasses import dataclass
from pathlib import Path

import nbformat

import reader
from sotalearn.figures import COLOURS

ROOT = Path(__file__).parent.parent
WORDS = dict(
    en=dict(chapters='Chapters', reference='Reference', results='Results', making='How this was made', tools='How the tools work',
            api='API reference', start='Begin with chapter {}', measured='See what was measured', chapter='Chapter', minutes='',
            taught='Taught in', written='Written in', source='its source cell', commands='Two commands',
            run='opens the course in JupyterLab', test='runs every test of it', get='fetches the course', live='Move the slider.',
            api_lead='Every public function, from its own docstring, with the chapter that teaches it.',
            api_note='', module='module', about='what it holds'),
    zh=dict(chapters='章节', reference='参考', results='实测结果', making='本课程是怎样做成的', tools='工具的原理',
            api='API 参考', start='从第 {} 章开始', measured='看实测结果', chapter='第', minutes='',
            taught='讲解见', written='写在', source='源代码单元格', commands='两条命令',
            run='在 JupyterLab 里打开课程', test='运行全部测试', get='下载课程', live='拖动滑块试试。',
            api_lead='全部公开函数：说明取自代码里的文档字符串，并附上讲解它的章节。',
            api_note='文档字符串用英文写成；每一项都链接到讲解它的中文章节。', module='模块', about='内容'))


# ------------------------------------------------------------ where a function is written

@dataclass(frozen=True)
class Place:
    "The cell that exports an object: a notebook below nbs/ without its ending, and the cell's id."
    notebook: str
    cell: str


def places(module_path):
    """Where each name of an exported module is written.

    Parameters
    ----------
    module_path : pathlib.Path
        A module with nbdev's `# %% ../nbs/X.ipynb #cell` lines.

    Returns
    -------
    dict of str to Place
    """
    text = module_path.read_text(encoding='utf-8')
    marks = [(text[:o.start()].count('\n') + 1, Place(o[1], o[2]))
             for o in re.finditer(r'^# %% \.\./nbs/(.+?)\.ipynb #(\w+)$', text, flags=re.M)]
    def place(line): return next((o for start, o in reversed(marks) if start < line), None)
    found = {}
    for node in ast.parse(text).body:
        names = [node.name] if hasattr(node, 'name') else [o.id for o in getattr(node, 'targets', []) if isinstance(o, ast.Name)]
        found |= {name: place(node.lineno) for name in names}
    return found


def modules():
    "The course's public modules as {name: notebook}, those of the chapters first and in reading order."
    found = {}
    for path in (ROOT/'sotalearn').glob('*.py'):
        written = re.search(r'File to edit: \.\./nbs/(.+?)\.ipynb', path.read_text(encoding='utf-8'))
        if written and not path.name.startswith('_'): found[path.stem] = written[1]
    return dict(sorted(found.items(), key=lambda o: ('/' in o[1], o[1])))


def public(module):
    "The names that a module exports, in the order in which it defines them."
    tree = ast.parse((ROOT/'sotalearn'/f'{module}.py').read_text(encoding='utf-8'))
    exported = next(ast.literal_eval(o.value) for o in tree.body if isinstance(o, ast.Assign) and o.targets[0].id == '__all__')
    defined = [o.name for o in tree.body if isinstance(o, (ast.FunctionDef, ast.ClassDef))]
    return [o for o in defined if o in exported]


# ------------------------------------------------------------ home

def _questions(nb):
    "{notebook: (question, time)} from the table of chapters on the course's home page."
    rows = re.findall(r'^\| \[[^\]]*\]\((\w+)\.ipynb\) \| (.+?) \| (.+?) \|$', '\n'.join(o.source for o in nb.cells), flags=re.M)
    return {name: (question, time) for name, question, time in rows}


def _colour(name):
    technique = dict(progressive='resizing', test='tta', label='smoothing').get(name.split('_')[1], name.split('_')[1])
    return COLOURS.get(technique, COLOURS['baseline'])


def chapter_cards(chapters, questions):
    "The map of the chapters as HTML: a card each, with its number, title and question."
    cards = []
    for name, title, description in chapters:
        question, time = questions.get(name, (description, ''))
        number, heading = name[:2], re.sub(r'^\d+ · ', '', title)
        cards.append(f'<li style="--technique: {_colour(name)}"><a href="{name}.html"><span class="number">{number}</span>'
                     f'<span class="title">{html.escape(re.split("[:：]", heading)[0])}</span>'
                     f'<span class="question">{html.escape(question)}</span><span class="time">{html.escape(time)}</span></a></li>')
    return f'<ol class="chapter-map">{"".join(cards)}</ol>'


def commands(language, repository=''):
    "The two commands that open the course, after the one that fetches it where its address is known."
    words, lang = WORDS[language], " ARGS='--lang zh'" if language == 'zh' else ''
    lines = [(f'make lab{lang}', words['run']), ('make test', words['test'])]
    if repository: lines.insert(0, (f'git clone {repository} sotalearn && cd sotalearn', words['get']))
    return '\n'.join(f'# {told}\n{line}' for line, told in lines)


def home(nb, language, chapters, demo, repository=''):
    """The home page: what the course is, a live figure, the two commands and the map of chapters, then the rest of index.ipynb.

    Parameters
    ----------
    nb : nbformat.NotebookNode
        The course's own home page, nbs/index.ipynb, in this language; it is changed.
    chapters : list of (name, title, description)
    demo : str
        HTML of a live figure.

    Returns
    -------
    nbformat.NotebookNode
    """
    words = WORDS[language]
    first, *rest = nb.cells
    title, *lead = first.source.split('\n\n')
    start = f'<a class="start" href="{chapters[0][0]}.html">{words["start"].format(int(chapters[0][0][:2]))}</a>' if chapters else ''
    hero = '\n'.join([
        title, '', ':::::{div} hero', '::::{div} hero-text', *(f'{o}\n' for o in lead), '```sh', commands(language, repository), '```', '',
        f'<p class="ways">{start} <a href="results.html">{words["measured"]}</a></p>', '', '::::', '::::{div} hero-demo',
        '```{raw} html', demo, '```', '::::', ':::::', '', f'## {words["chapters"]}', '', chapter_cards(chapters, _questions(nb))])
    kept = [nbformat.v4.new_markdown_cell(hero)]
    for cell in rest:
        if cell.cell_type == 'markdown':      # the table of chapters: the cards say the same
            parts = re.split(r'(?=^<span class="anchor")', cell.source, flags=re.M)
            cell.source = ''.join(o for o in parts if not re.search(r'^\| \[.*\.ipynb\)', o, flags=re.M))
            if not cell.source.strip(): continue
        kept.append(cell)
    trees = [f'```{{toctree}}\n:hidden:\n:caption: {words["chapters"]}\n\n' + '\n'.join(o for o, *_ in chapters) + '\n```',
             f'```{{toctree}}\n:hidden:\n:caption: {words["reference"]}\n\nresults\napi/index\ntools/index\nmaking\n```']
    nb.cells = [*kept, nbformat.v4.new_markdown_cell('\n\n'.join(trees))]
    nb.metadata['html_theme.sidebar_secondary.remove'] = True       # the room goes to the live figure
    return nb


def first_demo(pages):
    "The HTML of the first live figure in these pages."
    outputs = (o.get('data', {}).get('text/html', '') for nb in pages for cell in nb.cells for o in cell.get('outputs', []))
    return next((o for o in outputs if 'class="sotalearn-demo"' in o), '')


# ------------------------------------------------------------ reference

def api_pages(language, pages):
    """The reference as {name: reStructuredText}: a page a module, and one that lists them.

    Parameters
    ----------
    pages : dict of str to str
        Titles of the notebooks that have a page, by name below nbs/.
    """
    words, made = WORDS[language], {}
    for module, notebook in modules().items():
        names = public(module)
        where = f'{words["taught" if "/" not in notebook else "written"]} :doc:`/{notebook}`.' if notebook in pages else ''
        table = ['.. autosummary::', '   :nosignatures:', '', *(f'   {o}' for o in names), ''] if names else []
        made[module] = '\n'.join([
            module, '='*len(module), '', *([words['api_note'], ''] if words['api_note'] else []), where, '', f'.. currentmodule:: sotalearn.{module}', '', *table,
            f'.. automodule:: sotalearn.{module}', '   :members:', '   :member-order: bysource', ''])
    docs = {module: ast.get_docstring(ast.parse((ROOT/'sotalearn'/f'{module}.py').read_text(encoding='utf-8'))) for module in made}
    rows = [f'   * - :doc:`{module}`\n     - {(told or module).splitlines()[0]}' for module, told in docs.items()]
    wide = 2*len(words['api'])
    index = [words['api'], '='*wide, '', words['api_lead'], words['api_note'], '', '.. list-table::', '   :header-rows: 1', '   :widths: 20 80', '',
             f'   * - {words["module"]}\n     - {words["about"]}', *rows, '', '.. toctree::', '   :hidden:', '', *(f'   {o}' for o in made)]
    return {**made, 'index': '\n'.join(index) + '\n'}


def tools_index(language, tools):
    "The page that lists the notebooks of the tools."
    rows = [f'- [{title}]({name.removeprefix("tools/")}.ipynb): {told}' for name, (title, told) in tools.items()]
    tree = '```{toctree}\n:hidden:\n\n' + '\n'.join(o.removeprefix('tools/') for o in tools) + '\n```'
    lead = dict(en='The course is made with tools of its own, and these are their notebooks: code, tests and why.',
                zh='本课程用到一些自己的工具。下面是它们的笔记本：代码、测试和缘由。')[language]
    return f'# {WORDS[language]["tools"]}\n\n{lead}\n\n' + '\n'.join(rows) + f'\n\n{tree}\n'
