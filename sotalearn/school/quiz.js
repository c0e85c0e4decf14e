// Questions that answer in the page: choices and orderings, checked against the rules that stand in the page beside them.
//
// Nothing is sent anywhere. The HTML of a question works by itself as far as HTML can: hints and answers fold out.

const STYLE = `
.sotalearn-quiz { max-width: 46em; margin: .5em 0; padding: 12px 16px; border: 1px solid color-mix(in srgb, currentColor 28%, transparent);
  border-radius: 8px; line-height: 1.5; color: inherit; overflow-wrap: anywhere; }
.sotalearn-quiz[hidden], .sotalearn-card[hidden] { display: none; }
.sotalearn-quiz form, .sotalearn-quiz fieldset { margin: 0; padding: 0; border: 0; min-width: 0; }
.sotalearn-quiz legend { padding: 0 0 4px; font-weight: 600; color: inherit; font-size: inherit; white-space: normal; }
.sotalearn-quiz p { margin: .3em 0; }
.sotalearn-quiz pre { margin: .4em 0; padding: 8px 10px; overflow-x: auto; border-radius: 6px; white-space: pre;
  background: color-mix(in srgb, currentColor 8%, transparent); color: inherit; }
.sotalearn-quiz .quiz-option { display: flex; gap: 10px; align-items: baseline; padding: 7px 8px; border-radius: 6px; cursor: pointer;
  color: inherit; margin: 0; font-weight: 400; }
.sotalearn-quiz .quiz-option:hover { background: color-mix(in srgb, currentColor 7%, transparent); }
.sotalearn-quiz .quiz-option p { margin: 0; }
.sotalearn-quiz .quiz-letter { font-weight: 600; }
.sotalearn-quiz input { margin: 0; flex: none; width: 1.05em; height: 1.05em; accent-color: #0072b2; align-self: center; }
.sotalearn-quiz select { flex: none; font: inherit; min-height: 30px; min-width: 4.2em; color: inherit; background: transparent;
  border: 1px solid color-mix(in srgb, currentColor 45%, transparent); border-radius: 6px; align-self: center; }
.sotalearn-quiz option { color: #1f2328; background: #fff; }
.sotalearn-quiz button { font: inherit; font-weight: 600; min-height: 34px; margin: 8px 0 2px; padding: 0 16px; border-radius: 6px; cursor: pointer;
  color: #fff; background: #0072b2; border: 1px solid #0072b2; }
.sotalearn-quiz :is(input, select, button, summary):focus-visible { outline: 2px solid #0072b2; outline-offset: 2px;
  box-shadow: 0 0 0 2px #fff; }
.sotalearn-quiz .quiz-said:not(:empty) { margin: 8px 0 4px; padding: 4px 12px; border-left: 4px solid #d55e00; }
.sotalearn-quiz .quiz-said.quiz-right { border-color: #009e73; }
.sotalearn-quiz details { margin: 6px 0 0; }
.sotalearn-quiz summary { cursor: pointer; padding: 3px 0; color: inherit; }
.sotalearn-quiz details[open] > summary { font-weight: 600; }
`;

function dress(page) {
  if (page.getElementById('sotalearn-quiz-style')) return;
  const style = page.createElement('style');
  style.id = 'sotalearn-quiz-style';
  style.textContent = STYLE;
  page.head.append(style);
}

/** The letters that were chosen; of an ordering, in the order given. */
function answerOf(form, kind) {
  if (kind !== 'order') return [...form.querySelectorAll('input:checked')].map(input => input.value);
  return [...form.querySelectorAll('select')].filter(select => select.value)
    .sort((a, b) => a.value - b.value).map(select => select.name);
}

function hasTwins(form) {
  const places = [...form.querySelectorAll('select')].map(select => select.value).filter(Boolean);
  return new Set(places).size < places.length;
}

/** The rules that an answer breaks: every option wrongly used, or else the first thing missing or out of order. */
function broken(rules, answer) {
  const breaks = rules.filter(({ used, missing, before }) => used ? answer.includes(used)
    : missing ? !answer.includes(missing)
      : answer.indexOf(before[0]) > answer.indexOf(before[1]));
  const used = breaks.filter(rule => rule.used);
  return used.length ? used : breaks.slice(0, 1);
}

function judge(form, { kind, rules, praise, words }) {
  const answer = answerOf(form, kind);
  if (!answer.length) return { right: false, said: words.none };
  if (kind === 'order' && hasTwins(form)) return { right: false, said: words.twins };
  const breaks = broken(rules, answer);
  return breaks.length ? { right: false, said: words.no + breaks.map(rule => rule.say).join('') } : { right: true, said: words.yes + praise };
}

/** The cards of this page follow what is answered in it. */
function tick(name) {
  for (const row of document.querySelectorAll(`.sotalearn-card [data-task="${name}"]:not([data-done])`)) {
    row.dataset.done = '';
    row.querySelector('.card-mark').textContent = '✓';
    row.querySelector('.card-state').textContent = row.closest('.sotalearn-card').dataset.here;
  }
}

function openQuestion(root) {
  const form = root.querySelector('form');
  root.addEventListener('keydown', event => event.stopPropagation());     // JupyterLab would take the arrow keys
  if (!form) return;
  const task = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
  const said = root.querySelector('.quiz-said');
  form.querySelector('button').hidden = false;
  form.addEventListener('submit', event => {
    event.preventDefault();
    const verdict = judge(form, task);
    said.classList.toggle('quiz-right', verdict.right);
    said.innerHTML = verdict.said;
    if (verdict.right) tick(task.name);
  });
  form.addEventListener('change', () => { said.textContent = ''; });
}

/** Open every question of the page that is not open yet. */
function openQuiz() {
  dress(document);
  for (const root of document.querySelectorAll('.sotalearn-quiz:not([data-open])')) {
    root.dataset.open = '';
    openQuestion(root);
  }
}

export { openQuiz };
