"""The built site, page by page in headless Chromium with the network cut, and what the build refuses."""
import functools
import gzip
import html
import http.server
import json
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pandas as pd
import pytest

from lab import CHROMIUM, OPEN_GUESSES, chromium
from sotalearn.recipes import measured_runs
from sotalearn.settings import LANGUAGES

ROOT = Path(__file__).parent.parent
DOCS = ROOT/'docs'
sys.path.insert(0, str(DOCS))
pytestmark = pytest.mark.timeout(900)
in_chromium = pytest.mark.skipif(not CHROMIUM, reason='no Chromium on this machine: Debian has it as `chromium`')
HEAVIEST = 3_000_000                       # bytes of a page with all it loads
ROUND_TRIP, BYTES_A_SECOND = .165, 1_012_500      # Chromium's "Fast 4G"
OLD_ADDRESSES = """01_imagenette 02_baseline 03_normalization 04_progressive_resizing 05_test_time_augmentation 06_mixup
    07_label_smoothing 08_state_of_the_art 09_questionnaire api/cli api/course api/data api/demo api/exercises
    api/experiments api/figures api/index api/mixup api/normalization api/questionnaire api/quiz api/resizing
    api/smoothing api/toynette api/training api/tta index making results search tools/cli tools/course tools/demo
    tools/exercises tools/figures tools/index tools/quiz tools/toynette""".split()      # before the modules had rooms


def build(*arguments):
    return subprocess.run([sys.executable, DOCS/'build.py', *arguments], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope='module')
def site():
    "The folder of the site, built from this clone; one that is there and up to date is taken as it is."
    told = build()
    assert not told.returncode, told.stdout + told.stderr
    return DOCS/'_build'/'html'


def pages_of(folder):
    "The names of a language's pages, without their ending."
    return sorted(path.relative_to(folder).with_suffix('').as_posix() for path in folder.rglob('*.html'))


@pytest.fixture(scope='module')
def names(site):
    "The pages of one language but those that only lead on; both languages must have the same."
    from forwards import MOVED
    english, chinese = (pages_of(site/language) for language in LANGUAGES)
    assert english == chinese
    names = [name for name in english if name not in MOVED]
    assert {'index', '01_imagenette', 'results', 'glossary', 'making', 'api/normalization', 'demos/mixup', 'search'} <= set(names)
    return names


def text_of(site, language, name): return (site/language/f'{name}.html').read_text(encoding='utf-8')


# ------------------------------------------------------------ the files

def test_a_second_build_has_nothing_to_do(site):
    before = (DOCS/'_build'/'built-from').stat().st_mtime_ns
    assert 'Nothing has changed' in build().stdout
    assert (DOCS/'_build'/'built-from').stat().st_mtime_ns == before


def test_a_broken_link_would_be_found(tmp_path):
    from links import broken
    (tmp_path/'a.html').write_text('<a href="b.html#there">b</a><a href="#here">here</a><img src="gone.webp">')
    (tmp_path/'b.html').write_text('<p id="elsewhere">b</p><a href="a.html">a</a>')
    assert broken(tmp_path) == ['a.html: no file for the link gone.webp', 'a.html: no passage for the link #here',
                                'a.html: no passage for the link b.html#there']


def test_every_notebook_has_a_page_and_those_behind_the_chapters_are_listed(site, names):
    listed = text_of(site, 'en', 'tools/index')
    for path in (ROOT/'nbs').rglob('*.ipynb'):
        if '.ipynb_checkpoints' in path.parts: continue
        name = path.relative_to(ROOT/'nbs').with_suffix('').as_posix()
        assert name in names
        if '/' in name: assert f'"{name.removeprefix("tools/")}.html"' in listed or f'"../{name}.html"' in listed, name


@pytest.mark.parametrize('language', LANGUAGES)
def test_every_old_address_leads_to_a_page(site, names, language):
    from forwards import MOVED
    for name in OLD_ADDRESSES:
        text = text_of(site, language, name)
        way = re.search(r'<meta http-equiv="refresh" content="0; url=([^"]+)">', text)
        assert bool(way) == (name not in names), name
        if not way: continue
        new = site/language/f'{MOVED[name]}.html'
        assert ((site/language/name).parent/way[1]).resolve() == new.resolve() and new.exists()
        assert f'<a href="{way[1]}">' in text
        assert re.search(rf'<link rel="canonical" href="http[^"]+/{language}/{MOVED[name]}\.html">', text)
    assert set(MOVED) <= set(OLD_ADDRESSES)


def test_chapters_stand_in_the_same_order_in_both_languages(site, names):
    def order(language):
        menu = text_of(site, language, 'index').split('bd-docs-nav')[1].split('</nav>')[0]
        return re.findall(r'href="([^"#]+)"', menu)
    assert order('en') == order('zh')
    chapters = [name for name in names if re.match(r'\d\d_', name)]
    assert [link.removesuffix('.html') for link in order('en') if re.match(r'\d\d_', link)] == chapters


