"""`sotalearn lab` as a learner meets it: from the clone, from a wheel in an empty folder, with a port taken."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from sotalearn.datasets import EDITION
from sotalearn.toynette import make_toynette

ROOT = Path(__file__).parent.parent
TOKEN_LINE = re.compile(r'JupyterLab: (http://127\.0\.0\.1:\d+)/lab/tree/index\.ipynb\?token=(\S+)')

# What a user may have set for other servers, which `sotalearn lab` must not heed.
OPEN_TO_ALL = "c.ServerApp.ip = '0.0.0.0'\nc.IdentityProvider.token = ''\nc.ServerApp.allow_remote_access = True\n"


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "A user's home with a small Toynette in fastai's data folder: nothing here waits for the large one."
    home = tmp_path_factory.mktemp('home')
    for folder in ('fastai', '.jupyter'): (home/folder).mkdir()
    (home/'.jupyter'/'jupyter_server_config.py').write_text(OPEN_TO_ALL)
    make_toynette(home/'fastai'/'data'/f'toynette-{EDITION}', train=1, val=1, show_progress=False)
    return home


def environment(home, **more):
    "The process environment of that user, without settings of ours."
    kept = {k: v for k, v in os.environ.items() if not k.startswith(('SOTALEARN_', 'JUPYTER'))}
    return {**kept, 'HOME': str(home), 'FASTAI_HOME': str(home/'fastai'), **more}


@contextmanager
def running_lab(home, folder, *words, **more):
    "JupyterLab started by `sotalearn lab --no-browser`; gives its address, its token, what was printed and the process."
    command = [sys.executable, '-m', 'sotalearn.school.cli', 'lab', '--no-browser', *words]
    process = subprocess.Popen(command, cwd=folder, env=environment(home, **more), text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            found = TOKEN_LINE.search(line)
            if found: break
        else: pytest.fail(f'no address printed: {lines}')
        address, token = found.groups()
        deadline = time.time() + 60
        while True:
            try:
                get(f'{address}/api/status', token)
                break
            except OSError:
                assert time.time() < deadline and process.poll() is None, 'JupyterLab did not come up'
                time.sleep(.2)
        yield address, token, ''.join(lines), process
    finally:
        with suppress(ProcessLookupError): os.killpg(process.pid, 9)
        process.communicate()


def get(url, token=None, posted=None):
    "The body of a page; with something posted, of the answer to it."
    request = urllib.request.Request(url, data=json.dumps(posted).encode() if posted else None,
                                     headers={'Authorization': f'token {token}'} if token else {})
    with urllib.request.urlopen(request, timeout=20) as answer: return answer.read().decode()


def wait_until(it_is_so):
    deadline = time.time() + 60
    while not it_is_so():
        assert time.time() < deadline
        time.sleep(.1)


def is_running(pid):
    "Is there such a process, and not only what is left of one?"
    with suppress(psutil.NoSuchProcess): return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def pid_of_kernel(kernel):
    "The process of a kernel, told from its command line."
    found = [process.pid for process in psutil.process_iter(['cmdline']) if f'kernel-{kernel}.json' in ' '.join(process.info['cmdline'] or [])]
    assert len(found) == 1
    return found[0]


def listens_elsewhere(port):
    "Can this port be reached by another address of this machine than 127.0.0.1?"
    own = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} | {'127.0.0.2'}
    for address in own - {'127.0.0.1'}:
        with socket.socket() as probe:
            if not probe.connect_ex((address, port)): return True
    return False


def test_the_course_opens_on_its_home_page_with_a_token(home, tmp_path):
    with running_lab(home, tmp_path) as (address, token, printed, _):
        assert 'my-course: ' in printed and 'chapters written' in printed
        assert 'index.ipynb' in get(f'{address}/api/contents', token)
        assert 'JupyterLab' in get(f'{address}/lab/tree/index.ipynb?token={token}')
        with pytest.raises(urllib.error.HTTPError): get(f'{address}/api/contents')
        secret = tmp_path/'my-course'/'.sotalearn'/'jupyter'/'jupyter_server_config.json'
        assert token in secret.read_text() and secret.stat().st_mode & 0o077 == 0
        assert not listens_elsewhere(int(address.rpartition(':')[2]))
    assert (tmp_path/'my-course'/'settings.ini').exists()
    with running_lab(home, tmp_path/'my-course') as (address, token, printed, process):
        assert 'your chapters' in printed
        kernel = json.loads(get(f'{address}/api/kernels', token, dict(name='python3')))['id']
        pid = pid_of_kernel(kernel)
        os.kill(process.pid, signal.SIGTERM)                # it alone: as a desktop or `kill` stops a command
        process.wait(60)
        wait_until(lambda: not is_running(pid))
        with pytest.raises(urllib.error.URLError): get(f'{address}/api/status', token)
    assert not (tmp_path/'my-course'/'my-course').exists()


def test_in_chinese_in_a_folder_of_ones_own(home, tmp_path):
    with running_lab(home, tmp_path, '--lang', 'zh', '--dir', '我的课程') as (address, token, *_):
        assert '先猜再运行' in get(f'{address}/files/index.ipynb', token)
    assert 'language = zh' in (tmp_path/'我的课程'/'settings.ini').read_text(encoding='utf-8')


def modules(folder):
    "What of a package has to be installed: its modules, and the front ends beside them."
    return {path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.suffix in ('.py', '.js')}


@pytest.fixture
def installed(tmp_path):
    "The course as its wheel installs it, and no clone anywhere near."
    source = tmp_path/'source'
    unwanted = shutil.ignore_patterns('.ipynb_checkpoints', '__pycache__', '.*')
    for name in ('nbs', 'results', 'sotalearn'): shutil.copytree(ROOT/name, source/name, ignore=unwanted)
    for name in ('pyproject.toml', 'README.md', 'LICENSE'): shutil.copy(ROOT/name, source/name)
    build = [sys.executable, '-m', 'build', '--no-isolation', '--outdir', tmp_path/'dist', source]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    wheel, = (tmp_path/'dist').glob('*.whl')
    shutil.rmtree(source)
    site = tmp_path/'site'
    install = [sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--target', site, wheel]
    subprocess.run(install, check=True, timeout=120)
    return site


def test_from_a_wheel_in_an_empty_folder(home, tmp_path, installed):
    assert modules(installed/'sotalearn') >= modules(ROOT/'sotalearn')
    assert (installed/'sotalearn'/'results'/'runs.csv').exists()
    empty = tmp_path/'empty'
    empty.mkdir()
    where = subprocess.run([sys.executable, '-c', 'import sotalearn; print(sotalearn.__file__)'], cwd=empty, text=True,
                           env=environment(home, PYTHONPATH=str(installed)), check=True, capture_output=True).stdout
    assert where.strip() == str(installed/'sotalearn'/'__init__.py')
    with running_lab(home, empty, PYTHONPATH=str(installed)) as (address, token, printed, _):
        assert f': {len(list((ROOT/"nbs").glob("*.ipynb")))} chapters written' in printed
        assert '03_normalization.ipynb' in get(f'{address}/api/contents', token)


def command(home, folder, *words):
    "Exit status and both outputs of the command."
    done = subprocess.run([sys.executable, '-m', 'sotalearn.school.cli', *words], cwd=folder, env=environment(home),
                          text=True, capture_output=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def test_a_port_that_is_taken_is_said_before_anything_is_written(home, tmp_path):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, _, said = command(home, tmp_path, 'lab', '--port', str(port), '--no-browser')
    assert status == 2
    assert said == f'sotalearn: port must be free, got {port}, which is taken; leave --port out to get a free one\n'
    assert list(tmp_path.iterdir()) == []


def test_a_typo_in_settings_is_said_in_one_sentence(home, tmp_path):
    (tmp_path/'settings.ini').write_text('[sotalearn]\nlanguage = en\nepoch = 3\n')
    status, _, said = command(home, tmp_path, 'lab', '--no-browser')
    assert (status, said) == (2, "sotalearn: settings.ini: unknown setting 'epoch'; did you mean 'epochs'?\n")
    assert [path.name for path in tmp_path.iterdir()] == ['settings.ini']


def test_data_makes_toynette_and_says_where(home, tmp_path):
    status, shown, _ = command(home, tmp_path, 'data', 'toynette')
    assert status == 0 and Path(shown.strip()).is_dir() and list(tmp_path.iterdir()) == []
