// The page at GET /: builds a form from the schema and presets, checks it while the user types,
// looks at storages, sends the request, and shows the copy. It stores nothing.
import { byId, create, icon } from "./dom.js";
import { field, resolved, reveal } from "./form.js";
import * as picker from "./picker.js";
import { TransferView, startNotifying } from "./run.js";
import { Side } from "./side.js";
import { startSnippets } from "./snippets.js";
import { part, say } from "./texts.js";
import { look, send } from "./transfer.js";
import { checker, escaped } from "./validation.js";

// A platform may serve the function below a path prefix.
const base = new URL(location.pathname.replace(/\/?$/, "/"), location.origin);
const state = { running: null, attempted: false, storages: undefined, token: undefined, schema: null, ready: false };
const sides = {};
const optionFields = [];
let check;
let refreshSnippets = () => {};

const token = () => byId("token").value || state.token || "";

async function getJson(path) {
  const headers = { Accept: "application/json, application/schema+json" };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  return (await fetch(new URL(path, base), { headers, cache: "no-store", referrerPolicy: "no-referrer" })).json();
}

async function start() {
  for (const link of document.querySelectorAll("[data-link]")) {
    link.href = new URL(link.getAttribute("href"), base);
  }
  if (!(await readService(3))) {
    byId("health").textContent = say("health.lost");
    byId("health").className = "health bad";
    byId("send").disabled = true;
    return;
  }
  buildSides();
  buildOptions();
  refreshSnippets = startSnippets(base.href, (hides) => request(hides), token);
  picker.start();
  startNotifying();
  byId("token").addEventListener("change", readStorages);
  byId("form").addEventListener("submit", submitted);
  byId("cancel").addEventListener("click", () => state.running?.abort());
  byId("edit").addEventListener("click", edit);
  addEventListener("beforeunload", (event) => state.running && event.preventDefault());
  state.ready = true;
  review();
}

/** Read what the service can, in at most so many attempts, because one answer may get lost. */
async function readService(attempts) {
  try {
    const [about, request, health] = await Promise.all([getJson(""), getJson("schema/v1/request"), getJson("healthz")]);
    check = checker(request);
    state.schema = request;
    state.storages = about.storages;
    state.engines = about.engines;
    state.detaching = about.detaching_engines;
    showHealth(about, health);
    return true;
  } catch {
    if (attempts <= 1) return false;
    await new Promise((wait) => setTimeout(wait, 1000));
    return readService(attempts - 1);
  }
}

function showHealth(about, health) {
  const good = health.status === "ok";
  const engines = Object.entries(health.engines).map(([name, it]) => `${name} ${it.version ?? ""}`.trim()).join(", ");
  byId("version").textContent = `efss-transfer ${about.version}. ${say("health.engines", { engines })}`;
  byId("health").textContent = say(good ? "health.good" : "health.bad");
  byId("health").className = `health ${good ? "good" : "bad"}`;
  byId("access").hidden = health.authentication === "none";
}

function buildSides() {
  const context = {
    schema: state.schema,
    storages: () => state.storages,
    changed: () => review(),
    endpoint,
    blame,
    look: (path, body) => look(new URL(path, base), { ...chosenEngine(), ...body }, token()),
    browse: (side) => picker.browse(side, say(`picker.title_${side.name}`), (body) => context.look("list", body)),
  };
  sides.source = new Side("source", "nextcloud", context);
  sides.destination = new Side("destination", "s3", context);
  byId("endpoints").append(sides.source.element, sides.destination.element);
  showSiteTiles();
}

// Without authentication, a site without storages has nothing to choose from.
function showSiteTiles() {
  const hidden = byId("access").hidden && !state.storages?.length;
  for (const side of Object.values(sides)) {
    side.tiles.querySelector('[value="site"]').parentElement.hidden = hidden;
    side.tiles.classList.toggle("seven", !hidden);
  }
}

async function readStorages() {
  if (byId("token").value) state.token = undefined;
  try {
    state.storages = (await getJson("")).storages;
  } catch {
    return;
  }
  const good = state.storages !== undefined;
  byId("token").setAttribute("aria-invalid", String(!good && token() !== ""));
  byId("token-state").className = good ? "help good" : "error";
  byId("token-state").textContent = token() ? say(good ? "access.good" : "access.bad") : "";
  showSiteTiles();
  for (const side of Object.values(sides)) if (side.preset === "site") side.show("site");
}

/** The engine of the request, if one is chosen: a look is its own. */
function chosenEngine() {
  const { engine } = request(true);
  return engine && { engine };
}

// What the site has not switched on is no choice.
function isOffered(name) {
  if (name === "engine") return state.engines.length > 1;
  return state.engines.includes(name) || !state.schema.properties.engine.enum.includes(name);
}

