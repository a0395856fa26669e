// Suggests a known name for an unknown one, as model/suggestions.py does: tests compare both.

const MAX_LENGTH = 40;

/** The known name that was probably meant, or null. */
export function suggestion(name, known, synonyms = {}) {
  const letters = [...name];
  if (letters.length > MAX_LENGTH) return null;
  const folded = fold(name);
  if (Object.hasOwn(synonyms, folded)) {
    const other = synonyms[folded].find((one) => known.includes(one));
    if (other) return other;
  }
  let most = Math.min(3, Math.max(1, Math.floor([...folded].length / 3)));
  let nearest = null;
  for (const candidate of known) {
    const apart = distance([...folded], [...fold(candidate)], most);
    if (apart <= most) [nearest, most] = [candidate, apart - 1];
  }
  return nearest;
}

/** A sentence with the suggestion, after a space; or nothing. */
export function didYouMean(name, known, synonyms) {
  const found = suggestion(name, known, synonyms);
  return found === null ? "" : ` Did you mean \`${found}\`?`;
}

const fold = (name) => name.toLowerCase().replaceAll("-", "_");

// Counts insertions, deletions, substitutions and swaps of neighbours; stops above `most`.
function distance(one, other, most) {
  if (Math.abs(one.length - other.length) > most) return most + 1;
  let before = [];
  let above = [...Array(other.length + 1).keys()];
  for (let row = 1; row <= one.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= other.length; column += 1) {
      let cost = Math.min(
        above[column] + 1,
        current[column - 1] + 1,
        above[column - 1] + (one[row - 1] === other[column - 1] ? 0 : 1),
      );
      if (row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1]) {
        cost = Math.min(cost, before[column - 2] + 1);
      }
      current.push(cost);
    }
    if (Math.min(...current) > most) return most + 1;
    [before, above] = [above, current];
  }
  return above.at(-1);
}
