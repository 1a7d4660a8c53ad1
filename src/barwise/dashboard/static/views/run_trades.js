// The trades of a run: filtered and sorted by the server, drawn only where they are looked at, walked through by keys.

import { get, runPath, url } from "../api.js";
import { button, columnPrice, counted, debounce, el, empty, failure, money, number, price, when, words } from "../ui.js";
import { coloured, EXITS, NOTHING, numberOf, result, sameTrade, side, TIERS } from "./run_words.js";

const ROW = 30; // px, as in run.css
const HEIGHT = 480; // px at most, as there
const PAGE = 200; // rows of one request
const SPARE = 10; // rows drawn beyond the edges
const YEAR_LENGTH = 4;
// Columns that are first sorted from the first to the last; amounts begin with the largest.
const RISING = new Set(["trade_id", "side", "entry_time", "exit_time", "exit_reason"]);

const COLUMNS = [
  { key: "trade_id", label: "#", cell: numberOf },
  { key: "side", label: "side", text: true, cell: (trade) => side(trade.side) },
  { key: "entry_time", label: "entry, UTC", cell: (trade) => when(trade.entry_time) },
  { key: "exit_time", label: "exit, UTC", wide: true, cell: (trade) => when(trade.exit_time) },
  { key: "quantity", label: "quantity", wide: true, cell: (trade) => price(trade.quantity) },
  { key: "entry_price", label: "entry", wide: true, cell: (trade) => columnPrice(trade.entry_price) },
  { key: "exit_price", label: "exit", wide: true, cell: (trade) => columnPrice(trade.exit_price) },
  { key: "tiers", label: "tier", wide: true, cell: (trade) => trade.tiers || NOTHING },
  { key: "bars_held", label: "bars", wide: true, cell: (trade) => number(trade.bars_held, 0) },
  { key: "exit_reason", label: "exit reason", text: true, wide: true, cell: (trade) => words(trade.exit_reason) },
  { key: "fees", label: "fees", wide: true, cell: (trade) => money(trade.fees) },
  { key: "r", label: "R", cell: (trade) => (trade.r === null ? NOTHING : coloured(trade.r, number(trade.r, 2, { signed: true }))) },
  { key: "net_pnl", label: "net", cell: (trade) => result(trade.net_pnl) },
];

