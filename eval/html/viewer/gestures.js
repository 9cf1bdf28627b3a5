// Mouse, touch and wheel.

const SLOP = 5, SWIPE = 50, DOUBLE_TAP_MS = 320, TAP_RADIUS = 14, DOUBLE_TAP_ZOOM = 2.5;

/** Turns pointer events on the stage into movements of the view, swipes, taps and hovering. */
class Gestures {
  /**
   * @param {HTMLElement} stage Element with the page.
   * @param {View} view View to move.
   * @param {{hover: Function, tap: Function, swipe: Function}} on Receivers: hover and tap get
   *   a point of the view and the radius around it; swipe gets 1 or -1 page.
   */
  constructor(stage, view, on) {
    this.stage = stage;
    this.view = view;
    this.on = on;
    this.points = new Map();
    this.isDrag = false;
    this.lastTap = {time: -Infinity, x: 0, y: 0};
    const events = {
      pointerdown: this.down, pointermove: this.move, pointerup: this.up,
      pointercancel: this.cancel, pointerleave: this.leave, wheel: this.wheel,
    };
    for (const [name, handler] of Object.entries(events)) {
      stage.addEventListener(name, handler.bind(this), {passive: false});
    }
  }

  at(event) {
    const bounds = this.stage.getBoundingClientRect();
    return {x: event.clientX - bounds.left, y: event.clientY - bounds.top};
  }

  down(event) {
    if (event.button) return;
    this.stage.setPointerCapture(event.pointerId);
    const point = this.at(event);
    this.points.set(event.pointerId, point);
    if (this.points.size === 1) {
      this.start = point;
      this.isDrag = false;
    } else {
      this.isDrag = true; // not a tap
      this.start = null; // and not a swipe
    }
  }

  move(event) {
    const point = this.at(event), last = this.points.get(event.pointerId);
    if (!last) {
      if (event.pointerType === 'mouse') this.on.hover(point, 0);
      return;
    }
    if (this.points.size > 1) this.pinch(event.pointerId, last, point);
    else if (this.isDrag || Math.hypot(point.x - this.start.x, point.y - this.start.y) > SLOP) {
      if (!this.isDrag) this.on.hover(null, 0);
      this.isDrag = true;
      this.stage.classList.add('dragging');
      this.view.panBy(point.x - last.x, point.y - last.y);
    } else return;
    this.points.set(event.pointerId, point);
  }

  /** Zoom by the change of the distance between two fingers, and move with their centre. */
  pinch(id, last, point) {
    const [other] = [...this.points].filter(([key]) => key !== id).map(([, value]) => value);
    const distance = p => Math.max(10, Math.hypot(p.x - other.x, p.y - other.y));
    const centre = {x: (point.x + other.x) / 2, y: (point.y + other.y) / 2};
    this.view.zoomBy(distance(point) / distance(last), centre.x, centre.y);
    this.view.panBy((point.x - last.x) / 2, (point.y - last.y) / 2);
    this.on.hover(null, 0);
  }

  up(event) {
    if (!this.points.delete(event.pointerId)) return;
    this.stage.classList.remove('dragging');
    const point = this.at(event);
    if (!this.isDrag) this.tap(event, point);
    else if (event.pointerType === 'touch' && this.start && !this.points.size) this.swipe(point);
  }

  tap(event, point) {
    const last = this.lastTap, radius = event.pointerType === 'mouse' ? 0 : TAP_RADIUS;
    const isDouble = event.timeStamp - last.time < DOUBLE_TAP_MS
      && Math.hypot(point.x - last.x, point.y - last.y) < 3 * TAP_RADIUS;
    this.lastTap = {time: isDouble ? -Infinity : event.timeStamp, ...point};
    if (!isDouble) this.on.tap(point, radius);
    else if (this.view.scale > 1.2 * this.view.fitScale('page')) this.view.fitTo('page', true);
    else this.view.glideBy(DOUBLE_TAP_ZOOM, point.x, point.y);
  }

  /** Turn the page after a horizontal swipe over a page that is visible from side to side. */
  swipe(point) {
    const dx = point.x - this.start.x, dy = point.y - this.start.y;
    const isWhole = this.view.widthPage * this.view.scale <= this.view.width;
    if (isWhole && Math.abs(dx) > SWIPE && Math.abs(dx) > 2 * Math.abs(dy)) {
      this.on.swipe(dx < 0 ? 1 : -1);
    }
  }

  cancel(event) {
    this.points.delete(event.pointerId);
    this.stage.classList.remove('dragging');
  }

  leave(event) {
    if (event.pointerType === 'mouse' && !this.points.size) this.on.hover(null, 0);
  }

  wheel(event) {
    event.preventDefault();
    const {x, y} = this.at(event), unit = event.deltaMode === 1 ? 16 : 1;
    const speed = event.ctrlKey ? 0.01 : 0.002; // a pinch on a touchpad sends Ctrl and small steps
    const change = Math.max(-250, Math.min(250, event.deltaY * unit));
    if (event.shiftKey) this.view.panBy(-(event.deltaX || event.deltaY) * unit, 0);
    else this.view.zoomBy(Math.exp(-change * speed), x, y);
    this.on.hover({x, y}, 0);
  }
}
