"""Takes the README's pictures: the built site's home page in both languages, a chapter on a phone in the dark, and a
chapter in JupyterLab as a learner finds it, in both languages.

    python docs/screenshots.py [folder]      docs/images by default
"""
import functools, http.server, io, subprocess, sys, tempfile, threading
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent/'tests'))
from lab import CHROMIUM, OPEN_GUESSES, Lab, chromium   # noqa: E402: tests/ is no package
from sotalearn.school.copy import write_copy   # noqa: E402

SITE = HERE/'_build'/'html'
# name: page, passage at the top, width, height, theme
PICTURES = {'home': ('en/index', '', 1280, 800, 'light'), 'home-zh': ('zh/index', '', 1280, 800, 'light'),
            'chapter-phone': ('en/03_normalization', 'Turn-it-yourself', 390, 844, 'dark')}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words): pass


def take(browser, address, page, passage, width, height, theme):
    "A picture of one page, with two dots for a CSS pixel, once its live figures play."
    context = browser.new_context(viewport=dict(width=width, height=height), color_scheme=theme, device_scale_factor=2,
                                  reduced_motion='reduce')
    tab = context.new_page()
    tab.goto(f'{address}/{page}.html#{passage}')
    tab.evaluate(OPEN_GUESSES)                  # a live figure that answers a guess is closed
    tab.evaluate('passage => document.getElementById(passage)?.scrollIntoView()', passage)
    tab.locator('.sotalearn-demo .demo-panel').first.wait_for()
    tab.wait_for_load_state('networkidle')
    picture = Image.open(io.BytesIO(tab.screenshot())).convert('RGB')
    context.close()
    return picture


def take_lab(browser, language, notebook='06_mixup.ipynb', cell='from sotalearn.demos.mixup import'):
    "A picture of JupyterLab with the learner's copy, at a live figure that plays from what is stored in it."
    with tempfile.TemporaryDirectory() as folder, Lab(folder) as lab:
        write_copy(lab.notebooks, language)
        trust = [sys.executable, '-m', 'jupyter', 'trust', lab.notebooks/notebook]
        subprocess.run(trust, env=lab.env, check=True, stdout=subprocess.DEVNULL)
        tab = lab.open(browser, notebook, run=False)
        tab.set_viewport_size(dict(width=1280, height=820))
        tab.evaluate('''async start => {
            const {content} = jupyterapp.shell.currentWidget;
            const starts = cell => cell.model.sharedModel.source.startsWith(start);
            content.activeCellIndex = content.widgets.findIndex(starts);
            await content.scrollToItem(content.activeCellIndex, 'center');
        }''', cell)
        tab.locator('.demo-picture[data-shown]').first.wait_for()
        tab.wait_for_timeout(1000)
        picture = Image.open(io.BytesIO(tab.screenshot())).convert('RGB')
        tab.context.close()
    return picture


def main():
    if not CHROMIUM: sys.exit('screenshots need Chromium: Debian has it as `chromium`')
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE/'images'
    folder.mkdir(parents=True, exist_ok=True)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(_Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with chromium() as browser:
        for name, how in PICTURES.items():
            picture = take(browser, f'http://127.0.0.1:{server.server_port}', *how)
            picture.save(folder/f'{name}.webp', quality=80, method=6)
            print(folder/f'{name}.webp')
        for name, language in (('lab', 'en'), ('lab-zh', 'zh')):
            take_lab(browser, language).save(folder/f'{name}.webp', quality=80, method=6)
            print(folder/f'{name}.webp')
    server.shutdown()


if __name__ == '__main__': main()
