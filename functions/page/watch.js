// What a person sees of a transfer: bars, the result, the table of failures.
import { made } from "./form.js";
import { duration, size } from "./transfer.js";

const at = (id) => document.getElementById(id);
const MOST_ROWS = 500;
const WORDS = {
  succeeded: ["All is copied.", "good"],
  partial: ["Some files were not copied.", "wrong-end"],
  incomplete: ["The time ran out. Start it again to go on where it stopped.", "warn"],
  failed: ["It failed.", "wrong-end"],
  cancelled: ["It was cancelled.", "warn"],
};
const PHASES = { copying: "Copying", waiting: "Waiting before it tries again", verifying: "Verifying" };

/** Told what happens in a transfer, one after another. */
export class Watch {
  constructor() {
    this.failures = new Map();
    this.spoken = 0;
    at("run").hidden = false;
    for (const id of ["outcome", "failures", "flight"]) at(id).replaceChildren();
    for (const id of ["files", "bytes"]) {
      at(`${id}-bar`).removeAttribute("value");
      at(`${id}-text`).textContent = "";
    }
    at("bars").hidden = false;
    at("speed").textContent = "";
    this.state("Sent; waiting for the service …", "");
    at("run-title").focus();
  }

  state(text, kind) {
    at("state").textContent = text;
    at("state").className = `state ${kind}`;
    at("spoken").textContent = text;
  }

  event(event) {
    this[event.event]?.(event);
  }

  started() {
    this.state("It has begun.", "");
  }

  progress({ phase, attempt, files, bytes, bytes_per_second: speed, eta_seconds: left, in_flight: flight }) {
    const again = attempt > 1 ? ` (attempt ${attempt})` : "";
    const done = files.transferred + files.failed;
    this.bar("files", done, files.expected, `${files.transferred} of ${files.expected} copied, ${files.skipped} skipped, ${files.failed} failed`);
    this.bar("bytes", bytes.transferred, bytes.expected, `${size(bytes.transferred)} of ${size(bytes.expected)}`);
    const eta = left === undefined ? "" : `, about ${duration(left)} left`;
    at("speed").textContent = `${size(Math.round(speed))} a second${eta}`;
    at("state").textContent = `${PHASES[phase] ?? phase}${again}`;
    const shown = flight.slice(0, 5).map((it) => {
      const of = it.size === undefined ? "" : ` of ${size(it.size)}`;
      return made("li", {}, `${it.path} (${size(it.bytes)}${of})`);
    });
    at("flight").replaceChildren(...shown);
    // Who listens hears of it now and then, and not twice a second.
    if (Date.now() - this.spoken > 10_000) {
      this.spoken = Date.now();
      at("spoken").textContent = `${at("files-text").textContent}; ${at("bytes-text").textContent}${eta}`;
    }
  }

  bar(name, done, expected, text) {
    const bar = at(`${name}-bar`);
    bar.max = Math.max(expected, 1);
    bar.value = Math.min(done, bar.max);
    bar.textContent = text;
    at(`${name}-text`).textContent = text;
  }

  file({ path, state, error, bytes }) {
    // A path that is told twice: the later counts.
    if (state === "failed") this.failures.set(path, { ...error, bytes: bytes ?? 0 });
    else if (!this.failures.delete(path)) return;
    this.table();
  }

  result(result) {
    const { state, totals, started, finished, errors, verification, attempts } = result;
    const [text, kind] = WORDS[state] ?? [state, ""];
    const { transferred, skipped, failed } = totals.files;
    const seconds = (Date.parse(finished) - Date.parse(started)) / 1000;
    at("flight").replaceChildren();
    at("speed").textContent = "";
    const good = state === "succeeded";
    const all = good ? transferred + skipped : Math.max(transferred + skipped + failed, at("files-bar").max);
    const bytes = totals.bytes.transferred;
    this.bar("files", good ? Math.max(all, 1) : transferred + skipped, all, `${transferred} copied, ${skipped} skipped, ${failed} failed`);
    const lost = [...this.failures.values()].reduce((sum, it) => sum + (it.bytes ?? 0), 0);
    const known = Math.max(bytes + lost, at("bytes-bar").hasAttribute("value") ? at("bytes-bar").max : 1);
    this.bar("bytes", good ? 1 : bytes, good ? 1 : known, size(bytes));
    const facts = [["Took", duration(seconds) + (attempts > 1 ? `, ${attempts} attempts` : "")]];
    if (verification) {
      const { mode, checked, differing, missing } = verification;
      facts.push(["Verified", `${checked} files by ${mode}: ${differing} differing, ${missing} missing`]);
    }
    for (const group of errors) {
      const side = group.side ? ` at the ${group.side}` : "";
      const help = group.retryable ? "; trying again can help" : "";
      facts.push([group.code, `${group.count}${side}${help}`]);
      // What is no single file's failure has no row of its own.
      for (const sample of group.samples) {
        if (!sample.path) this.failures.set("", { ...group, message: sample.message });
      }
    }
    const list = facts.flatMap(([name, value]) => [made("dt", {}, name), made("dd", {}, value)]);
    at("outcome").replaceChildren(
      made("dl", { className: "facts" }, ...list),
      made("details", {}, made("summary", {}, "The result as JSON"), made("pre", { tabIndex: 0 }, JSON.stringify(result, null, 2))),
    );
    this.table();
    this.state(text, kind);
  }

  table() {
    const rows = [...this.failures].slice(0, MOST_ROWS).map(([path, error]) =>
      made(
        "tr",
        {},
        made("td", { "data-name": "File", className: "long" }, path || "(the whole)"),
        made("td", { "data-name": "Side" }, error.side ?? "–"),
        made("td", { "data-name": "Code" }, error.code ?? "–"),
        made("td", { "data-name": "Message", className: "long" }, error.message ?? ""),
      ),
    );
    if (rows.length === 0) return at("failures").replaceChildren();
    const names = ["File", "Side", "Code", "Message"].map((name) => made("th", { scope: "col" }, name));
    const more = this.failures.size - rows.length;
    const caption = `${this.failures.size} failed${more ? `; the first ${rows.length} are shown` : ""}`;
    const table = made("table", {}, made("caption", {}, caption), made("thead", {}, made("tr", {}, ...names)), made("tbody", {}, ...rows));
    return at("failures").replaceChildren(made("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Failures" }, table));
  }

  problem({ title, detail, result, after, errors }) {
    if (result) {
      for (const file of result.files ?? []) this.file(file);
      return this.result(result);
    }
    at("bars").hidden = true;
    const again = after ? ` Try again in ${duration(Number(after))}.` : "";
    const list = (errors ?? []).map((it) => made("li", {}, `${it.pointer || "(the whole)"}: ${it.message}`));
    at("outcome").replaceChildren(
      made("p", {}, `${detail ?? ""}${again}`),
      ...(list.length ? [made("ul", {}, ...list)] : []),
    );
    return this.state(`${title}.`, "wrong-end");
  }

  broken(text) {
    at("bars").hidden = at("bytes-text").textContent === "";
    at("flight").replaceChildren();
    at("speed").textContent = "";
    this.state(text, "warn");
  }
}
