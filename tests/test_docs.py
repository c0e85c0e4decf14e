"""The built site, page by page in headless Chromium with the network cut, and what the build refuses."""
import functools
import gzip
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pandas as pd
import pytest

from lab import CHROMIUM, FLAGS

ROOT = Path(__file__).parent.parent
DOCS, LANGUAGES = ROOT/'docs', ('en', 'zh')
sys.path.insert(0, str(DOCS))
pytestmark = pytest.mark.timeout(900)
in_chromium = pytest.mark.skipif(not CHROMIUM, reason='no Chromium on this machine: Debian has it as `chromium`')
HEAVIEST = 3_000_000                       # bytes of a page with all it loads
ROUND_TRIP, BYTES_A_SECOND = .165, 1_012_500      # Chromium's "Fast 4G"


def build(*arguments):
    return subprocess.run([sys.executable, DOCS/'build.py', *arguments], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope='module')
def site():
    "The folder of the site, built from this clone; one that is there and up to date is taken as it is."
    told = build()
    assert not told.returncode, told.stdout + told.stderr
    return DOCS/'_build'/'html'


@pytest.fixture(scope='module')
def names(site):
    "The pages of one language, without their ending; both languages must have the same."
    found = [sorted(o.relative_to(site/language).with_suffix('').as_posix() for o in (site/language).rglob('*.html')) for language in LANGUAGES]
    assert found[0] == found[1]
    assert {'index', '01_imagenette', '03_normalization', 'results', 'making', 'api/normalization', 'search'} <= set(found[0])
    return found[0]


def text_of(site, language, name): return (site/language/f'{name}.html').read_text(encoding='utf-8')


# ------------------------------------------------------------ the files

def test_a_second_build_has_nothing_to_do(site):
    before = (DOCS/'_build'/'built-from').stat().st_mtime_ns
    assert 'Nothing has changed' in build().stdout
    assert (DOCS/'_build'/'built-from').stat().st_mtime_ns == before


def test_no_link_is_broken(site):
    from links import broken
    assert broken(site) == []


def test_a_broken_link_would_be_found(tmp_path):
    from links import broken
    (tmp_path/'a.html').write_text('<a href="b.html#there">b</a><a href="#here">here</a><img src="gone.webp">')
    (tmp_path/'b.html').write_text('<p id="elsewhere">b</p><a href="a.html">a</a>')
    assert broken(tmp_path) == ['a.html: no file for the link gone.webp', 'a.html: no passage for the link #here',
                                'a.html: no passage for the link b.html#there']


def test_every_notebook_with_prose_has_a_page(site, names):
    from reader import is_chapter
    for path in [*(ROOT/'nbs').glob('*.ipynb'), *(ROOT/'nbs'/'tools').glob('*.ipynb')]:
        assert (path.relative_to(ROOT/'nbs').with_suffix('').as_posix() in names) == is_chapter(path), path.name


def test_chapters_stand_in_the_same_order_in_both_languages(site, names):
    def order(language):
        menu = text_of(site, language, 'index').split('bd-docs-nav')[1].split('</nav>')[0]
        return re.findall(r'href="([^"#]+)"', menu)
    assert order('en') == order('zh')
    chapters = [o for o in names if re.match(r'\d\d_', o)]
    assert [o.removesuffix('.html') for o in order('en') if re.match(r'\d\d_', o)] == chapters


def test_every_page_has_a_title_a_description_and_its_own_language(site, names):
    for language in LANGUAGES:
        titles = {}
        for name in names:
            head = text_of(site, language, name).split('</head>')[0]
            titles.setdefault(re.search(r'<title>(.+?)</title>', head)[1], []).append(name)
            assert f'<html lang="{dict(en="en", zh="zh-CN")[language]}"' in head
            if name == 'search': continue
            assert len(re.search(r'<meta name="description" content="([^"]+)"', head)[1]) >= 4, name
        assert all(len(o) == 1 for o in titles.values()), titles


def test_prose_is_in_the_pages_language(site, names):
    for name in set(names) - {'search'}:
        body = re.sub(r'<pre.*?</pre>|<code.*?</code>|<script.*?</script>|<[^>]+>', ' ', text_of(site, 'en', name).split('<article')[1].split('</article>')[0], flags=re.S)
        if name != 'api/figures': assert not re.search(r'[\u4e00-\u9fff]{4}', body), (name, re.findall(r'.{20}[\u4e00-\u9fff]{4}', body)[:3])
    for name in [o for o in names if '/' not in o]: assert re.search(r'[\u4e00-\u9fff]{4}', text_of(site, 'zh', name)), name


