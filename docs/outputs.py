"""Renews the stored outputs of notebooks: runs each from first to last cell in a fresh kernel, as a learner would.

    python docs/outputs.py                     all notebooks
    python docs/outputs.py 06 demos/mixup      nbs/06_mixup.ipynb and nbs/demos/mixup.ipynb
    python docs/outputs.py tools --jobs 2      those in nbs/tools, two at a time

A name is the beginning of a path below nbs/: `tools/toynette` means several notebooks, `tools/toynette.` one of them.
Each runs as with a learner who has just begun: in an empty folder, with the settings as they come and Toynette alone;
the results table is thrown away. A figure is stored as a picture with English words, which GitHub, a PDF and every
other reader can show; its Chinese twin and its live form lie in the output's metadata (`sotalearn.stored.speak`). A
notebook that fails, or whose outputs must not be published, stays as it was and is named.
"""
import argparse, os, subprocess, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from problems import problems
from sotalearn.datasets import dataset_folder
from sotalearn.figures import chinese_font
from sotalearn.files import write_atomic
from sotalearn.settings import LANGUAGES, SETTINGS_FILE, settings_text
from sotalearn.toynette import make_toynette

NOTEBOOKS = ROOT/'nbs'


def notebooks(names):
    "The notebooks whose paths below nbs/ begin with one of these names; all of them without a name."
    paths = sorted(path for path in NOTEBOOKS.rglob('*.ipynb') if '.ipynb_checkpoints' not in path.parts)
    if not names: return paths
    found = []
    for name in names:
        beginning = name.removeprefix('nbs/')
        chosen = [path for path in paths if path.relative_to(NOTEBOOKS).as_posix().startswith(beginning)]
        if not chosen: raise ValueError(f'name must be the beginning of a path below nbs, got {name!r}')
        found += chosen
    return list(dict.fromkeys(found))


def learners_home(folder):
    "Make `folder` that of a learner who has just begun, with the settings as they come and no data but Toynette."
    (folder/SETTINGS_FILE).write_text(settings_text(), encoding='utf-8')
    (folder/'fastai'/'data').mkdir(parents=True)
    (folder/'fastai'/'data'/dataset_folder('toynette').name).symlink_to(dataset_folder('toynette'))
    kept = {name: value for name, value in os.environ.items() if not name.startswith('SOTALEARN_')}
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get('PYTHONPATH')]))
    return {**kept, 'PYTHONPATH': path, 'FASTAI_HOME': str(folder/'fastai'), 'DEMO_LANGUAGES': ','.join(LANGUAGES),
            'OMP_NUM_THREADS': '1'}


def run(nb, folder):
    "Run every cell of `nb` in a fresh kernel that works in `folder`; the cells get their outputs."
    client = NotebookClient(nb, timeout=None, kernel_name='python3', resources=dict(metadata=dict(path=folder)),
                            store_widget_state=False, record_timing=False, extra_arguments=['--log-level=ERROR'])
    client.execute(env=learners_home(Path(folder)))


def is_empty(output):
    "Does the output show nothing, as the place of a progress bar that is gone?"
    return not output.get('data', {}).get('text/html', 'text').strip()


def prune(nb):
    "Take out what serves nobody once the kernel is gone; return what was said on stderr."
    said = []
    nb.metadata.pop('widgets', None)
    for cell in nb.cells:
        outputs = cell.get('outputs', [])
        said += [output.text for output in outputs if output.get('name') == 'stderr']
        for output in outputs: output.get('data', {}).pop('application/vnd.jupyter.widget-view+json', None)
        if outputs: cell.outputs = [o for o in outputs if o.get('name') != 'stderr' and not is_empty(o)]
    return ''.join(said)


def write_clean(nb, path):
    "Write the notebook as `nbdev-clean` leaves it."
    nbformat.write(nb, path)
    command = [Path(sys.executable).with_name('nbdev-clean'), '--fname', path]
    subprocess.run(command, cwd=ROOT, check=True)


def renew(path):
    "Run a notebook and write it with its new outputs. Returns why not, a sentence; nothing if all went well."
    name, before, start = path.relative_to(NOTEBOOKS).with_suffix(''), path.read_bytes(), time.perf_counter()
    nb = nbformat.reads(before.decode(), as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        try: run(nb, folder)
        except (CellExecutionError, DeadKernelError) as e: return f'{name}: failed\n{e}'
        if said := prune(nb): print(f'{name}: left out what was said on stderr:\n{said}', file=sys.stderr)
        draft = Path(folder)/path.name
        write_clean(nb, draft)
        if found := problems(draft): return f'{name}: not fit to be published\n' + '\n'.join(found)
        if path.read_bytes() != before: return f'{name}: was changed meanwhile'
        write_atomic(path, draft.read_bytes())
    print(f'{name}: renewed in {time.perf_counter() - start:.0f} s', flush=True)


def main():
    parser = argparse.ArgumentParser(description='Renew the stored outputs of notebooks.')
    parser.add_argument('names', nargs='*', metavar='NAME',
                        help='how a path below nbs/ begins: 06, demos/mixup, tools, … (default: all notebooks)')
    parser.add_argument('--jobs', type=int, default=1,
                        help='notebooks at a time (default: 1; more make measured times longer)')
    options = parser.parse_args()
    try: paths = notebooks(options.names)
    except ValueError as e: parser.error(str(e))
    if not chinese_font(): sys.exit('outputs need a Chinese font: Debian has one in fonts-noto-cjk')
    make_toynette(show_progress=False)              # once, not by each kernel
    with ThreadPoolExecutor(options.jobs) as pool: failures = [told for told in pool.map(renew, paths) if told]
    for told in failures: print(f'\n{told}', file=sys.stderr)
    print(f'{len(paths) - len(failures)} of {len(paths)} notebooks renewed')
    return bool(failures)


if __name__ == '__main__': sys.exit(main())
