// Sends requests, and reads the stream of a transfer's events; leaving the page cancels it.
import { say } from "./texts.js";

// JSON as a fallback for platforms that cannot stream.
const ACCEPT = "application/x-ndjson, application/json;q=0.5";

const post = (url, body, token, signal, accept) =>
  fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: accept, ...(token && { Authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
    signal,
    cache: "no-store",
    credentials: "same-origin",
    redirect: "error",
    referrerPolicy: "no-referrer",
  });

const kindOf = (response) => (response.headers.get("Content-Type") ?? "").split(";")[0];

/** POST the request and pass every event to `onEvent`. Resolves to null after a result, or to the
 * problem document. Rejects if the connection is lost or `signal` aborts. */
export async function send(url, request, token, signal, onEvent) {
  const response = await post(url, request, token, signal, ACCEPT);
  if (kindOf(response) !== "application/x-ndjson") {
    const document = await read(response);
    if (!response.ok || !document.state) return document;
    for (const file of document.files ?? []) onEvent({ event: "file", ...file });
    onEvent({ event: "result", ...document });
    return null;
  }
  let last = null;
  for await (const line of lines(response.body)) {
    last = JSON.parse(line);
    onEvent(last);
  }
  if (last?.event !== "result") throw new Error("The stream ended before its result.");
  return null;
}

/** POST a request for one document: its `{answer}`, or the `{problem}`. */
export async function look(url, body, token) {
  try {
    const response = await post(url, body, token, undefined, "application/json");
    const document = await read(response);
    return response.ok ? { answer: document } : { problem: document };
  } catch {
    return { problem: { text: say("errors.look_failed") } };
  }
}

// A document; of a problem also its `text` for people.
async function read(response) {
  const document = kindOf(response).endsWith("json") ? await response.json() : {};
  if (response.ok) return document;
  const after = response.headers.get("Retry-After");
  const title = document.title ?? say("errors.status", { status: response.status });
  const messages = (document.errors ?? []).map((it) => it.message);
  const text = [`${title}.`, ...(messages.length ? messages : [document.detail])].filter(Boolean).join(" ");
  return { status: response.status, ...document, title, text, after };
}

async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts.filter(Boolean);
  }
  if (rest) yield rest;
}
