"""Guesses: each has a field, an answer that was measured, and waits in the site and in the learner's copy."""
import json, re
from pathlib import Path

import nbformat
import pytest

from sotalearn.school.answers import Unreadable
from sotalearn.school.copy import write_copy
from sotalearn.school.guesses import ANSWERS, GUESSES, Number, field_html, guess, guess_count, made_guesses, own_reliability, typed_number
from sotalearn.school.questionnaire import card

NBS = Path(__file__).parent.parent/'nbs'
MARK = re.compile(r'^<!-- guess: (\w+)(?: open)? -->$', re.M)
ASKS = re.compile(r'\*\*[^*\n]*(?:[Gg]uess|先猜)[^*\n]*\*\*')
CHAPTERS = sorted(NBS.glob('0*.ipynb'))


def prose(path, language):
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if language in cell.metadata.get('tags', [])]


@pytest.mark.parametrize('path', CHAPTERS, ids=lambda path: path.stem)
def test_every_prompt_has_its_field_in_both_languages(path):
    for cells in zip(prose(path, 'en'), prose(path, 'zh')):
        marks = [MARK.findall(source) for source in cells]
        assert marks[0] == marks[1] and [len(ASKS.findall(source)) for source in cells] == [len(marks[0])]*2, cells[0]


def test_every_guess_is_asked_once():
    asked = [name for path in CHAPTERS for source in prose(path, 'en') for name in MARK.findall(source)]
    assert sorted(asked) == sorted(GUESSES) and len(asked) > 80


@pytest.mark.parametrize('name', GUESSES)
def test_a_guess_has_a_measured_answer_that_counts_as_right(name):
    asked = GUESSES[name]
    if asked.kind == 'words': return
    assert (asked.kind == 'number') == isinstance(ANSWERS[name], Number)
    if asked.kind == 'number':
        answer = asked.answer
        assert answer['low'] <= answer['value'] <= answer['high'] and asked.is_right(answer['value'])
        assert not asked.is_right(answer['high'] + 2*answer['within'] + 1)
    else:
        right = asked.answer['letter']
        assert set(right) < set(asked.options) and asked.is_right(right[0])
        assert not asked.is_right(next(letter for letter in asked.options if letter not in right))


# What the text says below the guess, where a count alone is right.
SAID = dict(weights_that_change=('None. ', 0), answers_changed=('Not one: ', 0), believable=('One line stands clear', 1),
            ways_agree=('Four are the same', 4), verdicts_alike=('All five verdicts are the same', 5), lines_alike=('In all six. ', 6))


@pytest.mark.parametrize('name, said', SAID.items())
def test_the_count_that_the_text_tells_is_the_one_that_is_right(name, said):
    told, count = said
    text = '\n'.join(source for path in CHAPTERS for source in prose(path, 'en'))
    assert told in text.split(f'<!-- guess: {name} -->')[1].split('<!-- guess: ')[0] and GUESSES[name].answer['value'] == count


TYPED = [('１２．５', 12.5), ('12,5', 12.5), ('1,250', 1250), ('12.5 %', 12.5), ('１２．５％', 12.5), ('−3', -3), ('1/4', .25),
         (' 12.5 points ', 12.5), ('12.5个百分点', 12.5), ('约 12', 12), ('1e2', 100), ('0,125', .125)]
UNREADABLE = ['', ' ', 'a lot', '十二', '1,2,3', '12.5.1', '1/0', 'nan', 'inf', '1e999', '%', '٨٤']


@pytest.mark.parametrize('text, value', TYPED)
def test_a_number_is_read_however_it_is_typed(text, value):
    assert typed_number(text, GUESSES['seed_range'].unit) == pytest.approx(value)


@pytest.mark.parametrize('text', UNREADABLE)
def test_what_is_no_number_is_asked_again_in_one_sentence(text):
    with pytest.raises(Unreadable) as told: typed_number(text)
    assert len(re.findall(r'[.。](?:\s|$)', told.value.text[0])) <= 1


def test_a_percent_sign_means_hundredths_where_no_percent_are_asked():
    assert typed_number('20 %') == pytest.approx(.2)


def test_the_first_guess_stands_and_is_kept_beside_the_progress(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    guess('seed_range', '１．５', sure=80)
    again = guess('seed_range', 9)
    assert again.given['given'] == 1.5 and 'first guess stands' in repr(again)
    kept = json.loads((tmp_path/'.sotalearn'/'progress.json').read_text())
    assert kept['guesses']['seed_range']['sure'] == 80 and kept['tasks'] == {}
    assert guess_count().values() == dict(made=1, total=len(GUESSES), judged=1, right=1)


@pytest.mark.parametrize('given, sure', [('', None), ('many', None), (2, 20), (2, 'very'), (True, None), ([1, 2], None)])
def test_what_cannot_be_read_is_not_kept(tmp_path, monkeypatch, given, sure):
    monkeypatch.chdir(tmp_path)
    told = repr(guess('seed_range', given, sure))
    assert made_guesses() == ({}, None) and 'Your guess' not in told and len(told) > 10


@pytest.mark.parametrize('saved', ['{"tasks": {}}', '{"tasks": {"q1": {"tries": 1, "done": ""}}, "guesses": {"gone": {"given": 1}}}',
                                   '{"tasks": {}, "guesses": {"beta": {"given": "b"}}}', '{"tasks": {}, "guesses": {"beta": {"sure": 60}}}'])
def test_a_card_of_another_edition_is_kept(tmp_path, monkeypatch, saved):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'.sotalearn').mkdir()
    (tmp_path/'.sotalearn'/'progress.json').write_text(saved)
    guess('beta', '1/5')
    kept = json.loads((tmp_path/'.sotalearn'/'progress.json').read_text())
    assert kept['tasks'] == json.loads(saved)['tasks'] and kept['guesses'].keys() >= {'beta'}
    assert guess_count().values()['made'] == 1


