
// What answers a guess is closed until a guess is made, or the reader asks to see it without. The rest of the section waits with it.
function answersOf(field) {
  const found = [];
  for (let next = field.nextElementSibling; next && next.tagName !== 'SECTION'; next = next.nextElementSibling) found.push(next);
  return found;
}

const within = (parts, selector) => parts.flatMap(part => [...part.matches(selector) ? [part] : [], ...part.querySelectorAll(selector)]);

function close(root) {
  const field = root.closest('.cell') ?? root;
  if (root.dataset.answered !== undefined || root.dataset.closes === undefined || field.closest('.guess-closed')) return;
  const answers = answersOf(field);
  if (!answers.length) return;
  const box = document.createElement('div');
  box.className = 'guess-closed';
  box.hidden = true;
  box.setAttribute('hidden', 'until-found');        // so that searching the page, or a link into it, opens it
  field.after(box);
  box.append(...answers);
  const open = () => {
    if (!box.isConnected) return;
    box.replaceWith(...box.childNodes);
    for (const later of within(answers, '.sotalearn-guess')) close(later);
    // What is wider than the page scrolls by keyboard, too; closed, it had no width that the theme could have seen.
    for (const part of within(answers, 'pre, .output, .pst-scrollable-table-container')) {
      if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
    }
  };
  root.addEventListener('sotalearn-guess', open);
  box.addEventListener('beforematch', open);
  box.openAnswers = open;
}

function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let box; (box = target?.closest?.('.guess-closed'));) box.openAnswers();
  if (target) target.scrollIntoView();
}

for (const root of document.querySelectorAll('.sotalearn-guess')) close(root);
addEventListener('hashchange', openTarget);
if (document.querySelector('.sotalearn-guess') && location.hash) openTarget();