def test_every_page_has_a_title_a_description_and_its_own_language(site, names):
    for language in LANGUAGES:
        titles = {}
        for name in names:
            head = text_of(site, language, name).split('</head>')[0]
            titles.setdefault(re.search(r'<title>(.+?)</title>', head)[1], []).append(name)
            assert f'<html lang="{dict(en="en", zh="zh-CN")[language]}"' in head
            if name == 'search': continue
            assert len(re.search(r'<meta name="description" content="([^"]+)"', head)[1]) >= 4, name
        assert all(len(found) == 1 for found in titles.values()), titles


def test_prose_is_in_the_pages_language(site, names):
    for name in set(names) - {'search'}:
        article = text_of(site, 'en', name).split('<article')[1].split('</article>')[0]
        words = re.sub(r'<pre.*?</pre>|<code.*?</code>|<script.*?</script>|<[^>]+>|‘[^’]{,80}’', ' ', article, flags=re.S)
        assert not (found := re.findall(r'.{20}[\u4e00-\u9fff]{4}', words)), (name, found[:3])
    for name in names:
        if '/' not in name: assert re.search(r'[\u4e00-\u9fff]{4}', text_of(site, 'zh', name)), name


ENGLISH = re.compile(r"[A-Za-z][a-z'’]+(?: (?:[A-Za-z][a-z'’]+|a\b)){2,}")      # three words or more
# Names, what a paper or a program is called, the English of a term, and Python's way to show a value.
NAMES = re.compile(r'Chan, Golub and LeVeque|\w+ et al|（[A-Za-z -]+[，）]|“[^”]*”|<built-in function \w+>')


def english_on(page):
    "Runs of English words on a page, its frame and what is said to a screen reader included, outside of code."
    page = re.sub(r'<!--.*?-->|<(script|style|pre|code|math|svg)\b.*?</\1>|<dt class="sig .*?</dt>', '|', page, flags=re.S)
    page = re.sub(r'<a class="reference external".*?</a>|<em>[A-Z].*?</em>|(?<=<th) [^>]*', '|', page,
                  flags=re.S)                           # titles of papers, and a heading's name in code
    words = re.findall(r'(?:alt|title|aria-label|placeholder|content)="([^"]+)"', page)
    words += re.sub(r'<[^>]+>', '', re.sub(r'</(?:p|li|t[dh]|d[dt]|h\d|div|a|button|option)>', '\n', page)).split('\n')
    return [found for text in words for found in ENGLISH.findall(NAMES.sub('|', html.unescape(text)))]


def test_the_chinese_site_says_nothing_in_english(site, names):
    spoken = {name: english_on(text_of(site, 'zh', name)) for name in set(names) - {'glossary'}}
    assert len(spoken) > 140
    assert {name: found for name, found in spoken.items() if found} == {}


def test_english_would_be_found_on_a_page():
    page = ('<button title="Toggle the primary sidebar"></button><pre>code may say a thing</pre><p>第 3 章 <code>x</code></p>'
            '<p>here it is said aloud</p><a class="reference external" href="x">Mixup is a paper</a><!-- a comment of a theme -->')
    assert english_on(page) == ['Toggle the primary sidebar', 'here it is said aloud']


def test_the_sitemap_and_llms_txt_name_every_page(site, names):
    sitemap, told = ((site/name).read_text(encoding='utf-8') for name in ('sitemap.xml', 'llms.txt'))
    assert told.startswith('# sotalearn\n\n> ')
    for language in LANGUAGES:
        for name in set(names) - {'search'}:
            assert re.search(rf'<loc>http[^<]+/{language}/{name}\.html</loc>', sitemap), name
            assert re.search(rf'\]\(http[^)]+/{language}/{name}\.html\)', told), name


def test_every_function_is_linked_to_its_chapter_and_its_cell(site):
    import origins
    for module, notebook in origins.modules().items():
        page, places = text_of(site, 'en', f'api/{module}'), origins.places(module)
        for name in origins.public(module):
            assert f'id="sotalearn.{module}.{name}"' in page
            assert f'{notebook}.html#cell-{places[name].cell}' in page, name


def words_of(text): return ' '.join(html.unescape(re.sub(r'<[^>]+>', '', text)).split())


def test_the_reference_shows_the_comment_beside_each_parameter(site):
    from sotalearn.signatures import parameters
    from sotalearn.toynette import Difficulty, make_toynette
    from sotalearn.recipes import Recipe
    for thing in (Difficulty, make_toynette, Recipe):
        module = thing.__module__.removeprefix('sotalearn.')
        page = words_of(text_of(site, 'en', f'api/{module}'))
        told = [parameter.comment.replace('`', '') for parameter in parameters(thing) if parameter.comment]
        assert len(told) > 3
        for comment in told: assert re.split('[\'"]', comment)[0] in page, comment       # quotes are typeset


