// What came of a copy: a sentence, totals, warnings, and failures by what to do about them.
import { byId, create, icon } from "./dom.js";
import { duration, part, say, size } from "./texts.js";

const MAX_ROWS = 100;
const MAX_FILES = 200_000;
const KINDS = { succeeded: "good", partial: "bad-end", incomplete: "warn", failed: "bad-end", cancelled: "warn" };
const COLUMNS = ["path", "state", "reason", "bytes", "code", "side", "retryable", "message"];

export class Outcome {
  constructor() {
    this.files = new Map();
  }

  /** Take the outcome of a file; a later one of the same path replaces it. */
  file(file) {
    if (this.files.size < MAX_FILES || file.state === "failed" || this.files.has(file.path)) this.files.set(file.path, file);
  }

  /** Show the result; returns its sentence and kind. */
  show(result) {
    const failures = groups(result, this.files);
    byId("outcome").replaceChildren(
      totals(result),
      ...(failures.length ? [create("h3", {}, say("result.failures")), ...failures] : []),
      ...warnings(result),
      this.buttons(),
      create("details", { className: "inner" }, create("summary", {}, say("result.json")), create("pre", { tabIndex: 0 }, JSON.stringify(result, null, 2))),
    );
    return [say(`states.${sentence(result)}`), KINDS[result.state] ?? ""];
  }

  buttons() {
    const button = create("button", { type: "button", id: "csv", disabled: this.files.size === 0 }, say("result.csv"));
    button.addEventListener("click", () => {
      const url = URL.createObjectURL(new Blob([csv(this.files.values())], { type: "text/csv" }));
      create("a", { href: url, download: say("result.csv_name") }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    });
    return create("p", { className: "line" }, button);
  }
}

function sentence({ state, code, totals: { files, skipped } }) {
  if (code === "still_running") return code;
  if (state !== "succeeded" || files.transferred) return state;
  return skipped?.dry_run ? "dry_run" : files.skipped ? "nothing" : state;
}

function totals({ totals: { files, bytes, skipped }, started, finished, attempts, verification }) {
  const seconds = (Date.parse(finished) - Date.parse(started)) / 1000;
  const time = duration(seconds);
  const would = skipped?.dry_run ?? 0;
  const rows = [
    ["copied", files.transferred.toLocaleString()],
    ...(would ? [["would", would.toLocaleString()]] : []),
    ["already", (files.skipped - would).toLocaleString()],
    ["failed", files.failed.toLocaleString(), files.failed ? "bad-end" : ""],
    ["size", size(bytes.transferred || bytes.dry_run || 0)],
    ["duration", attempts > 1 ? say("result.attempts", { time, n: attempts }) : time],
  ];
  if (seconds >= 1 && bytes.transferred) rows.push(["speed", say("run.speed", { speed: size(bytes.transferred / seconds) })]);
  if (verification) {
    const { mode, checked, differing, missing } = verification;
    rows.push(["verified", say("result.verified_text", { files: say("units.file", { n: checked }), mode, differing, missing })]);
  }
  return create("dl", { className: "totals" }, rows.map(([name, value, kind]) => create("div", { className: kind ?? "" }, create("dt", {}, say(`result.${name}`)), create("dd", {}, value))));
}

function groups({ errors }, files) {
  const failed = [...files.values()].filter((it) => it.state === "failed");
  return errors.map((group) => {
    const named = failed.filter(({ error }) => error?.code === group.code && error?.side === group.side);
    const known = named.length ? named.map(({ path, error }) => [path, error.message]) : group.samples.map(({ path, message }) => [path, message]);
    const [title, advice] = part(`codes.${group.code}`) ?? [group.code, ""];
    const side = group.side ? ` ${say(`result.at.${group.side}`)}` : "";
    const shown = known.slice(0, MAX_ROWS);
    const rest = [known.length > shown.length && say("result.shown", { n: shown.length }), group.count > known.length && say("result.unnamed", { n: group.count - known.length })];
    return create(
      "section",
      { className: "group", "data-code": group.code },
      create("h4", {}, icon("failed"), `${title}${side} (${say("units.file", { n: group.count })})`),
      create("p", {}, advice),
      table(title + side, shown),
      create("p", { className: "help" }, rest.filter(Boolean).join(" ")),
    );
  });
}

function table(name, rows) {
  const cells = rows.map(([path, message]) =>
    create("tr", {}, create("td", { "data-name": say("result.file") }, path || say("result.whole")), create("td", { "data-name": say("result.message") }, message ?? "")),
  );
  const heads = ["file", "message"].map((it) => create("th", { scope: "col" }, say(`result.${it}`)));
  return create("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": name }, create("table", {}, create("thead", {}, create("tr", {}, heads)), create("tbody", {}, cells)));
}

function warnings({ warnings: all = [] }) {
  if (!all.length) return [];
  const items = all.map(({ code, message, count, samples }) => {
    const sample = samples[0] && [samples[0].path, samples[0].message].filter(Boolean).join(": ");
    const cases = say("result.cases", { n: count });
    return create("li", { "data-code": code }, icon("warn"), create("span", {}, `${message} (${cases}) `, sample && create("span", { className: "help" }, say("result.example", { sample }))));
  });
  return [create("h3", {}, say("result.warnings")), create("ul", { className: "steps" }, items)];
}

// Spreadsheets take a cell that begins with one of these for a formula, so that a file name could
// run one.
const FORMULA = /^[=+\-@\t\r]/;

function csv(files) {
  const cell = (value) => {
    const text = value === undefined ? "" : String(value);
    return `"${(typeof value === "string" && FORMULA.test(text) ? `'${text}` : text).replace(/"/g, '""')}"`;
  };
  const lines = [...files].map((file) => COLUMNS.map((name) => cell(file[name] ?? file.error?.[name])).join(","));
  return [COLUMNS.join(","), ...lines, ""].join("\r\n");
}
