// Browses a storage, to choose a folder of it or, of the source, a file.
import { byId, create, icon } from "./dom.js";
import { say, size } from "./texts.js";

const LIMIT = 1000;
let open = null; // the side, and what is shown of it

/** Show the folder of a side's path, or the top of its storage. */
export function browse(side, title, ask) {
  const endpoint = side.context.endpoint(side, { path: false });
  if (!endpoint) return;
  open = { side, ask, endpoint };
  byId("picker-title").textContent = title;
  byId("picker-new").hidden = side.name !== "destination";
  byId("picker-new-name").value = "";
  byId("picker").showModal();
  show(endpoint.path.replace(/\/+$/, "") || (endpoint.path ? "/" : ""), true);
}

export function start() {
  const dialog = byId("picker");
  byId("picker-cancel").addEventListener("click", () => dialog.close());
  byId("picker-choose").addEventListener("click", () => {
    const added = byId("picker-new").hidden ? "" : byId("picker-new-name").value.trim().replace(/^\/+|\/+$/g, "");
    choose(added ? below(open.path, added) : open.path);
  });
  // The form around it must not be sent by Enter.
  byId("picker-new-name").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    byId("picker-choose").click();
  });
}

const below = (path, name) => (path === "" ? name : `${path.replace(/\/$/, "")}/${name}`);

function choose(path) {
  open.side.pick(path);
  byId("picker").close();
  open.side.path.input.focus();
}

async function show(path, first = false) {
  const mine = open;
  open.path = path;
  trail(path);
  const list = byId("picker-list");
  const state = byId("picker-state");
  const focusList = list.contains(document.activeElement) || byId("picker-trail").contains(document.activeElement);
  list.replaceChildren();
  list.setAttribute("aria-busy", "true");
  state.className = "help";
  state.textContent = say("picker.loading");
  byId("picker-choose").disabled = true;
  const { answer, problem } = await mine.ask({ endpoint: { ...mine.endpoint, path }, limit: LIMIT });
  if (open !== mine || mine.path !== path) return; // another folder was opened meanwhile
  list.setAttribute("aria-busy", "false");
  if (problem && first && path && problem.code === "source_not_found") {
    await show("");
    state.textContent = `${say("picker.gone", { path })} ${state.textContent}`;
    return;
  }
  if (problem) return failed(problem);
  byId("picker-choose").disabled = false;
  const notes = [];
  if (answer.entries.length === 0) notes.push(say("picker.empty"));
  if (answer.truncated) notes.push(say("picker.cut", { shown: answer.entries.length, count: answer.count }));
  const unreadable = answer.errors.reduce((sum, it) => sum + it.count, 0);
  if (unreadable) notes.push(say("picker.unreadable", { n: unreadable }));
  state.textContent = notes.join(" ");
  list.replaceChildren(...answer.entries.map(entry));
  if (focusList) (list.querySelector("button:not([disabled])") ?? byId("picker-choose")).focus();
}

function failed(problem) {
  byId("picker-state").className = "error";
  byId("picker-state").textContent = problem.text;
  const { side } = open;
  // The field can be mended only behind the dialog.
  side.context.blame(problem, side, { focus: false });
}

function entry({ name, type, size: bytes, modified }) {
  const path = below(open.path, name);
  const isFolder = type === "folder";
  const button = create(
    "button",
    { type: "button", disabled: !isFolder && open.side.name === "destination" },
    icon(isFolder ? "folder" : "file"),
    create("span", { className: "name" }, name, isFolder && create("span", { className: "unseen" }, ` (${say("picker.folder")})`)),
    " ",
    create("span", { className: "help size" }, bytes === undefined ? "" : size(bytes)),
    " ",
    create("span", { className: "help date" }, (modified ?? "").slice(0, 10)),
  );
  button.addEventListener("click", () => (isFolder ? show(path) : choose(path)));
  return create("li", {}, button);
}

function trail(path) {
  const parts = path.split("/").filter(Boolean);
  const root = path.startsWith("/") ? "/" : "";
  const places = [[say("picker.top"), root], ...parts.map((name, at) => [name, root + parts.slice(0, at + 1).join("/")])];
  const items = places.map(([name, to], at) => {
    const last = at === places.length - 1;
    const button = create("button", { type: "button", "aria-current": last ? "true" : undefined }, name);
    button.addEventListener("click", () => show(to));
    return create("li", {}, button);
  });
  byId("picker-trail").replaceChildren(...items);
}
