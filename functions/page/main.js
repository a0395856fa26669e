// The page at GET /: builds a form from the schema, validates it while the user types, sends the
// request, and shows the transfer. It stores nothing.
import { SITE, create, field, formatted, mainParameters, parameters, resolved } from "./form.js";
import { counted, send } from "./transfer.js";
import { checker, escaped } from "./validation.js";
import { CANCELLED, TransferView } from "./view.js";

const byId = (id) => document.getElementById(id);
// A platform may serve the function below a path prefix.
const base = new URL(location.pathname.replace(/\/?$/, "/"), location.origin);
const DOTS = "••••••";
let schema;
let check;
let running = null;
let submitAttempted = false;
const endpoints = {};
const optionFields = [];
const changed = () => review();

async function start() {
  for (const link of document.querySelectorAll("[data-link]")) {
    link.href = new URL(link.getAttribute("href"), base);
  }
  try {
    const getJson = async (path) => (await fetch(new URL(path, base), { headers: { Accept: "application/json, application/schema+json" } })).json();
    const [about, request, health] = await Promise.all([getJson(""), getJson("schema/v1/request"), getJson("healthz")]);
    schema = request;
    check = checker(schema);
    byId("version").textContent = about.version;
    const good = health.status === "ok";
    const engines = Object.entries(health.engines).map(([name, it]) => `${name} ${it.version ?? ""}`.trim());
    byId("health").textContent = good ? `Ready: ${engines.join(", ")}` : "Not ready; see Health";
    byId("health").className = `health ${good ? "good" : "bad"}`;
    byId("access").hidden = health.authentication === "none";
  } catch {
    byId("health").textContent = "The service does not respond. Reload the page.";
    byId("health").className = "health bad";
    byId("send").disabled = true;
    return;
  }
  for (const side of ["source", "destination"]) buildEndpoint(side);
  buildOptions();
  byId("form").addEventListener("submit", submitted);
  byId("cancel").addEventListener("click", () => running?.abort());
  addEventListener("beforeunload", (event) => running && event.preventDefault());
  review();
}

// One side of the transfer: storage type, parameters and path.
function buildEndpoint(side) {
  const described = resolved(schema, schema.properties[side]);
  const types = described.then.properties?.type?.enum ?? described.properties.type.enum;
  const options = types.map((type) => create("option", { value: type }, parameters(schema, type).title));
  const choice = create("select", { id: `${side}-type` }, ...options, create("option", { value: SITE }, "A storage of this site"));
  const about = create("p", { className: "help", id: `${side}-about` });
  choice.setAttribute("aria-describedby", about.id);
  const within = create("div", { className: "within" });
  const error = create("p", { className: "error", id: `${side}-error` });
  const card = create(
    "fieldset",
    { className: "card", id: side },
    create("legend", {}, described.title),
    create("div", { className: "field" }, create("label", { htmlFor: choice.id }, "Storage"), choice, about),
    within,
    error,
  );
  endpoints[side] = { choice, fields: [], error, card };
  const path = field(schema, described.properties.path, `/${side}/path`, { required: true, changed });
  const show = () => {
    const type = choice.value;
    const fields = type === SITE ? siteFields(side, described) : typeFields(side, type);
    const text = type === SITE ? "A storage that this site has configured. Enter its name." : parameters(schema, type).description;
    about.replaceChildren(...formatted(text));
    endpoints[side].fields = [...fields.main, ...fields.more, path];
    const more = fields.more.length ? [create("details", { className: "inner" }, create("summary", {}, "More parameters"), grid(fields.more))] : [];
    within.replaceChildren(grid([...fields.main, path]), ...more);
    review();
  };
  choice.addEventListener("change", show);
  byId("endpoints").append(card);
  if (side === "destination") choice.value = "s3";
  show();
}

const grid = (fields) => create("div", { className: "grid" }, ...fields.map((it) => it.element));

function typeFields(side, type) {
  const described = parameters(schema, type);
  const shown = mainParameters(described);
  const make = (name) =>
    field(schema, described.properties[name], `/${side}/parameters/${escaped(name)}`, {
      required: described.required?.includes(name) ?? false,
      changed,
    });
  const hidden = Object.keys(described.properties).filter((name) => !shown.includes(name));
  return { main: shown.map(make), more: hidden.map(make) };
}

function siteFields(side, described) {
  const { storage, parameters: added } = described.properties;
  const help = "A JSON object with the parameters that the site leaves to you, such as a password. Leave empty if there are none.";
  return {
    main: [field(schema, storage, `/${side}/storage`, { required: true, changed })],
    more: [field(schema, { ...added, description: help, writeOnly: true }, `/${side}/parameters`, { changed })],
  };
}

// The members of a request besides source and destination.
function buildOptions() {
  for (const [name, member] of Object.entries(schema.properties)) {
    if (name in endpoints) continue;
    const part = resolved(schema, member);
    const group = part.type === "object" ? Object.entries(part.properties) : [["", part]];
    const fields = group.map(([inner, it]) => field(schema, it, inner ? `/${name}/${escaped(inner)}` : `/${name}`, { changed }));
    optionFields.push(...fields);
    const title = part.type === "object" ? part.title : null;
    byId("options").append(
      create("fieldset", { className: "group" }, title && create("legend", {}, title), grid(fields)),
    );
  }
}