def test_the_sitemap_and_llms_txt_name_every_page(site, names):
    sitemap, told = (site/'sitemap.xml').read_text(encoding='utf-8'), (site/'llms.txt').read_text(encoding='utf-8')
    assert told.startswith('# sotalearn\n\n> ')
    for language in LANGUAGES:
        for name in set(names) - {'search'}:
            assert re.search(rf'<loc>http[^<]+/{language}/{name}\.html</loc>', sitemap), name
            assert re.search(rf'\]\(http[^)]+/{language}/{name}\.html\)', told), name


def test_every_function_is_linked_to_its_chapter_and_its_cell(site):
    import contents
    for module, notebook in contents.modules().items():
        page = text_of(site, 'en', f'api/{module}')
        if not (site/'en'/f'{notebook}.html').exists(): continue
        for name in contents.public(module):
            assert f'id="sotalearn.{module}.{name}"' in page
            cell = contents.places(ROOT/'sotalearn'/f'{module}.py')[name].cell
            assert f'{notebook}.html#cell-{cell}' in page, name


def test_a_folded_cell_is_folded_and_a_hidden_one_is_gone(site):
    page = text_of(site, 'en', '03_normalization')
    assert re.search(r'<details class="[^"]*hide above-input', page)
    nb = nbformat.read(ROOT/'nbs'/'03_normalization.ipynb', as_version=4)
    hidden = [o.source for o in nb.cells if o.cell_type == 'code' and '#| hide' in o.source]
    assert hidden and '#| ' not in page
    words = re.sub(r'<[^>]+>', '', page)
    for source in hidden: assert source.splitlines()[-1][:40] not in words


def test_the_page_of_results_tells_what_the_table_says(site):
    runs = pd.read_csv(ROOT/'results'/'runs.csv', keep_default_na=False)
    page = re.sub(r'<[^>]+>', ' ', text_of(site, 'en', 'results'))
    assert f'{len(runs)} runs so far' in page
    plain = runs[(runs.dataset == 'imagenette-160') & (runs.normalize.astype(str) == 'False') & (runs['size'] == 64)]
    assert len(plain) >= 3
    shown = 100*plain.accuracy
    assert f'{shown.mean():.1f} % ({shown.min():.1f}–{shown.max():.1f})' in page
    for noted in ('82.52 %', '82.45 %', '86.33 %', '87.38 %'): assert noted in page


def loaded(path):
    "The files that a page of the site may load, itself among them: pictures, styles and their fonts, scripts, frames of live figures."
    text = path.read_text(encoding='utf-8')
    head = re.findall(r'<link[^>]+href="([^"]+)"[^>]*rel="stylesheet"|<link rel="stylesheet"[^>]+href="([^"]+)"', text)
    targets = [o for pair in head for o in pair if o] + re.findall(r'<(?:img|script)[^>]+src="([^"]+)"', text) + re.findall(r'"src": "([^"]+)"', text)
    files = {(path.parent/urlsplit(o).path).resolve() for o in targets if not o.startswith('data:')}
    styles = {o for o in files if o.suffix == '.css'}
    fonts = {o for style in styles for o in (style.parent.parent/'vendor').rglob('fa-solid*.woff2')}
    basic = {o.parent.parent/'basic.css' for o in styles if o.name == 'theme.css'}
    return {path.resolve(), *files, *fonts, *basic}


def test_no_page_is_heavier_than_it_may_be(site, names):
    weights = {f'{language}/{name}': sum(o.stat().st_size for o in loaded(site/language/f'{name}.html')) for language in LANGUAGES for name in names}
    assert {name: weight for name, weight in weights.items() if weight > HEAVIEST} == {}


def test_the_first_screen_is_there_within_a_second_on_fast_4g(site, names):
    "Counted, not clocked: what must come before the first paint, zipped as hosts send it, in two round trips."
    for name in names:
        path = site/'en'/f'{name}.html'
        waits = [path.resolve(), *(o for o in loaded(path) if o.suffix == '.css')]
        head = path.read_text(encoding='utf-8').split('</head>')[0]
        blocking = [o for o in re.findall(r'<script ([^>]*src="[^"]+"[^>]*)>', head) if 'defer' not in o]
        assert name == 'search' or blocking == [], blocking
        seconds = 2*ROUND_TRIP + sum(len(gzip.compress(o.read_bytes(), 6)) for o in waits)/BYTES_A_SECOND
        assert seconds < 1, (name, seconds)


