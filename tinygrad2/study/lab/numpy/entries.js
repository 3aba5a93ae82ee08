// What is computed entry by entry, with broadcasting, and what is computed of the rows along some axes: sums, maxima, orders.
{
  const { fail, spend, range, sizeOf, zeros, array, asMask, transpose, broadcastShapes, broadcastTo, axesOf } = NumPyParts;

  const erf = (x) => {
    if (Math.abs(x) > 6 || x !== x) return Math.sign(x);
    let [sum, term] = [x, x]; // exp(-x^2) 2 / sqrt(pi) times the sum of 2^n x^(2n+1) / (2n+1)!!: nothing cancels
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) sum += term *= (2 * x * x) / (2 * n + 1);
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  };
  const rounded = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
  const mod = (a, b) => {
    const r = a % b;
    return r !== 0 && r < 0 !== b < 0 ? r + b : r;
  };
  const FUNCTIONS = {
    exp: Math.exp, expm1: Math.expm1, log: Math.log, log1p: Math.log1p, log2: Math.log2, sqrt: Math.sqrt, tanh: Math.tanh,
    sinh: Math.sinh, cosh: Math.cosh, sin: Math.sin, cos: Math.cos, abs: Math.abs, sign: Math.sign, floor: Math.floor,
    ceil: Math.ceil, square: (x) => x * x, reciprocal: (x) => 1 / x, negative: (x) => -x,
    add: (a, b) => a + b, subtract: (a, b) => a - b, multiply: (a, b) => a * b, divide: (a, b) => a / b, mod,
    floor_divide: (a, b) => (b === 0 ? a / b : Math.round((a - mod(a, b)) / b)),
    power: (a, b) => (a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : a ** b),
    logaddexp: (a, b) => (a === b ? a + Math.LN2 : Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)))),
    maximum: (a, b) => Math.max(a, b), minimum: (a, b) => Math.min(a, b),
    tan: Math.tan, arcsin: Math.asin, arccos: Math.acos, arctan: Math.atan, arctan2: (a, b) => Math.atan2(a, b),
    arcsinh: Math.asinh, arccosh: Math.acosh, arctanh: Math.atanh, hypot: (a, b) => Math.hypot(a, b), cbrt: Math.cbrt,
    log10: Math.log10, exp2: (x) => 2 ** x, rint: (x) => rounded(x), ldexp: (a, b) => a * 2 ** b,
    copysign: (a, b) => (b < 0 || Object.is(b, -0) ? -Math.abs(a) : Math.abs(a)),
    deg2rad: (x) => (x * Math.PI) / 180, radians: (x) => (x * Math.PI) / 180,
    rad2deg: (x) => (x * 180) / Math.PI, degrees: (x) => (x * 180) / Math.PI,
  };
  const TESTS = {
    isfinite: Number.isFinite, isinf: (x) => Math.abs(x) === Infinity, isnan: Number.isNaN, logical_not: (x) => x === 0,
    less: (a, b) => a < b, less_equal: (a, b) => a <= b, greater: (a, b) => a > b, greater_equal: (a, b) => a >= b,
    equal: (a, b) => a === b, not_equal: (a, b) => a !== b, logical_and: (a, b) => a !== 0 && b !== 0,
    logical_or: (a, b) => a !== 0 || b !== 0, logical_xor: (a, b) => (a !== 0) !== (b !== 0),
  };
  const ENTRYWISE = { ...FUNCTIONS, ...TESTS };

  function entrywise(f, ...inputs) {
    const shape = broadcastShapes(inputs.map((x) => x.shape));
    const out = zeros(shape);
    const [a, b, c] = inputs.map((x) => broadcastTo(x, shape).data);
    if (c) for (let i = 0; i < a.length; i++) out.data[i] = f(a[i], b[i], c[i]);
    else if (b) for (let i = 0; i < a.length; i++) out.data[i] = f(a[i], b[i]);
    else for (let i = 0; i < a.length; i++) out.data[i] = f(a[i]);
    return out;
  }

  // What NumPy makes of booleans is booleans, or refused.
  function apply(name, ...inputs) {
    const masks = inputs.every((x) => x.bool);
    if (masks && name === "negative") fail("- does not work on booleans; use ~ to turn them around");
    if (masks && name === "subtract") fail("- does not work on two arrays of booleans; use ^ or .astype(float)");
    const out = entrywise(ENTRYWISE[name], ...inputs);
    return name in TESTS || (masks && ["add", "multiply", "maximum", "minimum"].includes(name)) ? asMask(out) : out;
  }

  // The entries along some axes, a row for each place on the other axes; the rows follow each other in this order of the axes.
  function rowsOf(x, axes) {
    const kept = range(x.shape.length).filter((axis) => !axes.includes(axis));
    const order = [...kept, ...axes];
    const { data } = transpose(x, order);
    const length = count(x.shape, axes);
    return { order, rows: range(count(x.shape, kept)).map((i) => data.subarray(i * length, (i + 1) * length)) };
  }

  // One number for each row.
  function fold(x, axis, keepdims, f) {
    const axes = !x.shape.length && [0, -1].includes(axis) ? [] : axesOf(axis, x.shape.length); // as in NumPy
    const shape = x.shape.map((n, i) => (axes.includes(i) ? 1 : n));
    return array(keepdims ? shape : shape.filter((_, i) => !axes.includes(i)), rowsOf(x, axes).rows.map(f));
  }

  // As many numbers for each row as it has entries.
  function along(x, axis, f) {
    const { order, rows } = rowsOf(x, axesOf(axis, x.shape.length));
    const out = array(order.map((i) => x.shape[i]), rows.flatMap((row) => [...f(row)]));
    return transpose(out, order.map((_, i) => order.indexOf(i)));
  }

  const total = (row) => row.reduce((sum, v) => sum + v, 0);
  const prod = (row) => row.reduce((product, v) => product * v, 1);
  const mean = (row) => total(row) / row.length;
  function variance(row, ddof) {
    const middle = mean(row);
    return total(row.map((v) => (v - middle) ** 2)) / (row.length - ddof);
  }
  const extreme = (f) => (row) => (row.length ? row.reduce((a, b) => f(a, b)) : fail("no entries, so none is the largest"));
  const [max, min] = [extreme(Math.max), extreme(Math.min)];
  const placeOf = (choose) => (row) => {
    const found = choose(row);
    return row.findIndex((v) => v === found || v !== v);
  };
  const order = (row) => range(row.length).sort((i, j) => row[i] - row[j] || (row[i] !== row[i]) - (row[j] !== row[j]));
  const FOLDS = {
    sum: total, prod, max, min, argmax: placeOf(max), argmin: placeOf(min),
    any: (row) => row.some((v) => v !== 0), all: (row) => row.every((v) => v !== 0),
  };
  function folded(name, x, axis, keepdims) {
    const out = fold(x, axis, keepdims, FOLDS[name]);
    return ["any", "all"].includes(name) || (x.bool && ["max", "min"].includes(name)) ? asMask(out) : out;
  }
  const averaged = (x, axis, keepdims, f) => fold(x, axesOf(axis, x.shape.length), keepdims, f);

  const count = (shape, axis) => sizeOf(axesOf(axis, shape.length).map((i) => shape[i]));
  const productOfOthers = (x, axis) => along(x, axis, (row) => {
    spend(row.length ** 2);
    return row.map((_, i) => prod(row.filter((_, j) => j !== i)));
  });

  const horner = (a, x) => {
    const [out, n] = [zeros(a.shape), a.shape.at(-1)];
    for (let i = out.data.length - 1; i >= 0; i--) {
      out.data[i] = a.data[i] + ((i + 1) % n ? x.data[i + 1] * out.data[i + 1] : 0);
    }
    return out;
  };

  Object.assign(NumPyParts, {
    erf, rounded, ENTRYWISE, entrywise, apply, along, mean, variance, order, FOLDS, folded, averaged, count, productOfOthers, horner,
  });
}
