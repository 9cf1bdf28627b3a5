// Shows one page of the evaluation at a time, to click or step through.

'use strict';

class Pager {
  constructor(section) {
    this.section = section;
    this.pages = [...section.querySelectorAll('figure.page')];
    this.bar = section.querySelector('.pager');
    this.select = this.bar.querySelector('select');
    this.index = 0;
    this.pages.forEach((page, i) => this.select.add(new Option(`${i + 1}: ${page.dataset.name}`, i)));
    this.on('.previous', 'click', () => this.goTo(this.index - 1));
    this.on('.next', 'click', () => this.goTo(this.index + 1));
    this.on('.zoom', 'click', () => this.zoom());
    this.on('select', 'change', () => this.goTo(Number(this.select.value)));
    for (const box of section.querySelectorAll('.toggles input')) {
      box.hidden = false;
      box.addEventListener('change', () => section.classList.toggle(`without-${box.value}`, !box.checked));
    }
    for (const sheet of section.querySelectorAll('.sheet')) {
      sheet.addEventListener('click', event => this.zoom(event));
    }
    addEventListener('keydown', event => this.key(event));
    this.bar.hidden = false;
    this.goTo(0);
  }

  on(selector, type, listener) {
    this.bar.querySelector(selector).addEventListener(type, listener);
  }

  /** Show another page; numbers outside the list become the nearest page. */
  goTo(index) {
    this.index = Math.max(0, Math.min(this.pages.length - 1, index));
    this.pages.forEach((page, i) => { page.hidden = i !== this.index; });
    this.select.value = this.index;
    this.bar.querySelector('.previous').disabled = this.index === 0;
    this.bar.querySelector('.next').disabled = this.index === this.pages.length - 1;
  }

  /** Zoom in or out, with the clicked point in the middle. */
  zoom(event) {
    const sheet = this.pages[this.index].querySelector('.sheet');
    const before = event && event.currentTarget.firstElementChild.getBoundingClientRect();
    const isZoomed = this.section.classList.toggle('zoomed');
    this.bar.querySelector('.zoom').setAttribute('aria-pressed', isZoomed);
    if (!isZoomed || !before || !sheet) return;
    const size = sheet.firstElementChild.getBoundingClientRect();
    const x = (event.clientX - before.left) / before.width, y = (event.clientY - before.top) / before.height;
    sheet.scrollTo(x * size.width - sheet.clientWidth / 2, y * size.height - sheet.clientHeight / 2);
  }

  /** Arrow keys step through the pages while the section is on the screen. */
  key(event) {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (event.target instanceof Element && event.target.closest('.scroll, select')) return;
    const bounds = this.section.getBoundingClientRect();
    if (bounds.bottom < 0 || bounds.top > innerHeight) return;
    event.preventDefault();
    this.goTo(this.index + step);
  }
}

const section = document.getElementById('worst');
if (section.querySelector('.pager')) new Pager(section);
