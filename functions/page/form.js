// Builds form fields from the JSON Schema; the page knows nothing else about them.
import { create, formatted } from "./dom.js";
import { say } from "./texts.js";
import { pointed } from "./validation.js";

/** A subschema with its `$ref` resolved. */
export function resolved(schema, part) {
  if (!part.$ref) return part;
  const target = pointed(part.$ref).reduce((below, token) => below[token], schema);
  return { ...resolved(schema, target), ...part };
}

/** The schema of the parameters of a storage type. */
export const parameters = (schema, type) => schema.$defs[`${type.replaceAll(" ", "_")}_parameters`];

let count = 0;

/** One form field: `element`, `read()` (undefined if empty), and `showError(message)`.
 *
 * `texts` are a title, a help and an example in place of the schema's. */
export function field(schema, described, pointer, { required = false, changed, texts } = {}) {
  const part = resolved(schema, described);
  const [title, about, example] = texts ?? [part.title, part.description ?? ""];
  const id = `f${++count}`;
  const secret = part.writeOnly === true;
  const common = { id, "aria-describedby": `${id}-help ${id}-error` };
  const input = control(part, secret, common, example);
  if (required) input.setAttribute("aria-required", "true");
  const error = create("p", { id: `${id}-error`, className: "error" });
  const label = create("label", { htmlFor: id }, title);
  if (required) label.append(" ", create("span", { className: "required" }, `(${say("sides.required")})`));
  const help = helpText(about, `${id}-help`);
  const wide = input.tagName === "TEXTAREA" || about.length > 160;
  const row = create("div", { className: "row" }, input);
  const element = create("div", { className: wide ? "field wide" : "field" }, label, row, error, help);
  const it = {
    pointer, secret, input, element, title, help, row, required,
    touched: false,
    kept: undefined,
    read: () => (input.value === "" && it.kept !== undefined ? it.kept : read(part, input.value)),
    /** Take a secret out of the document, into this object. */
    keep() {
      if (!secret || input.value === "") return;
      it.kept = it.read();
      input.value = "";
      it.placeholder ??= input.placeholder;
      input.placeholder = say("sides.kept");
    },
    showError(message) {
      error.textContent = message;
      input.setAttribute("aria-invalid", String(message !== ""));
    },
  };
  // No error appears while the user first types; after leaving the field, errors update at
  // every keystroke.
  input.addEventListener("input", () => {
    if (it.kept !== undefined) input.placeholder = it.placeholder;
    it.kept = undefined;
    changed?.(it);
  });
  input.addEventListener("change", () => {
    it.touched = true;
    changed?.(it);
  });
  input.addEventListener("blur", () => {
    it.touched ||= input.value !== "";
    changed?.(it);
  });
  return it;
}

/** A description; a long one shows its first sentence, and the rest on demand. */
function helpText(text, id) {
  const end = text.length > 160 ? text.indexOf(". ") + 1 : 0;
  if (end === 0) return create("p", { id, className: "help" }, ...formatted(text));
  const begin = create("summary", {}, ...formatted(text.slice(0, end)));
  return create("details", { id, className: "help" }, begin, create("p", {}, ...formatted(text.slice(end + 1))));
}

function control(part, secret, attributes, shown) {
  const common = { ...attributes, autocomplete: "off", spellcheck: false };
  const choices = part.enum ?? (part.type === "boolean" ? (part.const ? ["true"] : ["true", "false"]) : null);
  if (choices) {
    const words = { true: say("sides.yes"), false: say("sides.no") };
    const unset = "default" in part ? say("sides.default", { value: words[part.default] ?? part.default }) : say("sides.unset");
    const options = choices.map((value) => create("option", { value }, words[value] ?? value));
    return create("select", attributes, create("option", { value: "" }, unset), ...options);
  }
  const example = part.examples?.[0];
  if (part.type === "array") {
    const lines = (example ?? []).map((it) => it.path ?? it).join("\n");
    return create("textarea", { ...common, placeholder: lines && `${say("sides.lines")}\n${lines}` });
  }
  if (part.type === "object") {
    return create("textarea", { ...common, className: "secret", placeholder: "{ }" });
  }
  if (secret && part.examples?.some((it) => it.includes("\n"))) {
    return create("textarea", { ...common, className: "secret" });
  }
  if (secret) return create("input", { ...common, type: "password", autocomplete: "new-password" });
  const number = part.type === "integer" || part.type === "number";
  return create("input", {
    ...common,
    type: "text",
    inputMode: number ? "decimal" : "text",
    autocapitalize: "off",
    placeholder: shown ?? (example === undefined ? "" : say("sides.example", { value: String(example) })),
  });
}

/** The input as a JSON value. Malformed input stays a string, so that validation against the
 * schema reports it. */
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

/** The parameters of a type to show first: required ones, credentials, and those in its example. */
export function mainParameters(described) {
  const alternatives = (described.anyOf ?? []).flatMap((one) => one.required);
  const credentials = alternatives.length <= 6 ? alternatives : [];
  const names = new Set([...(described.required ?? []), ...Object.keys(described.examples[0]), ...credentials]);
  return Object.keys(described.properties).filter((name) => names.has(name));
}

/** Show a control, whatever is folded around it, and focus it. */
export function reveal(input) {
  for (let outer = input.parentElement; outer; outer = outer.parentElement) {
    if (outer.tagName === "DETAILS") outer.open = true;
  }
  input.focus();
}
