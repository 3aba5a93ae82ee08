// What operators, attributes and Python's own functions do with values.
{
  const {
    fail, callable, namespace, isArray, isScalar, listOf, range, kindOf, zeros, asArray, transpose, iterate, numberOf, matmul,
    erf, ENTRYWISE, apply, defined, named, counting, NUMPY, METHODS, CONSTANTS,
  } = NumPyParts;

  function truth(x) {
    if (isScalar(x) || x === null) return Boolean(x);
    if (Array.isArray(x) || typeof x === "string") return x.length > 0;
    if (!isArray(x)) return true;
    if (x.data.length !== 1) fail(`the truth value of ${kindOf(x)} is ambiguous: use np.where, or & and | between masks`);
    return x.data[0] !== 0;
  }

  const SYMBOLS = {
    "+": "add", "-": "subtract", "*": "multiply", "/": "divide", "//": "floor_divide", "%": "mod", "**": "power",
    "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal", "==": "equal", "!=": "not_equal",
    "&": "logical_and", "|": "logical_or", "^": "logical_xor",
  };
  const counts = (x) => isScalar(x) || isArray(x) || (Array.isArray(x) && x.list); // a tuple does not
  function compute(sign, a, b) {
    const odd = [a, b].find((x) => !counts(x));
    if (odd !== undefined) fail(`${sign} does not work on ${kindOf(odd)}${odd === null ? "; ask with: is None" : ""}`);
    const numbers = isScalar(a) && isScalar(b);
    if (sign === "@") return matmul(asArray(a), asArray(b));
    if ("&|^".includes(sign) && !(asArray(a).bool && asArray(b).bool)) {
      fail(`${sign} is for masks, like (x > 0) ${sign} (x < 1)${sign === "^" ? "; a power is written **" : ""}`);
    }
    if (numbers && ["/", "//", "%"].includes(sign) && Number(b) === 0) fail("division by zero");
    const name = SYMBOLS[sign];
    return numbers ? ENTRYWISE[name](Number(a), Number(b)) : apply(name, asArray(a), asArray(b));
  }

  function equals(a, b) {
    if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((x, i) => truth(equals(x, b[i])));
    return counts(a) && counts(b) ? compute("==", a, b) : a === b;
  }

  function times(items, n) {
    zeros([items.length * Math.max(0, n)]); // not too many
    const all = range(Math.max(0, n)).flatMap(() => [...items]);
    return items.list ? listOf(all) : all;
  }

  function binary(sign, a, b) {
    if (sign === "is") return a === b;
    if (sign === "is not") return a !== b;
    if (sign === "in") return [...iterate(b)].some((x) => truth(equals(a, x)));
    if (sign === "not in") return !binary("in", a, b);
    if (sign === "==") return equals(a, b);
    if (sign === "!=" && typeof equals(a, b) === "boolean") return !equals(a, b);
    if (sign === "+" && Array.isArray(a) && Array.isArray(b)) return a.list ? listOf([...a, ...b]) : [...a, ...b];
    if (sign === "*" && Array.isArray(a) && isScalar(b)) return times(a, Number(b));
    if (sign === "*" && Array.isArray(b) && isScalar(a)) return times(b, Number(a));
    return compute(sign, a, b);
  }

  function unary(sign, x) {
    if (sign === "~" && !asArray(x).bool) fail("~ is for masks, like ~(x > 0)");
    if (sign === "~") return apply("logical_not", asArray(x));
    if (isScalar(x)) return sign === "-" ? -Number(x) : Number(x);
    return sign === "-" ? apply("negative", asArray(x)) : asArray(x);
  }

  const PROPERTIES = {
    T: (x) => transpose(x, range(x.shape.length).reverse()),
    shape: (x) => [...x.shape],
    ndim: (x) => x.shape.length,
    size: (x) => x.data.length,
    dtype: (x) => (x.bool ? "bool" : "float"),
  };
  function attribute(x, name) {
    if (x?.kind === "name") return x.members.has(name) ? x.members.get(name) : fail(`${x.name} has no '${name}' here`);
    if (x?.kind === "function" && name === "at") {
      fail(`np.${x.name}.at changes an array in place, which this page cannot; use scatter(g, x.shape, index)`);
    }
    if (!isArray(x) && !isScalar(x)) fail(`${kindOf(x)} has no attribute '${name}'`);
    if (Object.hasOwn(PROPERTIES, name)) return PROPERTIES[name](asArray(x));
    if (METHODS.includes(name)) return callable(name, (args, keywords) => NUMPY.get(name).call([x, ...args], keywords));
    fail(`an array has no attribute '${name}' here; it has T, shape, ndim, size, sum, mean, reshape, transpose and more`);
  }

  const extreme = (sign) => (items) => {
    const all = items.length === 1 ? [...iterate(items[0])] : items;
    return all.length ? all.reduce((a, b) => (truth(binary(sign, b, a)) ? b : a)) : fail("there is nothing to choose from");
  };
  const PYTHON = [
    ["np", namespace("np", NUMPY)],
    ["math", namespace("math", [
      ...named("sqrt exp log tanh sin cos".split(" "), "(value)", (name) => (n) => Math[name](numberOf(n))),
      ...defined({ "erf(value)": (n) => erf(numberOf(n)) }),
      ...CONSTANTS,
    ])],
    ...defined({
      "float(value)": numberOf,
      "int(value)": (n) => Math.trunc(numberOf(n)),
      "bool(value)": truth,
      "len(items)": (items) => (isArray(items) && items.shape.length ? items.shape[0] : [...iterate(items)].length),
      "range(start, stop=None, step=1)": (start, stop, step) => listOf(counting(start, stop, step).data),
      "tuple(items)": (items) => [...iterate(items)],
      "list(items)": (items) => listOf(iterate(items)),
      "enumerate(items)": (items) => listOf([...iterate(items)].map((item, i) => [i, item])),
      "sum(items, start=0)": (items, start) => [...iterate(items)].reduce((sum, item) => binary("+", sum, item), start),
      "abs(value)": (value) => (isScalar(value) ? Math.abs(value) : apply("abs", asArray(value))),
      "max(*items)": extreme(">"),
      "min(*items)": extreme("<"),
    }),
  ];

  Object.assign(NumPyParts, { truth, binary, unary, attribute, PYTHON });
}
