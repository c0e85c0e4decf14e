"""Questions in a page without a kernel and in a real JupyterLab, by keyboard, driven by headless Chromium."""
from contextlib import chdir

import pytest

from lab import CHROMIUM, Lab, our_troubles
from sotalearn.school.exercises import EXERCISES
from sotalearn.school.questionnaire import QUESTIONS, card
from sotalearn.settings import LANGUAGES

pytestmark = pytest.mark.skipif(not CHROMIUM, reason='no Chromium on this machine: Debian has it as `chromium`')
FORMS = {name: task for name, task in {**QUESTIONS, **EXERCISES}.items() if task.form}
WIDTHS = (1000, 390)


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    "All tasks on one page, in both languages."
    path = tmp_path_factory.mktemp('page')/'page.html'
    tasks = {**QUESTIONS, **EXERCISES}.values()
    with chdir(path.parent):                # the card of somebody who has not begun
        body = '\n'.join(task._repr_html_().replace(' hidden class', ' class') for task in tasks) + card()._repr_html_()
    head = '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    path.write_text(f'{head}<body>{body}', encoding='utf-8')
    return path


def opened(browser, file, width=1000):
    "The page with the network cut; `page.troubles` collects complaints, `page.requests` what it asked for."
    page = browser.new_context(viewport=dict(width=width, height=900), offline=True).new_page()
    page.troubles, page.requests = [], []
    page.on('console', lambda told: told.type == 'error' and page.troubles.append(told.text))
    page.on('pageerror', lambda error: page.troubles.append(str(error)))
    page.on('request', lambda asked: page.requests.append(asked.url))
    page.goto(file.as_uri())
    page.wait_for_selector('.sotalearn-quiz[data-open]')
    return page


# What the page says to each of several answers: {letters: its text without markup}
ANSWER = '''([root, kind, answers]) => answers.map(letters => {
    const form = root.querySelector('form');
    form.reset();
    form.dispatchEvent(new Event('change', { bubbles: true }));
    letters.forEach((letter, i) => {
        if (kind === 'order') form.querySelector(`select[name=${letter}]`).value = i + 1;
        else form.querySelector(`input[value=${letter}]`).checked = true;
    });
    form.requestSubmit();
    const said = root.querySelector('.quiz-said');
    return [said.textContent, said.classList.contains('quiz-right')];
})'''


def some_answers(form):
    "Every single letter, the right answer, and for orderings and choices of several a good number of wrong ones."
    letters, right = list(form.options), form.right
    if form.kind == 'one': return [[o] for o in letters]
    if form.kind == 'many': return [[o] for o in letters] + [right, letters] + [sorted({*right, o}) for o in letters]
    order = list(form.example())
    too_many = [*order, *(o for o in letters if o not in right)]
    swapped = [[*order[:i], order[i + 1], order[i], *order[i + 2:]] for i in range(len(order) - 1)]
    return [*([o] for o in letters), order, order[::-1], order[1:], too_many, *swapped]


def test_the_page_says_what_python_says(browser, file):
    page = opened(browser, file)
    bare = lambda text: ''.join(text.replace('`', '').replace('**', '').split())
    for name, task in FORMS.items():
        answers = some_answers(task.form)
        for i, language in enumerate(LANGUAGES):
            root = page.query_selector(f'.sotalearn-quiz[lang={language}][data-task={name}]')
            told = page.evaluate(ANSWER, [root, task.form.kind, answers])
            for answer, (said, right) in zip(answers, told):
                message = task.form(answer)
                assert right == bool(message), (name, answer)
                meant = bare(message.told()[i])
                assert bare(said).startswith(meant), f'{name} {answer}: {said!r}, in Python {message.text[i]!r}'
    assert page.requests == [file.as_uri()] and page.troubles == []


