// What every view is made of: elements, tables, numbers as the reports write them, and words for what went wrong.
//
// Text is always a text node, so that a name somebody chose is never read as markup.

const SVG = "http://www.w3.org/2000/svg";
const UNDEFINED = "n/a";
const SIGNIFICANT = 8;
const UNITS = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]];

// -- Elements ---------------------------------------------------------------------------------------------------------

function put(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2).toLowerCase(), value);
    else if (name === "style") for (const [rule, what] of Object.entries(value)) node.style.setProperty(rule, what);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (name === "value" && "value" in node) node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// el("a", {href: "#/runs", class: "link", onclick: f, dataset: {}, style: {"--x": 1}}, "text", node, [more])
// Attributes that are null or false are left out, true is an attribute without a value.
export function el(tag, attributes, ...children) {
  return put(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return put(document.createElementNS(SVG, tag), attributes, children);
}

// The heading of a view; the focus goes there when the view is shown.
export function heading(text, ...beside) {
  return el("div", { class: "heading" }, el("h1", { tabindex: -1 }, text), ...beside);
}

// A box with a title; `options` = {beside: nodes right of the title, class, level: 2}.
export function card(title, content, options = {}) {
  const head = el("div", { class: "card-head" }, el(`h${options.level || 2}`, null, title), options.beside);
  return el("section", { class: `card ${options.class || ""}`.trim() }, title && head, content);
}

// Figures side by side: [{label, value: text or node, beside: text, tone: number that colours by its sign}].
export function figures(entries) {
  return el("dl", { class: "figures" }, entries.map(({ label, value, beside, tone: sign }) => el(
    "div", null,
    el("dt", null, label),
    el("dd", { class: `value ${tone(sign)}`.trim() }, value),
    beside && el("dd", { class: "beside" }, beside),
  )));
}

export function button(text, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, text);
}

// Load the style of a view once: stylesheet("views/run.css").
const styles = new Map();
export function stylesheet(name) {
  if (!styles.has(name)) {
    styles.set(name, new Promise((done) => {
      document.head.append(el("link", { rel: "stylesheet", href: `/static/${name}`, onload: done, onerror: done }));
    }));
  }
  return styles.get(name);
}

// -- Numbers ----------------------------------------------------------------------------------------------------------

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

// 1,234.50; null is n/a; `signed` puts a plus before gains, and zero has no sign.
export function number(value, decimals = 2, { signed: withSign = false } = {}) {
  if (!isNumber(value)) return UNDEFINED;
  return format(decimals, decimals, withSign ? "exceptZero" : "negative").format(value);
}

// Made once: making one takes far longer than using it, and a chart has thousands of numbers.
const formats = new Map();
function format(fewest, most, signDisplay) {
  const name = `${fewest} ${most} ${signDisplay}`;
  if (!formats.has(name)) {
    formats.set(name, new Intl.NumberFormat("en-US", { minimumFractionDigits: fewest, maximumFractionDigits: most, signDisplay }));
  }
  return formats.get(name);
}

// An amount: whole units from 1,000 on, cents below, significant digits below a cent.
export function money(value, { signed: withSign = false, currency = "" } = {}) {
  if (!isNumber(value)) return UNDEFINED;
  const size = Math.abs(value);
  let decimals = size >= 999.995 ? 0 : 2;
  if (size > 0 && size < 0.1) decimals = Math.min(1 - Math.floor(Math.log10(size)), 12);
  return `${number(value, decimals, { signed: withSign })}${currency && ` ${currency}`}`;
}

// A price or quantity with up to eight significant digits and no exponent.
export function price(value) {
  if (!isNumber(value)) return UNDEFINED;
  if (value === 0) return "0";
  const decimals = Math.min(Math.max(SIGNIFICANT - 1 - Math.floor(Math.log10(Math.abs(value))), 0), 16);
  return format(0, decimals, "auto").format(value);
}

// A price in a column, where digits stand below digits: two decimals from 100 on, four from 1 on, else six significant ones.
export function columnPrice(value) {
  if (!isNumber(value) || value === 0) return price(value);
  const size = Math.abs(value);
  const small = Math.min(5 - Math.floor(Math.log10(size)), 16);
  return number(value, size >= 100 ? 2 : size >= 1 ? 4 : small);
}

// Percent as percent: 1.4 is 1.4 %; by default one decimal, below 1 % two.
export function percent(value, decimals = null, { signed: withSign = false } = {}) {
  if (!isNumber(value)) return UNDEFINED;
  const places = decimals === null ? (Math.abs(value) >= 0.995 ? 1 : 2) : decimals;
  return `${number(value, places, { signed: withSign })} %`;
}