def test_signs_in_a_comment_mean_nothing_and_code_stays_code():
    from docstrings import as_rst
    assert as_rst('any shape (n, *), |x| of `a` and `b*c`, x_ and n_a') == \
        r'any shape (n, \*), \|x\| of `a` and ``b*c``, x\_ and n_a'


def test_a_folded_cell_is_folded_and_a_hidden_one_is_gone(site):
    page = text_of(site, 'en', '03_normalization')
    assert re.search(r'<details class="[^"]*hide above-input', page)
    nb = nbformat.read(ROOT/'nbs'/'03_normalization.ipynb', as_version=4)
    hidden = [cell.source for cell in nb.cells if cell.cell_type == 'code' and '#| hide' in cell.source]
    assert hidden and '#| ' not in page
    words = re.sub(r'<[^>]+>', '', page)
    for source in hidden: assert source.splitlines()[-1][:40] not in words


def test_the_page_of_results_tells_what_the_table_says(site):
    runs = pd.read_csv(ROOT/'results'/'runs.csv', keep_default_na=False)
    page = re.sub(r'<[^>]+>', ' ', text_of(site, 'en', 'results'))
    assert f'{len(runs)} runs so far' in page
    plain = 100*measured_runs().accuracy
    assert len(plain) == 5 and f'{plain.mean():.1f} % ({plain.min():.1f}–{plain.max():.1f})' in page
    for noted in ('82.52 %', '82.45 %', '86.33 %', '87.38 %'): assert noted in page


def loaded(path):
    "The files that a page may load, itself among them: pictures, styles and fonts, scripts, frames of live figures."
    text = path.read_text(encoding='utf-8')
    links = re.findall(r'<link[^>]*rel="stylesheet"[^>]*>', text)
    targets = [re.search(r'href="([^"]+)"', link)[1] for link in links]
    targets += re.findall(r'<(?:img|script)[^>]+src="([^"]+)"', text) + re.findall(r'"src": "([^"]+)"', text)
    files = {(path.parent/urlsplit(target).path).resolve() for target in targets if not target.startswith('data:')}
    styles = {file for file in files if file.suffix == '.css'}
    fonts = {font for style in styles for font in (style.parent.parent/'vendor').rglob('fa-solid*.woff2')}
    basic = {style.parent.parent/'basic.css' for style in styles if style.name == 'theme.css'}
    return {path.resolve(), *files, *fonts, *basic}


def test_no_page_is_heavier_than_it_may_be(site, names):
    pages = [f'{language}/{name}' for language in LANGUAGES for name in names]
    weights = {page: sum(file.stat().st_size for file in loaded(site/f'{page}.html')) for page in pages}
    assert {page: weight for page, weight in weights.items() if weight > HEAVIEST} == {}


def test_the_first_screen_is_there_within_a_second_on_fast_4g(site, names):
    "Counted, not clocked: what must come before the first paint, zipped as hosts send it, in two round trips."
    @functools.cache
    def zipped(file): return len(gzip.compress(file.read_bytes(), 6))
    for name in names:
        path = site/'en'/f'{name}.html'
        waits = [path.resolve(), *(file for file in loaded(path) if file.suffix == '.css')]
        head = path.read_text(encoding='utf-8').split('</head>')[0]
        scripts = re.findall(r'<script ([^>]*src="[^"]+"[^>]*)>', head)
        blocking = [script for script in scripts if 'defer' not in script]
        assert name == 'search' or blocking == [], blocking
        seconds = 2*ROUND_TRIP + sum(map(zipped, waits))/BYTES_A_SECOND
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
    with chromium('--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1') as browser: yield browser


def watched(context):
    "A page that keeps what it asked of other hosts, what was not found, and what the console complained of."
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.troubles, page.elsewhere = [], []
    page.on('console', lambda told: told.type == 'error' and page.troubles.append(told.text))
    page.on('pageerror', lambda error: page.troubles.append(str(error)))
    page.on('response', lambda answer: answer.status >= 400 and page.troubles.append(f'{answer.status} {answer.url}'))
    def is_elsewhere(url): return urlsplit(url).hostname not in ('127.0.0.1', None)
    page.on('request', lambda asked: is_elsewhere(asked.url) and page.elsewhere.append(asked.url))
    return page


MEASURE = '''() => ({
  wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  silent: [...document.querySelectorAll('img')].filter(o => !o.getAttribute('alt')?.trim())
    .map(o => o.outerHTML.slice(0, 80)),
  flat: [...document.querySelectorAll('math')]
    .filter(o => o.checkVisibility() && o.getBoundingClientRect().height < 5).length,
  cut: [...document.querySelectorAll('math :is(mi, mn, mo)')]      // left of the page, where nobody can scroll to
    .filter(o => o.checkVisibility() && o.getBoundingClientRect().right < 0).length,
})'''


