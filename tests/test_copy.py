"""The learner's copy: what was changed stays, in whichever language the course is asked for."""
import json
import re

import nbformat
import pytest
from nbformat.sign import NotebookNotary
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from sotalearn.school.copy import chapters, in_language, write_copy
from sotalearn.settings import LANGUAGES, settings


pytestmark = pytest.mark.usefixtures('no_environment')


@pytest.fixture
def small(tmp_path_factory):
    "Two notebooks in both languages, for tests that need not wait for the chapters."
    folder = tmp_path_factory.mktemp('course')
    for name in ('index.ipynb', '02_baseline.ipynb'):
        cells = [new_markdown_cell('Read', metadata=dict(tags=['en'])),
                 new_markdown_cell('读', metadata=dict(tags=['zh'])), new_code_cell('train(seed=1)')]
        nbformat.write(new_notebook(cells=cells), folder/name)
    return sorted(folder.iterdir())


def test_chapters_are_in_reading_order():
    names = [path.name for path in chapters()]
    assert names[0] == 'index.ipynb' and names[1:] == sorted(names[1:]) and '01_imagenette.ipynb' in names


@pytest.mark.parametrize('language', LANGUAGES)
def test_the_copy_is_in_one_language_signed_and_without_machinery(tmp_path, language):
    mine = tmp_path/'mine'
    done = write_copy(mine, language)
    assert set(done.values()) == {'written'} and set(done) >= {path.name for path in chapters()}
    assert settings(mine).language == language
    other = 'zh' if language == 'en' else 'en'
    for name in done:
        nb = nbformat.read(mine/name, as_version=4)
        nbformat.validate(nb)
        assert NotebookNotary().check_signature(nb), f'{name} is not signed'
        outputs = json.dumps([cell.get('outputs', []) for cell in nb.cells])
        assert not re.search(rf'<(img|div) lang=\\"{other}\\"', outputs), name
        assert not any(line.startswith('#|') for cell in nb.cells for line in cell.source.splitlines())
        prose = ''.join(cell.source for cell in nb.cells if cell.cell_type == 'markdown')
        assert (sum('\u4e00' <= letter <= '\u9fff' for letter in prose) > 50) == (language == 'zh')
        for link in re.findall(r'\]\(([\w./-]+\.ipynb)', prose): assert (mine/name).parent.joinpath(link).is_file(), link


@pytest.mark.parametrize('path', chapters(), ids=lambda path: path.stem)
def test_where_the_course_is_missing_a_chapter_begins_with_how_to_install_it(path, monkeypatch):
    "As on Colab or Kaggle, where a notebook comes alone."
    nb = in_language(nbformat.read(path, as_version=4), 'en')
    first = next(cell for cell in nb.cells if cell.cell_type == 'code')
    exec(first.source, {})
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(ModuleNotFoundError, match='First install the course .*: %pip install sotalearn$'): exec(first.source, {})
    assert first.metadata.jupyter.source_hidden


def test_a_second_language_does_not_touch_what_was_changed(tmp_path, small):
    write_copy(tmp_path, 'en', small)
    mine = tmp_path/'02_baseline.ipynb'
    kept = mine.read_text(encoding='utf-8').replace('seed=1', 'seed=7')
    mine.write_text(kept, encoding='utf-8')
    done = write_copy(tmp_path, 'zh', small)
    assert mine.read_text(encoding='utf-8') == kept
    assert done == {'02_baseline.new.ipynb': 'new edition of 02_baseline.ipynb', 'index.ipynb': 'renewed'}


def test_metadata_that_jupyter_adds_is_no_change(tmp_path, small):
    write_copy(tmp_path, 'en', small)
    mine = tmp_path/'02_baseline.ipynb'
    nb = nbformat.read(mine, as_version=4)
    nb.metadata['toc'] = {'base_numbering': 1}
    nb.cells[0].metadata['collapsed'] = False
    mine.write_text(json.dumps(nb, indent=4), encoding='utf-8')
    assert write_copy(tmp_path, 'en', small)[mine.name] == 'current'
    assert write_copy(tmp_path, 'zh', small)[mine.name] == 'renewed'


def test_files_of_the_learners_with_names_of_ours_are_kept(tmp_path, small):
    (tmp_path/'index.ipynb').write_text('my own notes')
    assert write_copy(tmp_path, 'en', small)['index.new.ipynb'] == 'new edition of index.ipynb'
    (tmp_path/'index.new.ipynb').write_text('mine as well')
    assert write_copy(tmp_path, 'zh', small)['index.new2.ipynb'] == 'new edition of index.ipynb'
    assert (tmp_path/'index.ipynb').read_text() == 'my own notes'
    assert (tmp_path/'index.new.ipynb').read_text() == 'mine as well'


@pytest.mark.parametrize('memory', ['', '{"files": {', '[]', '{"files": 3, "editions": {}}'])
def test_a_memory_that_cannot_be_read_loses_nothing(tmp_path, small, memory):
    write_copy(tmp_path, 'en', small)
    before = {path.name: path.read_bytes() for path in tmp_path.glob('*.ipynb')}
    (tmp_path/'.sotalearn'/'written.json').write_text(memory)
    write_copy(tmp_path, 'zh', small)
    assert all((tmp_path/name).read_bytes() == content for name, content in before.items())