// 8,784
export function count(value) {
  return number(value, 0);
}

// "1 trade", "2 trades"
export function counted(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

// The class of a result by its sign: gain, loss or "".
export function tone(value) {
  return value > 0 ? "gain" : value < 0 ? "loss" : "";
}

// A result with its sign and colour, as a node. `format` is number, money or percent.
export function signed(value, format = money, ...more) {
  const options = { signed: true };
  const text = format === money ? money(value, options) : format(value, more.length ? more[0] : undefined, options);
  return el("span", { class: tone(value) }, text);
}

// stop_loss is "stop loss", sharpe_ratio is "Sharpe ratio".
const SPELT = { sharpe: "Sharpe", sortino: "Sortino", calmar: "Calmar", omega: "Omega", kelly: "Kelly", cagr: "CAGR",
  sqn: "SQN", mfe: "MFE", mae: "MAE", r: "R", pnl: "result", ema: "EMA", rsi: "RSI", atr: "ATR", vwap: "VWAP" };
export function words(name) {
  return String(name).split("_").map((word) => SPELT[word] || word).join(" ");
}

// -- Times ------------------------------------------------------------------------------------------------------------

// "2025-03-31 14:00" in UTC, with seconds where there are some and `seconds` is not false.
export function when(ms, { seconds = false } = {}) {
  if (!isNumber(ms)) return UNDEFINED;
  return new Date(ms).toISOString().slice(0, seconds ? 19 : 16).replace("T", " ");
}

export function day(ms) {
  return when(ms).slice(0, 10);
}

// A length of time in its two largest units: "2 h 05 min", "41 s", "0.3 s".
export function duration(ms) {
  if (!isNumber(ms)) return UNDEFINED;
  if (ms < 9950) return `${number(ms / 1000, ms < 9.5 ? 3 : 1)} s`;
  const rounded = Math.round(ms / 1000) * 1000;
  const at = UNITS.findIndex(([, size]) => rounded >= size);
  const [unit, size] = UNITS[at];
  const whole = Math.floor(rounded / size);
  if (at === UNITS.length - 1) return `${whole} ${unit}`;
  const [lesser, lesserSize] = UNITS[at + 1];
  const rest = Math.floor((rounded % size) / lesserSize);
  return rest ? `${count(whole)} ${unit} ${String(rest).padStart(2, "0")} ${lesser}` : `${count(whole)} ${unit}`;
}

// How long ago, for lists: "just now", "5 min ago", then the date.
export function ago(ms, now = Date.now()) {
  const passed = now - ms;
  if (!isNumber(ms)) return UNDEFINED;
  if (passed < 60_000) return "just now";
  if (passed < 86_400_000) return `${duration(Math.floor(passed / 60_000) * 60_000)} ago`;
  return day(ms);
}

// -- Words with a colour ----------------------------------------------------------------------------------------------

const VERDICT_MARKS = { "LIKELY REAL": "+", "LIKELY OVERFIT": "!", "TOO LITTLE DATA": "?", UNPROVEN: "~" };
const STATE_MARKS = { running: "\u25b6", done: "\u2713", kept: "\u2713", interrupted: "\u2016", stopped: "\u25a0",
  failed: "\u2715", skipped: "\u2013", waiting: "\u00b7" };

// The verdict as a label whose colour and mark say the same; nothing where there is none.
export function verdictBadge(word) {
  if (!word) return el("span", { class: "muted" }, "no verdict");
  const kind = word.toLowerCase().replaceAll(" ", "-");
  return el("span", { class: `badge ${kind}` },
    el("span", { "aria-hidden": "true" }, `${VERDICT_MARKS[word] || "\u00b7"} `), word);
}

export function stateBadge(state) {
  return el("span", { class: `state ${state}` },
    el("span", { class: "mark", "aria-hidden": "true" }, STATE_MARKS[state] || "\u00b7"), state);
}

// A market in one line: symbol first, then venue and timeframe; SYNTHETIC where it is made up.
export function market(about) {
  const { exchange, symbol, timeframe, synthetic } = about || {}; // several markets have none of them
  return el("span", { class: "market" },
    el("b", null, symbol || "several markets"), " ",
    el("span", { class: "muted" }, [timeframe, exchange].filter(Boolean).join(" \u00b7 ")),
    synthetic && el("span", { class: "synthetic" }, "SYNTHETIC"));
}

// A curve without axes; `label` tells those who cannot see it. Its colour follows the sign of its change.
export function spark(values, label, { width = 96, height = 24 } = {}) {
  const known = values.filter(isNumber);
  if (known.length < 2) return el("span", { class: "muted" }, UNDEFINED);
  const low = Math.min(...known);
  const span = Math.max(...known) - low || 1;
  const points = known.map((value, i) => (
    [(i / (known.length - 1)) * width, height - 2 - ((value - low) / span) * (height - 4)]
      .map((place) => place.toFixed(1)).join(",")
  ));
  return svg("svg", { class: `spark ${tone(known.at(-1) - known[0])}`, viewBox: `0 0 ${width} ${height}`, width, height,
    role: "img", "aria-label": label }, svg("polyline", { points: points.join(" ") }));
}

// -- When there is nothing, or something went wrong -------------------------------------------------------------------

// Nothing to show, and what to do about it. `what` is text or nodes.
export function empty(title, ...what) {
  return el("div", { class: "empty" }, el("h2", null, title), el("p", null, ...what));
}

// What went wrong and what to do. `retry` makes a button.
export function failure(error, retry = null) {
  return el("div", { class: "failure", role: "alert" },
    el("h2", null, error.status === 404 ? "Not found" : "This could not be shown"),
    el("p", null, error.message || String(error)),
    error.hint && el("p", { class: "muted" }, error.hint),
    retry && button("Try again", retry));
}

export function spinner(text = "Loading") {
  return el("p", { class: "spinner", role: "status" }, el("span", { class: "wheel", "aria-hidden": "true" }), text);
}

// A bar from 0 to 1; null where nobody knows how far it is.
export function progress(share, label) {
  const value = isNumber(share) ? Math.round(Math.min(Math.max(share, 0), 1) * 1000) / 10 : null;
  return el("div", { class: "progress", role: "progressbar", "aria-label": label, "aria-valuemin": 0,
    "aria-valuemax": 100, "aria-valuenow": value },
  el("div", { class: "done", style: { width: `${value ?? 0}%` } }));
}

// Call `f` once things are quiet for `ms`.
export function debounce(f, ms = 150) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...values), ms);
  };
}