# A word's colours come from the kinds of element around it: axe judges the contrast of each kind once on the site.
MARK_NEW_KINDS = '''() => {
  const seen = new Set(JSON.parse(sessionStorage.getItem('kinds') ?? '[]'));
  const kind = o => o === document.body ? ''
    : `${kind(o.parentElement)}>${o.tagName}.${o.getAttribute('class')}[${o.getAttribute('style')}]`;
  for (const element of document.querySelectorAll('body *')) {
    const says = [...element.childNodes].some(o => o.nodeType === Node.TEXT_NODE && o.data.trim());
    if (!says || seen.has(kind(element))) continue;
    seen.add(kind(element));
    element.dataset.newKind = '';
  }
  sessionStorage.setItem('kinds', JSON.stringify([...seen]));
  return document.querySelectorAll('[data-new-kind]').length;
}'''
# And all other rules are about the block of code, not about its words: without their thousands of spans axe is quick.
FLATTEN_CODE = '''() => {
  for (const block of document.querySelectorAll('pre:not(:has([data-new-kind]))')) block.textContent = block.textContent;
}'''
# A rule whose faults are never serious is not asked.
JUDGE = '''async ([where, {rules = {}, ...only}]) => {
  for (const {id, impact} of axe._audit.rules) if (!['serious', 'critical'].includes(impact)) rules[id] = {enabled: false};
  const {violations} = await axe.run(where, {resultTypes: ['violations'], preload: false, rules, ...only});
  const told = o => `${o.target} ${o.any[0]?.message ?? ''}`;
  return violations.filter(o => ['serious', 'critical'].includes(o.impact))
    .map(o => `${o.id}: ${o.nodes.map(told).slice(0, 3).join(' | ')}`);
}'''
CONTRAST = ['color-contrast', 'link-in-text-block']


def judge(page, theme, where, **rules):
    "What axe finds serious in a part of a page in a theme."
    page.evaluate('theme => { document.documentElement.dataset.theme = theme; }', theme)
    return page.evaluate(JUDGE, [where, rules])


def judge_both(page):
    "What axe finds serious on a page, by theme."
    new_kinds = page.evaluate(MARK_NEW_KINDS)
    page.evaluate(FLATTEN_CODE)
    found = dict(light=judge(page, 'light', 'html', rules={name: dict(enabled=False) for name in CONTRAST}), dark=[])
    if new_kinds:
        for theme in ('light', 'dark'): found[theme] += judge(page, theme, '[data-new-kind]', runOnly=CONTRAST)
    return found


WIDTHS = (1280, 640, 390)         # a laptop's window, the same at 200 % zoom, and a phone


def visit(page, address):
    "What is wrong on a page, by kind. The window keeps the last width for the next page: each change is drawn anew."
    page.troubles, page.elsewhere = [], []
    page.goto(address)
    page.evaluate(OPEN_GUESSES)
    told, there = {}, {}
    for width in sorted(WIDTHS, key=lambda width: abs(width - page.viewport_size['width'])):
        page.set_viewport_size(dict(width=width, height=800))
        there[width] = page.evaluate(MEASURE)
        if width == 1280: told |= judge_both(page)
    told |= {width: there[width]['wide'] for width in WIDTHS}
    told |= {kind: there[1280][kind] for kind in ('silent', 'flat')}
    told['cut'] = sum(found['cut'] for found in there.values())
    return dict(told, troubles=page.troubles, elsewhere=page.elsewhere)


@pytest.fixture(scope='module')
def visits(address, browser, names):
    "Every page seen once in each language: what went wrong on it, by kind."
    from axe_playwright_python.base import AXE_FILE_PATH
    context = browser.new_context(viewport=dict(width=1280, height=800), color_scheme='light', reduced_motion='reduce')
    context.add_init_script(path=AXE_FILE_PATH)
    page = watched(context)
    # There and back: what was loaded at a laptop's width in English is loaded at a phone's in Chinese.
    pages = [f'en/{name}' for name in names] + [f'zh/{name}' for name in reversed(names)]
    seen = {name: visit(page, f'{address}/{name}.html') for name in pages}
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
@pytest.mark.parametrize('width', WIDTHS)
def test_no_page_scrolls_sideways(visits, width): assert faults(visits, width) == {}


@in_chromium
def test_every_picture_has_alt_text(visits): assert faults(visits, 'silent') == {}


@in_chromium
def test_formulas_are_drawn_without_a_network(site, visits):
    page = text_of(site, 'en', '03_normalization')
    assert '<math' in page and '$' not in re.sub(r'<(pre|script|code).*?</\1>', '', page, flags=re.S)
    assert faults(visits, 'flat') == {} and faults(visits, 'cut') == {}


@in_chromium
def test_the_first_screen_needs_no_script_picture_or_font(address, browser):
    context = browser.new_context(viewport=dict(width=390, height=844))
    page = context.new_page()
    def only_text(route):
        if route.request.resource_type in ('document', 'stylesheet'): route.continue_()
        else: route.abort()
    page.route('**/*', only_text)
    for name in ('en/index', 'zh/03_normalization', 'en/api/normalization'):
        page.goto(f'{address}/{name}.html')
        for part in ('article h1', 'article p'):
            box = page.locator(part).first.bounding_box()
            assert box['height'] > 10 and box['y'] < 844
    context.close()