/** The request in the form; `masked` hides secrets for display. */
function request(masked) {
  const document = { source: {}, destination: {} };
  for (const [side, { choice, fields }] of Object.entries(endpoints)) {
    if (choice.value !== SITE) Object.assign(document[side], { type: choice.value, parameters: {} });
    for (const it of fields) setMember(document, it, masked);
  }
  for (const it of optionFields) setMember(document, it, masked);
  return document;
}

function setMember(document, it, masked) {
  const value = it.read();
  if (value === undefined) return;
  const route = it.pointer.split("/").slice(1);
  const name = route.pop();
  const parent = route.reduce((below, token) => (below[token] ??= {}), document);
  parent[name] = masked && it.secret ? maskedValue(value) : value;
}

// In JSON that the user writes, any value may be a secret.
function maskedValue(value) {
  if (typeof value !== "object" || value === null) return DOTS;
  return Object.fromEntries(Object.keys(value).map((name) => [name, DOTS]));
}

const all = () => [...Object.values(endpoints).flatMap((it) => it.fields), ...optionFields];

/** Update the preview and the error messages; returns all violations. */
function review() {
  byId("json").textContent = JSON.stringify(request(true), null, 2);
  if (!check || optionFields.length === 0) return [];
  const violations = check(request(false));
  const messages = new Map();
  const general = []; // violations that belong to no single field
  for (const violation of violations) {
    const owners = all().filter((it) => belongsTo(it, violation));
    for (const it of owners) if (!messages.has(it)) messages.set(it, fieldMessage(it, violation));
    if (owners.length === 0) general.push(violation);
  }
  for (const it of all()) it.showError((it.touched || submitAttempted) && messages.has(it) ? messages.get(it) : "");
  for (const [side, { error }] of Object.entries(endpoints)) {
    const mine = general.filter((it) => `${it.pointer}/`.startsWith(`/${side}/`));
    error.textContent = submitAttempted ? mine.map(withTitles).join(" ") : "";
  }
  if (submitAttempted) showSummary(messages, general);
  return violations;
}

function belongsTo(it, { pointer, missing }) {
  if (missing.some((name) => it.pointer === `${pointer}/${escaped(name)}`)) return true;
  // The entries of a list are lines of one field.
  return pointer === it.pointer || pointer.startsWith(`${it.pointer}/`);
}

function fieldMessage(it, { pointer, message, missing }) {
  if (missing.length) return "This field is required.";
  const line = pointer.slice(it.pointer.length + 1).split("/")[0];
  return /^\d+$/.test(line) ? `Line ${Number(line) + 1}: ${message}` : message;
}

function showSummary(messages, general) {
  const items = [...messages].map(([it, message]) => {
    const side = it.pointer.split("/")[1];
    const link = create("a", { href: `#${it.input.id}` }, `${schema.properties[side].title}, ${it.title}`);
    link.addEventListener("click", (event) => {
      event.preventDefault();
      reveal(it.input);
    });
    return create("li", {}, link, `: ${message}`);
  });
  items.push(...general.map((it) => create("li", {}, `${sectionTitle(it.pointer)}: ${withTitles(it)}`)));
  byId("summary").hidden = items.length === 0;
  byId("summary").replaceChildren(create("strong", {}, `Fix ${counted(items.length, "field")}.`), create("ul", {}, ...items));
}

const sectionTitle = (pointer) => schema.properties[pointer.split("/")[1]]?.title ?? "The request";

/** The message of a violation of several members, with the titles of their fields. */
function withTitles({ pointer, message }) {
  const titles = new Map(all().map((it) => [it.pointer, it.title]));
  return message.replace(/`([a-z0-9_]+)`/g, (quoted, name) => titles.get(`${pointer}/${name}`) ?? quoted);
}

function reveal(input) {
  for (let outer = input.parentElement; outer; outer = outer.parentElement) {
    if (outer.tagName === "DETAILS") outer.open = true;
  }
  input.focus();
}

async function submitted(event) {
  event.preventDefault();
  if (running) return;
  submitAttempted = true;
  if (review().length) {
    const invalid = all().find((it) => it.input.getAttribute("aria-invalid") === "true");
    if (invalid) reveal(invalid.input);
    else byId("summary").focus();
    return;
  }
  running = new AbortController();
  byId("send").disabled = true;
  byId("cancel").hidden = false;
  const view = new TransferView();
  try {
    const problem = await send(base, request(false), byId("token").value, running.signal, (it) => view.event(it));
    if (problem) {
      view.problem(problem);
      showViolations(problem);
    }
  } catch {
    view.interrupted(running.signal.aborted ? CANCELLED : "The connection was lost, which cancels the transfer. Start it again to copy the rest.");
  }
  running = null;
  byId("send").disabled = false;
  byId("cancel").hidden = true;
}

// Show violations that only the service detects at their fields, until the next input.
function showViolations({ errors, code }) {
  if (code === "unauthenticated") byId("access").hidden = false;
  for (const { pointer, message } of errors ?? []) {
    all().find((it) => it.pointer === pointer)?.showError(message);
  }
}

start();
