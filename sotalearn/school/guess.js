// Guesses: a field takes a number, a choice or a few words, keeps it, and then shows it beside what was measured.
//
// Nothing is sent anywhere: the page's own storage keeps the guesses, and in JupyterLab the learner's own kernel puts them on the card.
// Without this script no field is shown, and nothing is closed.

const GUESS_STYLE = `
.sotalearn-guess, .sotalearn-reliability { max-width: 46em; margin: .5em 0; line-height: 1.5; color: inherit; overflow-wrap: anywhere; }
.sotalearn-guess[hidden], .sotalearn-guess form[hidden] { display: none; }
.sotalearn-guess form { padding: 10px 16px 12px; border: 1px solid color-mix(in srgb, currentColor 28%, transparent); border-radius: 8px; }
.sotalearn-guess fieldset { margin: 0; padding: 0; border: 0; min-width: 0; }
.sotalearn-guess legend { padding: 0 0 2px; font-weight: 600; color: inherit; font-size: inherit; }
.sotalearn-guess .guess-row { display: flex; flex-wrap: wrap; gap: 6px 18px; align-items: center; margin: 4px 0; }
.sotalearn-guess .guess-option { display: flex; gap: 10px; align-items: baseline; padding: 5px 8px; border-radius: 6px; cursor: pointer; }
.sotalearn-guess .guess-option:hover { background: color-mix(in srgb, currentColor 7%, transparent); }
.sotalearn-guess :is(input[type=text], textarea, select) { font: inherit; color: inherit; background: transparent; padding: 3px 8px;
  min-height: 30px; border: 1px solid color-mix(in srgb, currentColor 55%, transparent); border-radius: 6px; box-sizing: border-box; }
.sotalearn-guess input[type=text] { width: 7em; }
.sotalearn-guess label:has(textarea) { display: block; }
.sotalearn-guess textarea { width: 100%; display: block; resize: vertical; }
.sotalearn-guess option { color: #1f2328; background: #fff; }
.sotalearn-guess input[type=radio] { accent-color: #0072b2; width: 1.05em; height: 1.05em; flex: none; align-self: center; margin: 0; }
.sotalearn-guess button { font: inherit; min-height: 34px; padding: 0 16px; border-radius: 6px; cursor: pointer; }
.sotalearn-guess button[type=submit] { font-weight: 600; color: #fff; background: #0072b2; border: 1px solid #0072b2; }
.sotalearn-guess button[type=button] { color: inherit; background: transparent; border: 1px solid color-mix(in srgb, currentColor 45%, transparent); }
.sotalearn-guess :is(input, select, textarea, button):focus-visible { outline: 2px solid #0072b2; outline-offset: 2px; box-shadow: 0 0 0 2px #fff; }
.sotalearn-guess .guess-said:not(:empty) { margin: 8px 0 0; padding: 4px 12px; border-left: 4px solid #0072b2; }
.sotalearn-guess .guess-said.guess-right { border-color: #009e73; }
.sotalearn-guess .guess-said.guess-wrong { border-color: #d55e00; }
.sotalearn-guess .guess-said:focus { outline: none; }
.sotalearn-guess .guess-said p { margin: .15em 0; }
:is(.sotalearn-guess, .sotalearn-reliability) svg { display: block; width: 100%; max-width: 26em; height: auto; margin: .4em 0; overflow: visible; }
:is(.sotalearn-guess, .sotalearn-reliability) text { font: 12px system-ui, sans-serif; fill: currentColor; }
.sotalearn-guess[data-answered] .guess-ask { display: none; }
@media print { .sotalearn-guess:not([data-answered]) { display: none; } }
`;
const KEPT = 'sotalearn-guesses';
const kernels = (globalThis.sotalearnKernels ??= new Set());      // of a JupyterLab's notebooks, which keep guesses on the card

function dressGuesses() {
  if (document.getElementById('sotalearn-guess-style')) return;
  const style = document.createElement('style');
  style.id = 'sotalearn-guess-style';
  style.textContent = GUESS_STYLE;
  document.head.append(style);
}

/** The guesses that this page's storage keeps, by name. */
function keptGuesses() {
  try {
    const found = JSON.parse(localStorage.getItem(KEPT));
    return found && typeof found === 'object' && !Array.isArray(found) ? found : {};
  } catch { return {}; }
}

