"""Makes a page of a notebook: takes one language, folds machinery, and puts an anchor where a link may lead."""
import html, re
from pathlib import Path

import nbformat

from assets import Assets, lighten
from problems import directives
from sotalearn.stored import STILLS
from sotalearn.school.copy import FOLDED, in_language

_EXPORTS = {'export', 'exporti', 'exports'}
_SCRIPT = re.compile(r'<script type="module">.*?</script>', flags=re.S)
_FENCED = re.compile(r'(^```.*?^```)', flags=re.S | re.M)


def headings(source:str)->list: # of (level, text)
    "The headings of a markdown text but its title."
    found = re.findall(r'^(#{2,4}) (.+)$', _FENCED.sub('', source), flags=re.M)
    return [(len(marks), text.strip()) for marks, text in found]


def anchor(heading:str)->str:
    "The anchor that JupyterLab gives a heading, so that a link to a passage works there and here."
    return re.sub(r'[`*_]', '', heading).strip().replace(' ', '-')


def _with_anchors(source, names):
    "`source` with an anchor before each heading: that of the English heading, the same in every language."
    names = iter(names)
    def put(match): return f'<span class="anchor" id="{html.escape(next(names), quote=True)}"></span>\n\n{match[0]}'
    parts = _FENCED.split(source)
    return ''.join(part if part.startswith('```') else re.sub(r'^#{2,4} .+$', put, part, flags=re.M) for part in parts)


def same_passages(source:str, # a Markdown text
                  english:str, # the same in English
                 )->str:
    "A text with an anchor before each heading, the same in every language."
    return _with_anchors(source, [anchor(text) for _, text in headings(english)])


def _with_links(source):
    "`source` with links to passages of other notebooks, and to rows of the page of results, as they are on the site."
    return re.sub(r'\[([^\]]+)\]\(([\w/.-]+)\.(?:ipynb|html)#([^)\s]+)\)',
                  r'<a class="reference internal" href="\2.html#\3">\1</a>', source)


def _with_guesses(source):
    "`source` with each paragraph that asks for a guess set apart, and the words that ask for it in a colour."
    def set_apart(paragraph):
        told, asks = re.subn(r'\*\*(?=\S)([^*]*(?:[Gg]uess|先猜)[^*]*)\*\*', r'<strong class="asks">\1</strong>', paragraph)
        plain = not re.match(r'[-|#>:<\d]|```', paragraph)
        return f':::{{div}} guess\n{told.strip()}\n:::' if asks and plain else paragraph
    return '\n\n'.join(set_apart(paragraph) for paragraph in source.split('\n\n'))


def _prepare_prose(nb):
    "Give the prose of a notebook its anchors, links and guesses, in both languages alike."
    prose = [cell for cell in nb.cells if cell.cell_type == 'markdown']
    for english, chinese in zip(prose[::2], prose[1::2]):
        names = [anchor(text) for _, text in headings(english.source)]
        for cell in (english, chinese): cell.source = _with_guesses(_with_links(_with_anchors(cell.source, names)))


def _without_repeats(text, scripts):
    "`text` without the module scripts that the page has already: a page runs them when all of it is there."
    def keep(match):
        seen = match[0] in scripts
        scripts.add(match[0])
        return '' if seen else match[0]
    return _SCRIPT.sub(keep, text)


def _prepare_code(cell, told, assets, up, scripts):
    "Give a code cell the tags of MyST-NB that its directives ask for, and put the pictures of its outputs into files."
    tags = ['hide-input'] if cell.metadata.get('jupyter', {}).get('source_hidden') else []
    if told.get('echo') == 'false' or 'guess' in cell.metadata: tags = ['remove-input']
    closes = cell.metadata.get('guess') == 'closed'
    cell.metadata = dict(tags=tags)
    for output in cell.outputs:
        data = output.get('data', {})
        if 'text/html' not in data: continue
        data['text/html'] = _without_repeats(lighten(data['text/html'], assets, up), scripts)
        for kind in STILLS: data.pop(kind, None)          # the same picture, for readers who show no HTML
        if closes: data['text/html'] = data['text/html'].replace('<div ', '<div data-closes ', 1)


# Open as the page says it, for who has no scripts; folded before it is painted.
_FOLD = ('<details class="optional" open><summary>{}</summary>'
         '<script>document.currentScript.parentElement.open = false</script>')


def _with_folds(cells):
    "The cells, with what follows an optional heading in a fold that its last line opens."
    found, is_open = [], False
    for cell in cells:
        starts = cell.cell_type == 'markdown' and re.search('^## ', cell.source, flags=re.M)
        if is_open and starts: found.append(_markdown('</details>'))
        is_open = is_open and not starts
        if cell.metadata.get(FOLDED):
            cell.source, mark = cell.source.rsplit('\n\n', 1)
            found += [cell, _markdown(_FOLD.format(html.escape(mark.strip('*'))))]
            is_open = True
        else: found.append(cell)
    return found + [_markdown('</details>')]*is_open


def page(path:Path, # of a notebook in both languages
         language:str, # 'en' or 'zh'
         assets:Assets, # where its pictures go
         up:str='../', # the way from the page to the site's root
        )->nbformat.NotebookNode: # cells both exported and hidden stand folded at the end, so that links to them work
    "A notebook as MyST-NB wants it: one language, machinery folded, pictures in files, anchors at exported cells."
    nb = nbformat.read(path, as_version=4)
    _prepare_prose(nb)
    told = {cell.id: directives(cell.source) for cell in nb.cells if cell.cell_type == 'code'}
    behind = {name for name, found in told.items() if 'hide' in found and _EXPORTS & set(found)}
    for cell in nb.cells:
        if cell.id in behind: cell.source = cell.source.replace('#| hide', '#| code-fold: true')
    cells, last, scripts = [], [], set()
    for cell in in_language(nb, language).cells:
        found = told.get(cell.id, {})
        if found.get('include') == 'false': continue
        to = last if cell.id in behind else cells
        if _EXPORTS & set(found): to.append(_markdown(f'<span class="anchor" id="cell-{cell.id}"></span>'))
        if cell.cell_type == 'code': _prepare_code(cell, found, assets, up, scripts)
        to.append(cell)
    cells = _with_folds(cells)
    if last: cells += [_markdown('## ' + dict(en='The code behind this page', zh='本页背后的代码')[language]), *last]
    return _notebook(cells)


def _markdown(source): return nbformat.v4.new_markdown_cell(source)


def _notebook(cells):
    "A notebook of these cells, whose prose has the same ids in every build."
    for i, cell in enumerate(cells):
        if cell.cell_type == 'markdown': cell.id = f'c{i}'
    kernel = dict(name='python3', display_name='Python 3', language='python')
    return nbformat.v4.new_notebook(cells=cells, metadata=dict(kernelspec=kernel))


def title_and_description(nb:nbformat.NotebookNode, # in one language
                         )->tuple:
    "The title of a notebook, and the sentence below it that nbdev takes for its description."
    source = next((cell.source for cell in nb.cells if cell.cell_type == 'markdown' and '# ' in cell.source), '')
    def plain(pattern):
        found = re.search(pattern, source, flags=re.M)
        return re.sub(r'[`*]', '', found[1]).strip() if found else ''
    return plain(r'^# (.+)$'), plain(r'^> (.+)$')
