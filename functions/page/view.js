// Shows a transfer: progress bars, the result, and a table of failures.
import { create } from "./form.js";
import { counted, duration, size } from "./transfer.js";

const byId = (id) => document.getElementById(id);
const MAX_ROWS = 500;
export const CANCELLED = "Transfer cancelled. Files already copied remain at the destination.";
const STATES = {
  succeeded: ["Copy complete.", "good"],
  partial: ["Some files were not copied.", "bad-end"],
  incomplete: ["Time limit reached. Start the transfer again to copy the rest.", "warn"],
  failed: ["Copy failed.", "bad-end"],
  cancelled: [CANCELLED, "warn"],
};
const PHASES = { copying: "Copying", waiting: "Waiting to retry", verifying: "Verifying" };

/** The view of one transfer, updated by its events. */
export class TransferView {
  constructor() {
    this.failures = new Map();
    this.announced = 0;
    byId("run").hidden = false;
    for (const id of ["outcome", "failures", "flight"]) byId(id).replaceChildren();
    for (const id of ["files", "bytes"]) {
      byId(`${id}-bar`).removeAttribute("value");
      byId(`${id}-text`).textContent = "";
    }
    byId("bars").hidden = false;
    byId("speed").textContent = "";
    this.state("Request sent. Waiting for the service …", "");
    byId("run-title").focus();
  }

  state(text, kind) {
    byId("state").textContent = text;
    byId("state").className = `state ${kind}`;
    byId("announcement").textContent = text;
  }

  event(event) {
    this[event.event]?.(event);
  }

  started() {
    this.state("Transfer started.", "");
  }

  progress({ phase, attempt, files, bytes, bytes_per_second: speed, eta_seconds: left, in_flight: flight }) {
    const again = attempt > 1 ? ` (attempt ${attempt})` : "";
    const done = files.transferred + files.failed;
    this.bar("files", done, files.expected, `${files.transferred} of ${files.expected} copied, ${files.skipped} skipped, ${files.failed} failed`);
    this.bar("bytes", bytes.transferred, bytes.expected, `${size(bytes.transferred)} of ${size(bytes.expected)}`);
    const eta = left === undefined ? "" : `, about ${duration(left)} left`;
    byId("speed").textContent = `${size(Math.round(speed))}/s${eta}`;
    byId("state").textContent = `${PHASES[phase] ?? phase}${again}`;
    const shown = flight.slice(0, 5).map((it) => {
      const of = it.size === undefined ? "" : ` of ${size(it.size)}`;
      return create("li", {}, `${it.path} (${size(it.bytes)}${of})`);
    });
    byId("flight").replaceChildren(...shown);
    // Screen readers announce progress every ten seconds, not twice a second.
    if (Date.now() - this.announced > 10_000) {
      this.announced = Date.now();
      byId("announcement").textContent = `${byId("files-text").textContent}; ${byId("bytes-text").textContent}${eta}`;
    }
  }

  bar(name, done, expected, text) {
    const bar = byId(`${name}-bar`);
    bar.max = Math.max(expected, 1);
    bar.value = Math.min(done, bar.max);
    bar.textContent = text;
    byId(`${name}-text`).textContent = text;
  }

  file({ path, state, error, bytes }) {
    // A later event for the same path replaces the earlier one.
    if (state === "failed") this.failures.set(path, { ...error, bytes: bytes ?? 0 });
    else if (!this.failures.delete(path)) return;
    this.table();
  }

