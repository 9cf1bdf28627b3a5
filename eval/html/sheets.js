// Shows the crops that match the chosen class, source and reason, and where a crop is from.

'use strict';

const form = document.querySelector('.filters');
const output = form.querySelector('output');

function chosen(name) {
  const select = form.elements[name];
  return select ? select.value : '';
}

function update() {
  let count = 0;
  for (const section of document.querySelectorAll('section')) {
    let shown = 0;
    const matches = ['class', 'source'].every(
      name => !chosen(name) || section.dataset[name] === chosen(name));
    for (const figure of section.querySelectorAll('figure')) {
      const isShown = matches && (!chosen('reason') || figure.dataset.reason === chosen('reason'));
      figure.hidden = !isShown;
      shown += isShown;
    }
    section.hidden = !shown;
    count += shown;
  }
  output.value = count === 1 ? '1 crop' : `${count.toLocaleString('en')} crops`;
}

/** Name the image and box of a crop. */
function locate(figure) {
  for (const other of document.querySelectorAll('figure[aria-current]')) {
    other.removeAttribute('aria-current');
  }
  figure.setAttribute('aria-current', 'true');
  const where = document.querySelector('.where');
  where.textContent = `${figure.closest('section').dataset.class}, ${figure.dataset.reason}: ${figure.title}`;
  where.hidden = false;
}

document.addEventListener('click', event => {
  const figure = event.target.closest('figure');
  if (figure) locate(figure);
});
document.addEventListener('keydown', event => {
  if (event.key === 'Enter' && event.target.matches('figure')) locate(event.target);
});
form.addEventListener('change', update);
form.addEventListener('submit', event => event.preventDefault());
form.hidden = false;
update();
