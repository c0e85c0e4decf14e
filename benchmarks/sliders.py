"""How fast a live figure follows its slider, against `@interact` with `plt.show()` drawing the same figure.

All run in one JupyterLab, in turn, round after round, moved by the keyboard and the pointer of a headless Chromium: on a
screen with one dot for a CSS pixel, and on a fine one with two. Prints a table for each and writes both as JSON:

    python benchmarks/sliders.py [FILE.json [SCREEN]]
"""
import json, os, platform, statistics, sys, tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tests'))
from lab import CHROMIUM, Lab, chromium, run_all, wait_idle   # noqa: E402: tests/ is no package
from playwright.sync_api import Error, TimeoutError   # noqa: E402

SCREENS, ROUNDS, MOVES, DRAG = (1, 2), 2, 15, 80
WARM = 'import matplotlib.pyplot as plt, torch, ipywidgets\nimport sotalearn.demos.mixup, sotalearn.toynette\n%matplotlib inline'
OURS = 'from sotalearn.demos.mixup import mixup_demo\ndemo = mixup_demo(("church", "gas_pump"), language="en")\ndemo'
# The same artists, drawn by the same functions, the way a notebook usually does it: with as many dots as ours, and
# with the few that the inline backend gives by default, which look coarse on any screen.
INTERACT = '''from ipywidgets import FloatSlider, interact
from sotalearn.demos.page import Page
model = mixup_demo(("church", "gas_pump"), language="en")
@interact(t=FloatSlider(value=.3, min=0, max=1, step=.01))
def draw(t):
    fig = plt.figure(figsize=model.size, dpi=%d)
    page = Page(model._layout, fig=fig)
    page.fill(model._frame, dict(t=t))
    plt.show()'''


def ways(screen):
    "For each way of drawing the cell that does it, on a screen with this many dots for a CSS pixel."
    return {'sotalearn': OURS, '@interact, as many dots': INTERACT % (96*screen), '@interact, 72 dpi': INTERACT % 72}


# In the page: note when a new picture is on screen, and when an input event came.
WATCH = '''cell => {
    const area = jupyterapp.shell.currentWidget.content.widgets[cell].node;
    const log = window.log = {paints: [], inputs: [], sources: new Set()};
    const painted = source => {
        if (!source || source === log.last) return;
        log.last = source;
        requestAnimationFrame(() => log.paints.push(performance.now()));
    };
    log.last = area.querySelector('.jp-OutputArea img')?.src;
    log.observer = new MutationObserver(() => {
        const image = area.querySelector('.jp-OutputArea img');
        if (!image || image.src === log.last) return;
        if (image.complete && image.naturalWidth) painted(image.src); else image.addEventListener('load', () => painted(image.src));
    });
    log.observer.observe(area, {subtree: true, childList: true, attributes: true, attributeFilter: ['src']});
    area.addEventListener('input', () => log.inputs.push(performance.now()), true);
    area.addEventListener('keydown', () => { log.key = performance.now(); }, true);
}'''


def settle(page):
    wait_idle(page)
    page.wait_for_timeout(400)


def handle(page, cell):
    "What moves the slider of this cell: ours is an input, ipywidgets' a handle."
    slider = page.locator('.jp-Notebook-cell').nth(cell).locator('input[type=range], .ui-slider-handle, .noUi-handle').first
    slider.scroll_into_view_if_needed()
    return slider


def key_moves(page, cell, keys):
    "Milliseconds from each key to the new picture on screen; None if none came within 5 s."
    page.evaluate(WATCH, cell)
    handle(page, cell).focus()
    waits = []
    for key in keys:
        before = page.evaluate('log.paints.length')
        page.keyboard.press(key)
        try: page.wait_for_function('n => log.paints.length > n', arg=before, timeout=5_000)
        except TimeoutError: waits.append(None)         # ipywidgets' Output is left blank now and then
        else: waits.append(page.evaluate('log.paints[log.paints.length - 1] - log.key'))
        page.wait_for_timeout(30)
    page.evaluate('log.observer.disconnect()')
    settle(page)
    return waits


def drag(page, cell):
    "Pictures painted while the pointer drags the slider over its whole range in 80 moves."
    page.evaluate(WATCH, cell)
    slider = handle(page, cell)
    slider.focus()
    page.keyboard.press('Home')
    settle(page)
    box = slider.bounding_box()
    track = page.locator('.jp-Notebook-cell').nth(cell).locator('input[type=range], .ui-slider, .noUi-target').first.bounding_box()
    thumb = 8
    x0, width, y = track['x'] + thumb, track['width'] - 2*thumb, box['y'] + box['height']/2
    page.mouse.move(x0, y)
    page.mouse.down()
    page.evaluate('log.paints.length = 0')
    for i in range(1, DRAG + 1):
        page.mouse.move(x0 + width*i/DRAG, y)
        page.wait_for_timeout(22)
    painted = page.evaluate('log.paints.length')
    page.mouse.up()
    page.evaluate('log.observer.disconnect()')
    settle(page)
    return painted


