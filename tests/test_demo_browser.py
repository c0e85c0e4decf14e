"""Live figures in a real JupyterLab and in files without a kernel, driven by headless Chromium."""
import base64
import io
import json
import os
import secrets
from contextlib import suppress

import nbformat
import numpy as np
import pytest
from PIL import Image

from lab import CHROMIUM, KERNEL, PATIENCE, Lab, our_troubles, run_all
from sotalearn.demos.base import demo
from sotalearn.demos.controls import Slider
from sotalearn.demos.mixup import mixup_demo
from sotalearn.demos.normalization import normalization_demo
from sotalearn.demos.page import PHONE, SMALLEST
from sotalearn.figures import StillFigure
from sotalearn.school.copy import chapters, in_language, write_copy

SMALL = dict(SOTALEARN_DATASET='toynette', SOTALEARN_EPOCHS='1', SOTALEARN_SIZE='32', SOTALEARN_TRAIN_IMAGES='200', SOTALEARN_LANGUAGE='en')
pytestmark = [pytest.mark.skipif(not CHROMIUM, reason='no Chromium on this machine: Debian has it as `chromium`'), pytest.mark.timeout(1200)]
CELLS = dict(mixup='from sotalearn.demos.mixup import mixup_demo\ndemo = mixup_demo(("church", "gas_pump"), language="en")\ndemo',
             normalization='from sotalearn.demos.normalization import normalization_demo\ndemo = normalization_demo(language="en")\ndemo')


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    with Lab(tmp_path_factory.mktemp('lab'), env=SMALL) as lab: yield lab


@pytest.fixture(scope='module')
def demos():
    "The same demos in this process: what their pictures and words must be."
    made = dict(mixup=mixup_demo(('church', 'gas_pump'), language='en'), normalization=normalization_demo(language='en'))
    yield made
    for demo in made.values(): demo.close()


def shown(page, name, where=''):
    "Wait until the picture of this name is painted; return it."
    page.wait_for_selector(f'{where} .demo-picture[data-shown="{name}"]')
    return page.locator(f'{where} .demo-picture').first


def agrees(picture, demo, **values):
    "Does the painted picture look as the demo's own at these values, and say the same?"
    words = demo._words({**demo.values, **values})
    seen = np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert('RGB').resize((100, 100)), float)
    narrow = picture.get_attribute('width') == str(demo.spec['narrow'][0])
    meant = np.asarray(demo._drawing({**demo.values, **values}, 2, narrow=narrow).resize((100, 100)), float)
    assert picture.get_attribute('alt') == words
    assert np.abs(seen - meant).mean() < 4, np.abs(seen - meant).mean()


def drag(page, slider, share):
    "Press the pointer on the slider's middle and let it go at `share` of its width."
    slider.scroll_into_view_if_needed()
    box, place = slider.bounding_box(), page.locator('.demo-picture').first.bounding_box()
    y, thumb = box['y'] + box['height']/2, 8
    page.mouse.move(box['x'] + box['width']/2, y)
    page.mouse.down()
    page.mouse.move(box['x'] + thumb + (box['width'] - 2*thumb)*share, y, steps=5)
    page.mouse.up()
    assert page.locator('.demo-picture').first.bounding_box() == place      # nothing jumps


def play_mixup(page, demo, step):
    "Move the slider by keyboard and by pointer, and compare."
    slider = page.get_by_role('slider', name='t: share of the first picture')
    assert (slider.get_attribute('min'), slider.get_attribute('max')) == ('0', '6' if step == FEW['mixup'] else '1')
    slider.focus()
    page.keyboard.press('ArrowRight')            # which JupyterLab must not take
    agrees(shown(page, 30 + step), demo, t=.3 + step/100)
    assert slider.get_attribute('aria-valuetext') == f'{.3 + step/100:.2f}'
    page.keyboard.press('End')
    agrees(shown(page, 100), demo, t=1.)
    drag(page, slider, .5)
    agrees(shown(page, 50), demo, t=.5)


