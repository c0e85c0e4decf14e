"""Builds the site: checks the notebooks, writes Sphinx's sources in each language, runs Sphinx, and checks every link.

    python docs/build.py                     into docs/_build/html, and as one file into docs/_build/sotalearn-site.zip
    SITE_URL=https://… python docs/build.py  with that address in sitemap.xml and in the pages' canonical links
"""
import argparse, hashlib, html, json, multiprocessing, os, shutil, sys, time, zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import nbformat

import contents, links, origins, reader
from assets import Assets
from forwards import write_forwards
from problems import problems
from sotalearn.files import write_atomic
from sotalearn.settings import LANGUAGES

ROOT = HERE.parent
ADDRESS = os.environ.get('SITE_URL', 'http://localhost:8000').rstrip('/')
REPOSITORY = os.environ.get('REPOSITORY_URL', '')
SCRIPTS = {         # name: the mark of what a page needs it for, and its files
    'player': ('class="sotalearn-demo"', ROOT/'sotalearn'/'demos'/'demo.js', HERE/'player.js'),   # a live figure starts
    'guesses': ('data-closes', HERE/'guesses.js'),          # what answers a guess waits until the guess is made
    'optional': ('class="optional"', HERE/'optional.js')}   # an optional part opens where it has to


def arguments():
    parser = argparse.ArgumentParser(description='Build the site of the course.')
    parser.add_argument('--notebooks', type=Path, default=ROOT/'nbs', help='folder of the chapters')
    parser.add_argument('--runs', type=Path, default=ROOT/'results'/'runs.csv', help='table of measured runs')
    parser.add_argument('--output', type=Path, default=HERE/'_build',
                        help='folder for the site (in its html/) and what is kept between builds')
    return parser.parse_args()


def notebooks(folder:Path)->dict: # {name below `folder`, without ending: path}
    "The course's notebooks in reading order: home page, chapters, those behind them."
    paths = [folder/'index.ipynb', *sorted(folder.glob('[0-9]*.ipynb'))]
    for name in origins.FOLDERS[1:]: paths += sorted((folder/name).glob('*.ipynb'))
    return {path.relative_to(folder).with_suffix('').as_posix(): path for path in paths}


def fingerprint(*places:Path)->str:
    "A digest of all files that the site is made from, and of its address."
    digest = hashlib.sha256(f'{ADDRESS} {REPOSITORY} {sys.version}'.encode())
    for place in places:
        for path in sorted(place.rglob('*')) if place.is_dir() else [place]:
            inside = path.relative_to(place)
            left_out = {'_build', '__pycache__', '.ipynb_checkpoints', 'images'} & {*inside.parts} or path.suffix == '.mo'
            if path.is_file() and not left_out:
                digest.update(f'{inside} {hashlib.sha256(path.read_bytes()).hexdigest()}'.encode())
    return digest.hexdigest()


def write_if_new(path:Path, text:str):
    "Write a source; one that has not changed keeps its date, so that Sphinx need not read it again."
    if not path.exists() or path.read_text(encoding='utf-8') != text: write_atomic(path, text)


# ------------------------------------------------------------ sources

def sources(language:str, # 'en' or 'zh'
            found:dict, # {notebook: path}
            results:Path, # the notebook of results
            assets:Assets, # where pictures go
           )->tuple: # {file name: text}, {page: (title, description)}
    "Sphinx's sources in one language."
    pages = {name: reader.page(path, language, assets, '../'*(name.count('/') + 1)) for name, path in found.items()}
    pages['results'] = reader.page(results, language, assets)
    told = {name: reader.title_and_description(nb) for name, nb in pages.items()}
    chapters = [(name, *told[name]) for name in pages if name[0].isdigit()]
    mixup_first = sorted((name for name, *_ in chapters), key=lambda name: 'mixup' not in name)
    demo = contents.first_demo([pages[name] for name in mixup_first])
    pages['index'] = contents.home(pages['index'], language, chapters, demo, REPOSITORY)
    for nb in pages.values(): add_scripts(nb)
    made = {f'{name}.ipynb': nbformat.writes(nb) for name, nb in pages.items()}
    behind = {name: words for name, words in told.items() if origins.folder_of(name)}
    more, more_told = other_sources(language, behind, told)
    return {**made, **more}, {**told, **more_told}