@pytest.mark.parametrize('width', WIDTHS)
def test_by_keyboard_alone(browser, file, width):
    page = opened(browser, file, width)
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    root = page.locator('.sotalearn-quiz[lang=en][data-task=q2]')
    said = root.locator('.quiz-said')
    root.get_by_role('radio').first.focus()
    page.keyboard.press('Space')
    page.keyboard.press('Enter')                                              # a form's own way to be sent
    assert 'Not yet' in said.inner_text() and 'That comes before' in said.inner_text()
    assert said.get_attribute('role') == 'status'
    for key in ('ArrowDown', 'ArrowDown'): page.keyboard.press(key)
    assert said.inner_text() == ''                                # an old verdict does not stand by a new choice
    page.keyboard.press('Tab')
    assert page.evaluate('document.activeElement.textContent') == 'Check'
    page.keyboard.press('Enter')
    assert 'Right' in said.inner_text() and "q2.check('c')" in said.inner_text()
    row = page.locator('.sotalearn-card[lang=en] [data-task=q2]').inner_text()
    assert row.split() == ['✓', *QUESTIONS['q2'].title[0].split(), 'q2', 'right', 'here']
    hint = root.locator('details').first
    page.keyboard.press('Tab')
    page.keyboard.press('Enter')
    assert hint.evaluate('o => o.open') and QUESTIONS['q2'].hints[0][0] in hint.inner_text()
    order = page.locator('.sotalearn-quiz[lang=en][data-task=q4]')
    for letter, place in zip('dbfa', '1234'):
        order.locator(f'select[name={letter}]').focus()
        page.keyboard.press(place)
    order.locator('select[name=f]').press('Enter')
    order.get_by_role('button').focus()
    page.keyboard.press('Enter')
    assert 'Right' in order.locator('.quiz-said').inner_text()
    order.locator('select[name=a]').select_option('1')
    order.get_by_role('button').press('Enter')
    assert 'same number' in order.locator('.quiz-said').inner_text()
    assert page.troubles == []


def test_nothing_chosen_is_said_so(browser, file):
    page = opened(browser, file)
    root = page.locator('.sotalearn-quiz[lang=zh][data-task=q1]')
    root.get_by_role('button').click()
    assert '还什么都没选' in root.locator('.quiz-said').inner_text()


def test_every_control_has_a_name(browser, file):
    page = opened(browser, file)
    nameless = page.evaluate('''[...document.querySelectorAll('.sotalearn-quiz :is(input, select, button)')].filter(o =>
        !(o.getAttribute('aria-label') || o.closest('label')?.textContent.trim() || o.textContent.trim())).length''')
    assert nameless == 0 and page.locator('.sotalearn-quiz[lang=en] legend').count() == len(FORMS)


def test_in_jupyterlab_the_keys_are_the_questions_and_a_check_is_kept(browser, tmp_path):
    with Lab(tmp_path/'lab') as lab:
        (lab.notebooks/'settings.ini').write_text('[sotalearn]\nlanguage = zh\n')
        name = lab.write('quiz.ipynb', 'from sotalearn.school.questionnaire import *\nq2', "q2.check('c')",
                         "q2.check('b')", 'card()')
        page = lab.open(browser, name)
        root = page.locator('.sotalearn-quiz[data-task=q2]:not([hidden])')
        assert root.get_attribute('lang') == 'zh' and page.locator('.sotalearn-quiz:not([hidden])').count() == 1
        root.get_by_role('radio').first.focus()
        page.keyboard.press('Space')
        page.keyboard.press('ArrowDown')
        page.keyboard.press('ArrowDown')
        assert root.locator('input:checked').get_attribute('value') == 'c'
        page.keyboard.press('Enter')
        assert '对了' in root.locator('.quiz-said').inner_text()
        outputs = [o.inner_text() for o in page.locator('.jp-OutputArea-output').all()]
        assert any('✓ 对了' in o and '逐个通道减去均值' in o for o in outputs)
        assert any('✗ 还不对' in o and '笔误' in o for o in outputs)
        assert '"tries": 2' in (lab.notebooks/'.sotalearn'/'progress.json').read_text()
        assert any('1 / 14' in o for o in outputs)
        assert our_troubles(page) == []