// The members of a request besides source and destination.
function buildOptions() {
  for (const [name, member] of Object.entries(state.schema.properties)) {
    if (name in sides || !isOffered(name)) continue;
    const described = { ...resolved(state.schema, member), ...(name === "engine" && { enum: state.engines }) };
    const group = described.type === "object" ? Object.entries(described.properties) : [["", described]];
    if (!state.detaching.length) group.splice(0, group.length, ...group.filter(([inner]) => inner !== "detach"));
    const changed = () => review();
    const fields = group.map(([inner, it]) => field(state.schema, it, inner ? `/${name}/${escaped(inner)}` : `/${name}`, { changed }));
    optionFields.push(...fields);
    const title = described.type === "object" ? described.title : null;
    const grid = create("div", { className: "grid" }, fields.map((it) => it.element));
    byId("options").append(create("fieldset", { className: "group" }, title && create("legend", {}, title), grid));
  }
}

/** The request in the form; `hides` puts placeholders for secrets. */
function request(hides) {
  const document = { source: {}, destination: {} };
  for (const it of all()) setMember(document, it, hides);
  for (const [name, side] of Object.entries(sides)) document[name] = side.complete(document[name]);
  return document;
}

function setMember(document, it, hides) {
  const value = it.read();
  if (value === undefined) return;
  const route = it.pointer.split("/").slice(1);
  const name = route.pop();
  const parent = route.reduce((below, token) => (below[token] ??= {}), document);
  parent[name] = hides && it.secret ? placeholder(it, name, value) : value;
}

function placeholder(it, name, value) {
  const named = (text) => say("sent.placeholder", { side: it.pointer.split("/")[1], name: text }).toUpperCase();
  // In JSON that the user writes, any value may be a secret.
  if (typeof value !== "object" || value === null) return named(name);
  return Object.fromEntries(Object.keys(value).map((one) => [one, named(one)]));
}

const all = () => [...Object.values(sides).flatMap((it) => it.fields), ...optionFields];

/** Update what depends on the form: messages, the snippets, the line beside Start. Returns all
 * messages by their fields, and those of no field. */
function review(shows = () => state.attempted) {
  const messages = new Map();
  const general = []; // violations that belong to no single field
  if (!check || !sides.destination) return { messages, general };
  for (const side of Object.values(sides)) for (const [it, message] of side.missing()) messages.set(it, message);
  for (const violation of check(request(false))) {
    const owners = all().filter((it) => belongsTo(it, violation));
    for (const it of owners) if (!messages.has(it)) messages.set(it, fieldMessage(it, violation));
    if (owners.length === 0 && !isOfMissing(violation, messages)) general.push(violation);
  }
  for (const it of all()) {
    if (!messages.has(it) && it.told) messages.set(it, it.told);
    it.showError((it.touched || it.told || shows(it)) && messages.has(it) ? messages.get(it) : "");
  }
  for (const [name, side] of Object.entries(sides)) {
    const mine = general.filter((it) => `${it.pointer}/`.startsWith(`/${name}/`));
    side.error.textContent = state.attempted ? mine.map(withTitles).join(" ") : "";
  }
  if (state.attempted) showSummary(messages, general);
  else byId("summary").hidden = true;
  refreshSnippets();
  showReady();
  return { messages, general };
}

// Of the parameters of a side whose fields say already what is missing.
const isOfMissing = ({ pointer, keyword }, messages) =>
  ["anyOf", "required"].includes(keyword) && [...messages.keys()].some((it) => it.pointer.startsWith(`${pointer}/`));

function showReady() {
  const [from, to] = [sides.source.summary, sides.destination.summary];
  byId("ready").textContent = from && to ? say("actions.from_to", { from, to }) : say("actions.incomplete");
}

function belongsTo(it, { pointer, missing }) {
  if (missing.some((name) => it.pointer === `${pointer}/${escaped(name)}`)) return true;
  // The entries of a list are lines of one field.
  return pointer === it.pointer || pointer.startsWith(`${it.pointer}/`);
}

function fieldMessage(it, { pointer, message, missing }) {
  if (missing.length) return say("sides.missing");
  const line = pointer.slice(it.pointer.length + 1).split("/")[0];
  return /^\d+$/.test(line) ? say("sides.line", { line: Number(line) + 1, message }) : message;
}

function showSummary(messages, general) {
  const items = [...messages].map(([it, message]) => {
    const side = it.pointer.split("/")[1];
    const link = create("a", { href: `#${it.input.id}` }, `${sectionTitle(`/${side}`)}, ${it.title}`);
    link.addEventListener("click", (event) => {
      event.preventDefault();
      reveal(it.input);
    });
    return create("li", {}, link, `: ${message}`);
  });
  items.push(...general.map((it) => create("li", {}, `${sectionTitle(it.pointer)}: ${withTitles(it)}`)));
  const summary = create("div", {}, create("strong", {}, icon("failed"), say("errors.fix", { n: items.length })), create("ul", {}, items));
  byId("summary").hidden = items.length === 0;
  // A click on a link takes the focus from a field first; the link must still be there then.
  if (byId("summary").textContent !== summary.textContent) byId("summary").replaceChildren(summary);
}

