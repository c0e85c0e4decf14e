"""`sotalearn lab` as a learner meets it: from the clone, from a wheel in an empty folder, with a port taken."""
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from sotalearn.toynette import make_toynette

ROOT = Path(__file__).parent.parent
TOKEN_LINE = re.compile(r'JupyterLab: (http://127\.0\.0\.1:\d+)/lab/tree/index\.ipynb\?token=(\S+)')


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "A user's home with a small Toynette in fastai's data folder, so that nothing here waits for the large one."
    from sotalearn.toynette import EDITION
    home = tmp_path_factory.mktemp('home')
    (home/'fastai').mkdir()
    make_toynette(home/'fastai'/'data'/f'toynette-{EDITION}', train=1, val=1, show_progress=False)
    return home


def environment(home, **more):
    "The process environment of that user, without settings of ours."
    kept = {k: v for k, v in os.environ.items() if not k.startswith(('SOTALEARN_', 'JUPYTER'))}
    return {**kept, 'HOME': str(home), 'FASTAI_HOME': str(home/'fastai'), **more}


@contextmanager
def running_lab(home, folder, *words, **more):
    "JupyterLab started by `sotalearn lab --no-browser`; gives its address, its token and what was printed."
    command = [sys.executable, '-m', 'sotalearn.cli', 'lab', '--no-browser', *words]
    process = subprocess.Popen(command, cwd=folder, env=environment(home, **more), text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if found := TOKEN_LINE.search(line): break
        else: pytest.fail(f'no address printed: {lines}')
        address, token = found.groups()
        deadline = time.time() + 60
        while True:
            try: get(f'{address}/api/status', token); break
            except OSError:
                assert time.time() < deadline and process.poll() is None, 'JupyterLab did not come up'
                time.sleep(.2)
        yield address, token, ''.join(lines)
    finally:
        os.killpg(process.pid, 9)
        process.communicate()


def get(url, token=None):
    "The body of a page."
    request = urllib.request.Request(url, headers={'Authorization': f'token {token}'} if token else {})
    with urllib.request.urlopen(request, timeout=20) as answer: return answer.read().decode()


def test_the_course_opens_on_its_home_page_with_a_token(home, tmp_path):
    with running_lab(home, tmp_path) as (address, token, printed):
        assert 'my-course: ' in printed and 'chapters written' in printed
        assert 'index.ipynb' in get(f'{address}/api/contents', token)
        assert 'JupyterLab' in get(f'{address}/lab/tree/index.ipynb?token={token}')
        with pytest.raises(urllib.error.HTTPError): get(f'{address}/api/contents')
    assert (tmp_path/'my-course'/'settings.ini').exists()
    with running_lab(home, tmp_path/'my-course') as (_, _, printed): assert 'your chapters' in printed
    assert not (tmp_path/'my-course'/'my-course').exists()


def test_in_chinese_in_a_folder_of_ones_own(home, tmp_path):
    with running_lab(home, tmp_path, '--lang', 'zh', '--dir', '我的课程') as (address, token, _):
        assert '先猜再运行' in get(f'{address}/files/index.ipynb', token)
    assert 'language = zh' in (tmp_path/'我的课程'/'settings.ini').read_text(encoding='utf-8')


def test_from_a_wheel_in_an_empty_folder(home, tmp_path):
    source = tmp_path/'source'
    for name in ('nbs', 'results', 'sotalearn'):
        shutil.copytree(ROOT/name, source/name, ignore=shutil.ignore_patterns('.ipynb_checkpoints', '__pycache__', '.*'))
    for name in ('pyproject.toml', 'README.md', 'LICENSE'): shutil.copy(ROOT/name, source/name)
    subprocess.run([sys.executable, '-m', 'build', '--wheel', '--no-isolation', '--outdir', tmp_path/'dist', source], check=True,
                   capture_output=True, timeout=120)
    wheel, = (tmp_path/'dist').glob('*.whl')
    site, empty = tmp_path/'site', tmp_path/'empty'
    empty.mkdir()
    subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--target', site, wheel], check=True, timeout=120)
    shutil.rmtree(source)
    code = 'import sotalearn.course as c; print(c.__file__); print(len(c.chapters())); print(c.course_folder("results"))'
    found = subprocess.run([sys.executable, '-c', code], cwd=empty, env=environment(home, PYTHONPATH=str(site)), text=True,
                           capture_output=True, check=True).stdout.split()
    assert found == [str(site/'sotalearn'/'course.py'), str(len(list((ROOT/'nbs').glob('*.ipynb')))), str(site/'sotalearn'/'results')]
    assert (site/'sotalearn'/'results'/'runs.csv').exists()
    with running_lab(home, empty, PYTHONPATH=str(site)) as (address, token, printed):
        assert 'chapters written' in printed and '03_normalization.ipynb' in get(f'{address}/api/contents', token)


def command(home, folder, *words):
    "Exit status and standard error of the command."
    done = subprocess.run([sys.executable, '-m', 'sotalearn.cli', *words], cwd=folder, env=environment(home), text=True,
                          capture_output=True, timeout=120)
    return done.returncode, done.stderr


def test_a_port_that_is_taken_is_said_before_anything_is_written(home, tmp_path):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, said = command(home, tmp_path, 'lab', '--port', str(port), '--no-browser')
    assert status == 2 and said == f'sotalearn: port must be free, got {port}, which is taken; leave --port out to get a free one\n'
    assert list(tmp_path.iterdir()) == []


def test_a_typo_in_settings_is_said_in_one_sentence(home, tmp_path):
    (tmp_path/'settings.ini').write_text('[sotalearn]\nlanguage = en\nepoch = 3\n')
    status, said = command(home, tmp_path, 'lab', '--no-browser')
    assert (status, said) == (2, "sotalearn: settings.ini: unknown setting 'epoch'; did you mean 'epochs'?\n")
    assert [o.name for o in tmp_path.iterdir()] == ['settings.ini']


def test_data_makes_toynette_and_says_where(home, tmp_path):
    done = subprocess.run([sys.executable, '-m', 'sotalearn.cli', 'data', 'toynette'], cwd=tmp_path, env=environment(home),
                          text=True, capture_output=True, timeout=120)
    assert done.returncode == 0 and Path(done.stdout.strip()).is_dir() and list(tmp_path.iterdir()) == []
