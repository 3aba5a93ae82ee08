// Names the mistake in an answer. Arrays are {shape, data}, as NumPy.array makes them; null says "no gradient".
// One global, verdict(answer, truth, about), with verdict.shape and verdict.number also under the names verdictShape and
// verdictNumber. Each returns {right, kind, text}.
"use strict";

const { verdict, verdictShape, verdictNumber } = (() => {
  const range = (n) => Array.from({ length: n }, (_, i) => i);
  const sizeOf = (shape) => shape.reduce((size, n) => size * n, 1);
  const sameShape = (a, b) => a.length === b.length && a.every((n, i) => n === b[i]);
  const shapeText = (shape) => `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
  const answered = (kind, text) => ({ right: kind === "right", kind, text });
  const list = (items) => (items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`);
  const axesText = (axes) => `${axes.length > 1 ? "axes" : "axis"} ${list(axes)}`;
  const subsetsOf = (n) => range(2 ** Math.min(n, 6)).map((bits) => range(n).filter((i) => bits & (1 << i))).sort((a, b) => a.length - b.length);
  const short = (x) => (Number.isFinite(x) ? String(Number(x.toPrecision(4))) : Number.isNaN(x) ? "not a number" : x < 0 ? "-inf" : "inf");
  const upper = (text) => text[0].toUpperCase() + text.slice(1);

  // An array with its axes in another order.
  function permuted(x, axes) {
    const shape = axes.map((axis) => x.shape[axis]);
    const strides = axes.map((axis) => sizeOf(x.shape.slice(axis + 1)));
    const data = new Float64Array(x.data.length);
    data.forEach((_, i) => {
      let [rest, place] = [i, 0];
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        place += (rest % shape[axis]) * strides[axis];
        rest = Math.floor(rest / shape[axis]);
      }
      data[i] = x.data[place];
    });
    return { shape, data };
  }

  // An array summed over some of its axes.
  function summed(x, axes) {
    const kept = range(x.shape.length).filter((axis) => !axes.includes(axis));
    const { data } = permuted(x, [...kept, ...axes]);
    const width = sizeOf(axes.map((axis) => x.shape[axis]));
    const shape = kept.map((axis) => x.shape[axis]);
    return { shape, data: Float64Array.from({ length: sizeOf(shape) }, (_, i) => data.subarray(i * width, (i + 1) * width).reduce((a, b) => a + b, 0)) };
  }

  // The axes that broadcasting added or stretched to get from one shape to a larger one; null if it cannot.
  function stretched(small, large) {
    const extra = large.length - small.length;
    if (extra < 0 || small.some((n, i) => n !== 1 && n !== large[i + extra])) return null;
    return range(large.length).filter((axis) => axis < extra || small[axis - extra] !== large[axis]);
  }

  // Compares entries with the truth: relative to each, and to a hundredth of the tolerance relative to the largest.
  class Judge {
    constructor(truth, about) {
      const parts = about.parts ?? [];
      const largest = Math.max(0, ...[truth, ...parts].map((x) => x.data.reduce((top, v) => (Math.abs(v) > top ? Math.abs(v) : top), 0)));
      Object.assign(this, { truth, tolerance: about.tolerance ?? 1e-4, least: 0.01 * (Number.isFinite(largest) && largest ? largest : 1e-3) });
    }
    close(a, b) {
      return Object.is(a, b) || a === b || (Number.isNaN(a) && Number.isNaN(b)) || Math.abs(a - b) <= this.tolerance * (Math.abs(b) + this.least);
    }
    fits(x, factor = 1) {
      return sameShape(x.shape, this.truth.shape) && x.data.every((v, i) => this.close(v, factor * this.truth.data[i]));
    }
    // The c of x = c * truth, or null. One entry is c times another for some c always: there c must be a nice number.
    factor(x) {
      if (!sameShape(x.shape, this.truth.shape)) return null;
      const { data } = this.truth;
      const top = data.reduce((best, v, i) => (Math.abs(v) > Math.abs(data[best]) ? i : best), 0);
      const c = x.data[top] / data[top];
      if (!Number.isFinite(c) || c === 0 || !x.data.every((v, i) => this.close(v / c, data[i]))) return null;
      const several = data.filter((v) => Math.abs(v) > this.tolerance * Math.abs(data[top])).length > 1;
      return several || nice(c, this.tolerance) !== null ? c : null;
    }
  }

  // 2, 1/8, 2/3, sqrt(8), 1/sqrt(8): a number as one would write it, or null.
  function nice(c, tolerance) {
    const size = Math.abs(c);
    const near = (x) => Math.abs(size - x) <= 2 * tolerance * x;
    const sign = c < 0 ? "-" : "";
    for (const d of range(12).map((i) => i + 1)) {
      const n = Math.round(size * d);
      if (n && n < 4096 && near(n / d)) return `${sign}${n}${d > 1 ? `/${d}` : ""}`;
    }
    for (const [x, text] of [[1 / size, (n) => `1/${n}`], [size ** 2, (n) => `sqrt(${n})`], [size ** -2, (n) => `1/sqrt(${n})`]]) {
      const n = Math.round(x);
      if (n && n < 4096 && Math.abs(x - n) <= 4 * tolerance * x) return `${sign}${text(n)}`;
    }
    return null;
  }

  // The factor in words; where it is a count of entries along some axes, which ones.
  function factorText(c, tolerance, lengths) {
    const text = nice(c, tolerance) ?? short(c);
    const count = Math.round(Math.max(c, 1 / c));
    const whole = count > 1 && [String(count), `1/${count}`].includes(text);
    const axes = whole ? subsetsOf(lengths.length).find((some) => sizeOf(some.map((axis) => lengths[axis])) === count) : undefined;
    if (!axes) return `${text} times what it should be.`;
    const together = axes.length > 1 ? " together" : "";
    return `${text} times what it should be. ${count} is the length of ${axesText(axes)}${together}: is there a mean for a sum, or a sum for a mean?`;
  }

  // Every way to have used some but not all of the parts: [numbers of those used, their sum].
  function* subsets(parts) {
    const count = parts.length;
    const choices = count <= 10 ? range(2 ** count - 2).map((i) => range(count).filter((k) => (i + 1) & (1 << k))) : [
      ...range(count).map((k) => [k]), ...range(count - 2).map((k) => range(k + 2)), ...range(count).map((k) => range(count).filter((other) => other !== k)),
    ];
    for (const chosen of choices.sort((a, b) => a.length - b.length)) {
      yield [chosen, { shape: parts[0].shape, data: parts[0].data.map((_, i) => chosen.reduce((sum, k) => sum + parts[k].data[i], 0)) }];
    }
  }

  function accumulated(answer, judge, parts) {
    if (parts.length < 2) return null;
    for (const [chosen, sum] of subsets(parts)) {
      if (!sameShape(answer.shape, sum.shape) || !answer.data.every((v, i) => judge.close(v, sum.data[i]))) continue;
      const name = (k) => parts[k].name ?? `use ${k + 1}`;
      const missing = parts.length - chosen.length;
      const more = missing > 1 ? `There are ${missing} more uses` : "There is one more use";
      return answered("accumulate", `You have what came from ${list(chosen.map(name))}. ${more}: a gradient is the sum over all ${parts.length} uses.`);
    }
    return null;
  }

  // What the answer may be before one step that is missing or too much: [kind, what is wrong, the array after that step].
  function* repairs(answer, truth, before) {
    const rank = answer.shape.length;
    if (rank > 1) {
      const swapped = [...range(rank - 2), rank - 1, rank - 2];
      yield ["transposed", rank > 2 ? "its last two axes are swapped" : "it is transposed", permuted(answer, swapped)];
      if (rank > 2) yield ["transposed", "it is transposed (all axes reversed)", permuted(answer, range(rank).reverse())];
    }
    const undo = stretched(truth.shape, answer.shape);
    const long = (axes) => axes.some((axis) => answer.shape[axis] > 1);
    if (undo && long(undo)) {
      const whole = before && sameShape(before.shape, answer.shape) ? "it is the gradient before broadcasting is undone: " : "";
      yield ["unsummed", `${whole}${axesText(undo)} must be summed over`, { shape: truth.shape, data: summed(answer, undo).data }];
    }
    for (const axes of subsetsOf(rank)) {
      if (long(axes) && sameShape(answer.shape.filter((_, axis) => !axes.includes(axis)), truth.shape)) {
        yield ["unsummed", `${axesText(axes)} must be summed over`, summed(answer, axes)];
      }
    }
    if (!sameShape(answer.shape, truth.shape) && answer.data.length === truth.data.length) {
      yield ["shape", `the numbers are right, but in shape ${shapeText(answer.shape)}; it should be ${shapeText(truth.shape)}`, { shape: truth.shape, data: answer.data }];
    }
  }

  // Where the answer has lost axes that the truth has.
  function lost(answer, judge) {
    const { truth } = judge;
    const axes = stretched(answer.shape, truth.shape);
    if (!axes?.length) return null;
    const total = { shape: answer.shape, data: summed(truth, axes).data };
    const other = new Judge(total, { tolerance: judge.tolerance });
    const shapes = `your answer has shape ${shapeText(answer.shape)}, the gradient ${shapeText(truth.shape)}`;
    if (other.fits(answer)) return answered("shape", `Summed too far: ${shapes}, and ${axesText(axes)} should stay.`);
    const count = truth.data.length / answer.data.length;
    const repeated = { shape: answer.shape, data: total.data.map((v) => v / count) };
    const even = truth.data.length && new Judge(repeated, { tolerance: judge.tolerance }).fits(answer);
    if (even && range(truth.data.length).every((i) => judge.close(spreadAt(answer, truth.shape, i), truth.data[i]))) {
      return answered("shape", `The numbers are right, but ${shapes}: repeat them along ${axesText(axes)} (np.broadcast_to).`);
    }
    return null;
  }

  // The entry that broadcasting an array to a shape has at place i.
  function spreadAt(x, shape, i) {
    let [rest, place, stride] = [i, 0, 1];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const own = x.shape[axis - shape.length + x.shape.length] ?? 1;
      if (own > 1) place += (rest % shape[axis]) * stride;
      stride *= own;
      rest = Math.floor(rest / shape[axis]);
    }
    return x.data[place];
  }

  const indexOf = (place, shape) => `[${shape.map((n, axis) => Math.floor(place / sizeOf(shape.slice(axis + 1))) % n).join(", ")}]`;

  // Which entries agree, and where the first one does not.
  function compared(answer, judge) {
    const { shape, data } = judge.truth;
    const good = range(data.length).filter((i) => judge.close(answer.data[i], data[i]));
    const first = range(data.length).find((i) => !judge.close(answer.data[i], data[i]));
    const there = shape.length ? ` at ${indexOf(first, shape)}` : "";
    const differs = `you have ${short(answer.data[first])}${there}, and it is ${short(data[first])}`;
    if (!good.some((i) => data[i] !== 0)) {
      if (answer.data.every((v) => v === 0)) return answered("wrong", "Your answer is 0 everywhere; the gradient is not.");
      const zeros = good.length ? `The ${good.length} zeros are where they should be; the others are not right` : "No entry agrees";
      return answered("wrong", `The shape is right, the numbers are not. ${data.length > 1 ? `${zeros}: ${differs}` : upper(differs)}.`);
    }
    const right = new Set(good);
    const lines = ["row", "column"].map((what, k) => {
      const axis = k ? shape.length - 1 : 0;
      if (shape.length < 2) return null;
      const stride = sizeOf(shape.slice(axis + 1));
      const whole = range(shape[axis]).filter((n) => range(data.length).every((i) => Math.floor(i / stride) % shape[axis] !== n || right.has(i)));
      const exact = whole.length && whole.length * (data.length / shape[axis]) === good.length;
      return exact ? `: ${what}${whole.length > 1 ? "s" : ""} ${list(whole)}` : null;
    });
    const which = lines.find((text) => text !== null && text.length < 80) ?? "";
    return answered("partly", `${good.length} of ${data.length} entries agree${which}. The first that differs: ${differs}.`);
  }

  // What is wrong with the gradient that somebody gave.
  // about: parts, the contributions whose sum is the truth, each with a `name` or not; before, the array from which broadcasting
  // was undone, or null; tolerance, relative (1e-4).
  // Kinds: right, shape, transposed, unsummed, sign, factor, accumulate, partly, wrong.
  function verdict(answer, truth, about = {}) {
    if (answer === null || truth === null) {
      if (answer === truth) return answered("right", "Right: it gets no gradient.");
      if (truth === null) return answered("wrong", "It gets no gradient at all: the answer is None.");
      return answered("wrong", `You say that there is no gradient, but there is one, of shape ${shapeText(truth.shape)}.`);
    }
    const judge = new Judge(truth, about);
    if (judge.fits(answer)) return answered("right", "Right.");
    const bad = answer.data.findIndex((v, i) => !Number.isFinite(v) && Number.isFinite(truth.data[i] ?? 0));
    if (bad >= 0) return answered("wrong", `Your answer is ${short(answer.data[bad])}${answer.shape.length ? ` at ${indexOf(bad, answer.shape)}` : ""}.`);
    const same = sameShape(answer.shape, truth.shape);
    const shapes = same ? "" : `Your answer has shape ${shapeText(answer.shape)}, the gradient ${shapeText(truth.shape)}: `;
    const all = [...repairs(answer, truth, about.before ?? null)];
    const found = all.find(([, , fixed]) => judge.fits(fixed));
    const say = (what) => (shapes && !what.includes("in shape") ? shapes + what : upper(what));
    const exact = same ? accumulated(answer, judge, about.parts ?? []) : null;
    if (exact) return exact;
    if (found) return answered(found[0], `${say(found[1])}.`);
    if (judge.fits(answer, -1)) return answered("sign", "The sign is turned around: your answer is minus the gradient.");
    const flipped = all.find(([, , fixed]) => judge.fits(fixed, -1));
    if (flipped) return answered(flipped[0], `${say(flipped[1])}, and the sign is turned around.`);
    const tolerance = judge.tolerance;
    const lengths = (about.before ?? truth).shape;
    const c = judge.factor(answer);
    if (c !== null) return answered("factor", `Your answer is ${factorText(c, tolerance, lengths)}`);
    for (const [kind, what, fixed] of all) {
      const other = judge.factor(fixed);
      if (other !== null && nice(other, tolerance)) return answered(kind, `${say(what)}, and then it is ${factorText(other, tolerance, lengths)}`);
    }
    if (same) return compared(answer, judge);
    return lost(answer, judge) ?? answered("shape", `${shapes}no sum or transpose makes one of the other.`);
  }

  // An answer that is a shape: lists of whole numbers, or of the arrays that NumPy.evaluate makes of a tuple.
  // Kinds: right, transposed, unsummed, wrong.
  function verdictShape(answer, truth) {
    const [mine, own] = [answer, truth].map((shape) => [...shape].map((n) => (n?.data ? n.data[0] : n)));
    const text = shapeText(mine);
    if (sameShape(mine, own)) return answered("right", "Right.");
    if (mine.some((n) => !Number.isInteger(n) || n < 0)) return answered("wrong", "A shape is made of whole numbers, one per axis, like (3, 4).");
    const sorted = (shape) => [...shape].sort((a, b) => a - b);
    if (sameShape(sorted(mine), sorted(own))) return answered("transposed", `${text} has the right lengths, but in another order.`);
    const due = stretched(own, mine);
    if (due?.length) return answered("unsummed", `${text} is the shape before broadcasting is undone: ${axesText(due)} must be summed over.`);
    if (sameShape(mine.filter((n) => n !== 1), own.filter((n) => n !== 1))) return answered("wrong", `${text} differs by axes of length 1.`);
    if (mine.length !== own.length) return answered("wrong", `${text} has ${mine.length} ${mine.length === 1 ? "axis" : "axes"}; it should have ${own.length}.`);
    const odd = range(own.length).filter((axis) => mine[axis] !== own[axis]);
    return answered("wrong", `${text} is wrong in ${axesText(odd)}.`);
  }

  // An answer that is one number: as typed, a number, or an array of one entry. Typed digits need only be right as far as they
  // go, if they are at least two. about: parts, numbers whose sum is the truth; tolerance, relative (1e-4).
  // Kinds: right, sign, factor, accumulate, partly, wrong.
  function verdictNumber(answer, truth, about = {}) {
    const own = truth?.data ? truth.data[0] : truth;
    const typed = answer?.data ? String(answer.data[0]) : String(answer).trim();
    const [, digits, decimals = "", exponent = "0"] = typed.match(/^[-+]?(\d*\.?(\d*))(?:[eE]([-+]?\d+))?$/) ?? [];
    const mine = typed === "" || digits === undefined ? Number.NaN : Number(typed);
    if (Number.isNaN(mine)) return answered("wrong", `'${typed}' is not a number.`);
    const unit = 10 ** (Number(exponent) - decimals.length);
    const significant = digits.replace(".", "").replace(/^0+/, "").length;
    const tolerance = about.tolerance ?? 1e-4;
    const exact = (x) => Math.abs(mine - x) <= tolerance * Math.abs(x);
    const rounds = (x) => exact(x) || (significant > 1 && mine !== 0 && Math.abs(mine - x) <= unit * 0.5000001);
    if (rounds(own)) return answered("right", mine === own || exact(own) ? "Right." : `Right: it is ${short(own)}.`);
    if (significant === 1 && decimals && Math.abs(mine - own) <= unit * 0.5000001) return answered("partly", "That is right to one digit; give at least two.");
    const parts = (about.parts ?? []).map((part) => (part?.data ? part : { shape: [], data: Float64Array.of(part) }));
    if (parts.length > 1) {
      for (const [chosen, sum] of subsets(parts)) {
        if (rounds(sum.data[0])) return answered("accumulate", `You have ${chosen.length} of the ${parts.length} contributions; the gradient is their sum.`);
      }
    }
    if (rounds(-own)) return answered("sign", "The sign is turned around.");
    for (const n of [2, 3, 4, 5, 6, 8, 10, 12, 16, 32, 64, 100, 1000]) {
      for (const [c, text] of [[n, `${n}`], [1 / n, `1/${n}`]]) {
        for (const sign of [1, -1]) {
          if (own !== 0 && rounds(sign * c * own)) return answered("factor", `Your answer is ${sign < 0 ? "-" : ""}${text} times what it should be.`);
        }
      }
    }
    if (significant > 1 && Math.abs(mine - own) < 2 * unit) return answered("partly", "Almost: the last digit is off.");
    return answered("wrong", `It is not ${typed}.`);
  }

  return { verdict, verdictShape, verdictNumber };
})();
