
// A run that a reader pastes, put among the course's seeds: as sotalearn.school.place does, in the page, and sent nowhere.
const cellsOf = line => [...`,${line}`.matchAll(/,(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain);

/** The columns of the last row in what was pasted: a table with its first line, or a dict as Python shows it; {} if it is neither. */
function rowIn(pasted) {
  const text = pasted.normalize('NFKC');        // full-width digits and commas
  const pairs = [...text.matchAll(/['"](\w+)['"]\s*:\s*(?:'([^']*)'|"([^"]*)"|np\.\w+\(([^)]*)\)|([^,}\n]+))/g)];
  if (pairs.length) return Object.fromEntries(pairs.map(([, name, ...values]) => [name, values.find(value => value !== undefined).trim()]));
  const rows = text.replace(/^\ufeff/, '').split(/\r?\n/).filter(line => line.trim());
  const tabbed = line => line.split('\t').map(cell => cell.replace(/^"(.*)"$/, '$1').replaceAll('""', '"'));
  const lines = rows.map(rows[0]?.includes('\t') ? tabbed : cellsOf);
  if (lines.length < 2 || !lines[0].some(name => ['dataset', 'accuracy'].includes(name))) return {};
  return Object.fromEntries(lines[0].map((name, place) => [name, lines.at(-1)[place] ?? '']));
}

const isEmpty = value => ['', 'nan', 'none', 'null', 'undefined'].includes(String(value).trim().toLowerCase());

const BOOLEANS = { true: true, 1: true, '1.0': true, false: false, 0: false, '0.0': false };

/** A cell of a row as the course's runs have it; as text if it is nothing of that kind. */
function cellAs(value, ours) {
  const text = String(value).trim();
  if (typeof ours === 'boolean') return BOOLEANS[text.toLowerCase()] ?? text;
  return typeof ours === 'number' && !Number.isNaN(Number(text)) && text ? Number(text) : text;
}

/** [column, the run's value, the group's] of what the row tells and the group has otherwise. */
function differences(row, group, { columns, defaults }) {
  const said = columns.filter(name => name in row).map(name => [name, isEmpty(row[name]) ? defaults[name] : row[name]]);
  const told = said.filter(([, value]) => value !== undefined).map(([name, value]) => [name, cellAs(value, group[name]), group[name]]);
  return told.filter(([, value, ours]) => value !== ours);
}

const quoted = (text, most = 160) => {
  const plain = String(text).replaceAll('`', "'").split(/\s+/).filter(Boolean).join(' ') || ' ';
  return [...plain].length > most ? `${[...plain].slice(0, most - 1).join('')}…` : plain;
};

/** A cell as Python tells it. */
function shownCell(value) {
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value !== 'number') return quoted(value === '' ? '–' : value);
  const short = Number(value.toPrecision(12));
  return short && Math.abs(short) < 1e-4 ? short.toExponential().replace(/e-(\d)$/, 'e-0$1') : String(short);
}

const oneDigit = percent => (percent + 1e-9).toFixed(1);

/** The sentences for a row, and where it lies; only a sentence if it cannot be placed. */
function placed(row, told) {
  const { groups, reasons, words, joints } = told;
  if (!Object.keys(row).length) return { said: words.place_no_row };
  const lacking = ['dataset', 'accuracy'].filter(name => isEmpty(row[name]));
  if (lacking.length) return { said: fillGaps(words.place_lacks, { columns: lacking.join(', ') }) };
  const percent = 100 * Number(row.accuracy);
  if (!(percent >= 0 && percent <= 100)) return { said: fillGaps(words.place_accuracy, { value: quoted(row.accuracy) }) };
  const alike = groups.filter(group => group.dataset === row.dataset.trim());
  const known = [...new Set(groups.map(group => group.dataset))].join(', ');
  if (!alike.length) return { said: fillGaps(words.place_dataset, { known, value: quoted(row.dataset) }) };
  const counts = alike.map(group => differences(row, group, told).length), group = alike[counts.indexOf(Math.min(...counts))];
  const inside = percent >= group.low && percent <= group.high, where = inside ? 'inside' : percent > group.high ? 'above' : 'below';
  const values = { accuracy: oneDigit(percent), n: group.accuracies.length, low: oneDigit(group.low), high: oneDigit(group.high) };
  const said = [fillGaps(words[`place_${where}`], values)], found = [];
  let left = differences(row, group, told);
  for (const [name, some] of Object.entries(reasons)) {
    const mine = (some.length ? some : left.map(([column]) => column)).flatMap(column => left.filter(([other]) => other === column));
    left = left.filter(one => !mine.includes(one));
    const pairs = mine.map(([column, value, ours]) => `${column} ${shownCell(value)} (${shownCell(ours)})`).join(', ');
    if (mine.length) found.push(fillGaps(words[name], { pairs }));
  }
  if (!isEmpty(row.accuracy_tta) && 100 * Number(row.accuracy_tta) <= percent) found.push(words.place_views);
  if (found.length) said.push(words[inside ? 'place_nearest' : 'place_first'], found.join(joints.reasons));
  else if (!inside) said.push(words.place_same);
  return { said: said.join(joints.sentences), percent, group };
}

function openPlace(root) {
  const form = root.querySelector('form'), told = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
  const answer = root.querySelector('.guess-said');
  form.hidden = false;
  form.addEventListener('submit', event => {
    event.preventDefault();
    const { said, percent, group } = placed(rowIn(form.elements.row.value), told);
    answer.replaceChildren(Object.assign(document.createElement('p'), { textContent: said }));
    if (!group) return;
    const words = { guess_axis_measured: told.words.place_ours, guess_axis_yours: told.words.place_yours };
    answer.prepend(axis({ value: group.mean, low: group.low, high: group.high, digits: 1 }, Number(percent.toFixed(2)), words, said));
  });
}

for (const root of document.querySelectorAll('.sotalearn-place')) openPlace(root);
