"""Settings from files and the environment, and files that are written whole: what a cell does not show."""
import os
import threading

import pytest

from sotalearn.catalogue import in_chinese
from sotalearn.files import write_atomic
from sotalearn.settings import LANGUAGES, Settings, find_settings, results_path, settings, settings_text


pytestmark = pytest.mark.usefixtures('no_environment')


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
    ('SOTALEARN_EPOCHS', '0', 'epochs must be a whole number from 1 to 1000, got 0'),
    ('SOTALEARN_BS', '6.5', "bs must be a whole number from 1 to 65536, got '6.5'"),
    ('SOTALEARN_DATASET', '', 'dataset must not be empty')])
def test_a_bad_variable_is_named_in_one_sentence(tmp_path, monkeypatch, variable, value, complaint):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError) as caught: settings(tmp_path)
    assert str(caught.value) == f'environment variable {variable}: {complaint}'


def test_writing_fails_whole(tmp_path, monkeypatch):
    path = tmp_path/'a.txt'
    write_atomic(path, 'old')
    monkeypatch.setattr('os.replace', lambda *_: (_ for _ in ()).throw(OSError('disk full')))
    with pytest.raises(OSError): write_atomic(path, 'new')
    assert path.read_text() == 'old' and [left.name for left in tmp_path.iterdir()] == ['a.txt']


def test_what_is_put_in_place_is_on_the_disk_whoever_wrote_it(tmp_path, monkeypatch):
    synced, path = [], tmp_path/'a.txt'
    monkeypatch.setattr('os.fsync', lambda descriptor: synced.append(os.fstat(descriptor).st_ino))

    def by_a_library(draft):                                # as safetensors: a file of its own, renamed to the draft
        (tmp_path/'its-own').write_text('new')
        os.replace(tmp_path/'its-own', draft)
    write_atomic(path, by_a_library)
    assert synced == [path.stat().st_ino] and path.read_text() == 'new'


def test_readers_never_see_half_a_file(tmp_path):
    path, seen = tmp_path/'a.txt', set()
    write_atomic(path, 'a'*100_000)
    writer = threading.Thread(target=lambda: [write_atomic(path, letter*100_000) for letter in 'bcdefgh'])
    writer.start()
    while writer.is_alive():
        text = path.read_text()
        seen.add((len(text), len(set(text))))
    writer.join()
    assert seen <= {(100_000, 1)}


def test_a_section_in_a_comment_is_none(tmp_path, no_environment):
    (tmp_path/'settings.ini').write_text('# [sotalearn]\n[other]\nepochs = 3\n')
    assert settings(tmp_path).epochs == 5


@pytest.mark.parametrize('line', ['epochs＝7', 'epochs：７', 'EPOCHS: 7'])
def test_a_line_is_read_as_a_chinese_keyboard_types_it(tmp_path, no_environment, line):
    (tmp_path/'settings.ini').write_text(f'[sotalearn]\n{line}\n', encoding='utf-8')
    assert settings(tmp_path).epochs == 7


@pytest.mark.parametrize('lines, at', [('epochs 7', 2), ('epochs = 7\nsize = 32\nepochs = 7', 4), ('[sotalearn]\nepochs = 7', 2)])
def test_a_line_that_is_no_setting_is_told_by_its_number_in_both_languages(tmp_path, no_environment, lines, at):
    (tmp_path/'settings.ini').write_text(f'[sotalearn]\n{lines}\n', encoding='utf-8')
    with pytest.raises(ValueError, match=f"settings.ini: line {at} must be a setting like 'epochs = 5'") as caught: settings(tmp_path)
    assert f'第 {at} 行必须是' in in_chinese(str(caught.value))
