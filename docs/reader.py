"""Makes a page of a notebook: checks it, takes one language, and moves its pictures into files of their own."""
import base64, hashlib, html, io, json, re
from pathlib import Path

import nbformat
from PIL import Image

from sotalearn.course import LANGUAGES, in_language

DEMO_BYTES = 1_500_000        # of a live figure in a notebook, all its languages together
_MACHINE_PATH = re.compile(r'(?<![\w.:/])/(?:root|home|tmp|work|Users|mnt|private)/|[A-Z]:\\+Users\\')
_DEMO = re.compile(r'(<div lang="\w+"[^>]*class="sotalearn-demo">.*?<script type="application/json">)(.*?)(</script></div>)')
_EXPORTS = {'export', 'exporti', 'exports'}
_PLAYER = re.compile(r'<script type="module">(?:(?!</script>).)*play\(\);</script>', flags=re.S)
_DATA_IMAGE = re.compile(r'<img ([^>]*?)src="data:image/(\w+);base64,([^"]+)"([^>]*)>')


def directives(source):
    "The `#|` lines of a code cell as {name: value}."
    return {name: value.strip() for name, value in re.findall(r'^#\|\s*([\w-]+):?[ \t]*(.*)$', source, flags=re.M)}


# ------------------------------------------------------------ what must be right

def _prose_problems(cells):
    "(number, sentence) for markdown cells without their twin."
    spoken = [(i, [o for o in cell.metadata.get('tags', []) if o in LANGUAGES]) for i, cell in enumerate(cells)]
    for i, tags in spoken:
        is_prose = cells[i].cell_type == 'markdown'
        after = spoken[i + 1][1] if i + 1 < len(cells) else []
        before = spoken[i - 1][1] if i else []
        if is_prose and len(tags) != 1: yield i, f'prose must have one of the tags {" and ".join(LANGUAGES)}, got {tags or "none"}'
        elif tags == ['en'] and after != ['zh']: yield i, 'the Chinese twin is missing: the next cell must have the tag zh'
        elif tags == ['zh'] and before != ['en']: yield i, 'the English twin is missing: the cell before must have the tag en'


def _picture_problems(text):
    "Sentences about the pictures in HTML or Markdown that lack words for readers who cannot see them."
    for tag in re.findall(r'<img\b[^>]*>', text):
        if not re.search(r'\balt="\s*[^"\s]', tag): yield f'a picture has no alt text: {tag[:60]}…'
    for target in re.findall(r'!\[\s*\]\(([^)]+)\)', text): yield f'a picture has no alt text: {target[:60]}'


def _output_problems(output):
    "Sentences about one output of a code cell."
    data = output.get('data', {})
    if output.output_type == 'error': yield f'the output is an error: {output.ename}: {output.evalue}'
    if output.get('name') == 'stderr': yield f'the output has warnings or other text on stderr: {output.text[:60]!r}'
    for kind in sorted({'image/png', 'image/jpeg', 'image/svg+xml'} & set(data)):
        yield f'a picture has no alt text: {kind}; show it as a sotalearn.figures.StillFigure'
    shown = data.get('text/html', '')
    said = '\n'.join([output.get('text', ''), data.get('text/plain', ''), _DATA_IMAGE.sub('', shown)])
    if found := _MACHINE_PATH.search(said): yield f'the output holds a path of a machine: {said[found.start():].split()[0][:60]!r}'
    yield from _picture_problems(_DEMO.sub('', shown))
    if _DEMO.search(shown):
        if len(shown.encode()) > DEMO_BYTES:
            yield f'a live figure must take at most {DEMO_BYTES/1e6} MB, got {len(shown.encode())/1e6:.1f} MB'
        said = [pictures for _, told, _ in _DEMO.findall(shown) for pictures in json.loads(told)['pictures'].values()]
        if not all(o['alt'].strip() for o in said): yield 'a picture of a live figure has no alt text'