def play_normalization(page, demo, step):
    "Every control by keyboard and by pointer."
    page.get_by_role('radio', name='nothing').focus()
    page.keyboard.press('ArrowRight')
    agrees(shown(page, '1,-,-'), demo, statistics='imagenet')
    assert page.get_by_role('slider', name='mean').is_disabled()
    page.get_by_text('your own', exact=True).click()
    agrees(shown(page, '3,50,25'), demo, statistics='own', mean=.5, std=.4)
    mean, std = page.get_by_role('slider', name='mean'), page.get_by_role('slider', name='std')
    mean.focus()
    page.keyboard.press('ArrowLeft')
    agrees(shown(page, f'3,{50 - step},25'), demo, statistics='own', mean=.5 - step/100, std=.4)
    drag(page, std, 1)
    agrees(shown(page, f'3,{50 - step},75'), demo, statistics='own', mean=.5 - step/100, std=.9)
    page.get_by_text('this batch’s', exact=True).click()
    assert 'red 0.00 and 1.00' in shown(page, '2,-,-').get_attribute('alt')


PLAY = dict(mixup=play_mixup, normalization=play_normalization)
STORED, FEW = dict(mixup=5, normalization=25), dict(mixup=20, normalization=50)       # steps of a page without a kernel, and on a phone


CHAPTERS = dict(mixup='06_mixup.ipynb', normalization='03_normalization.ipynb')


@pytest.mark.parametrize('name', CELLS)
def test_a_chapter_opened_and_run(lab, browser, name):
    "The chapter as a learner gets it, run from the top to its demo, which then is live."
    nb = in_language(nbformat.read(next(o for o in chapters() if o.name == CHAPTERS[name]), as_version=4), 'en')
    last = next(i for i, cell in enumerate(nb.cells) if cell.cell_type == 'code' and f'\n\n{name}_demo(' in cell.source or f'demo = {name}_demo(' in cell.source)
    lab.write(CHAPTERS[name], nbformat.from_dict({**nb, 'cells': nb.cells[:last + 1]}))
    page = lab.open(browser, CHAPTERS[name])
    page.wait_for_selector('.demo-picture[data-shown]')
    demo = dict(mixup=mixup_demo, normalization=normalization_demo)[name](language='en')
    PLAY[name](page, demo, 1)
    assert our_troubles(page) == []
    page.context.close()
    demo.close()


def run_cell(page, source, wait=True):
    "Run `source` in a cell below; return what it printed, or do not wait for it."
    page.evaluate('''async ([source, wait]) => {
        const {content} = jupyterapp.shell.currentWidget;
        content.activeCellIndex = content.widgets.length - 1;
        await jupyterapp.commands.execute('notebook:insert-cell-below');
        content.activeCell.model.sharedModel.setSource(source);
        const done = jupyterapp.commands.execute('notebook:run-cell');
        if (wait) await done;
    }''', [source, wait])
    return page.locator('.jp-CodeCell').last.locator('.jp-OutputArea-output').all_inner_texts()