def turn(page, demo, control):
    "Move a control of a live figure from the keyboard; another picture must come."
    for option in demo.locator('input[type=radio]').all():       # the last option of a choice sets the sliders free
        if control.locator('input:disabled').count(): option.check(force=True)
    if control.locator('input:disabled').count(): return False
    control.locator('input[type=range], input:checked').first.focus()
    before = demo.locator('.demo-picture').get_attribute('data-shown')
    sliders = control.locator('input[type=range]')
    at_its_end = sliders.evaluate_all('all => all.some(o => o.value === o.max)')
    page.keyboard.press('ArrowLeft' if at_its_end else 'ArrowRight')
    figure = demo.element_handle()
    page.wait_for_function('([o, was]) => o.querySelector(".demo-picture").dataset.shown !== was', arg=[figure, before])
    width = """async o => {
        const picture = o.querySelector(".demo-picture");
        await picture.decode();
        return picture.naturalWidth;
    }"""
    assert page.evaluate(width, figure) > 100
    return True


@in_chromium
def test_every_control_of_every_live_figure_answers_to_the_keyboard(site, address, browser, names):
    pages = [f'{language}/{name}' for language in LANGUAGES for name in names
             if 'class="sotalearn-demo"' in text_of(site, language, name)]
    assert {'en/index', 'zh/index', 'en/03_normalization', 'en/06_mixup'} <= set(pages)
    context = browser.new_context(viewport=dict(width=1280, height=900))
    page = watched(context)
    for name in pages:
        page.goto(f'{address}/{name}.html')
        page.evaluate(OPEN_GUESSES)
        for demo in page.locator('.sotalearn-demo').all():
            demo.scroll_into_view_if_needed()
            demo.locator('.demo-panel').wait_for()
            controls = demo.locator('fieldset.demo-control, .demo-control:has(input[type=range])').all()
            moved = sum(turn(page, demo, control) for control in controls)
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
    page.goto(f'{address}/en/making.html#To-change-something')            # of a text that is no notebook, too
    page.locator('.language-switch').click()
    page.wait_for_url(f'{address}/zh/making.html#To-change-something')
    assert page.locator('[id="To-change-something"] h2').count() == 1
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
    else: assert [link.inner_text() for link in page.locator('nav a').all()] == ['English', '简体中文']
    page.goto(f'{address}/#choose')
    assert page.locator('nav a').first.is_visible()
    page.context.close()


@in_chromium
@pytest.mark.parametrize('language, query, found', [
    ('en', 'normalization', '03_normalization'), ('en', 'safetensors', 'models'), ('en', 'blend', '06_mixup'),
    ('zh', '归一化', '03_normalization'), ('zh', '统计量', '03_normalization'), ('zh', '加油机', '06_mixup'),
    ('zh', 'Mixup', '06_mixup')])
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
    for part in ('.bd-sidebar-primary', '.bd-header-article', '.language-switch', '.prev-next-footer'):
        assert not page.locator(part).first.is_visible(), part
    assert page.locator('article p').first.is_visible() and page.evaluate(MEASURE)['wide'] <= 0
    assert page.locator('.guess-closed').count() > 5 and not page.locator('.sotalearn-guess').first.is_visible()
    said = "[...document.querySelectorAll('.guess-closed > p')].filter(o => o.textContent.trim())"
    assert page.evaluate(f'{said}.length') > 5 and page.evaluate(f'{said}.every(o => o.checkVisibility())')
    assert page.pdf(format='A4').startswith(b'%PDF')
    page.set_viewport_size(dict(width=680, height=1000))        # between the margins
    for name, fold in (('06_mixup', 'article details:not(.hide, .optional, .sotalearn-quiz details) p'), ('07_label_smoothing', 'table')):
        page.goto(f'{address}/en/{name}.html')
        assert page.locator(fold).first.evaluate('o => o.checkVisibility({ contentVisibilityAuto: true })')     # nothing folds on paper,
        assert page.locator('.sotalearn-quiz details').evaluate_all('all => all.length && all.every(o => !o.checkVisibility())')
        assert page.locator('table').evaluate_all('all => all.every(o => o.getBoundingClientRect().right < 681)')  # nothing is cut
        broken = "all => all.filter(o => o.checkVisibility() && ['avoid', 'avoid-page'].includes(getComputedStyle(o).breakInside)).length"
        assert page.locator('.cell_input pre, .cell_input div:has(> pre)').evaluate_all(broken) == 0
    page.goto(f'{address}/en/02_baseline.html')         # a matrix that one picks a cell of is a figure, too
    page.evaluate(OPEN_GUESSES)
    page.locator('.sotalearn-demo').first.scroll_into_view_if_needed()
    page.locator('.demo-cells').wait_for()
    page.context.close()