const sectionTitle = (pointer) => state.schema.properties[pointer.split("/")[1]]?.title ?? say("errors.request");

/** The message of a violation of several members, with the titles of their fields. */
function withTitles({ pointer, message }) {
  const titles = new Map(all().map((it) => [it.pointer, it.title]));
  return message.replace(/`([a-z0-9_]+)`/g, (quoted, name) => titles.get(`${pointer}/${name}`) ?? quoted);
}

/** The endpoint of a side for a look at it, or null if the form lacks something, which then has
 * the focus. A look needs no path. */
function endpoint(side) {
  const wanted = (it) => side.fields.includes(it) && it !== side.path;
  const { messages } = review((it) => state.attempted || wanted(it));
  const first = side.fields.find((it) => messages.has(it) && !it.told && wanted(it));
  if (!first) return { path: "", ...request(false)[side.name] };
  reveal(first.input);
  return null;
}

/** Show what a storage or the service says at the fields that it is about; returns the first. */
function blame(problem, side, { focus = true } = {}) {
  const found = [];
  for (const { pointer, message } of problem.errors ?? []) {
    const here = side ? pointer.replace(/^\/endpoint(?=\/|$)/, `/${side.name}`) : pointer;
    const it = all().find((one) => one.pointer === here) ?? (side ?? sides[here.split("/")[1]])?.blame("forbidden");
    if (it) found.push(Object.assign(it, { told: message }));
  }
  if (!found.length && side) {
    const it = side.blame(problem.code);
    const [title, advice] = part(`codes.${problem.code}`) ?? [problem.text, ""];
    if (it) found.push(Object.assign(it, { told: `${title}. ${advice}` }));
  }
  if (problem.code === "unauthenticated") {
    byId("access").hidden = false;
    byId("token").setAttribute("aria-invalid", "true");
    byId("token-state").className = "error";
    byId("token-state").textContent = say("access.bad");
    if (focus) byId("token").focus();
  }
  review();
  if (focus && found.length) reveal(found[0].input);
  return found[0];
}

async function submitted(event) {
  event.preventDefault();
  if (state.running || !state.ready) return;
  state.attempted = true;
  for (const it of all()) it.told = "";
  const { messages, general } = review();
  if (messages.size || general.length) {
    const [first] = all().filter((it) => messages.has(it));
    if (first) reveal(first.input);
    else byId("summary").focus();
    return;
  }
  state.attempted = false;
  await copy(request(false), byId("ready").textContent);
}

async function copy(document, title) {
  state.running = new AbortController();
  show(true);
  const view = new TransferView(title);
  const authorization = token();
  keepSecrets();
  let result = null;
  let problem = null;
  let lost = false;
  try {
    problem = await send(base, document, authorization, state.running.signal, (it) => {
      if (it.event === "result") result = it;
      else view.event(it);
    });
  } catch {
    lost = true;
  }
  const cancelled = state.running.signal.aborted;
  ended();
  result ??= problem?.result;
  if (result) finished(view, result, problem);
  else if (lost) view.end(say(cancelled ? "states.cancelled" : "states.lost"), "warn");
  else refused(view, problem);
}

// After the copy, no password is in the document.
function keepSecrets() {
  for (const it of all()) it.keep();
  if (byId("token").value) {
    state.token = byId("token").value;
    byId("token").value = "";
    byId("token").placeholder = say("sides.kept");
  }
}

function ended() {
  state.running = null;
  byId("cancel").hidden = true;
  byId("send").disabled = false;
  byId("send").hidden = false;
  byId("send").textContent = say("actions.again");
  byId("edit").hidden = false;
}

function finished(view, result, problem) {
  if (problem) view.problem(problem);
  else view.result(result);
  blameResult(result);
}

// A copy of which nothing arrived has a reason that a field of the form is about.
function blameResult({ state: outcome, totals, errors }) {
  if (outcome !== "failed" || totals.files.transferred || !errors.length) return;
  const [{ code, side }] = errors;
  const it = sides[side]?.blame(code);
  if (!it) return;
  edit();
  blame({ code, text: "" }, sides[side]);
}

// The service did not begin: the form shows why, where it can.
function refused(view, problem) {
  const first = blame(problem, null, { focus: false });
  view.problem(problem);
  if (!first && problem.code !== "unauthenticated") return;
  edit();
  if (problem.code === "unauthenticated") byId("token").focus();
  else reveal(first.input);
}

function edit() {
  show(false);
  byId("send").textContent = say("actions.start");
  byId("edit").hidden = true;
  sides.source.tiles.querySelector("input:checked").focus();
}

/** Show the copy alone, or the form with what came of the last one above it. */
function show(copying) {
  byId("form").hidden = copying;
  byId("send").disabled = byId("send").hidden = Boolean(state.running);
  byId("cancel").hidden = !state.running;
  byId("edit").hidden = true;
}

start();
