// Hands on the candle chart: mouse, wheel, fingers and keys, all told as a move of the window or a point to look at.

const ZOOM = 1.5;
const STEP = 0.2; // of the window, for one press of an arrow
const STILL = 4; // px within which a press is a click
const WHEEL = 0.0022; // of a zoom, for a px of the wheel
const LINE = 16; // px of a line, where a wheel counts lines
const NEAR = { mouse: 12, touch: 24 };

// `on`: width() px of the plot, pan(share), zoom(factor, share: what stays), ends(first: boolean), all(), look({x, y} | null),
// step(by: candles, for the crosshair), click({x, y}, reach in px), open(): the trade at the crosshair.
export function handle(node, on, signal) {
  const pointers = new Map(); // that are down, in px of the node
  let moved = 0;
  const listen = (name, act, options = {}) => node.addEventListener(name, act, { signal, ...options });

  function at(event) {
    const frame = node.getBoundingClientRect();
    return { x: event.clientX - frame.left, y: event.clientY - frame.top };
  }

  listen("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (!pointers.size) moved = 0;
    pointers.set(event.pointerId, at(event));
    if (event.pointerType === "mouse") node.setPointerCapture(event.pointerId);
  });

  listen("pointermove", (event) => {
    const now = at(event);
    const before = pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") on.look(now);
      return;
    }
    moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
    pointers.set(event.pointerId, now);
    if (moved <= STILL) return;
    node.classList.add("dragged");
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const [was, is] = [Math.max(Math.abs(before.x - other.x), 10), Math.max(Math.abs(now.x - other.x), 10)];
      on.zoom(was / is, (now.x + other.x) / 2 / on.width());
    } else {
      on.pan((before.x - now.x) / on.width());
      if (event.pointerType === "mouse") on.look(now);
    }
  });

  function up(event) {
    const was = pointers.get(event.pointerId);
    pointers.delete(event.pointerId);
    if (!pointers.size) node.classList.remove("dragged");
    if (!was || moved > STILL || event.type !== "pointerup") return;
    if (event.pointerType !== "mouse") on.look(was);
    on.click(was, NEAR[event.pointerType] ?? NEAR.touch);
  }
  listen("pointerup", up);
  listen("pointercancel", up);
  listen("pointerleave", (event) => event.pointerType === "mouse" && !pointers.size && on.look(null));
  listen("dblclick", () => on.all());

  // The wheel zooms where the chart has the focus or Ctrl is held; else it scrolls the page, as everywhere.
  listen("wheel", (event) => {
    if (!event.ctrlKey && !node.contains(window.document.activeElement)) return;
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : 1;
    const [across, down] = event.shiftKey ? [event.deltaX || event.deltaY, 0] : [event.deltaX, event.deltaY];
    if (Math.abs(across) > Math.abs(down)) on.pan((across * unit) / on.width());
    else on.zoom(Math.exp(down * unit * WHEEL), Math.min(Math.max(at(event).x / on.width(), 0), 1));
  }, { passive: false });

  const keys = {
    ArrowLeft: () => on.pan(-STEP), ArrowRight: () => on.pan(STEP), "+": () => on.zoom(1 / ZOOM, 0.5), "=": () => on.zoom(1 / ZOOM, 0.5),
    "-": () => on.zoom(ZOOM, 0.5), Home: () => on.ends(true), End: () => on.ends(false), 0: () => on.all(), Enter: () => on.open(),
  };
  const withShift = { ArrowLeft: () => on.step(-1), ArrowRight: () => on.step(1), "+": keys["+"] };
  listen("keydown", (event) => {
    const act = (event.shiftKey ? withShift : keys)[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  });
  listen("blur", () => on.look(null));
}