def test_a_widget_among_widgets(lab, browser):
    "Set from Python, linked with a slider, shown twice, in a box; bad values; run again; after a restart."
    lab.write('widget.ipynb', CELLS['mixup'])
    page = lab.open(browser, 'widget.ipynb')
    cells = page.locator('.jp-CodeCell')
    first = cells.nth(0).locator('.demo-picture')
    run_cell(page, 'demo.t = .77')
    shown(page, 77)
    run_cell(page, 'from ipywidgets import FloatSlider, HBox, link\nother = FloatSlider(max=1, step=.01)\n'
                   'link((demo, "t"), (other, "value"))\nHBox([demo, other])')
    boxed = cells.nth(2).locator('.demo-picture[data-shown="77"]')
    boxed.wait_for()
    run_cell(page, 'other.value = .12')
    for cell in (0, 2): cells.nth(cell).locator('.demo-picture[data-shown="12"]').wait_for()
    run_cell(page, 'demo.t = float("nan")')
    page.get_by_text('t must be a number from 0 to 1, got nan').first.wait_for()
    assert page.locator('text=Traceback').count() == 0
    cells.nth(0).get_by_role('slider').focus()
    page.keyboard.press('ArrowRight')
    for cell in (0, 2): cells.nth(cell).locator('.demo-picture[data-shown="13"]').wait_for()
    run_cell(page, 'import time\nwhile other.value != .13: time.sleep(.1)\nprint(demo.t, other.value)')   # handlers have a thread of their own
    page.get_by_text('0.13 0.13', exact=True).wait_for()
    # pictures of the reader's own, by a native button
    files = [lab.folder/name for name in ('my cat.png', 'mine.jpg')]
    for file, colour in zip(files, ('red', 'blue')): Image.new('RGB', (3000, 2000), colour).save(file)
    button = cells.nth(0).locator('input[type=file]')
    button.set_input_files(files[:1])
    cells.nth(0).get_by_text('pictures must be of two classes, got my cat').wait_for()
    button.set_input_files(files)
    page.wait_for_function('o => o.alt.startsWith("A my cat and a mine blended: 0.13")', arg=first.element_handle())
    agrees(first, mixup_demo(files, language='en'), t=.13)
    # again
    page.evaluate('jupyterapp.shell.currentWidget.content.activeCellIndex = 0')
    page.evaluate('jupyterapp.commands.execute("notebook:run-cell")')
    cells.nth(0).locator('.demo-picture[data-shown="30"]').wait_for()
    cells.nth(0).get_by_role('slider').focus()
    page.keyboard.press('ArrowRight')
    cells.nth(0).locator('.demo-picture[data-shown="31"]').wait_for()
    # as fine as the screen, also when that changes
    assert first.evaluate('o => o.naturalWidth/o.width') == 1
    device = page.context.new_cdp_session(page)
    device.send('Emulation.setDeviceMetricsOverride', dict(width=1280, height=900, deviceScaleFactor=2, mobile=False))
    page.wait_for_function('o => o.naturalWidth === 2*o.width', arg=first.element_handle())
    # The kernel is busy: what is kept still plays, and the reader is told.
    let_go = hold(page, lab)
    cells.nth(0).get_by_role('slider').focus()
    page.keyboard.press('End')
    cells.nth(0).locator('.demo-picture[data-shown="100"]').wait_for()
    for _ in range(45): page.keyboard.press('ArrowLeft')
    page.get_by_text('The kernel is busy').first.wait_for()
    let_go()
    cells.nth(0).locator('.demo-picture[data-shown="55"]').wait_for()
    # the kernel goes away
    page.evaluate('jupyterapp.shell.currentWidget.sessionContext.restartKernel()')
    cells.nth(0).get_by_text('New pictures need a kernel').wait_for()
    page.keyboard.press('Home')
    cells.nth(0).locator('.demo-picture[data-shown="0"]').wait_for()
    assert our_troubles(page) == []
    page.context.close()


def hold(page, lab, then=''):
    """Run a cell that keeps Python's lock, as some long computations do, until what is returned is called.

    A mere `time.sleep` would leave widgets their own thread in ipykernel 7: PyDLL does not, and opening a pipe waits.
    """
    gate, begun = (lab.folder/f'{what}-{secrets.token_hex(4)}' for what in ('gate', 'begun'))
    os.mkfifo(gate)
    run_cell(page, f'import ctypes, os, pathlib\npathlib.Path({str(begun)!r}).touch()\n'
                   f'ctypes.PyDLL(None).open({str(gate).encode()!r}, 0)\n{then}', wait=False)
    while not begun.exists(): page.wait_for_timeout(100)
    return lambda: os.close(os.open(gate, os.O_WRONLY))


def run_again(page):
    "Run the first cell once the kernel is there."
    page.wait_for_function('jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === "idle"')
    page.evaluate('''() => {
        jupyterapp.shell.currentWidget.content.activeCellIndex = 0;
        jupyterapp.commands.execute('notebook:run-cell');
    }''')