// Words typed into the filter become the same filters as the lists, so that the CSV link says what the table shows.
export function understood(text) {
  const filters = {};
  const unknown = [];
  const tokens = text.trim().toLowerCase().split(/\s+/).filter(Boolean);
  for (let i = 0; i < tokens.length; i += 1) {
    const token = tokens[i];
    const next = tokens[i + 1];
    const tier = /^t(?:ier)?([1-4])$/.exec(token);
    const date = /^(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?$/.exec(token);
    const reason = reasonOf(tokens.slice(i));
    if (token === "long" || token === "short") filters.side = token;
    else if (["win", "wins", "gain", "won"].includes(token)) filters.result = "win";
    else if (["loss", "losses", "lost"].includes(token)) filters.result = "loss";
    else if (token === "tier" && /^[1-4]$/.test(next ?? "")) {
      filters.tier = next;
      i += 1;
    } else if (tier) filters.tier = tier[1];
    else if (/^#\d+$/.test(token)) filters.trade = Number(token.slice(1));
    else if (date) Object.assign(filters, spanOf(date));
    else if (reason) {
      filters.reason = reason.name;
      i += reason.used - 1;
    } else unknown.push(token);
  }
  return { filters, unknown };
}

// `stop loss`, `stop_loss`, or the beginning of a reason; the longest reading counts.
function reasonOf(tokens) {
  for (const used of [3, 2, 1]) {
    const said = tokens.slice(0, used).join("_");
    const found = tokens.length >= used && said.length > 2 && EXITS.find((reason) => reason.startsWith(said));
    if (found) return { name: found, used };
  }
  return null;
}

function spanOf([token, year, month, day]) {
  const y = Number(year);
  const m = month ? Number(month) - 1 : 0;
  const d = day ? Number(day) : 1;
  const start = Date.UTC(y, m, d);
  const end = token.length === YEAR_LENGTH ? Date.UTC(y + 1, 0, 1) : day ? Date.UTC(y, m, d + 1) : Date.UTC(y, m + 1, 1);
  return { start, end };
}

// Makes the table in the node. `open(trade, isStep)` is called when a trade is clicked, Enter
// pressed on it, or stepped to.
export function tradeTable(node, run, signal, open) {
  let filters = {};
  let sort = { key: "entry_time", order: "asc" };
  let pages = new Map();
  let total = null;
  let active = 0;
  let chosen = null;
  let generation = 0;
  const tradeOf = new WeakMap(); // of a row, also of one that is about to go

  const selects = {
    side: select("side", [["", "both sides"], ["long", "long"], ["short", "short"]]),
    result: select("result", [["", "wins and losses"], ["win", "wins"], ["loss", "losses"]]),
    tier: select("tier", [["", "all tiers"], ...TIERS.map((name, i) => [String(i + 1), `tier ${i + 1}, ${name}`])]),
    reason: select("reason", [["", "all exits"], ...EXITS.map((name) => [name, words(name)])]),
  };
  const typed = el("input", {
    type: "search", placeholder: "e.g. short stop 2024-05 tier 2 or #12", "aria-label": "Filter trades by words, date or #number", "data-filter": "",
    autocomplete: "off", spellcheck: "false",
  });
  const count = el("p", { class: "run-count", "aria-live": "polite" });
  const csv = el("a", { class: "run-csv", download: "" }, "CSV");
  const clear = button("Clear filters", () => {
    typed.value = "";
    for (const one of Object.values(selects)) one.value = "";
    changed();
  }, { class: "quiet", hidden: true });
  const heads = COLUMNS.map((column) => head(column));
  const body = el("tbody", {});
  const table = el("table", { class: "run-trades", "aria-label": "Trades" }, el("thead", {}, el("tr", {}, ...heads)), body);
  const scroller = el("div", { class: "scroll run-trades-scroll", tabindex: "0", role: "region", "aria-label": "Trades; arrow keys move, Enter opens" }, table);
  const holder = el("div", {}, scroller);
  node.replaceChildren(
    el("div", { class: "run-filters", role: "search", "aria-label": "Trades" }, typed, ...Object.values(selects), clear, el("span", { class: "run-filters-end" }, count, csv)),
    holder,
  );

  function select(name, options) {
    const made = el("select", { name, "aria-label": `Filter by ${name}` }, ...options.map(([value, label]) => el("option", { value }, label)));
    made.addEventListener("change", () => changed());
    return made;
  }

  function head(column) {
    const classes = `${column.text ? "text" : ""} ${column.wide ? "wide" : ""}`.trim();
    const sorts = button(column.label, () => {
      const other = sort.order === "asc" ? "desc" : "asc";
      sort = { key: column.key, order: sort.key === column.key ? other : RISING.has(column.key) ? "asc" : "desc" };
      refresh();
    }, { class: "sort", "data-sort": column.key });
    return el("th", { scope: "col", class: classes, "data-key": column.key }, sorts);
  }

  typed.addEventListener("input", debounce(() => changed(), 200));
  typed.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && total) {
      event.preventDefault();
      scroller.focus();
      move(0);
    }
  });
  function changed() {
    const { filters: said, unknown } = understood(typed.value);
    const fromLists = Object.fromEntries(Object.entries(selects).map(([name, one]) => [name, one.value]).filter(([, value]) => value));
    const { trade, ...rest } = said;
    filters = { ...fromLists, ...rest };
    typed.setAttribute("aria-invalid", String(unknown.length > 0));
    typed.title = unknown.length ? `Not understood: ${unknown.join(", ")}. Say a side, win or loss, tier 1 to 4, an exit, a date such as 2024-05, or #12.` : "";
    clear.hidden = Object.keys(filters).length === 0 && !typed.value;
    if (trade !== undefined) open({ trade_id: trade });
    refresh(unknown);
  }

  function query() {
    return { part: run.part, ...filters, sort: sort.key, order: sort.order };
  }

  async function refresh(unknown = []) {
    generation += 1;
    pages = new Map();
    active = 0;
    for (const th of heads) {
      if (!th.dataset.key) continue;
      const on = th.dataset.key === sort.key;
      if (on) th.setAttribute("aria-sort", sort.order === "asc" ? "ascending" : "descending");
      else th.removeAttribute("aria-sort");
    }
    csv.href = url(runPath(run.name, "trades.csv"), query());
    const mine = generation;
    try {
      await fetchPage(0);
    } catch (problem) {
      if (problem.name === "AbortError" || signal.aborted || mine !== generation) return;
      total = null;
      holder.replaceChildren(failure(problem));
      return;
    }
    if (mine !== generation) return;
    count.textContent = `${counted(total, "trade")}${unknown.length ? `; not understood: ${unknown.join(", ")}` : ""}`;
    if (total === 0) {
      const filtered = Object.keys(filters).length > 0;
      holder.replaceChildren(
        filtered
          ? empty("No trade fits these filters", "Clear a filter, or choose another part of the run above.")
          : empty("This part made no trade", "Look at the signals in the chart: a program that was never filled is drawn hollow. Wider filters of the strategy, or a longer span, give more."),
      );
      return;
    }
    if (!scroller.isConnected) holder.replaceChildren(scroller);
    scroller.scrollTop = 0;
    drawRows();
  }

  async function fetchPage(page) {
    if (pages.has(page)) return pages.get(page);
    const mine = generation;
    const wanted = pages;
    const asked = get(runPath(run.name, "trades"), { ...query(), offset: page * PAGE, limit: PAGE }, { signal }).then((answer) => {
      if (mine === generation) total = answer.total;
      wanted.set(page, answer.trades);
      return answer.trades;
    });
    wanted.set(page, asked);
    asked.catch(() => wanted.delete(page));
    return asked;
  }

  function drawRows() {
    if (!total) return;
    const first = Math.max(Math.floor(scroller.scrollTop / ROW) - SPARE, 0);
    const last = Math.min(Math.ceil((scroller.scrollTop + HEIGHT) / ROW) + SPARE, total);
    const rows = [spacer(first)];
    for (let i = first; i < last; i += 1) rows.push(rowAt(i));
    rows.push(spacer(total - last));
    const hadFocus = body.contains(window.document.activeElement);
    body.replaceChildren(...rows);
    table.setAttribute("aria-rowcount", String(total + 1));
    // A row that has left the picture hands the focus to the list, where the keys go on.
    if (hadFocus) (body.querySelector(`[data-index="${active}"]`) ?? scroller).focus({ preventScroll: true });
  }

  function spacer(count) {
    const row = el("tr", { class: "spacer", "aria-hidden": "true" });
    row.style.height = `${count * ROW}px`;
    return row;
  }

  function rowAt(i) {
    const page = Math.floor(i / PAGE);
    const held = pages.get(page);
    if (!Array.isArray(held)) {
      if (held === undefined) fetchPage(page).then(drawSoon, () => undefined);
      return el("tr", { "data-index": String(i), tabindex: "-1" }, el("td", { colspan: String(COLUMNS.length), class: "muted text" }, "loading"));
    }
    const trade = held[i % PAGE];
    if (!trade) return spacer(1);
    const row = el(
      "tr",
      { "data-index": String(i), "data-trade": String(trade.trade_id), tabindex: "-1", "aria-rowindex": String(i + 2), class: `${sameTrade(trade, chosen) ? "chosen" : ""}` },
      ...COLUMNS.map((column) => el("td", { class: `${column.text ? "text" : ""} ${column.wide ? "wide" : ""}`.trim() }, column.cell(trade))),
    );
    tradeOf.set(row, trade);
    if (sameTrade(trade, chosen)) row.setAttribute("aria-current", "true");
    if (trade.ambiguous) row.firstChild.append(el("abbr", { title: "a bar left the order of its events open" }, " ?"));
    return row;
  }

  let planned = 0;
  function drawSoon() {
    if (planned) return;
    planned = requestAnimationFrame(() => {
      planned = 0;
      if (!signal.aborted) drawRows();
    });
  }

  // Its place among the rows that were fetched; where all trades are in their own order its number is its place.
  function placeOf(trade) {
    for (const [page, rows] of pages) {
      const at = Array.isArray(rows) ? rows.findIndex((row) => sameTrade(row, trade)) : -1;
      if (at >= 0) return page * PAGE + at;
    }
    const isPlain = !trade.piece && Object.keys(filters).length === 0 && sort.key === "entry_time" && sort.order === "asc";
    return isPlain && trade.trade_id < total ? trade.trade_id : null;
  }

  function move(to) {
    active = Math.min(Math.max(to, 0), total - 1);
    toSight();
    drawRows();
    body.querySelector(`[data-index="${active}"]`)?.focus({ preventScroll: true });
  }

  function toSight() {
    const top = active * ROW;
    const visible = scroller.clientHeight - 2 * ROW;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top > scroller.scrollTop + visible) scroller.scrollTop = top - visible;
  }

  scroller.addEventListener("scroll", drawSoon, { passive: true });
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-trade]");
    if (!row) return;
    active = Number(row.dataset.index);
    open(tradeOf.get(row));
  });
  scroller.addEventListener("keydown", (event) => {
    const visible = Math.max(Math.floor(scroller.clientHeight / ROW) - 2, 1);
    const onRow = body.contains(event.target);
    const to = {
      ArrowDown: onRow || chosen ? active + 1 : active, ArrowUp: active - 1, PageDown: active + visible, PageUp: active - visible, Home: 0, End: total - 1,
    }[event.key];
    if (to !== undefined && total && !event.target.closest("button")) {
      event.preventDefault();
      event.stopPropagation();
      move(to);
    } else if (event.key === "Enter" && !event.target.closest("button")) {
      const row = onRow ? event.target.closest("tr[data-trade]") : body.querySelector(`[data-index="${active}"]`);
      if (row && tradeOf.has(row)) open(tradeOf.get(row));
    }
  });

  return {
    // The part of the run has changed.
    show() {
      chosen = null;
      return refresh();
    },
    // Marks the trade that is told; null for none. `takesFocus`: the row that was open has it again.
    mark(trade, takesFocus = false) {
      if (trade) active = placeOf(trade) ?? active;
      chosen = trade;
      drawRows();
      if (takesFocus && total) move(active);
    },
    // Opens the trade after or before the one that is told, in the order of the table.
    async step(by) {
      if (!total) return;
      const to = chosen === null ? active : Math.min(Math.max(active + by, 0), total - 1);
      try {
        const rows = await fetchPage(Math.floor(to / PAGE));
        if (signal.aborted || !rows[to % PAGE]) return;
        active = to;
        toSight();
        open(rows[to % PAGE], true);
      } catch (problem) {
        if (problem.name !== "AbortError") count.textContent = problem.message;
      }
    },
  };
}
