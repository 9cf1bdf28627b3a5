'use strict';
// Pages embedded in this file. Units of the arrays: eval/reports/page_viewer.py.

const BOX_UNITS = 10, SCORE_UNITS = 10000;
const KEPT_IMAGES = 5;

function byId(id) { return document.getElementById(id); }

/** Change a text; without this check, the browser would lay out unchanged texts again. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Decode little-endian numbers from base64. */
function numbers(base64, Type) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Type(bytes.buffer);
}

/** Page with its symbols, grouped by class; the image is decoded when it is first shown. */
class ViewedPage {
  constructor(description, imageBlock) {
    const page = JSON.parse(description);
    this.name = page.name;
    this.width = page.width;
    this.height = page.height;
    this.imageScale = page.image_width / page.width;
    /** Class of each symbol, shape (N,). */
    this.labels = numbers(page.labels, Uint16Array);
    /** Scores in ten-thousandths, shape (N,); null for ground truth. */
    this.scores = page.scores === null ? null : numbers(page.scores, Uint16Array);
    /** x_min, y_min, x_max, y_max in pixels of the page, shape (4 N,). */
    this.boxes = Float32Array.from(numbers(page.boxes, Int32Array), value => value / BOX_UNITS);
    this.imageType = page.image_type;
    this.imageBlock = imageBlock;
    this.image = null;
  }

  get nSymbols() { return this.labels.length; }

  /** Return the image element, which loads from this file. */
  loadImage() {
    if (!this.image) {
      this.image = new Image(this.width, this.height);
      this.image.alt = '';
      this.image.draggable = false;
      this.image.src = `data:${this.imageType};base64,${this.imageBlock.textContent}`;
    }
    return this.image;
  }

  dropImage() { this.image = null; }
}

function readPages() {
  const images = document.querySelectorAll('script.image');
  return [...document.querySelectorAll('script.page')].map(
    (block, i) => new ViewedPage(block.textContent, images[i]));
}

/** Load the images around a page, and drop those far from it. */
function loadAround(pages, index) {
  const near = (KEPT_IMAGES - 1) / 2;
  pages.forEach((page, i) => {
    if (Math.abs(i - index) > near) page.dropImage();
    else if (Math.abs(i - index) === 1) page.loadImage().decode().catch(() => {});
  });
}

/** Symbols that the user wants to see: their classes and the minimum score. */
class Filter {
  constructor(nClasses, minScore) {
    this.isOn = new Uint8Array(nClasses).fill(1);
    this.minScore = minScore;
  }

  get threshold() { return Math.round(this.minScore * SCORE_UNITS); }

  /** Count the symbols of each class that reach the minimum score. */
  count(page, counts) {
    const {labels, scores} = page, threshold = this.threshold;
    for (let i = 0; i < labels.length; i++) {
      if (!scores || scores[i] >= threshold) counts[labels[i]]++;
    }
    return counts;
  }

  isShown(page, i) {
    return this.isOn[page.labels[i]] && (!page.scores || page.scores[i] >= this.threshold);
  }
}