@in_chromium
def test_an_old_address_leads_on_in_the_browser(address, browser):
    page = watched(browser.new_context())
    page.goto(f'{address}/zh/api/course.html')
    page.wait_for_url(f'{address}/zh/api/settings.html')
    page.locator('article h1').wait_for()
    assert page.troubles == []
    page.context.close()


# ------------------------------------------------------------ opened by a double click

@pytest.fixture(scope='module')
def unpacked(site, tmp_path_factory):
    "The site's zip, unpacked where a learner may unpack it; the file:// address of a page there."
    folder = tmp_path_factory.mktemp('my courses 课程')
    with zipfile.ZipFile(DOCS/'_build'/'sotalearn-site.zip') as archive: archive.extractall(folder)
    assert {path.name for path in folder.iterdir()} == {'sotalearn'}
    return lambda name: (folder/'sotalearn'/name).as_uri()


@in_chromium
def test_the_unpacked_site_plays_by_a_double_click(unpacked, browser):
    "Under file:// no page may read its neighbours, nor load a module script: figures, questions and search still work."
    page = watched(browser.new_context(viewport=dict(width=1280, height=900), locale='en-GB'))
    page.goto(unpacked('index.html'))
    page.wait_for_url('**/en/index.html')                          # from the root to the reader's language
    for name in ('index', '06_mixup'):
        page.goto(unpacked(f'en/{name}.html'))
        demo = page.locator('.sotalearn-demo').first
        demo.scroll_into_view_if_needed()
        demo.locator('.demo-panel').wait_for()
        assert turn(page, demo, demo.locator('.demo-control').first)
    page.goto(unpacked('en/09_questionnaire.html'))
    question = page.locator('.sotalearn-quiz:has(input[type=radio])').first
    question.locator('input[type=radio]').first.check()
    question.locator('button').click()
    assert question.locator('.quiz-said').inner_text().strip()
    page.locator('.language-switch').click()
    page.wait_for_url('**/zh/*.html')
    page.goto(unpacked('zh/search.html') + '?q=归一化')
    page.locator('#search-results li a[href*="03_normalization"]').first.click()
    page.wait_for_url('**/zh/03_normalization.html*')
    assert page.troubles == [] and page.elsewhere == []
    page.context.close()


# ------------------------------------------------------------ what the build refuses

def prose(source, *tags): return nbformat.v4.new_markdown_cell(source, metadata=dict(tags=list(tags)))
def code(source, *outputs): return nbformat.v4.new_code_cell(source, outputs=list(outputs))
def says(text, name='stdout'): return nbformat.v4.new_output('stream', name=name, text=text)
def shows(shown, kind='text/html'): return nbformat.v4.new_output('display_data', data={kind: shown})


def figure(*pictures, failed=False, note=''):
    "A live figure with these pictures."
    told = dict(spec=dict(failed=failed, note=note, controls=[dict(name='t'), dict(name='alpha')]),
                pictures={str(i): dict(alt='a picture', data=data) for i, data in enumerate(pictures)})
    return shows('<div lang="en" class="sotalearn-demo"><img lang="en" alt="two pictures blended" src=""><script '
                 f'type="application/json">{json.dumps(told)}</script></div>')


PICTURES = '<img lang="en" alt="a church and a dog" src=""><img lang="zh" alt="一座教堂和一只趴在旁边的狗" src="">'
ERROR = nbformat.v4.new_output('error', ename='ValueError', evalue='no')
FAULTS = {
    'the Chinese twin is missing': [prose('words', 'en'), code('1')],
    'the English twin is missing': [prose('文字', 'zh')],
    'prose must have one of the tags en and zh, got none': [prose('words')],
    "unknown tag 'slow'; known: en, zh": [code('1'), prose('words', 'en', 'slow'), prose('文字', 'zh')],
    "path of a machine: '/home/someone": [code('save()', says('saved to /home/someone/model'))],
    'the output is an error: ValueError: no': [code('1', ERROR)],
    'text on stderr': [code('1', says('careful', 'stderr'))],
    "a warning or an error: 'UserWarning: old": [code('1', says('x.py:1: UserWarning: old'))],
    'a picture has no alt text: image/png': [code('plot()', shows('AAAA', 'image/png'))],
    'each picture must be there in en and zh, got en': [code('plot()', shows(PICTURES.split('<img lang="zh"')[0]))],
    'each figure must be there in en and zh, got en': [code('plot()', nbformat.v4.new_output(
        'display_data', data={'image/png': 'AAAA'}, metadata={'image/png': dict(alt='a church and a dog')}))],
    'a figure is stored as HTML alone': [code('plot()', shows(PICTURES.replace('src=""', 'src="data:image/webp;base64,AA"')))],
    'a picture has no alt text: <img': [code('plot()', shows(PICTURES.replace('a church and a dog', '')))],
    'a widget is stored': [code('demo', shows('{}', 'application/vnd.jupyter.widget-view+json'))],
    'at most 1.5 MB, got 1.6 MB': [code('demo', figure('A'*1_600_000, 'A'))],
    'keeps one picture: give t and alpha fewer stored steps': [code('demo', figure('A'))],
    'a live figure could not be drawn: t must be below 1': [code('demo', figure(failed=True, note='t must be below 1'))],
    'no cell has an output: run the notebook': [code('1 + 1')]}
