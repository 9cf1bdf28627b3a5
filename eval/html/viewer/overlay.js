// Frames of the symbols, drawn on a canvas over the image, and the description of a symbol.

const MAX_LISTED = 4;
const MIN_LINE = 0.6, MAX_LINE = 1.8; // CSS pixels
const SLOW_MS = 40;

/** Canvas of the size of the view, in device pixels. */
class Overlay {
  constructor(canvas, colours) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d');
    this.colours = colours;
    this.ratio = 1;
    this.isSlow = false;
    this.drawn = {x: 0, y: 0, scale: 1};
  }

  resize(width, height) {
    this.ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(width * this.ratio));
    this.canvas.height = Math.max(1, Math.round(height * this.ratio));
  }

  clear() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.canvas.style.transform = '';
    this.canvas.dataset.drawn = 0;
  }

  /** Draw the symbols of a page that a filter lets through. */
  draw(page, view, filter) {
    const start = performance.now(), {labels} = page;
    this.clear();
    const width = Math.min(MAX_LINE, Math.max(MIN_LINE, 1.6 * view.scale));
    const line = Math.max(1, Math.round(this.ratio * width));
    let label = -1, nDrawn = 0;
    for (let i = 0; i < labels.length; i++) {
      if (!filter.isShown(page, i)) continue;
      if (labels[i] !== label) {
        label = labels[i];
        this.context.fillStyle = this.colours[label];
      }
      nDrawn += this.frame(page.boxes, i, view, line);
    }
    this.drawn = {x: view.x, y: view.y, scale: view.scale};
    this.canvas.dataset.drawn = nDrawn;
    this.isSlow = performance.now() - start > SLOW_MS;
  }

  /** Draw a frame around a box, outside so that it hides no ink; return whether it is visible. */
  frame(boxes, i, view, line) {
    const {context, canvas} = this;
    const scale = view.scale * this.ratio, x = view.x * this.ratio, y = view.y * this.ratio;
    const left = Math.floor(boxes[4 * i] * scale + x) - line;
    const top = Math.floor(boxes[4 * i + 1] * scale + y) - line;
    const right = Math.ceil(boxes[4 * i + 2] * scale + x) + line;
    const bottom = Math.ceil(boxes[4 * i + 3] * scale + y) + line;
    if (right < 0 || bottom < 0 || left > canvas.width || top > canvas.height) return 0;
    context.fillRect(left, top, right - left, line);
    context.fillRect(left, bottom - line, right - left, line);
    context.fillRect(left, top + line, line, bottom - top - 2 * line);
    context.fillRect(right - line, top + line, line, bottom - top - 2 * line);
    return 1;
  }

  /** Move the last drawing to where the view is now, until there is time to draw again. */
  follow(view) {
    const {drawn} = this, ratio = view.scale / drawn.scale;
    const x = view.x - drawn.x * ratio, y = view.y - drawn.y * ratio;
    this.canvas.style.transform = `translate(${x}px, ${y}px) scale(${ratio})`;
  }
}

/** Return the shown symbols at a point of the view, smallest first, or else the nearest one. */
function symbolsAt(page, view, filter, point, radius) {
  const x = (point.x - view.x) / view.scale, y = (point.y - view.y) / view.scale;
  const slack = 2 / view.scale, {boxes} = page;
  const hits = [];
  let nearest = -1, least = radius / view.scale;
  for (let i = 0; i < page.nSymbols; i++) {
    if (!filter.isShown(page, i)) continue;
    const away = Math.hypot(
      Math.max(boxes[4 * i] - x, 0, x - boxes[4 * i + 2]),
      Math.max(boxes[4 * i + 1] - y, 0, y - boxes[4 * i + 3]));
    if (away <= slack) hits.push(i);
    else if (away < least) [nearest, least] = [i, away];
  }
  const area = i => (boxes[4 * i + 2] - boxes[4 * i]) * (boxes[4 * i + 3] - boxes[4 * i + 1]);
  hits.sort((a, b) => area(a) - area(b));
  return hits.length || nearest < 0 ? hits : [nearest];
}

/** Box with class, score and coordinates of the symbols at a point. */
class Tip {
  constructor(element, settings) {
    this.element = element;
    this.settings = settings;
  }

  hide() { this.element.hidden = true; }

  /** Show symbols next to a point of the view. */
  show(page, rows, point, view) {
    const lines = rows.slice(0, MAX_LISTED).map(i => this.line(page, i));
    const [x0, y0, x1, y1] = page.boxes.slice(4 * rows[0], 4 * rows[0] + 4).map(Math.round);
    lines.splice(1, 0, element('p', 'muted', `x ${x0}–${x1}, y ${y0}–${y1} · ${x1 - x0} × ${y1 - y0} px`));
    if (rows.length > MAX_LISTED) {
      lines.push(element('p', 'muted', `and ${count(rows.length - MAX_LISTED)} more`));
    }
    this.element.replaceChildren(...lines);
    this.element.hidden = false;
    const {offsetWidth: width, offsetHeight: height} = this.element;
    const left = point.x + 16 + width > view.width ? point.x - 16 - width : point.x + 16;
    const top = point.y + 16 + height > view.height ? point.y - 16 - height : point.y + 16;
    this.element.style.left = `${Math.max(4, Math.min(left, view.width - width - 4))}px`;
    this.element.style.top = `${Math.max(4, top)}px`;
  }

  line(page, i) {
    const line = element('p', 'symbol'), label = page.labels[i];
    line.append(swatch(this.settings.colours[label]), element('b', '', this.settings.names[label]));
    if (page.scores) line.append(element('span', '', (page.scores[i] / SCORE_UNITS).toFixed(2)));
    return line;
  }
}

function element(tag, style, text = '') {
  const made = document.createElement(tag);
  if (style) made.className = style;
  made.textContent = text;
  return made;
}

function swatch(colour) {
  const made = element('i', 'swatch');
  made.style.borderColor = colour;
  return made;
}

function count(n) { return n.toLocaleString('en'); }
