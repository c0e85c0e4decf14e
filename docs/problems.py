"""What must be right before a notebook becomes a page: both languages, clean outputs, pictures with words."""
import json, re
from pathlib import Path

import nbformat

from assets import DATA_IMAGE, DEMO
from sotalearn.stored import STILLS
from sotalearn.settings import LANGUAGES

DEMO_BYTES = 1_500_000        # of a live figure in a notebook, all its languages together
NOTEBOOK_BYTES = 4_000_000
STILL_BYTES = 400_000         # of the one picture that every reader of notebooks can show
_MACHINE_PATH = re.compile(r'(?<![\w.:/])/(?:root|home|tmp|work|Users|mnt|private)/|[A-Z]:\\+Users\\')
_COMPLAINT = re.compile(r'\b[A-Z]?[a-z]{0,20}Warning:|Traceback \(most recent')


def directives(source:str)->dict: # {name: value}
    "The `#|` lines of a code cell."
    lines = re.findall(r'^#\|\s*([\w-]+):?[ \t]*(.*)$', source, flags=re.M)
    return {name: value.strip() for name, value in lines}


def _twin_problems(cells):
    "(number, sentence) for tags, and for markdown cells without their twin."
    spoken = [[tag for tag in cell.metadata.get('tags', []) if tag in LANGUAGES] for cell in cells]
    for i, (cell, tags) in enumerate(zip(cells, spoken)):
        known = ', '.join(LANGUAGES)
        for tag in cell.metadata.get('tags', []):
            if tag not in LANGUAGES: yield i, f'unknown tag {tag!r}; known: {known}'
        if cell.cell_type == 'markdown' and len(tags) != 1:
            yield i, f'prose must have one of the tags {" and ".join(LANGUAGES)}, got {tags or "none"}'
        elif tags == ['en'] and spoken[i + 1:i + 2] != [['zh']]:
            yield i, 'the Chinese twin is missing: the next cell must have the tag zh'
        elif tags == ['zh'] and (not i or spoken[i - 1] != ['en']):
            yield i, 'the English twin is missing: the cell before must have the tag en'


def _picture_problems(text):
    "Sentences about the pictures in HTML or Markdown that lack words for readers who cannot see them."
    for tag in re.findall(r'<img\b[^>]*>', text):
        words = re.search(r'\balt="\s*([^"]*)"', tag)
        if not words or len(words[1]) < 10: yield f'a picture has no alt text: {tag[:60]}…'
    for target in re.findall(r'!\[\s*\]\(([^)]+)\)', text): yield f'a picture has no alt text: {target[:60]}'


def _demo_problems(shown):
    "Sentences about the live figures in the HTML of an output."
    if not DEMO.search(shown): return
    size = len(shown.encode())
    if size > DEMO_BYTES: yield f'a live figure must take at most {DEMO_BYTES/1e6} MB, got {size/1e6:.1f} MB'
    for _, told, _ in DEMO.findall(shown):
        spec, pictures = (json.loads(told)[part] for part in ('spec', 'pictures'))
        if not all(picture['alt'].strip() for picture in pictures.values()): yield 'a picture of a live figure has no alt text'
        if spec['failed']: yield f'a live figure could not be drawn: {spec["note"]}'
        elif len(pictures) == 1:
            names = ' and '.join(control['name'] for control in spec['controls'])
            yield f'a live figure is too rich to play without a kernel, and keeps one picture: give {names} fewer stored steps'


def _spoken(output):
    "What an output shows in each language beside what every reader of notebooks sees."
    return output.get('metadata', {}).get('languages', {})


def _still_problems(output):
    "Sentences about the one picture of a figure that every reader of notebooks can show, and about its Chinese twin."
    data, told = output.get('data', {}), output.get('metadata', {})
    for kind in [kind for kind in data if kind.startswith('image/')]:
        if kind not in STILLS or len(told.get(kind, {}).get('alt', '')) < 10:
            yield f'a picture has no alt text: {kind}; show it as a sotalearn.figures.StillFigure'
        elif not {*LANGUAGES[1:]} <= set(_spoken(output)):
            yield f'each figure must be there in {" and ".join(LANGUAGES)}, got {LANGUAGES[0]}'
        if (size := len(data[kind])) > STILL_BYTES:
            yield f'a still picture must take at most {STILL_BYTES/1e6} MB, got {size/1e6:.2f} MB'


