// Sends a transfer request and reads the stream of events; leaving the page cancels it.

// JSON as a fallback for platforms that cannot stream.
const ACCEPT = "application/x-ndjson, application/json;q=0.5";

/** POST the request and pass every event to `onEvent`. Resolves to null after a result, or to the
 * problem document. Rejects if the connection is lost or `signal` aborts. */
export async function send(url, request, token, signal, onEvent) {
  const headers = { "Content-Type": "application/json", Accept: ACCEPT };
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(url, {
    method: "POST",
    headers,
    body: JSON.stringify(request),
    signal,
    cache: "no-store",
    credentials: "same-origin",
    redirect: "error",
    referrerPolicy: "no-referrer",
  });
  const kind = (response.headers.get("Content-Type") ?? "").split(";")[0];
  if (kind !== "application/x-ndjson") return await readDocument(response, kind, onEvent);
  let last = null;
  for await (const line of lines(response.body)) {
    last = JSON.parse(line);
    onEvent(last);
  }
  if (last?.event !== "result") throw new Error("The stream ended before its result.");
  return null;
}

// A response without a stream: a result or a problem document.
async function readDocument(response, kind, onEvent) {
  const document = kind.endsWith("json") ? await response.json() : {};
  if (response.ok && document.state) {
    for (const file of document.files ?? []) onEvent({ event: "file", ...file });
    onEvent({ event: "result", ...document });
    return null;
  }
  return {
    title: `The service responded with status ${response.status}`,
    status: response.status,
    ...document,
    after: response.headers.get("Retry-After"),
  };
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

/** A count with its noun: `1 file`, `2 files`. */
export const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

const UNITS = ["bytes", "kB", "MB", "GB", "TB", "PB"];

/** A number of bytes with a unit. */
export function size(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < UNITS.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  if (unit === 0) return counted(bytes, "byte");
  return `${bytes.toFixed(bytes < 10 ? 2 : 1)} ${UNITS[unit]}`;
}

/** A duration with units. */
export function duration(seconds) {
  if (seconds < 1) return "less than 1 s";
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
