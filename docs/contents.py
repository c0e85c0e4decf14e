"""The pages that no notebook holds alone: the home page, the reference, and the list of the notebooks behind."""
import html, re

import nbformat

import origins
from docstrings import as_rst
from sotalearn.colours import COLOURS

WORDS = dict(
    en=dict(chapters='Chapters', reference='Reference', results='Results', making='How this was made',
            glossary='Glossary', tools='How the course works', api='API reference', start='Begin with chapter {}',
            measured='See what was measured', taught='Taught in', written='Written in', module='module',
            about='what it holds', run='opens the course in JupyterLab', test='runs every test of it',
            get='fetches the course', lead_tools='The course is made with tools of its own. '
            'These are their notebooks: code, tests and why.',
            api_lead='Every public function, from its own docstring, with the chapter that teaches it.',
            groups={'': 'Chapters', 'tools': 'Tools', 'demos': 'Demos', 'questions': 'Questions and exercises'}),
    zh=dict(chapters='章节', reference='参考', results='实测结果', making='本课程是怎样做成的', glossary='术语表',
            tools='课程的幕后', api='API 参考', start='从第 {} 章开始',
            measured='看实测结果', taught='讲解见', written='写在', module='模块',
            about='内容', run='在 JupyterLab 里打开课程', test='运行全部测试',
            get='下载课程', lead_tools='本课程用到一些自己的工具。下面是它们的笔记本：代码、测试和缘由。',
            api_lead='全部公开函数：说明取自代码里的文档字符串，并附上讲解它的章节。',
            groups={'': '章节', 'tools': '工具', 'demos': '演示', 'questions': '问题与练习'}))
_CHAPTER_COLOURS = dict(progressive='resizing', test='tta', label='smoothing')      # by the first word of the name


# ------------------------------------------------------------ home

def _questions(nb):
    "{notebook: (question, time)} from the table of chapters on the course's home page."
    source = '\n'.join(cell.source for cell in nb.cells)
    rows = re.findall(r'^\| \[[^\]]*\]\((\w+)\.ipynb\) \| (.+?) \| (.+?) \|$', source, flags=re.M)
    return {name: (question, time) for name, question, time in rows}


def _colour(name):
    "The colour of a chapter's technique."
    word = name.split('_')[1]
    return COLOURS.get(_CHAPTER_COLOURS.get(word, word), COLOURS['baseline'])


def _card(name, title, question, time):
    heading = re.split('[:：]', re.sub(r'^\d+ · ', '', title))[0]
    parts = dict(number=name[:2], title=html.escape(heading), question=html.escape(question), time=html.escape(time))
    spans = ''.join(f'<span class="{part}">{text}</span>' for part, text in parts.items())
    return f'<li style="--technique: {_colour(name)}"><a href="{name}.html">{spans}</a></li>'


def chapter_cards(chapters:list, # of (name, title, description)
                  questions:dict, # {name: (question, time)}
                 )->str: # HTML
    "The map of the chapters: a card each, with its number, title and question."
    cards = [_card(name, title, *questions.get(name, (description, ''))) for name, title, description in chapters]
    return f'<ol class="chapter-map">{"".join(cards)}</ol>'


def commands(language:str, repository:str='')->str:
    "The two commands that open the course, after the one that fetches it where its address is known."
    words = WORDS[language]
    arguments = " ARGS='--lang zh'" if language == 'zh' else ''
    lines = [(f'make lab{arguments}', words['run']), ('make test', words['test'])]
    if repository: lines.insert(0, (f'git clone {repository} sotalearn && cd sotalearn', words['get']))
    return '\n'.join(f'# {told}\n{line}' for line, told in lines)


def _hero(lead, language, chapters, demo, repository):
    "The first screen: what the course is and how to begin, beside a live figure."
    words = WORDS[language]
    first = chapters[0][0] if chapters else ''
    start = f'<a class="start" href="{first}.html">{words["start"].format(int(first[:2]))}</a> ' if first else ''
    ways = f'<p class="ways">{start}<a href="results.html">{words["measured"]}</a></p>'
    return [':::::{div} hero', '::::{div} hero-text', *(f'{paragraph}\n' for paragraph in lead), '```sh',
            commands(language, repository), '```', '', ways, '', '::::', '::::{div} hero-demo', '```{raw} html', demo,
            '```', '::::', ':::::', '']


def _toctree(caption, pages):
    return f'```{{toctree}}\n:hidden:\n:caption: {caption}\n\n' + '\n'.join(pages) + '\n```'