@pytest.mark.parametrize('saved', ['{"tasks": {}, "gue', '{"tasks": {}, "guesses": []}', '{"tasks": {}, "guesses": {"beta": 3}}'])
def test_a_card_that_was_cut_off_is_put_aside(tmp_path, monkeypatch, saved):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'.sotalearn').mkdir()
    (tmp_path/'.sotalearn'/'progress.json').write_text(saved)
    assert 'progress.damaged1.json' in repr(guess('beta', .2))
    assert (tmp_path/'.sotalearn'/'progress.damaged1.json').read_text() == saved


@pytest.mark.parametrize('given', [None, True, [], {}, 'z', '<b>x', 1e999, float('nan'), 10**400, ['a'], {'a': 1}, 'x'*1000], ids=lambda o: repr(o)[:12])
def test_an_edited_card_is_shown_without_what_nobody_can_have_made(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'.sotalearn').mkdir()
    for sure in (None, 'x', True, float('nan')):
        one = dict(given=given, sure=sure, right='x', date='')
        saved = dict(tasks=dict(q1=dict(tries=2, done='<b>x')), guesses=dict.fromkeys(GUESSES, one))
        (tmp_path/'.sotalearn'/'progress.json').write_text(json.dumps(saved))
        for shown in (*map(guess, [*GUESSES][::9]), guess_count(), own_reliability(), card()):
            assert repr(shown) and '<b>x' not in re.sub(r'<script.*?</script>', '', shown._repr_html_(), flags=re.S)
        assert not {'seed_range', 'beta'} & made_guesses()[0].keys()
        assert 'Your guess: 1.5' in repr(guess('seed_range', 1.5)) and made_guesses()[0]['seed_range']['given'] == 1.5


def test_what_was_typed_is_text_and_not_markdown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = '![x](http://elsewhere/x.png)'
    words = next(name for name, asked in GUESSES.items() if asked.kind == 'words')
    for shown in (guess('seed_range', picture), guess(words, picture), guess(words, 'another')):
        assert '<img' not in re.sub(r'<script.*?</script>', '', shown._repr_html_(), flags=re.S)


def test_a_card_that_cannot_be_written_costs_no_answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'.sotalearn').write_text('a file where the folder should be')
    told = repr(guess('beta', .2))
    assert 'Your guess: 0.2' in told and 'could not be kept' in told


@pytest.mark.parametrize('language', ['en', 'zh'])
def test_in_the_learners_copy_answers_are_closed(tmp_path, language):
    source = NBS/'02_baseline.ipynb'
    write_copy(tmp_path, language, [source])
    cells = nbformat.read(tmp_path/source.name, as_version=4).cells
    place = next(i for i, cell in enumerate(cells) if cell.source == "guess('seed_range')")
    field = cells[place].outputs[0].data['text/html']
    assert field == field_html(GUESSES['seed_range'], language) and '<form hidden>' in field
    answer = cells[place + 1]
    assert answer.cell_type == 'code' and answer.outputs == [] and answer.metadata.jupyter.outputs_hidden
    assert cells[place + 2].source.startswith('<details>\n<summary>') and '\n\n</details>' in cells[place + 2].source
    folded = [cell.source.partition('</details>') for cell in cells if cell.source.startswith('<details>')]
    assert not any(re.search('Guess first|先猜一猜', answer) for answer, _, _ in folded)       # a question stays in sight
    assert any(re.search('Guess first|先猜一猜', rest) for _, _, rest in folded)
    headings = [cell.source for cell in cells if re.match('#{1,4} ', cell.source)]
    assert len(headings) > 5 and not any('<details>' in source.split('\n## ')[-1] for source in headings)


@pytest.mark.parametrize('language', ['en', 'zh'])
def test_in_the_learners_copy_each_guess_has_its_question_in_sight(tmp_path, language):
    sources = sorted(NBS.glob('0[1-8]*.ipynb'))
    write_copy(tmp_path, language, sources)
    closed = []
    for source in sources:
        cells = nbformat.read(tmp_path/source.name, as_version=4).cells
        for asks, field in zip(cells, cells[1:]):
            if 'guess' not in field.metadata: continue
            *answer, question = asks.source.split('</details>')
            assert re.search('[Gg]uess|猜', question), (source.name, field.source)
            closed += answer
    assert len(closed) > 10         # where one guess follows the answer of another