function keepGuess(name, guess) {
  try { localStorage.setItem(KEPT, JSON.stringify({ ...keptGuesses(), [name]: guess })); } catch { /* private mode: this page only */ }
}

const fillGaps = (text, values) => text.replace(/\{(\w+)\}/g, (gap, name) => values[name] ?? gap);

/** A number as somebody types it: full-width digits, a comma, a fraction, a unit or a percent sign behind it; else NaN. */
function typedNumber(text, units) {
  const isPercent = unit => ['%', 'points', '个百分点'].includes(unit);
  let plain = text.normalize('NFKC').replace(/[−–]/g, '-').replace(/[。]/g, '.').replace(/\s+/g, '').replace(/^[~≈约]/, '');
  for (const unit of units) if (unit && unit !== '%' && plain.endsWith(unit.replace(/\s+/g, ''))) plain = plain.slice(0, -unit.replace(/\s+/g, '').length);
  const percent = plain.endsWith('%');
  if (percent) plain = plain.slice(0, -1);
  if (/^[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$/.test(plain)) plain = plain.replaceAll(',', '');
  else if (/^[^,]*,[^,]*$/.test(plain)) plain = plain.replace(',', '.');
  const [, top, bottom] = plain.match(/^([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?:\/(\d+\.?\d*))?$/i) ?? [];
  if (top === undefined) return NaN;
  const value = Number(top) / (bottom === undefined ? 1 : Number(bottom)) / (percent && !units.some(isPercent) ? 100 : 1);
  return Number.isFinite(value) ? value : NaN;
}

const told = (value, digits) => Number(value).toFixed(digits).replace('-', '−');

const SVG = 'http://www.w3.org/2000/svg';
function shape(parent, name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

function picture(width, height, label) {
  const svg = document.createElementNS(SVG, 'svg');
  for (const [key, value] of Object.entries({ viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label })) svg.setAttribute(key, value);
  return svg;
}

/** A small axis: what was measured with its interval below, the guess above. */
function axis({ value, low, high, digits }, guessed, words, label) {
  const given = Number.isFinite(3 * guessed) ? guessed : undefined;        // what is further than any axis is not drawn
  const ends = [value, low, high, ...(given === undefined ? [] : [given])];
  let [first, last] = [Math.min(...ends), Math.max(...ends)];
  const room = (last - first || Math.abs(value) || 1) * .18;
  [first, last] = [first - room, last + room];
  const x = at => 30 + 300 * (at - first) / (last - first);
  const svg = picture(360, 74, label);
  shape(svg, 'line', { x1: 30, x2: 330, y1: 40, y2: 40, stroke: 'currentColor', 'stroke-opacity': .5 });
  if (high > low) shape(svg, 'line', { x1: x(low), x2: x(high), y1: 40, y2: 40, stroke: '#0072b2', 'stroke-width': 7, 'stroke-linecap': 'round', 'stroke-opacity': .55 });
  shape(svg, 'circle', { cx: x(value), cy: 40, r: 6, fill: '#0072b2' });
  const anchor = at => ({ x: Math.min(Math.max(x(at), 60), 300), 'text-anchor': 'middle' });
  shape(svg, 'text', { ...anchor(value), y: 64 }, `${words.guess_axis_measured} ${told(value, digits)}`);
  if (given !== undefined) {
    shape(svg, 'path', { d: `M${x(given)} 36 l-6 -11 h12 z`, fill: '#d55e00' });
    shape(svg, 'text', { ...anchor(given), y: 18 }, `${words.guess_axis_yours} ${+given.toPrecision(4)}`.replace('-', '−'));
  }
  return svg;
}

function counts(task, given) {
  const { answer } = task;
  if (task.kind === 'words' || !answer) return undefined;
  if (task.kind === 'choice') return answer.letter.includes(given);
  return given >= answer.low - answer.within - 1e-9 && given <= answer.high + answer.within + 1e-9;
}

/** The sentences below a guess: the guess, the answer, whether it counts as right. */
function replies(task, given) {
  const { words, answer, kind, unit, options } = task, lines = [], right = given === undefined ? undefined : counts(task, given);
  const withUnit = text => unit ? `${text} ${unit}` : text;
  if (given !== undefined) {
    const yours = kind === 'choice' ? options[given] : kind === 'number' ? withUnit(String(+given.toPrecision(6)).replace('-', '−')) : given;
    lines.push(fillGaps(words.guess_yours, { value: yours }));
  }
  if (!answer) lines.push(words.guess_below);
  else if (kind === 'choice') lines.push(fillGaps(words.guess_answer, { value: [...answer.letter].map(letter => options[letter]).join(', ') }));
  else {
    const { value, low, high, digits } = answer, part = { value: withUnit(told(value, digits)), low: told(low, digits), high: told(high, digits) };
    lines.push(fillGaps(high > low ? words.guess_interval : words.guess_answer, part));
  }
  if (right !== undefined) lines.push(right ? words.guess_right : words.guess_wrong);
  return { lines, right };
}

function showAnswer(root, task, given) {
  const said = root.querySelector('.guess-said'), { lines, right } = replies(task, given);
  said.replaceChildren(...lines.map(line => Object.assign(document.createElement('p'), { textContent: line })));
  said.classList.toggle('guess-right', right === true);
  said.classList.toggle('guess-wrong', right === false);
  if (task.kind === 'number' && task.answer) said.prepend(axis(task.answer, given, task.words, lines.join(' ')));
  if (given !== undefined && root.closest('.jp-Notebook') && !kernels.size) {
    said.append(Object.assign(document.createElement('small'), { className: 'guess-keep', textContent: task.words.guess_keep }));
  }
  root.dataset.answered = '';
  root.dispatchEvent(new CustomEvent('sotalearn-guess', { bubbles: true }));
}

/** Whoever goes by keyboard goes on from here: the field that had the focus is gone. */
function attend(said) {
  said.tabIndex = -1;
  said.focus({ preventScroll: true });
}

/** What the form holds, or the sentence that asks again. */
function readForm(form, task) {
  const { words, kind } = task;
  if (kind === 'choice') {
    const chosen = form.querySelector('input:checked');
    return chosen ? { given: chosen.value } : { again: words.guess_choose };
  }
  const text = form.elements.given.value.trim();
  if (!text) return { again: words.guess_empty };
  if (kind === 'words') return { given: text.slice(0, 400) };
  const given = typedNumber(text, task.units);
  return Number.isNaN(given) ? { again: fillGaps(words.guess_no_number, { value: text.slice(0, 40) }) } : { given };
}

/** Can a guess that was kept stand in this edition of the course? */
function fits(given, { kind, options }) {
  if (kind === 'number') return Number.isFinite(given);
  return typeof given === 'string' && (kind === 'words' || given in options);
}

function openGuess(root) {
  const form = root.querySelector('form'), said = root.querySelector('.guess-said');
  const task = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
  const before = task.given ?? keptGuesses()[task.name];
  root.addEventListener('keydown', event => event.stopPropagation());     // JupyterLab would take the keys
  form.hidden = false;
  form.addEventListener('submit', event => {
    event.preventDefault();
    const { given, again } = readForm(form, task);
    if (again) {
      said.textContent = again;
      form.querySelector('input, textarea').focus();
      return;
    }
    const sure = Number(form.elements.sure?.value) || undefined;
    keepGuess(task.name, { given, sure, right: counts(task, given) });
    showAnswer(root, task, given);
    attend(said);
    countGuesses();
    for (const other of document.querySelectorAll('.sotalearn-reliability')) drawReliability(other);
  });
  form.querySelector('.guess-skip').addEventListener('click', () => {
    showAnswer(root, task);
    attend(said);
  });
  if (fits(before?.given, task)) showAnswer(root, task, before.given);
}

/** How many guesses were made, wherever a page tells it. */
function countGuesses() {
  const kept = keptGuesses();
  for (const root of document.querySelectorAll('.sotalearn-guess-count')) {
    const { total, none, some, own } = JSON.parse(root.dataset.told);
    const made = Object.values({ ...kept, ...own }), judged = made.filter(guess => typeof guess?.right === 'boolean');
    const values = { made: made.length, total, judged: judged.length, right: judged.filter(guess => guess.right).length };
    root.textContent = fillGaps(made.length ? some : none, values);
  }
}

/** Bins of 10 % of how sure one was: the mean of that, the share that was right, how many. */
function bins(guesses) {
  const found = new Map();
  for (const { sure, right } of guesses) {
    const place = Math.min(Math.floor(sure / 10), 9);
    found.set(place, [...found.get(place) ?? [], [sure, right]]);
  }
  return [...found].sort(([a], [b]) => a - b).map(([, some]) => ({
    n: some.length, confidence: some.reduce((sum, [sure]) => sum + sure, 0) / some.length / 100,
    accuracy: some.filter(([, right]) => right).length / some.length }));
}

function drawReliability(root) {
  const { own, example, model, words } = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
  const made = Object.values({ ...keptGuesses(), ...own }).filter(guess => typeof guess?.right === 'boolean' && guess.sure >= 50 && guess.sure <= 100);
  const guesses = made.length ? made : example, yours = bins(guesses), n = guesses.length;
  const mean = values => 100 * values.reduce((sum, value) => sum + value, 0) / n;
  const sure = mean(guesses.map(guess => guess.sure / 100)), right = mean(guesses.map(guess => guess.right ? 1 : 0));
  const line = fillGaps(made.length ? words.reliability_yours : words.reliability_example, { n, sure: sure.toFixed(0), right: right.toFixed(0) });
  const svg = picture(360, 330, line), x = share => 46 + 290 * share, y = share => 280 - 260 * share;
  for (const tick of [0, .2, .4, .6, .8, 1]) {
    shape(svg, 'line', { x1: x(0), x2: x(1), y1: y(tick), y2: y(tick), stroke: 'currentColor', 'stroke-opacity': .15 });
    shape(svg, 'text', { x: 38, y: y(tick) + 4, 'text-anchor': 'end' }, `${100 * tick}`);
    shape(svg, 'text', { x: x(tick), y: 298, 'text-anchor': 'middle' }, `${(100 * tick).toFixed(0)}`);
  }
  shape(svg, 'line', { x1: x(0), y1: y(0), x2: x(1), y2: y(1), stroke: 'currentColor', 'stroke-dasharray': '4 4', 'stroke-opacity': .6 });
  for (const [some, colour] of [[model, '#7f7f7f'], [yours, '#d55e00']]) {
    shape(svg, 'polyline', { points: some.map(bin => `${x(bin.confidence)},${y(bin.accuracy)}`).join(' '), fill: 'none', stroke: colour, 'stroke-width': 2 });
    const most = Math.max(...some.map(bin => bin.n));
    for (const bin of some) shape(svg, 'circle', { cx: x(bin.confidence), cy: y(bin.accuracy), r: 3 + 5 * Math.sqrt(bin.n / most), fill: colour });
  }
  shape(svg, 'text', { x: 52, y: 36, style: 'fill: #d55e00; font-weight: 600' }, made.length ? words.reliability_you : words.reliability_made_up);
  if (model.length) shape(svg, 'text', { x: 52, y: 52, style: 'font-weight: 600; opacity: .75' }, words.reliability_model);
  shape(svg, 'text', { x: x(.5), y: 318, 'text-anchor': 'middle' }, words.reliability_sure);
  shape(svg, 'text', { x: 14, y: y(.5), 'text-anchor': 'middle', transform: `rotate(-90 14 ${y(.5)})` }, words.reliability_right);
  const text = Object.assign(document.createElement('p'), { textContent: line });
  root.querySelector('.reliability-drawn').replaceChildren(svg, text);
}

/** Open every guess of the page that is not open yet. */
function openGuesses() {
  dressGuesses();
  for (const root of document.querySelectorAll('.sotalearn-guess[data-guess]:not([data-open])')) {
    root.dataset.open = '';
    openGuess(root);
  }
  for (const root of document.querySelectorAll('.sotalearn-reliability:not([data-open])')) {
    root.dataset.open = '';
    drawReliability(root);
  }
  countGuesses();
}

export default {
  /** A kernel listens: it is told of the guesses that this page has kept, and of every later one. */
  initialize({ model }) {
    const tell = () => { try { model.send({ guesses: keptGuesses() }); } catch { kernels.delete(model); /* it is gone */ } };
    kernels.add(model);
    document.addEventListener('sotalearn-guess', tell);
    for (const note of document.querySelectorAll('.guess-keep')) note.remove();
    tell();
    return () => {
      kernels.delete(model);
      document.removeEventListener('sotalearn-guess', tell);
    };
  },
};

export { openGuesses };