def problems(path):
    """What keeps a notebook from becoming a page.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    list of str
        A sentence each, which names the notebook, the cell's number (from 0), its id and its first line.
    """
    try: cells = nbformat.read(path, as_version=4).cells
    except Exception as e: return [f'{path.name}: must be a notebook ({type(e).__name__}: {" ".join(str(e).split())[:100]})']
    found = list(_prose_problems(cells))
    for i, cell in enumerate(cells):
        tags = cell.metadata.get('tags', [])
        found += [(i, f'unknown tag {o!r}; known: {", ".join(LANGUAGES)}') for o in tags if o not in LANGUAGES]
        if cell.cell_type == 'markdown': found += [(i, o) for o in _picture_problems(cell.source)]
        for output in cell.get('outputs', []): found += [(i, o) for o in _output_problems(output)]
    def opening(cell): return next((o for o in cell.source.splitlines() if o.strip() and not o.startswith('#|')), '')[:50]
    return [f'{path.name}, cell {i} ({cells[i].get("id", "no id")}, {opening(cells[i])!r}): {told}' for i, told in sorted(found)]


def is_chapter(path):
    "Has the notebook prose? One that is code alone is still being written."
    return any(o.cell_type == 'markdown' for o in nbformat.read(path, as_version=4).cells)


# ------------------------------------------------------------ one language

class Assets:
    "The pictures of all pages: files named for their content, so that both languages share what is the same."

    def __init__(self, folder):
        self.folder, self.used = Path(folder), set()
        self.folder.mkdir(parents=True, exist_ok=True)

    def store(self, encoded, kind):
        "Keep a picture given as base64 text; return its file name."
        data = base64.b64decode(encoded)
        name = f'{hashlib.sha256(data).hexdigest()[:16]}.{kind}'
        if not (self.folder/name).exists(): (self.folder/name).write_bytes(data)
        self.used.add(name)
        return name

    def prune(self):
        for path in self.folder.iterdir():
            if path.name not in self.used: path.unlink()


def _as_file(match, assets, up):
    "An `<img>` with its picture in a file, its height known before the file is there, and loaded when it is needed."
    before, kind, encoded, after = match.groups()
    name, attributes = assets.store(encoded, kind), f'{before}{after}'
    width = re.search(r'width="(\d+)"', attributes)
    if width and 'height="' not in attributes:
        wide, high = Image.open(io.BytesIO(base64.b64decode(encoded))).size
        attributes += f' height="{round(int(width[1])*high/wide)}"'
    return f'<img {attributes.strip()} src="{up}assets/{name}" loading="lazy" decoding="async">'


def _demo_as_files(match, assets, up):
    "A live figure whose pictures are files. The first is in the page as an `<img>` already."
    head, told, tail = match.groups()
    told = json.loads(told)
    for picture in told['pictures'].values():
        if picture['data']: picture['src'] = f'{up}assets/{assets.store(picture["data"], "webp")}'
        del picture['data']
    return head + json.dumps(told, ensure_ascii=False).replace('</', '<\\/') + tail


def lighten(text, assets, up):
    "HTML of an output with its pictures in files. What plays the live figures is the page's own."
    text = _DEMO.sub(lambda match: _demo_as_files(match, assets, up), text)
    return _DATA_IMAGE.sub(lambda match: _as_file(match, assets, up), _PLAYER.sub('', text))


def _once(text, scripts):
    "`text` without the module scripts that the page has already: a page runs them when all of it is there."
    def keep(match):
        seen = match[0] in scripts
        scripts.add(match[0])
        return '' if seen else match[0]
    return re.sub(r'<script type="module">.*?</script>', keep, text, flags=re.S)


def headings(source):
    "The headings of a markdown text but its title, as (level, text)."
    bare = re.sub(r'^```.*?^```', '', source, flags=re.S | re.M)
    return [(len(marks), text.strip()) for marks, text in re.findall(r'^(#{2,4}) (.+)$', bare, flags=re.M)]


def anchor(heading):
    "The anchor that JupyterLab gives a heading, so that a link to a passage works there and here."
    return re.sub(r'[`*_]', '', heading).strip().replace(' ', '-')


