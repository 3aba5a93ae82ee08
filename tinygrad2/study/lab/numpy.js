// As much of Python and NumPy as a gradient rule needs, evaluated in the page: float64 arrays, NumPy's broadcasting, its
// indexing and its words for what is wrong. Nothing here uses eval, the network or the page; values never reach JavaScript's
// own objects. One global, NumPy: array, slice, list, evaluate, Error.
"use strict";

const NumPy = (() => {
  const MOST_ENTRIES = 4e6; // of one array
  const MOST_WORK = 5e8; // entries computed and products summed, in one evaluation: seconds
  const DEEPEST = 800; // expressions inside expressions, calls inside calls

  class NumPyError extends Error {}
  NumPyError.prototype.name = "NumPy.Error";
  const fail = (message) => {
    throw new NumPyError(message);
  };

  let work = 0;
  let depth = 0;
  function spend(amount) {
    work += amount;
    if (work > MOST_WORK) fail("this is more work than a page should do; try smaller arrays");
  }

  // Values: arrays {shape, data, bool?}, numbers, booleans, null for None, strings, JavaScript arrays for tuples and (marked)
  // lists, Slice, Callable, Namespace, and ELLIPSIS.
  class Slice {
    constructor(start, stop, step) {
      Object.assign(this, { start, stop, step });
    }
  }
  class Callable {
    constructor(name, call) {
      Object.assign(this, { name, call });
    }
  }
  class Namespace {
    constructor(name, members) {
      Object.assign(this, { name, members: new Map(Object.entries(members)) });
    }
  }
  const ELLIPSIS = Object.freeze({ name: "..." });
  const isArray = (x) => x !== null && typeof x === "object" && x.data instanceof Float64Array;
  const isScalar = (x) => typeof x === "number" || typeof x === "boolean";
  const listOf = (items) => Object.assign([...items], { list: true });
  const range = (n) => Array.from({ length: n }, (_, i) => i);
  const sizeOf = (shape) => shape.reduce((size, n) => size * n, 1);
  const same = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);
  const shapeText = (shape) => `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;

  function kindOf(x) {
    if (x === null) return "None";
    if (isArray(x)) return `an array of shape ${shapeText(x.shape)}`;
    if (Array.isArray(x)) return x.list ? "a list" : "a tuple";
    if (typeof x === "string") return "a text";
    if (typeof x === "boolean") return x ? "True" : "False";
    if (typeof x === "number") return "a number";
    if (x instanceof Slice) return "a slice";
    return x === ELLIPSIS ? "..." : `the ${x instanceof Namespace ? "name" : "function"} ${x.name || "here"}`;
  }

  function zeros(shape, bool = false) {
    for (const n of shape) if (!Number.isInteger(n) || n < 0) fail(`${n} is no length of an axis; a shape has whole numbers`);
    const size = sizeOf(shape);
    if (size > MOST_ENTRIES) {
      fail(`an array of shape ${shapeText(shape)} has ${size} entries; the most here is ${MOST_ENTRIES}`);
    }
    spend(size);
    const x = { shape: [...shape], data: new Float64Array(size) };
    if (bool) x.bool = true;
    return x;
  }

  function array(shape, data, bool = false) {
    const x = zeros(shape, bool);
    if (data.length !== x.data.length) {
      fail(`an array of shape ${shapeText(shape)} has ${x.data.length} entries, not ${data.length}`);
    }
    x.data.set(data);
    return x;
  }

  function asArray(x) {
    if (isArray(x)) return x;
    if (isScalar(x)) return array([], [x], typeof x === "boolean");
    if (!Array.isArray(x)) fail(`${kindOf(x)} is not an array`);
    if (!x.length) return zeros([0]);
    const parts = x.map(asArray);
    if (parts.some((part) => !same(part.shape, parts[0].shape))) fail("the rows of this array have different lengths");
    return stack(parts, 0);
  }

  // Where the entries of a view lie in the data of an array: one vector of steps per axis, every sum of them, row by row.
  function places(vectors) {
    const size = vectors.reduce((product, vector) => product * vector.length, 1);
    if (size > MOST_ENTRIES) fail(`an array of ${size} entries is too large; the most here is ${MOST_ENTRIES}`);
    let found = Int32Array.of(0);
    for (const vector of vectors) {
      const next = new Int32Array(found.length * vector.length);
      let k = 0;
      for (const place of found) for (const step of vector) next[k++] = place + step;
      found = next;
    }
    return found;
  }
  const steps = (n, stride, start = 0) => Int32Array.from({ length: n }, (_, i) => start + i * stride);
  const strided = (shape, strides) => places(shape.map((n, axis) => steps(n, strides[axis])));
  const stridesOf = (shape) => shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  function view(x, shape, where) {
    const out = zeros(shape, x.bool);
    for (let i = 0; i < where.length; i++) out.data[i] = x.data[where[i]];
    return out;
  }

  const unequal = (shapes) => fail(`operands of shapes ${shapes.map(shapeText).join(" and ")} do not broadcast`);
  function broadcastShapes(shapes) {
    const rank = Math.max(0, ...shapes.map((shape) => shape.length));
    return range(rank).map((i) => {
      const lengths = shapes.map((shape) => shape[i - rank + shape.length] ?? 1).filter((n) => n !== 1);
      if (lengths.some((n) => n !== lengths[0])) unequal(shapes);
      return lengths[0] ?? 1;
    });
  }

  function broadcastTo(x, shape) {
    if (same(x.shape, shape)) return x;
    const extra = shape.length - x.shape.length;
    if (extra < 0 || x.shape.some((n, i) => n !== 1 && n !== shape[i + extra])) {
      fail(`an array of shape ${shapeText(x.shape)} does not broadcast to ${shapeText(shape)}`);
    }
    const strides = stridesOf(x.shape).map((stride, i) => (x.shape[i] === 1 ? 0 : stride));
    return view(x, shape, strided(shape, [...Array(extra).fill(0), ...strides]));
  }

  function entrywise(f, ...inputs) {
    const shape = broadcastShapes(inputs.map((x) => x.shape));
    const out = zeros(shape);
    const [a, b, c] = inputs.map((x) => broadcastTo(x, shape).data);
    if (c) for (let i = 0; i < a.length; i++) out.data[i] = f(a[i], b[i], c[i]);
    else if (b) for (let i = 0; i < a.length; i++) out.data[i] = f(a[i], b[i]);
    else for (let i = 0; i < a.length; i++) out.data[i] = f(a[i]);
    return out;
  }
  const marked = (x, bool) => (bool ? Object.assign(x, { bool: true }) : x);

  function axesOf(axis, rank) {
    const given = isArray(axis) ? [...axis.data] : Array.isArray(axis) ? axis : axis === null ? range(rank) : [axis];
    const axes = given.map((a) => {
      const n = isArray(a) ? a.data[0] : a;
      if (!Number.isInteger(n)) fail(`${Number.isFinite(n) ? n : kindOf(n)} is no axis; an axis is a whole number`);
      if (n < -rank || n >= rank) fail(`axis ${n} is out of bounds for array of dimension ${rank}`);
      return n < 0 ? n + rank : n;
    });
    if (new Set(axes).size < axes.length) fail("the same axis is given twice");
    return axes;
  }

  // Calls visit(places of a row, number of the row) for every row along some axes.
  function eachRow(x, axes, visit) {
    const strides = stridesOf(x.shape);
    const kept = range(x.shape.length).filter((axis) => !axes.includes(axis));
    const within = places([...axes].sort((a, b) => a - b).map((axis) => steps(x.shape[axis], strides[axis])));
    spend(x.data.length);
    places(kept.map((axis) => steps(x.shape[axis], strides[axis]))).forEach((start, number) => {
      visit(within.map((place) => start + place), number);
    });
  }

  function fold(x, axis, keepdims, f, bool = false) {
    const axes = !x.shape.length && [0, -1].includes(axis) ? [] : axesOf(axis, x.shape.length); // as in NumPy
    const shape = x.shape.map((n, i) => (axes.includes(i) ? 1 : n));
    const out = zeros(keepdims ? shape : shape.filter((_, i) => !axes.includes(i)), bool);
    eachRow(x, axes, (row, number) => {
      out.data[number] = f(Float64Array.from(row, (place) => x.data[place]));
    });
    return out;
  }

  function along(x, axis, f) {
    const out = zeros(x.shape);
    eachRow(x, axesOf(axis, x.shape.length), (row) => {
      const values = f(Float64Array.from(row, (place) => x.data[place]));
      row.forEach((place, i) => (out.data[place] = values[i]));
    });
    return out;
  }

  const total = (row) => row.reduce((sum, v) => sum + v, 0);
  const mean = (row) => total(row) / row.length;
  const variance = (row, ddof) => {
    const middle = mean(row);
    return total(row.map((v) => (v - middle) ** 2)) / (row.length - ddof);
  };
  const best = (name, better) => (row) => {
    if (!row.length) fail(`zero-size array to reduction operation ${name} which has no identity`);
    return row.reduce((found, v) => (better(v, found) || v !== v ? v : found));
  };
  const largest = best("maximum", (a, b) => a > b);
  const smallest = best("minimum", (a, b) => a < b);
  const order = (row) => range(row.length).sort((i, j) => row[i] - row[j] || (row[i] !== row[i]) - (row[j] !== row[j]));
  const placeOf = (choose) => (row) => {
    const found = choose(row);
    return row.findIndex((v) => Object.is(v, found) || v === found);
  };

  function reshape(x, shape) {
    const known = sizeOf(shape.filter((n) => n !== -1));
    const open = shape.filter((n) => n === -1).length;
    const full = shape.map((n) => (n === -1 && known ? x.data.length / known : n));
    if (open > 1 || !full.every((n) => Number.isInteger(n) && n >= 0) || sizeOf(full) !== x.data.length) {
      fail(`cannot reshape array of shape ${shapeText(x.shape)}, size ${x.data.length}, into shape ${shapeText(shape)}`);
    }
    return marked({ shape: full, data: x.data }, x.bool);
  }

  function transpose(x, axes) {
    if (axes.length !== x.shape.length) {
      fail(`transpose: axes ${shapeText(axes)} do not fit an array of shape ${shapeText(x.shape)}`);
    }
    const strides = stridesOf(x.shape);
    const shape = axes.map((axis) => x.shape[axis]);
    return view(x, shape, strided(shape, axes.map((axis) => strides[axis])));
  }

  function swapaxes(x, axis1, axis2) {
    const axes = range(x.shape.length);
    const [[i], [j]] = [axesOf(axis1, axes.length), axesOf(axis2, axes.length)];
    [axes[i], axes[j]] = [axes[j], axes[i]];
    return transpose(x, axes);
  }

  function expandDims(x, axis) {
    const rank = x.shape.length + (Array.isArray(axis) ? axis.length : 1);
    const axes = axesOf(axis, rank);
    const rest = [...x.shape];
    return reshape(x, range(rank).map((i) => (axes.includes(i) ? 1 : rest.shift())));
  }

  function concatenate(parts, axis) {
    if (!parts.length) fail("need at least one array to concatenate");
    const [first] = parts;
    const [along] = axesOf(axis, first.shape.length);
    const rest = (part) => part.shape.map((n, i) => (i === along ? -1 : n));
    const odd = parts.find((part) => !same(rest(part), rest(first)));
    if (odd) {
      fail(`concatenate: shapes ${shapeText(first.shape)} and ${shapeText(odd.shape)} differ in an axis other than ${along}`);
    }
    const length = parts.reduce((sum, part) => sum + part.shape[along], 0);
    const out = zeros(first.shape.map((n, i) => (i === along ? length : n)), parts.every((part) => part.bool));
    const rows = sizeOf(first.shape.slice(0, along));
    let start = 0;
    for (const part of parts) {
      const width = part.data.length / rows || 0;
      for (let row = 0; row < rows; row++) {
        out.data.set(part.data.subarray(row * width, (row + 1) * width), (row * out.data.length) / rows + start);
      }
      start += width;
    }
    return out;
  }
  const stack = (parts, axis) => concatenate(parts.map((part) => expandDims(part, axis)), axis);

  // Python's slice of an axis of this length: [start, number of entries, step].
  function sliced(slice, length) {
    const step = slice.step ?? 1;
    if (step === 0) fail("slice step cannot be zero");
    const bound = (value, otherwise) => {
      if (value === null || value === undefined) return otherwise;
      const n = isArray(value) && value.data.length === 1 ? value.data[0] : value;
      if (!Number.isInteger(n)) fail(`slice indices must be whole numbers, not ${kindOf(n)}`);
      return Math.min(Math.max(n < 0 ? n + length : n, step < 0 ? -1 : 0), step < 0 ? length - 1 : length);
    };
    const start = bound(slice.start, step < 0 ? length - 1 : 0);
    const stop = bound(slice.stop, step < 0 ? -1 : length);
    return [start, Math.max(0, Math.ceil((stop - start) / step)), step];
  }

  function position(index, length, axis) {
    if (!Number.isInteger(index)) fail("only whole numbers, slices, None, ... and integer or boolean arrays are valid indices");
    if (index < -length || index >= length) fail(`index ${index} is out of bounds for axis ${axis} with size ${length}`);
    return index < 0 ? index + length : index;
  }

  // What an index picks from an array of this shape: {shape, where}.
  function locate(shape, index) {
    const given = (Array.isArray(index) && !index.list ? index : [index]).map((item) => {
      if (item === null || item === ELLIPSIS || item instanceof Slice) return item;
      if (Array.isArray(item) || typeof item === "number" || isArray(item)) return asArray(item);
      return fail(`${kindOf(item)} is not an index`);
    });
    const axesUsed = (item) => (item === null || item === ELLIPSIS ? 0 : item.bool ? item.shape.length : 1);
    const used = given.reduce((sum, item) => sum + axesUsed(item), 0);
    if (used > shape.length) fail(`too many indices: the array is ${shape.length}-dimensional, but ${used} were indexed`);
    if (!given.includes(ELLIPSIS)) given.push(ELLIPSIS);
    const full = Array(shape.length - used).fill(new Slice(null, null, null));
    const strides = stridesOf(shape);
    const pieces = []; // of a slice or a new axis {shape, vector}, of a number or an array {picks, axis}
    let axis = 0;
    for (const item of given.flatMap((piece) => (piece === ELLIPSIS ? full : [piece]))) {
      if (item === null) {
        pieces.push({ shape: [1], vector: [0] });
      } else if (item instanceof Slice) {
        const [start, count, step] = sliced(item, shape[axis]);
        pieces.push({ shape: [count], vector: steps(count, step * strides[axis], start * strides[axis]) });
        axis++;
      } else if (item.bool) {
        if (!item.shape.length) fail("a single True or False is no index; a mask has the shape of what it picks from");
        const masked = shape.slice(axis, axis + item.shape.length);
        if (!same(masked, item.shape)) {
          fail(`boolean index of shape ${shapeText(item.shape)} does not match ${shapeText(masked)}`);
        }
        for (const picks of nonzero(item)) pieces.push({ picks, axis: axis++ });
      } else {
        pieces.push({ picks: item, axis: axis++ });
      }
    }
    const picking = pieces.filter((piece) => piece.picks);
    if (picking.length) {
      const common = broadcastShapes(picking.map((piece) => piece.picks.shape));
      const vector = new Int32Array(sizeOf(common));
      for (const { picks, axis: at } of picking) {
        broadcastTo(picks, common).data.forEach((n, i) => (vector[i] += position(n, shape[at], at) * strides[at]));
      }
      const first = pieces.indexOf(picking[0]);
      const together = pieces.indexOf(picking.at(-1)) - first === picking.length - 1;
      const others = pieces.filter((piece) => !piece.picks);
      others.splice(together ? first : 0, 0, { shape: common, vector });
      pieces.splice(0, pieces.length, ...others);
    }
    return { shape: pieces.flatMap((piece) => piece.shape), where: places(pieces.map((piece) => piece.vector)) };
  }

  function nonzero(mask) {
    const found = range(mask.data.length).filter((i) => mask.data[i]);
    return stridesOf(mask.shape).map((stride, axis) => {
      return array([found.length], found.map((i) => Math.floor(i / stride) % mask.shape[axis]));
    });
  }

  function getItem(x, index) {
    if (Array.isArray(x)) {
      if (index instanceof Slice) {
        const [start, count, step] = sliced(index, x.length);
        const items = range(count).map((i) => x[start + i * step]);
        return x.list ? listOf(items) : items;
      }
      const n = isArray(index) && index.data.length === 1 ? index.data[0] : index;
      if (Number.isInteger(n) && (n < -x.length || n >= x.length)) {
        fail(`index ${n} is out of range: ${kindOf(x)} of ${x.length}`);
      }
      return x[position(n, x.length, 0)];
    }
    if (!isArray(x)) fail(`${kindOf(x)} cannot be indexed`);
    const { shape, where } = locate(x.shape, index);
    return view(x, shape, where);
  }

  function scatter(g, x, index) {
    const { shape, where } = locate(x.shape, index);
    const values = broadcastTo(g, shape).data;
    const out = zeros(x.shape);
    where.forEach((place, i) => (out.data[place] += values[i]));
    return out;
  }

  // The sum of products of arrays whose axes have names, over the names that the result does not have.
  function contract(arrays, terms, result) {
    const length = new Map();
    arrays.forEach((x, k) => {
      terms[k].forEach((name, axis) => {
        const [known, n] = [length.get(name) ?? 1, x.shape[axis]];
        if (known !== 1 && n !== 1 && n !== known) unequal(arrays.map((a) => a.shape));
        if (known === 1) length.set(name, n);
      });
    });
    const summed = [...length.keys()].filter((name) => !result.includes(name));
    const offsets = (names) => arrays.map((x, k) => {
      const strides = stridesOf(x.shape);
      const own = (name, axis) => (terms[k][axis] === name && x.shape[axis] !== 1 ? strides[axis] : 0);
      const step = (name) => range(x.shape.length).reduce((sum, axis) => sum + own(name, axis), 0);
      return strided(names.map((name) => length.get(name)), names.map(step));
    });
    const out = zeros(result.map((name) => length.get(name)));
    const count = sizeOf(summed.map((name) => length.get(name)));
    spend(out.data.length * count);
    const [outer, inner] = [offsets(result), offsets(summed)];
    const data = arrays.map((x) => x.data);
    if (data.length === 2) {
      const [a, b] = data;
      const [inA, inB] = inner;
      for (let i = 0; i < out.data.length; i++) {
        const [atA, atB] = [outer[0][i], outer[1][i]];
        let sum = 0;
        for (let j = 0; j < count; j++) sum += a[atA + inA[j]] * b[atB + inB[j]];
        out.data[i] = sum;
      }
      return out;
    }
    for (let i = 0; i < out.data.length; i++) {
      for (let j = 0; j < count; j++) out.data[i] += data.reduce((product, x, k) => product * x[outer[k][i] + inner[k][j]], 1);
    }
    return out;
  }

  function matmul(a, b) {
    const text = `matmul: ${shapeText(a.shape)} @ ${shapeText(b.shape)}`;
    if (!a.shape.length || !b.shape.length) fail(`${text}: a single number has no axis to sum over; multiply it with *`);
    const [inA, inB] = [a.shape.at(-1), b.shape.at(b.shape.length > 1 ? -2 : 0)];
    if (inA !== inB) fail(`${text}: inner dimensions ${inA} and ${inB} differ`);
    const batch = range(Math.max(a.shape.length, b.shape.length, 2) - 2).map(String);
    const term = (x, row, column) => [...batch.slice(batch.length - x.shape.length + 2), row, column];
    const left = a.shape.length > 1 ? term(a, "i", "j") : ["j"];
    const right = b.shape.length > 1 ? term(b, "j", "k") : ["j"];
    return contract([a, b], [left, right], [...batch, "i", "k"].filter((name) => left.includes(name) || right.includes(name)));
  }

  function dot(a, b) {
    if (!a.shape.length || !b.shape.length) return entrywise((x, y) => x * y, a, b);
    if (b.shape.length < 3) return matmul(a, b);
    const left = a.shape.map((_, i) => (i === a.shape.length - 1 ? "sum" : `a${i}`));
    const right = b.shape.map((_, i) => (i === b.shape.length - 2 ? "sum" : `b${i}`));
    const [inA, inB] = [a.shape.at(-1), b.shape.at(-2)];
    if (inA !== inB) fail(`dot: ${shapeText(a.shape)} and ${shapeText(b.shape)}: inner dimensions ${inA} and ${inB} differ`);
    return contract([a, b], [left, right], [...left, ...right].filter((name) => name !== "sum"));
  }

  // The names of the axes of the operands and of the result; the axes of "..." are called 0, 1, ... from the last.
  function subscripted(subscripts, arrays) {
    if (typeof subscripts !== "string") fail("einsum: the first argument is a text like 'ij,jk->ik'");
    const [left, right] = subscripts.replaceAll(" ", "").split("->");
    const operands = left.split(",");
    if (operands.length !== arrays.length) {
      fail(`einsum: '${subscripts}' names ${operands.length} operands, but ${arrays.length} are given`);
    }
    const spread = arrays.map((x, k) => (operands[k].includes("...") ? x.shape.length - operands[k].length + 3 : 0));
    const named = (text, count) => {
      const [before, after] = text.split("...");
      return after === undefined ? [...before] : [...before, ...range(Math.max(count, 0)).reverse().map(String), ...after];
    };
    const terms = operands.map((text, k) => named(text, spread[k]));
    terms.forEach((term, k) => {
      if (term.length !== arrays[k].shape.length) {
        fail(`einsum: '${operands[k]}' does not fit an array of shape ${shapeText(arrays[k].shape)}`);
      }
    });
    const letters = [...left].filter((letter) => !",.".includes(letter));
    const once = letters.filter((letter) => letters.filter((other) => other === letter).length === 1).sort().join("");
    const result = named(right ?? (left.includes("...") ? "..." : "") + once, Math.max(...spread));
    const unknown = result.find((name) => !terms.flat().includes(name));
    if (unknown) fail(`einsum: '${unknown}' of the result is in no operand`);
    return { terms, result };
  }

  function einsum(subscripts, arrays) {
    const { terms, result } = subscripted(subscripts, arrays);
    return contract(arrays, terms, result);
  }

  function einsumVjp(g, arrays, subscripts) {
    const { terms, result } = subscripted(subscripts, arrays);
    const without = (items, i) => items.filter((_, j) => j !== i);
    return arrays.map((x, i) => {
      const others = [result, ...without(terms, i)];
      const known = terms[i].filter((name) => others.flat().includes(name));
      const product = contract([g, ...without(arrays, i)], others, known);
      const length = (name) => (known.includes(name) ? product.shape[known.indexOf(name)] : 1);
      const full = x.shape.map((n, axis) => (n ? Math.max(length(terms[i][axis]), n) : 0));
      return broadcastTo(reshape(product, terms[i].map(length)), full);
    });
  }

  // Entry by entry. A marked function gives booleans; of two booleans, `logic` says what NumPy makes of them.
  const erf = (x) => {
    if (Math.abs(x) > 6 || x !== x) return Math.sign(x);
    let [sum, term] = [x, x]; // exp(-x^2) 2 / sqrt(pi) times the sum of 2^n x^(2n+1) / (2n+1)!!: nothing cancels
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) sum += term *= (2 * x * x) / (2 * n + 1);
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  };
  const rounded = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
  const remainder = (a, b) => {
    const r = a % b;
    return r !== 0 && r < 0 !== b < 0 ? r + b : r;
  };
  const floorDivide = (a, b) => (b === 0 ? a / b : Math.round((a - remainder(a, b)) / b));
  const power = (a, b) => (a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : a ** b);
  const logaddexp = (a, b) => (a === b ? a + Math.LN2 : Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b))));

  const ONE = new Map(Object.entries({
    exp: Math.exp, expm1: Math.expm1, log: Math.log, log1p: Math.log1p, log2: Math.log2, log10: Math.log10, sqrt: Math.sqrt,
    tanh: Math.tanh, sinh: Math.sinh, cosh: Math.cosh, sin: Math.sin, cos: Math.cos, tan: Math.tan, arctan: Math.atan,
    abs: Math.abs, absolute: Math.abs, sign: Math.sign, square: (x) => x * x, reciprocal: (x) => 1 / x, floor: Math.floor,
    ceil: Math.ceil, rint: rounded, negative: (x) => -x,
  }));
  const TESTS = new Map(Object.entries({
    isfinite: Number.isFinite, isnan: Number.isNaN, isinf: (x) => Math.abs(x) === Infinity, logical_not: (x) => !x,
  }));
  const TWO = new Map(Object.entries({
    add: (a, b) => a + b, subtract: (a, b) => a - b, multiply: (a, b) => a * b, divide: (a, b) => a / b,
    floor_divide: floorDivide, mod: remainder, remainder, power, logaddexp, maximum: Math.max, minimum: Math.min,
  }));
  const COMPARE = new Map(Object.entries({
    less: (a, b) => a < b, less_equal: (a, b) => a <= b, greater: (a, b) => a > b, greater_equal: (a, b) => a >= b,
    equal: (a, b) => a === b, not_equal: (a, b) => a !== b, logical_and: (a, b) => a && b, logical_or: (a, b) => a || b,
  }));
  const SYMBOLS = new Map(Object.entries({
    "+": "add", "-": "subtract", "*": "multiply", "/": "divide", "//": "floor_divide", "%": "mod", "**": "power",
    "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal", "==": "equal", "!=": "not_equal",
  }));
  const STAYS_BOOLEAN = ["add", "multiply", "maximum", "minimum"];

  function oneArray(name, x) {
    if (x.bool && name === "negative") fail("- does not work on booleans; use ~ to turn them around");
    return TESTS.has(name) ? marked(entrywise(TESTS.get(name), x), true) : entrywise(ONE.get(name), x);
  }

  function twoArrays(name, a, b) {
    const f = COMPARE.get(name);
    if (f) return marked(entrywise((x, y) => (f(x, y) ? 1 : 0), a, b), true);
    const booleans = a.bool && b.bool;
    if (booleans && name === "subtract") fail("- does not work on two arrays of booleans; use ^ or .astype(float)");
    if (booleans && STAYS_BOOLEAN.includes(name)) return marked(entrywise((x, y) => (TWO.get(name)(x, y) ? 1 : 0), a, b), true);
    return entrywise(TWO.get(name), a, b);
  }

  function numberOf(n) {
    if (isScalar(n)) return Number(n);
    return isArray(n) && n.data.length === 1 ? n.data[0] : fail(`${kindOf(n)} is not a number`);
  }
  function asShape(shape) {
    if (isArray(shape)) return [...shape.data];
    return Array.isArray(shape) ? shape.map(numberOf) : [numberOf(shape)];
  }
  const loose = (items) => asShape(items.length === 1 && !isScalar(items[0]) ? items[0] : items); // f(x, 2, 3) or f(x, (2, 3))
  const flat = (x) => reshape(x, [x.data.length]);
  function counting(start, stop, step) {
    const [from, to, by] = [stop === null ? 0 : start, stop ?? start, step].map(numberOf);
    const count = Math.max(0, Math.ceil((to - from) / by));
    return array([count], zeros([count]).data.map((_, i) => from + i * by));
  }
  const counted = (n) => counting(n, null, 1);
  const axisOf = (axis, x) => axesOf([axis], x.shape.length)[0];
  const at = (x, axis, item) => getItem(x, [...Array(axisOf(axis, x)).fill(new Slice(null, null, null)), item]);

  function typed(x, type) {
    const name = String(type?.name ?? type ?? "float");
    if (/^bool/.test(name)) return marked({ shape: x.shape, data: x.data.map((v) => (v ? 1 : 0)) }, true);
    return { shape: x.shape, data: /^u?int/.test(name) ? x.data.map(Math.trunc) : x.data };
  }
  const filled = (shape, value, type) => typed(array(shape, zeros(shape).data.fill(value)), type);

  // Ones where the number of the column minus that of the row minus k is as asked, zeros elsewhere.
  const triangle = (n, m, k, inside) => entrywise((i, j) => inside(j - i - k), expandDims(counted(n), 1), counted(m));
  function masked(x, k, inside) {
    if (x.shape.length < 2) fail(`a triangle needs two axes; this array has shape ${shapeText(x.shape)}`);
    const kept = triangle(x.shape.at(-2), x.shape.at(-1), numberOf(k), inside);
    return marked(entrywise((v, keep) => (keep ? v : 0), x, kept), x.bool);
  }

  function diagonal(x) {
    const [n, m] = x.shape;
    if (x.shape.length === 1) return entrywise((v, keep) => (keep ? v : 0), x, triangle(n, n, 0, (d) => d === 0));
    if (x.shape.length !== 2) fail(`diag: the array has shape ${shapeText(x.shape)}; it takes one or two axes`);
    return getItem(x, [counted(Math.min(n, m)), counted(Math.min(n, m))]);
  }

  function split(x, parts, axis) {
    const length = x.shape[axisOf(axis, x)];
    if (isScalar(parts) && (!Number.isInteger(parts) || parts < 1 || length % parts)) {
      fail(`split: an axis of ${length} entries does not divide into ${parts} equal parts`);
    }
    const cuts = isScalar(parts) ? [...steps(parts, length / parts)].slice(1) : asShape(parts);
    return listOf([0, ...cuts].map((start, i) => at(x, axis, new Slice(start, cuts[i] ?? null, null))));
  }

  // Every axis several times as long; `source` says where an entry comes from: (its number, the length before, how many times).
  function repeated(x, counts, source) {
    const rank = Math.max(counts.length, x.shape.length);
    const wide = reshape(x, [...Array(rank - x.shape.length).fill(1), ...x.shape]);
    const times = [...Array(rank - counts.length).fill(1), ...counts];
    const strides = stridesOf(wide.shape);
    const { shape } = zeros(wide.shape.map((n, i) => n * times[i]));
    return view(wide, shape, places(shape.map((n, i) => range(n).map((k) => source(k, wide.shape[i], times[i]) * strides[i]))));
  }

  function productOfOthers(x, axis) {
    const out = zeros(x.shape);
    eachRow(x, axesOf(axis, x.shape.length), (row) => {
      spend(row.length ** 2);
      for (const place of row) {
        out.data[place] = row.reduce((product, other) => (other === place ? product : product * x.data[other]), 1);
      }
    });
    return out;
  }

  // NumPy's functions, under the signature they have in Python. A parameter x or y is made an array; others stay as they are.
  const FUNCTIONS = {
    "sum(x, axis=None, keepdims=False)": (x, axis, keepdims) => fold(x, axis, keepdims, total),
    "mean(x, axis=None, keepdims=False)": (x, axis, keepdims) => fold(x, axesOf(axis, x.shape.length), keepdims, mean),
    "prod(x, axis=None, keepdims=False)": (x, axis, keepdims) =>
      fold(x, axis, keepdims, (row) => row.reduce((product, v) => product * v, 1)),
    "max(x, axis=None, keepdims=False)": (x, axis, keepdims) => fold(x, axis, keepdims, largest, x.bool),
    "min(x, axis=None, keepdims=False)": (x, axis, keepdims) => fold(x, axis, keepdims, smallest, x.bool),
    "var(x, axis=None, ddof=0, keepdims=False)": (x, axis, ddof, keepdims) =>
      fold(x, axesOf(axis, x.shape.length), keepdims, (row) => variance(row, ddof)),
    "std(x, axis=None, ddof=0, keepdims=False)": (x, axis, ddof, keepdims) =>
      fold(x, axesOf(axis, x.shape.length), keepdims, (row) => Math.sqrt(variance(row, ddof))),
    "any(x, axis=None, keepdims=False)": (x, axis, keepdims) => fold(x, axis, keepdims, (row) => row.some((v) => v), true),
    "all(x, axis=None, keepdims=False)": (x, axis, keepdims) => fold(x, axis, keepdims, (row) => row.every((v) => v), true),
    "argmax(x, axis=None, keepdims=False)": (x, axis, keepdims) => fold(x, axis, keepdims, placeOf(largest)),
    "argmin(x, axis=None, keepdims=False)": (x, axis, keepdims) => fold(x, axis, keepdims, placeOf(smallest)),
    "argsort(x, axis=-1, kind=None)": (x, axis) => along(x, axis, order),
    "sort(x, axis=-1)": (x, axis) => along(x, axis, (row) => order(row).map((i) => row[i])),
    "cumsum(x, axis=None)": (x, axis) => {
      let sum = 0;
      return along(axis === null ? flat(x) : x, axis ?? 0, (row) => row.map((v, i) => (sum = i ? sum + v : v)));
    },
    "clip(x, a_min=None, a_max=None)": (x, low, high) => {
      const raised = low === null ? x : twoArrays("maximum", x, asArray(low));
      return high === null ? raised : twoArrays("minimum", raised, asArray(high));
    },
    "where(condition, *choices)": (condition, choices) => {
      if (!choices.length) return nonzero(asArray(condition));
      if (choices.length !== 2) fail("where: give a condition, and what to take where it holds and where it does not");
      const [x, y] = choices.map(asArray);
      return marked(entrywise((c, a, b) => (c ? a : b), asArray(condition), x, y), x.bool && y.bool);
    },
    "reshape(x, *shape)": (x, shape) => reshape(x, loose(shape)),
    "ravel(x)": flat,
    "transpose(x, *axes)": (x, axes) => {
      const none = !axes.length || axes[0] === null;
      return transpose(x, none ? range(x.shape.length).reverse() : axesOf(loose(axes), x.shape.length));
    },
    "swapaxes(x, axis1, axis2)": swapaxes,
    "moveaxis(x, source, destination)": (x, source, destination) => {
      const axes = range(x.shape.length).filter((axis) => axis !== axisOf(source, x));
      axes.splice(axisOf(destination, x), 0, axisOf(source, x));
      return transpose(x, axes);
    },
    "squeeze(x, axis=None)": (x, axis) => {
      const gone = axis === null ? range(x.shape.length).filter((i) => x.shape[i] === 1) : axesOf(axis, x.shape.length);
      const long = gone.find((i) => x.shape[i] !== 1);
      if (long !== undefined) fail(`squeeze: axis ${long} has length ${x.shape[long]}, not 1`);
      return reshape(x, x.shape.filter((_, i) => !gone.includes(i)));
    },
    "expand_dims(x, axis)": expandDims,
    "broadcast_to(x, shape)": (x, shape) => broadcastTo(x, asShape(shape)),
    "concatenate(arrays, axis=0)": (arrays, axis) => {
      const parts = [...iterate(arrays)].map(asArray);
      return axis === null ? concatenate(parts.map(flat), 0) : concatenate(parts, axis);
    },
    "stack(arrays, axis=0)": (arrays, axis) => {
      const parts = [...iterate(arrays)].map(asArray);
      if (parts.some((part) => !same(part.shape, parts[0].shape))) fail("stack: all arrays must have the same shape");
      return stack(parts, axis);
    },
    "split(x, indices_or_sections, axis=0)": split,
    "take(x, indices, axis=None)": (x, indices, axis) =>
      axis === null ? getItem(flat(x), asArray(indices)) : at(x, axis, asArray(indices)),
    "flip(x, axis=None)": (x, axis) => {
      const axes = axesOf(axis, x.shape.length);
      return getItem(x, range(x.shape.length).map((i) => new Slice(null, null, axes.includes(i) ? -1 : 1)));
    },
    "tile(x, reps)": (x, reps) => repeated(x, asShape(reps), (k, n) => k % n),
    "repeat(x, repeats, axis=None)": (x, repeats, axis) => {
      const from = axis === null ? flat(x) : x;
      const counts = from.shape.map((_, i) => (i === axisOf(axis ?? 0, from) ? numberOf(repeats) : 1));
      return repeated(from, counts, (k, _, times) => Math.floor(k / times));
    },
    "matmul(x, y)": matmul,
    "dot(x, y)": dot,
    "outer(x, y)": (x, y) => contract([flat(x), flat(y)], [["i"], ["j"]], ["i", "j"]),
    "einsum(subscripts, *operands)": (subscripts, operands) => einsum(subscripts, operands.map(asArray)),
    "tril(x, k=0)": (x, k) => masked(x, k, (d) => d <= 0),
    "triu(x, k=0)": (x, k) => masked(x, k, (d) => d >= 0),
    "diag(x)": diagonal,
    "zeros(shape, dtype=None)": (shape, type) => filled(asShape(shape), 0, type),
    "ones(shape, dtype=None)": (shape, type) => filled(asShape(shape), 1, type),
    "full(shape, fill_value, dtype=None)": (shape, value, type) => filled(asShape(shape), numberOf(value), type),
    "zeros_like(x, dtype=None)": (x, type) => filled(x.shape, 0, type),
    "ones_like(x, dtype=None)": (x, type) => filled(x.shape, 1, type),
    "arange(start, stop=None, step=1, dtype=None)": (start, stop, step, type) => typed(counting(start, stop, step), type),
    "eye(n, m=None, k=0, dtype=None)": (n, m, k, type) =>
      typed(triangle(numberOf(n), numberOf(m ?? n), numberOf(k), (d) => d === 0), type),
    "tri(n, m=None, k=0, dtype=None)": (n, m, k, type) =>
      typed(triangle(numberOf(n), numberOf(m ?? n), numberOf(k), (d) => d <= 0), type),
    "array(x, dtype=None)": (x, type) => (type === null ? x : typed(x, type)),
    "asarray(x, dtype=None)": (x, type) => (type === null ? x : typed(x, type)),
    "copy(x)": (x) => x,
    "astype(x, dtype)": typed,
    "round(x, decimals=0)": (x, decimals) => entrywise((v) => rounded(v * 10 ** decimals) / 10 ** decimals, x),
    "allclose(x, y, rtol=1e-5, atol=1e-8)": (x, y, rtol, atol) =>
      entrywise((a, b) => a === b || Math.abs(a - b) <= atol + rtol * Math.abs(b), x, y).data.every((v) => v),
    "array_equal(x, y)": (x, y) => same(x.shape, y.shape) && x.data.every((v, i) => v === y.data[i]),
  };
  const METHODS = (
    "sum mean prod max min var std any all argmax argmin argsort cumsum clip reshape ravel transpose swapaxes squeeze " +
    "repeat take dot astype round copy"
  ).split(" ");

  // A function that takes its arguments as Python does: by position or by name, with defaults.
  function define(signature, f) {
    const [, name, list] = signature.match(/^(\w+)\((.*)\)$/);
    const literal = { None: null, False: false };
    const parameters = list.split(", ").map((text) => {
      const [parameter, value] = text.replace("*", "").split("=");
      const optional = value !== undefined;
      const start = optional && Object.hasOwn(literal, value) ? literal[value] : Number(value);
      return { name: parameter, rest: text.startsWith("*"), array: /^[xy]$/.test(parameter), optional, value: start };
    });
    return new Callable(name, (args, keywords = new Map()) => f(...bind(name, parameters, args, keywords)));
  }

  function bind(name, parameters, args, keywords) {
    const left = new Map(keywords);
    const taken = [...args];
    const values = parameters.map((parameter) => {
      const given = left.has(parameter.name);
      const value = left.get(parameter.name);
      left.delete(parameter.name);
      if (parameter.rest) return given ? [value] : taken.splice(0);
      if (given && taken.length) fail(`${name}() got ${parameter.name} twice`);
      if (!given && !taken.length && !parameter.optional) fail(`${name}() needs ${parameter.name}`);
      const found = given ? value : taken.length ? taken.shift() : parameter.value;
      return parameter.array ? asArray(found) : found;
    });
    const takes = parameters.map((parameter) => parameter.name).join(", ");
    for (const unknown of left.keys()) fail(`${name}() has no argument '${unknown}'; it takes ${takes}`);
    if (taken.length) fail(`${name}() takes ${parameters.length} arguments, but ${args.length} were given: ${takes}`);
    return values;
  }

  // The text, as tokens {kind, text, at}. A newline inside brackets separates nothing.
  const TOKEN = new RegExp(
    [
      /(?<space>[ \t\r]+|#[^\n]*|\\\r?\n)/,
      /(?<number>(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)/,
      /(?<name>[\p{L}_][\p{L}\p{N}_]*)/,
      /(?<text>'[^'\n]*'|"[^"\n]*")/,
      /(?<end>[;\n])/,
      /(?<sign>\.\.\.|\*\*=?|\/\/=?|[-+*\/%@<>=!]=|[-+*\/%@<>=()[\]{},:.~&|^])/,
    ].map((part) => part.source).join("|"),
    "uy",
  );
  const WORDS = new Set((
    "None True False and or not if else for in is lambda def class return import from while with try except raise pass break " +
    "continue del global nonlocal assert async await yield as elif finally"
  ).split(" "));

  function tokenize(source) {
    const where = (at) => {
      const before = source.slice(0, at).split("\n");
      return `${source.includes("\n") ? `line ${before.length}, ` : ""}column ${before.at(-1).length + 1}`;
    };
    const tokens = [];
    const open = [];
    TOKEN.lastIndex = 0;
    for (let at = 0; at < source.length; at = TOKEN.lastIndex) {
      const found = TOKEN.exec(source);
      if (!found) fail(`unexpected ${[...source.slice(at)][0]} at ${where(at)}`);
      const [kind, text] = Object.entries(found.groups).find(([, value]) => value !== undefined);
      if ("([{".includes(text)) open.push(at);
      if (")]}".includes(text)) open.pop();
      if (kind !== "space" && !(text === "\n" && open.length)) {
        tokens.push({ kind: WORDS.has(text) && kind === "name" ? "word" : kind, text, at: where(at) });
      }
    }
    if (open.length) fail(`the '${source[open.at(-1)]}' at ${where(open.at(-1))} is never closed`);
    tokens.push({ kind: "end", text: "", at: where(source.length) });
    return tokens;
  }

  const RANK = new Map(Object.entries({ "|": 1, "^": 2, "&": 3, "+": 4, "-": 4, "*": 5, "/": 5, "//": 5, "%": 5, "@": 5 }));
  const COMPARISONS = ["<", "<=", ">", ">=", "==", "!="];

  // Python's grammar, each rule a method, the loosest first. A node is {kind, ...}.
  class Parser {
    constructor(source) {
      Object.assign(this, { tokens: tokenize(source), next: 0, depth: 0 });
    }
    get token() {
      return this.tokens[this.next];
    }
    is(...texts) {
      return this.token.kind !== "text" && this.token.kind !== "end" && texts.includes(this.token.text);
    }
    accept(...texts) {
      return this.is(...texts) ? this.tokens[this.next++].text : null;
    }
    unexpected() {
      const { kind, text, at } = this.token;
      fail(`unexpected ${kind === "end" ? "end" : `'${text}'`} at ${at}`);
    }
    expect(text) {
      return this.accept(text) ?? this.unexpected();
    }
    name() {
      if (this.token.kind !== "name") this.unexpected();
      return this.tokens[this.next++].text;
    }

    statements() {
      const found = [];
      while (this.next < this.tokens.length) {
        if (this.token.kind !== "end") found.push(this.statement());
        if (this.token.kind !== "end") this.unexpected();
        this.next++;
      }
      return found;
    }
    statement() {
      const start = this.token;
      const left = this.tuple();
      const sign = this.accept("=", "+=", "-=", "*=", "/=", "@=", "**=", "//=", "%=");
      if (!sign) return { kind: "show", value: left };
      const targets = left.kind === "tuple" ? left.items : [left];
      if (targets.some((target) => target.kind !== "name") || (sign !== "=" && left.kind !== "name")) {
        fail(`what is assigned to at ${start.at} must be a name; arrays are not changed in place here`);
      }
      const value = this.tuple();
      const changed = { kind: "binary", sign: sign.slice(0, -1), left, right: value };
      return { kind: "assign", target: left, value: sign === "=" ? value : changed };
    }
    tuple() {
      const { items, comma } = this.items();
      return comma || items[0].kind === "star" ? { kind: "tuple", items } : items[0];
    }
    items() {
      const items = [this.starred()];
      let comma = false;
      while (this.accept(",")) {
        comma = true;
        if (this.token.kind === "end" || this.is(")", "]", "=")) break;
        items.push(this.starred());
      }
      return { items, comma };
    }
    starred() {
      return this.accept("*") ? { kind: "star", value: this.operators(1) } : this.expression();
    }
    expression() {
      if (++this.depth > 100) fail("this nests too deeply");
      const node = this.accept("lambda") ? this.lambda() : this.conditional();
      this.depth--;
      return node;
    }
    lambda() {
      const parameters = [];
      while (!this.accept(":")) {
        const rest = this.accept("*") !== null;
        parameters.push({ rest, name: this.name(), value: this.accept("=") ? this.expression() : null });
        if (!this.is(":")) this.expect(",");
      }
      return { kind: "lambda", parameters, body: this.expression() };
    }
    conditional() {
      const value = this.either();
      if (!this.accept("if")) return value;
      const test = this.either();
      this.expect("else");
      return { kind: "if", test, value, otherwise: this.expression() };
    }
    either() {
      let left = this.both();
      while (this.accept("or")) left = { kind: "or", left, right: this.both() };
      return left;
    }
    both() {
      let left = this.negation();
      while (this.accept("and")) left = { kind: "and", left, right: this.negation() };
      return left;
    }
    negation() {
      let count = 0;
      while (this.accept("not")) count++;
      const value = this.comparison();
      return count ? { kind: "not", twice: count % 2 === 0, value } : value;
    }
    comparison() {
      const first = this.operators(1);
      const rest = [];
      for (;;) {
        let sign = this.accept(...COMPARISONS, "is", "in");
        if (sign === "is" && this.accept("not")) sign = "is not";
        if (!sign && this.is("not")) sign = (this.next++, this.expect("in"), "not in");
        if (!sign) return rest.length ? { kind: "compare", first, rest } : first;
        rest.push({ sign, value: this.operators(1) });
      }
    }
    operators(least) {
      let left = this.unary();
      while (this.token.kind === "sign" && RANK.get(this.token.text) >= least) {
        const sign = this.tokens[this.next++].text;
        left = { kind: "binary", sign, left, right: this.operators(RANK.get(sign) + 1) };
      }
      return left;
    }
    unary() {
      const signs = [];
      for (let sign; (sign = this.accept("-", "+", "~")); ) signs.push(sign);
      return signs.reduceRight((value, sign) => ({ kind: "unary", sign, value }), this.power());
    }
    power() {
      const left = this.postfix();
      if (!this.accept("**")) return left;
      if (++this.depth > 100) fail("this nests too deeply");
      const right = this.unary();
      this.depth--;
      return { kind: "binary", sign: "**", left, right };
    }
    postfix() {
      let value = this.atom();
      for (;;) {
        if (this.accept(".")) value = { kind: "attribute", value, name: this.name() };
        else if (this.accept("(")) value = { kind: "call", value, args: this.args() };
        else if (this.accept("[")) value = { kind: "index", value, index: this.index() };
        else return value;
      }
    }
    args() {
      const args = [];
      while (!this.accept(")")) {
        const named = this.token.kind === "name" && this.tokens[this.next + 1].text === "=";
        const name = named ? this.name() : null;
        if (named) this.expect("=");
        const value = named ? this.expression() : this.starred();
        args.push({ name, value: this.is("for") ? this.comprehension(value) : value });
        if (!this.is(")")) this.expect(",");
      }
      return args;
    }
    index() {
      const items = [];
      let comma = false;
      while (!this.is("]")) {
        items.push(this.slice());
        if (this.is("]")) break;
        this.expect(",");
        comma = true;
      }
      if (!items.length) this.unexpected();
      this.expect("]");
      return comma || items[0].kind === "star" ? { kind: "tuple", items } : items[0];
    }
    slice() {
      const part = () => (this.is(":", ",", "]") ? { kind: "value", value: null } : this.expression());
      if (!this.is(":") && !this.is(",")) {
        const first = this.starred();
        if (!this.is(":")) return first;
        return this.bounds(first, part);
      }
      return this.bounds({ kind: "value", value: null }, part);
    }
    bounds(start, part) {
      this.expect(":");
      const stop = part();
      return { kind: "slice", start, stop, step: this.accept(":") ? part() : { kind: "value", value: null } };
    }
    comprehension(item) {
      const loops = [];
      while (this.accept("for")) {
        const targets = [this.name()];
        let comma = false;
        while (this.accept(",")) {
          comma = true;
          targets.push(this.name());
        }
        this.expect("in");
        const loop = { targets, comma, items: this.either(), tests: [] };
        while (this.accept("if")) loop.tests.push(this.either());
        loops.push(loop);
      }
      return { kind: "comprehension", item, loops };
    }
    atom() {
      const { kind, text } = this.token;
      if (kind === "number") return { kind: "value", value: Number(this.tokens[this.next++].text.replaceAll("_", "")) };
      if (kind === "text") return { kind: "value", value: this.tokens[this.next++].text.slice(1, -1) };
      if (kind === "name") return { kind: "name", name: this.name() };
      const constants = new Map([["None", null], ["True", true], ["False", false], ["...", ELLIPSIS]]);
      if (constants.has(text)) return { kind: "value", value: constants.get(this.tokens[this.next++].text) };
      const close = { "(": ")", "[": "]" }[this.accept("(", "[")] ?? this.unexpected();
      if (this.accept(close)) return { kind: close === ")" ? "tuple" : "list", items: [] };
      const { items, comma } = this.items();
      const made = this.is("for") ? this.comprehension(items[0]) : null;
      this.expect(close);
      if (made || close === "]") return made ?? { kind: "list", items };
      return comma || items[0].kind === "star" ? { kind: "tuple", items } : items[0];
    }
  }

  function* iterate(x) {
    if (Array.isArray(x)) yield* x;
    else if (isArray(x) && x.shape.length) for (let i = 0; i < x.shape[0]; i++) yield getItem(x, i);
    else fail(`${kindOf(x)} cannot be gone through; it needs at least one axis`);
  }

  function truth(x) {
    if (isScalar(x) || x === null) return Boolean(x);
    if (Array.isArray(x) || typeof x === "string") return x.length > 0;
    if (!isArray(x)) return true;
    if (x.data.length !== 1) fail(`the truth value of ${kindOf(x)} is ambiguous: use np.where, or & and | between masks`);
    return x.data[0] !== 0;
  }

  const MASKS = new Map([["&", (a, b) => a && b], ["|", (a, b) => a || b], ["^", (a, b) => a !== b]]);

  function binary(sign, a, b) {
    if (Array.isArray(a) && Array.isArray(b) && sign === "+") return a.list ? listOf([...a, ...b]) : [...a, ...b];
    if (sign === "*" && [a, b].some((x) => Array.isArray(x)) && [a, b].some((x) => isScalar(x))) {
      const [items, count] = Array.isArray(a) ? [a, Number(b)] : [b, Number(a)];
      zeros([Math.max(0, items.length * count)]);
      return Object.assign(range(Math.max(0, count)).flatMap(() => [...items]), items.list ? { list: true } : {});
    }
    const odd = [a, b].find((x) => !isScalar(x) && !isArray(x) && !(Array.isArray(x) && x.list));
    if (odd !== undefined) fail(`${sign} does not work on ${kindOf(odd)}${odd === null ? "; ask with: is None" : ""}`);
    if (sign === "@") return matmul(asArray(a), asArray(b));
    if (MASKS.has(sign)) {
      const [x, y] = [asArray(a), asArray(b)];
      if (!x.bool || !y.bool) {
        fail(`${sign} is for masks, like (x > 0) ${sign} (x < 1)${sign === "^" ? "; a power is written **" : ""}`);
      }
      return marked(entrywise(MASKS.get(sign), x, y), true);
    }
    if (!isScalar(a) || !isScalar(b)) return twoArrays(SYMBOLS.get(sign), asArray(a), asArray(b));
    if (Number(b) === 0 && ["/", "//", "%"].includes(sign)) fail("division by zero");
    return TWO.get(SYMBOLS.get(sign))(Number(a), Number(b));
  }

  function equals(a, b) {
    if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((x, i) => truth(equals(x, b[i])));
    const known = (x) => isScalar(x) || isArray(x) || (Array.isArray(x) && x.list);
    if (!known(a) || !known(b)) return a === b;
    return isScalar(a) && isScalar(b) ? Number(a) === Number(b) : twoArrays("equal", asArray(a), asArray(b));
  }

  function compare(sign, a, b) {
    if (sign === "is" || sign === "is not") return (a === b) === (sign === "is");
    if (sign === "in" || sign === "not in") return [...iterate(b)].some((x) => truth(equals(a, x))) === (sign === "in");
    if (sign === "==") return equals(a, b);
    if (sign === "!=") return typeof equals(a, b) === "boolean" ? !equals(a, b) : oneArray("logical_not", equals(a, b));
    const odd = [a, b].find((x) => !isScalar(x) && !isArray(x));
    if (odd !== undefined) fail(`${sign} does not work on ${kindOf(odd)}`);
    const name = SYMBOLS.get(sign);
    return isScalar(a) && isScalar(b) ? COMPARE.get(name)(Number(a), Number(b)) : twoArrays(name, asArray(a), asArray(b));
  }

  function unary(sign, x) {
    if (isScalar(x) && sign !== "~") return sign === "-" ? -Number(x) : Number(x);
    if (sign === "+") return asArray(x);
    if (sign === "-") return oneArray("negative", asArray(x));
    if (!asArray(x).bool) fail("~ is for masks, like ~(x > 0)");
    return oneArray("logical_not", asArray(x));
  }

  function attribute(x, name) {
    if (x instanceof Namespace) {
      if (x.members.has(name)) return x.members.get(name);
      fail(`${x.name} has no '${name}' here`);
    }
    if (x instanceof Callable && name === "at") {
      fail(`np.${x.name}.at changes an array in place, which this page cannot; use scatter(g, x, index)`);
    }
    if (!isArray(x) && !isScalar(x)) fail(`${kindOf(x)} has no attribute '${name}'`);
    const of = asArray(x);
    if (name === "T") return transpose(of, range(of.shape.length).reverse());
    if (name === "shape") return [...of.shape];
    if (name === "ndim") return of.shape.length;
    if (name === "size") return of.data.length;
    if (name === "dtype") return BUILTINS.get(of.bool ? "bool" : "float");
    if (name === "item") return new Callable("item", () => numberOf(of));
    if (!METHODS.includes(name)) {
      fail(`an array has no attribute '${name}' here; it has T, shape, ndim, size, sum, mean, reshape, transpose and more`);
    }
    const method = NP.members.get(name);
    return new Callable(name, (args, keywords) => method.call([of, ...args], keywords));
  }

  // Names: the ones assigned, around them those of the caller, around them what Python and the rules of tinygrad2 have.
  class Scope {
    constructor(outer, names = []) {
      Object.assign(this, { outer, names: new Map(names) });
    }
    find(name) {
      for (let scope = this; scope; scope = scope.outer) if (scope.names.has(name)) return scope.names.get(name);
      if (BUILTINS.has(name)) return BUILTINS.get(name);
      if (NP.members.has(name)) fail(`${name} is not defined; did you mean np.${name}?`);
      const there = [];
      for (let scope = this; scope !== PRELUDE && scope; scope = scope.outer) there.push(...scope.names.keys());
      return fail(`${name} is not defined; there ${there.length ? `are ${[...new Set(there)].join(", ")}` : "is nothing yet"}`);
    }
  }

  const RUN = {
    value: (node) => node.value,
    name: (node, scope) => scope.find(node.name),
    tuple: (node, scope) => spreadOut(node.items, scope),
    list: (node, scope) => listOf(spreadOut(node.items, scope)),
    star: () => fail("a * is only possible in a list, a tuple or the arguments of a call"),
    slice: (node, scope) => new Slice(run(node.start, scope), run(node.stop, scope), run(node.step, scope)),
    if: (node, scope) => run(truth(run(node.test, scope)) ? node.value : node.otherwise, scope),
    and: (node, scope) => {
      const left = run(node.left, scope);
      return truth(left) ? run(node.right, scope) : left;
    },
    or: (node, scope) => {
      const left = run(node.left, scope);
      return truth(left) ? left : run(node.right, scope);
    },
    not: (node, scope) => truth(run(node.value, scope)) === node.twice,
    compare: (node, scope) => {
      let [left, result] = [run(node.first, scope), true];
      for (const [i, { sign, value }] of node.rest.entries()) {
        const right = run(value, scope);
        result = compare(sign, left, right);
        if (i < node.rest.length - 1 && !truth(result)) return result;
        left = right;
      }
      return result;
    },
    binary: (node, scope) => binary(node.sign, run(node.left, scope), run(node.right, scope)),
    unary: (node, scope) => unary(node.sign, run(node.value, scope)),
    attribute: (node, scope) => attribute(run(node.value, scope), node.name),
    index: (node, scope) => getItem(run(node.value, scope), run(node.index, scope)),
    call: (node, scope) => {
      const f = run(node.value, scope);
      if (!(f instanceof Callable)) {
        fail(`${kindOf(f)} is not a function and cannot be called${isScalar(f) || isArray(f) ? "; is a * missing?" : ""}`);
      }
      const args = spreadOut(node.args.filter((arg) => arg.name === null).map((arg) => arg.value), scope);
      const keywords = new Map(node.args.filter((arg) => arg.name !== null).map((arg) => [arg.name, run(arg.value, scope)]));
      return f.call(args, keywords);
    },
    lambda: (node, scope) => {
      const parameters = node.parameters.map(({ name, rest, value }) => {
        return { name, rest, optional: value !== null, value: value && run(value, scope) };
      });
      return new Callable("lambda", (args, keywords) => {
        const values = bind("lambda", parameters, args, keywords);
        return run(node.body, new Scope(scope, parameters.map(({ name }, i) => [name, values[i]])));
      });
    },
    comprehension: (node, scope) => {
      const found = listOf([]);
      const inner = new Scope(scope);
      const go = (loops) => {
        if (!loops.length) return found.push(run(node.item, inner));
        const [{ targets, comma, items, tests }, ...rest] = loops;
        for (const item of iterate(run(items, inner))) {
          assign(inner, targets, comma, item);
          if (tests.every((test) => truth(run(test, inner)))) go(rest);
        }
      };
      go(node.loops);
      return found;
    },
    assign: ({ target, value }, scope) => {
      const several = target.kind === "tuple";
      assign(scope, (several ? target.items : [target]).map((item) => item.name), several, run(value, scope));
    },
  };

  function run(node, scope) {
    spend(200);
    if (++depth > DEEPEST) fail("this nests too deeply, or calls itself without end");
    const value = RUN[node.kind](node, scope);
    depth--;
    return value;
  }

  function spreadOut(items, scope) {
    return items.flatMap((item) => (item.kind === "star" ? [...iterate(run(item.value, scope))] : [run(item, scope)]));
  }

  function assign(scope, targets, several, value) {
    const values = several ? [...iterate(value)] : [value];
    if (values.length !== targets.length) {
      fail(`${values.length} values do not fit the ${targets.length} names ${targets.join(", ")}`);
    }
    targets.forEach((name, i) => scope.names.set(name, values[i]));
  }

  const defined = (table) => Object.entries(table).map(([signature, f]) => [signature.split("(")[0], define(signature, f)]);
  const named = (names, signature, make) => names.map((name) => [name, define(name + signature, make(name))]);
  const extreme = (better) => (items) => {
    const all = items.length === 1 ? [...iterate(items[0])] : items;
    return all.length ? all.reduce((a, b) => (truth(compare(better, b, a)) ? b : a)) : fail("there is nothing to choose from");
  };
  const TYPES = {
    "float(value)": numberOf,
    "float64(value)": numberOf,
    "float32(value)": numberOf,
    "int(value)": (n) => Math.trunc(numberOf(n)),
    "int64(value)": (n) => Math.trunc(numberOf(n)),
    "bool(value)": truth,
    "bool_(value)": truth,
  };
  const CONSTANTS = { pi: Math.PI, e: Math.E, inf: Infinity, nan: NaN, newaxis: null };

  const NP = new Namespace("np", {
    ...Object.fromEntries([
      ...named([...ONE.keys(), ...TESTS.keys()], "(x)", (name) => (x) => oneArray(name, x)),
      ...named([...TWO.keys(), ...COMPARE.keys()], "(x, y)", (name) => (x, y) => twoArrays(name, x, y)),
      ...defined(FUNCTIONS),
      ...defined(TYPES),
    ]),
    ...CONSTANTS,
  });

  const MATH = new Namespace("math", {
    ...Object.fromEntries([
      ...named("sqrt exp log tanh sin cos floor ceil".split(" "), "(value)", (name) => (n) => Math[name](numberOf(n))),
      ...defined({
        "erf(value)": (n) => erf(numberOf(n)),
        "prod(items)": (items) => [...iterate(items)].reduce((product, n) => product * numberOf(n), 1),
      }),
    ]),
    ...CONSTANTS,
  });

  // What Python has without an import, and what the rules of tinygrad2 call beside NumPy.
  const PYTHON = {
    "len(items)": (items) => (isArray(items) && items.shape.length ? items.shape[0] : [...iterate(items)].length),
    "range(start, stop=None, step=1)": (start, stop, step) => listOf(counting(start, stop, step).data),
    "tuple(items)": (items) => [...iterate(items)],
    "list(items)": (items) => listOf(iterate(items)),
    "zip(*columns)": (columns) => {
      const [first, ...rest] = columns.map((items) => [...iterate(items)]);
      const count = Math.min(first?.length ?? 0, ...rest.map((items) => items.length));
      return listOf(range(count).map((i) => [first[i], ...rest.map((items) => items[i])]));
    },
    "enumerate(items)": (items) => listOf([...iterate(items)].map((item, i) => [i, item])),
    "sum(items, start=0)": (items, start) => [...iterate(items)].reduce((sum, item) => binary("+", sum, item), start),
    "abs(value)": (value) => (isScalar(value) ? Math.abs(value) : oneArray("abs", asArray(value))),
    "max(*items)": extreme(">"),
    "min(*items)": extreme("<"),
    "slice(*bounds)": (bounds) => (bounds.length > 1 ? new Slice(...bounds) : new Slice(null, bounds[0] ?? null, null)),
    "erf(x)": (x) => entrywise(erf, x),
    "scatter(g, x, index)": (g, x, index) => scatter(asArray(g), x, index),
    "einsum_vjp(g, arrays, subscripts)": (g, arrays, subscripts) =>
      listOf(einsumVjp(asArray(g), [...iterate(arrays)].map(asArray), subscripts)),
    "count(x, axis)": (x, axis) => sizeOf(axesOf(axis, x.shape.length).map((i) => x.shape[i])),
    "product_of_others(x, axis)": productOfOthers,
    "inside(shape, pad_width)": (shape, widths) => {
      const pairs = broadcastTo(asArray(widths), [asShape(shape).length, 2]).data;
      return asShape(shape).map((n, i) => new Slice(pairs[2 * i], pairs[2 * i] + n, null));
    },
  };
  const BUILTINS = new Map([["np", NP], ["math", MATH], ...defined(TYPES), ...defined(PYTHON)]);

  // What the formulas of tinygrad2 call, as the modules of its ops define it.
  const PRELUDE = new Scope(null);
  const HELPERS = `
    sigmoid = lambda x: np.exp(-np.logaddexp(0, -x))
    softplus = lambda x: np.logaddexp(0, x)
    relu = lambda x: np.maximum(x, 0)
    softmax = lambda x, axis=-1: (lambda e: e / np.sum(e, axis=axis, keepdims=True))(
      np.exp(x - np.max(x, axis=axis, keepdims=True)))
    spread = lambda g, x, axis: np.broadcast_to(np.reshape(g, np.sum(x, axis=axis, keepdims=True).shape), x.shape)
    as_matrices = lambda a, b, g: (
      np.expand_dims(a, 0) if a.ndim == 1 else a, np.expand_dims(b, -1) if b.ndim == 1 else b,
      np.expand_dims(g, (-2,) * (a.ndim == 1) + (-1,) * (b.ndim == 1)))
    split_heads = lambda x, parts, heads: [np.swapaxes(part, -2, -3) for part in np.split(
      np.reshape(x, (*x.shape[:-1], parts * heads, x.shape[-1] // (parts * heads))), parts, axis=-2)]
    merged = lambda x: np.reshape(x, (*x.shape[:-2], x.shape[-2] * x.shape[-1]))
    merge_heads = lambda *parts: merged(np.swapaxes(np.concatenate(parts, axis=-3), -2, -3))
    attention_weights = lambda q, k: softmax(np.where(
      np.tri(q.shape[-2], dtype=bool), q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1]), -np.inf))
  `;
  for (const statement of new Parser(HELPERS).statements()) run(statement, PRELUDE);
  BUILTINS.set("Softmax", new Namespace("Softmax", { spec: PRELUDE.find("softmax") }));

  // From the caller's values to those of the language, and back.
  function inward(x) {
    if (typeof x === "function") return new Callable(x.name, (args) => inward(x(...args)));
    return x === undefined ? null : Array.isArray(x) ? Object.assign(x.map(inward), x.list ? { list: true } : {}) : x;
  }

  function outward(x) {
    if (x === null) return [null];
    if (isArray(x) || isScalar(x)) return [asArray(x)];
    if (!Array.isArray(x)) fail(`this gives ${kindOf(x)}, not an array${x instanceof Callable ? "; call it" : ""}`);
    return x.list && x.length && x.every((item) => isScalar(item) || Array.isArray(item)) ? [asArray(x)] : x.flatMap(outward);
  }

  // The values of the expressions of a text, in order: arrays, or null for None. `names` maps a name to an array, a number, a
  // boolean, a text, null, a tuple (a JavaScript array; NumPy.list(items) is a list), a NumPy.slice or a function of such.
  // Throws NumPy.Error with one sentence.
  function evaluate(source, names = {}) {
    [work, depth] = [0, 0];
    const scope = new Scope(new Scope(PRELUDE, Object.entries(names).map(([name, value]) => [name, inward(value)])));
    const found = [];
    for (const statement of new Parser(source).statements()) {
      if (statement.kind === "show") found.push(...outward(run(statement.value, scope)));
      else run(statement, scope);
    }
    return found;
  }

  return Object.freeze({
    array(shape, data) {
      work = 0; // it is the page that makes this array, not a text
      return array(shape, data);
    },
    list: listOf,
    slice: (start, stop, step) => new Slice(start, stop, step),
    evaluate,
    Error: NumPyError,
  });
})();
