
// A run that a reader pastes, put among the course's seeds: as sotalearn.school.place does, in the page, and sent nowhere.
const cellsOf = line => [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain);

/** The columns of the last row in what was pasted: a table with its first line, or a dict as Python shows it; {} if it is neither. */
function rowIn(text) {
  const pairs = [...text.matchAll(/['"](\w+)['"]\s*:\s*(?:'([^']*)'|"([^"]*)"|([^,}\n]+))/g)];
  if (pairs.length) return Object.fromEntries(pairs.map(([, name, one, two, plain]) => [name, one ?? two ?? plain.trim()]));
  const lines = text.trim().split(/\r?\n/).filter(line => line.trim()).map(line => cellsOf(line.replaceAll('\t', ',')));
  if (lines.length < 2 || !lines[0].includes('accuracy')) return {};
  return Object.fromEntries(lines[0].map((name, place) => [name.replace(/^\ufeff/, ''), lines.at(-1)[place] ?? '']));
}

const isEmpty = value => value === undefined || ['', 'nan', 'NaN', 'None', 'null'].includes(String(value));
const isAs = (value, ours) => {
  if (typeof ours === 'boolean') return /^(true|1)$/i.test(value) === ours;
  return typeof ours === 'number' ? Number(value) === ours : value === ours;
};
const differences = (row, group, columns) => columns.filter(name => !isEmpty(row[name]) && !isAs(row[name], group[name]));

/** The sentences for a row, and where it lies; only a sentence if it cannot be placed. */
function placed(row, { groups, columns, reasons, words, known }) {
  if (!Object.keys(row).length) return { said: words.place_no_row };
  const lacking = ['dataset', 'accuracy'].filter(name => isEmpty(row[name]));
  if (lacking.length) return { said: fillGaps(words.place_lacks, { columns: lacking.join(', ') }) };
  const percent = 100 * Number(row.accuracy);
  if (!(percent >= 0 && percent <= 100)) return { said: fillGaps(words.place_accuracy, { value: row.accuracy }) };
  const alike = groups.filter(group => group.dataset === row.dataset);
  if (!alike.length) return { said: fillGaps(words.place_dataset, { known: known.join(', '), value: row.dataset }) };
  const counts = alike.map(group => differences(row, group, columns).length), group = alike[counts.indexOf(Math.min(...counts))];
  const inside = percent >= group.low && percent <= group.high, where = inside ? 'inside' : percent > group.high ? 'above' : 'below';
  const values = { accuracy: percent.toFixed(1), n: group.accuracies.length, low: group.low.toFixed(1), high: group.high.toFixed(1) };
  const said = [fillGaps(words[`place_${where}`], values)], told = [];
  let left = differences(row, group, columns);
  for (const [name, some] of Object.entries(reasons)) {
    const mine = some.length ? left.filter(column => some.includes(column)) : left;
    left = left.filter(column => !mine.includes(column));
    const pairs = mine.map(column => `${column} ${row[column]} (${group[column]})`).join(', ');
    if (mine.length) told.push(fillGaps(words[name], { pairs }));
  }
  if (!isEmpty(row.accuracy_tta) && 100 * Number(row.accuracy_tta) <= percent) told.push(words.place_views);
  if (told.length) said.push(words[inside ? 'place_nearest' : 'place_first'], told.join('; '));
  else if (!inside) said.push(words.place_same);
  return { said: said.join(' '), percent, group };
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
