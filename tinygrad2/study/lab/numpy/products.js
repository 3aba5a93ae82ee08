// Sums of products: matmul, dot, einsum and the gradient of einsum, all of them one contraction of arrays with named axes.
{
  const { fail, spend, sizeOf, shapeText, zeros, strided, stridesOf, unequal, broadcastTo, reshape } = NumPyParts;

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
    const lengths = (names) => names.map((name) => length.get(name));
    const summed = [...length.keys()].filter((name) => !result.includes(name));
    const offsets = (names) => arrays.map((x, k) => {
      const strides = stridesOf(x.shape);
      const own = (name, axis) => (terms[k][axis] === name && x.shape[axis] !== 1 ? strides[axis] : 0);
      return strided(lengths(names), names.map((name) => strides.reduce((sum, _, axis) => sum + own(name, axis), 0)));
    });
    const out = zeros(lengths(result));
    const count = sizeOf(lengths(summed));
    spend(out.data.length * count);
    const [outer, inner] = [offsets(result), offsets(summed)];
    const data = arrays.map((x) => x.data);
    const [[a, b], [outA, outB], [inA, inB]] = [data, outer, inner];
    const product = data.length === 2
      ? (i, j) => a[outA[i] + inA[j]] * b[outB[i] + inB[j]] // most are of two, and this is fast
      : (i, j) => data.reduce((value, x, k) => value * x[outer[k][i] + inner[k][j]], 1);
    for (let i = 0; i < out.data.length; i++) {
      let sum = 0;
      for (let j = 0; j < count; j++) sum += product(i, j);
      out.data[i] = sum;
    }
    return out;
  }

  function matmul(a, b) {
    const text = `matmul: ${shapeText(a.shape)} @ ${shapeText(b.shape)}`;
    if (!a.shape.length || !b.shape.length) fail(`${text}: a single number has no axis to sum over; multiply it with *`);
    const [inA, inB] = [a.shape.at(-1), b.shape.at(b.shape.length > 1 ? -2 : 0)];
    if (inA !== inB) fail(`${text}: inner dimensions ${inA} and ${inB} differ`);
    const [rows, columns] = [a.shape.length > 1, b.shape.length > 1];
    const result = `...${rows ? "i" : ""}${columns ? "k" : ""}`;
    return einsum(`${rows ? "...ij" : "j"},${columns ? "...jk" : "j"}->${result}`, [a, b]);
  }

  function dot(a, b) {
    const left = a.shape.map((_, i) => `a${i}`);
    const right = b.shape.map((_, i) => `b${i}`);
    if (!left.length || !right.length) return contract([a, b], [left, right], [...left, ...right]);
    if (right.length < 3) return matmul(a, b);
    const [inA, inB] = [a.shape.at(-1), b.shape.at(-2)];
    if (inA !== inB) fail(`dot: ${shapeText(a.shape)} and ${shapeText(b.shape)}: inner dimensions ${inA} and ${inB} differ`);
    right[right.length - 2] = left.at(-1);
    return contract([a, b], [left, right], [...left.slice(0, -1), ...right.filter((name) => name !== left.at(-1))]);
  }

  // The names of the axes of the operands and of the result; the axes of "..." are called 0, 1, ... from the last.
  function subscripted(subscripts, arrays) {
    if (typeof subscripts !== "string") fail("einsum: the first argument is a text like 'ij,jk->ik'");
    const [left, right] = subscripts.replaceAll(" ", "").split("->");
    const operands = left.split(",");
    if (operands.length !== arrays.length) {
      fail(`einsum: '${subscripts}' names ${operands.length} operands, but ${arrays.length} are given`);
    }
    const named = (text, count) => [...text.replace("...", "9876543210".slice(10 - Math.max(0, count)))];
    const counts = arrays.map((x, k) => (operands[k].includes("...") ? x.shape.length - operands[k].length + 3 : 0));
    const terms = operands.map((text, k) => named(text, counts[k]));
    terms.forEach((term, k) => {
      if (term.length !== arrays[k].shape.length) {
        fail(`einsum: '${operands[k]}' does not fit an array of shape ${shapeText(arrays[k].shape)}`);
      }
    });
    const letters = [...left.replace(/[.,]/g, "")];
    const once = letters.filter((letter) => letters.indexOf(letter) === letters.lastIndexOf(letter)).sort().join("");
    const result = named(right ?? (left.includes("...") ? "..." : "") + once, Math.max(...counts));
    const unknown = result.find((name) => !terms.flat().includes(name));
    if (unknown) fail(`einsum: '${unknown}' of the result is in no operand`);
    return { terms, result };
  }

  function einsum(subscripts, arrays) {
    const { terms, result } = subscripted(subscripts, arrays);
    return contract(arrays, terms, result);
  }

  function einsumVjp(g, i, arrays, subscripts) {
    const { terms, result } = subscripted(subscripts, arrays);
    const without = (items) => items.filter((_, j) => j !== i);
    const others = [result, ...without(terms)];
    const known = terms[i].filter((name) => others.flat().includes(name));
    const product = contract([g, ...without(arrays)], others, known);
    const length = (name) => (known.includes(name) ? product.shape[known.indexOf(name)] : 1);
    const full = arrays[i].shape.map((n, axis) => (n ? Math.max(length(terms[i][axis]), n) : 0));
    return broadcastTo(reshape(product, terms[i].map(length)), full);
  }

  Object.assign(NumPyParts, { matmul, dot, einsum, einsumVjp });
}