# The ways a kernel goes: by itself, from the menu, with a request that is under way.
ENDS = dict(
    dies=lambda page, lab: run_cell(page, 'import os; os._exit(1)', wait=False),
    is_shut_down=lambda page, lab: page.evaluate('jupyterapp.shell.currentWidget.sessionContext.shutdown()'),
    dies_while_asked=lambda page, lab: hold(page, lab, then='os._exit(1)'))


def test_a_kernel_that_has_died(lab, browser):
    "What was seen still plays, a sentence says that nothing new can come; after a restart the cell is live again."
    lab.write('dead.ipynb', CELLS['mixup'])
    page = lab.open(browser, 'dead.ipynb')
    figure = page.locator('.jp-CodeCell').first
    said, slider = figure.locator('.demo-note'), figure.get_by_role('slider')
    for end, kill in ENDS.items():
        shown(page, 30)
        slider.focus()
        page.keyboard.press('ArrowRight')
        shown(page, 31)                                  # asked of the kernel
        assert said.inner_text() == ''
        let_go = kill(page, lab)
        if end == 'dies_while_asked':
            slider.focus()
            page.keyboard.press('PageUp')                # 10 steps on
            figure.get_by_text('The kernel is busy').wait_for()
            let_go()
        figure.get_by_text('New pictures need a kernel').wait_for()
        if end != 'is_shut_down':                        # JupyterLab says so, too, and starts another by itself
            page.get_by_text('appears to have died').wait_for()
            page.keyboard.press('Enter')
            page.locator('.jp-Dialog').wait_for(state='detached')
        slider.focus()
        page.keyboard.press('Home')
        shown(page, 0)
        page.keyboard.press('End')
        shown(page, 100)
        for _ in range(37): page.keyboard.press('ArrowLeft')
        assert slider.get_attribute('aria-valuetext') == '0.63'
        assert figure.locator('.demo-stale').count() == 1 and said.inner_text().startswith('New pictures need a kernel')
        assert page.locator('text=Traceback').count() == 0
        if end == 'is_shut_down': page.evaluate('jupyterapp.shell.currentWidget.sessionContext.changeKernel({name: "python3"})')
        run_again(page)
        shown(page, 30)
    run_cell(page, 'demo.t = .77')
    shown(page, 77)
    assert our_troubles(page) == []
    page.context.close()


@pytest.fixture(scope='module')
def stored(demos, tmp_path_factory):
    "Files that hold a demo's HTML for both languages."
    folder, files = tmp_path_factory.mktemp('html'), {}
    for name, demo in demos.items():
        files[name] = folder/f'{name}.html'
        files[name].write_text(f'<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">{demo.html(["en", "zh"])}',
                               encoding='utf-8')
    return files


@pytest.mark.parametrize('width, scheme', [(1000, 'light'), (390, 'dark')])
def test_a_file_plays_without_a_kernel_and_without_a_network(stored, browser, demos, width, scheme):
    context = browser.new_context(offline=True, viewport=dict(width=width, height=900), color_scheme=scheme)
    context.set_default_timeout(PATIENCE)
    for name, file in stored.items():
        page, troubles = context.new_page(), []
        page.on('console', lambda told: troubles.append(told.text))
        page.on('pageerror', lambda error: troubles.append(str(error)))
        page.on('request', lambda asked: troubles.append(asked.url) if asked.url.startswith('http') else None)
        page.goto(file.as_uri())
        page.wait_for_selector('.demo-picture[data-shown]')
        PLAY[name](page, demos[name], (STORED if width > 500 else FEW)[name])
        assert page.evaluate('document.documentElement.scrollWidth') <= width
        assert troubles == []
        page.close()
    context.close()


# Names of classes as folders may have them: HTML, quotes, without end, from right to left, joined signs.
HOSTILE = ('<script>window.broken = 1</script>', '"\'><img src=x onerror="window.broken = 1">', 'w'*200, 'قطة كبيرة', '🐈‍⬛ & $x^1$')


