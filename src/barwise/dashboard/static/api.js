// The only way from the page to the program: JSON below /api/v1, and one stream of what happens while it happens.

const PREFIX = "/api/v1";
const RETRY_MS = 2000;

// Why a request came to nothing, in the words of the program; `status` is 0 where it did not answer at all.
export class ApiError extends Error {
  constructor({ kind = "Error", message, hint = "", status = 0 }) {
    super(message);
    this.kind = kind;
    this.hint = hint;
    this.status = status;
  }
}

// The address of an endpoint. Parts of `path` that a user chose go through `encodeURIComponent` first, see `runPath`.
// Values of `query` that are null, undefined or "" are left out; lists are joined with commas.
export function url(path, query = {}) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined || value === "") continue;
    given.set(name, Array.isArray(value) ? value.join(",") : String(value));
  }
  const text = given.toString();
  return `${PREFIX}${path}${text ? `?${text}` : ""}`;
}

// The path of something below one run: runPath("run-x", "equity") is /runs/run-x/equity.
export function runPath(name, ...parts) {
  return ["/runs", name, ...parts].map((part, i) => (i ? encodeURIComponent(part) : part)).join("/");
}

async function answered(request) {
  let response;
  try {
    response = await request;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({
      kind: "Unreachable",
      message: "The dashboard does not answer.",
      hint: "See whether `barwise dashboard` still runs in its terminal, then try again.",
    });
  }
  const isJson = (response.headers.get("Content-Type") || "").includes("json");
  const body = isJson ? await response.json() : null;
  if (response.ok && isJson) return body;
  const told = (body && body.error) || {};
  throw new ApiError({
    kind: told.kind,
    message: told.message || `The dashboard answered with status ${response.status}.`,
    hint: told.hint || "",
    status: response.status,
  });
}

// What an endpoint tells. Throws ApiError; a request that `signal` ended throws an AbortError.
export function get(path, query = {}, { signal } = {}) {
  return answered(fetch(url(path, query), { signal, headers: { Accept: "application/json" } }));
}

// Change something. The token of the page says that it was this page that asked.
export function post(path, body = {}, { signal } = {}) {
  const csrf = document.querySelector('meta[name="csrf"]').content;
  return answered(fetch(url(path), {
    method: "POST",
    signal,
    headers: { Accept: "application/json", "Content-Type": "application/json", "X-Barwise-CSRF": csrf },
    body: JSON.stringify(body),
  }));
}

// Listen to what happens. `query` is {run: name} for the lines of one run, or {} for changes of the list only.
// handlers: line(line) for each line of the trail, once and in order; where that is one over several markets,
// market({run, line}) for the course of each, again from its first line after every new connection; run(change) for
// {name, state}; job(job) for a run that was started here; reset() when everything told before is to be forgotten,
// because the trail began anew; connected(yes) when the connection comes or goes. Ends with `signal`.
export function stream(query, handlers, { signal }) {
  let source = null;
  let timer = 0;
  let last = -1;

  function line(event) {
    const told = JSON.parse(event.data);
    if (told.seq <= last) return;
    last = told.seq;
    handlers.line?.(told);
  }

  function open() {
    source = new EventSource(url("/live", { ...query, after: last < 0 ? null : last }));
    source.addEventListener("open", () => handlers.connected?.(true));
    source.addEventListener("line", line);
    source.addEventListener("market", (event) => handlers.market?.(JSON.parse(event.data)));
    source.addEventListener("run", (event) => handlers.run?.(JSON.parse(event.data)));
    source.addEventListener("job", (event) => handlers.job?.(JSON.parse(event.data)));
    source.addEventListener("reload", () => {
      last = -1;
      handlers.reset?.();
    });
    source.addEventListener("error", () => {
      handlers.connected?.(false);
      // The browser goes on by itself after a broken connection, but not after an answer that is no stream.
      if (source.readyState !== EventSource.CLOSED || signal.aborted) return;
      clearTimeout(timer);
      timer = setTimeout(open, RETRY_MS);
    });
  }

  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    source.close();
  });
  if (!signal.aborted) open();
}