GOOD = [prose('words', 'en'), prose('文字', 'zh'), code('#| export\nx = 1'), code('plot()', shows(PICTURES))]


def written(path, cells):
    "A notebook of these cells at `path`, the parent folder made if need be."
    path.parent.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.mark.parametrize('told', FAULTS)
def test_a_fault_is_told_with_notebook_and_cell(tmp_path, told):
    from problems import problems
    found = problems(written(tmp_path/'07_x.ipynb', FAULTS[told]))
    assert any(re.match(r'07_x\.ipynb(, cell \d+ \(\w+, .+\))?: ', line) and told in line for line in found), found
    assert len(found) <= 2


def test_a_good_notebook_has_no_fault(tmp_path):
    from problems import problems
    assert problems(written(tmp_path/'07_x.ipynb', GOOD)) == []


def test_a_notebook_that_is_too_large_is_told_with_its_largest_cell(tmp_path):
    from problems import NOTEBOOK_BYTES, problems
    cells = [*GOOD, code('#| echo: false\nlong()', says('x'*NOTEBOOK_BYTES)), code('short()', says('x'))]
    found = problems(written(tmp_path/'07_x.ipynb', cells))
    assert len(found) == 1 and re.search(r"at most 4 MB, got 4.0 MB, 4.0 MB of it in cell 4 \(\w+, 'long\(\)'\)", found[0]), found


def test_a_file_that_is_no_notebook_is_told(tmp_path):
    from problems import problems
    (tmp_path/'07_x.ipynb').write_text('not a notebook')
    assert problems(tmp_path/'07_x.ipynb')[0].startswith('07_x.ipynb: must be a notebook')


def test_the_build_fails_and_names_every_fault(tmp_path):
    spoilt = tmp_path/'nbs'
    written(spoilt/'index.ipynb', GOOD)
    written(spoilt/'01_x.ipynb', [prose('# x', 'en')])
    written(spoilt/'demos'/'y.ipynb', [prose('# y'), code('1', says('careful', 'stderr'))])
    told = build('--notebooks', spoilt, '--output', tmp_path/'built')
    assert told.returncode == 1 and not (tmp_path/'built'/'html').exists()
    for notebook, words in (('01_x', 'cell 0 .*twin is missing'), ('y', 'cell 0 .*got none'), ('y', 'cell 1 .*stderr')):
        assert re.search(rf'{notebook}\.ipynb, {words}', told.stderr), told.stderr
    assert 'The site was not built: 3 problems' in told.stderr


# ------------------------------------------------------------ guesses

@in_chromium
@pytest.mark.parametrize('language, opening, wrong', [('en', 'Your guess: 2.5', 'A number is asked for'),
                                                      ('zh', '你的猜测：2.5', '这里要一个数')])
def test_an_answer_waits_for_a_guess_made_by_keyboard(address, browser, language, opening, wrong):
    page = watched(browser.new_context())
    page.goto(f'{address}/{language}/02_baseline.html')
    root, answer = page.locator('[data-guess=untrained_loss]'), page.locator('.guess-closed').first
    assert not answer.locator('p').first.is_visible()
    root.locator('input').focus()
    for text in ('', 'a lot'):
        page.keyboard.type(text)
        page.keyboard.press('Enter')
        assert root.locator('.guess-said').inner_text() and answer.count()
    assert root.locator('.guess-said').inner_text().startswith(wrong)
    page.keyboard.press('Control+A')
    page.keyboard.type('２，５')
    page.keyboard.press('Tab')
    page.keyboard.type('80')
    page.keyboard.press('Tab')
    page.keyboard.press('Enter')
    assert opening in root.locator('.guess-said').inner_text() and root.locator('svg[role=img]').is_visible()
    assert page.evaluate("JSON.parse(localStorage.getItem('sotalearn-guesses')).untrained_loss") == dict(
        given=2.5, sure=80, right=True)
    closed = page.locator('.guess-closed').count()
    page.reload()
    assert page.locator('.guess-closed').count() == closed and opening in root.locator('.guess-said').inner_text()
    page.goto(f'{address}/{language}/04_progressive_resizing.html#cell-7a34402e')       # a link into what is closed
    assert page.locator('[id="cell-7a34402e"]').evaluate('o => !o.closest(".guess-closed")')
    assert page.troubles == []
    page.context.close()


