"use strict";
// The self-check: is what is shown what NumPy has computed? Everything is added up, evaluated and compared again, here.

/** CRC-32 (ISO 3309) of a text in UTF-8. */
function crc32(text) {
  let crc = ~0;
  for (const byte of new TextEncoder().encode(text)) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
  }
  return ~crc >>> 0;
}

/** What is wrong with the numbers of the page, and how many receipts and rules were found right. */
function selfCheck() {
  const wrong = [];
  const element = document.getElementById("data");
  if (crc32(element.textContent) !== Number(element.dataset.crc)) wrong.push("the data has changed");
  const rounded = (array) => (array.type === "f4" ? Math.fround : (x) => x);
  let [receipts, rules] = [0, 0];
  for (const parts of incoming) {
    parts.forEach((edge, i) => {
      const [before, part, after] = [edge.before, edge.part, edge.after].map((number) => (number === null ? null : arrays[number]));
      const last = i === parts.length - 1 ? arrays[values[edge.target].gradient] : arrays[parts[i + 1].before];
      const round = rounded(after);
      const known = [before, part, after, last].filter((array) => array);
      const common = after.there.map((_, axis) => Math.min(...known.map((array) => array.there[axis])));
      const [b, p, a, l] = [before || part, part, after, last].map((array) => cropped(array, common));
      const adds = (x, k) => equal(a[k], before ? round(b[k] + x) : x) && equal(l[k], a[k]);
      if (!p.every(adds)) wrong.push(`the receipt of ${nameOf(edge.target)} does not add up`);
      else receipts++;
      const found = recomputed(edge);
      if (found === false) wrong.push(`the rule of ${nameOf(edge.user)} gives another result`);
      rules += found === true ? 1 : 0;
    });
  }
  return { wrong, receipts, rules };
}

/** The first entries of an array along every axis, as a flat array. */
function cropped(array, shape) {
  let found = [0];
  shape.forEach((n, axis) => {
    const stride = array.there.slice(axis + 1).reduce((x, y) => x * y, 1);
    found = found.flatMap((start) => Array.from({ length: n }, (_, i) => start + i * stride));
  });
  return found.map((place) => array.data[place]);
}

const equal = (a, b) => a === b || (Number.isNaN(a) && Number.isNaN(b));

/** Whether the rule of an edge, evaluated here, gives what is stored; null where not all that it needs is here, or it is not. */
function recomputed(edge) {
  if (edge.code === null) return null;
  const user = values[edge.user];
  const stored = arrays[edge.raw === null ? edge.part : edge.raw];
  try {
    const found = evaluate(edge.code, namesOf(user, arrays[user.gradient])).at(-1);
    if (found.data.length !== stored.shape.reduce((a, b) => a * b, 1)) return false;
    let most = 1e-30;
    for (const x of stored.data) most = Math.max(most, Math.abs(x));
    const tolerance = stored.type === "f8" ? 1e-9 : 1e-4;
    const again = cropped({ there: stored.shape, data: found.data }, stored.there);
    return stored.data.every((x, k) => equal(x, again[k]) || Math.abs(x - again[k]) <= tolerance * most);
  } catch (error) {
    if (error instanceof NumPy.Error) return null;
    throw error;
  }
}

function showCheck() {
  const { wrong, receipts, rules } = selfCheck();
  const badge = document.getElementById("check");
  badge.className = wrong.length ? "red" : "";
  badge.textContent = wrong.length
    ? `✗ self-check: ${wrong[0]}${wrong.length > 1 ? `, and ${wrong.length - 1} more` : ""}`
    : `✓ checked here: ${receipts} receipts add up, ${rules} rules give the same result`;
}