def home(nb:nbformat.NotebookNode, # nbs/index.ipynb in one language; it is changed
         language:str, # 'en' or 'zh'
         chapters:list, # of (name, title, description)
         demo:str, # HTML of a live figure
         repository:str='', # its address, where it is known
        )->nbformat.NotebookNode:
    "What the course is, a live figure, the two commands and the map of the chapters, then the rest of nbs/index.ipynb."
    words = WORDS[language]
    first, *rest = nb.cells
    title, *lead = first.source.split('\n\n')
    cards = chapter_cards(chapters, _questions(nb))
    top = [title, '', *_hero(lead, language, chapters, demo, repository), f'## {words["chapters"]}', '', cards]
    kept = [nbformat.v4.new_markdown_cell('\n'.join(top))]
    for cell in rest:
        if cell.cell_type == 'markdown':      # the table of chapters: the cards say the same
            parts = re.split(r'(?=^<span class="anchor")', cell.source, flags=re.M)
            cell.source = ''.join(part for part in parts if not re.search(r'^\| \[.*\.ipynb\)', part, flags=re.M))
            if not cell.source.strip(): continue
        kept.append(cell)
    trees = [_toctree(words['chapters'], [name for name, *_ in chapters]),
             _toctree(words['reference'], ['results', 'glossary', 'wrong', 'api/index', 'tools/index', 'making'])]
    nb.cells = [*kept, nbformat.v4.new_markdown_cell('\n\n'.join(trees))]
    nb.metadata['html_theme.sidebar_secondary.remove'] = True       # the room goes to the live figure
    return nb


def first_demo(pages:list)->str: # HTML; '' if there is none
    "The first live figure in these pages."
    outputs = (output.get('data', {}).get('text/html', '')
               for nb in pages for cell in nb.cells for output in cell.get('outputs', []))
    return next((shown for shown in outputs if 'class="sotalearn-demo"' in shown), '')


# ------------------------------------------------------------ glossary

_COLUMNS = dict(en=dict(en='term', zh='Chinese', d2l='in d2l-zh', told_en='what it is'),
                zh=dict(zh='术语', en='英文', d2l='d2l-zh 的译法', told_zh='是什么'))


def terms(text:str, # of text/glossary.md
         )->list: # a dict a term: en, zh, d2l, told_en, told_zh, and not, a list of regular expressions
    "The rows of the glossary."
    rows = re.findall(r'^\| (.+) \|(.*)\|$', text.split('<!-- terms -->')[1], flags=re.M)[1:]
    names = ('en', 'zh', 'd2l', 'told_en', 'told_zh')
    return [{**dict(zip(names, told.split(' | '), strict=True)), 'not': list(filter(None, refused.strip().split('、')))}
            for told, refused in rows]


def glossary(text:str, # of text/glossary.md
             language:str, # 'en' or 'zh'
            )->str: # Markdown
    "The page of the course's terms in one language, in the order of its words."
    opening = text.split(f'<!-- {language} -->\n')[1].split('<!-- ')[0]
    head = _COLUMNS[language]
    rows = sorted(terms(text), key=lambda row: row['en'].lower())
    lines = [head.values(), ['---']*len(head), *([row[name] for name in head] for row in rows)]
    return opening + '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines) + '\n'


# ------------------------------------------------------------ reference

def _module_page(module, notebook, language):
    "The page of one module."
    words = WORDS[language]
    link = f'{words["written" if origins.folder_of(notebook) else "taught"]} :doc:`/{notebook}`'
    names = [f'   {name}' for name in origins.public(module)]
    lines = [module, '='*len(module), '', link, '',
             f'.. currentmodule:: sotalearn.{module}', '', '.. autosummary::', '   :nosignatures:', '', *names, '',
             f'.. automodule:: sotalearn.{module}', '   :members:', '   :member-order: bysource', '']
    return '\n'.join(lines)


def _module_table(language, modules, pages):
    "A table of modules, each with what its notebook says of itself."
    words = WORDS[language]
    rows = [f'   * - :doc:`{module}`\n     - {as_rst(pages[notebook][1])}' for module, notebook in modules.items()]
    return ['.. list-table::', '   :header-rows: 1', '   :widths: 20 80', '',
            f'   * - {words["module"]}\n     - {words["about"]}', *rows, '']


def _heading(text, mark): return [text, mark*2*len(text), '']


def api_pages(language:str, # 'en' or 'zh'
              pages:dict, # {notebook: (title, description)}
             )->dict: # {name: reStructuredText}
    "The reference: a page a module, and one that lists them by where they are written."
    words, modules = WORDS[language], origins.modules()
    made = {module: _module_page(module, notebook, language) for module, notebook in modules.items()}
    index = [*_heading(words['api'], '='), words['api_lead'], '']
    for folder, title in words['groups'].items():
        group = {module: notebook for module, notebook in modules.items() if origins.folder_of(notebook) == folder}
        if group: index += [*_heading(title, '-'), *_module_table(language, group, pages)]
    index += ['.. toctree::', '   :hidden:', '', *(f'   {module}' for module in made)]
    return {**made, 'index': '\n'.join(index) + '\n'}


def tools_index(language:str, # 'en' or 'zh'
                told:dict, # {notebook: (title, description)}
               )->str: # Markdown
    "The page that lists the notebooks behind the chapters, by their folder."
    words = WORDS[language]
    parts = [f'# {words["tools"]}', words['lead_tools']]
    for folder, title in words['groups'].items():
        rows = [f'- [{name}](../{page}.ipynb): {text}' for page, (name, text) in told.items()
                if folder and origins.folder_of(page) == folder]
        if rows: parts += [f'## {title}', '\n'.join(rows)]
    return '\n\n'.join([*parts, '```{toctree}\n:hidden:\n\n' + '\n'.join(f'/{page}' for page in told) + '\n```\n'])
