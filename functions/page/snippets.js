// The request as JSON, and as a program would send it.
import { byId } from "./dom.js";
import { say } from "./texts.js";

const FORMATS = ["json", "curl", "python", "command"];

// The body stands in a quoted here-document: the shell changes nothing in it.
const here = (json) => `<<'REQUEST'\n${json}\nREQUEST`;
const quoted = (text) => `'${text.replace(/'/g, `'\\''`)}'`;

const WRITERS = {
  json: (json) => json,
  curl: (json, url, token) =>
    [
      `curl --no-buffer ${quoted(url)}`,
      "-H 'Content-Type: application/json'",
      "-H 'Accept: application/x-ndjson'",
      ...(token ? [`-H ${quoted(`Authorization: Bearer ${token}`)}`] : []),
      `--data-binary @- ${here(json)}`,
    ].join(" \\\n  "),
  python: (json, url, token) =>
    [
      "import json",
      "from efss_transfer.client import Client",
      "",
      // JSON never has three quotes in a row.
      `request = json.loads(r"""`,
      json,
      `""")`,
      `with Client(${JSON.stringify(url)}${token ? `, token=${JSON.stringify(token)}` : ""}) as client:`,
      "    totals = client.complete(request).totals",
      `    print(totals.transferred, "copied,", totals.skipped, "skipped")`,
    ].join("\n"),
  command: (json, url, token) =>
    `${token ? `EFSS_TRANSFER_TOKEN=${quoted(token)} ` : ""}efss-transfer run --url ${quoted(url)} - ${here(json)}`,
};

/** `request(hides)` gives the request, with secrets or placeholders; `token()` the token. */
export function startSnippets(url, request, token) {
  const chosen = () => FORMATS.find((it) => byId(`format-${it}`).checked);
  const write = (hides) => {
    const json = JSON.stringify(request(hides), null, 2);
    const known = token() === "" ? "" : hides ? say("sent.token") : token();
    return WRITERS[chosen()](json, url, known);
  };
  const refresh = () => {
    byId("json").textContent = write(true);
    byId("sent-state").textContent = "";
  };
  for (const format of FORMATS) byId(`format-${format}`).addEventListener("change", refresh);
  byId("copy").addEventListener("click", async () => {
    const open = byId("include").checked;
    byId("sent-state").textContent = "";
    try {
      await navigator.clipboard.writeText(write(!open));
      byId("sent-state").textContent = say(open ? "sent.copied_secrets" : "sent.copied");
    } catch {
      getSelection().selectAllChildren(byId("json"));
      byId("sent-state").textContent = say("sent.not_copied");
    }
  });
  return refresh;
}