  result(result) {
    const { state, totals, started, finished, errors, warnings, verification, attempts } = result;
    const [text, kind] = STATES[state] ?? [state, ""];
    const { transferred, skipped, failed } = totals.files;
    const seconds = (Date.parse(finished) - Date.parse(started)) / 1000;
    byId("flight").replaceChildren();
    byId("speed").textContent = "";
    const good = state === "succeeded";
    const all = good ? transferred + skipped : Math.max(transferred + skipped + failed, byId("files-bar").max);
    const bytes = totals.bytes.transferred;
    this.bar("files", good ? Math.max(all, 1) : transferred + skipped, all, `${transferred} copied, ${skipped} skipped, ${failed} failed`);
    const lost = [...this.failures.values()].reduce((sum, it) => sum + (it.bytes ?? 0), 0);
    const known = Math.max(bytes + lost, byId("bytes-bar").hasAttribute("value") ? byId("bytes-bar").max : 1);
    this.bar("bytes", good ? 1 : bytes, good ? 1 : known, size(bytes));
    const facts = [["Duration", duration(seconds) + (attempts > 1 ? `, ${attempts} attempts` : "")]];
    if (verification) {
      const { mode, checked, differing, missing } = verification;
      facts.push(["Verified", `${counted(checked, "file")} by ${mode}: ${differing} different, ${missing} missing`]);
    }
    for (const group of errors) {
      const side = group.side ? ` at the ${group.side}` : "";
      const help = group.retryable ? "; a retry may succeed" : "";
      facts.push([group.code, `${group.count}${side}${help}`]);
      // An error without a path concerns the entire transfer; it gets a row of its own.
      for (const sample of group.samples) {
        if (!sample.path) this.failures.set("", { ...group, message: sample.message });
      }
    }
    for (const { code, message, count, samples } of warnings ?? []) {
      const example = samples[0] ? ` Example: ${[samples[0].path, samples[0].message].filter(Boolean).join(": ")}` : "";
      facts.push([`Warning ${code}`, `${counted(count, "case")}. ${message}${example}`]);
    }
    const list = facts.flatMap(([name, value]) => [create("dt", {}, name), create("dd", {}, value)]);
    byId("outcome").replaceChildren(
      create("dl", { className: "facts" }, ...list),
      create("details", {}, create("summary", {}, "Result as JSON"), create("pre", { tabIndex: 0 }, JSON.stringify(result, null, 2))),
    );
    this.table();
    this.state(text, kind);
  }

  table() {
    const rows = [...this.failures].slice(0, MAX_ROWS).map(([path, error]) =>
      create(
        "tr",
        {},
        create("td", { "data-name": "File", className: "long" }, path || "(entire transfer)"),
        create("td", { "data-name": "Side" }, error.side ?? "–"),
        create("td", { "data-name": "Code" }, error.code ?? "–"),
        create("td", { "data-name": "Message", className: "long" }, error.message ?? ""),
      ),
    );
    if (rows.length === 0) return byId("failures").replaceChildren();
    const names = ["File", "Side", "Code", "Message"].map((name) => create("th", { scope: "col" }, name));
    const more = this.failures.size - rows.length;
    const caption = `${counted(this.failures.size, "failure")}${more ? `; showing the first ${rows.length}` : ""}`;
    const table = create("table", {}, create("caption", {}, caption), create("thead", {}, create("tr", {}, ...names)), create("tbody", {}, ...rows));
    return byId("failures").replaceChildren(create("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Failures" }, table));
  }

  problem({ title, detail, result, after, errors }) {
    if (result) {
      for (const file of result.files ?? []) this.file(file);
      return this.result(result);
    }
    byId("bars").hidden = true;
    const again = after ? ` Try again in ${duration(Number(after))}.` : "";
    const list = (errors ?? []).map((it) => create("li", {}, `${it.pointer || "(entire request)"}: ${it.message}`));
    byId("outcome").replaceChildren(
      create("p", {}, `${detail ?? ""}${again}`),
      ...(list.length ? [create("ul", {}, ...list)] : []),
    );
    return this.state(`${title}.`, "bad-end");
  }

  interrupted(text) {
    byId("bars").hidden = byId("bytes-text").textContent === "";
    byId("flight").replaceChildren();
    byId("speed").textContent = "";
    this.state(text, "warn");
  }
}