def _html_problems(output):
    "A sentence about a figure that is there as HTML alone."
    shown = output.get('data', {}).get('text/html', '')
    if DEMO.search(shown) or DATA_IMAGE.search(shown):
        yield 'a figure is stored as HTML alone, which GitHub, a PDF and other previews do not show: use docs/outputs.py'


def _said_problems(output):
    "Sentences about what an output says beside its pictures."
    data = output.get('data', {})
    shown = DATA_IMAGE.sub('', data.get('text/html', ''))
    said = '\n'.join([output.get('text', ''), data.get('text/plain', ''), shown])
    if found := _MACHINE_PATH.search(said):
        yield f'the output holds a path of a machine: {said[found.start():].split()[0][:60]!r}'
    if found := _COMPLAINT.search(said): yield f'the output holds a warning or an error: {said[found.start():][:60]!r}'


def _output_problems(output):
    "Sentences about one output of a code cell."
    data = output.get('data', {})
    if output.output_type == 'error': yield f'the output is an error: {output.ename}: {output.evalue}'
    if output.get('name') == 'stderr': yield f'the output has warnings or other text on stderr: {output.text[:60]!r}'
    yield from _still_problems(output)
    yield from _html_problems(output)
    if any('widget' in kind for kind in data):      # JupyterLab would say "Error displaying widget"
        yield 'a widget is stored that would need its kernel; only its HTML may be'
    shown = data.get('text/html', '')
    yield from _said_problems(output)
    still = DEMO.sub('', shown)
    yield from _picture_problems(still)
    spoken = re.findall(r'<img [^>]*?lang="(\w+)"', still)
    if spoken != [*LANGUAGES]*(len(spoken)//len(LANGUAGES)):
        yield f'each picture must be there in {" and ".join(LANGUAGES)}, got {", ".join(spoken)}'
    yield from _demo_problems(shown + ''.join(own.get('text/html', '') for own in _spoken(output).values()))


def _cell_problems(cells):
    "(number, sentence) for what is wrong in one cell."
    yield from _twin_problems(cells)
    for i, cell in enumerate(cells):
        if cell.cell_type == 'markdown': yield from ((i, told) for told in _picture_problems(cell.source))
        for output in cell.get('outputs', []): yield from ((i, told) for told in _output_problems(output))


def _was_run(cells):
    "Has a cell an output, where there is one that would show something?"
    shows = [cell for cell in cells if cell.cell_type == 'code'
             and not {'default_exp', 'export', 'exporti', 'hide'} & set(directives(cell.source))]
    return not shows or any(cell.outputs for cell in shows)


def problems(path:Path, # of a notebook
            )->list: # a sentence each: the notebook, the cell's number (from 0), its id, its first line, what is wrong
    "What keeps a notebook from becoming a page."
    try: nb = nbformat.read(path, as_version=4)
    except Exception as e:
        return [f'{path.name}: must be a notebook ({type(e).__name__}: {" ".join(str(e).split())[:100]})']
    whole = []
    def place(i):
        lines = nb.cells[i].source.splitlines()
        opening = next((line for line in lines if line.strip() and not line.startswith('#|')), '')[:50]
        return f'cell {i} ({nb.cells[i].get("id", "no id")}, {opening!r})'
    if 'widgets' in nb.metadata: whole.append('its metadata hold the state of widgets, which need their kernel')
    if not _was_run(nb.cells): whole.append('no cell has an output: run the notebook')
    if (size := path.stat().st_size) > NOTEBOOK_BYTES:
        heaviest = max(range(len(nb.cells)), key=lambda i: len(json.dumps(nb.cells[i], ensure_ascii=False)))
        told = f'{len(json.dumps(nb.cells[heaviest], ensure_ascii=False))/1e6:.1f} MB of it in {place(heaviest)}'
        whole.append(f'must take at most {NOTEBOOK_BYTES/1e6:g} MB, got {size/1e6:.1f} MB, {told}')
    found = [f'{path.name}, {place(i)}: {told}' for i, told in sorted(_cell_problems(nb.cells))]
    return [f'{path.name}: {told}' for told in whole] + found
