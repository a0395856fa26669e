// The button "Check" of a side, and in plain words what the service found.
import { create, icon } from "./dom.js";
import { parameters } from "./form.js";
import { part, say, size } from "./texts.js";

export class StorageCheckView {
  constructor(side, ask) {
    Object.assign(this, { side, ask });
    this.button = create("button", { type: "button" }, say("sides.check"));
    this.button.addEventListener("click", () => this.run());
    this.state = create("p", { className: "state", role: "status" });
    this.outcome = create("div", { className: "outcome" });
    const help = side.name === "destination" ? create("p", { className: "help" }, say("check.write_help")) : null;
    this.element = create("div", { className: "check" }, create("div", { className: "line" }, this.button, this.state), help, this.outcome);
  }

  clear() {
    this.outcome.replaceChildren();
    this.tell("", "");
  }

  /** Discard the result of a check, because the form has changed since. */
  stale() {
    if (!this.outcome.hasChildNodes() && !this.state.textContent) return;
    this.outcome.replaceChildren();
    this.tell(say("check.stale"), "");
  }

  tell(text, kind) {
    this.state.className = `state ${kind}`;
    this.state.replaceChildren(...(kind === "good" ? [icon("ok")] : kind === "bad" ? [icon("failed")] : []), text);
  }

  async run() {
    const endpoint = this.side.context.endpoint(this.side, { path: false });
    if (!endpoint) return;
    this.tell(say("check.busy"), "busy");
    this.outcome.replaceChildren();
    this.button.disabled = true;
    const { answer, problem } = await this.ask({ endpoint, write: this.side.name === "destination" });
    this.button.disabled = false;
    if (problem) {
      this.tell(problem.text, "bad");
      this.side.context.blame(problem, this.side);
      return;
    }
    this.tell(say(answer.passed ? "check.passed" : "check.failed"), answer.passed ? "good" : "bad");
    this.outcome.replaceChildren(create("ul", { className: "steps" }, ...answer.steps.map(stepLine).filter(Boolean)), facts(answer, this.side.context.schema));
    const failed = answer.steps.find((it) => it.state === "failed");
    if (failed) this.side.context.blame({ code: failed.error.code, text: failed.error.message }, this.side);
  }
}

function stepLine({ step, state, error }) {
  // What was not asked for is no news.
  if (state === "skipped" && step === "write") return null;
  const [good, bad, skipped] = part(`check.steps.${step}`);
  const text = { ok: good, failed: bad, skipped }[state];
  const [title, advice] = error ? part(`codes.${error.code}`) : [];
  const why = error && create("span", { className: "help" }, `${title}. ${advice} (${error.message})`);
  return create("li", { className: state }, icon(state), create("span", {}, text, why && create("br"), why));
}

function facts({ server, space = {} }, schema) {
  const rows = [];
  const product = [server.product, server.version].filter(Boolean).join(" ");
  rows.push(["check.server", product || parameters(schema, server.type).title]);
  if ("free" in space) {
    const free = size(space.free);
    rows.push(["check.space", "total" in space ? say("check.space_of", { free, total: size(space.total) }) : free]);
  }
  if (server.checksums) rows.push(["check.checksums", server.checksums.map((it) => it.toUpperCase().replace("SHA", "SHA-")).join(", ") || say("check.no_checksums")]);
  if ("keeps_times" in server) rows.push(["check.times", say(server.keeps_times ? "check.times_kept" : "check.times_lost")]);
  return create("dl", { className: "facts" }, rows.flatMap(([name, value]) => [create("dt", {}, say(name)), create("dd", {}, value)]));
}