def test_settings_of_the_learner_are_kept_but_for_the_language_asked_for(tmp_path, small):
    (tmp_path/'settings.ini').write_text('# mine\n[sotalearn]\nepochs = 9\nlanguage = en\n')
    write_copy(tmp_path, 'zh', small)
    assert (tmp_path/'settings.ini').read_text() == '# mine\n[sotalearn]\nepochs = 9\nlanguage = zh\n'
    assert (settings(tmp_path).epochs, settings(tmp_path).language) == (9, 'zh')


@pytest.mark.parametrize('text, changed', [
    ('[tool]\nlanguage = fr\n\n[sotalearn]\nlanguage = en\n[more]\nlanguage = de\n',
     '[tool]\nlanguage = fr\n\n[sotalearn]\nlanguage = zh\n[more]\nlanguage = de\n'),
    ('[sotalearn]\nLanguage＝en\n', '[sotalearn]\nLanguage＝zh\n'),
    ('[sotalearn]\n  language : en\n', '[sotalearn]\n  language : zh\n'),
    ('[sotalearn]\nepochs = 9\n', '[sotalearn]\nlanguage = zh\nepochs = 9\n'),
    ('[sotalearn]', '[sotalearn]\nlanguage = zh\n'), ('  [sotalearn]\nlanguage = en\n', '  [sotalearn]\nlanguage = zh\n'),
    ('epochs = 9\n', '[sotalearn]\nlanguage = zh\nepochs = 9\n'), ('', '[sotalearn]\nlanguage = zh\n')])
def test_the_language_is_set_however_the_learner_writes_and_nowhere_else(tmp_path, small, text, changed):
    (tmp_path/'settings.ini').write_text(text, encoding='utf-8')
    write_copy(tmp_path, 'zh', small)
    assert (tmp_path/'settings.ini').read_text(encoding='utf-8') == changed and settings(tmp_path).language == 'zh'


def test_the_folder_of_another_project_is_refused_and_left_alone(tmp_path, small):
    theirs = '[DEFAULT]\nlib_name = theirs\nlanguage = English\n'
    (tmp_path/'settings.ini').write_text(theirs)
    with pytest.raises(ValueError, match=r"folder must not be another project's: .* a section \[sotalearn\], got none"):
        write_copy(tmp_path, 'zh', small)
    assert [path.name for path in tmp_path.iterdir()] == ['settings.ini']
    assert (tmp_path/'settings.ini').read_text() == theirs


def test_a_copy_that_was_interrupted_is_still_ours(tmp_path, small, monkeypatch):
    from sotalearn.school import copy

    def interrupt(*_): raise KeyboardInterrupt
    monkeypatch.setattr(copy, 'recall_edition', interrupt)
    with pytest.raises(KeyboardInterrupt): write_copy(tmp_path, 'en', small, clean=True)
    assert set(write_copy(tmp_path, 'zh', small).values()) == {'renewed'}


def test_a_new_edition_that_found_no_room_is_offered_again(tmp_path, small, monkeypatch):
    from sotalearn.school import copy
    write_copy(tmp_path, 'en', small)
    for path in tmp_path.glob('*.ipynb'): path.write_text('mine')

    def no_room(path, *_): raise OSError('No space left on device')
    with monkeypatch.context() as full:
        full.setattr(copy._Copy, 'put', no_room)
        with pytest.raises(OSError): write_copy(tmp_path, 'zh', small)
    assert all('new edition of' in done for done in write_copy(tmp_path, 'zh', small).values())


def test_after_a_lost_memory_what_nobody_changed_is_still_ours(tmp_path, small):
    write_copy(tmp_path, 'en', small)
    (tmp_path/'.sotalearn'/'written.json').unlink()
    assert set(write_copy(tmp_path, 'en', small).values()) == {'current'}
    assert set(write_copy(tmp_path, 'zh', small).values()) == {'renewed'}


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path/'file').write_text('x')
    with pytest.raises(ValueError, match='folder must be a directory or not exist yet'): write_copy(tmp_path/'file')
    with pytest.raises(ValueError, match='language must be one of en, zh'): write_copy(tmp_path/'new', 'de')
    assert not (tmp_path/'new').exists()


def test_the_recall_edition_has_headings_and_code_alone(tmp_path, small):
    write_copy(tmp_path, 'zh', small, clean=True)
    cells = nbformat.read(tmp_path/'recall'/'03_normalization.ipynb', as_version=4).cells
    assert sum(cell.cell_type == 'code' for cell in cells) > 20 and not any(cell.get('outputs') for cell in cells)
    assert all(re.fullmatch(r'(#{1,4} .+\n*)+', cell.source) for cell in cells if cell.cell_type == 'markdown')
    body = next(cell.source for cell in cells if cell.source.startswith('def normalize('))
    assert body.endswith('\n    ...') and not any('guess(' in cell.source for cell in cells)
    mine = tmp_path/'recall'/'03_normalization.ipynb'
    mine.write_text(mine.read_text(encoding='utf-8').replace('    ...', '    return x'), encoding='utf-8')
    kept = mine.read_text(encoding='utf-8')
    write_copy(tmp_path, 'zh', small, clean=True)
    assert mine.read_text(encoding='utf-8') == kept
