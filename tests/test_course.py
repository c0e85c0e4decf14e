"""Settings and the learner's copy: what was changed stays, what cannot be right is named."""
import json
import threading
from pathlib import Path

import nbformat
import pytest
from nbformat.sign import NotebookNotary

from sotalearn.course import (LANGUAGES, Settings, chapters, find_settings, in_language, results_path, settings,
                              settings_text, write_atomic, write_copy)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    "Settings from files and arguments only."
    import os
    for name in list(os.environ):
        if name.startswith('SOTALEARN_'): monkeypatch.delenv(name)


@pytest.mark.parametrize('language', LANGUAGES)
def test_settings_text_reads_back_as_the_defaults(tmp_path, language):
    (tmp_path/'settings.ini').write_text(settings_text(language), encoding='utf-8')
    assert settings(tmp_path) == Settings(language=language)


def test_another_projects_settings_are_passed_over(tmp_path):
    (tmp_path/'settings.ini').write_text(settings_text(epochs=7))
    below = tmp_path/'a'/'b'
    below.mkdir(parents=True)
    (below/'settings.ini').write_text('[DEFAULT]\nepochs = nonsense\n')
    assert find_settings(below) == tmp_path/'settings.ini'
    assert settings(below).epochs == 7
    assert results_path(below) == tmp_path/'results'/'runs.csv'


@pytest.mark.parametrize('variable, value, complaint', [
    ('SOTALEARN_EPOCHS', '0', 'environment variable SOTALEARN_EPOCHS: epochs must be a whole number from 1 to 1000, got 0'),
    ('SOTALEARN_BS', '6.5', "bs must be a whole number from 1 to 4096, got '6.5'"),
    ('SOTALEARN_LANGUAGE', 'fr', "language must be one of en, zh, got 'fr'"),
    ('SOTALEARN_EPOCH', '1', "unknown setting 'epoch'; did you mean 'epochs'?"),
    ('SOTALEARN_DATASET', '', 'dataset must not be empty')])
def test_a_bad_variable_is_named_in_one_sentence(tmp_path, monkeypatch, variable, value, complaint):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError) as caught: settings(tmp_path)
    assert complaint in str(caught.value) and '\n' not in str(caught.value)


def test_a_binary_settings_file_is_named(tmp_path):
    (tmp_path/'settings.ini').write_bytes(b'[sotalearn]\nepochs = \xff\xfe\n')
    with pytest.raises(ValueError, match='settings.ini: '): settings(tmp_path)


def test_chapters_are_in_reading_order():
    names = [o.name for o in chapters()]
    assert names[0] == 'index.ipynb' and names[1:] == sorted(names[1:]) and '01_imagenette.ipynb' in names


@pytest.mark.parametrize('language', LANGUAGES)
def test_the_copy_is_in_one_language_signed_and_without_machinery(tmp_path, language):
    done = write_copy(tmp_path/'mine', language)
    assert set(done.values()) == {'written'} and set(done) == {o.name for o in chapters()}
    assert settings(tmp_path/'mine').language == language
    other = 'zh' if language == 'en' else 'en'
    for name in done:
        nb = nbformat.read(tmp_path/'mine'/name, as_version=4)
        nbformat.validate(nb)
        text = nbformat.writes(nb)
        assert '#|' not in text and f'<img lang=\\"{other}\\"' not in text
        chinese = sum('\u4e00' <= c <= '\u9fff' for cell in nb.cells if cell.cell_type == 'markdown' for c in cell.source)
        assert (chinese > 50) == (language == 'zh')
        assert NotebookNotary().check_signature(nb), f'{name} is not signed'


def test_a_second_language_does_not_touch_what_was_changed(tmp_path):
    write_copy(tmp_path, 'en')
    mine = tmp_path/'02_baseline.ipynb'
    mine.write_text(mine.read_text(encoding='utf-8').replace('Recipe.from_settings(', 'Recipe.from_settings(seed=7, ', 1), encoding='utf-8')
    kept = mine.read_text(encoding='utf-8')
    done = write_copy(tmp_path, 'zh')
    assert mine.read_text(encoding='utf-8') == kept
    assert done['02_baseline.new.ipynb'] == 'new edition of 02_baseline.ipynb'
    assert done['01_imagenette.ipynb'] == 'renewed'