# ------------------------------------------------------------ in the browser

@pytest.fixture(scope='module')
def address(site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words): pass
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


@pytest.fixture(scope='module')
def browser():
    "Chromium with the network cut: no name is resolved, no address but this machine's is reached."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        cut = '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, '--headless=new', cut])
        try: yield browser
        finally: browser.close()


def watched(context):
    "A page that keeps what it asked of other hosts, what was not found, and what the console complained of."
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.troubles, page.elsewhere = [], []
    page.on('console', lambda told: told.type == 'error' and page.troubles.append(told.text))
    page.on('pageerror', lambda error: page.troubles.append(str(error)))
    page.on('response', lambda answer: answer.status >= 400 and page.troubles.append(f'{answer.status} {answer.url}'))
    page.on('request', lambda asked: urlsplit(asked.url).hostname not in ('127.0.0.1', None) and page.elsewhere.append(asked.url))
    return page


MEASURE = '''() => ({
  wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  silent: [...document.querySelectorAll('img')].filter(o => !o.getAttribute('alt')?.trim()).map(o => o.outerHTML.slice(0, 80)),
  flat: [...document.querySelectorAll('math')].filter(o => o.checkVisibility() && o.getBoundingClientRect().height < 5).length,
})'''


# axe looks at every word of code. Blocks that have no kind of word that was not on the page before are put out of its sight.
THIN = '''() => {
  const seen = new Set();
  for (const block of document.querySelectorAll('div.highlight')) {
    const kinds = [...block.querySelectorAll('pre span')].map(o => o.className);
    if (kinds.every(o => seen.has(o)) && seen.size) block.style.display = 'none';
    kinds.forEach(o => seen.add(o));
  }
}'''


@pytest.fixture(scope='module')
def visits(site, address, browser, names):
    "Every page seen once in each language: what went wrong on it, by kind."
    from axe_playwright_python.base import AXE_FILE_PATH
    axe = Path(AXE_FILE_PATH).read_text(encoding='utf-8')
    judge = '''async rules => (await axe.run(document, {resultTypes: ['violations'], preload: false, ...rules})).violations
        .filter(o => ['serious', 'critical'].includes(o.impact)).map(o => `${o.id}: ${o.nodes.map(n => n.target + ' ' + (n.any[0]?.message ?? '')).slice(0, 3).join(' | ')}`)'''
    contrast = dict(runOnly=['color-contrast', 'link-in-text-block'])
    context = browser.new_context(viewport=dict(width=1280, height=900), color_scheme='light', reduced_motion='reduce')
    page, seen = watched(context), {}
    for name in [f'{language}/{o}' for language in LANGUAGES for o in names]:
        page.troubles, page.elsewhere = [], []
        page.goto(f'{address}/{name}.html')
        told = page.evaluate(MEASURE)
        page.evaluate(axe)
        page.evaluate(THIN)
        told['light'] = page.evaluate(judge, {})
        page.evaluate('() => { document.documentElement.dataset.theme = "dark"; }')
        told['dark'] = page.evaluate(judge, contrast)
        for width in (640, 390):             # a window of 1280 px at 200 % zoom, and a phone
            page.set_viewport_size(dict(width=width, height=800))
            told[width] = page.evaluate(MEASURE)['wide']
        page.set_viewport_size(dict(width=1280, height=900))
        seen[name] = dict(told, troubles=page.troubles, elsewhere=page.elsewhere)
    context.close()
    return seen


def faults(visits, kind): return {name: told[kind] for name, told in visits.items() if told[kind]}


@in_chromium
def test_no_page_asks_anything_of_another_host(visits): assert faults(visits, 'elsewhere') == {}


@in_chromium
def test_no_page_makes_the_console_complain(visits): assert faults(visits, 'troubles') == {}


@in_chromium
@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_axe_finds_nothing_serious(visits, theme): assert faults(visits, theme) == {}


@in_chromium
@pytest.mark.parametrize('width', ['wide', 640, 390])
def test_no_page_scrolls_sideways(visits, width): assert faults(visits, width) == {}


@in_chromium
def test_every_picture_has_alt_text(visits): assert faults(visits, 'silent') == {}