@in_chromium
@pytest.mark.parametrize('kept', ['{"beta": {"giv', '[]', '{"untrained_loss": 3, "seed_range": {"given": "x"}}', 'null', '{"random_fifth": {"given": "z"}}'])
def test_a_storage_of_another_edition_does_no_harm(address, browser, kept):
    page = watched(browser.new_context())
    page.goto(f'{address}/en/02_baseline.html')
    page.evaluate("kept => localStorage.setItem('sotalearn-guesses', kept)", kept)
    page.reload()
    assert page.locator('.sotalearn-guess form').first.is_visible() and page.troubles == []
    page.context.close()


@in_chromium
def test_without_scripts_nothing_is_closed_and_no_field_is_there(address, browser):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f'{address}/en/02_baseline.html')
    assert page.locator('.guess-closed').count() == 0 and not page.locator('.sotalearn-guess form').first.is_visible()
    assert page.get_by_text('About one in ten').is_visible()
    for name in ('07_label_smoothing', 'results'):      # a diagram and a box that scripts would make
        page.goto(f'{address}/en/{name}.html')
        assert page.locator('article noscript p').first.inner_text().startswith('This needs scripts')
        assert page.locator('.sidebar-toggle:visible').count() == 0
    page.context.close()


@in_chromium
def test_axe_finds_nothing_serious_in_a_guess_before_and_after(address, browser):
    from axe_playwright_python.base import AXE_FILE_PATH
    page = watched(browser.new_context())
    page.goto(f'{address}/en/02_baseline.html')
    page.evaluate(Path(AXE_FILE_PATH).read_text(encoding='utf-8'))
    for theme in ('light', 'dark'): assert judge(page, theme, '.sotalearn-guess') == []
    page.evaluate(OPEN_GUESSES)
    for theme in ('light', 'dark'): assert judge(page, theme, '.sotalearn-guess') == []
    page.context.close()


@in_chromium
def test_the_page_reads_a_number_as_the_notebook_does(address, browser):
    from test_guesses import TYPED, UNREADABLE
    page = browser.new_context().new_page()
    page.goto(f'{address}/en/02_baseline.html')
    script = (ROOT/'sotalearn'/'school'/'guess.js').read_text(encoding='utf-8').split('function typedNumber')[1].split('\n}\n')[0]
    read = f"text => {{ const read = function typedNumber{script}\n}}; return read(text, ['points', '个百分点']); }}"
    for text, value in TYPED: assert page.evaluate(read, text) == pytest.approx(value), text
    for text in UNREADABLE: assert page.evaluate(read, text) != page.evaluate(read, text), text       # not a number
    page.context.close()


# ------------------------------------------------------------ what is optional

@in_chromium
@pytest.mark.parametrize('language, words', [('en', 'Optional: '), ('zh', '选读：')])
def test_an_optional_part_opens_by_keyboard_by_a_link_and_on_paper(address, browser, language, words):
    page = watched(browser.new_context(viewport=dict(width=1280, height=900)))
    page.goto(f'{address}/{language}/06_mixup.html')
    folds = page.locator('details.optional')
    assert folds.count() == 4 and folds.evaluate_all('all => all.every(o => !o.open && o.parentElement.tagName === "SECTION")')
    first = folds.nth(1)
    assert first.locator(":scope > summary").inner_text().startswith(words)
    field = first.locator('.sotalearn-guess').first
    assert not field.is_visible()
    first.locator(":scope > summary").focus()
    page.keyboard.press('Enter')
    assert field.is_visible() and first.locator('.guess-closed').count()
    field.locator('.guess-skip').click()                                    # a guess in it works as anywhere
    assert first.locator('.guess-closed').count() == 0
    inner = folds.nth(3).locator('.anchor').first.get_attribute('id')      # of a cell
    for place, fold in (('How-low-can-the-training-loss-get?', 2), (inner, 3)):
        page.goto('about:blank')
        page.goto(f'{address}/{language}/06_mixup.html#{place}')
        page.wait_for_function('n => document.querySelectorAll("details.optional")[n].open', arg=fold)
        assert folds.evaluate_all('all => all.filter(o => o.open).length') == 1
    page.evaluate('dispatchEvent(new Event("beforeprint"))')
    assert folds.evaluate_all('all => all.every(o => o.open)')
    page.evaluate('dispatchEvent(new Event("afterprint"))')
    assert folds.evaluate_all('all => all.filter(o => o.open).length') == 1
    exercise = folds.nth(2).locator('.sotalearn-quiz')
    page.evaluate(OPEN_GUESSES)
    exercise.locator('summary').first.click()                               # an exercise in it does, too
    assert exercise.locator('details p').first.is_visible()
    assert page.troubles == []
    page.context.close()


@in_chromium
def test_without_scripts_what_is_optional_is_open(address, browser):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f'{address}/en/06_mixup.html')
    assert page.locator('details.optional[open]').count() == page.locator('details.optional').count() == 4
    page.context.close()