def first_picture(page, cell):
    "Milliseconds from running a cell to its first picture on screen; None if none came within 10 s."
    return page.evaluate('''cell => new Promise(done => {
        let waits = true;
        setTimeout(() => { waits = false; done(null); }, 10000);
        const {content} = jupyterapp.shell.currentWidget;
        const area = content.widgets[cell].node;
        content.activeCellIndex = cell;
        const old = area.querySelector('.jp-OutputArea img');
        const start = performance.now();
        jupyterapp.commands.execute('notebook:run-cell');
        const look = () => {
            const image = area.querySelector('.jp-OutputArea img');
            if (image && image !== old && image.complete && image.naturalWidth) requestAnimationFrame(() => done(performance.now() - start));
            else if (waits) setTimeout(look, 5);
        };
        look();
    })''', cell)


def fetching(page, on):
    "Let our page fetch neighbours, or not: where the answer to a question is measured it must not know it already."
    page.evaluate('on => Object.defineProperty(document, "hidden", {get: () => !on, configurable: true})', on)


def measure_round(page, cell, way):
    "One round of one way of drawing."
    found = dict(kept=[])
    fetching(page, False)
    found['first_picture'] = [first_picture(page, cell)]             # a new demo, which holds nothing yet
    settle(page)
    found['asked'] = key_moves(page, cell, ['ArrowRight']*MOVES)
    found['first_pass'] = [drag(page, cell)]
    fetching(page, True)
    page.keyboard.press('ArrowLeft')
    page.wait_for_timeout(6000)                                      # the reader looks
    settle(page)
    found['second_pass'] = [drag(page, cell)]
    if way == 'sotalearn': found['kept'] = key_moves(page, cell, ['ArrowLeft', 'ArrowRight']*MOVES)
    return found


def measure(lab, browser, screen):
    "Every round of every way, in turn. A round that breaks down is told and left out; it does not end the run."
    cells = ways(screen)
    found = {way: dict(asked=[], kept=[], first_pass=[], second_pass=[], first_picture=[], broken=[]) for way in cells}
    page = lab.open(browser, lab.write(f'sliders{screen}.ipynb', WARM, *cells.values()), run=False, device_scale_factor=screen)
    run_all(page)
    page.wait_for_timeout(2000)
    for i in range(ROUNDS):
        for cell, way in enumerate(cells, 1):
            print(f'screen {screen}, round {i + 1} of {ROUNDS}: {way}', file=sys.stderr, flush=True)
            try: rows = measure_round(page, cell, way)
            except (Error, RuntimeError) as e:
                found[way]['broken'].append(' '.join(str(e).split())[:500])
                print(f'left out: {found[way]["broken"][-1]}', file=sys.stderr, flush=True)
                page.mouse.up()
            else:
                for name, values in rows.items(): found[way][name] += values
    page.context.close()
    return found


def summary(found):
    "One row for each way."
    rows = []
    for way, values in found.items():
        come = {name: [o for o in values[name] if o is not None] for name in values}
        rows.append(dict(way=way, never_came=sum(len(values[name]) - len(come[name]) for name in values), broken_rounds=len(values['broken']),
                         asked_median_ms=over(statistics.median, come['asked']), asked_p95_ms=over(p95, come['asked']),
                         kept_p95_ms=over(p95, come['kept'], 1), painted_first_pass=over(min, come['first_pass']),
                         painted_second_pass=over(min, come['second_pass']),
                         first_picture_ms=over(statistics.median, come['first_picture'])))
    return rows


def p95(values): return sorted(values)[max(0, round(.95*len(values)) - 1)]


def over(function, values, digits=None):
    "The rounded number that `function` makes of `values`; None if there are none."
    return round(function(values), digits) if values else None


def tell(screen, rows):
    "Print the table of one screen; return how many times faster ours is than each other way."
    print(f'\n{screen} dot{"s" if screen > 1 else ""} for a CSS pixel')
    print(' | '.join(rows[0]))
    for row in rows: print(' | '.join(str(o) for o in row.values()))
    ours, *others = (row['asked_median_ms'] for row in rows)
    faster = {row['way']: round(other/ours, 1) if ours and other else None for row, other in zip(rows[1:], others)}
    for way, times in faster.items(): print(f'a picture that must be asked for comes {times} times faster than with {way}')
    return faster


def main(path=None, screen=None):
    if not CHROMIUM: sys.exit('benchmarks/sliders.py needs Chromium, and found none')
    result = dict(cores=os.cpu_count(), load=[round(o, 1) for o in os.getloadavg()], python=platform.python_version(), screens={})
    with tempfile.TemporaryDirectory() as folder, Lab(folder) as lab, chromium() as browser:
        for dots in [int(screen)] if screen else SCREENS:
            found = measure(lab, browser, dots)
            rows = summary(found)
            result['screens'][dots] = dict(faster=tell(dots, rows), rows=rows, raw=found)
    print(f'\nload {result["load"][0]} on {result["cores"]} cores at the start')
    path = Path(path or ROOT/'benchmarks'/'sliders.json')
    path.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    print(f'written to {path}')


if __name__ == '__main__': main(*sys.argv[1:3])