@in_chromium
def test_formulas_are_drawn_without_a_network(site, visits):
    assert '<math' in text_of(site, 'en', '03_normalization') and '$' not in re.sub(r'<(pre|script|code).*?</\1>', '', text_of(site, 'en', '03_normalization'), flags=re.S)
    assert faults(visits, 'flat') == {}


@in_chromium
def test_the_first_screen_needs_no_script_picture_or_font(address, browser):
    context = browser.new_context(viewport=dict(width=390, height=844))
    page = context.new_page()
    page.route('**/*', lambda route: route.continue_() if route.request.resource_type in ('document', 'stylesheet') else route.abort())
    for name in ('en/index', 'zh/03_normalization', 'en/api/normalization'):
        page.goto(f'{address}/{name}.html')
        for part in ('article h1', 'article p'):
            box = page.locator(part).first.bounding_box()
            assert box['height'] > 10 and box['y'] < 844
    context.close()


@in_chromium
def test_every_control_of_every_live_figure_answers_to_the_keyboard(site, address, browser, names):
    pages = [f'{language}/{name}' for language in LANGUAGES for name in names if 'class="sotalearn-demo"' in text_of(site, language, name)]
    assert {'en/index', 'zh/index', 'en/03_normalization', 'en/06_mixup'} <= set(pages)
    context = browser.new_context(viewport=dict(width=1280, height=900))
    page = watched(context)
    for name in pages:
        page.goto(f'{address}/{name}.html')
        for demo in page.locator('.sotalearn-demo').all():
            demo.scroll_into_view_if_needed()
            demo.locator('.demo-panel').wait_for()
            figure = demo.element_handle()
            moved = 0
            for control in demo.locator('fieldset.demo-control, .demo-control:has(input[type=range])').all():
                for option in demo.locator('input[type=radio]').all():       # the last option of a choice sets the sliders free
                    if control.locator('input:disabled').count(): option.check(force=True)
                if control.locator('input:disabled').count(): continue
                control.locator('input[type=range], input:checked').first.focus()
                before = demo.locator('.demo-picture').get_attribute('data-shown')
                at_its_end = control.locator('input[type=range]').evaluate_all('all => all.some(o => o.value === o.max)')
                page.keyboard.press('ArrowLeft' if at_its_end else 'ArrowRight')
                page.wait_for_function('([o, was]) => o.querySelector(".demo-picture").dataset.shown !== was', arg=[figure, before])
                assert page.evaluate('async o => { const i = o.querySelector(".demo-picture"); await i.decode(); return i.naturalWidth; }', figure) > 100
                moved += 1
            assert moved == demo.locator('.demo-control').count(), name
    assert page.troubles == []
    context.close()


@in_chromium
def test_the_switch_leads_to_the_same_passage_in_the_other_language(address, browser):
    page = browser.new_context().new_page()
    page.goto(f'{address}/en/03_normalization.html#The-wrong-statistics')
    page.locator('.language-switch').click()
    page.wait_for_url(f'{address}/zh/03_normalization.html#The-wrong-statistics')
    assert page.locator('[id="The-wrong-statistics"] h2').first.inner_text().startswith('统计量错了')
    page.goto(f'{address}/')                                       # and the choice is remembered
    page.wait_for_url(f'{address}/zh/index.html')
    page.locator('.language-switch').click()
    page.wait_for_url(f'{address}/en/index.html')
    page.context.close()


@in_chromium
@pytest.mark.parametrize('locale, language', [('zh-CN', 'zh'), ('en-GB', 'en'), ('fr-FR', None)])
def test_the_root_follows_the_browsers_language(address, browser, locale, language):
    page = browser.new_context(locale=locale).new_page()
    page.goto(f'{address}/')
    if language: page.wait_for_url(f'{address}/{language}/index.html')
    else: assert [o.inner_text() for o in page.locator('nav a').all()] == ['English', '简体中文']
    page.goto(f'{address}/#choose')
    assert page.locator('nav a').first.is_visible()
    page.context.close()


@in_chromium
@pytest.mark.parametrize('language, query, found', [
    ('en', 'normalization', '03_normalization'), ('en', 'safetensors', '03_normalization'), ('en', 'blend', '06_mixup'),
    ('zh', '归一化', '03_normalization'), ('zh', '统计量', '03_normalization'), ('zh', '加油机', '06_mixup'), ('zh', 'Mixup', '06_mixup')])
