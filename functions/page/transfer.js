// One transfer: sent, watched as a stream of events, cancelled by leaving.

// Where the platform cannot stream, the whole answer is taken.
const STREAM = "application/x-ndjson, application/json;q=0.5";

/** POST the request; `seen` gets every event. Resolves to the problem, or null after a stream
 * that told its result. Rejects if the connection broke, or `signal` ended it. */
export async function send(url, request, token, signal, seen) {
  const headers = { "Content-Type": "application/json", Accept: STREAM };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(url, {
    method: "POST",
    headers,
    body: JSON.stringify(request),
    signal,
    cache: "no-store",
    credentials: "same-origin",
    redirect: "error",
    referrerPolicy: "no-referrer",
  });
  const kind = (answer.headers.get("Content-Type") ?? "").split(";")[0];
  if (kind !== "application/x-ndjson") return await whole(answer, kind, seen);
  let last = null;
  for await (const line of lines(answer.body)) {
    last = JSON.parse(line);
    seen(last);
  }
  if (last?.event !== "result") throw new Error("The stream ended before its result.");
  return null;
}

// Where the platform cannot stream, the whole answer comes at once.
async function whole(answer, kind, seen) {
  const told = kind.endsWith("json") ? await answer.json() : {};
  if (answer.ok && told.state) {
    for (const file of told.files ?? []) seen({ event: "file", ...file });
    seen({ event: "result", ...told });
    return null;
  }
  return {
    title: `The service answered ${answer.status}`,
    status: answer.status,
    ...told,
    after: answer.headers.get("Retry-After"),
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

const UNITS = ["bytes", "kB", "MB", "GB", "TB", "PB"];

/** A size for people. */
export function size(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < UNITS.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${unit ? bytes.toFixed(bytes < 10 ? 2 : 1) : bytes} ${UNITS[unit]}`;
}

/** A duration for people. */
export function duration(seconds) {
  if (seconds < 1) return "less than a second";
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