def other_sources(language:str, # 'en' or 'zh'
                  behind:dict, # {notebook behind the chapters: (title, description)}
                  pages:dict, # {notebook: (title, description)} of all of them
                 )->tuple: # {file name: text}, {page: (title, description)}
    "The sources that are no notebooks: the reference, the list of the notebooks behind, how this was made, the terms."
    words = contents.WORDS[language]
    def text(name):
        ours, english = ((HERE/'text'/f'{name}.{one}.md').read_text(encoding='utf-8') for one in (language, 'en'))
        return reader.same_passages(ours, english)
    making, wrong = text('making'), text('wrong')
    glossary = contents.glossary((HERE/'text'/'glossary.md').read_text(encoding='utf-8'), language)
    made = {'making.md': making, 'glossary.md': glossary, 'wrong.md': wrong, 'tools/index.md': contents.tools_index(language, behind)}
    told = {'tools/index': (words['tools'], words['lead_tools'])}
    for name, text in (('making', making), ('glossary', glossary), ('wrong', wrong)):
        told[name] = tuple(part.strip('#> ') for part in text.split('\n\n')[:2])
    for name, text in contents.api_pages(language, pages).items():
        made[f'api/{name}.rst'] = text
        told[f'api/{name}'] = (f'sotalearn.{name}', f'sotalearn.{name}: {words["api"]}')
    told['api/index'] = words['api'], words['api_lead']
    return made, told


def add_scripts(nb:nbformat.NotebookNode):
    "Add the scripts that a page needs, by the marks in what it shows: a cell each that shows nothing."
    shown = [output.get('data', {}).get('text/html', '') for cell in nb.cells for output in cell.get('outputs', [])]
    prose = [cell.source for cell in nb.cells if cell.cell_type == 'markdown']
    for name, (mark, *paths) in SCRIPTS.items():
        if not any(mark in text for text in shown + prose): continue
        script = ''.join(path.read_text(encoding='utf-8') for path in paths).replace('</script', '<\\/script')
        output = nbformat.v4.new_output('display_data', data={'text/html': f'<script type="module">{script}</script>'})
        cell = nbformat.v4.new_code_cell(name, outputs=[output], metadata=dict(tags=['remove-input']), id=name)
        nb.cells.append(cell)


def spots(told:dict, # {page: (title, description)}
         )->dict: # {full name: notebook, cell, title, chapter}
    "Where every function is written."
    return {f'sotalearn.{module}.{name}': dict(notebook=place.notebook, cell=place.cell, title=told[place.notebook][0],
                                               chapter=not origins.folder_of(place.notebook))
            for module in origins.modules() for name, place in origins.places(module).items() if place}


def write_sources(work:Path, language:str, made:dict, told:dict):
    "Write the sources of one language; what is left of older ones goes, and so do their pages."
    folder, doctrees, target = (work/name/language for name in ('source', 'doctrees', 'html'))
    pages = {name: dict(title=title, description=description) for name, (title, description) in told.items()}
    known = json.dumps(dict(pages=pages, places=spots(told)), ensure_ascii=False, indent=1)
    made = {**made, 'pages.json': known}
    for name, text in made.items(): write_if_new(folder/name, text)
    for path in folder.rglob('*'):
        if path.is_file() and path.relative_to(folder).as_posix() not in made: path.unlink()
    kept = {Path(name).with_suffix('.html').as_posix() for name in made} | {'search.html'}
    for path in target.rglob('*.html'):
        if path.relative_to(target).as_posix() not in kept: path.unlink()
    # Sphinx cannot know that every page depends on these.
    frame = fingerprint(HERE/'conf.py', HERE/'docstrings.py', ROOT/'sotalearn'/'locale', folder/'pages.json')
    memory = doctrees/'made-with'
    if not memory.exists() or memory.read_text() != frame:
        shutil.rmtree(doctrees, ignore_errors=True)
        write_atomic(memory, frame)


def run_sphinx(language:str, work:Path)->int:
    "Run Sphinx in one language, in a process of its own; every warning is an error. Returns its exit status."
    from sphinx.cmd.build import main
    source = work/'source'/language
    os.environ.update(DOCS_LANGUAGE=language, DOCS_SOURCE=str(source), SITE_URL=ADDRESS)
    with open(work/f'{language}.log', 'w', encoding='utf-8') as sys.stderr:
        return main(['-b', 'html', '-q', '-W', '--keep-going', '-c', str(HERE),
                     '-d', str(work/'doctrees'/language), str(source), str(work/'html'/language)])


def both_languages(work:Path)->list:
    "Run Sphinx in both languages; the lines that tell what is wrong."
    # Where it can, a process begins as a copy of this one, which has imported fastai, ten seconds, once for both.
    import sotalearn.training  # noqa: F401
    how = multiprocessing.get_context('fork' if sys.platform == 'linux' else 'spawn')
    with ProcessPoolExecutor(len(LANGUAGES), mp_context=how) as pool:
        failed = list(pool.map(run_sphinx, LANGUAGES, [work]*len(LANGUAGES)))
    wrong = []
    for language in [language for language, status in zip(LANGUAGES, failed) if status]:
        log = (work/f'{language}.log').read_text(encoding='utf-8').splitlines() or ['Sphinx failed']
        wrong += [f'{language}: {line}' for line in log if line.strip()]
    return wrong


