// Charts: Plotly, loaded when the first of them is drawn, in the colours of the theme and drawn anew when it changes.
//
// A colour is a role such as "@gain" or "@tier-3"; base.css holds what it looks like in each theme.

const SOURCE = "/static/plotly.min.js";
const root = document.documentElement;
const narrow = window.matchMedia("(max-width: 700px)");
const coarse = window.matchMedia("(pointer: coarse)");
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
const AXIS = /^[xyz]axis\d*$/;

// Named one by one: Plotly's own set has a button that would send the chart to a server.
const BUTTONS = [["toImage"], ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]];

const drawn = new Map();
const themed = new Set();
let loading = null;

// Plotly, once it is there.
export function ready() {
  loading ||= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = SOURCE;
    script.onload = () => done(window.Plotly);
    script.onerror = () => {
      loading = null;
      failed(new Error("The charts could not be loaded: /static/plotly.min.js does not come."));
    };
    document.head.append(script);
  });
  return loading;
}

// What a role looks like in the theme of now: colour("gain").
export function colour(role, styles = getComputedStyle(root)) {
  return styles.getPropertyValue(`--${role}`).trim();
}

function coloured(value, styles) {
  if (typeof value === "string") return value.startsWith("@") ? colour(value.slice(1), styles) : value;
  if (Array.isArray(value)) {
    const plain = typeof value[0] === "number" || value[0] === null;
    return plain ? value : value.map((item) => coloured(item, styles));
  }
  if (value !== null && typeof value === "object" && !ArrayBuffer.isView(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, coloured(item, styles)]));
  }
  return value;
}

function layoutOf(layout, options, styles) {
  const small = narrow.matches;
  const axis = { gridcolor: "@grid", linecolor: "@rule", zerolinecolor: "@rule", tickcolor: "@rule", automargin: true,
    separatethousands: true, exponentformat: "none" };
  const whole = {
    autosize: true,
    font: { family: styles.getPropertyValue("--font"), size: small ? 11 : 12, color: "@ink" },
    paper_bgcolor: "@card",
    plot_bgcolor: "@card",
    margin: { l: small ? 44 : 56, r: small ? 8 : 14, t: 28, b: 32 },
    hoverlabel: { bgcolor: "@page", bordercolor: "@rule", font: { color: "@ink" } },
    legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom", font: { size: small ? 10 : 12 } },
    dragmode: coarse.matches ? false : "zoom",
    uirevision: options.keepsZoom === false ? undefined : "same",
    ...layout,
  };
  for (const name of ["xaxis", "yaxis", ...Object.keys(whole).filter((key) => AXIS.test(key))]) {
    whole[name] = { ...axis, ...whole[name] };
  }
  return coloured(whole, styles);
}

async function redraw(node) {
  const { traces, layout, options } = drawn.get(node);
  const plotly = await ready();
  if (!drawn.has(node) || !node.isConnected) return;
  const styles = getComputedStyle(root);
  const config = { responsive: true, displaylogo: false, plotlyServerURL: "", modeBarButtons: BUTTONS,
    displayModeBar: options.modebar === false || narrow.matches ? false : "hover", scrollZoom: options.wheel === true };
  await plotly.react(node, coloured(traces, styles), layoutOf(layout, options, styles), config);
}

// Draw a chart into `node`, or draw it anew with other data; a zoom the user made stays.
//   traces, layout: as Plotly takes them, with "@role" for colours; no WebGL traces, the page's policy forbids them.
//   options: height in px, label: the chart's message for those who cannot see it, modebar: false for none,
//   wheel: true to zoom with the wheel, signal: AbortSignal of the view, keepsZoom: false to forget a zoom,
//   onClick(event), onZoom(range): [first, last] as ms, or null when everything is shown.
// Resolves to the node once the chart is there.
export async function draw(node, traces, layout = {}, options = {}) {
  const isNew = !drawn.has(node);
  drawn.set(node, { traces, layout, options });
  node.classList.add("plot");
  if (options.height) node.style.height = `${options.height}px`;
  // A figure, not an image: the buttons of a chart are part of it.
  node.setAttribute("role", "figure");
  if (options.label) node.setAttribute("aria-label", options.label);
  await redraw(node);
  if (!isNew || !node.on) return node;
  node.on("plotly_click", (event) => drawn.get(node)?.options.onClick?.(event));
  node.on("plotly_relayout", (event) => {
    const range = zoomed(event);
    const held = drawn.get(node);
    if (range !== undefined && held && !held.isMoved) held.options.onZoom?.(range);
  });
  options.signal?.addEventListener("abort", () => forget(node));
  return node;
}

// Move the time axis of a chart without telling its `onZoom`: what is moved from here is known already. `more` are other
// changes of the layout. A change of theme draws it where it then stands.
export async function moveTime(node, range, more = {}) {
  const held = drawn.get(node);
  if (!held || !node.on) return;
  held.layout.xaxis.range = range;
  held.isMoved = true;
  try {
    await window.Plotly.relayout(node, { "xaxis.range": range.slice(), ...more });
  } finally {
    held.isMoved = false;
  }
}

// Call `act` whenever the colours have changed.
export function onTheme(act, signal) {
  themed.add(act);
  signal.addEventListener("abort", () => themed.delete(act));
}

// A chart is gone.
export function forget(node) {
  if (!drawn.delete(node)) return;
  if (window.Plotly) window.Plotly.purge(node);
}

// ms UTC of what Plotly tells as a point in time.
export function toMs(time) {
  if (typeof time === "number") return time;
  if (time instanceof Date) return time.getTime();
  return Date.parse(time.length > 10 ? `${time.replace(" ", "T").slice(0, 23)}Z` : time);
}

// The range of the first time axis after a relayout: [first, last] in ms, null for all of it, undefined if unchanged.
function zoomed(event) {
  if (event["xaxis.autorange"]) return null;
  const range = event["xaxis.range"] || [event["xaxis.range[0]"], event["xaxis.range[1]"]];
  return range[0] === undefined ? undefined : range.map(toMs);
}

function redrawAll() {
  for (const act of themed) act();
  for (const node of [...drawn.keys()]) {
    if (node.isConnected) redraw(node);
    else forget(node);
  }
}

new MutationObserver(redrawAll).observe(root, { attributes: true, attributeFilter: ["data-theme"] });
prefersDark.addEventListener("change", redrawAll);
narrow.addEventListener("change", redrawAll);
