// The page at GET /: a form made from the schema, checked as it is filled in, sent, and watched.
// Nothing of what is entered is stored anywhere.
import { SITE, field, first, made, marked, parameters, resolved } from "./form.js";
import { send } from "./transfer.js";
import { checker, escaped } from "./validation.js";
import { Watch } from "./watch.js";

const at = (id) => document.getElementById(id);
// Platforms put functions below a path of their own.
const base = new URL(location.pathname.replace(/\/?$/, "/"), location.origin);
const DOTS = "••••••";
let schema;
let check;
let running = null;
let insisted = false;
const ends = {};
const rest = [];
const changed = () => review();

async function begin() {
  for (const link of document.querySelectorAll("[data-link]")) {
    link.href = new URL(link.getAttribute("href"), base);
  }
  try {
    const ask = async (path) => (await fetch(new URL(path, base), { headers: { Accept: "application/json, application/schema+json" } })).json();
    const [about, request, health] = await Promise.all([ask(""), ask("schema/v1/request"), ask("healthz")]);
    schema = request;
    check = checker(schema);
    at("version").textContent = about.version;
    const good = health.status === "ok";
    const engines = Object.entries(health.engines).map(([name, it]) => `${name} ${it.version ?? ""}`.trim());
    at("health").textContent = good ? `Ready: ${engines.join(", ")}` : "Not usable now; see Health";
    at("health").className = `health ${good ? "good" : "bad"}`;
    at("access").hidden = health.authentication === "none";
  } catch {
    at("health").textContent = "The service does not answer. Load the page again.";
    at("health").className = "health bad";
    at("send").disabled = true;
    return;
  }
  for (const side of ["source", "destination"]) end(side);
  others();
  at("form").addEventListener("submit", submitted);
  at("cancel").addEventListener("click", () => running?.abort());
  addEventListener("beforeunload", (event) => running && event.preventDefault());
  review();
}

// One end of the transfer: which storage, what it takes, and the path in it.
function end(side) {
  const described = resolved(schema, schema.properties[side]);
  const types = described.then.properties?.type?.enum ?? described.properties.type.enum;
  const options = types.map((type) => made("option", { value: type }, parameters(schema, type).title));
  const choice = made("select", { id: `${side}-type` }, ...options, made("option", { value: SITE }, "A storage of this site's"));
  const about = made("p", { className: "help", id: `${side}-about` });
  choice.setAttribute("aria-describedby", about.id);
  const within = made("div", { className: "within" });
  const wrong = made("p", { className: "wrong", id: `${side}-wrong` });
  const card = made(
    "fieldset",
    { className: "card", id: side },
    made("legend", {}, described.title),
    made("div", { className: "field" }, made("label", { htmlFor: choice.id }, "Storage"), choice, about),
    within,
    wrong,
  );
  ends[side] = { choice, fields: [], wrong, card };
  const path = field(schema, described.properties.path, `/${side}/path`, { changed });
  const show = () => {
    const type = choice.value;
    const now = type === SITE ? ofTheSite(side, described) : ofType(side, type);
    const text = type === SITE ? "A storage that this site has set up, by its name." : parameters(schema, type).description;
    about.replaceChildren(...marked(text));
    ends[side].fields = [...now.first, ...now.more, path];
    const more = now.more.length ? [made("details", { className: "inner" }, made("summary", {}, "More parameters"), grid(now.more))] : [];
    within.replaceChildren(grid([...now.first, path]), ...more);
    review();
  };
  choice.addEventListener("change", show);
  at("ends").append(card);
  if (side === "destination") choice.value = "s3";
  show();
}

const grid = (fields) => made("div", { className: "grid" }, ...fields.map((it) => it.element));

function ofType(side, type) {
  const described = parameters(schema, type);
  const ahead = first(described);
  const make = (name) =>
    field(schema, described.properties[name], `/${side}/parameters/${escaped(name)}`, {
      needed: described.required?.includes(name) ?? false,
      changed,
    });
  const others = Object.keys(described.properties).filter((name) => !ahead.includes(name));
  return { first: ahead.map(make), more: others.map(make) };
}

function ofTheSite(side, described) {
  const { storage, parameters: added } = described.properties;
  const help = "A JSON object, if the site wants something of you for this storage, such as a password.";
  return {
    first: [field(schema, storage, `/${side}/storage`, { needed: true, changed })],
    more: [field(schema, { ...added, description: help, writeOnly: true }, `/${side}/parameters`, { changed })],
  };
}

// All that a request may have besides its ends.
function others() {
  for (const [name, member] of Object.entries(schema.properties)) {
    if (name in ends) continue;
    const part = resolved(schema, member);
    const group = part.type === "object" ? Object.entries(part.properties) : [["", part]];
    const fields = group.map(([inner, it]) => field(schema, it, inner ? `/${name}/${escaped(inner)}` : `/${name}`, { changed }));
    rest.push(...fields);
    const title = part.type === "object" ? part.title : null;
    at("rest").append(
      made("fieldset", { className: "group" }, title && made("legend", {}, title), grid(fields)),
    );
  }
}