// Calls once, so long after the first of any number of calls; no more when the view is left.
export function paced(f, ms, signal) {
  let due = 0;
  signal.addEventListener("abort", () => clearTimeout(due));
  return () => {
    due ||= setTimeout(() => {
      due = 0;
      f();
    }, ms);
  };
}

// Calls again and again until the view is left.
export function every(f, ms, signal) {
  const clock = setInterval(f, ms);
  signal.addEventListener("abort", () => clearInterval(clock));
}

// -- Dialogs ----------------------------------------------------------------------------------------------------------

// Over whatever is shown; Escape or the button closes it, and the focus goes back to where it was. `name` is its class.
export function showDialog(name, title, ...content) {
  const before = document.activeElement;
  const close = button("Close", () => dialog.close(), { class: "first" });
  const dialog = el("dialog", { class: name, "aria-labelledby": `${name}-title` },
    el("h2", { id: `${name}-title` }, title), ...content, el("div", { class: "row" }, close));
  dialog.addEventListener("close", () => {
    dialog.remove();
    before?.focus?.();
  });
  document.body.append(dialog);
  dialog.showModal();
  close.focus();
}

// -- Tabs -------------------------------------------------------------------------------------------------------------

let made = 0;

// Tabs with arrow keys. entries: [{label, show(panel)}]; show is called when a tab is first opened.
// options = {label, chosen: index, onChoose(index)}.
export function tabs(entries, { label = "Sections", chosen = 0, onChoose = null } = {}) {
  const group = `tabs-${(made += 1)}`;
  const shown = new Set();
  const panels = entries.map((entry, i) => el("div", { id: `${group}-panel-${i}`, role: "tabpanel",
    "aria-labelledby": `${group}-tab-${i}`, class: "tab-panel", hidden: true }));
  const heads = entries.map((entry, i) => el("button", { id: `${group}-tab-${i}`, type: "button", role: "tab",
    "aria-controls": `${group}-panel-${i}`, onclick: () => choose(i) }, entry.label));

  function choose(wanted) {
    heads.forEach((head, i) => {
      head.setAttribute("aria-selected", String(i === wanted));
      head.tabIndex = i === wanted ? 0 : -1;
      panels[i].hidden = i !== wanted;
    });
    if (!shown.has(wanted)) {
      shown.add(wanted);
      entries[wanted].show(panels[wanted]);
    }
    onChoose?.(wanted);
  }

  const list = el("div", { role: "tablist", "aria-label": label, class: "tab-list", onkeydown: (event) => {
    const at = heads.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: heads.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = (to + heads.length) % heads.length;
    heads[next].focus();
    choose(next);
  } }, heads);
  const node = el("div", { class: "tabs" }, list, panels);
  choose(chosen);
  node.choose = choose;
  return node;
}

// -- Tables -----------------------------------------------------------------------------------------------------------

