// NumPy's functions by name, and how a function takes its arguments.
{
  const {
    fail, slice, callable, ALL, isArray, isScalar, listOf, range, same, shapeText, zeros, asMask, asArray, places, steps,
    broadcastTo, axesOf, axisOf, reshape, transpose, expandDims, concatenate, stack, nonzero, itemAlong, getItem, iterate,
    numberOf, matmul, dot, einsum, rounded, ENTRYWISE, entrywise, apply, along, mean, variance, order, FOLDS, folded, averaged,
  } = NumPyParts;

  // The values of the parameters {name, rest, array, optional, value} of a function that is called so.
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

  // [name, function] of a signature in Python's words. What is called x or y is made an array; the others stay as they are.
  function define(signature, f) {
    const [, name, list] = signature.match(/^(\w+)\((.*)\)$/);
    const literal = { None: null, False: false };
    const parameters = list.split(", ").map((text) => {
      const [parameter, value] = text.replace("*", "").split("=");
      return {
        name: parameter, rest: text.startsWith("*"), array: /^[xy]$/.test(parameter), optional: value !== undefined,
        value: value in literal ? literal[value] : Number(value),
      };
    });
    return [name, callable(name, (args, keywords = new Map()) => f(...bind(name, parameters, args, keywords)))];
  }
  const defined = (table) => Object.entries(table).map(([signature, f]) => define(signature, f));

  function asShape(shape) {
    if (isArray(shape)) return [...shape.data];
    return Array.isArray(shape) ? shape.map(numberOf) : [numberOf(shape)];
  }
  const loose = (items) => asShape(items.length === 1 && !isScalar(items[0]) ? items[0] : items); // f(x, 2, 3) or f(x, (2, 3))
  const flat = (x) => reshape(x, [x.data.length]);

  function counting(start, stop, step) {
    if (numberOf(step) === 0) fail("the step of a range cannot be zero");
    const [from, to, by] = [stop === null ? 0 : start, stop ?? start, step].map(numberOf);
    const out = zeros([Math.max(0, Math.ceil((to - from) / by))]);
    out.data.forEach((_, i) => (out.data[i] = from + i * by));
    return out;
  }

  function typed(x, type) {
    const name = String(type?.name ?? type ?? "float");
    if (name.startsWith("bool")) return asMask(x);
    return { shape: x.shape, data: name.startsWith("int") ? x.data.map(Math.trunc) : x.data, bool: false };
  }
  const filled = (shape, value, type) => typed(entrywise(() => value, zeros(shape)), type);

  // Where the number of the column minus that of the row minus k is as asked.
  const triangle = (n, m, k, inside) => {
    const [rows, columns, shift] = [expandDims(counting(0, n, 1), 1), counting(0, m ?? n, 1), numberOf(k)];
    return asMask(entrywise((i, j) => inside(j - i - shift), rows, columns));
  };
  const where = (condition, x, y) => {
    const out = entrywise((c, a, b) => (c ? a : b), condition, x, y);
    return x.bool && y.bool ? asMask(out) : out;
  };
  const kept = (keep, x) => where(keep, x, zeros([], x.bool));
  function cut(x, k, inside) {
    if (x.shape.length < 2) fail(`a triangle needs two axes; this array has shape ${shapeText(x.shape)}`);
    return kept(triangle(x.shape.at(-2), x.shape.at(-1), k, inside), x);
  }
  const [lower, diagonal, upper] = [(d) => d <= 0, (d) => d === 0, (d) => d >= 0];

  function split(x, parts, axis) {
    const length = x.shape[axisOf(axis, x)];
    if (isScalar(parts) && (!Number.isInteger(parts) || parts < 1 || length % parts)) {
      fail(`split: an axis of ${length} entries does not divide into ${parts} equal parts`);
    }
    const cuts = isScalar(parts) ? [...steps(parts, length / parts)].slice(1) : asShape(parts);
    return listOf([0, ...cuts].map((start, i) => taken(x, slice(start, cuts[i]), axis)));
  }

  const taken = (x, indices, axis) => getItem(x, itemAlong(axisOf(axis, x), indices));
  const arraysOf = (items) => [...iterate(items)].map(asArray);

  const FUNCTIONS = {
    "mean(x, axis=None, keepdims=False)": (x, axis, keepdims) => averaged(x, axis, keepdims, mean),
    "var(x, axis=None, ddof=0, keepdims=False)": (x, axis, ddof, keepdims) =>
      averaged(x, axis, keepdims, (row) => variance(row, ddof)),
    "std(x, axis=None, ddof=0, keepdims=False)": (x, axis, ddof, keepdims) =>
      averaged(x, axis, keepdims, (row) => Math.sqrt(variance(row, ddof))),
    "argsort(x, axis=-1)": (x, axis) => along(x, axis, order),
    "sort(x, axis=-1)": (x, axis) => along(x, axis, (row) => order(row).map((i) => row[i])),
    "cumsum(x, axis=None)": (x, axis) => {
      let sum = 0;
      return along(axis === null ? flat(x) : x, axis ?? 0, (row) => row.map((v, i) => (sum = i ? sum + v : v)));
    },
    "cumprod(x, axis=None)": (x, axis) => {
      let product = 1;
      return along(axis === null ? flat(x) : x, axis ?? 0, (row) => row.map((v, i) => (product = i ? product * v : v)));
    },
    "clip(x, a_min=None, a_max=None)": (x, low, high) =>
      apply("minimum", apply("maximum", x, asArray(low ?? -Infinity)), asArray(high ?? Infinity)),
    "where(condition, *choices)": (condition, choices) => {
      if (!choices.length) return nonzero(asArray(condition));
      if (choices.length !== 2) fail("where: give a condition, and what to take where it holds and where it does not");
      return where(...[condition, ...choices].map(asArray));
    },
    "reshape(x, *shape)": (x, shape) => reshape(x, loose(shape)),
    "ravel(x)": flat,
    "transpose(x, *axes)": (x, axes) => {
      const none = !axes.length || axes[0] === null;
      return transpose(x, none ? range(x.shape.length).reverse() : axesOf(loose(axes), x.shape.length));
    },
    "swapaxes(x, axis1, axis2)": (x, axis1, axis2) => {
      const axes = range(x.shape.length);
      const [i, j] = [axisOf(axis1, x), axisOf(axis2, x)];
      [axes[i], axes[j]] = [axes[j], axes[i]];
      return transpose(x, axes);
    },
    "moveaxis(x, source, destination)": (x, source, destination) => {
      const axes = range(x.shape.length).filter((axis) => axis !== axisOf(source, x));
      axes.splice(axisOf(destination, x), 0, axisOf(source, x));
      return transpose(x, axes);
    },
    "squeeze(x, axis=None)": (x, axis) => {
      const gone = axis === null ? range(x.shape.length).filter((i) => x.shape[i] === 1) : axesOf(axis, x.shape.length);
      return reshape(x, x.shape.filter((_, i) => !gone.includes(i)));
    },
    "expand_dims(x, axis)": expandDims,
    "broadcast_to(x, shape)": (x, shape) => broadcastTo(x, asShape(shape)),
    "concatenate(arrays, axis=0)": (arrays, axis) => concatenate(arraysOf(arrays), axis),
    "stack(arrays, axis=0)": (arrays, axis) => stack(arraysOf(arrays), axis),
    "split(x, indices_or_sections, axis=0)": split,
    "take(x, indices, axis=None)": (x, indices, axis) =>
      axis === null ? getItem(flat(x), asArray(indices)) : taken(x, asArray(indices), axis),
    "flip(x, axis=None)": (x, axis) => {
      const axes = axesOf(axis, x.shape.length);
      return getItem(x, x.shape.map((_, i) => (axes.includes(i) ? slice(null, null, -1) : ALL)));
    },
    "tile(x, reps)": (x, reps) => {
      const times = zeros(asShape(reps)).shape;
      const wide = reshape(x, [...Array(Math.max(0, times.length - x.shape.length)).fill(1), ...x.shape]);
      return times.reduceRight((out, n, i) => concatenate(Array(n).fill(out), i - times.length), wide);
    },
    "repeat(x, repeats, axis=None)": (x, repeats, axis) => {
      const from = axis === null ? flat(x) : x;
      const [length, times] = zeros([from.shape[axisOf(axis ?? 0, from)], numberOf(repeats)]).shape;
      return taken(from, entrywise((i) => Math.floor(i / times), counting(0, length * times, 1)), axis ?? 0);
    },
    "matmul(x, y)": matmul,
    "dot(x, y)": dot,
    "outer(x, y)": (x, y) => apply("multiply", expandDims(flat(x), 1), flat(y)),
    "einsum(subscripts, *operands)": (subscripts, operands) => einsum(subscripts, operands.map(asArray)),
    "tril(x, k=0)": (x, k) => cut(x, k, lower),
    "triu(x, k=0)": (x, k) => cut(x, k, upper),
    "diag(x)": (x) => {
      if (x.shape.length === 1) return kept(triangle(x.shape[0], null, 0, diagonal), x);
      if (x.shape.length !== 2) fail(`diag: the array has shape ${shapeText(x.shape)}; it takes one or two axes`);
      const places = counting(0, Math.min(...x.shape), 1);
      return getItem(x, [places, places]);
    },
    "eye(n, m=None, k=0, dtype=None)": (n, m, k, type) => typed(triangle(n, m, k, diagonal), type),
    "tri(n, m=None, k=0, dtype=None)": (n, m, k, type) => typed(triangle(n, m, k, lower), type),
    "float64(value)": numberOf,
    "float32(value)": numberOf,
    "zeros(shape, dtype=None)": (shape, type) => filled(asShape(shape), 0, type),
    "ones(shape, dtype=None)": (shape, type) => filled(asShape(shape), 1, type),
    "full(shape, fill_value, dtype=None)": (shape, value, type) => filled(asShape(shape), numberOf(value), type),
    "zeros_like(x, dtype=None)": (x, type) => filled(x.shape, 0, type),
    "ones_like(x, dtype=None)": (x, type) => filled(x.shape, 1, type),
    "arange(start, stop=None, step=1)": counting,
    "array(x, dtype=None)": (x, type) => (type === null ? x : typed(x, type)),
    "copy(x)": (x) => x,
    "item(x)": numberOf,
    "astype(x, dtype)": typed,
    "round(x, decimals=0)": (x, decimals) => entrywise((v) => rounded(v * 10 ** decimals) / 10 ** decimals, x),
    "allclose(x, y, rtol=1e-5, atol=1e-8)": (x, y, rtol, atol) =>
      entrywise((a, b) => a === b || Math.abs(a - b) <= atol + rtol * Math.abs(b), x, y).data.every((v) => v),
    "array_equal(x, y)": (x, y) => same(x.shape, y.shape) && x.data.every((v, i) => v === y.data[i]),
  };
  const named = (names, signature, make) => names.map((name) => define(name + signature, make(name)));
  const CONSTANTS = Object.entries({ pi: Math.PI, e: Math.E, inf: Infinity, nan: NaN, newaxis: null });
  const NUMPY = new Map([
    ...Object.entries(ENTRYWISE).map(([name, f]) => {
      const call = (...inputs) => {
        const type = inputs.pop();
        return type === null ? apply(name, ...inputs) : typed(apply(name, ...inputs), type);
      };
      return define(`${name}(${f.length === 1 ? "x" : "x, y"}, dtype=None)`, call);
    }),
    ...named(Object.keys(FOLDS), "(x, axis=None, keepdims=False)", (name) => (...args) => folded(name, ...args)),
    ...defined(FUNCTIONS),
    ...CONSTANTS,
  ]);
  const METHODS = (
    "sum mean prod max min var std any all argmax argmin argsort cumsum clip reshape ravel transpose swapaxes squeeze " +
    "repeat take dot astype round copy item"
  ).split(" ");

  Object.assign(NumPyParts, { bind, defined, named, asShape, counting, NUMPY, METHODS, CONSTANTS });
}
