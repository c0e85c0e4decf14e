"""Builds the site: checks the notebooks, writes Sphinx's sources in each language, runs Sphinx, and checks every link.

    python docs/build.py                     into docs/_build/html
    SITE_URL=https://… python docs/build.py  with that address in sitemap.xml and in the pages' canonical links
"""
import argparse, hashlib, html, json, multiprocessing, os, shutil, sys, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import nbformat

import contents, links, reader
from sotalearn.files import write_atomic
from sotalearn.settings import LANGUAGES

ROOT = HERE.parent
ADDRESS = os.environ.get('SITE_URL', 'http://localhost:8000').rstrip('/')
REPOSITORY = os.environ.get('REPOSITORY_URL', '')


def arguments():
    parser = argparse.ArgumentParser(description='Build the site of the course.')
    parser.add_argument('--notebooks', type=Path, default=ROOT/'nbs', help='folder of the chapters')
    parser.add_argument('--runs', type=Path, default=ROOT/'results'/'runs.csv', help='table of measured runs')
    parser.add_argument('--output', type=Path, default=HERE/'_build', help='folder for the site (in its html/) and what is kept between builds')
    return parser.parse_args()


def notebooks(folder):
    "The course's notebooks as {name below `folder`, without ending: path}, in reading order; those without prose are left out."
    paths = [folder/'index.ipynb', *sorted(folder.glob('[0-9]*.ipynb')), *sorted((folder/'tools').glob('*.ipynb'))]
    found = {o.relative_to(folder).with_suffix('').as_posix(): o for o in paths if '.ipynb_checkpoints' not in o.parts}
    for name in [o for o, path in found.items() if not reader.is_chapter(path)]:
        print(f'{name}: left out, for it has no prose yet')
        del found[name]
    return found


def fingerprint(*places):
    "A digest of all files that the site is made from, and of its address."
    digest = hashlib.sha256(f'{ADDRESS} {REPOSITORY} {sys.version}'.encode())
    for place in places:
        for path in sorted(place.rglob('*')) if place.is_dir() else [place]:
            inside = path.relative_to(place)
            if path.is_file() and not {'_build', '__pycache__', '.ipynb_checkpoints', 'images'} & set(inside.parts):
                digest.update(f'{inside} {hashlib.sha256(path.read_bytes()).hexdigest()}'.encode())
    return digest.hexdigest()


def write_if_new(path, text):
    "Write a source; one that has not changed keeps its date, so that Sphinx need not read it again."
    if not path.exists() or path.read_text(encoding='utf-8') != text: write_atomic(path, text)


# ------------------------------------------------------------ sources

def sources(language, found, results, assets):
    "Sphinx's sources in one language, as {file name: text}, and {page: (title, description)}."
    pages = {name: reader.page(path, language, assets, '../'*(name.count('/') + 1)) for name, path in found.items()}
    pages['results'] = reader.page(results, language, assets)
    told = {name: reader.title_and_description(nb) for name, nb in pages.items()}
    chapters = [(name, *told[name]) for name in pages if name[0].isdigit()]
    mixup_first = sorted((name for name, *_ in chapters), key=lambda o: 'mixup' not in o)
    demo = contents.first_demo([pages[name] for name in mixup_first])
    pages['index'] = contents.home(pages['index'], language, chapters, demo, REPOSITORY)
    for name, nb in pages.items(): add_player(nb)
    made = {f'{name}.ipynb': nbformat.writes(nb) for name, nb in pages.items()}
    made['making.md'] = (HERE/'text'/f'making.{language}.md').read_text(encoding='utf-8')
    tools = {name: told[name] for name in pages if name.startswith('tools/')}
    made['tools/index.md'] = contents.tools_index(language, tools)
    words = contents.WORDS[language]
    for name, text in contents.api_pages(language, {name: title for name, (title, _) in told.items()}).items():
        made[f'api/{name}.rst'] = text
        told[f'api/{name}'] = (f'sotalearn.{name}', f'sotalearn.{name}: {words["api"]}') if name != 'index' else (words['api'], words['api_lead'])
    told['tools/index'] = words['tools'], words['tools']
    told['making'] = tuple(o.strip('#> ') for o in made['making.md'].split('\n\n')[:2])
    return made, told


def add_player(nb):
    "Let the page start its live figures when the reader comes near them."
    outputs = [o for cell in nb.cells for o in cell.get('outputs', []) if 'class="sotalearn-demo"' in o.get('data', {}).get('text/html', '')]
    in_prose = [o for o in nb.cells if o.cell_type == 'markdown' and 'class="sotalearn-demo"' in o.source]
    if not outputs and not in_prose: return
    script = (ROOT/'sotalearn'/'demo.js').read_text(encoding='utf-8') + (HERE/'player.js').read_text(encoding='utf-8')
    script = script.replace('</script', '<\\/script')
    shown = nbformat.v4.new_output('display_data', data={'text/html': f'<script type="module">{script}</script>'})
    nb.cells.append(nbformat.v4.new_code_cell('play()', outputs=[shown], metadata=dict(tags=['remove-input']), id='player'))


