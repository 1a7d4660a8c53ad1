// The frame of the page: which view stands for which address, the keys that work everywhere, and the theme.
//
// A view is a module with `async show(root, params, context)`: it fills `root` and returns when there is something to
// see. `context` = {signal: aborted when the view is left, navigate(hash), title(text), announce(text),
// keys(map): keys of this view, such as {s: f}, follow(f): where what stands behind ? changes on the same page, f(params)
// is called instead of showing the view anew}. The first h1 of the view gets the focus.

import * as charts from "./charts.js";
import { el, failure, spinner } from "./ui.js";

const ROUTES = [
  [/^\/runs$/, "runs", []],
  [/^\/new$/, "new", []],
  [/^\/run\/([^/]+)$/, "run", ["name"]],
  [/^\/run\/([^/]+)\/(optimization|validation|live)$/, null, ["name", "view"]],
  [/^\/compare$/, "compare", []],
  [/^\/data$/, "data", []],
  [/^\/data\/([^/]+)\/([^/]+)\/([^/]+)$/, "data", ["exchange", "symbol", "timeframe"]],
  [/^\/market\/([^/]+)$/, "market", ["name"]],
  [/^\/market\/([^/]+)\/live$/, "live_markets", ["name"]],
];
// The views of one run: where they begin, and of each the end of its address, its module and its name.
const OF_A_RUN = ["#/run/", [["", "run", "Result"], ["/optimization", "optimization", "Optimization"],
  ["/validation", "validation", "Validation"], ["/live", "live", "Live"]]];
const OF_MARKETS = ["#/market/", [["", "market", "Overview"], ["/live", "live_markets", "Live"]]];
const BELOW_RUNS = new Set([...OF_A_RUN[1], ...OF_MARKETS[1]].map(([, module]) => module).concat("compare"));
const GO = { r: "#/runs", d: "#/data", n: "#/new" };
const GO_MS = 1200;
const HOME = "#/runs";
const NOWHERE = "Choose a place above.";
const THEME = "barwise-theme";

const main = document.getElementById("main");
const announcer = document.getElementById("announcer");
const runPlaces = document.getElementById("run-places");
const themeButton = document.getElementById("theme");
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");

let leaving = new AbortController();
let viewKeys = {};
let followed = null; // {path, follow} of a view that follows its address by itself
let goUntil = 0;

// -- Views ------------------------------------------------------------------------------------------------------------

// Which view an address asks for: {module, params}, or null. What stands behind ? is among the params.
function routeOf(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?");
  for (const [pattern, module, names] of ROUTES) {
    const found = pattern.exec(path);
    if (!found) continue;
    const params = Object.fromEntries(new URLSearchParams(query));
    try {
      names.forEach((name, i) => { params[name] = decodeURIComponent(found[i + 1]); });
    } catch {
      return null;
    }
    return { module: module || params.view, params };
  }
  return null;
}

