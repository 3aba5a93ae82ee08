// What an array is: a shape, float64 entries row by row, and whether they are booleans; its axes and broadcasting. The files of
// this folder are one script, joined by NumPyParts; the last of them, evaluator.js, makes NumPy, which is what the page uses.
// Nothing in them uses eval, the network or the page.
"use strict";

const NumPyParts = {};

{
  const MOST_ENTRIES = 4e6; // of one array
  const MOST_WORK = 5e8; // entries computed and products summed, in one evaluation: seconds

  class NumPyError extends Error {}
  NumPyError.prototype.name = "NumPy.Error";
  const fail = (message) => {
    throw new NumPyError(message);
  };

  let work = 0;
  const startWork = () => (work = 0);
  function spend(amount) {
    work += amount;
    if (work > MOST_WORK) fail("this is more work than a page should do; try smaller arrays");
  }

  // The values of the language: arrays {shape, data, bool}, numbers, booleans, null for None, strings, JavaScript arrays for
  // tuples and (marked) lists, and what these make.
  const slice = (start = null, stop = null, step = null) => ({ kind: "slice", start, stop, step });
  const callable = (name, call) => ({ kind: "function", name, call });
  const namespace = (name, members) => ({ kind: "name", name, members: new Map(members) });
  const ELLIPSIS = { kind: "..." };
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
    return x.kind === "slice" ? "a slice" : x === ELLIPSIS ? "..." : `the ${x.kind} ${x.name}`;
  }

  function zeros(shape, bool = false) {
    for (const n of shape) if (!Number.isInteger(n) || n < 0) fail(`${n} is no length of an axis; a shape has whole numbers`);
    const size = sizeOf(shape);
    if (size > MOST_ENTRIES) {
      fail(`an array of shape ${shapeText(shape)} has ${size} entries; the most here is ${MOST_ENTRIES}`);
    }
    spend(size);
    return { shape: [...shape], data: new Float64Array(size), bool };
  }

  function array(shape, data, bool = false) {
    const x = zeros(shape, bool);
    x.data.set(data);
    return x;
  }
  const asMask = (x) => ({ shape: x.shape, data: x.data.map((v) => (v === 0 ? 0 : 1)), bool: true });

  function asArray(x) {
    if (isArray(x)) return x;
    if (isScalar(x)) return array([], [x], typeof x === "boolean");
    if (!Array.isArray(x)) fail(`${kindOf(x)} is not an array`);
    if (!x.length) return zeros([0]);
    const parts = x.map(asArray);
    if (parts.some((part) => !same(part.shape, parts[0].shape))) fail("the rows of this array have different lengths");
    return array([parts.length, ...parts[0].shape], parts.flatMap((part) => [...part.data]), parts.every((part) => part.bool));
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

  function axesOf(axis, rank) {
    const given = axis === null ? range(rank) : isArray(axis) ? [...axis.data] : [axis].flat();
    const axes = given.map((a) => {
      const n = numberOf(a);
      if (!Number.isInteger(n)) fail(`${n} is no axis; an axis is a whole number`);
      if (n < -rank || n >= rank) fail(`axis ${n} is out of bounds for array of dimension ${rank}`);
      return n < 0 ? n + rank : n;
    });
    if (new Set(axes).size < axes.length) fail("the same axis is given twice");
    return axes;
  }
  const axisOf = (axis, x) => axesOf([axis], x.shape.length)[0];

  function reshape(x, shape) {
    const known = sizeOf(shape.filter((n) => n !== -1));
    const open = shape.filter((n) => n === -1).length;
    const full = shape.map((n) => (n === -1 && known ? x.data.length / known : n));
    if (open > 1 || !full.every((n) => Number.isInteger(n) && n >= 0) || sizeOf(full) !== x.data.length) {
      fail(`cannot reshape array of shape ${shapeText(x.shape)}, size ${x.data.length}, into shape ${shapeText(shape)}`);
    }
    return { shape: full, data: x.data, bool: x.bool };
  }

  function transpose(x, axes) {
    if (axes.length !== x.shape.length) {
      fail(`transpose: axes ${shapeText(axes)} do not fit an array of shape ${shapeText(x.shape)}`);
    }
    const strides = stridesOf(x.shape);
    const shape = axes.map((axis) => x.shape[axis]);
    return view(x, shape, strided(shape, axes.map((axis) => strides[axis])));
  }

  function expandDims(x, axis) {
    const rank = x.shape.length + (Array.isArray(axis) ? axis.length : 1);
    const axes = axesOf(axis, rank);
    const rest = [...x.shape];
    return reshape(x, range(rank).map((i) => (axes.includes(i) ? 1 : rest.shift())));
  }

  function numberOf(n) {
    if (isScalar(n)) return Number(n);
    return isArray(n) && n.data.length === 1 ? n.data[0] : fail(`${kindOf(n)} is not a number`);
  }

  Object.assign(NumPyParts, {
    NumPyError, fail, startWork, spend, slice, callable, namespace, ELLIPSIS, isArray, isScalar, listOf, range, sizeOf, same,
    shapeText, kindOf, zeros, array, asMask, asArray, places, steps, strided, stridesOf, view, unequal, broadcastShapes,
    broadcastTo, axesOf, axisOf, reshape, transpose, expandDims, numberOf,
  });
}
