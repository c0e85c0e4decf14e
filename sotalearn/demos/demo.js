// A live figure: native controls, and a picture that follows them.
//
// The page keeps every picture it has seen, named by the numbers of its controls' steps ("30" or "2,14,-"). A picture
// it keeps is painted at once. One it lacks is asked of the kernel: one at a time, and always the newest. While the
// reader rests, the neighbours are fetched, and what was passed too fast. Without a kernel the pictures stored in the page play alone.
//
// The same file serves both: anywidget imports it for the widget, and a demo's HTML form holds a copy of it.

const BUSY_AFTER = 2000;   // ms without an answer until the reader is told that the kernel is busy
const REST = 150;          // ms without a move until the reader is taken to rest
const BREATH = 15;         // ms between two pictures fetched meanwhile, in which the kernel can do other things
const REACH = 16;          // how many steps to either side are fetched
const GONE = ['dead', 'restarting', 'autorestarting', 'terminating'];   // a kernel's states in which it answers no more
const MOST_KEPT = 600;     // pictures; about 50 kB each

// The HTML of a cell and the widget of its kernel meet here, whichever comes first.
const meeting = (globalThis.sotalearnDemos ??= { models: new Map(), figures: new Set() });

const STYLE = `
.sotalearn-demo { --demo-paper: #fff; --demo-ink: #1f2328; --demo-soft: #59636e; --demo-line: #d1d9e0; --demo-accent: #0072b2;
  --demo-warn: #8a3b00; color-scheme: light; box-sizing: border-box; max-width: 860px; margin: .5em 0; padding: 14px; border-radius: 8px;
  border: 1px solid var(--demo-line); background: var(--demo-paper); color: var(--demo-ink);
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; }
@media (prefers-color-scheme: dark) { :root:not([data-theme=light]) body:not([data-jp-theme-light=true]) .sotalearn-demo {
  --demo-paper: #1c2128; --demo-ink: #e6edf3; --demo-soft: #a3adb8; --demo-line: #444c56; --demo-accent: #56b4e9; --demo-warn: #ffb57a; color-scheme: dark; } }
:root[data-theme=dark] body .sotalearn-demo.sotalearn-demo, body[data-jp-theme-light=false] .sotalearn-demo.sotalearn-demo {
  --demo-paper: #1c2128; --demo-ink: #e6edf3; --demo-soft: #a3adb8; --demo-line: #444c56; --demo-accent: #56b4e9; --demo-warn: #ffb57a; color-scheme: dark; }
body[data-jp-theme-light] .sotalearn-demo.sotalearn-demo { --demo-paper: var(--jp-layout-color1); --demo-ink: var(--jp-ui-font-color1);
  --demo-soft: var(--jp-ui-font-color2); --demo-line: var(--jp-border-color2); }
.sotalearn-demo[hidden] { display: none; }
@media (max-width: 480px) { .sotalearn-demo.sotalearn-demo { padding: 6px 0; border-width: 1px 0; border-radius: 0; } }
.sotalearn-demo .demo-body { display: flex; flex-wrap: wrap; gap: 14px 22px; align-items: flex-start; }
.sotalearn-demo .demo-view { flex: 0 1 auto; max-width: 100%; overflow-x: auto; }
.sotalearn-demo .demo-picture.demo-picture { display: block; width: 100%; height: auto; object-fit: contain; margin: 0; background: #fff; border-radius: 4px; }
.sotalearn-demo .demo-picture.demo-stale { opacity: .35; }
.sotalearn-demo .demo-panel { flex: 1 1 220px; min-width: 0; display: grid; gap: 14px; }
.sotalearn-demo .demo-control { display: grid; grid-template-columns: 1fr auto; gap: 2px 10px; align-items: baseline;
  border: 0; margin: 0; padding: 0; min-width: 0; }
.sotalearn-demo .demo-control label, .sotalearn-demo legend { font-weight: 600; padding: 0; color: inherit; }
.sotalearn-demo .demo-readout { font-variant-numeric: tabular-nums; }
.sotalearn-demo input[type=range] { grid-column: 1 / -1; width: 100%; height: 28px; margin: 0; accent-color: var(--demo-accent); cursor: pointer; }
.sotalearn-demo .demo-options { grid-column: 1 / -1; display: flex; flex-wrap: wrap; gap: 6px; margin-top: 4px; }
.sotalearn-demo .demo-options label { display: flex; align-items: center; gap: 6px; font-weight: 400; min-height: 28px;
  padding: 0 10px; border: 1px solid var(--demo-line); border-radius: 14px; cursor: pointer; }
.sotalearn-demo .demo-options label:has(:checked) { border-color: var(--demo-accent); box-shadow: inset 0 0 0 1px var(--demo-accent); }
.sotalearn-demo .demo-options input { margin: 0; accent-color: var(--demo-accent); }
.sotalearn-demo input:focus-visible, .sotalearn-demo .demo-options label:focus-within:has(:focus-visible) { outline: 2px solid var(--demo-accent); outline-offset: 2px; }
.sotalearn-demo .demo-cells { grid-column: 1 / -1; display: grid; gap: 2px; margin-top: 4px; font-size: 12px; line-height: 1.2; overflow-x: auto; padding: 2px; }
.sotalearn-demo .demo-picked { display: block; min-height: 1.45em; margin-bottom: 6px; font-weight: 600; }
.sotalearn-demo .demo-hint { display: block; margin-top: 6px; color: var(--demo-soft); font-size: 13px; }
.sotalearn-demo .demo-side { color: var(--demo-soft); align-self: end; }
.sotalearn-demo .demo-across { text-align: center; }
.sotalearn-demo .demo-row { text-align: right; align-self: center; padding-right: 4px; }
.sotalearn-demo .demo-column { writing-mode: vertical-rl; transform: rotate(180deg); justify-self: center; white-space: nowrap; padding-top: 4px; }
.sotalearn-demo:lang(zh) .demo-column { transform: none; align-self: end; padding: 0 0 4px; }
.sotalearn-demo .demo-cells .demo-cell { --red: #d55e00; position: relative; display: grid; place-items: center; min-height: 26px; border-radius: 3px; cursor: pointer; font-weight: 400; print-color-adjust: exact;
  font-variant-numeric: tabular-nums; background: color-mix(in srgb, var(--red) calc(8% + 52% * var(--share, 0)), var(--demo-paper)); }
.sotalearn-demo .demo-cell.demo-same { color: var(--demo-soft); background: none; box-shadow: inset 0 0 0 1px var(--demo-line); }
.sotalearn-demo .demo-cell input { position: absolute; inset: 0; opacity: 0; margin: 0; cursor: pointer; }
.sotalearn-demo .demo-cell:has(:checked) { box-shadow: inset 0 0 0 2px var(--demo-ink); font-weight: 600; }
.sotalearn-demo .demo-cell:focus-within:has(:focus-visible) { outline: 2px solid var(--demo-accent); outline-offset: 1px; }
.sotalearn-demo .demo-control.demo-off { opacity: .5; }
.sotalearn-demo .demo-off input { cursor: not-allowed; }
.sotalearn-demo .demo-own { justify-self: start; padding: 3px 12px; border: 1px solid var(--demo-line); border-radius: 6px; cursor: pointer; }
.sotalearn-demo .demo-own[hidden], .sotalearn-demo .demo-options label[hidden] { display: none; }
.sotalearn-demo .demo-own:focus-within { outline: 2px solid var(--demo-accent); outline-offset: 2px; }
.sotalearn-demo .demo-own input { position: absolute; width: 1px; height: 1px; opacity: 0; }
.sotalearn-demo .demo-note { margin: 0; color: var(--demo-warn); overflow-wrap: anywhere; }
.sotalearn-demo .demo-note:empty { display: none; }
.sotalearn-demo .demo-spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;

function dress(page) {
  if (page.getElementById('sotalearn-demo-style')) return;
  const style = page.createElement('style');
  style.id = 'sotalearn-demo-style';
  style.textContent = STYLE;
  page.head.append(style);
}

/** Dots for a CSS pixel on this screen: a coarse one need not wait for pictures made for a fine one. */
const densityNow = () => (globalThis.devicePixelRatio > 1 ? 2 : 1);

function element(tag, className, properties = {}) {
  return Object.assign(document.createElement(tag), { className, ...properties });
}

const stepNumber = (control, value) => control.kind === 'slider'
  ? Math.round((value - control.low) / control.step)
  : control.options.findIndex(option => option.value === value);

const isOn = (control, values) => !control.only_if || values[control.only_if[0]] === control.only_if[1];

/** The name of the picture for these values; controls that are off do not count. */
function pictureName(controls, values) {
  return controls.map(control => isOn(control, values) ? stepNumber(control, values[control.name]) : '-').join(',');
}

const nearest = (few, value) => few.reduce((a, b) => Math.abs(b - value) < Math.abs(a - value) ? b : a);

/** The values one to REACH steps away on one control, the nearest first. */
function neighbours(controls, values) {
  const near = [];
  for (const control of controls.filter(o => isOn(o, values))) {
    const here = stepNumber(control, values[control.name]);
    if (control.kind !== 'slider') {
      control.options.forEach(({ value }, i) => near.push([control.kind === 'cells' ? Math.abs(i - here) : 1, { ...values, [control.name]: value }]));
      continue;
    }
    const last = stepNumber(control, control.high);
    for (let away = 1; away <= REACH; away++) {
      for (const there of [here + away, here - away]) {
        if (there < 0 || there > last) continue;
        near.push([away, { ...values, [control.name]: Math.min(control.low + there * control.step, control.high) }]);
      }
    }
  }
  return near.sort((a, b) => a[0] - b[0]).map(([, neighbour]) => neighbour);
}

function sliderControl(control, id, moved) {
  const box = element('div', 'demo-control');
  const label = element('label', '', { htmlFor: id, textContent: control.label });
  const readout = element('span', 'demo-readout', { ariaHidden: 'true' });
  const input = element('input', '', { type: 'range', id });
  let few = null;            // the values there are, where these are not all a step apart
  input.addEventListener('input', () => moved(control.name, few ? few[input.value] : Number(input.value)));
  box.append(label, readout, input);
  const follow = (value, on, step, values = null) => {
    const text = value.toFixed(control.decimals) + control.unit;
    few = values;
    const [min, max, place] = few ? [0, few.length - 1, few.indexOf(value)] : [control.low, control.high, value];
    Object.assign(input, { min, max, step: few ? 1 : step, disabled: !on });
    if (Number(input.value) !== place) input.value = place;
    input.setAttribute('aria-valuetext', text);
    readout.textContent = text;
    box.classList.toggle('demo-off', !on);
  };
  return { box, follow };
}

/** A button that opens the reader's own pictures; the kernel reads them as training does. */
function ownControl({ own, most_bytes: most, words }, send, refuse) {
  const label = element('label', 'demo-own', { textContent: words.own, hidden: true });
  const input = element('input', '', { type: 'file', accept: 'image/*,.heic,.heif,.avif', multiple: own > 1 });
  input.addEventListener('change', async () => {
    const files = [...input.files].slice(0, own);
    input.value = '';
    if (files.some(file => file.size > most)) { refuse(words.large); return; }
    for (const [at, file] of files.entries()) send({ open: file.name, at, of: files.length }, await file.arrayBuffer());
  });
  label.append(input);
  return label;
}

function choiceControl(control, id, moved) {
  const box = element('fieldset', 'demo-control');
  const options = element('div', 'demo-options');
  const labels = [];
  const inputs = control.options.map((option, i) => {
    const input = element('input', '', { type: 'radio', name: id, value: option.value, id: `${id}-${i}` });
    const label = element('label', '', { htmlFor: input.id });
    input.addEventListener('change', () => moved(control.name, option.value));
    label.append(input, option.label);
    options.append(label);
    labels.push(label);
    return input;
  });
  box.append(element('legend', '', { textContent: control.label }), options);
  const follow = (value, on) => {
    for (const input of inputs) Object.assign(input, { checked: input.value === value, disabled: !on });
    box.classList.toggle('demo-off', !on);
  };
  /** The options are others now, such as pictures of the reader's own. */
  const relabel = ({ options: told }) => labels.forEach((label, i) => {
    label.hidden = !told[i];
    label.lastChild.textContent = told[i]?.label;
  });
  return { box, follow, relabel };
}

/** The next cell that can be picked above or below one, the column's other end after the last. */
function cellInColumn(options, from, step) {
  const column = options.filter(option => option.column === from.column).sort((a, b) => a.row - b.row);
  return column[(column.indexOf(from) + step + column.length) % column.length];
}

/** A square table whose cells are radio buttons: Left and Right go from one to the next, as in every such group; Up and Down stay in the column. */
function cellsControl(control, id, moved) {
  const { names, sides, options } = control;
  const box = element('fieldset', 'demo-control');
  const table = element('div', 'demo-cells');
  table.style.gridTemplateColumns = `minmax(5em, max-content) repeat(${names.length}, minmax(24px, 30px))`;
  const place = (part, row, column, span = 1) => {
    Object.assign(part.style, { gridRow: row, gridColumn: `${column} / span ${span}` });
    table.append(part);
    return part;
  };
  const head = (className, textContent, ...where) => place(element('span', className, { textContent, ariaHidden: 'true' }), ...where);
  head('demo-side demo-across', sides[1], 1, 2, names.length);
  head('demo-side', sides[0], 2, 1);
  names.forEach((name, i) => {
    head('demo-column', name, 2, i + 2);
    head('demo-row', name, i + 3, 1);
  });
  const most = Math.max(...options.map(({ row, column, share }) => (row === column ? 0 : share)));
  const inputs = options.map((option, i) => {
    const { row, column, share, value, label } = option;
    const percent = Math.round(100 * share);
    const input = element('input', '', { type: 'radio', name: id, value, id: `${id}-${i}`, ariaLabel: `${label}, ${percent} %` });
    const cell = element('label', `demo-cell ${row === column ? 'demo-same' : ''}`, { htmlFor: input.id, title: label });
    if (row !== column) cell.style.setProperty('--share', share / most);
    input.addEventListener('change', () => moved(control.name, value));
    input.addEventListener('keydown', event => {
      const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = inputs[options.indexOf(cellInColumn(options, option, step))];
      next.focus();
      next.click();
    });
    cell.append(input, percent ? String(percent) : '·');
    place(cell, row + 3, column + 2);
    return input;
  });
  const picked = element('span', 'demo-picked', { ariaHidden: 'true' });      // the button's own name says the same
  const hint = element('span', 'demo-hint', { textContent: control.hint });
  box.append(element('legend', '', { textContent: control.label }), table);
  const follow = value => {
    inputs.forEach((input, i) => {
      input.checked = input.value === value;
      if (input.checked) picked.textContent = options[i].label;
    });
  };
  return { box, follow, above: picked, below: hint, room: 100 + 32 * names.length };
}

const CONTROLS = { slider: sliderControl, choice: choiceControl, cells: cellsControl };

/**
 * Open a live figure in `root`.
 *
 * spec: what demo.py's `Demo.spec` says: id, size, controls, values, words, note.
 * stored: {name: {data, alt}}, the pictures that came with the page; `mime` is their type. A page may hold them as files: {src, alt}.
 */
function openFigure(root, spec, stored = {}) {
  const { controls, words } = spec;
  const kept = new Map();
  let values = { ...spec.values };
  let model = null;          // the widget in the kernel, while there is one
  let lostKernel = false;
  let asked = null;          // the picture on order: {name, move, byReader}
  const missed = new Map();  // what the reader passed too fast to see: {name: values}
  const refused = new Set(); // names of pictures that cannot be drawn: they are asked for once, not all the time
  let busy = false;          // nothing came back for a while
  let cut = false;           // from the server, which may come back
  let narrow = false;        // is the room that of a phone? Then the pictures laid out for it are shown
  let isOther = false;       // does the kernel draw other pictures than those that are stored?
  let moves = 0;             // counts what was wanted, so that an older picture never replaces a newer one
  let paintedMove = -1;
  let touched = false;       // by the reader of this page
  let busyTimer, restTimer, speakTimer;
  let note = spec.note, trouble = '';

  dress(root.ownerDocument);
  const id = `demo-${Math.random().toString(36).slice(2, 10)}`;
  const body = element('div', 'demo-body');
  const picture = root.querySelector('img') ?? document.createElement('img');
  const firstSource = picture.src;
  Object.assign(picture, { className: 'demo-picture', decoding: 'sync' });
  const view = element('div', 'demo-view', { hidden: spec.failed });
  const panel = element('div', 'demo-panel');
  const noteLine = element('p', 'demo-note', { role: 'status' });
  const spoken = element('p', 'demo-spoken', { ariaLive: 'polite' });
  const parts = controls.map((control, i) => CONTROLS[control.kind](control, `${id}-${i}`, move));
  view.append(...parts.flatMap(part => part.above ?? []), picture, ...parts.flatMap(part => part.below ?? []));
  const own = spec.own ? ownControl(spec, sendFile, refuse) : null;
  panel.style.flexBasis = `${Math.max(...parts.map(part => part.room ?? 220))}px`;       // below that the picture stands under the controls
  panel.append(...parts.map(part => part.box), ...(own ? [own] : []), noteLine, spoken);
  body.append(...(controls.some(control => control.kind === 'cells') ? [panel, view] : [view, panel]));     // first the table, then what its cell holds
  root.classList.add('sotalearn-demo');
  root.lang = spec.language === 'zh' ? 'zh-Hans' : 'en';
  root.replaceChildren(body);
  // JupyterLab's shortcuts would take the arrow keys before a slider sees them.
  root.addEventListener('keydown', event => event.stopPropagation());

  /** Can this figure be laid out for a phone, by the kernel or as it is stored? */
  const hasNarrow = () => spec.narrow && (model || lostKernel || Object.keys(stored).some(name => name.startsWith('n')));
  /** Are there only the pictures that a page stores for a phone? */
  const isMeagre = () => narrow && !model && !lostKernel;
  const nameOf = wanted => (narrow ? 'n' : '') + pictureName(controls, wanted);
  const nameNow = () => nameOf(values);
  /** Is this picture here, and as sharp as the screen while a kernel could draw it sharper? */
  const holds = name => kept.has(name) && (!model || kept.get(name).density >= densityNow());

  function keep(name, source, alt, density = 2) {
    const image = new Image();
    image.src = source;
    const entry = { image, alt, density, decoded: false };
    // Decoding now means that painting later takes no longer than one frame of the display.
    entry.ready = image.decode().then(() => { entry.decoded = true; }, () => { if (kept.get(name) === entry) kept.delete(name); });
    if (kept.has(name)) forget(name);
    kept.set(name, entry);
    missed.delete(name);
    if (kept.size > MOST_KEPT) forget(kept.keys().next().value);
  }

  function forget(name) {
    const { image } = kept.get(name);
    if (image.src.startsWith('blob:')) URL.revokeObjectURL(image.src);
    kept.delete(name);
  }

  /** The kernel draws others than the page holds. */
  function leaveStored() {
    isOther = true;
    for (const name of [...kept.keys()]) forget(name);
  }

  /** Put a kept picture in the place of the one before; it is decoded first, so that nothing flickers. */
  async function paint(name, forMove) {
    const entry = kept.get(name);
    if (!entry.decoded) await entry.ready;
    if (forMove < paintedMove || !entry.decoded) return;
    paintedMove = forMove;
    view.hidden = false;                                  // it may have failed before
    picture.src = entry.image.src;
    picture.alt = entry.alt;
    picture.dataset.shown = name.replace('n', '');
    clearTimeout(speakTimer);
    if (touched) speakTimer = setTimeout(() => { spoken.textContent = entry.alt; }, 700);
  }

  /** Under the controls: what is wrong, or what the kernel has to say. */
  function say() {
    const lacking = !holds(nameNow());
    const text = trouble || (lostKernel || (lacking && !model) ? words.gone : cut ? words.cut : busy ? words.busy : note);
    if (noteLine.textContent !== text) noteLine.textContent = text;
    picture.classList.toggle('demo-stale', Boolean(lacking && (busy || cut || trouble || !model)));
  }

  function follow() {
    controls.forEach((control, i) => parts[i].follow(values[control.name], isOn(control, values),
      model || lostKernel ? control.step : control.stored, isMeagre() ? control.few : model || lostKernel ? null : control.uneven));
  }

  /** The reader moved a control. */
  function move(name, value) {
    values = { ...values, [name]: value };
    touched = true;
    note = '';
    show();                  // first the picture, then the news: the kernel answers in this order
    if (!model) return;
    try {
      model.set(name, value);
      model.save_changes();
    } catch { loseKernel(); }
  }

  /** Show the picture of the values as they are: kept, or asked for. */
  function show() {
    moves += 1;
    trouble = '';
    follow();
    if (holds(nameNow())) {
      paint(nameNow(), moves);
      rest();
    } else if (model) {
      missed.set(nameNow(), values);
      ask(values, true);
    }
    say();
  }

  /** Ask the kernel for one picture; while one is on order, its arrival asks for whatever is newest then. */
  function ask(wanted, byReader) {
    clearTimeout(restTimer);
    if (asked || cut) return;
    asked = { name: nameOf(wanted), move: moves, byReader };
    busyTimer = setTimeout(() => { busy = true; say(); }, BUSY_AFTER);
    try { model.send({ ask: wanted, density: densityNow(), narrow }); } catch { loseKernel(); }
  }

  function sendFile(message, buffer) {
    refuse('');
    try { model.send(message, undefined, [buffer]); } catch { loseKernel(); }
  }

  function refuse(sentence) {
    trouble = sentence;
    say();
  }

  /** The kernel answered, with a picture or with a sentence; or it has other pictures to draw from now on. */
  function receive(content, buffers) {
    if ('opened' in content) {
      if (!content.opened) { refuse(content.error); return; }
      leaveStored();
      missed.clear();
      refused.clear();
      show();
      return;
    }
    const { name = asked?.name, alt, mime, density, error = '' } = content;
    if (!error && !holds(name)) keep(name, URL.createObjectURL(new Blob([buffers[0]], { type: mime })), alt, density);
    if (name !== asked?.name) return;    // the answer to another view of this demo
    const order = asked;
    asked = null;
    busy = false;
    clearTimeout(busyTimer);
    if (error) refused.add(name);
    if (name !== nameNow()) {
      if (order.byReader && kept.has(name)) paint(name, order.move);
      if (holds(nameNow())) rest(BREATH); else ask(values, true);
    } else if (error) trouble = error;
    else {
      paint(name, moves);
      if (holds(name)) rest(); else ask(values, true);
    }
    say();
  }

  function rest(pause = REST) {
    clearTimeout(restTimer);
    if (model) restTimer = setTimeout(prefetch, pause);
  }

  /** Fetch a picture that is lacking, the nearest first; its answer starts the next rest. */
  function prefetch() {
    if (!model || asked || document.hidden || !root.isConnected) return;
    const next = [...neighbours(controls, values), ...missed.values()].find(near => !holds(nameOf(near)) && !refused.has(nameOf(near)));
    if (next) ask(next, false);
  }

  function loseKernel() {
    model = asked = null;
    lostKernel = true;
    if (own) own.hidden = true;
    busy = cut = false;
    clearTimeout(busyTimer);
    clearTimeout(restTimer);
    say();
  }

  /** The way to the server is cut, or there again. */
  function hearConnection(status) {
    cut = status !== 'connected';
    asked = null;
    busy = false;
    clearTimeout(busyTimer);
    if (cut || !model) say(); else show();
  }

  /** Follow the widget in the kernel; returns what undoes it. */
  function connect(widget) {
    model = widget;
    if (spec.stand_in || widget.get('spec').opened !== spec.opened) leaveStored();      // made before the learner's own
    const followKernel = () => {
      const said = Object.fromEntries(controls.map(control => [control.name, widget.get(control.name)]));
      if (controls.every(control => said[control.name] === values[control.name])) return;
      values = said;
      show();
    };
    const relabel = () => widget.get('spec').controls.forEach((control, i) => parts[i].relabel?.(control));
    const hearNote = () => { note = widget.get('note'); say(); };
    const events = controls.map(control => [`change:${control.name}`, followKernel]);
    events.push(['change:note', hearNote], ['change:spec', relabel], ['msg:custom', receive], ['comm_live_update', loseKernel], ['destroy', loseKernel]);
    for (const [event, heard] of events) widget.on(event, heard);
    // A kernel that is shut down closes no widget; JupyterLab knows of it, other hosts may not say.
    const manager = widget.widget_manager;
    const kernel = manager?.kernel ?? manager?.context?.sessionContext?.session?.kernel;    // ipywidgets 8, 7
    const watchKernel = (_, status) => { if (GONE.includes(status)) loseKernel(); };
    const watchConnection = (_, status) => hearConnection(status);
    kernel?.statusChanged?.connect(watchKernel);
    kernel?.connectionStatusChanged?.connect(watchConnection);
    kernel?.disposed?.connect(loseKernel);
    // Zoomed in, or moved to a finer screen: pictures made for a coarse one are asked for again.
    const sharpness = matchMedia('(min-resolution: 1.01dppx)');
    const sharpen = () => { if (root.isConnected) show(); };
    sharpness.addEventListener('change', sharpen);
    if (own) own.hidden = false;
    arrange();
    relabel();
    hearNote();
    followKernel();
    show();
    return () => {
      for (const [event, heard] of events) widget.off(event, heard);
      sharpness.removeEventListener('change', sharpen);
      kernel?.statusChanged?.disconnect(watchKernel);
      kernel?.connectionStatusChanged?.disconnect(watchConnection);
      kernel?.disposed?.disconnect(loseKernel);
    };
  }

  /** Take the layout that fits, and the stored pictures of it; those of the other one need not be fetched. */
  function arrange() {
    const style = getComputedStyle(root);
    const room = root.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    if (room > 0) narrow = Boolean(hasNarrow()) && room < .95 * spec.size[0];
    const [width, height] = narrow ? spec.narrow : spec.size;
    Object.assign(picture, { width, height });
    picture.style.aspectRatio = `${width} / ${height}`;     // the room is kept before the first picture comes
    view.style.width = `${width}px`;
    picture.style.minWidth = `${Math.min(width, 328)}px`;     // narrower, the text would be too small to read: it scrolls
    if (isMeagre()) values = Object.fromEntries(controls.map(({ name, few }) => [name, few ? nearest(few, values[name]) : values[name]]));
    if (isOther) return;
    for (const [name, { data, src, alt }] of Object.entries(stored)) {
      if (name.startsWith('n') !== narrow || kept.has(name)) continue;
      keep(name, data ? `data:${spec.mime};base64,${data}` : src ?? firstSource, alt, spec.density);
    }
  }

  arrange();
  new ResizeObserver(() => {
    const before = narrow;
    arrange();
    if (narrow !== before) show();
  }).observe(root);
  show();
  return { id: spec.id, connect };
}

/** Start every stored figure of the page, or of this part of it, that does not play yet. */
function play(part = document) {
  for (const root of part.querySelectorAll('.sotalearn-demo:not([data-playing], [hidden])')) {
    const data = root.querySelector('script[type="application/json"]');
    if (!data) continue;
    root.dataset.playing = '';
    const { spec, pictures } = JSON.parse(data.textContent);
    const figure = openFigure(root, spec, pictures);
    const model = meeting.models.get(spec.id);
    if (model) figure.connect(model); else meeting.figures.add(figure);
  }
}

export default {
  /** The kernel made a demo: the figure that its cell shows comes alive. */
  initialize({ model }) {
    const { id } = model.get('spec');
    meeting.models.set(id, model);
    for (const figure of meeting.figures) {
      if (figure.id !== id) continue;
      meeting.figures.delete(figure);
      figure.connect(model);
    }
    return () => { meeting.models.delete(id); };
  },

  /** A view of its own, such as in an ipywidgets box. */
  render({ model, el }) {
    const root = element('div', 'sotalearn-demo');
    el.append(root);
    root.dataset.playing = '';
    return openFigure(root, model.get('spec')).connect(model);
  },
};

export { play };
