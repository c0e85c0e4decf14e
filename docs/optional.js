// What goes further is folded: it opens for paper, and for a link that leads to its heading or into it.
const folds = [...document.querySelectorAll('details.optional')];

/** The fold that a place is in, or whose heading it is: an anchor stands at the end of the section before. */
function foldOf(place) {
  const isLast = place.matches('.anchor') && !(place.closest('p') ?? place).nextElementSibling;
  const section = isLast ? place.closest('section')?.nextElementSibling : place.closest('section');
  const isHeading = isLast || place === section;
  return place.closest('details.optional') ?? (isHeading ? section?.querySelector(':scope > details.optional') : null);
}

function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const fold = target && foldOf(target);
  if (!fold || fold.open) return;
  fold.open = true;
  target.scrollIntoView();
}

let closed = [];
addEventListener('beforeprint', () => {
  closed = folds.filter(fold => !fold.open);
  for (const fold of closed) fold.open = true;
});
addEventListener('afterprint', () => { for (const fold of closed) fold.open = false; });
addEventListener('hashchange', openTarget);
openTarget();