def write_sources(work, language, made, told):
    "Write the sources of one language; what is left of older ones goes."
    folder, doctrees, target = (work/o/language for o in ('source', 'doctrees', 'html'))
    spots = {}
    for module in contents.modules():
        for name, place in contents.places(ROOT/'sotalearn'/f'{module}.py').items():
            if place and place.notebook in told:
                spots[f'sotalearn.{module}.{name}'] = dict(notebook=place.notebook, cell=place.cell, title=told[place.notebook][0],
                                                         chapter='/' not in place.notebook)
    pages = {name: dict(title=title, description=description) for name, (title, description) in told.items()}
    made = {**made, 'pages.json': json.dumps(dict(pages=pages, places=spots), ensure_ascii=False, indent=1)}
    for name, text in made.items(): write_if_new(folder/name, text)
    for path in folder.rglob('*'):
        if path.is_file() and path.relative_to(folder).as_posix() not in made: path.unlink()
    pages = {Path(name).with_suffix('.html').as_posix() for name in made} | {'search.html'}
    for path in target.rglob('*.html'):
        if path.relative_to(target).as_posix() not in pages: path.unlink()
    # Sphinx cannot know that every page depends on these two.
    frame, memory = fingerprint(HERE/'conf.py', folder/'pages.json'), doctrees/'made-with'
    if not memory.exists() or memory.read_text() != frame:
        shutil.rmtree(doctrees, ignore_errors=True)
        write_atomic(memory, frame)


def run_sphinx(language, work):
    "Run Sphinx in one language, in a process of its own; every warning is an error. Returns its exit status."
    from sphinx.cmd.build import main
    source = work/'source'/language
    os.environ.update(DOCS_LANGUAGE=language, DOCS_SOURCE=str(source), SITE_URL=ADDRESS)
    with open(work/f'{language}.log', 'w', encoding='utf-8') as sys.stderr:
        return main(['-b', 'html', '-q', '-W', '--keep-going', '-c', str(HERE), '-d', str(work/'doctrees'/language), str(source), str(work/'html'/language)])


def both_languages(work):
    "Run Sphinx in both languages; return the lines that tell what is wrong."
    # Where it can, a process begins as a copy of this one, which has imported fastai already.
    how = multiprocessing.get_context('fork' if sys.platform == 'linux' else 'spawn')
    with ProcessPoolExecutor(len(LANGUAGES), mp_context=how) as pool: status = list(pool.map(run_sphinx, LANGUAGES, [work]*len(LANGUAGES)))
    logs = {language: (work/f'{language}.log').read_text(encoding='utf-8').splitlines() for language, failed in zip(LANGUAGES, status) if failed}
    return [f'{language}: {line}' for language, log in logs.items() for line in log or ['Sphinx failed'] if line.strip()]


# ------------------------------------------------------------ around the pages

def write_root(site, told):
    "What lies beside the two languages: the page that chooses, 404, the sitemap and llms.txt."
    for path in (HERE/'root').iterdir():
        write_if_new(site/path.name, path.read_text(encoding='utf-8').replace('{address}', ADDRESS))
    urls = []
    for name in told['en']:
        turns = ''.join(f'<xhtml:link rel="alternate" hreflang="{code}" href="{ADDRESS}/{language}/{name}.html"/>'
                        for language, code in (('en', 'en'), ('zh', 'zh-Hans')))
        urls += [f'<url><loc>{html.escape(f"{ADDRESS}/{language}/{name}.html")}</loc>{turns}</url>' for language in LANGUAGES]
    write_if_new(site/'sitemap.xml', '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" '
                 'xmlns:xhtml="http://www.w3.org/1999/xhtml">\n' + '\n'.join(urls) + '\n</urlset>\n')
    titles = dict(en='English', zh='简体中文')
    parts = [f'# sotalearn\n\n> {told["en"]["index"][1]}\n\nThe same pages exist in English and in Simplified Chinese.']
    for language in LANGUAGES:
        pages = '\n'.join(f'- [{title}]({ADDRESS}/{language}/{name}.html)' + (f': {text}' if text and text != title else '')
                          for name, (title, text) in told[language].items())
        parts.append(f'## {titles[language]}\n\n{pages}')
    write_if_new(site/'llms.txt', '\n\n'.join(parts) + '\n')
    write_if_new(site/'.nojekyll', '')


def tidy(site):
    "Remove what the builders leave and no page needs: maps of scripts, templates, copies of the sources."
    for path in [*site.rglob('*.map'), *site.rglob('*webpack-macros.html'), *site.rglob('.buildinfo.bak')]: path.unlink()
    for path in (site/'jupyter_execute', *site.glob('*/_sources')): shutil.rmtree(path, ignore_errors=True)


def build(options):
    "Build the site; return the lines that tell what is wrong, none if all is well."
    work, site = options.output.resolve(), options.output.resolve()/'html'
    found = notebooks(options.notebooks)
    wrong = [told for path in found.values() for told in reader.problems(path)]
    if wrong: return wrong
    import results        # and fastai with it: ten seconds that a faulty notebook need not cost
    measured = work/'results.ipynb'
    work.mkdir(parents=True, exist_ok=True)
    write_if_new(measured, nbformat.writes(results.notebook(options.runs)))
    if wrong := reader.problems(measured): return wrong
    assets, told = reader.Assets(site/'assets'), {}
    for language in LANGUAGES:
        made, told[language] = sources(language, found, measured, assets)
        write_sources(work, language, made, told[language])
    if wrong := both_languages(work): return wrong
    assets.prune()
    tidy(site)
    write_root(site, told)
    return links.broken(site)


def main():
    options, start = arguments(), time.perf_counter()
    stamp = options.output/'built-from'
    made_from = fingerprint(options.notebooks, options.runs, ROOT/'sotalearn', HERE, ROOT/'constraints.txt')
    if stamp.exists() and stamp.read_text() == made_from and (options.output/'html'/'index.html').exists():
        print(f'Nothing has changed since the site was built: {options.output/"html"}')
        return
    if stamp.exists(): stamp.unlink()
    if wrong := build(options):
        sys.exit('\n'.join([*wrong, f'The site was not built: {len(wrong)} problems.']))
    write_atomic(stamp, made_from)
    print(f'Built in {time.perf_counter() - start:.0f} s: {options.output/"html"} (look at it: python -m http.server -d {options.output/"html"})')


if __name__ == '__main__': main()