# ------------------------------------------------------------ around the pages

def _sitemap(names):
    "The sitemap: each page in each language, with where the other one is."
    urls = []
    for name in names:
        turns = ''.join(f'<xhtml:link rel="alternate" hreflang="{code}" href="{ADDRESS}/{language}/{name}.html"/>'
                        for language, code in (('en', 'en'), ('zh', 'zh-Hans')))
        places = [html.escape(f'{ADDRESS}/{language}/{name}.html') for language in LANGUAGES]
        urls += [f'<url><loc>{place}</loc>{turns}</url>' for place in places]
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" '
            'xmlns:xhtml="http://www.w3.org/1999/xhtml">\n' + '\n'.join(urls) + '\n</urlset>\n')


def _llms(told):
    "The list of all pages for those who read plain text."
    parts = [f'# sotalearn\n\n> {told["en"]["index"][1]}\n\n'
             'The same pages exist in English and in Simplified Chinese.']
    for language, title in dict(en='English', zh='简体中文').items():
        lines = [f'- [{name}]({ADDRESS}/{language}/{page}.html)' + (f': {text}' if text and text != name else '')
                 for page, (name, text) in told[language].items()]
        parts.append(f'## {title}\n\n' + '\n'.join(lines))
    return '\n\n'.join(parts) + '\n'


def write_root(site:Path, told:dict):
    "What lies beside the two languages: the page that chooses, 404, the sitemap and llms.txt."
    for path in (HERE/'root').iterdir():
        write_if_new(site/path.name, path.read_text(encoding='utf-8').replace('{address}', ADDRESS))
    write_if_new(site/'sitemap.xml', _sitemap(told['en']))
    write_if_new(site/'llms.txt', _llms(told))
    write_if_new(site/'.nojekyll', '')


def tidy(site:Path):
    "Remove what the builders leave and no page needs: maps of scripts, templates, copies of the sources."
    for pattern in ('*.map', '*webpack-macros.html', '.buildinfo.bak'):
        for path in [*site.rglob(pattern)]: path.unlink()
    for path in (site/'jupyter_execute', *site.glob('*/_sources')): shutil.rmtree(path, ignore_errors=True)


def zip_up(site:Path, target:Path):
    "The site as one file to hand out; it unpacks into a folder of its own, whose index.html plays by a double click."
    with zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in site.rglob('*') if path.is_file()):
            archive.write(path, Path('sotalearn')/path.relative_to(site))


def build(options:argparse.Namespace)->list:
    "Build the site; the lines that tell what is wrong, none if all is well."
    work, site = options.output.resolve(), options.output.resolve()/'html'
    found = notebooks(options.notebooks)
    wrong = [told for path in found.values() for told in problems(path)]
    if wrong: return wrong
    import results        # pandas and matplotlib come with it: a faulty notebook need not wait for them
    os.environ['DEMO_LANGUAGES'] = ','.join(LANGUAGES)       # its figures are stored as those of the chapters
    measured = work/'results.ipynb'
    work.mkdir(parents=True, exist_ok=True)
    write_if_new(measured, nbformat.writes(results.notebook(options.runs)))
    if wrong := problems(measured): return wrong
    assets, told = Assets(site/'assets'), {}
    for language in LANGUAGES:
        made, told[language] = sources(language, found, measured, assets)
        write_sources(work, language, made, told[language])
    if wrong := both_languages(work): return wrong
    assets.prune()
    tidy(site)
    write_root(site, told)
    return write_forwards(site, told, ADDRESS) + links.broken(site)


def main():
    options, start = arguments(), time.perf_counter()
    stamp, site, packed = (options.output/name for name in ('built-from', 'html', 'sotalearn-site.zip'))
    made_from = fingerprint(options.notebooks, options.runs, ROOT/'results', ROOT/'sotalearn', HERE, ROOT/'constraints.txt')
    if stamp.exists() and stamp.read_text() == made_from and (site/'index.html').exists() and packed.exists():
        print(f'Nothing has changed since the site was built: {site}')
        return
    stamp.unlink(missing_ok=True)
    if wrong := build(options): sys.exit('\n'.join([*wrong, f'The site was not built: {len(wrong)} problems.']))
    zip_up(site, packed)
    write_atomic(stamp, made_from)
    print(f'Built in {time.perf_counter() - start:.0f} s: {site/"index.html"} (open it in a browser), packed in {packed}')


if __name__ == '__main__': main()
