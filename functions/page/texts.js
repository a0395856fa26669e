// All texts of the page stand in one file of texts/: a second language is one more file.
import texts from "./texts/en.json";

/** The part of the texts at a path with dots. */
export const part = (path) => path.split(".").reduce((below, name) => below?.[name], texts);

/** A text with its values. Of a pair, the one for the count `n`. */
export function say(path, values = {}) {
  const found = part(path);
  const text = Array.isArray(found) ? found[values.n === 1 ? 0 : 1] : found;
  return text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? grouped(values[name]) : values[name]));
}

const grouped = (count) => count.toLocaleString(texts.language);

/** A number of bytes with a unit, in powers of 1024, as the command shows them. */
export function size(bytes) {
  const units = texts.units.sizes;
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${unit ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

/** A duration with its two largest units. */
export function duration(seconds) {
  if (seconds < 1) return texts.units.second;
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  if (h) return say("units.hours", { h, m });
  return m ? say("units.minutes", { m, s }) : say("units.seconds", { s });
}