@pytest.mark.parametrize('first, second', [HOSTILE[:2], HOSTILE[2:4], HOSTILE[3:]], ids=['html', 'long', 'signs'])
def test_names_of_classes_are_words_and_nothing_else(browser, tmp_path, first, second):
    demo, page, troubles = mixup_demo({name: Image.new('RGB', (60, 60), 'red') for name in (first, second)}, 'en'), browser.new_page(), []
    page.on('console', lambda told: troubles.append(told.text))
    page.on('pageerror', lambda error: troubles.append(str(error)))
    page.on('dialog', lambda dialog: troubles.append(dialog.message))
    page.set_viewport_size(dict(width=390, height=900))
    (tmp_path/'page.html').write_text(f'<!doctype html><meta charset="utf-8">{demo.html(["en", "zh"])}', encoding='utf-8')
    page.goto((tmp_path/'page.html').as_uri())
    picture = shown(page, 30)
    assert picture.get_attribute('alt') == demo.alt() and first in demo.alt() and second in demo.alt()
    assert page.locator('.sotalearn-demo:not([hidden]) img').count() == 1 and page.evaluate('window.broken') is None
    assert page.evaluate('document.documentElement.scrollWidth') <= 390 and troubles == []
    page.close()
    demo.close()


# Stands in for the widget of a kernel that cannot draw one value; counts what it is asked for.
KERNEL_OF_A_PAGE = """<script>
const heard = {}, spec = %s, dot = atob("%s");
globalThis.asked = [];
const model = {
    get: name => name === 'spec' ? spec : name === 'note' ? '' : spec.values[name], set() {}, save_changes() {}, off() {},
    on(event, answer) { heard[event] = answer; },
    send({ ask: { x } }) {
        asked.push(x);
        const picture = Uint8Array.from(dot, sign => sign.charCodeAt());
        const answer = Math.abs(x - 2.5) < 1e-9 ? { error: 'x must not be 2.5' } : { alt: `x is ${x}`, mime: 'image/png', density: 2 };
        setTimeout(() => heard['msg:custom'](answer, [picture]), 1);
    } };
globalThis.sotalearnDemos = { models: new Map([[spec.id, model]]), figures: new Set() };
</script>"""


def test_at_rest_a_page_asks_for_each_picture_once_and_for_none_beyond_the_range(browser, tmp_path):
    from playwright.sync_api import TimeoutError
    @demo(Slider('x', ('x', 'x'), .2, 3, .05, start=2.8), mosaic='s', widths=(2,), heights=(2,))
    def frame(page, x): page.alt(f'x is {x}', f'x 是 {x}')
    moved, page, dot = frame('en'), browser.new_page(), io.BytesIO()
    Image.new('RGB', (1, 1)).save(dot, 'png')
    kernel = KERNEL_OF_A_PAGE % (json.dumps(moved.spec), base64.b64encode(dot.getvalue()).decode())
    figure = moved.html().replace('"stand_in": false', '"stand_in": true')          # the kernel's pictures alone
    (tmp_path/'page.html').write_text(f'<!doctype html><meta charset="utf-8">{kernel}{figure}', encoding='utf-8')
    page.goto((tmp_path/'page.html').as_uri())
    with suppress(TimeoutError): page.wait_for_function('asked.some(x => x < 2.01)', timeout=5000)      # the farthest
    page.wait_for_timeout(200)
    asked = page.evaluate('asked')
    steps = np.round(asked, 9)
    assert min(asked) < 2.01 and max(asked) <= 3 and 2.5 in steps and len(asked) == len({*steps}), asked
    assert page.locator('.demo-note').inner_text() == ''
    page.close()
    moved.close()


