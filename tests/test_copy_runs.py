"""The learner's copy, not only the notebooks it is made from, runs from the first cell to the last."""
import nbformat
import pytest
from nbclient import NotebookClient

from sotalearn.course import chapters, write_copy

SMALL = dict(SOTALEARN_DATASET='toynette', SOTALEARN_EPOCHS='1', SOTALEARN_SIZE='32', SOTALEARN_TRAIN_IMAGES='200', OMP_NUM_THREADS='1')


@pytest.mark.timeout(600)
@pytest.mark.parametrize('name', [o.name for o in chapters()])
def test_the_chinese_copy_runs(tmp_path, monkeypatch, name):
    for variable, value in SMALL.items(): monkeypatch.setenv(variable, value)
    monkeypatch.delenv('DEMO_LANGUAGES', raising=False)         # for notebooks that are stored in both languages
    write_copy(tmp_path, 'zh')
    nb = nbformat.read(tmp_path/name, as_version=4)
    for cell in nb.cells: cell.update(outputs=[]) if cell.cell_type == 'code' else None
    NotebookClient(nb, timeout=500, kernel_name='python3', resources=dict(metadata=dict(path=str(tmp_path)))).execute()
    shown = [o.data['text/html'] for cell in nb.cells for o in cell.get('outputs', []) if 'lang=' in o.get('data', {}).get('text/html', '')]
    still, live = ([o for o in shown if o.startswith(tag)] for tag in ('<img', '<div'))
    assert still or live
    assert all('<img lang="zh" alt=' in o and '<img lang="en" hidden' in o for o in still)
    demos, answers = ([o for o in live if ('class="sotalearn-demo"' in o) == kind] for kind in (True, False))
    assert all(o.startswith('<div lang="zh" class="sotalearn-demo">') for o in demos)
    assert all(o.startswith('<div lang="en" hidden ') and '<div lang="zh" ' in o for o in answers)      # exercises and what they answer
    runs = tmp_path/'results'/'runs.csv'
    assert runs.exists() == name.startswith(('02', '03', '05', '06', '07', '08'))          # those that train as the settings say
