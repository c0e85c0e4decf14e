"""Known answers, right and wrong, with the feedback each must get; and the progress that outlives everything."""
import contextlib
import itertools
import json
import math
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from sotalearn.recipes import Recipe, read_runs
from sotalearn.school import quiz
from sotalearn.school.copy import in_language
from sotalearn.school.exercises import EXERCISES, exercise
from sotalearn.school.judges import base
from sotalearn.school.progress import progress_path
from sotalearn.school.questionnaire import QUESTIONS, card, q1, q5, q13, q14
from sotalearn.school.quiz import Message
from sotalearn.school.runs import own_runs
from sotalearn.school.texts import NOTEBOOKS, read_sentences, read_texts

TASKS = {**QUESTIONS, **EXERCISES}
NBS = Path(__file__).parent.parent/'nbs'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    "A learner's folder of its own."
    for name in list(os.environ):
        if name.startswith('SOTALEARN_'): monkeypatch.delenv(name)
    (tmp_path/'settings.ini').write_text('[sotalearn]\nlanguage = en\ndataset = toynette\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base, 'SECONDS', 60)       # a busy machine is no wrong answer
    return tmp_path


def judged(task, answer, right, en):
    "Check an answer; the verdict and a part of what is said, and that Chinese readers are told as much."
    message = task.check(answer)
    assert message.right is right and en in message.text[0], message
    assert message.text[1] != message.text[0] and any('\u4e00' <= o <= '\u9fff' for o in message.text[1]), message.text[1]


# ------------------------------------------------------------ all tasks

def said(task):
    "Every (English, Chinese) of a task that must be a sentence in its language."
    yield from (task.title, task.ask, *task.hints, *task.sentences.values())
    yield from (text for text in (task.praise, task.explain) if text)
    for option in task.options.values(): yield from (text for text in (option.wrong, option.missed) if text)
    for *_, text in task.before: yield text


@pytest.mark.parametrize('task', TASKS.values(), ids=TASKS)
def test_a_task_is_whole_and_in_both_languages(task):
    for en, zh in said(task):
        assert not any('\u4e00' <= o <= '\u9fff' for o in en), en
        assert any('\u4e00' <= o <= '\u9fff' for o in zh) or en.startswith('`') or en == zh, zh
        assert en.count('`') % 2 == zh.count('`') % 2 == 0, en
    if task.name in QUESTIONS: assert task.explain


@pytest.mark.parametrize('notebook', sorted(o for o in NOTEBOOKS.glob('*.ipynb') if o.stem != 'guesses'),
                         ids=lambda o: o.stem)
def test_every_sentence_is_said_somewhere(notebook):
    "A sentence that no code asks for would never be read."
    if notebook.stem == 'sentences': names = read_sentences(notebook)
    else: names = {name for text in read_texts(notebook).values() for name in text.sentences} - {'otherwise'}
    school = Path(quiz.__file__).parent
    docs = NOTEBOOKS.parent.parent/'docs'
    scripts = [*school.rglob('*.py'), *school.rglob('*.js'), *docs.glob('*.js'), docs/'results.py']
    code = ''.join(o.read_text(encoding='utf-8') for o in scripts)
    def is_said(name): return re.search(rf"['\"]{name}['\"]|\b{name}=|\bwords\.{name}\b", code)
    known = {f'place_{where}' for where in ('inside', 'below', 'above')} if "f'place_{where}'" in code else set()
    assert [name for name in names if not is_said(name) and name not in known] == []


@pytest.mark.parametrize('task', [o for o in TASKS.values() if o.name != 'q5'], ids=[o for o in TASKS if o != 'q5'])
def test_every_solution_passes_its_own_check(task):
    *lines, last = task.answer.split('\n')
    scope = dict(QUESTIONS, exercise=exercise)
    exec('\n'.join(lines), scope)
    message = eval(last, scope)
    assert message and message.text[0] and message.text[1]
    assert task.answer in task.solution().text[0] and task.passage[0] in task.solution().text[1]


@pytest.mark.parametrize('task', TASKS.values(), ids=TASKS)
def test_hints_grow_and_end(task):
    *told, last = [task.hint().text[0] for _ in range(len(task.hints) + 1)]
    for before, after in zip(told, told[1:]):
        assert after.startswith(before.split('\n\n')[0]) and len(after) > len(before)
    assert last == told[-1] and 'solution()' in last
    task._hints_given = 0


@pytest.mark.parametrize('task', TASKS.values(), ids=TASKS)
def test_no_answer_is_not_a_try(task):
    if task is not q5: assert task.check().right is task.check(None).right is task.check(...).right is None
    assert not progress_path().exists()


FORMS = {name: task for name, task in TASKS.items() if task.form}


@pytest.mark.parametrize('task', FORMS.values(), ids=FORMS)
def test_every_wrong_option_has_an_explanation_of_its_own(task):
    form = task.form
    wrong = [o for o in form.options.values() if o.wrong]
    texts = [text for _, _, text in form.rules()]
    assert len({o.wrong for o in wrong}) == len(wrong) >= 2 and form(form.example())
    assert len(wrong) + len(form.before) >= 3
    for letter, o in form.options.items():
        if o.wrong: assert o.wrong[0] in form(letter).text[0] and o.wrong[1] in form(letter).text[1]
        elif form.kind != 'one': assert o.missed, f'{letter} is right: what is said if it is missing?'
    assert all(len(en) > 15 and len(zh) > 6 for en, zh in texts)


@pytest.mark.parametrize('task', [o for o in FORMS.values() if o.form.kind == 'many'], ids=lambda o: o.name)
def test_of_many_only_the_whole_is_right(task):
    letters = list(task.form.options)
    for n in range(1, len(letters) + 1):
        for given in itertools.combinations(letters, n):
            assert bool(task.form(given)) == (list(given) == task.form.right), given


@pytest.mark.parametrize('task', [o for o in FORMS.values() if o.form.kind == 'order'], ids=lambda o: o.name)
def test_of_orders_only_those_that_work_are_right(task):
    form, right = task.form, 0
    for given in itertools.permutations(form.right):
        message = form(list(given))
        works = all(given.index(first) < given.index(second) for first, second, _ in form.before)
        assert bool(message) == works and (works or message.text in [o for _, _, o in form.before])
        right += works
    assert right == (4 if task.name == 'q8' else 1)


# ------------------------------------------------------------ computed questions

SMOOTHED = [.02, .92, .02, .02, .02]


FORMS_OF_13 = [
    SMOOTHED, tuple(SMOOTHED), [SMOOTHED], pd.Series(SMOOTHED), np.array(SMOOTHED), np.array(SMOOTHED, dtype=np.float16),
    np.array([SMOOTHED]).T, torch.tensor(SMOOTHED).requires_grad_(),
    *(torch.tensor(SMOOTHED, dtype=kind) for kind in (torch.bfloat16, torch.float16, torch.float32, torch.float64))]


@pytest.mark.parametrize('answer', FORMS_OF_13, ids=lambda o: type(o).__name__)
def test_13_is_right_in_any_form(answer): judged(q13, answer, True, '0.92')


@pytest.mark.parametrize('answer, right, told', [
    ([.1, .9, .1, .1, .1], False, 'The rule for the true class was forgotten: it keeps ε/N as well'),
    ([.025, .9, .025, .025, .025], False, 'ε is shared by all five'),
    ([.02, .9, .02, .02, .02], False, 'The rule for the true class was forgotten'),
    ([.02, .92, .02, .02, .2], False, 'sum to 1.18. A target sums to 1.'),
    ([.5, .5, .5, .5, .5], False, 'sum to 2.5'),
    ([.92, .02, .02, .02, .02], False, 'indices count from 0'),
    ([.02, .02, .92, .02, .02], False, 'has to stand at index 1'),
    ([0, 1, 0, 0, 0], False, 'one-hot'),
    ([.01, .91, .01, .01, .01], False, 'ten classes'),
    ([.03, .92, .01, .02, .02], False, 'The others share ε equally'),
    ('d', True, '0.92'), ('ｄ', True, '0.92'), ('(a)', False, 'This sums to 1.3'),
    ([.05, .8, .05, .05, .05], False, 'It sums to 1, but the true class has 0.8'),
    ([.2]*5, False, 'the label is gone'),
    ([.02, .92, .06, .02, -.02], False, 'no negative numbers'),
    ([.02, .92, .02, .02], None, '5 numbers are asked for, you gave 4'),
    ('[0.02, 0.92, 0.02, 0.02, 0.02]', None, 'This is text'),
    ([.02, math.nan, .02, .02, .02], None, 'There is nan at index 1'),
    (torch.tensor([1 + 1j]*5), None, 'Not everything'),
    ({.02, .92}, None, 'no order'), (None, None, 'no answer'), (q13, None, 'Not everything'), (len, None, 'a function')])
def test_13_says_what_is_wrong(answer, right, told): judged(q13, answer, right, told)


RUN = dict(dataset='toynette', arch='xresnet18', size=64, epochs=2, stages='3x32', seed=1, train_images=0, accuracy=.71,
           seconds=40.)


@pytest.mark.parametrize('answer, right, told', [
    (RUN, True, 'You did it: 32 → 64 px, 71.0 %. To say whether it helped, train the same recipe without'),
    (pd.DataFrame([dict(RUN, stages=math.nan, accuracy=.7), RUN]), True,
     '+1.0 points against your 1 run without a schedule. But it went through 1.9 times their pixels'),
    (pd.DataFrame([dict(RUN, stages=math.nan, accuracy=.7, epochs=4), RUN]), True,
     '+1.0 points against your 1 run without a schedule. Other seeds'),
    (pd.DataFrame([dict(RUN, stages=math.nan, accuracy=.7, epochs=4), dict(RUN, stages=math.nan, accuracy=.5, epochs=1), RUN]),
     True, '+1.0 points against your 1 run without a schedule. Other seeds'),
    (pd.Series(RUN), True, 'You did it'),
    (dict(RUN, stages=''), False, 'No run here has a size schedule'),
    (dict(RUN, stages=math.nan), False, 'No run here has a size schedule'),
    (dict(RUN, stages='2x96'), False, 'The sizes do not grow: 96 → 64 px'),
    ({k: v for k, v in RUN.items() if k != 'accuracy'}, False, 'This is a plan'),
    (dict(RUN, accuracy=71.), False, 'An accuracy of 71 cannot be'),
    (dict(RUN, stages='32'), None, '`stages` cannot be read'),
    ('64', None, 'A run is asked for'), (.71, None, 'A run is asked for'), (None, None, 'No run is recorded')])
def test_5_looks_at_a_run(answer, right, told): judged(q5, answer, right, told)


def written(rows, table, encoding='utf-8', line_end='\n'):
    "A results table of these runs."
    runs = pd.DataFrame([vars(Recipe()) | row for row in rows])
    runs.to_csv(table, index=False, encoding=encoding, lineterminator=line_end)


def test_5_looks_into_the_learners_own_table(folder):
    table = folder/'results'/'runs.csv'
    table.parent.mkdir()
    written([dict(RUN, stages='', accuracy=.75)], table)
    judged(q5, None, None, 'No run here has a size schedule')
    written([dict(RUN, stages='', accuracy=.75), RUN], table)
    judged(q5, None, True, '-4.0 points against your 1 run')
    judged(q5, str(table), True, '-4.0 points')


def test_a_table_saved_by_excel_is_read_like_any_other(folder):
    "Excel's mark must not hide the first column: a run on other pictures is no rival."
    from sotalearn.bookkeeping import find_runs
    table = folder/'results'/'runs.csv'
    table.parent.mkdir()
    run = dict(RUN, split='toynette-1')
    rows = [dict(run, dataset='imagenette-160', stages='', accuracy=.9), dict(run, stages='', accuracy=.7), run]
    for encoding, line_end in (('utf-8', '\n'), ('utf-8-sig', '\r\n')):
        written(rows, table, encoding, line_end)
        judged(q5, None, True, '+1.0 points against your 1 run')
        assert [run['dataset'] for run in own_runs()] == [row['dataset'] for row in rows] == list(read_runs(table).dataset)
        found = find_runs(dict(baseline=Recipe(dataset='toynette', epochs=2)), [1], table, on_disk=False)
        assert list(found.score) == [.7]


def test_5_does_not_take_the_courses_runs_for_the_learners(monkeypatch):
    monkeypatch.chdir(NBS)
    monkeypatch.setattr(quiz, 'record', lambda *args: pytest.fail('nothing is to be recorded'))
    judged(q5, None, None, 'came with the course')


def test_5s_solution_trains_and_passes(monkeypatch, folder):
    from sotalearn.toynette import make_toynette
    small = make_toynette(folder/'small', train=6, val=2, show_progress=False)
    for name, value in dict(DATASET=str(small), BS='20').items(): monkeypatch.setenv(f'SOTALEARN_{name}', value)
    *lines, last = q5.answer.split('\n')
    scope = dict(q5=q5)
    exec('\n'.join(lines), scope)
    message = eval(last, scope)
    assert message and '32 → 64 px' in message.text[0]
    judged(q5, None, True, '32 → 64 px')                  # the same from the table that the run was recorded in


CLASSES = [f'class{i}' for i in range(4)]


@pytest.fixture
def dataset(folder):
    "A dataset of 4 classes with 40 pictures each."
    for split, each in dict(train=40, val=10).items():
        for label in CLASSES:
            (folder/'data'/split/label).mkdir(parents=True)
            for i in range(each): (folder/'data'/split/label/f'{i}.jpg').touch()
    settings = folder/'settings.ini'
    settings.write_text(settings.read_text().replace('toynette', str(folder/'data')))
    return folder/'data'


@pytest.mark.parametrize('answer, right, told', [
    (80, True, '80 of 160 pictures, all 4 classes, equally many of each'), (torch.tensor(40), True, '40 of 160'),
    (dict(train_images=80), True, '80 of 160'), (dict.fromkeys(CLASSES, 10), True, '40 of 160'),
    (dict.fromkeys(CLASSES, 40), False, 'the whole set'), (160, False, 'the whole set'), (120, False, 'most of the set'),
    ('b', True, 'Small enough'), (0, False, 'which means all'), (dict(train_images=0), False, 'which means all'),
    (dict(dict.fromkeys(CLASSES, 10), class2=30), False, 'not balanced: 30 of `class2`, 10 of `class0`'),
    (dict.fromkeys(CLASSES[:3], 10), False, 'Of `class3` there is no picture'),
    (dict(dict.fromkeys(CLASSES, 10), class9=10), False, '`class9` is no class'),
    (dict.fromkeys(CLASSES, 50), False, 'only 40 pictures of `class0`'), (8, False, '2 of a class are too few'),
    (3, False, 'not even one of each'), (80.5, None, 'whole number'), (-4, None, 'whole number'),
    ('80', None, 'is text'), (None, None, 'no answer yet'), (math.nan, None, 'nan'), (Recipe(train_images=80), True, '80 of'),
    (pd.Series(dict.fromkeys(CLASSES, 10)), True, '40 of 160'), (pd.Series(dict(train_images=80)), True, '80 of 160'),
    ([f'train/{label}/{i}.jpg' for label in CLASSES[:3] for i in range(10)], False, 'Of `class3` there is no picture'),
    (dict.fromkeys(CLASSES, 'many'), None, 'Not everything in it is a number'), (['picture.jpg'], None, 'no files')])
def test_14_checks_a_plan(dataset, answer, right, told): judged(q14, answer, right, told)


def test_14_checks_files(dataset):
    files = {split: sorted(dataset.glob(f'{split}/*/*.jpg')) for split in ('train', 'val')}
    judged(q14, files['train'][::4], True, '40 of 160')
    judged(q14, files['train'][:60], False, 'Of `class2` there is no picture')
    judged(q14, files['val'], False, 'validation pictures')
    judged(q14, [*files['train'][::4], files['train'][0]], False, 'twice')
    judged(q14, files['train'], False, 'the whole set')


def test_14_names_a_dataset_that_is_not_here():
    judged(q14, dict(dataset='/no/such', train_images=100), None, 'not on this machine')


# ------------------------------------------------------------ exercises: what people get wrong

def changed(listing, *pairs):
    for old, new in pairs:
        assert old in listing
        listing = listing.replace(old, new)
    return listing


DATA_BLOCK, BASELINE = exercise('fix_data_block').listing, exercise('fix_baseline').listing
BRACKET = ('blocks=(ImageBlock(), CategoryBlock)),', 'blocks=(ImageBlock, CategoryBlock),')
NAMES = (('RULs', 'URLs'), ('dblock.data', 'block.data'))
SPLIT = ('get_y=', "splitter=GrandparentSplitter(valid_name='val'), get_y=")


@pytest.mark.parametrize('listing, right, told', [
    (changed(DATA_BLOCK, BRACKET, *NAMES, SPLIT), True, 'All mended'),
    (changed(DATA_BLOCK, BRACKET, NAMES[0], SPLIT, ('block = DataBlock', 'return DataBlock'),
             ('min_scale=0.75))', 'min_scale=0.75)).dataloaders(path, bs=bs)'),
             ('return dblock.dataloaders(path, bs=bs)', '')), True, 'All mended'),
    (changed(DATA_BLOCK, BRACKET, *NAMES, SPLIT, ('return ', '')), False, 'nothing is returned'),
    (changed(DATA_BLOCK, *NAMES), False, 'Count the brackets'),
    (changed(DATA_BLOCK, BRACKET), False, 'keeps its addresses in `URLs`'),
    (changed(DATA_BLOCK, BRACKET, ('RULs', 'Urls'), NAMES[1], SPLIT), False, 'keeps its addresses in `URLs`'),
    (changed(DATA_BLOCK, BRACKET, *NAMES, SPLIT, ('path = untar_data(URLs.IMAGENETTE)', '')), False, 'keeps its addresses'),
    (changed(DATA_BLOCK, BRACKET, *NAMES, SPLIT, ("valid_name=", "train_name='val', valid_name=")), False, 'lie in `train`'),
    (changed(DATA_BLOCK, BRACKET, *NAMES, SPLIT, ('blocks=', '')), True, 'All mended'),
    (changed(DATA_BLOCK, BRACKET, *NAMES, SPLIT, ("splitter=GrandparentSplitter(valid_name='val')", 'splitter=split'),
             ('def get_dls', "split = GrandparentSplitter(valid_name='val')\ndef get_dls")), True, 'All mended'),
    (textwrap.indent(changed(DATA_BLOCK, BRACKET, *NAMES, SPLIT), '    '), True, 'All mended'),
    (changed(DATA_BLOCK, BRACKET, *NAMES, SPLIT, ('    return', '        return')), False, 'unexpected indent`.'),
    (changed(DATA_BLOCK, BRACKET, *NAMES, SPLIT, ('    return', 'return')), False, 'outside function`.'),
    (changed(DATA_BLOCK, BRACKET, *NAMES, SPLIT, ('IMAGENETTE', 'IMAGENETTEE')), False, 'keeps its addresses'),
    ('valid = \'val\'\n' + changed(DATA_BLOCK, BRACKET, *NAMES, SPLIT, ("valid_name='val'", 'valid_name=valid')), True, 'All mended'),
    (changed(DATA_BLOCK, BRACKET, *NAMES, SPLIT, ("'val'), get_y", "'val') get_y")), False, 'Perhaps you forgot a comma?`.'),
    (changed(DATA_BLOCK, BRACKET, NAMES[0]), False, '`dblock` is not known'),
    (changed(DATA_BLOCK, BRACKET, *NAMES), False, 'there is no `splitter`'),
    (changed(DATA_BLOCK, BRACKET, *NAMES, ('get_y=', 'splitter=RandomSplitter(), get_y=')), False,
     'Asked for here is the splitter'),
    (changed(DATA_BLOCK, BRACKET, *NAMES, ('get_y=', 'splitter=GrandparentSplitter(), get_y=')), False,
     'looks for a folder `valid`'),
    (changed(DATA_BLOCK, BRACKET, *NAMES, ('get_y=parent_label,', '')), False, '`get_y=…` got lost'),
    (DATA_BLOCK, None, 'still as it was'), (3, None, 'as text'), ('x = 1', False, 'no `DataBlock')])
def test_fix_data_block(listing, right, told): judged(exercise('fix_data_block'), listing, right, told)


FIXES = (('n_out_dls.c', 'n_out=dls.c'), ('Learn(', 'Learner('), ('CrossEntropyLossFlat)', 'CrossEntropyLossFlat()'),
         ('lean', 'learn'))


@pytest.mark.parametrize('listing, right, told', [
    (changed(BASELINE, *FIXES), True, 'All four slips'),
    (changed(BASELINE, *FIXES[:2]), False, 'A bracket closes'),
    (changed(BASELINE, *FIXES[1:]), False, '`n_out_dls` is no name'),
    (changed(BASELINE, FIXES[0], *FIXES[2:]), False, 'called `Learner`'),
    (changed(BASELINE, *FIXES[:3]), False, '`lean` is a typing error'),
    (changed(BASELINE, ('n_out_dls.c', 'dls.c'), *FIXES[1:]), False, '`pretrained`'),
    (changed(BASELINE, *FIXES[:2], ('CrossEntropyLossFlat)', 'CrossEntropyLossFlat'), FIXES[3]), False,
     'without brackets is the class'),
    (changed(BASELINE, *FIXES, (', metrics=accuracy', '')), False, '`metrics=accuracy` is lacking'),
    (changed(BASELINE, *FIXES, ('dls.c', 'dls_c')), False, 'is `dls.c`'), (changed(BASELINE, *FIXES, ('dls.c', '1000')), False, 'is `dls.c`'),
    (changed(BASELINE, *FIXES, ('dls, model', 'dls')), False, 'the DataLoaders and the model first'),
    (changed(BASELINE, *FIXES[:3], ('lean', 'leran')), False, '`leran` is not what the `Learner` was called'),
    (changed(BASELINE, *FIXES, ('CrossEntropyLossFlat()', 'nn.CrossEntropyLoss')), False, 'without brackets is the class'),
    (changed(BASELINE, *FIXES, ('CrossEntropyLossFlat()', 'F.cross_entropy')), True, 'All four slips'),
    (changed(BASELINE, *FIXES, ('loss_func=', '')), True, 'All four slips'),
    (changed(BASELINE, *FIXES, ('dls.c', 'len(dls.vocab)')), True, 'All four slips'), (changed(BASELINE, *FIXES, ('dls, model', 'model, dls')), False, 'the DataLoaders and the model first'),
    (changed(BASELINE, *FIXES, ('learn = ', 'learn: Learner = ')), True, 'All four slips'), (changed(BASELINE, *FIXES, ('=accuracy', '=acuracy')), False, 'is lacking'),
    (changed(BASELINE, *FIXES, ('learn = ', ''), ('\nlearn.fit', '.fit')), True, 'All four slips'), (changed(BASELINE, *FIXES, ('(5, 3e-3)', '')), False, 'Nothing is trained'),
    ('loss = CrossEntropyLossFlat()\n' + changed(BASELINE, *FIXES, ('CrossEntropyLossFlat()', 'loss')), True, 'All four slips'),
    (BASELINE, None, 'still as it was')])
def test_fix_baseline(listing, right, told): judged(exercise('fix_baseline'), listing, right, told)


def target(**shares):
    "Ten numbers: `target(c2=.3)` has 0.3 at index 2."
    return [shares.get(f'c{index}', 0) for index in range(10)]


VALUES = dict(              # exercise → (answer, verdict, a part of what is said)
    untrained_loss=[
        (2.303, True, 'ln 10'), (.1, False, 'the probability'), (1, False, 'base 10'), (3.322, False, 'base 2'),
        (-2.3026, False, 'The sign'), (5, False, 'A loss of 5 belongs'), (-1e300, False, 'A loss of')],
    wrong_std=[
        ((1, 2), True, 'twice as far'), (torch.tensor([1., 2.]), True, 'twice'), ((0, 1), False, 'the right statistics'),
        ((2, 1), False, 'wrong way round'), ((1, .5), False, 'blows the values up'), ((.1, 2), False, 'is divided, too'),
        ((3, 3), False, 'Put x = 0.6'), (1, None, '2 numbers')],
    epochs_in_all=[
        (11, True, '3 + (1 + 2) + (1 + 4)'), (9, False, 'one epoch more'), (5, False, 'largest pictures only'),
        (8, False, 'Add the ones before'), (10, False, 'both calls')],
    schedule=[
        ([(2, 64), (1, 128)], True, '56 s and 4 epochs'), ([(2, 64, 64), (1, 128, 32)], True, '56 s and 4 epochs'), ([(3, 128)], False, 'the baseline, not a schedule'),
        ([(1, 128), (3, 64)], False, 'have to grow'), ([(8, 64)], False, 'one size throughout'),
        ([(3, 32), (5, 64)], False, 'judged at 128'), ([(2, 64), (2, 128)], False, ': 76 s'),
        ([(3, 64), (1, 128)], False, 'As written it takes 44 s'), ([(5, 64), (2, 128)], False, 'about 100 s'),
        ([(1, 32), (2, 128)], False, '`fine_tune` adds one epoch'), ([(1, 64), (1, 128)], False, 'goes 3 times'),
        ('fast', None, 'A run is asked for'), ([64, 128], None, 'list of (epochs, size)'),
        ([(0, 64), (1, 128)], None, '1 or more'), ([(2.9, 64), (1, 128)], None, '1 or more'),
        ([dict(epochs=2, size=64)], None, 'list of (epochs, size)'), ([(math.inf, 64), (1, 128)], None, 'list of (epochs, size)'),
        ({64: 2, 128: 1}, None, 'list of (epochs, size)'), (Recipe(stages='2x64', epochs=1, size=128), True, '56 s and 4 epochs')],
    blended_target=[
        (torch.tensor(target(c2=.3, c7=.7)), True, '30 % church'), (np.array(target(c2=.7, c7=.3)), False, 'swapped'),
        (target(c1=.3, c6=.7), False, 'too far left'), (target(c3=.3, c8=.7), False, 'too far right'),
        (target(c7=1), False, 'larger share alone'), (target(c2=1, c7=1), False, 'sums to 2'),
        (target(c2=.5, c7=.5), False, 'Half and half'), ([.1]*9 + [.3], False, 'sum to 1.2'),
        (target(c4=1), False, 'Only the church'), (target(c2=.4, c7=.6), False, 'the shares are not'),
        ([.3, .7], None, '10 numbers')],
    hide_second=[
        (1, True, '1 − t is 0'), (0, False, 'the first picture is hidden'), (.5, False, 'equally'),
        (.99, False, '1 % of it left'), (2, False, 'a share'), ('one', None, 'This is text')],
    optimal_logit=[
        (4.511, True, '4.511'), (2.197, False, 'the whole ε'), (4.4998, False, '0.91'), (1.959, False, 'base 10'),
        (.9, False, 'difference of probabilities'), (10, False, 'a probability of 0.9996'), (math.inf, None, 'inf')],
    repair_labels=[
        (2/9, True, '0.222'), (.222, True, '0.222'), (.2, False, '0.82'), (.1, False, 'usual'), (.8, False, 'not ε'), (.5, False, '0.550')],
    verdict=[
        ('c', True, 'Zero lies'), ('a', False, 'by chance, too'), ('b', False, 'Not shown'), ('d', False, 'luck')])


@pytest.mark.parametrize('name, answer, right, told', [(name, *row) for name, rows in VALUES.items() for row in rows])
def test_values(name, answer, right, told): judged(exercise(name), answer, right, told)


def test_a_schedule_that_was_run(folder):
    judged(exercise('schedule'), dict(RUN, seconds=70.), False, 'took 70 s')
    judged(exercise('schedule'), dict(RUN, stages=''), False, 'one size throughout')
    judged(exercise('schedule'), RUN, None, 'No run is recorded')
    (folder/'results').mkdir()
    written([dict(RUN, stages='', accuracy=.7)], folder/'results'/'runs.csv')
    judged(exercise('schedule'), RUN, True, '71.0 % in 40 s against 70.0 %')
    judged(exercise('schedule'), dict(RUN, accuracy=.69), False, 'your baseline has 70.0 %')
    large = dict(RUN, stages='4x32', epochs=1, size=128, seconds=50, accuracy=.6)
    rivals = [dict(large, stages='', epochs=epochs, accuracy=accuracy) for epochs, accuracy in ((3, .65), (2, .55), (20, .8))]
    written(rivals, folder/'results'/'runs.csv')
    judged(exercise('schedule'), large, False, 'your baseline has 65.0 %')          # of the same cost, not of any
    judged(exercise('schedule'), dict(large, accuracy=.7), True, 'against 65.0 %')


def _blended(a, b, t):
    t = torch.as_tensor(t)
    if t.ndim: t = t.reshape(-1, *[1]*(a.ndim - 1))
    return t*a + (1 - t)*b


def naive_smooth(t, n, e): return torch.eye(n)[t]*(1 - e - e/(n - 1)) + e/(n - 1)


def whole_classes(labels, n): return [i for label in sorted(set(labels)) for i in of_class(labels, label)[:n]]


def of_class(labels, label): return [i for i, other in enumerate(labels) if other == label]


def gap_and(error):
    "A function that gives the mean of the differences and `error(ours, baseline, differences)`."
    return lambda a, b: (np.mean(a) - np.mean(b), error(a, b, np.subtract(a, b)))


OVER = (0, 2, 3)
FUNCTIONS = dict(           # exercise → (function, a part of what is said)
    balanced_subset=[
        (lambda labels, n: list(range(n)), 'simply the first 2'), (lambda labels, n: [0]*n, 'twice'),
        (lambda labels, n: list(range(len(labels)))[:n + 1], '2 indices are asked for, it gave 3'),
        (lambda labels, n: [i + 1 for i in range(n)], 'outside 0'), (whole_classes, 'asked for'),
        (lambda labels, n: ['church'], 'Not everything'), (lambda labels, n: [.5]*n, 'a whole number')],
    channel_stats=[
        (lambda x: (x.mean(dim=1), x.std(dim=1)), 'over the channels'),
        (lambda x: (x.mean(), x.std()), 'one number for everything'),
        (lambda x: (x.mean(dim=(2, 3)), x.std(dim=(2, 3))), 'for each picture'),
        (lambda x: (x.mean(OVER), x.var(OVER)), 'variance'),
        (lambda x: (x.std(OVER), x.mean(OVER)), 'the other way round'),
        (lambda x: (x.mean(OVER), x.std(OVER, unbiased=False)), 'one less'), (lambda x: x.mean(OVER), 'mean alone'),
        (lambda x: x.sum().item(), '2 things are to be returned')],
    choose_n=[
        (lambda b, p: int(b//p), 'forgot the plain pass'), (lambda b, p: int(b//p) - 1, 'cannot be negative'),
        (lambda b, p: b*p, 'multiplies'), (lambda b, p: max(0, b/p - 1), 'whole number'), (lambda b, p: max(0, math.ceil(b/p) - 1), 'over the budget')],
    average_views=[
        (lambda p: p.mean(1), 'over the pictures'), (lambda p: p.sum(0), 'the sum'), (lambda p: p.amax(0), 'maximum'),
        (lambda p: torch.eye(p.shape[-1])[p.argmax(-1)].mean(0), 'vote'), (lambda p: p[0], 'first view alone')],
    blend=[
        (lambda a, b, t: _blended(b, a, t), 'swapped'), (lambda a, b, t: a + b, 'The numbers are others'),
        (lambda a, b, t: (a + b)/2, 'half and half'), (lambda a, b, t: t*a + (1 - t)*b, 'spread over the columns'),
        (lambda a, b, t: a.mul_(.5), 'changes the input'),
        (lambda a, b, t: _blended(a, b, t) if a.ndim != 2 else t[:, None, None, None]*a + (1 - t[:, None, None, None])*b, 'shape'), (lambda a, b, t: float(t)*a + (1 - float(t))*b, 'raises')],
    smooth_labels=[
        (naive_smooth, 'ε/(N − 1)'), (lambda t, n, e: torch.eye(n)[t]*(1 - e - e/n) + e/n, 'keeps its own'),
        (lambda t, n, e: torch.eye(n)[t] + e/n, 'not lowered'), (lambda t, n, e: torch.eye(n)[t], 'one-hot'),
        (lambda t, n, e: torch.eye(n)[t]*(1 - e), 'get nothing')],
    paired_difference=[
        (lambda a, b: gap_and(lambda a, b, d: np.std(d, ddof=1)/len(d)**.5)(b, a), 'The sign'),
        (gap_and(lambda a, b, d: np.std(d, ddof=1)), 'root of their number'),
        (gap_and(lambda a, b, d: ((np.var(a, ddof=1) + np.var(b, ddof=1))/len(d))**.5), 'nothing to do with each other'),
        (gap_and(lambda a, b, d: np.std(d)/len(d)**.5), 'one less'),
        (lambda a, b: np.mean(a) - np.mean(b), 'mean alone')])


@pytest.mark.parametrize('name, function, told', [(name, *row) for name, rows in FUNCTIONS.items() for row in rows])
def test_functions(name, function, told):
    judged(exercise(name), function, False, told)
    said = exercise(name).check(function).text
    assert 'smallest input' in said[0] and '最小输入' in said[1]


def test_the_smallest_failing_input_is_shown_with_what_it_gave_and_what_was_expected():
    said = exercise('smooth_labels').check(naive_smooth).text[0]
    assert 'targets = [0], n_classes = 3, eps = 0.1' in said
    assert 'it gave: `[[0.9 , 0.05, 0.05]]' in said and 'expected: `[[0.9333, 0.0333, 0.0333]]' in said


# ------------------------------------------------------------ exercises: functions that misbehave

def loops(a, b, t):
    while True: pass


def sleeps(a, b, t):
    import time
    time.sleep(600)


def prints_right(a, b, t):
    print('here')
    return _blended(a, b, t)


def needs(a, b, t):
    import jax_of_tomorrow
    return jax_of_tomorrow.blend(a, b, t)


def stub(a, b, t): ...


def documented_stub(a, b, t):
    "Blend."
    pass


@pytest.mark.parametrize('function, right, told', [
    (loops, False, 'did not finish within'), (sleeps, False, 'did not finish within'), (prints_right, True, 'also prints'),
    (needs, False, 'needs the package `jax_of_tomorrow`'), (lambda a, b, t: print(t), False, 'prints its result'),
    (lambda a, b, t: [].append(a), False, 'returns nothing'),
    (lambda a, b, t: 1/0, False, 'raises `ZeroDivisionError: division by zero`'),
    (lambda a, b, t: sys.exit(), False, 'raises `SystemExit'), (lambda a, b, t: input(), False, 'raises `EOFError'),
    (lambda a, b, t: os._exit(1), False, 'ended the whole Python process'), (lambda a, b, t: a*math.nan, False, 'NaN'),
    (lambda a, b, t: 'blended', False, 'returns a `str`'), (lambda a, b, t: a[None], False, 'shape'),
    (lambda a, b, t: (x for x in a), False, 'returns a `generator`'), (stub, None, 'still empty'),
    (documented_stub, None, 'still empty'), (lambda a, b: a, None, 'take 3 arguments: `a, b, t`'),
    (torch.rand(3), None, 'A function is asked for'), (dict, None, 'A function is asked for'),
    (lambda *args: _blended(*args), True, 'agrees'), (lambda a, b, t=0: _blended(a, b, t).numpy(), True, 'agrees'),
    (lambda a, b, t: _blended(a, b, t).tolist(), True, 'agrees')])
def test_misbehaving_functions(monkeypatch, function, right, told):
    if 'did not finish' in told: monkeypatch.setattr(base, 'SECONDS', 1)
    judged(exercise('blend'), function, right, told)


@pytest.mark.parametrize('function, right, told', [
    (loops, False, 'did not finish within'), (prints_right, True, 'also prints'),
    (lambda a, b, t: 1/0, False, 'ZeroDivisionError')])
def test_without_fork_a_thread_does(monkeypatch, function, right, told):
    monkeypatch.delattr(os, 'fork')
    if 'did not finish' in told: monkeypatch.setattr(base, 'SECONDS', 1)
    judged(exercise('blend'), function, right, told)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no other process: this system cannot fork')
def test_a_function_that_never_ends_does_not_outlive_a_killed_kernel():
    script = textwrap.dedent('''
        import os
        from sotalearn.school.isolation import isolated
        def endless():
            print(os.getpid(), flush=True)
            while True: pass
        isolated(endless, 2)''')
    kernel = subprocess.Popen([sys.executable, '-c', script], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(kernel.stdout.readline()))
    kernel.kill()
    kernel.wait()
    gone, left = psutil.wait_procs([child], timeout=60)
    for process in left: process.kill()
    assert gone and not left


def test_a_closure_is_taken_as_it_is():
    factor = torch.tensor(1.)
    judged(exercise('blend'), lambda a, b, t: factor*_blended(a, b, t), True, 'agrees')


def test_a_learners_list_is_not_changed_by_a_check():
    answer = [0, 0, .3, 0, 0, 0, 0, .7, 0, 0]
    exercise('blended_target').check(answer)
    assert answer == [0, 0, .3, 0, 0, 0, 0, .7, 0, 0]


# ------------------------------------------------------------ progress

def kept(): return json.loads(progress_path().read_text())['tasks']


def test_progress_counts_tries_and_stays_done(folder):
    for answer in ('a', 'acd', 'b'): q1.check(answer)
    assert kept()['q1']['tries'] == 3 and kept()['q1']['done']
    assert 'Questions: 1 / 14' in repr(card()) and 'done 20' in repr(card())
    below = folder/'notes'
    below.mkdir()
    with contextlib.chdir(below): assert 'Questions: 1 / 14' in repr(card())     # a notebook in a folder below


PROGRAM = 'from sotalearn.school.progress import record\nfor i in range(15): record(f"{name}{i}", True)'


def test_two_notebooks_lose_nothing(folder):
    workers = [subprocess.Popen([sys.executable, '-c', f'name = "{name}"\n{PROGRAM}']) for name in 'abc']
    assert [o.wait(120) for o in workers] == [0, 0, 0]
    assert len(kept()) == 45


@pytest.mark.parametrize('spoiled', [
    b'', b'{"tasks": {"q1": {"tries": 1, "do', b'not json', b'[]', b'{"tasks": {"q1": 5}}',
    b'{"tasks": {"q1": {"tries": "1", "done": ""}}}', b'\xff\xfe\x00'])
def test_a_spoiled_file_is_kept_aside_and_said_so(spoiled):
    q1.check('acd')
    path = progress_path()
    path.write_bytes(spoiled)
    judged(q1, 'a', False, 'is kept as `progress.damaged1.json`')
    assert path.with_name('progress.damaged1.json').read_bytes() == spoiled and kept()['q1'] == dict(tries=1, done='')
    path.write_text('again')
    assert 'progress.damaged2.json' in repr(card()) and 'Questions: 0 / 14' in repr(card())


def test_what_a_later_edition_wrote_survives():
    path = progress_path()
    path.parent.mkdir()
    path.write_text(json.dumps(dict(edition=9, tasks=dict(q99=dict(tries=2, done='2030-01-01', stars=3)))))
    q1.check('acd')
    saved = json.loads(path.read_text())
    assert saved['edition'] == 9 and saved['tasks']['q99'] == dict(tries=2, done='2030-01-01', stars=3)
    assert saved['tasks']['q1']['done']


def test_where_nothing_can_be_written_the_answer_still_comes(folder):
    (folder/'.sotalearn').write_text('in the way')
    judged(q1, 'acd', True, 'could not be kept')


def test_broken_settings_do_not_stop_a_check(folder):
    (folder/'settings.ini').write_text('[sotalearn]\nlanguage = klingon\n')
    assert q1.check('acd') and repr(q1.check('acd')).startswith('✓ Right.')


# ------------------------------------------------------------ what is shown

def test_feedback_is_in_the_learners_language(folder):
    assert repr(q13.check([.1, .9, .1, .1, .1])).startswith('✗ Not yet. The rule')
    (folder/'settings.ini').write_text('[sotalearn]\nlanguage = zh\n')
    assert repr(q13.check([.1, .9, .1, .1, .1])).startswith('✗ 还不对。 忘了真实类别的规则')
    assert '问题: ' in repr(card())


def test_html_holds_both_languages_and_a_copy_only_its_own():
    for shown in (q1, card(), Message(('a', '啊'))):
        html = shown._repr_html_()
        lines = [o for o in html.splitlines() if o.startswith('<div lang=')]
        assert [o[:14] for o in lines] == ['<div lang="en"', '<div lang="zh"'] and ' hidden' in lines[1][:25]
        cell = nbformat.v4.new_code_cell('x', outputs=[nbformat.v4.new_output('execute_result', {'text/html': html})])
        for language, other in (('en', 'zh'), ('zh', 'en')):
            text = in_language(nbformat.v4.new_notebook(cells=[cell]), language).cells[0].outputs[0].data['text/html']
            assert f'<div lang="{other}"' not in text and f'<div lang="{language}" hidden' not in text
            assert f'<div lang="{language}"' in text


def test_a_learners_text_is_not_run_as_html():
    for answer in ('<script>alert(1)</script>', '[x](javascript:alert(1))'):
        html = q13.check(answer)._repr_html_()
        assert '<script' not in html and '<a ' not in html


def test_the_passages_exist():
    for task in QUESTIONS.values():
        file, _, anchor = task.passage[0].partition('#')
        if not anchor: continue
        cells = [o for o in nbformat.read(NBS/file, as_version=4).cells if o.cell_type == 'markdown']
        lines = [line for cell in cells for line in cell.source.splitlines() if line.startswith('#')]
        headings = [line.lstrip('# ').replace('`', '') for line in lines]
        assert anchor in [o.replace(' ', '-') for o in headings], task.passage
        for title in task.passage[1]: assert title.split(' → ')[1].replace('`', '') in headings, title
