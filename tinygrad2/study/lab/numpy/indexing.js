// What an index picks from an array, as NumPy has it, and what is done by picking: joining arrays, adding up at an index.
{
  const {
    fail, slice, ELLIPSIS, isArray, listOf, range, sizeOf, same, shapeText, kindOf, zeros, array, asArray, places, steps,
    stridesOf, view, broadcastShapes, broadcastTo, axisOf, expandDims, numberOf,
  } = NumPyParts;
  const ALL = slice();
  const isSlice = (x) => x?.kind === "slice";

  // Python's slice of an axis of this length: [start, number of entries, step].
  function sliced({ start, stop, step: by }, length) {
    const whole = (n) => (Number.isInteger(numberOf(n)) ? numberOf(n) : fail("the numbers of a slice must be whole numbers"));
    const step = by === null ? 1 : whole(by);
    if (step === 0) fail("slice step cannot be zero");
    const bound = (value, otherwise) => {
      if (value === null) return otherwise;
      const n = whole(value);
      return Math.min(Math.max(n < 0 ? n + length : n, step < 0 ? -1 : 0), step < 0 ? length - 1 : length);
    };
    const first = bound(start, step < 0 ? length - 1 : 0);
    return [first, Math.max(0, Math.ceil((bound(stop, step < 0 ? -1 : length) - first) / step)), step];
  }

  function position(index, length, axis) {
    if (!Number.isInteger(index)) fail("only whole numbers, slices, None, ... and integer or boolean arrays are valid indices");
    if (index < -length || index >= length) fail(`index ${index} is out of bounds for axis ${axis} with size ${length}`);
    return index < 0 ? index + length : index;
  }

  function nonzero(mask) {
    const found = range(mask.data.length).filter((i) => mask.data[i]);
    return stridesOf(mask.shape).map((stride, axis) => {
      return array([found.length], found.map((i) => Math.floor(i / stride) % mask.shape[axis]));
    });
  }

  // The items of an index, one for each axis or new axis: without ..., and with positions for masks.
  function spelledOut(shape, index) {
    const items = (Array.isArray(index) && !index.list ? index : [index]).map((item) => {
      if (item === null || item === ELLIPSIS || isSlice(item)) return item;
      if (Array.isArray(item) || typeof item === "number" || isArray(item)) return asArray(item);
      return fail(`${kindOf(item)} is not an index`);
    });
    const axesUsed = (item) => (item === null || item === ELLIPSIS ? 0 : item.bool ? item.shape.length : 1);
    const used = items.reduce((sum, item) => sum + axesUsed(item), 0);
    if (used > shape.length) fail(`too many indices: the array is ${shape.length}-dimensional, but ${used} were indexed`);
    if (!items.includes(ELLIPSIS)) items.push(ELLIPSIS);
    if (items.indexOf(ELLIPSIS) !== items.lastIndexOf(ELLIPSIS)) fail("an index can have ... only once");
    let axis = 0;
    return items.flatMap((item) => {
      const rest = shape.slice(axis, (axis += axesUsed(item)));
      if (item === ELLIPSIS) {
        axis += shape.length - used;
        return Array(shape.length - used).fill(ALL);
      }
      if (item === null || !item.bool) return [item];
      if (!rest.length) fail("a single True or False is no index; a mask has the shape of what it picks from");
      if (!same(rest, item.shape)) fail(`boolean index of shape ${shapeText(item.shape)} does not match ${shapeText(rest)}`);
      return nonzero(item);
    });
  }

  // What an index picks from an array of this shape: {shape, where}.
  function locate(shape, index) {
    const strides = stridesOf(shape);
    const pieces = []; // a slice, a new axis or all arrays together: {shape, vector}
    const picks = []; // of the arrays
    let axis = 0;
    for (const item of spelledOut(shape, index)) {
      if (isArray(item)) {
        picks.push({ item, axis: axis++, after: pieces.length });
      } else if (item === null) {
        pieces.push({ shape: [1], vector: [0] });
      } else {
        const [start, count, step] = sliced(item, shape[axis]);
        pieces.push({ shape: [count], vector: steps(count, step * strides[axis], start * strides[axis]) });
        axis++;
      }
    }
    if (picks.length) {
      const common = broadcastShapes(picks.map(({ item }) => item.shape));
      const vector = new Int32Array(sizeOf(common));
      for (const { item, axis: at } of picks) {
        broadcastTo(item, common).data.forEach((n, i) => (vector[i] += position(n, shape[at], at) * strides[at]));
      }
      const together = picks.every(({ after }) => after === picks[0].after);
      pieces.splice(together ? picks[0].after : 0, 0, { shape: common, vector });
    }
    return { shape: pieces.flatMap((piece) => piece.shape), where: places(pieces.map((piece) => piece.vector)) };
  }
  const itemAlong = (axis, item) => [...Array(axis).fill(ALL), item];

  function getItem(x, index) {
    if (isArray(x)) {
      const { shape, where } = locate(x.shape, index);
      return view(x, shape, where);
    }
    if (!Array.isArray(x)) fail(`${kindOf(x)} cannot be indexed`);
    if (isSlice(index)) {
      const [start, count, step] = sliced(index, x.length);
      const items = range(count).map((i) => x[start + i * step]);
      return x.list ? listOf(items) : items;
    }
    const n = numberOf(index);
    if (n < -x.length || n >= x.length) fail(`index ${n} is out of range: ${kindOf(x)} of ${x.length}`);
    return x[position(n, x.length, 0)];
  }

  function* iterate(x) {
    if (Array.isArray(x)) yield* x;
    else if (isArray(x) && x.shape.length) for (let i = 0; i < x.shape[0]; i++) yield getItem(x, i);
    else fail(`${kindOf(x)} cannot be gone through; it needs at least one axis`);
  }

  function concatenate(parts, axis) {
    if (!parts.length) fail("need at least one array to concatenate");
    const [first] = parts;
    const along = axisOf(axis, first);
    const length = parts.reduce((sum, part) => sum + (part.shape[along] ?? 0), 0);
    const out = zeros(first.shape.map((n, i) => (i === along ? length : n)), parts.every((part) => part.bool));
    let start = 0;
    for (const part of parts) {
      const { shape, where } = locate(out.shape, itemAlong(along, slice(start, (start += part.shape[along] ?? 0))));
      if (!same(shape, part.shape)) {
        fail(`concatenate: shapes ${shapeText(first.shape)} and ${shapeText(part.shape)} differ not only in axis ${along}`);
      }
      where.forEach((place, i) => (out.data[place] = part.data[i]));
    }
    return out;
  }
  const stack = (parts, axis) => concatenate(parts.map((part) => expandDims(part, axis)), axis);

  function scatter(g, whole, index) {
    const { shape, where } = locate(whole, index);
    const values = broadcastTo(g, shape).data;
    const out = zeros(whole);
    where.forEach((place, i) => (out.data[place] += values[i]));
    return out;
  }

  Object.assign(NumPyParts, { ALL, nonzero, itemAlong, getItem, iterate, concatenate, stack, scatter });
}
