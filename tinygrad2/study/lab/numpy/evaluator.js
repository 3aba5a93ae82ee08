// The tree of a text, evaluated, and what the rules of tinygrad2 call beside NumPy. Makes the one global that the page uses.
{
  const {
    NumPyError, fail, startWork, spend, slice, callable, namespace, isArray, isScalar, listOf, kindOf, array, asArray,
    broadcastTo, getItem, iterate, scatter, einsumVjp, erf, entrywise, count, productOfOthers, horner, bind, defined, asShape, NUMPY,
    truth, binary, unary, attribute, PYTHON, parse,
  } = NumPyParts;
  const DEEPEST = 800; // calls inside calls
  let depth = 0;

  // Names: the ones assigned, around them those of the caller, around them what Python and the rules of tinygrad2 have.
  class Scope {
    constructor(outer, names = []) {
      Object.assign(this, { outer, names: new Map(names) });
    }
    find(name) {
      for (let scope = this; scope; scope = scope.outer) if (scope.names.has(name)) return scope.names.get(name);
      if (NUMPY.has(name)) fail(`${name} is not defined; did you mean np.${name}?`);
      const there = [];
      for (let scope = this; scope !== PRELUDE && scope; scope = scope.outer) there.push(...scope.names.keys());
      return fail(`${name} is not defined; there ${there.length ? `are ${[...new Set(there)].join(", ")}` : "is nothing yet"}`);
    }
    assign(target, value) {
      const several = target.kind === "tuple";
      const names = several ? target.items.map((item) => item.name) : [target.name];
      const values = several ? [...iterate(value)] : [value];
      if (values.length !== names.length) fail(`${values.length} values do not fit ${names.length} names: ${names.join(", ")}`);
      names.forEach((name, i) => this.names.set(name, values[i]));
    }
  }

  const spreadOut = (nodes, scope) => {
    return nodes.flatMap((node) => (node.kind === "star" ? [...iterate(run(node.value, scope))] : [run(node, scope)]));
  };
  const RUN = {
    value: (node) => node.value,
    name: (node, scope) => scope.find(node.name),
    tuple: (node, scope) => spreadOut(node.items, scope),
    list: (node, scope) => listOf(spreadOut(node.items, scope)),
    star: () => fail("a * is only possible in a list, a tuple or the arguments of a call"),
    slice: (node, scope) => slice(run(node.start, scope), run(node.stop, scope), run(node.step, scope)),
    if: (node, scope) => run(truth(run(node.test, scope)) ? node.value : node.otherwise, scope),
    logic: (node, scope) => {
      const left = run(node.left, scope);
      return truth(left) === (node.sign === "and") ? run(node.right, scope) : left;
    },
    not: (node, scope) => !truth(run(node.value, scope)),
    binary: (node, scope) => binary(node.sign, run(node.left, scope), run(node.right, scope)),
    unary: (node, scope) => unary(node.sign, run(node.value, scope)),
    attribute: (node, scope) => attribute(run(node.value, scope), node.name),
    index: (node, scope) => getItem(run(node.value, scope), run(node.index, scope)),
    call: (node, scope) => {
      const f = run(node.value, scope);
      if (f?.kind !== "function") {
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
      return callable("lambda", (args, keywords) => {
        const values = bind("lambda", parameters, args, keywords);
        return run(node.body, new Scope(scope, parameters.map(({ name }, i) => [name, values[i]])));
      });
    },
    comprehension: (node, scope) => {
      const found = listOf([]);
      const inner = new Scope(scope);
      const go = ([loop, ...rest]) => {
        if (!loop) return found.push(run(node.item, inner));
        for (const item of iterate(run(loop.items, inner))) {
          inner.assign(loop.target, item);
          if (loop.tests.every((test) => truth(run(test, inner)))) go(rest);
        }
      };
      go(node.loops);
      return found;
    },
    assign: (node, scope) => scope.assign(node.target, run(node.value, scope)),
  };

  function run(node, scope) {
    spend(200);
    if (++depth > DEEPEST) fail("this nests too deeply, or calls itself without end");
    const value = RUN[node.kind](node, scope);
    depth--;
    return value;
  }

  // What the formulas of tinygrad2 call, as the modules of its ops define it.
  const OURS = defined({
    "erf(x)": (x) => entrywise(erf, x),
    "scatter(g, shape, index)": (g, shape, index) => scatter(asArray(g), asShape(shape), index),
    "einsum_vjp(g, i, arrays, subscripts)": (g, i, arrays, subscripts) =>
      einsumVjp(asArray(g), i, [...iterate(arrays)].map(asArray), subscripts),
    "count(shape, axis, ddof=0)": (shape, axis, ddof) => Math.max(count(asShape(shape), axis) - ddof, 0),
    "product_of_others(x, axis)": productOfOthers,
    "horner(x, y)": horner,
    "inside(shape, pad_width)": (shape, widths) => {
      const pairs = broadcastTo(asArray(widths), [asShape(shape).length, 2]).data;
      return asShape(shape).map((n, i) => slice(pairs[2 * i], pairs[2 * i] + n));
    },
  });
  const PRELUDE = new Scope(null, [...PYTHON, ...OURS]);
  const HELPERS = `
    sigmoid = lambda x: (lambda e: np.where(x < 0, e, 1) / (1 + e))(np.exp(-np.abs(x)))
    sech2 = lambda x: (lambda e: 4 * e / np.square(1 + e))(np.exp(-2 * np.abs(x)))
    bell = lambda x, by: np.exp(-by * x * x)
    normal_cdf = lambda x: 0.5 * (1 + erf(x / math.sqrt(2)))
    sums = lambda x, axis=None, keepdims=False: np.sum(x, axis=axis, keepdims=keepdims)
    means = lambda x, axis=None, keepdims=False: np.mean(x, axis=axis, keepdims=keepdims)
    cumsum = lambda x, axis=None: np.cumsum(x, axis=axis)
    softmax = lambda x, axis=-1: (lambda e: e / np.sum(e, axis=axis, keepdims=True))(
      np.exp(x - np.max(x, axis=axis, keepdims=True)))
    spread = lambda g, shape, axis: np.broadcast_to(
      np.reshape(g, np.sum(np.zeros(shape), axis=axis, keepdims=True).shape), shape)
    same = lambda x, out: (x == out) | ((x != x) & (out != out))
    infinite = lambda x, total: (x == np.inf) & (total == np.inf)
    parts = lambda x, total, axis: np.where(
      infinite(x, total), 1 / np.maximum(np.sum(infinite(x, total), axis=axis, keepdims=True), 1),
      np.exp(np.where(x == np.inf, 0, x) - np.where(total == -np.inf, 0, total)))
    both_infinite = lambda a, b: (a == b) & np.isinf(a)
    gap = lambda a, b: np.where(both_infinite(a, b), 0, a) - np.where(both_infinite(a, b), 0, b)
    distance = lambda a, b: np.where((a == 0) & (b == 0), 1, np.hypot(a, b))
    product_before = lambda x: np.cumprod(np.concatenate([np.ones_like(x[..., :1]), x[..., :-1]], axis=-1), axis=-1)
    from_next = lambda x: np.concatenate([x[..., 1:], x[..., :1]], axis=-1)
    from_previous = lambda g, x: np.flip(horner(np.flip(g, -1), np.flip(from_next(x), -1)), -1)
    for_factors = lambda h, out: np.concatenate([np.zeros_like(h[..., :1]), h[..., :-1] * out[..., 1:]], axis=-1)
    row = lambda a: np.expand_dims(a, 0) if a.ndim == 1 else a
    column = lambda b: np.expand_dims(b, -1) if b.ndim == 1 else b
    matrix = lambda g, a_ndim, b_ndim: np.expand_dims(g, (-2,) * (a_ndim == 1) + (-1,) * (b_ndim == 1))
    piece = lambda g, i, lengths, axis: np.split(g, np.cumsum(lengths)[:-1], axis)[i]
    split_heads = lambda x, parts, heads: [np.swapaxes(part, -2, -3) for part in np.split(
      np.reshape(x, (*x.shape[:-1], parts * heads, x.shape[-1] // (parts * heads))), parts, axis=-2)]
    merged = lambda x: np.reshape(x, (*x.shape[:-2], x.shape[-2] * x.shape[-1]))
    turned = lambda x, cos, sin: np.reshape(np.stack([x[..., 0::2] * cos - x[..., 1::2] * sin,
      x[..., 0::2] * sin + x[..., 1::2] * cos], axis=-1), x.shape)
    angles = lambda qkv, heads, start: (lambda d: (lambda a: (np.cos(a), np.sin(a)))(
      np.expand_dims(np.arange(start, start + qkv.shape[-2]), 1) / 10000 ** (np.arange(0, d, 2) / d)))(qkv.shape[-1] // (3 * heads))
    merge_heads = lambda *parts: merged(np.swapaxes(np.concatenate(parts, axis=-3), -2, -3))
    attention_weights = lambda q, k: softmax(np.where(
      np.tri(q.shape[-2], dtype=bool), q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1]), -np.inf))
  `;
  for (const statement of parse(HELPERS)) run(statement, PRELUDE);
  // What a helper is, as code that is executed here; of those that are not, in words.
  const DEFINITIONS = new Map(HELPERS.trim().split(/\n    (?=\w)/).map((text) => [text.split(" ")[0], text.replace(/\s+/g, " ")]));
  DEFINITIONS.set("scatter", "scatter(g, shape, index): zeros of this shape, with g added at an index; what comes twice adds up");
  DEFINITIONS.set("erf", "erf(x): 2 / sqrt(pi) times the integral of exp(-t * t) from 0 to x");
  DEFINITIONS.set("count", "count(shape, axis): how many entries of an array of this shape go into one that is reduced over axis");
  DEFINITIONS.set("Softmax", `Softmax.spec is softmax; ${DEFINITIONS.get("softmax")}`);
  PRELUDE.names.set("Softmax", namespace("Softmax", [["spec", PRELUDE.find("softmax")]]));

  // From the values of the language to the caller's.
  function outward(x) {
    if (x === null) return [null];
    if (isArray(x) || isScalar(x)) return [asArray(x)];
    if (!Array.isArray(x)) fail(`this gives ${kindOf(x)}, not an array${x.kind === "function" ? "; call it" : ""}`);
    return x.list && x.length && x.every((item) => isScalar(item) || Array.isArray(item)) ? [asArray(x)] : x.flatMap(outward);
  }

  // The values of the expressions of a text, in order: arrays, or null for None. `names` maps a name to an array, a number, a
  // boolean, a text, null, a tuple (a JavaScript array; NumPy.list(items) is a list) or a NumPy.slice.
  // Throws NumPy.Error with one sentence.
  function evaluate(source, names = {}) {
    startWork();
    depth = 0;
    const scope = new Scope(new Scope(PRELUDE, Object.entries(names).map(([name, value]) => [name, value ?? null])));
    const found = [];
    for (const statement of parse(source)) {
      if (statement.kind === "show") found.push(...outward(run(statement.value, scope)));
      else run(statement, scope);
    }
    return found;
  }

  globalThis.NumPy = Object.freeze({
    array(shape, data) {
      startWork(); // it is the page that makes this array, not a text
      return array(shape, data);
    },
    list: listOf,
    slice,
    evaluate,
    definitions: (source) => [...new Set(source.match(/\b[a-zA-Z_]\w*(?=[.(])/g) ?? [])].filter((name) => DEFINITIONS.has(name)).map((name) => DEFINITIONS.get(name)),
    Error: NumPyError,
  });
}
