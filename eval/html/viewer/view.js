// Position of the page in the view. Lengths are CSS pixels, unless they end in Page.

const MAX_SCALE = 16, PADDING = 12, GLIDE_MS = 180;

/** Scale and offset of the page; a point (x, y) of the page is at (x * scale + this.x, ...). */
class View {
  constructor(onChange) {
    this.onChange = onChange;
    this.fit = 'page';
    this.scale = 1;
    this.x = this.y = 0;
    this.width = this.height = 1;
    this.widthPage = this.heightPage = 1;
    this.glide = null; // movement in progress: {frame, end}
  }

  resize(width, height) {
    this.endGlide();
    this.width = width;
    this.height = height;
    if (this.fit) this.fitTo(this.fit);
    else this.moveTo(this.scale, this.x, this.y);
  }

  /** Show the top of another page, at the same zoom. */
  setPage(page) {
    this.endGlide();
    this.widthPage = page.width;
    this.heightPage = page.height;
    if (this.fit) this.fitTo(this.fit);
    else this.moveTo(this.scale, this.x, PADDING);
  }

  fitScale(fit) {
    const across = (this.width - 2 * PADDING) / this.widthPage;
    const down = (this.height - 2 * PADDING) / this.heightPage;
    return Math.min(MAX_SCALE, Math.max(1e-3, fit === 'width' ? across : Math.min(across, down)));
  }

  get minScale() { return Math.min(this.fitScale('page'), 1); }

  /** Fit the whole page or its width, and keep doing so when the view is resized. */
  fitTo(fit, isGliding = false) {
    if (isGliding) this.glideTo(this.fitScale(fit), PADDING, PADDING, fit);
    else this.moveTo(this.fitScale(fit), PADDING, PADDING, fit);
  }

  moveTo(scale, x, y, fit = null) {
    this.fit = fit;
    this.scale = Math.min(MAX_SCALE, Math.max(this.minScale, scale));
    this.x = clamped(x, this.widthPage * this.scale, this.width);
    this.y = clamped(y, this.heightPage * this.scale, this.height);
    this.onChange();
  }

  panBy(dx, dy) {
    this.endGlide();
    this.moveTo(this.scale, this.x + dx, this.y + dy, this.fit);
  }

  /** Return scale and offset after zooming around a point of the view. */
  zoomed(factor, x, y) {
    const scale = Math.min(MAX_SCALE, Math.max(this.minScale, this.scale * factor));
    const ratio = scale / this.scale;
    return [scale, x - (x - this.x) * ratio, y - (y - this.y) * ratio];
  }

  zoomBy(factor, x = this.width / 2, y = this.height / 2) {
    this.endGlide();
    this.moveTo(...this.zoomed(factor, x, y));
  }

  glideBy(factor, x = this.width / 2, y = this.height / 2) {
    this.endGlide();
    this.glideTo(...this.zoomed(factor, x, y));
  }

  /** Move smoothly, unless the user prefers reduced motion. */
  glideTo(scale, x, y, fit = null) {
    this.endGlide();
    if (matchMedia('(prefers-reduced-motion: reduce)').matches) {
      this.moveTo(scale, x, y, fit);
      return;
    }
    const from = [this.scale, this.x, this.y], start = performance.now();
    const step = now => {
      const time = (now - start) / GLIDE_MS, eased = 1 - (1 - Math.max(0, time)) ** 3;
      if (time >= 1) {
        this.endGlide();
        return;
      }
      const between = from[0] * (scale / from[0]) ** eased;
      const part = scale === from[0] ? eased : (between - from[0]) / (scale - from[0]);
      this.moveTo(between, from[1] + (x - from[1]) * part, from[2] + (y - from[2]) * part, fit);
      this.glide.frame = requestAnimationFrame(step);
    };
    this.glide = {frame: requestAnimationFrame(step), end: [scale, x, y, fit]};
  }

  /** Complete a smooth movement at once, before another one starts. */
  endGlide() {
    if (!this.glide) return;
    const {frame, end} = this.glide;
    this.glide = null;
    cancelAnimationFrame(frame);
    this.moveTo(...end);
  }
}

/** Keep the page in the view: centred if it fits, otherwise without a gap wider than the padding. */
function clamped(offset, length, available) {
  if (length + 2 * PADDING <= available) return (available - length) / 2;
  return Math.min(PADDING, Math.max(available - PADDING - length, offset));
}
