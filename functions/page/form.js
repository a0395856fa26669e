// A form made from the schema: what it has of a field is all that this page knows of it.
import { pointed } from "./validation.js";

/** An element: its tag, properties and attributes, and what stands in it. */
export function made(tag, given = {}, ...within) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name in element && !name.startsWith("aria")) element[name] = value;
    else if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...within.filter((it) => it !== null && it !== undefined));
  return element;
}

/** A subschema with what it refers to. */
export function resolved(schema, part) {
  if (!part.$ref) return part;
  const target = pointed(part.$ref).reduce((below, token) => below[token], schema);
  return { ...resolved(schema, target), ...part };
}

export const SITE = "(of this site)";

/** What a type of storage takes. */
export const parameters = (schema, type) => schema.$defs[`${type.replaceAll(" ", "_")}_parameters`];

let count = 0;

/** One field: `element`, `read()` (undefined if it is left out), and `tell(message)`. */
export function field(schema, described, pointer, { needed = false, changed }) {
  const part = resolved(schema, described);
  const id = `f${++count}`;
  const secret = part.writeOnly === true;
  const input = control(part, secret, { id, "aria-describedby": `${id}-help ${id}-wrong` });
  if (needed) input.setAttribute("aria-required", "true");
  const wrong = made("p", { id: `${id}-wrong`, className: "wrong" });
  const label = made("label", { htmlFor: id }, part.title);
  if (needed) label.append(" ", made("span", { className: "need" }, "(needed)"));
  const help = helped(part.description ?? "", `${id}-help`);
  const wide = input.tagName === "TEXTAREA" || (part.description ?? "").length > 160;
  const element = made("div", { className: wide ? "field wide" : "field" }, label, input, wrong, help);
  const it = {
    pointer,
    secret,
    input,
    element,
    touched: false,
    title: part.title,
    read: () => read(part, input.value),
    tell(message) {
      wrong.textContent = message;
      input.setAttribute("aria-invalid", String(message !== ""));
    },
  };
  // While somebody types what cannot be right yet, nothing is told: only when the field is left,
  // and from then on with every letter.
  input.addEventListener("input", () => changed(it));
  input.addEventListener("change", () => {
    it.touched = true;
    changed(it);
  });
  input.addEventListener("blur", () => {
    it.touched ||= input.value !== "";
    changed(it);
  });
  return it;
}

/** A description: of a long one its first sentence, and the rest for who wants it. */
function helped(text, id) {
  const end = text.length > 160 ? text.indexOf(". ") + 1 : 0;
  if (end === 0) return made("p", { id, className: "help" }, ...marked(text));
  const begin = made("summary", {}, ...marked(text.slice(0, end)));
  return made("details", { id, className: "help" }, begin, made("p", {}, ...marked(text.slice(end + 1))));
}

/** What stands between backticks is what can be entered as it is. */
export function marked(text) {
  return text.split("`").map((part, at) => (at % 2 ? made("code", {}, part) : part));
}

function control(part, secret, given) {
  const common = { ...given, autocomplete: "off", spellcheck: false };
  const choices = part.enum ?? (part.type === "boolean" ? (part.const ? ["true"] : ["true", "false"]) : null);
  if (choices) {
    const words = { true: "yes", false: "no" };
    const out = "default" in part ? `as usual (${words[part.default] ?? part.default})` : "not set";
    const options = choices.map((value) => made("option", { value }, words[value] ?? value));
    return made("select", given, made("option", { value: "" }, out), ...options);
  }
  const example = part.examples?.[0];
  if (part.type === "array") {
    const lines = (example ?? []).map((it) => it.path ?? it).join("\n");
    return made("textarea", { ...common, placeholder: lines && `one a line, such as\n${lines}` });
  }
  if (part.type === "object") {
    return made("textarea", { ...common, className: "secret", placeholder: "{ }" });
  }
  if (secret && part.examples?.some((it) => it.includes("\n"))) {
    return made("textarea", { ...common, className: "secret" });
  }
  if (secret) return made("input", { ...common, type: "password", autocomplete: "new-password" });
  const number = part.type === "integer" || part.type === "number";
  return made("input", {
    ...common,
    type: "text",
    inputMode: number ? "decimal" : "text",
    autocapitalize: "off",
    placeholder: example === undefined ? "" : `such as ${example}`,
  });
}

/** What was entered, as JSON has it. What cannot be read goes as the text that it is: then the
 * schema says what it must be. */
function read(part, text) {
  if (text === "") return undefined;
  if (part.type === "boolean") return text === "true";
  if (part.type === "integer" || part.type === "number") {
    const number = Number(text);
    return text.trim() !== "" && Number.isFinite(number) ? number : text;
  }
  if (part.type === "array") {
    const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
    return part.items.$ref.endsWith("/listed_file") ? lines.map((path) => ({ path })) : lines;
  }
  if (part.type === "object") {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }
  return text;
}

/** Which parameters of a type stand first: those it needs, or may log in with, and those that
 * its example shows. */
export function first(described) {
  const ways = (described.anyOf ?? []).flatMap((way) => way.required);
  const login = ways.length <= 6 ? ways : [];
  const names = new Set([...(described.required ?? []), ...Object.keys(described.examples[0]), ...login]);
  return Object.keys(described.properties).filter((name) => names.has(name));
}
