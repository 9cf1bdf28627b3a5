// Panel with the minimum score and a switch per class.

const N_BARS = 50, SCORE_STEP = 0.05;

/** Return a name that may continue on a second line before a capital or a digit. */
function breakable(name) {
  const made = element('span', 'name');
  for (const part of name.split(/(?<=[a-z])(?=[A-Z0-9])/)) {
    made.append(part, document.createElement('wbr'));
  }
  return made;
}

class Panel {
  /** @param {Function} onChange Called after the filter has changed. */
  constructor(root, settings, pages, filter, onChange) {
    this.root = root;
    this.pages = pages;
    this.filter = filter;
    this.onChange = onChange;
    this.addScore();
    this.addClasses(settings);
  }

  addScore() {
    this.hasScores = this.pages.some(page => page.scores);
    byId('score-section').hidden = !this.hasScores;
    const slider = byId('score');
    slider.value = this.filter.minScore;
    slider.addEventListener('input', () => this.setMinScore(Number(slider.value)));
    this.bars = Array.from({length: N_BARS}, () => element('i', ''));
    byId('histogram').append(...this.bars);
  }

  setMinScore(score) {
    this.filter.minScore = Math.round(100 * Math.min(1, Math.max(0, score))) / 100;
    byId('score').value = this.filter.minScore;
    this.onChange();
  }

  stepScore(direction) {
    if (this.hasScores) this.setMinScore(this.filter.minScore + direction * SCORE_STEP);
  }

  /** List the classes of the file, most frequent first. */
  addClasses(settings) {
    const totals = new Float64Array(settings.names.length);
    for (const page of this.pages) page.labels.forEach(label => totals[label]++);
    const labels = [...totals.keys()].filter(label => totals[label]);
    labels.sort((a, b) => totals[b] - totals[a]);
    this.rows = labels.map(label => this.row(label, settings));
    byId('class-list').append(...this.rows.map(row => row.item));
    byId('total-column').hidden = this.pages.length < 2;
    byId('search').addEventListener('input', () => this.search());
    byId('all').addEventListener('click', () => this.setListed(1));
    byId('none').addEventListener('click', () => this.setListed(0));
    this.search();
  }

  row(label, settings) {
    const item = element('li', ''), name = settings.names[label];
    const box = element('input', ''), only = element('button', 'only', 'only');
    const onPage = element('span', 'n'), inAll = element('span', 'n all');
    const text = element('label', '');
    box.type = 'checkbox';
    box.checked = true;
    box.addEventListener('change', () => this.set([[label, box.checked]]));
    only.setAttribute('aria-label', `Only ${name}`);
    only.addEventListener('click', () => this.set(this.rows.map(row => [row.label, row.label === label])));
    text.append(box, swatch(settings.colours[label]), breakable(name));
    inAll.hidden = this.pages.length < 2;
    item.append(text, only, onPage, inAll);
    return {label, name: name.toLowerCase(), item, box, onPage, inAll};
  }

  set(changes) {
    for (const [label, isOn] of changes) this.filter.isOn[label] = isOn;
    for (const row of this.rows) row.box.checked = this.filter.isOn[row.label];
    this.onChange();
  }

  setListed(isOn) {
    this.set(this.rows.filter(row => !row.item.hidden).map(row => [row.label, isOn]));
  }

  search() {
    const words = byId('search').value.toLowerCase().split(/\s+/);
    for (const row of this.rows) row.item.hidden = !words.every(word => row.name.includes(word));
    byId('no-class').hidden = this.rows.some(row => !row.item.hidden);
  }

  /** Show the numbers of symbols of a page and of all pages. */
  update(page) {
    const nClasses = this.filter.isOn.length;
    const onPage = this.filter.count(page, new Float64Array(nClasses));
    const inAll = new Float64Array(nClasses);
    for (const each of this.pages) this.filter.count(each, inAll);
    let nShown = 0;
    for (const row of this.rows) {
      setText(row.onPage, count(onPage[row.label]));
      setText(row.inAll, count(inAll[row.label]));
      row.item.classList.toggle('absent', !onPage[row.label]);
      if (this.filter.isOn[row.label]) nShown += onPage[row.label];
    }
    setText(byId('shown'), `${count(nShown)} of ${count(page.nSymbols)} symbols`);
    byId('score-value').textContent = this.filter.minScore.toFixed(2);
    if (this.hasScores) this.drawHistogram(page);
    return nShown;
  }

  /** Draw the distribution of the scores of a page; bars below the minimum score are pale. */
  drawHistogram(page) {
    const counts = new Float64Array(N_BARS);
    for (const score of page.scores || []) {
      counts[Math.min(N_BARS - 1, Math.floor(score * N_BARS / SCORE_UNITS))]++;
    }
    const highest = Math.max(1, ...counts);
    this.bars.forEach((bar, i) => {
      bar.style.height = `${100 * Math.sqrt(counts[i] / highest)}%`;
      bar.classList.toggle('below', (i + 0.5) / N_BARS < this.filter.minScore);
    });
  }
}