def test_search_finds(address, browser, language, query, found):
    page = watched(browser.new_context())
    page.goto(f'{address}/{language}/search.html?q={query}')
    page.locator(f'#search-results li a[href*="{found}"]').first.wait_for()
    assert page.troubles == []
    page.context.close()


@in_chromium
def test_a_chapter_prints_its_text_and_nothing_of_the_frame(address, browser):
    page = browser.new_context(viewport=dict(width=794, height=1123)).new_page()       # A4 at 96 dots an inch
    page.goto(f'{address}/en/03_normalization.html')
    page.emulate_media(media='print')
    for part in ('.bd-sidebar-primary', '.bd-header-article', '.language-switch', '.prev-next-footer'): assert not page.locator(part).first.is_visible(), part
    assert page.locator('article p').first.is_visible() and page.evaluate(MEASURE)['wide'] <= 0
    assert page.pdf(format='A4').startswith(b'%PDF')
    page.context.close()


# ------------------------------------------------------------ what the build refuses

def first(cells, fits): return next(i for i, o in enumerate(cells) if fits(o))


def without_twin(cells): del cells[first(cells, lambda o: o.metadata.get('tags') == ['zh'])]
def with_unknown_tag(cells): cells[4].metadata['tags'] = ['slow']
def with_machine_path(cells):
    cells[first(cells, lambda o: o.get('outputs'))].outputs = [nbformat.v4.new_output('stream', name='stdout', text='saved to /home/someone/model')]
def without_alt(cells):
    cell = cells[first(cells, lambda o: any('<img ' in p.get('data', {}).get('text/html', '') for p in o.get('outputs', [])))]
    for output in cell.outputs:
        if 'text/html' in output.get('data', {}): output.data['text/html'] = re.sub(r' alt="[^"]*"', '', output.data['text/html'])
def with_large_demo(cells):
    told = json.dumps(dict(spec={}, pictures={'0': dict(data='A'*1_600_000, alt='a picture')}))
    html = f'<div lang="en" class="sotalearn-demo"><img alt="a picture" src=""><script type="application/json">{told}</script></div>'
    cells[first(cells, lambda o: o.get('outputs'))].outputs = [nbformat.v4.new_output('display_data', data={'text/html': html})]


FAULTS = {'01_imagenette': (without_twin, 'twin is missing'), '02_baseline': (with_unknown_tag, "unknown tag 'slow'"),
          '03_normalization': (without_alt, 'no alt text'), '06_mixup': (with_large_demo, 'at most 1.5 MB, got 1.6 MB'),
          'tools/course': (with_machine_path, "path of a machine: '/home/someone")}


@pytest.fixture(scope='module')
def spoilt(tmp_path_factory):
    "A copy of the notebooks with a fault in each of five."
    folder = tmp_path_factory.mktemp('spoilt')/'nbs'
    shutil.copytree(ROOT/'nbs', folder, ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    for name, (spoil, _) in FAULTS.items():
        nb = nbformat.read(folder/f'{name}.ipynb', as_version=4)
        spoil(nb.cells)
        nbformat.write(nb, folder/f'{name}.ipynb')
    return folder


@pytest.mark.parametrize('name', FAULTS)
def test_a_fault_is_told_with_notebook_and_cell(spoilt, name):
    from reader import problems
    told = problems(spoilt/f'{name}.ipynb')
    assert re.match(rf'{Path(name).name}\.ipynb, cell \d+ \(\w+, .+\): ', told[0]), told
    assert FAULTS[name][1] in told[0]
    assert problems(ROOT/'nbs'/f'{name}.ipynb') == []


def test_a_file_that_is_no_notebook_is_told(tmp_path):
    from reader import problems
    (tmp_path/'07_x.ipynb').write_text('not a notebook')
    assert problems(tmp_path/'07_x.ipynb')[0].startswith('07_x.ipynb: must be a notebook')


def test_the_build_fails_and_names_every_fault(spoilt, tmp_path):
    told = build('--notebooks', spoilt, '--output', tmp_path)
    assert told.returncode == 1 and not (tmp_path/'html').exists()
    for name, (_, words) in FAULTS.items(): assert re.search(rf'{Path(name).name}\.ipynb, cell \d+ .*{re.escape(words)}', told.stderr), told.stderr
    assert int(re.search(r'The site was not built: (\d+) problems', told.stderr)[1]) == told.stderr.count('.ipynb, cell ')