// A table in a region that scrolls by itself.
//   caption: what it shows, for those who listen; `captionShown` shows it to all.
//   columns: [{key, label, text: true for left, cell(row) -> text or node, title, sort: true, heading: true}];
//            without `cell` the row's value by `key` is shown; exactly one column should be the row's `heading`.
//   rows: any objects.  open(row): Enter or a click on the row.  rowClass(row) -> class.  rowLabel(row) -> its name.
//   sort: {key, order: "asc" | "desc"} and onSort({key, order}): where sorting is somebody else's work; without onSort
//   the table sorts the rows it has by `value(row)` of the column or by row[key].
//   cards: on a narrow screen each row becomes a card.  most: height in rem of the region.
// The node that comes back has update(rows) and focusRow(index).
export function table({ caption, captionShown = false, columns, rows, open = null, rowClass = null, rowLabel = null,
  sort = null, onSort = null, cards = false, most = null, emptyText = "Nothing to show." }) {
  const body = el("tbody");
  let current = [];
  let order = sort;

  const heads = columns.map((column) => {
    const sorts = column.sort && el("button", { type: "button", class: "sort", onclick: () => sortBy(column) },
      column.label, el("span", { class: "arrow", "aria-hidden": "true" }));
    return el("th", { scope: "col", class: column.text ? "text" : null, title: column.title || null },
      sorts || column.label);
  });

  function sortBy(column) {
    const first = column.text ? "asc" : "desc";
    const other = first === "asc" ? "desc" : "asc";
    order = { key: column.key, order: order && order.key === column.key && order.order === first ? other : first };
    if (onSort) onSort(order);
    draw(current);
  }

  function sorted(list) {
    if (onSort || !order) return list;
    const column = columns.find(({ key }) => key === order.key);
    const valueOf = column?.value || ((row) => row[order.key]);
    const sign = order.order === "desc" ? -1 : 1;
    return [...list].sort((a, b) => {
      const [left, right] = [valueOf(a), valueOf(b)];
      if (left === right) return 0;
      if (left === null || left === undefined) return 1;
      if (right === null || right === undefined) return -1;
      return left < right ? -sign : sign;
    });
  }

  function rowOf(row, place) {
    const cells = columns.map((column) => {
      const content = column.cell ? column.cell(row) : row[column.key];
      return el(column.heading ? "th" : "td", { scope: column.heading ? "row" : null,
        class: column.text ? "text" : null, "data-label": column.label || null }, content ?? UNDEFINED);
    });
    const node = el("tr", { class: rowClass && rowClass(row), tabindex: open && (place ? -1 : 0),
      "aria-label": rowLabel && rowLabel(row) }, cells);
    if (open) {
      node.addEventListener("click", (event) => {
        if (!event.target.closest("a, button, input, select, label")) open(row, node);
      });
    }
    return node;
  }

  function draw(list) {
    current = list;
    const drawn = sorted(list);
    heads.forEach((head, i) => {
      const active = order && order.key === columns[i].key;
      if (!columns[i].sort) return;
      head.setAttribute("aria-sort", active ? (order.order === "asc" ? "ascending" : "descending") : "none");
      head.querySelector(".arrow").textContent = active ? (order.order === "asc" ? " \u25b4" : " \u25be") : "";
    });
    if (drawn.length) body.replaceChildren(...drawn.map(rowOf));
    else body.replaceChildren(el("tr", null, el("td", { class: "text muted", colspan: columns.length }, emptyText)));
    node.shown = drawn;
  }

  // One row is in the tab order; arrows go to the others.
  function moved(event) {
    const all = [...body.rows];
    const at = all.indexOf(event.target);
    if (at < 0 || !open) return;
    const page = 10;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1, PageDown: at + page,
      PageUp: at - page }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      focusRow(Math.min(Math.max(to, 0), all.length - 1));
    } else if (event.key === "Enter") {
      event.preventDefault();
      open(node.shown[at], all[at]);
    }
  }

  function focusRow(index) {
    for (const row of body.rows) row.tabIndex = -1;
    const row = body.rows[index];
    if (!row) return;
    row.tabIndex = 0;
    row.focus();
    row.scrollIntoView({ block: "nearest" });
  }

  body.addEventListener("keydown", moved);
  const node = el("div", { class: `scroll ${cards ? "cards" : ""}`.trim(), role: "region", "aria-label": caption,
    tabindex: 0, style: most ? { "max-height": `${most}rem` } : null },
  el("table", null, el("caption", { class: captionShown ? null : "unseen" }, caption),
    el("thead", null, el("tr", null, heads)), body));
  node.update = draw;
  node.focusRow = focusRow;
  draw(rows);
  return node;
}
