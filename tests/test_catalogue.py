"""What the code says in English has a Chinese twin, and whoever asked for Chinese reads it."""
import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sotalearn.catalogue import in_chinese
from sotalearn.school.cli import main
from sotalearn.settings import reader_language, say, settings_text

DOCS = Path(__file__).parent.parent/'docs'
sys.path.insert(0, str(DOCS))
import catalogue  # noqa: E402: docs/ is no package

TWINS = catalogue.read_catalogue(catalogue.CATALOGUE.read_text(encoding='utf-8'))
GAP = re.compile(r'\{[^{}]*\}')
HAN = re.compile(r'[\u4e00-\u9fff]')
# Three words in a row are a sentence in the wrong language; names of things are one or two.
ENGLISH = re.compile(r"(?<![-\w./=`{])[A-Za-z][a-z']+(?: (?:[A-Za-z][a-z']+|a\b)){2,}")


@pytest.mark.parametrize('path', [catalogue.CATALOGUE, catalogue.REMARKS], ids=lambda path: path.stem)
def test_every_sentence_has_a_twin_and_none_is_left_over(path):
    entries = catalogue.kept_whole()[path]
    missing = [f'{place}: {text}' for text, (place, twin) in entries.items() if not twin]
    assert not missing, 'python docs/catalogue.py adds these; write their Chinese there'
    assert path.read_text(encoding='utf-8') == catalogue.as_text(entries, path), 'python docs/catalogue.py'


def test_a_remark_without_a_twin_would_be_found():
    remarks = catalogue.remarks()
    assert remarks['The sentences of a catalogue.'] == 'tools/catalogue' and 'Size of batch' in remarks
    assert len(remarks) > 1500 and catalogue.has_words('in pixels') and not catalogue.has_words('`blend`, (n, 3)')


def test_the_chinese_of_a_remark_has_its_code_and_says_no_english():
    for english, chinese in catalogue.read_catalogue(catalogue.REMARKS.read_text(encoding='utf-8')).items():
        assert set(re.findall('`([^`]+)`', english)) <= set(re.findall('`([^`]+)`', chinese)), english
        assert HAN.search(chinese) or not re.search('[A-Za-z]{3} [a-z]{2}', english), english


def test_a_sentence_without_a_twin_would_be_found():
    said = list(catalogue._said(ast.parse("raise ValueError(f'{a} must be {b:.1f}, ' 'got none')\nsay('stop', '停')\n"
                                          "say('go on')\nd['two words']\nparser.add_argument('-x', help='a help text')")))
    assert said == ['{a} must be {b:.1f}, got none', 'go on', 'a help text']


def test_twins_are_chinese_with_the_same_gaps():
    for english, chinese in TWINS.items():
        assert sorted(GAP.findall(english)) == sorted(GAP.findall(chinese)), english
        assert HAN.search(chinese) or not re.search('[A-Za-z]{3}', GAP.sub('', english)), english
        without_commands = re.sub(r'(?:sudo|pip|dask) [\w .{}:-]+', '', GAP.sub('{}', chinese))
        assert not ENGLISH.search(without_commands), chinese


def filled(text, values): return GAP.sub(lambda gap: values[gap[0]], text)


def test_a_sentence_is_found_by_what_it_says():
    for english, chinese in TWINS.items():
        gaps = {}
        for gap in GAP.finditer(english):
            after_another = english[:gap.start()].endswith('}')
            gaps.setdefault(gap[0], f'; ({len(gaps)})' if after_another else f'v{len(gaps)}')
        assert in_chinese(filled(english, gaps)) == filled(chinese, gaps), english


def test_a_hint_and_a_sentence_inside_another_are_translated():
    assert in_chinese("argument --epochs: invalid int value: 'five'") == "参数 --epochs：不是有效的 int 值：'five'"
    told = in_chinese("environment variable SOTALEARN_EPOCH: unknown setting 'epoch'; did you mean 'epochs'?")
    assert told == "环境变量 SOTALEARN_EPOCH：没有设置 'epoch'；你想写的是 'epochs' 吗？"


# ------------------------------------------------------------ who reads what