def _with_anchors(source, names):
    "`source` with an anchor before each heading: that of the English heading, the same in every language."
    names = iter(names)
    def put(match): return f'<span class="anchor" id="{html.escape(next(names), quote=True)}"></span>\n\n{match[0]}'
    parts = re.split(r'(^```.*?^```)', source, flags=re.S | re.M)
    return ''.join(o if o.startswith('```') else re.sub(r'^#{2,4} .+$', put, o, flags=re.M) for o in parts)


def _with_links(source):
    "`source` with links to passages of other chapters as they are on the site."
    return re.sub(r'\[([^\]]+)\]\(([\w/.-]+)\.ipynb#([^)\s]+)\)', r'<a class="reference internal" href="\2.html#\3">\1</a>', source)


def _with_guesses(source):
    "`source` with each paragraph that asks for a guess set apart."
    def set_apart(paragraph):
        asks = re.search(r'\*\*[^*]*(?:[Gg]uess|先猜)[^*]*\*\*', paragraph) and not re.match(r'[-|#>:<`\d]', paragraph)
        return f':::{{div}} guess\n{paragraph.strip()}\n:::' if asks else paragraph
    return '\n\n'.join(set_apart(o) for o in source.split('\n\n'))


def page(path, language, assets, up='../'):
    """A notebook as MyST-NB wants it: one language, machinery folded, pictures in files, an anchor at each exported cell.

    A cell that is exported and hidden stands folded at the end, so that the reference can show where a function is written.

    Parameters
    ----------
    path : pathlib.Path
    language : {'en', 'zh'}
    assets : Assets
    up : str
        The way from the page to the site's root.

    Returns
    -------
    nbformat.NotebookNode
    """
    nb = nbformat.read(path, as_version=4)
    prose = [o for o in nb.cells if o.cell_type == 'markdown']
    for pair in zip(prose[::2], prose[1::2]):
        names = [anchor(text) for _, text in headings(pair[0].source)]
        for cell in pair: cell.source = _with_guesses(_with_links(_with_anchors(cell.source, names)))
    told = {cell.id: directives(cell.source) for cell in nb.cells if cell.cell_type == 'code'}
    behind = {name for name, o in told.items() if 'hide' in o and _EXPORTS & set(o)}
    for cell in nb.cells:
        if cell.get('id') in behind: cell.source = cell.source.replace('#| hide', '#| code-fold: true')
    cells, last, scripts = [], [], set()
    for cell in in_language(nb, language).cells:
        to = last if cell.get('id') in behind else cells
        if cell.cell_type == 'code':
            if told[cell.id].get('include') == 'false': continue
            if _EXPORTS & set(told[cell.id]): to.append(nbformat.v4.new_markdown_cell(f'<span class="anchor" id="cell-{cell.id}"></span>'))
            tags = ['hide-input'] if cell.metadata.get('jupyter', {}).get('source_hidden') else []
            if told[cell.id].get('echo') == 'false': tags = ['remove-input']
            cell.metadata = dict(tags=tags)
            for output in cell.outputs:
                data = output.get('data', {})
                if 'text/html' in data: data['text/html'] = _once(lighten(data['text/html'], assets, up), scripts)
        to.append(cell)
    if last: cells += [nbformat.v4.new_markdown_cell('## ' + dict(en='The code behind this page', zh='本页背后的代码')[language]), *last]
    nb = nbformat.v4.new_notebook(cells=cells, metadata=dict(kernelspec=dict(name='python3', display_name='Python 3', language='python')))
    for i, cell in enumerate(nb.cells): cell.id = f'c{i}' if cell.cell_type == 'markdown' else cell.id
    return nb


def title_and_description(nb):
    "The title of a notebook in one language, and the sentence below it that nbdev takes for its description."
    source = next((o.source for o in nb.cells if o.cell_type == 'markdown' and '# ' in o.source), '')
    title, told = re.search(r'^# (.+)$', source, flags=re.M), re.search(r'^> (.+)$', source, flags=re.M)
    plain = lambda match: re.sub(r'[`*]', '', match[1]).strip() if match else ''
    return plain(title), plain(told)
