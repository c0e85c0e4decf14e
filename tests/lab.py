"""A real JupyterLab and a headless Chromium for the tests that need a browser."""
import json, os, secrets, shutil, socket, subprocess, sys, time, urllib.error, urllib.request
from contextlib import contextmanager
from pathlib import Path

# The shell is the same browser without its window, menus and services: a sixth less to compute for a page.
CHROMIUM = next(filter(None, map(shutil.which, ('chromium-headless-shell', 'chromium', 'chromium-browser'))), None)
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync']
# What a notebook with these versions logs by itself: ipywidgets 7 in JupyterLab 4 (a missing source map, an old API).
NOT_OURS = ('Failed to load resource', 'DevTools', 'jupyterlab-manager')
OPEN_GUESSES = '''() => {
  for (const fold of document.querySelectorAll('details.optional')) fold.open = true;
  for (const button of document.querySelectorAll('.guess-skip')) button.click();
}'''                    # what answers a guess is closed, and who looks at a whole page needs it open
PATIENCE = 150_000      # ms that anything may take on a busy machine: how long it takes decides no test
KERNEL = dict(kernelspec=dict(name='python3', display_name='Python 3', language='python'))


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


@contextmanager
def chromium(*flags):
    "A headless Chromium driven by Playwright, with further flags of its command line."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, '--headless=new', *flags],
                                             timeout=PATIENCE)
        try: yield browser
        finally: browser.close()


class Lab:
    """A JupyterLab in `folder` that shares no setting with the user's own.

    Attributes
    ----------
    notebooks : pathlib.Path
        Notebooks written here can be opened.
    """

    def __init__(self, folder, python=sys.executable, env=()):
        self.folder, self.notebooks = Path(folder), Path(folder)/'notebooks'
        self.notebooks.mkdir(parents=True)
        homes = {f'JUPYTER_{kind}_DIR': str(self.folder/kind.lower()) for kind in ('CONFIG', 'DATA', 'RUNTIME')}
        self.env = {**os.environ, **homes, 'IPYTHONDIR': str(self.folder/'ipython'), **dict(env)}
        page_config = self.folder/'config'/'labconfig'/'page_config.json'
        page_config.parent.mkdir(parents=True)
        quiet = {'disabledExtensions': {'@jupyterlab/apputils-extension:announcements': True}}
        page_config.write_text(json.dumps(quiet))
        self.port, self.token, self.python = free_port(), secrets.token_hex(8), python

    def __enter__(self):
        log = open(self.folder/'lab.log', 'w')
        self.process = subprocess.Popen(
            [self.python, '-m', 'jupyterlab', '--no-browser', '--ip=127.0.0.1', f'--port={self.port}', '--allow-root',
             '--ServerApp.port_retries=0', f'--IdentityProvider.token={self.token}',
             '--LabApp.expose_app_in_browser=True', f'--ServerApp.root_dir={self.notebooks}'], env=self.env, stdout=log, stderr=log, cwd=self.notebooks)
        address = f'http://127.0.0.1:{self.port}/api?token={self.token}'
        latest = time.monotonic() + PATIENCE/1000
        while time.monotonic() < latest:
            try:
                urllib.request.urlopen(address, timeout=5).close()
                return self
            except (urllib.error.URLError, OSError):
                if self.process.poll() is not None: break
                time.sleep(.2)
        raise RuntimeError(f'JupyterLab did not start:\n{(self.folder/"lab.log").read_text()[-2000:]}')

    def __exit__(self, *error):
        self.process.terminate()
        try: self.process.wait(20)
        except subprocess.TimeoutExpired: self.process.kill()

    def write(self, name, *cells, trusted=False):
        "Write a notebook of these code cells, or the notebook given; sign it with this JupyterLab's key if `trusted`."
        import nbformat
        nb = cells[0] if len(cells) == 1 and not isinstance(cells[0], str) else nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in cells],
            metadata=KERNEL)
        nbformat.write(nb, self.notebooks/name)
        if trusted:
            subprocess.run([self.python, '-m', 'jupyter', 'trust', str(self.notebooks/name)], env=self.env, check=True,
                           stdout=subprocess.DEVNULL)
        return name

    def open(self, browser, name, run=True, **context):
        "A page with the notebook `name` open and, if `run`, run. `page.troubles` collects what the console says."
        page = browser.new_context(viewport=dict(width=1280, height=900), **context).new_page()
        page.set_default_timeout(PATIENCE)
        page.troubles = []
        page.on('console', lambda told: told.type == 'error' and page.troubles.append(told.text))
        page.on('pageerror', lambda error: page.troubles.append(str(error)))
        page.goto(f'http://127.0.0.1:{self.port}/lab/tree/{name}?reset&token={self.token}')
        page.wait_for_function('window.jupyterapp')
        page.evaluate('jupyterapp.restored')
        wait_idle(page)
        if run: run_all(page)
        return page


STATE = '''() => {
    const {sessionContext, content} = jupyterapp.shell.currentWidget ?? {};
    const code = (content?.widgets ?? []).map(cell => cell.model)
        .filter(model => model.type === 'code' && model.sharedModel.source.trim());
    return {
        kernel: sessionContext?.session?.kernel?.status ?? 'none',
        cells_not_run: code.filter(model => !(model.executionCount > 0)).length,
        errors: code.flatMap(model => model.sharedModel.outputs).filter(output => output.output_type === 'error')
            .map(output => `${output.ename}: ${output.evalue}`),
        dialog: document.querySelector('.jp-Dialog')?.innerText ?? '',
    };
}'''


def wait_idle(page, all_run=False, timeout=PATIENCE):
    "Wait until the kernel is idle and, if asked, every cell has run; say what stands in the way if that takes too long."
    from playwright.sync_api import TimeoutError
    done = '''all => {
        const {kernel, cells_not_run, errors} = (%s)();
        return kernel === 'idle' && (!all || !cells_not_run || errors.length);
    }''' % STATE
    try: page.wait_for_function(done, arg=all_run, timeout=timeout)
    except TimeoutError: pass
    else:
        if not all_run or not page.evaluate(STATE)['cells_not_run']: return
    raise RuntimeError(f'the notebook is not done: {page.evaluate(STATE)}; the console says {page.troubles}')


def run_all(page):
    "Run every cell of the open notebook and wait until all are done."
    page.evaluate('jupyterapp.commands.execute("notebook:run-all-cells")')
    wait_idle(page, all_run=True)


def our_troubles(page):
    "What the console complained of and that is not known to come from elsewhere."
    return [text for text in page.troubles if not any(known in text for known in NOT_OURS)]