@pytest.fixture
def nowhere(tmp_path, monkeypatch, no_environment):
    "A folder without settings, on a machine whose language is not known."
    monkeypatch.chdir(tmp_path)
    for name in ('LANGUAGE', 'LC_ALL', 'LC_MESSAGES', 'LANG'): monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_library_speaks_english_unless_chinese_is_set(nowhere, monkeypatch):
    monkeypatch.setenv('LANG', 'zh_CN.UTF-8')
    assert reader_language() == 'en' and say('no run like that was measured yet') == 'no run like that was measured yet'
    (nowhere/'settings.ini').write_text(settings_text('zh').replace('epochs = 5', 'epochs = no'), encoding='utf-8')
    assert reader_language() == 'zh' and say('no run like that was measured yet') == '还没有测过这样的训练'
    monkeypatch.setenv('SOTALEARN_LANGUAGE', 'en')
    assert reader_language() == 'en'


def refusal(capsys, *words):
    with pytest.raises(SystemExit): raise SystemExit(main(list(words)))
    return capsys.readouterr().err


def test_the_command_speaks_the_asked_the_set_or_the_machines_language(nowhere, monkeypatch, capsys):
    chinese, english = 'epochs 必须是 1 到 1000 的整数', 'epochs must be a whole number'
    words = ('train', '--epochs', '0')
    assert english in refusal(capsys, *words) and chinese in refusal(capsys, '--lang', 'zh', *words)
    assert chinese in refusal(capsys, *words, '--lang', 'zh')
    monkeypatch.setenv('LANG', 'zh_CN.UTF-8')
    assert chinese in refusal(capsys, *words) and english in refusal(capsys, *words, '--lang', 'en')
    (nowhere/'settings.ini').write_text(settings_text('en'), encoding='utf-8')
    assert english in refusal(capsys, *words)
    assert 'SOTALEARN_LANGUAGE' not in os.environ


SESSION = ('--help', 'lab --help', 'data --help', 'train --help', 'compare --help', 'results --help', 'train --size 0',
           'compare --seeds 1;2', 'compare --jobs some', 'train --processes 0', 'train --epochs five', 'trian',
           'train --epocs 3', 'train --arch xresnet19', 'train --arch torchvision/resnet81', 'data toynete', 'train -x',
           'results --columns seed,epoch', 'lab --lang zn', 'lab --port 70000', 'compare --recipes mixup,mixup', '',
           'train --stages 4y32', 'train --mixup 1 --cutmix 1', 'train --processes 2 --plain', 'results --seed 987')


@pytest.mark.parametrize('line', SESSION)
def test_a_chinese_session_holds_no_english_sentence(nowhere, monkeypatch, capsys, line):
    monkeypatch.setenv('LANG', 'zh_CN.UTF-8')
    monkeypatch.setenv('COLUMNS', '80')
    try: main(line.split())
    except SystemExit: pass
    said = ''.join(capsys.readouterr())
    assert HAN.search(said)
    assert ENGLISH.findall(said) == [], said


def test_help_in_chinese_stays_within_the_terminal(nowhere, monkeypatch, capsys):
    import unicodedata
    monkeypatch.setenv('COLUMNS', '80')
    with pytest.raises(SystemExit): main(['train', '--help', '--lang', 'zh'])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 30 and '选项：' in lines
    for line in lines:
        assert sum(1 + (unicodedata.east_asian_width(sign) in 'WF') for sign in line) <= 80, line
        assert not re.match(r'\s*[，。；：）”]', line), line


def test_an_error_in_a_notebook_is_told_in_the_learners_language(tmp_path):
    code = "from sotalearn.recipes import Recipe\nRecipe(size=0)"
    for language, told in (('zh', 'ValueError: size 必须是 8 到 4096 的整数，得到的是 0'),
                           ('en', 'ValueError: size must be a whole number from 8 to 4096, got 0')):
        done = subprocess.run([sys.executable, '-m', 'IPython', '--colors=NoColor', '-c', code], cwd=tmp_path, timeout=60,
                              env={**os.environ, 'SOTALEARN_LANGUAGE': language, 'IPYTHONDIR': str(tmp_path/'ipython')},
                              capture_output=True, text=True)
        assert told in done.stdout + done.stderr
