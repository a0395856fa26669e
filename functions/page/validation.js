// Validates a request against the schema, with the same messages as the service.
//
// The library interprets the schema. A library that compiles it would need `eval`, which the
// page's security policy forbids, or a precompiled validator sixteen times as long.
import { Validator } from "@cfworker/json-schema";
import { didYouMean } from "./suggestions.js";
import wording from "../efss_transfer/contract/wording.json";

// Keywords that constrain a value; all others only apply subschemas.
const ASSERTIONS = new Set([
  "required", "type", "enum", "const", "dependentRequired", "anyOf", "minLength", "maxLength",
  "minItems", "maxItems", "minimum", "maximum", "not", "pattern", "format", "unevaluatedProperties",
]);

/** A function from a document to its violations: `{pointer, keyword, message, missing}`. */
export function checker(schema) {
  const validator = new Validator(schema, "2020-12", false);
  return (request) => {
    const found = new Map();
    const add = (violation) => {
      const key = `${violation.pointer} ${violation.keyword}`;
      if (!found.has(key)) found.set(key, violation);
    };
    for (const error of validator.validate(request).errors) violations(schema, error, request).forEach(add);
    for (const violation of orderViolations(request)) add(violation);
    // A string that is not a date-time at all needs no second message about an impossible one.
    return [...found.values()].filter(
      ({ pointer, keyword }) => keyword !== "format" || !found.has(`${pointer} pattern`),
    );
  };
}

function violations(schema, { keyword, keywordLocation, instanceLocation }, request) {
  const route = keywordLocation.replace(/^#\/?/, "").split("/").map(unescaped);
  // Inside a condition or an alternative a mismatch is no violation by itself.
  const inner = route.slice(0, -1);
  if (!ASSERTIONS.has(keyword) || inner.some((part, at) => part === "if" && applies(inner, at))) {
    return [];
  }
  if (inner.some((part, at) => (part === "anyOf" || part === "not") && applies(inner, at))) {
    return [];
  }
  const part = schemaAt(schema, inner);
  const pointer = instanceLocation.replace(/^#/, "");
  const value = valueAt(request, pointer);
  if (keyword === "unevaluatedProperties") {
    // The library also lists known members with violations of their own, which are reported already.
    return Object.keys(value ?? {})
      .filter((name) => !(name in part.properties))
      .map((name) => ({ pointer: `${pointer}/${escaped(name)}`, keyword, missing: [], message: unknown(name, part) }));
  }
  const missing = lacking(keyword, part, value);
  return [{ pointer, keyword, missing, message: messageFor(keyword, part, missing, value) }];
}

const unknown = (name, part) =>
  `Unknown member.${didYouMean(name, Object.keys(part.properties), wording.synonyms)}`;

// A member of a request may have the name of a keyword.
const applies = (route, at) => at === 0 || !["properties", "$defs"].includes(route[at - 1]);

function lacking(keyword, part, value) {
  if (keyword === "required") return part.required.filter((name) => !(name in value));
  if (keyword !== "dependentRequired") return [];
  const needed = Object.entries(part.dependentRequired)
    .filter(([name]) => name in value)
    .flatMap(([, names]) => names.filter((name) => !(name in value)));
  return [...new Set(needed)];
}

function messageFor(keyword, part, missing, value) {
  const own = part.errorMessages?.find((it) => it.keyword === keyword);
  if (own) return own.message;
  const wanted = part[keyword];
  switch (keyword) {
    case "required":
      return `Missing: ${missing.join(", ")}.`;
    case "type":
      return `Must be ${[wanted].flat().map((kind) => wording.types[kind]).join(" or ")}.`;
    case "enum":
      return `Must be one of: ${wanted.join(", ")}.${meant(value, wanted)}`;
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
    default:
      return `Must satisfy the schema's \`${keyword}\`.`;
  }
}

const meant = (value, wanted) =>
  typeof value === "string" ? didYouMean(value, wanted.map(String), wording.synonyms) : "";

/** Violations that a schema cannot express. */
function* orderViolations(request) {
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

function schemaAt(schema, route) {
  let part = schema;
  for (const token of route) {
    part = token === "$ref" ? schemaAt(schema, pointed(part.$ref)) : part[token];
  }
  // Keywords next to a `$ref` apply to the same value.
  return part;
}

export const pointed = (reference) => reference.replace(/^#\/?/, "").split("/").filter(Boolean).map(unescaped);

export const escaped = (name) => name.replace(/~/g, "~0").replace(/\//g, "~1");

const unescaped = (token) => decodeURIComponent(token).replace(/~1/g, "/").replace(/~0/g, "~");

function valueAt(document, pointer) {
  let value = document;
  for (const token of pointer.split("/").slice(1).map(unescaped)) value = value?.[token];
  return value;
}
