// Makes elements; no text becomes markup.

export const byId = (id) => document.getElementById(id);

/** Create an element with properties or attributes, and children. */
export function create(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element && !name.startsWith("aria")) element[name] = value;
    else if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((it) => it !== null && it !== undefined && it !== false));
  return element;
}

/** Text with the parts between backticks as code. */
export const formatted = (text) =>
  text.split("`").map((part, at) => (at % 2 ? create("code", {}, part) : part));

const DRAWINGS = {
  cloud: "M6 18h11a4 4 0 0 0 .6-7.95A6 6 0 0 0 6.1 11 3.5 3.5 0 0 0 6 18Z",
  bucket: "M4 7c0-1.7 3.6-3 8-3s8 1.3 8 3-3.6 3-8 3-8-1.3-8-3Zm0 0 2 11c.2 1.2 2.8 2 6 2s5.800-.8 6-2l2-11",
  terminal: "M4 5h16v14H4zM7.500 9.500 10 12l-2.500 2.500M12.500 15H16",
  site: "M4 5h16v6H4zM4 13h16v6H4zM7.500 8h.01M7.500 16h.01",
  other: "M5 12h.01M12 12h.01M19 12h.01",
  folder: "M3.500 18V6.500A1.500 1.500 0 0 1 5 5h4l2 2.500h8A1.500 1.500 0 0 1 20.500 9v9a1.500 1.500 0 0 1-1.500 1.500H5A1.500 1.500 0 0 1 3.500 18Z",
  file: "M6 3.500h8l4.500 4.500v12.500H6zM14 3.500V8h4.500",
  ok: "m5 12.500 4.500 4.500L19 7.500",
  failed: "M6.500 6.500l11 11M17.500 6.500l-11 11",
  skipped: "M6 12h12",
  warn: "M12 4 2.500 20h19L12 4Zm0 6v5m0 2.500h.01",
};

/** A drawing that says nothing that the text beside it does not. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `icon ${name}`);
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", DRAWINGS[name]);
  svg.append(path);
  return svg;
}