/** The request as the form has it; `masked` for what is shown. */
function request(masked) {
  const document = { source: {}, destination: {} };
  for (const [side, { choice, fields }] of Object.entries(ends)) {
    if (choice.value !== SITE) Object.assign(document[side], { type: choice.value, parameters: {} });
    for (const it of fields) put(document, it, masked);
  }
  for (const it of rest) put(document, it, masked);
  return document;
}

function put(document, it, masked) {
  const value = it.read();
  if (value === undefined) return;
  const route = it.pointer.split("/").slice(1);
  const name = route.pop();
  const parent = route.reduce((below, token) => (below[token] ??= {}), document);
  parent[name] = masked && it.secret ? hidden(value) : value;
}

// Of what a person writes as JSON every value may be a secret.
function hidden(value) {
  if (typeof value !== "object" || value === null) return DOTS;
  return Object.fromEntries(Object.keys(value).map((name) => [name, DOTS]));
}

const all = () => [...Object.values(ends).flatMap((it) => it.fields), ...rest];

/** Show what would be sent, and what is wrong with it; every violation that has no field. */
function review() {
  at("json").textContent = JSON.stringify(request(true), null, 2);
  if (!check || rest.length === 0) return [];
  const violations = check(request(false));
  const told = new Map();
  const beside = [];
  for (const violation of violations) {
    const owners = all().filter((it) => concerns(it, violation));
    for (const it of owners) if (!told.has(it)) told.set(it, worded(it, violation));
    if (owners.length === 0) beside.push(violation);
  }
  for (const it of all()) it.tell((it.touched || insisted) && told.has(it) ? told.get(it) : "");
  for (const [side, { wrong }] of Object.entries(ends)) {
    const mine = beside.filter((it) => `${it.pointer}/`.startsWith(`/${side}/`));
    wrong.textContent = insisted ? mine.map(plainly).join(" ") : "";
  }
  if (insisted) sum(told, beside);
  return violations;
}

function concerns(it, { pointer, missing }) {
  if (missing.some((name) => it.pointer === `${pointer}/${escaped(name)}`)) return true;
  // Entries of a list are lines of one field.
  return pointer === it.pointer || pointer.startsWith(`${it.pointer}/`);
}

function worded(it, { pointer, message, missing }) {
  if (missing.length) return "This is needed.";
  const line = pointer.slice(it.pointer.length + 1).split("/")[0];
  return /^\d+$/.test(line) ? `Line ${Number(line) + 1}: ${message}` : message;
}

function sum(told, beside) {
  const items = [...told].map(([it, message]) => {
    const side = it.pointer.split("/")[1];
    const link = made("a", { href: `#${it.input.id}` }, `${schema.properties[side].title}, ${it.title}`);
    link.addEventListener("click", (event) => {
      event.preventDefault();
      reveal(it.input);
    });
    return made("li", {}, link, `: ${message}`);
  });
  items.push(...beside.map((it) => made("li", {}, `${sectioned(it.pointer)}: ${plainly(it)}`)));
  at("summary").hidden = items.length === 0;
  at("summary").replaceChildren(made("strong", {}, `${items.length} to put right`), made("ul", {}, ...items));
}

const sectioned = (pointer) => schema.properties[pointer.split("/")[1]]?.title ?? "The request";

/** A violation that is no single field's: its members have, for a person, the fields' names. */
function plainly({ pointer, keyword, message }) {
  if (keyword !== "anyOf") return message;
  const titles = new Map(all().map((it) => [it.pointer, it.title]));
  return message.replace(/[a-z_]+/g, (name) => titles.get(`${pointer}/${name}`) ?? name);
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
  insisted = true;
  if (review().length) {
    const wrong = all().find((it) => it.input.getAttribute("aria-invalid") === "true");
    if (wrong) reveal(wrong.input);
    else at("summary").focus();
    return;
  }
  running = new AbortController();
  at("send").disabled = true;
  at("cancel").hidden = false;
  const watch = new Watch();
  try {
    const problem = await send(base, request(false), at("token").value, running.signal, (it) => watch.event(it));
    if (problem) {
      watch.problem(problem);
      refused(problem);
    }
  } catch {
    watch.broken(running.signal.aborted ? "It was cancelled; what was copied stays." : "The connection broke, which ended it. Start it again to go on where it stopped.");
  }
  running = null;
  at("send").disabled = false;
  at("cancel").hidden = true;
}

// What only the service can tell stands beside the fields too, until something changes.
function refused({ errors, code }) {
  if (code === "unauthenticated") at("access").hidden = false;
  for (const { pointer, message } of errors ?? []) {
    all().find((it) => it.pointer === pointer)?.tell(message);
  }
}

begin();
