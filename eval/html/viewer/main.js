// Puts the viewer together: one state, drawn at most once per frame.

const PAN_STEP = 0.2, ZOOM_STEP = 1.4, PAUSE_MS = 120;

class Viewer {
  constructor(settings, pages) {
    this.settings = settings;
    this.pages = pages;
    this.index = 0;
    this.highlighted = -1;
    this.hasBoxes = true;
    this.frame = 0; // request for the next drawing, 0 for none
    this.pause = 0; // timer
    this.movedAt = -Infinity;
    this.stage = byId('stage');
    this.filter = new Filter(settings.names.length, settings.min_score);
    this.overlay = new Overlay(byId('overlay'), settings.colours);
    this.tip = new Tip(byId('tip'), settings);
    this.view = new View(() => this.moved());
    this.panel = new Panel(byId('panel'), settings, pages, this.filter, () => this.refilter());
    new Gestures(this.stage, this.view, {
      hover: (point, radius) => this.point(point, radius),
      tap: (point, radius) => this.point(point, radius),
      swipe: step => this.goTo(this.index + step),
    });
    this.addButtons();
    addEventListener('keydown', event => this.key(event));
    new ResizeObserver(() => this.resize()).observe(this.stage);
    this.togglePanel(matchMedia('(min-width: 800px) and (min-height: 601px)').matches);
    this.fade();
    this.goTo(0);
    this.resize();
  }

  get page() { return this.pages[this.index]; }

  addButtons() {
    const actions = {
      previous: () => this.goTo(this.index - 1),
      next: () => this.goTo(this.index + 1),
      boxes: () => this.toggleBoxes(),
      classes: () => this.togglePanel(),
      'close-panel': () => this.togglePanel(false),
      'help-button': () => byId('help').showModal(),
      'close-help': () => byId('help').close(),
      'zoom-out': () => this.view.glideBy(1 / ZOOM_STEP),
      'zoom-in': () => this.view.glideBy(ZOOM_STEP),
      'fit-page': () => this.view.fitTo('page', true),
      'fit-width': () => this.view.fitTo('width', true),
    };
    for (const [id, action] of Object.entries(actions)) {
      byId(id).addEventListener('click', action);
    }
    byId('fade').addEventListener('change', () => this.fade());
    byId('page-number').addEventListener('change', event => {
      this.goTo((parseInt(event.target.value, 10) || this.index + 1) - 1);
    });
    byId('page-number').addEventListener('focus', event => event.target.select());
  }

  key(event) {
    const inText = event.target.matches('input[type=text], input[type=search]');
    if (event.ctrlKey || event.metaKey || event.altKey || byId('help').open) return;
    if (event.key === 'Escape') this.escape(event, inText);
    else if (!inText && !(event.target.id === 'score' && /^(Arrow|Home|End|Page)/.test(event.key))) {
      const action = this.actionOf(event);
      if (!action) return;
      event.preventDefault();
      action();
    }
  }

  actionOf(event) {
    const {width, height} = this.view;
    const pan = (x, y) => () => this.view.panBy(x * PAN_STEP * width, y * PAN_STEP * height);
    const arrows = {
      ArrowLeft: pan(1, 0), ArrowRight: pan(-1, 0), ArrowUp: pan(0, 1), ArrowDown: pan(0, -1),
    };
    if (event.shiftKey && arrows[event.key]) return arrows[event.key];
    const previous = () => this.goTo(this.index - 1), next = () => this.goTo(this.index + 1);
    return {
      ...arrows, ArrowLeft: previous, PageUp: previous, ArrowRight: next, PageDown: next,
      Home: () => this.goTo(0),
      End: () => this.goTo(this.pages.length - 1),
      '+': () => this.view.glideBy(ZOOM_STEP),
      '=': () => this.view.glideBy(ZOOM_STEP),
      '-': () => this.view.glideBy(1 / ZOOM_STEP),
      0: () => this.view.fitTo('page', true),
      w: () => this.view.fitTo('width', true),
      b: () => this.toggleBoxes(),
      c: () => this.togglePanel(),
      i: () => byId('fade').click(),
      '[': () => this.panel.stepScore(-1),
      ']': () => this.panel.stepScore(1),
      '?': () => byId('help').showModal(),
    }[event.key];
  }

  escape(event, inText) {
    if (inText) event.target.blur();
    else if (!this.tip.element.hidden) this.point(null, 0);
    else if (this.isNarrow()) this.togglePanel(false);
  }