def test_a_narrow_column_scrolls_the_picture_and_not_the_page(stored, browser, demos, tmp_path):
    "As between JupyterLab's side bars on a phone: no letter is shown at less than 11 px."
    file = tmp_path/'narrow.html'
    file.write_text(f'<!doctype html><meta charset="utf-8"><div style="width: 200px">{stored["mixup"].read_text(encoding="utf-8")}</div>', encoding='utf-8')
    page = browser.new_page(viewport=dict(width=390, height=900))
    page.goto(file.as_uri())
    picture = page.locator('.demo-picture[data-shown]').first
    picture.wait_for()
    view = picture.locator('..')
    assert picture.bounding_box()['width'] == 328 and view.bounding_box()['width'] <= 200
    assert int(picture.get_attribute('width')) == demos['mixup'].spec['narrow'][0] <= PHONE and SMALLEST*96/72*328/PHONE >= 11
    assert view.evaluate('o => { o.scrollLeft = 999; return o.scrollLeft; }') > 100
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    page.close()


def test_a_phone_turned_gets_the_other_layout_at_the_same_value(stored, browser, demos):
    page = browser.new_page(viewport=dict(width=800, height=390))
    page.goto(stored['mixup'].as_uri())
    shown(page, 30)
    slider, (wide, _), (narrow, _) = page.get_by_role('slider'), demos['mixup'].spec['size'], demos['mixup'].spec['narrow']
    laid_out = "width => Number(document.querySelector('.demo-picture').getAttribute('width')) === width"
    slider.focus()
    page.keyboard.press('ArrowRight')
    shown(page, 35)
    page.set_viewport_size(dict(width=390, height=800))
    page.wait_for_function(laid_out, arg=narrow)
    agrees(shown(page, 30), demos['mixup'], t=.3)              # the nearest that a phone has
    assert slider.get_attribute('aria-valuetext') == '0.30'
    page.set_viewport_size(dict(width=800, height=390))
    page.wait_for_function(laid_out, arg=wide)
    agrees(shown(page, 30), demos['mixup'], t=.3)
    page.close()


def test_an_exported_file_plays_without_a_network(browser, demos, tmp_path):
    "What JupyterLab's menu exports; its own template asks for MathJax, in vain here."
    from nbconvert import HTMLExporter
    for name, demo in demos.items():
        data, metadata = demo._repr_mimebundle_()
        output = nbformat.v4.new_output('display_data', data=data, metadata=metadata)
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELLS[name], outputs=[output])], metadata=KERNEL)
        file = tmp_path/f'{name}.html'
        file.write_text(HTMLExporter().from_notebook_node(nb)[0], encoding='utf-8')
        page = browser.new_context(offline=True).new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(file.as_uri(), wait_until='commit')
        page.wait_for_selector('.demo-picture[data-shown]')
        PLAY[name](page, demo, dict(mixup=10, normalization=50)[name])
        page.context.close()


def test_a_signed_copy_plays_before_a_cell_is_run(lab, browser, stored, demos):
    output = nbformat.v4.new_output('display_data', data={'text/html': demos['mixup'].html(['en'])})
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELLS['mixup'], outputs=[output])], metadata=KERNEL)
    lab.write('signed.ipynb', nb, trusted=True)
    page = lab.open(browser, 'signed.ipynb', run=False)
    page.wait_for_selector('.demo-picture[data-shown="30"]')
    play_mixup(page, demos['mixup'], 5)
    assert page.get_by_text('Error displaying widget').count() == 0 and our_troubles(page) == []
    page.context.close()
    lab.write('unsigned.ipynb', nbformat.from_dict({**nb, 'metadata': {**KERNEL, 'title': 'not signed'}}))
    page = lab.open(browser, 'unsigned.ipynb', run=False)
    still = page.locator('.jp-OutputArea-output img')
    still.wait_for()
    assert still.get_attribute('alt') == repr(demos['mixup']).split(': ', 1)[1] and still.evaluate('o => o.naturalWidth') > 500
    page.context.close()


