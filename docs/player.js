
// A live figure of this page starts when the reader comes near it: until then its pictures are not fetched.
const near = new IntersectionObserver(entries => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    play(target.parentElement);
  }
}, { rootMargin: '600px' });
for (const root of document.querySelectorAll('.sotalearn-demo:not([hidden])')) near.observe(root);
