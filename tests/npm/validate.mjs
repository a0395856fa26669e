// Puts every example to Ajv, in strict mode. What it found goes out as JSON.
//     node validate.mjs SCHEMAS < {"name": document, …}
import { readFileSync } from "node:fs";
import { join } from "node:path";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const folder = process.argv[2];
const read = (name) => JSON.parse(readFileSync(join(folder, `${name}.schema.json`), "utf8"));

// A schema by itself, as a client has it who fetched just that one.
const compiled = {};
const names = [
  ...["request", "result", "event", "problem", "plan-request", "plan"],
  ...["list-request", "listing", "check-request", "check", "site"],
];
for (const name of names) {
  // `strict` is all of Ajv's rules. Of the site file's values some may be text or number.
  const ajv = new Ajv.default({ strict: true, allErrors: true, allowUnionTypes: name === "site" });
  addFormats.default(ajv);
  ajv.addKeyword("errorMessages");
  compiled[name] = ajv.compile(read(name));
}

const told = {};
for (const [id, { schema, document }] of Object.entries(JSON.parse(readFileSync(0, "utf8")))) {
  const validate = compiled[schema];
  const valid = validate(document);
  told[id] = {
    valid,
    errors: (validate.errors ?? []).map(({ instancePath, keyword }) => [instancePath, keyword]),
  };
}
process.stdout.write(JSON.stringify(told));