def test_an_untrusted_notebook_shows_no_figure_twice(lab, browser, demos, monkeypatch):
    "Neither the notebook of the course, in which both languages are stored, nor a copy that came from another machine."
    monkeypatch.setenv('DEMO_LANGUAGES', 'en,zh')
    still = StillFigure(lambda fig, say: fig.add_subplot().plot([0, 1]), 'A line that rises.', '一条上升的线。')
    shown = [thing._repr_mimebundle_() for thing in (still, demos['mixup'])]
    outputs = [nbformat.v4.new_output('display_data', data=data, metadata=told) for data, told in shown]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell('show()', outputs=[output]) for output in outputs])
    nb.cells += in_language(nb, 'zh').cells
    for i, cell in enumerate(nb.cells): cell.id = f'cell-{i}'
    lab.write('untrusted.ipynb', nbformat.from_dict({**nb, 'metadata': {**KERNEL, 'title': 'from elsewhere'}}))
    page = lab.open(browser, 'untrusted.ipynb', run=False)
    page.locator('.jp-OutputArea-output img').nth(3).wait_for()
    pictures = page.locator('.jp-OutputArea-output img:visible').all()
    assert [picture.evaluate('o => o.naturalWidth > 300') for picture in pictures] == [True]*4
    assert pictures[2].get_attribute('alt') == '一条上升的线。' and our_troubles(page) == []
    page.context.close()


# ------------------------------------------------------------ guesses

def test_a_guess_made_in_a_field_reaches_the_card_and_your_own_diagram(lab, browser, tmp_path):
    "Made before any cell was run, the browser alone keeps it; a cell that asks, counts or draws brings it to the card."
    chapter = next(o for o in chapters() if o.name == '02_baseline.ipynb')
    write_copy(tmp_path, 'en', [chapter])
    fields = [cell for cell in nbformat.read(tmp_path/chapter.name, as_version=4).cells
              if cell.source.endswith(("guess('untrained_loss')", "guess('seed_range')"))]
    draws = nbformat.v4.new_code_cell('from sotalearn.school.guesses import own_reliability\nown_reliability()')
    lab.write('guesses.ipynb', nbformat.v4.new_notebook(cells=[*fields, draws], metadata=KERNEL), trusted=True)
    page = lab.open(browser, 'guesses.ipynb', run=False)
    first, second = (page.locator(f'[data-guess={guess}]') for guess in ('untrained_loss', 'seed_range'))

    def answer(field, given, sure):
        field.locator('select').select_option(sure)
        field.locator('input').fill(given)
        field.locator('input').press('Enter')

    answer(first, '９', '90')
    assert 'Run this cell' in first.locator('.guess-keep').inner_text()
    card = lab.notebooks/'.sotalearn'/'progress.json'
    assert not card.exists()
    run_all(page)
    page.wait_for_function("document.querySelectorAll('.guess-keep').length === 0")
    page.get_by_text('Of your guesses 1 came').first.wait_for()
    answer(second, '2', '70')
    page.get_by_text('Of your guesses 2 came').first.wait_for()
    for _ in range(PATIENCE//100):
        kept = json.loads(card.read_text())['guesses'] if card.exists() else {}
        if len(kept) == 2: break
        page.wait_for_timeout(100)
    assert {guess: (one['given'], one['sure'], one['right']) for guess, one in kept.items()} == dict(
        untrained_loss=(9, 90, False), seed_range=(2, 70, True))
    assert our_troubles(page) == []
    page.context.close()


# ------------------------------------------------------------ the last: it ends the server that the others share

def test_a_server_that_is_stopped(lab, browser):
    "The last test here, for nobody starts it again: what was seen still plays, and a sentence says what is lacking."
    lab.write('stopped.ipynb', CELLS['mixup'])
    page = lab.open(browser, 'stopped.ipynb')
    shown(page, 30)
    lab.process.terminate()
    lab.process.wait(20)
    page.get_by_text('Jupyter does not answer').first.wait_for()
    slider = page.get_by_role('slider', include_hidden=True)           # JupyterLab's own dialog takes the keys
    for value, name in ((1, 100), (.63, None)):
        slider.evaluate('(o, value) => { o.value = value; o.dispatchEvent(new Event("input")); }', value)
        if name: shown(page, name)
    assert slider.get_attribute('aria-valuetext') == '0.63' and page.locator('.demo-stale').count() == 1
    page.context.close()
