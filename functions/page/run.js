// Shows a copy while it runs: bars, speed, the files in flight, the tab's title.
import { byId, create, icon } from "./dom.js";
import { Outcome } from "./outcome.js";
import { duration, part, say, size } from "./texts.js";

const MARKS = { good: "ok", "bad-end": "failed", warn: "warn" };

/** The view of one copy, updated by its events. */
export class TransferView {
  constructor(title) {
    Object.assign(this, { outcome: new Outcome(), announced: Date.now(), began: Date.now(), tab: title, ended: false });
    byId("run").hidden = false;
    byId("progress").hidden = false;
    for (const id of ["outcome", "flight"]) byId(id).replaceChildren();
    for (const id of ["files", "bytes"]) {
      byId(`${id}-bar`).removeAttribute("value");
      byId(`${id}-text`).textContent = "";
    }
    byId("route").textContent = title;
    byId("speed").textContent = "";
    this.state(say("run.sent"), "");
    byId("run-title").focus();
    byId("run").scrollIntoView({ block: "start" });
  }

  state(text, kind) {
    const mark = MARKS[kind];
    byId("state").className = `state ${kind}`;
    byId("state").replaceChildren(...(mark ? [icon(mark)] : []), text);
    if (byId("announcement").textContent !== text) byId("announcement").textContent = text;
  }

  event(event) {
    this[event.event]?.(event);
  }

  started() {
    this.state(say("run.started"), "");
  }

  progress({ phase, attempt, waiting, files, bytes, bytes_per_second: speed, eta_seconds: left, in_flight: flight }) {
    const finishing = phase === "copying" && bytes.expected > 0 && bytes.transferred >= bytes.expected;
    const name = finishing ? say("run.finishing") : part("run.phases")[phase] ?? phase;
    const done = files.transferred + files.failed;
    const more = [files.failed && say("run.failed", { n: files.failed }), files.skipped && say("run.skipped", { n: files.skipped })];
    const counts = [say("run.files_text", { done: files.transferred, expected: files.expected }), ...more.filter(Boolean)];
    this.bar("files", done, files.expected, counts.join(", "));
    this.bar("bytes", bytes.transferred, bytes.expected, say("run.bytes_text", { done: size(bytes.transferred), expected: size(bytes.expected) }));
    const eta = left === undefined || finishing ? "" : say("run.eta", { time: duration(left) });
    const elapsed = say("run.elapsed", { time: duration((Date.now() - this.began) / 1000) });
    byId("speed").textContent = [speed > 0 && say("run.speed", { speed: size(speed) }), eta, elapsed].filter(Boolean).join(" · ");
    byId("waiting").textContent = waiting ? waitText(waiting) : "";
    byId("state").replaceChildren(attempt > 1 ? say("run.attempt", { phase: name, n: attempt }) : name);
    const percent = bytes.expected ? Math.floor((100 * Math.min(bytes.transferred, bytes.expected)) / bytes.expected) : 0;
    document.title = say("run.tab", { percent, title: this.tab });
    byId("flight").replaceChildren(...flight.slice(0, 5).map(inFlight));
    // Screen readers announce progress every ten seconds, not twice a second.
    if (Date.now() - this.announced > 10_000) {
      this.announced = Date.now();
      byId("announcement").textContent = say("run.announce", { files: counts.join(", "), bytes: byId("bytes-text").textContent, eta });
    }
  }

  bar(name, done, expected, text) {
    const bar = byId(`${name}-bar`);
    bar.max = Math.max(expected, 1);
    bar.value = Math.min(done, bar.max);
    byId(`${name}-text`).textContent = text;
  }

  file(file) {
    this.outcome.file(file);
  }

  result(result) {
    const [text, kind] = this.outcome.show(result);
    this.end(text, kind);
  }

  /** Show a problem that no field of the form is about. */
  problem({ title, text, result, after, code }) {
    if (result) {
      for (const file of result.files ?? []) this.file(file);
      return this.result(result);
    }
    const advice = part(`codes.${code}`)?.[1] ?? "";
    const again = after ? say("result.again", { time: duration(Number(after)) }) : "";
    byId("outcome").replaceChildren(create("p", {}, text.slice(title.length + 1)), create("p", { className: "help" }, [advice, again].filter(Boolean).join(" ")));
    return this.end(`${title}.`, "bad-end");
  }

  end(text, kind) {
    this.ended = true;
    byId("progress").hidden = true;
    byId("flight").replaceChildren();
    this.state(text, kind);
    document.title = `${text} – ${this.tab}`;
    notify(text, this.tab);
    byId("run-title").focus();
  }

  /** Take it back: the form shows what is wrong. */
  withdraw() {
    byId("run").hidden = true;
  }
}

function waitText({ for: why, side, server, path, seconds }) {
  const text = say(`run.waits.${why}`, { who: server ?? part(`run.somebody.${side}`) ?? "", path: path ?? "" });
  return seconds === undefined ? `${text}.` : say("run.waits_for", { why: text, time: duration(seconds) });
}

function inFlight({ path, bytes, size: all }) {
  const about = all === undefined ? size(bytes) : say("run.flight_of", { done: size(bytes), size: size(all) });
  return create(
    "li",
    {},
    create("span", { className: "name", title: path }, path),
    create("span", { className: "help" }, about),
    all ? create("progress", { max: all, value: bytes, "aria-label": path }) : null,
  );
}

const canNotify = () => "Notification" in window;

/** The button that asks the browser to allow a notification at the end. */
export function startNotifying() {
  const button = byId("notify");
  const tell = () => {
    const granted = Notification.permission === "granted";
    button.hidden = Notification.permission !== "default";
    byId("notify-state").textContent = granted ? say("actions.notify_on") : "";
  };
  button.hidden = !canNotify();
  if (!canNotify()) return;
  tell();
  button.addEventListener("click", async () => {
    await Notification.requestPermission();
    tell();
    if (Notification.permission === "denied") byId("notify-state").textContent = say("actions.notify_off");
  });
}

function notify(text, body) {
  if (!canNotify() || Notification.permission !== "granted") return;
  try {
    new Notification(text, { body });
  } catch {
    // Some browsers on phones show them only from a service worker.
  }
}
