// The files of a run: its report in a window of its own, and everything else to download.

import { get, runPath, url } from "../api.js";
import { button, el, showDialog, stylesheet, when } from "../ui.js";
import { size } from "./figures.js";

// Two words beside a heading, `Report` and `Files`; nothing where a run has left no file yet.
export function filesOf(name, { signal } = {}) {
  const node = el("span", { class: "row files" });
  get(runPath(name, "files"), {}, { signal }).then(({ files }) => {
    const report = files.find(({ opens }) => opens);
    if (report) node.append(reportLink(name));
    if (files.length) node.append(button("Files", () => open(name, files), { "aria-haspopup": "dialog" }));
  }).catch((error) => {
    if (error.name !== "AbortError") node.append(el("span", { class: "muted" }, `Files: ${error.message}`));
  });
  return node;
}

// The window that it opens in has no way back to this page, and none to the API: see api_files.py.
export function reportLink(name, { text = "Report" } = {}) {
  return el("a", { href: address(name, "report"), target: "_blank", rel: "noopener" }, text,
    el("span", { "aria-hidden": "true" }, " ↗"), el("span", { class: "unseen" }, " (opens a new tab)"));
}

const address = (name, which) => url(runPath(name, "files", which));

async function open(name, files) {
  await stylesheet("views/files.css");
  showDialog("files-dialog", "Files",
    el("p", { class: "muted" }, "To download, as they lie in the home folder of ", el("span", { class: "code" }, name), "."),
    el("ul", { class: "file-list" }, files.map((file) => entry(name, file))));
}

function entry(run, { which, name, about, bytes, written_ms: written }) {
  return el(
    "li", null,
    el("a", { class: "code", href: address(run, which), download: name }, name),
    el("span", { class: "size" }, size(bytes)),
    el("span", { class: "muted about" }, about),
    el("time", { class: "muted" }, `${when(written)} UTC`),
  );
}
