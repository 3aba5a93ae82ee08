"use strict";
// An array as a table of coloured numbers: a part of it at a time, with buttons to the rest, and with tokens on the rows that are theirs.

const TILE = [4, 12, 12]; // matrices, rows and columns that are shown at a time

/** A number in three digits. */
function digits(x) {
  if (!Number.isFinite(x)) return String(x).replace("Infinity", "inf");
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 1e4 || size < 1e-3) return x.toExponential(1).replace("e+", "e");
  return x.toFixed(Math.max(0, 2 - Math.floor(Math.log10(size))));
}

/** The tokens, for an axis that has as many entries; the axes of parameters and of their gradients are none of tokens. */
const tokensOf = (array, axis) => {
  const { shape } = array;
  return data.tokens.length && shape.length > 1 && shape.at(axis) === data.tokens.length && !array.ofParameter ? data.tokens : null;
};

/** options: title, note, class, asked (a flat index), from (the first matrix, row and column shown). */
function matrix(array, options = {}) {
  const { there, shape } = array;
  const [rows, columns] = [there.length > 1 ? there.at(-2) : 1, there.length ? there.at(-1) : 1];
  const counts = [rows * columns ? array.data.length / (rows * columns) : 0, rows, columns];
  const size = counts.map((n, k) => (n > TILE[k] ? [4, 6, 8][k] : n));
  const from = (options.from || [0, 0, 0]).map((at, k) => Math.max(0, Math.min(at, counts[k] - size[k])));
  let most = 0;
  for (const x of array.data) if (Number.isFinite(x)) most = Math.max(most, Math.abs(x));
  const names = [tokensOf(array, -2), rows === columns && tokensOf(array, -1)];
  const tables = [];
  for (let s = from[0]; s < from[0] + size[0]; s++) {
    const body = [];
    for (let i = from[1]; i < from[1] + size[1]; i++) {
      const cells = names[0] ? [h("th", { scope: "row" }, names[0][i])] : [];
      for (let j = from[2]; j < from[2] + size[2]; j++) {
        const at = (s * rows + i) * columns + j;
        const x = array.data[at];
        const much = most && Number.isFinite(x) ? Math.round(62 * Math.sqrt(Math.abs(x) / most)) : 0;
        const style = `--hue: var(--${x < 0 ? "down" : "up"}); --much: ${much}%`;
        cells.push(h("td", { style, title: String(x), class: options.asked === at ? "asked" : null }, array.type === "i4" ? String(x) : digits(x)));
      }
      body.push(h("tr", null, cells));
    }
    const head = names[1] && h("thead", null, h("tr", null, h("td", { class: "corner" }), names[1].slice(from[2], from[2] + size[2]).map((name) => h("th", { scope: "col" }, name))));
    const lead = [];
    for (let k = there.length - 3, left = s; k >= 0; left = Math.floor(left / there[k]), k--) lead.unshift(left % there[k]);
    tables.push(h("table", null, there.length > 2 && counts[0] > 1 ? h("caption", null, `[${lead.join(", ")}]`) : null, head, h("tbody", null, body)));
  }
  const figure = h(
    "figure",
    { class: options.class || null },
    h("figcaption", null, h("b", null, options.title || ""), " ", shapeText(shape), options.note ? ` ${options.note}` : ""),
    h("div", { class: "matrix", role: "group", "aria-label": `${options.title || "array"} of shape ${shapeText(shape)}` }, tables),
  );
  const turn = (next, pressed) => {
    const other = matrix(array, { ...options, from: next });
    figure.replaceWith(other);
    makeScrollable();
    const again = other.querySelector(`.pager [data-to="${pressed}"]`);
    (again.disabled ? other.querySelector(".pager button:not(:disabled)") : again).focus();
  };
  const open = counts.map((n, k) => n > size[k]);
  if (array.data.length && open.some((x) => x)) figure.append(pager(counts, from, size, turn));
  if (array.data.length && !array.whole) figure.append(h("div", { class: "rest" }, `of ${shapeText(shape)} the first ${there.join(" x ")} are in this page`));
  return figure;
}

/** Buttons to the parts of an array that are not shown, for each axis that has such. */
function pager(counts, from, size, turn) {
  return h("div", { class: "rest pager" }, ["matrices", "rows", "columns"].map((what, k) => {
    if (counts[k] <= size[k]) return null;
    const to = (by, mark, name) => {
      const next = from.map((at, axis) => (axis === k ? at + by : at));
      const end = by < 0 ? from[k] === 0 : from[k] + size[k] >= counts[k];
      const key = `${k} ${by}`;
      return h("button", { type: "button", "data-to": key, disabled: end, "aria-label": name, onclick: () => turn(next, key) }, mark);
    };
    return h("span", null, to(-size[k], "‹", `earlier ${what}`), ` ${what} ${from[k]} to ${from[k] + size[k] - 1} of ${counts[k]} `, to(size[k], "›", `later ${what}`));
  }));
}