def test_metadata_that_jupyter_adds_is_no_change(tmp_path):
    write_copy(tmp_path, 'en')
    mine = tmp_path/'02_baseline.ipynb'
    nb = nbformat.read(mine, as_version=4)
    nb.metadata['toc'] = {'base_numbering': 1}
    nb.cells[0].metadata['collapsed'] = False
    mine.write_text(json.dumps(nb, indent=4), encoding='utf-8')
    assert write_copy(tmp_path, 'en')[mine.name] == 'current'
    assert write_copy(tmp_path, 'zh')[mine.name] == 'renewed'


def test_a_file_of_the_learners_with_a_chapters_name_is_kept(tmp_path):
    (tmp_path/'index.ipynb').write_text('my own notes')
    done = write_copy(tmp_path, 'en')
    assert (tmp_path/'index.ipynb').read_text() == 'my own notes'
    assert done['index.new.ipynb'] == 'new edition of index.ipynb'


def test_a_changed_new_edition_is_kept_too(tmp_path):
    (tmp_path/'index.ipynb').write_text('mine')
    write_copy(tmp_path, 'en')
    (tmp_path/'index.new.ipynb').write_text('mine as well')
    done = write_copy(tmp_path, 'zh')
    assert (tmp_path/'index.new.ipynb').read_text() == 'mine as well'
    assert done['index.new2.ipynb'] == 'new edition of index.ipynb'


@pytest.mark.parametrize('memory', ['', '{"files": {', '[]', '{"files": 3, "editions": {}}'])
def test_a_memory_that_cannot_be_read_loses_nothing(tmp_path, memory):
    write_copy(tmp_path, 'en')
    before = {o.name: o.read_bytes() for o in tmp_path.glob('*.ipynb')}
    (tmp_path/'.sotalearn'/'written.json').write_text(memory)
    write_copy(tmp_path, 'zh')
    assert all((tmp_path/name).read_bytes() == content for name, content in before.items())


def test_settings_of_the_learner_are_kept_but_for_the_language_asked_for(tmp_path):
    (tmp_path/'settings.ini').write_text('# mine\n[sotalearn]\nepochs = 9\nlanguage = en\n')
    write_copy(tmp_path, 'zh')
    assert (tmp_path/'settings.ini').read_text() == '# mine\n[sotalearn]\nepochs = 9\nlanguage = zh\n'
    assert (settings(tmp_path).epochs, settings(tmp_path).language) == (9, 'zh')


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path/'file').write_text('x')
    with pytest.raises(ValueError, match='folder must be a directory or not exist yet'): write_copy(tmp_path/'file')
    with pytest.raises(ValueError, match='language must be one of en, zh'): write_copy(tmp_path/'new', 'de')
    assert not (tmp_path/'new').exists()


def test_writing_fails_whole(tmp_path, monkeypatch):
    path = tmp_path/'a.txt'
    write_atomic(path, 'old')
    monkeypatch.setattr('os.replace', lambda *_: (_ for _ in ()).throw(OSError('disk full')))
    with pytest.raises(OSError): write_atomic(path, 'new')
    assert path.read_text() == 'old' and [o.name for o in tmp_path.iterdir()] == ['a.txt']


def test_readers_never_see_half_a_file(tmp_path):
    path, seen = tmp_path/'a.txt', set()
    write_atomic(path, 'a'*100_000)
    writer = threading.Thread(target=lambda: [write_atomic(path, c*100_000) for c in 'bcdefgh'])
    writer.start()
    while writer.is_alive(): seen.add((len(text := path.read_text()), len(set(text))))
    writer.join()
    assert seen <= {(100_000, 1)}


def test_figures_in_the_copy_are_in_its_language():
    image = '<img lang="en" alt="one" src="a">\n<img lang="zh" hidden alt="二" src="b">'
    cell = nbformat.v4.new_code_cell('f()', outputs=[nbformat.v4.new_output('display_data', data={'text/html': image})])
    nb = nbformat.v4.new_notebook(cells=[cell])
    assert json.dumps(in_language(nb, 'zh').cells[0].outputs[0].data['text/html'], ensure_ascii=False) == '"<img lang=\\"zh\\" alt=\\"二\\" src=\\"b\\">"'
    assert 'zh' not in in_language(nb, 'en').cells[0].outputs[0].data['text/html']
    assert nb.cells[0].outputs[0].data['text/html'] == image
