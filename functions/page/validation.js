// What is wrong with a request, in the words that the service itself has for it.
//
// The library interprets the schema: what compiles one needs `eval`, which the page's policy
// forbids, or would be sixteen times as long.
import { Validator } from "@cfworker/json-schema";
import wording from "../efss_transfer/contract/wording.json";

// Keywords that say something of a value; all others only lead to these.
const TELLING = new Set([
  "required", "type", "enum", "const", "dependentRequired", "anyOf", "minLength", "maxLength",
  "minItems", "maxItems", "minimum", "maximum", "not", "pattern", "format", "unevaluatedProperties",
]);

const UNKNOWN = "There is no such member here.";

/** A function from a document to its violations: `{pointer, keyword, message, missing}`. */
export function checker(schema) {
  const validator = new Validator(schema, "2020-12", false);
  return (request) => {
    const found = new Map();
    const add = (violation) => {
      const key = `${violation.pointer} ${violation.keyword}`;
      if (!found.has(key)) found.set(key, violation);
    };
    for (const error of validator.validate(request).errors) told(schema, error, request).forEach(add);
    for (const violation of beyond(request)) add(violation);
    // A text that is no time at all need not be told that there is no such time.
    return [...found.values()].filter(
      ({ pointer, keyword }) => keyword !== "format" || !found.has(`${pointer} pattern`),
    );
  };
}

function told(schema, { keyword, keywordLocation, instanceLocation }, request) {
  const route = keywordLocation.replace(/^#\/?/, "").split("/").map(plain);
  // Within a condition or a choice, what does not fit is no fault by itself.
  const inner = route.slice(0, -1);
  if (!TELLING.has(keyword) || inner.some((part, at) => part === "if" && applies(inner, at))) {
    return [];
  }
  if (inner.some((part, at) => (part === "anyOf" || part === "not") && applies(inner, at))) {
    return [];
  }
  const part = walked(schema, inner);
  const pointer = instanceLocation.replace(/^#/, "");
  const value = valued(request, pointer);
  if (keyword === "unevaluatedProperties") {
    // The library also names members that are known and wrong, which is told already.
    return Object.keys(value ?? {})
      .filter((name) => !(name in part.properties))
      .map((name) => ({ pointer: `${pointer}/${escaped(name)}`, keyword, missing: [], message: UNKNOWN }));
  }
  const missing = lacking(keyword, part, value);
  return [{ pointer, keyword, missing, message: worded(keyword, part, missing) }];
}

// A member of a request may be named like a keyword.
const applies = (route, at) => at === 0 || !["properties", "$defs"].includes(route[at - 1]);

function lacking(keyword, part, value) {
  if (keyword === "required") return part.required.filter((name) => !(name in value));
  if (keyword !== "dependentRequired") return [];
  const needed = Object.entries(part.dependentRequired)
    .filter(([name]) => name in value)
    .flatMap(([, names]) => names.filter((name) => !(name in value)));
  return [...new Set(needed)];
}

function worded(keyword, part, missing) {
  const wanted = part[keyword];
  switch (keyword) {
    case "required":
    case "dependentRequired":
      return `Missing: ${missing.join(", ")}.`;
    case "type":
      return `Must be ${[wanted].flat().map((kind) => wording.types[kind]).join(" or ")}.`;
    case "enum":
      return `Must be one of: ${wanted.join(", ")}.`;
    case "const":
      return `Must be ${JSON.stringify(wanted)}.`;
    case "anyOf":
      return `Needs one of: ${wanted.map((way) => way.required.join(" and ")).join(", ")}.`;
    case "minLength":
    case "minItems":
      if (wanted === 1) return "Must not be empty.";
    // falls through
    case "maxLength":
    case "maxItems":
      return `Must have at ${bound(keyword)} ${counted(wanted, keyword.slice(3))}.`;
    case "minimum":
    case "maximum":
      return `Must be at ${bound(keyword)} ${wanted}.`;
    case "not":
      return part.description ?? "Not so.";
    case "format":
      return "There is no such time.";
    default:
      return wording.patterns[wanted] ?? `Expected here: ${part.description ?? "another form."}`;
  }
}

/** What no schema can tell, of what a form can hold. */
function* beyond(request) {
  const selection = request.selection ?? {};
  for (const [low, high] of [["min_size", "max_size"], ["modified_after", "modified_before"]]) {
    const [least, most] = [low, high].map((name) =>
      typeof selection[name] === "string" ? Date.parse(selection[name]) : selection[name],
    );
    if (least > most) {
      const message = `Must not be below ${low}.`;
      yield { pointer: `/selection/${high}`, keyword: "order", missing: [], message };
    }
  }
}

const bound = (keyword) => (keyword.startsWith("min") ? "least" : "most");

function counted(count, of) {
  const [one, many] = of === "Length" ? ["character", "characters"] : ["entry", "entries"];
  return `${count} ${count === 1 ? one : many}`;
}

function walked(schema, route) {
  let part = schema;
  for (const token of route) {
    part = token === "$ref" ? walked(schema, pointed(part.$ref)) : part[token];
  }
  // What a reference stands beside is said of the same value.
  return part;
}

export const pointed = (reference) => reference.replace(/^#\/?/, "").split("/").filter(Boolean).map(plain);

export const escaped = (name) => name.replace(/~/g, "~0").replace(/\//g, "~1");

const plain = (token) => decodeURIComponent(token).replace(/~1/g, "/").replace(/~0/g, "~");

function valued(document, pointer) {
  let value = document;
  for (const token of pointer.split("/").slice(1).map(plain)) value = value?.[token];
  return value;
}
