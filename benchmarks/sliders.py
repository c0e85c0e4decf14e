"""How fast a live figure follows its slider, against `@interact` with `plt.show()` drawing the same figure.

Both run in one JupyterLab, in turn, round after round, moved by the keyboard and the pointer of a headless Chromium.
Prints a table and writes it as JSON:

    python benchmarks/sliders.py [FILE.json]
"""
import json, os, platform, statistics, sys, tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'tests'))
from lab import CHROMIUM, Lab, chromium, run_all   # noqa: E402: tests/ is no package
from playwright.sync_api import TimeoutError   # noqa: E402

ROUNDS, MOVES, DRAG = 2, 15, 80
WARM = 'import matplotlib.pyplot as plt, torch, ipywidgets\nimport sotalearn.demo, sotalearn.mixup, sotalearn.toynette\n%matplotlib inline'
OURS = 'from sotalearn.mixup import mixup_demo\ndemo = mixup_demo(("church", "gas_pump"), language="en")\ndemo'
# The same artists, drawn by the same functions, the way a notebook usually does it: with as many dots as ours, and
# with the few that the inline backend gives by default, which look coarse on today's screens.
INTERACT = '''from ipywidgets import FloatSlider, interact
model = mixup_demo(("church", "gas_pump"), language="en")
@interact(t=FloatSlider(value=.3, min=0, max=1, step=.01))
def draw(t):
    fig = plt.figure(figsize=model.size, dpi=%d)
    model.draw(fig)
    model.update(t)
    plt.show()'''
WAYS = {'sotalearn': OURS, '@interact, same figure': INTERACT % 192, '@interact, 72 dpi': INTERACT % 72}

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
    page.wait_for_function('jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === "idle"')
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
        setTimeout(() => done(null), 10000);
        const {content} = jupyterapp.shell.currentWidget;
        const area = content.widgets[cell].node;
        content.activeCellIndex = cell;
        const old = area.querySelector('.jp-OutputArea img');
        const start = performance.now();
        jupyterapp.commands.execute('notebook:run-cell');
        const look = () => {
            const image = area.querySelector('.jp-OutputArea img');
            if (image && image !== old && image.complete && image.naturalWidth) requestAnimationFrame(() => done(performance.now() - start));
            else setTimeout(look, 5);
        };
        look();
    })''', cell)


def fetching(page, on):
    "Let our page fetch neighbours, or not: where the answer to a question is measured it must not know it already."
    page.evaluate('on => Object.defineProperty(document, "hidden", {get: () => !on, configurable: true})', on)


def measure(page):
    found = {way: dict(asked=[], kept=[], first_pass=[], second_pass=[], first_picture=[]) for way in WAYS}
    for i in range(ROUNDS):
        for cell, (way, rows) in enumerate(found.items(), 1):
            print(f'round {i + 1} of {ROUNDS}: {way}', file=sys.stderr, flush=True)
            fetching(page, False)
            rows['first_picture'].append(first_picture(page, cell))      # a new demo, which holds nothing yet
            settle(page)
            rows['asked'] += key_moves(page, cell, ['ArrowRight']*MOVES)
            rows['first_pass'].append(drag(page, cell))
            fetching(page, True)
            page.keyboard.press('ArrowLeft')
            page.wait_for_timeout(6000)                                  # the reader looks
            settle(page)
            rows['second_pass'].append(drag(page, cell))
            if way == 'sotalearn': rows['kept'] += key_moves(page, cell, ['ArrowLeft', 'ArrowRight']*MOVES)
    return found


def summary(found):
    p95 = lambda values: sorted(values)[max(0, round(.95*len(values)) - 1)] if values else None
    lost = {way: sum(o is None for row in rows.values() for o in row) for way, rows in found.items()}
    found = {way: {name: [o for o in row if o is not None] for name, row in rows.items()} for way, rows in found.items()}
    return [dict(way=way, never_came=lost[way], asked_median_ms=round(statistics.median(values['asked'])), asked_p95_ms=round(p95(values['asked'])),
                 kept_p95_ms=p95(values['kept']) and round(p95(values['kept']), 1),
                 painted_first_pass=min(values['first_pass']), painted_second_pass=min(values['second_pass']),
                 first_picture_ms=round(statistics.median(values['first_picture']))) for way, values in found.items()]


def main(path=None):
    if not CHROMIUM: sys.exit('benchmarks/sliders.py needs Chromium, and found none')
    with tempfile.TemporaryDirectory() as folder, Lab(folder) as lab, chromium() as browser:
        lab.write('sliders.ipynb', WARM, *WAYS.values())
        page = lab.open(browser, 'sliders.ipynb', run=False)
        run_all(page)
        page.wait_for_timeout(2000)
        found = measure(page)
    rows = summary(found)
    result = dict(cores=os.cpu_count(), load=[round(o, 1) for o in os.getloadavg()], python=platform.python_version(),
                  faster=[round(row['asked_median_ms']/rows[0]['asked_median_ms'], 1) for row in rows[1:]], rows=rows, raw=found)
    names = list(rows[0])
    print(' | '.join(names))
    for row in rows: print(' | '.join(str(row[name]) for name in names))
    for row, faster in zip(rows[1:], result['faster']):
        print(f'a picture that must be asked for comes {faster} times faster than with {row["way"]}')
    print(f'load {result["load"][0]} on {result["cores"]} cores')
    path = Path(path or ROOT/'benchmarks'/'sliders.json')
    path.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    print(f'written to {path}')


if __name__ == '__main__': main(*sys.argv[1:2])