function markPlaces(route) {
  const current = route && (BELOW_RUNS.has(route.module) ? "runs" : route.module);
  for (const link of document.querySelectorAll("[data-place]")) {
    if (link.dataset.place === current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const places = route && [OF_A_RUN, OF_MARKETS].find(([, views]) => views.some(([, module]) => module === route.module));
  runPlaces.hidden = !places;
  if (!places) return;
  const [begin, views] = places;
  runPlaces.replaceChildren(...views.map(([end, module, label]) => el("a", {
    href: begin + encodeURIComponent(route.params.name) + end,
    "aria-current": module === route.module ? "page" : null,
  }, label)));
}

function title(text) {
  document.title = text ? `${text} \u00b7 barwise` : "barwise";
}

function announce(text) {
  announcer.textContent = text;
}

function navigate(hash) {
  if (window.location.hash === hash) show();
  else window.location.hash = hash;
}

function focusHeading() {
  const target = main.querySelector("h1") || main;
  if (target !== main) target.tabIndex = -1;
  target.focus({ preventScroll: true });
}

async function viewOf(name) {
  try {
    return await import(`./views/${name}.js`);
  } catch (error) {
    console.warn(error);
    throw Object.assign(new Error("This part of the page could not be loaded."), { unloaded: true,
      status: 0, hint: "See whether `barwise dashboard` still runs in its terminal, then try again." });
  }
}

function follow() {
  const [path] = window.location.hash.split("?");
  if (followed?.path === path) followed.follow(routeOf(window.location.hash).params);
  else show();
}

async function show() {
  leaving.abort();
  leaving = new AbortController();
  viewKeys = {};
  followed = null;
  const { signal } = leaving;
  const [path] = window.location.hash.split("?");
  const route = routeOf(window.location.hash || HOME);
  markPlaces(route);
  window.scrollTo(0, 0);
  // A view that comes too late writes into a node that is no longer on the page; the wheel shows while it is empty.
  const root = el("div", { class: `view view-${route ? route.module : "none"}` });
  main.replaceChildren(root, spinner());
  const context = {
    signal,
    navigate,
    keys: (map) => { if (!signal.aborted) viewKeys = map; },
    follow: (act) => { if (!signal.aborted) followed = { path, follow: act }; },
    title: (text) => { if (!signal.aborted) title(text); },
    announce: (text) => { if (!signal.aborted) announce(text); },
  };
  try {
    if (!route) throw Object.assign(new Error("There is no such page."), { status: 404, hint: NOWHERE });
    const view = await viewOf(route.module);
    if (signal.aborted) return;
    await view.show(root, route.params, context);
  } catch (error) {
    if (signal.aborted || error.name === "AbortError") return;
    if (!(error.status >= 0)) console.warn(error);
    title("Not shown");
    // A module that did not come is not asked for again by the same page.
    const retry = error.unloaded ? () => window.location.reload() : show;
    root.replaceChildren(el("h1", { class: "unseen" }, "Not shown"), failure(error, retry));
  }
  if (signal.aborted) return;
  if (!main.contains(document.activeElement)) focusHeading();
}

// -- Theme ------------------------------------------------------------------------------------------------------------

const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : prefersDark.matches;
};

function nameTheme() {
  themeButton.textContent = isDark() ? "Light" : "Dark";
  themeButton.setAttribute("aria-label", isDark() ? "Light theme" : "Dark theme");
}

function switchTheme() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem(THEME, theme);
  nameTheme();
  announce(`${theme} theme`);
}

const remembered = localStorage.getItem(THEME);
if (remembered === "dark" || remembered === "light") document.documentElement.dataset.theme = remembered;
nameTheme();
themeButton.addEventListener("click", switchTheme);
prefersDark.addEventListener("change", nameTheme);

// -- Keys -------------------------------------------------------------------------------------------------------------

async function help() {
  const view = await import("./views/help.js");
  view.open();
}

function focusFilter() {
  const field = main.querySelector("[data-filter]");
  field?.focus();
  return Boolean(field);
}

const KEYS = { n: () => navigate(GO.n), t: switchTheme, "?": help, "/": focusFilter };

function isTyping(target) {
  if (target.isContentEditable || /^(SELECT|TEXTAREA)$/.test(target.tagName)) return true;
  return target.tagName === "INPUT" && !["checkbox", "radio"].includes(target.type);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const goes = event.timeStamp < goUntil && GO[event.key];
  goUntil = event.key === "g" ? event.timeStamp + GO_MS : 0;
  if (goes) {
    event.preventDefault();
    navigate(goes);
    return;
  }
  const act = viewKeys[event.key] || KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act(event);
});

document.getElementById("help").addEventListener("click", help);
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  focusHeading();
});
window.addEventListener("hashchange", follow);
show().then(() => {
  const idle = window.requestIdleCallback || setTimeout;
  // The first chart then comes at once; where it cannot be loaded, the view that needs it says so.
  idle(() => charts.ready().catch(() => null));
});