  isNarrow() { return matchMedia('(max-width: 799px)').matches; }

  /** Show another page; numbers outside the file become the nearest page. */
  goTo(index) {
    this.index = Math.max(0, Math.min(this.pages.length - 1, index));
    const {page} = this, image = page.loadImage();
    this.point(null, 0);
    byId('sheet').replaceChildren(image);
    byId('sheet').style.width = `${page.width}px`;
    byId('sheet').style.height = `${page.height}px`;
    byId('page-number').value = this.index + 1;
    byId('previous').disabled = this.index === 0;
    byId('next').disabled = this.index === this.pages.length - 1;
    byId('page-info').textContent = describe(page);
    byId('page-info').title = page.name;
    loadAround(this.pages, this.index);
    this.view.setPage(page);
    this.movedAt = -Infinity; // draw the other page at once
    this.refilter();
  }

  resize() {
    const {clientWidth: width, clientHeight: height} = this.stage;
    this.overlay.resize(width, height);
    this.view.resize(width, height);
    this.movedAt = -Infinity;
    this.draw(); // at once: resizing has cleared the canvas
  }

  refilter() {
    const nShown = this.panel.update(this.page);
    const label = `Page ${this.index + 1} of ${this.pages.length}: ${count(nShown)} symbols`;
    byId('overlay').setAttribute('aria-label', label);
    if (this.highlighted >= 0 && !this.filter.isShown(this.page, this.highlighted)) this.point(null, 0);
    this.requestDraw();
  }

  /** Describe the symbols at a point of the view; null for none. */
  point(point, radius) {
    const isShown = point && this.hasBoxes;
    const rows = isShown ? symbolsAt(this.page, this.view, this.filter, point, radius) : [];
    const first = rows.length ? rows[0] : -1;
    if (first >= 0) this.tip.show(this.page, rows, point, this.view);
    else this.tip.hide();
    this.stage.classList.toggle('on-symbol', first >= 0);
    this.highlighted = first;
    this.placeMark();
  }

  toggleBoxes() {
    this.hasBoxes = !this.hasBoxes;
    byId('boxes').setAttribute('aria-pressed', this.hasBoxes);
    this.fade();
    this.point(null, 0);
    this.requestDraw();
  }

  /** Fade the image behind boxes; without boxes it is never faded. */
  fade() {
    byId('sheet').classList.toggle('faded', this.hasBoxes && byId('fade').checked);
  }

  togglePanel(isOpen = byId('panel').hidden) {
    byId('panel').hidden = !isOpen;
    byId('classes').setAttribute('aria-expanded', isOpen);
  }

  moved() {
    this.movedAt = performance.now();
    this.requestDraw();
  }

  requestDraw() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    const {x, y, scale} = this.view;
    byId('sheet').style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    setText(byId('zoom-level'), `${Math.round(100 * scale)}%`);
    this.placeMark();
    if (!this.hasBoxes) this.overlay.clear();
    else if (this.overlay.isSlow && performance.now() - this.movedAt < PAUSE_MS) {
      this.overlay.follow(this.view);
      clearTimeout(this.pause);
      this.pause = setTimeout(() => this.requestDraw(), PAUSE_MS);
    } else this.overlay.draw(this.page, this.view, this.filter);
  }

  /** Highlight the symbol that is described. */
  placeMark() {
    const mark = byId('mark'), i = this.highlighted, {view} = this;
    mark.hidden = i < 0;
    if (i < 0) return;
    const [x0, y0, x1, y1] = this.page.boxes.subarray(4 * i, 4 * i + 4);
    mark.style.left = `${x0 * view.scale + view.x}px`;
    mark.style.top = `${y0 * view.scale + view.y}px`;
    mark.style.width = `${(x1 - x0) * view.scale}px`;
    mark.style.height = `${(y1 - y0) * view.scale}px`;
    mark.style.color = this.settings.colours[this.page.labels[i]];
  }
}

function describe(page) {
  const reduced = page.imageScale < 1 ? `, image reduced to ${Math.round(100 * page.imageScale)}%` : '';
  return `${page.name} · ${page.width} × ${page.height} px${reduced}`;
}

function start() {
  const settings = JSON.parse(byId('settings').textContent);
  const pages = readPages();
  byId('n-pages').textContent = `/ ${pages.length}`;
  document.body.classList.toggle('without-pages', !pages.length);
  byId('empty').hidden = pages.length > 0;
  if (pages.length) new Viewer(settings, pages);
}

start();
