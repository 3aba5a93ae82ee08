// Names the mistake in an answer. Arrays are {shape, data}, as NumPy.array makes them; null says "no gradient".
// verdict, verdictShape and verdictNumber return {right, kind, text}; agree only says whether.
"use strict";

const { verdict, verdictShape, verdictNumber, agree } = (() => {
  const range = (n) => Array.from({ length: n }, (_, i) => i);
  const sizeOf = (shape) => shape.reduce((size, n) => size * n, 1);
  const sameShape = (a, b) => a.length === b.length && a.every((n, i) => n === b[i]);
  const shapeText = (shape) => `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
  const answered = (kind, text) => ({ right: kind === "right", kind, text });
  const list = (items) => (items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`);
  const axesText = (axes) => (axes.length > 1 ? `axes ${list(axes)}` : `axis ${axes[0] ?? ""}`);
  const chosenBy = (bits, n) => range(n).filter((i) => bits & (1 << i));
  const subsetsOf = (n) => range(2 ** Math.min(n, 10)).map((bits) => chosenBy(bits, n)).sort((a, b) => a.length - b.length);
  const short = (x, digits = 4) => {
    if (Number.isNaN(x)) return "not a number";
    return Number.isFinite(x) ? String(Number(x.toPrecision(digits))) : x < 0 ? "-inf" : "inf";
  };
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
    const row = (i) => data.subarray(i * width, (i + 1) * width);
    return { shape, data: Float64Array.from({ length: sizeOf(shape) }, (_, i) => row(i).reduce((a, b) => a + b, 0)) };
  }

  // The axes that broadcasting added or stretched to get from one shape to a larger one; null if it cannot.
  function stretched(small, large) {
    const extra = large.length - small.length;
    if (extra < 0 || small.some((n, i) => n !== 1 && n !== large[i + extra])) return null;
    return range(large.length).filter((axis) => axis < extra || small[axis - extra] !== large[axis]);
  }

  // Compares entries with the truth: relative to each, and to a hundredth of the tolerance relative to the largest.
  class Comparison {
    constructor(truth, about) {
      const arrays = [truth, ...(about.parts ?? [])];
      const largest = arrays.reduce((top, x) => x.data.reduce((so, v) => Math.max(so, Math.abs(v) || 0), top), 0);
      const scale = Number.isFinite(largest) && largest ? largest : 1e-3;
      Object.assign(this, { truth, tolerance: about.tolerance ?? 1e-4, least: 0.01 * scale });
    }
    close(a, b) {
      if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return true;
      return Math.abs(a - b) <= this.tolerance * (Math.abs(b) + this.least);
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

  // 2, 1/8, 2/3, sqrt(8), 1/sqrt(8): a number as one would write it, or null. A factor is known better than each entry is.
  function nice(c, tolerance) {
    const sign = c < 0 ? "-" : "";
    const size = Math.abs(c);
    const whole = (x, most, times = 1) => {
      const n = Math.round(x);
      return n > 0 && n <= most && Math.abs(x - n) <= (times * tolerance * x) / 5 ? n : null;
    };
    const written = [[size, 4096, 1, "", ""], [1 / size, 4096, 1, "1/", ""]];
    written.push([size ** 2, 1024, 2, "sqrt(", ")"], [size ** -2, 1024, 2, "1/sqrt(", ")"]);
    written.push(...range(11).map((i) => [size * (i + 2), 48, 1, "", `/${i + 2}`]));
    for (const [x, most, times, before, after] of written) {
      const n = whole(x, most, times);
      if (n) return `${sign}${before}${n}${after}`;
    }
    return null;
  }

  // The factor in words; where it is a count of entries along some axes, which ones.
  function factorText(c, tolerance, lengths) {
    const text = nice(c, tolerance) ?? short(c, Math.abs(c - 1) < 0.01 ? 7 : 4);
    const count = Math.round(Math.max(c, 1 / c));
    const whole = count > 1 && [String(count), `1/${count}`].includes(text);
    const axes = subsetsOf(lengths.length).find((some) => whole && sizeOf(some.map((axis) => lengths[axis])) === count);
    if (!axes) return `${text} times what it should be.`;
    const where = `the length of ${axesText(axes)}${axes.length > 1 ? " together" : ""}`;
    return `${text} times what it should be. ${count} is ${where}: is there a mean for a sum, or a sum for a mean?`;
  }

  // Ways to have used some but not all of so many parts: all ways, or if those are too many, one, the first few, all but one.
  function someOf(count) {
    if (count <= 10) return subsetsOf(count).slice(1, -1);
    const butOne = range(count).map((k) => range(count).filter((i) => i !== k));
    return [...range(count).map((k) => [k]), ...range(count - 2).map((k) => range(k + 2)), ...butOne];
  }
  const partial = (parts, chosen, i) => chosen.reduce((sum, k) => sum + parts[k].data[i], 0);

  function accumulated(answer, judge, parts) {
    for (const chosen of parts.length > 1 ? someOf(parts.length) : []) {
      if (!answer.data.every((v, i) => judge.close(v, partial(parts, chosen, i)))) continue;
      const name = (k) => parts[k].name ?? `use ${k + 1}`;
      const missing = parts.length - chosen.length;
      const more = missing > 1 ? `There are ${missing} more uses` : "There is one more use";
      const have = `You have what came from ${list(chosen.map(name))}. ${more}`;
      return answered("accumulate", `${have}: a gradient is the sum over all ${parts.length} uses.`);
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
      const { data } = summed(answer, undo);
      yield ["unsummed", `${whole}${axesText(undo)} must be summed over`, { shape: truth.shape, data }];
    }
    for (const axes of subsetsOf(rank)) {
      if (long(axes) && sameShape(answer.shape.filter((_, axis) => !axes.includes(axis)), truth.shape)) {
        yield ["unsummed", `${axesText(axes)} must be summed over`, summed(answer, axes)];
      }
    }
    if (!sameShape(answer.shape, truth.shape) && answer.data.length === truth.data.length) {
      const shapes = `in shape ${shapeText(answer.shape)}; it should be ${shapeText(truth.shape)}`;
      yield ["shape", `the numbers are right, but ${shapes}`, { shape: truth.shape, data: answer.data }];
    }
  }

  // Where the answer has lost axes that the truth has.
  function lost(answer, judge) {
    const { truth } = judge;
    const axes = stretched(answer.shape, truth.shape);
    if (!axes?.length) return null;
    const total = { shape: answer.shape, data: summed(truth, axes).data };
    const other = new Comparison(total, { tolerance: judge.tolerance });
    const shapes = `your answer has shape ${shapeText(answer.shape)}, the gradient ${shapeText(truth.shape)}`;
    if (other.fits(answer)) return answered("shape", `Summed too far: ${shapes}, and ${axesText(axes)} should stay.`);
    const count = truth.data.length / answer.data.length;
    const repeated = { shape: answer.shape, data: total.data.map((v) => v / count) };
    const even = truth.data.length && new Comparison(repeated, { tolerance: judge.tolerance }).fits(answer);
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

  const coordinate = (place, shape, axis) => Math.floor(place / sizeOf(shape.slice(axis + 1))) % shape[axis];
  const whereIn = (place, shape) => {
    return shape.length ? ` at [${shape.map((_, axis) => coordinate(place, shape, axis)).join(", ")}]` : "";
  };

  // Which entries agree, and where the first one does not.
  function compared(answer, judge) {
    const { shape, data } = judge.truth;
    const good = range(data.length).filter((i) => judge.close(answer.data[i], data[i]));
    const first = range(data.length).find((i) => !judge.close(answer.data[i], data[i]));
    const differs = `you have ${short(answer.data[first])}${whereIn(first, shape)}, and it is ${short(data[first])}`;
    if (!good.some((i) => data[i] !== 0)) {
      if (answer.data.every((v) => v === 0)) return answered("wrong", "Your answer is 0 everywhere; the gradient is not.");
      const zeros = good.length ? `The ${good.length} zeros are in place, the others not right` : "No entry agrees";
      const more = data.length > 1 ? `${zeros}: ${differs}` : upper(differs);
      return answered("wrong", `The shape is right, the numbers are not. ${more}.`);
    }
    const right = new Set(good);
    const lines = [["row", 0], ["column", shape.length - 1]].map(([what, axis]) => {
      if (shape.length < 2) return null;
      const broken = new Set(range(data.length).filter((i) => !right.has(i)).map((i) => coordinate(i, shape, axis)));
      const whole = range(shape[axis]).filter((n) => !broken.has(n));
      const all = whole.length && whole.length * (data.length / shape[axis]) === good.length;
      return all ? `: ${what}${whole.length > 1 ? "s" : ""} ${list(whole)}` : null;
    });
    const which = lines.find((text) => text !== null && text.length < 80) ?? "";
    return answered("partly", `${good.length} of ${data.length} entries agree${which}. The first that differs: ${differs}.`);
  }

  // What is wrong with the gradient that somebody gave.
  // about: parts, the contributions whose sum is the truth, each with a `name` or not; before, the array from which
  // broadcasting was undone, or null; tolerance, relative (1e-4).
  // Kinds: right, shape, transposed, unsummed, sign, factor, accumulate, partly, wrong.
  function verdict(answer, truth, about = {}) {
    if (answer === null || truth === null) {
      if (answer === truth) return answered("right", "Right: it gets no gradient.");
      if (truth === null) return answered("wrong", "It gets no gradient: the answer is None.");
      return answered("wrong", `There is a gradient, of shape ${shapeText(truth.shape)}.`);
    }
    const judge = new Comparison(truth, about);
    if (judge.fits(answer)) return answered("right", "Right.");
    const bad = answer.data.findIndex((v, i) => !Number.isFinite(v) && Number.isFinite(truth.data[i] ?? 0));
    if (bad >= 0) {
      return answered("wrong", `Your answer is ${short(answer.data[bad])}${whereIn(bad, answer.shape)}.`);
    }
    const same = sameShape(answer.shape, truth.shape);
    const shapes = same ? "" : `Your answer has shape ${shapeText(answer.shape)}, the gradient ${shapeText(truth.shape)}: `;
    const all = [...repairs(answer, truth, about.before ?? null)];
    const found = all.find(([, , fixed]) => judge.fits(fixed));
    const say = (what) => (shapes && !what.includes("in shape") ? shapes + what : upper(what));
    const exact = same ? accumulated(answer, judge, about.parts ?? []) : null;
    if (exact) return exact;
    if (found) return answered(found[0], `${say(found[1])}.`);
    if (judge.fits(answer, -1)) return answered("sign", "The sign is wrong: your answer is minus the gradient.");
    const flipped = all.find(([, , fixed]) => judge.fits(fixed, -1));
    if (flipped) return answered(flipped[0], `${say(flipped[1])}, and the sign is wrong.`);
    const tolerance = judge.tolerance;
    const lengths = (about.before ?? truth).shape;
    const c = judge.factor(answer);
    if (c !== null) return answered("factor", `Your answer is ${factorText(c, tolerance, lengths)}`);
    for (const [kind, what, fixed] of all) {
      const other = judge.factor(fixed);
      if (other !== null && nice(other, tolerance)) {
        return answered(kind, `${say(what)}, and then it is ${factorText(other, tolerance, lengths)}`);
      }
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
    if (mine.some((n) => !Number.isInteger(n) || n < 0)) {
      return answered("wrong", "A shape is made of whole numbers, one per axis, like (3, 4).");
    }
    const sorted = (shape) => [...shape].sort((a, b) => a - b);
    if (sameShape(sorted(mine), sorted(own))) {
      return answered("transposed", `${text} has the right lengths, but in another order.`);
    }
    const due = stretched(own, mine);
    if (due?.length) {
      return answered("unsummed", `${text} is the shape before broadcasting is undone: ${axesText(due)} must be summed over.`);
    }
    if (sameShape(mine.filter((n) => n !== 1), own.filter((n) => n !== 1))) {
      return answered("wrong", `${text} differs by axes of length 1.`);
    }
    if (mine.length !== own.length) {
      const count = `${mine.length} ${mine.length === 1 ? "axis" : "axes"}`;
      return answered("wrong", `${text} has ${count}; it should have ${own.length}.`);
    }
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
    if (significant === 1 && decimals && Math.abs(mine - own) <= unit * 0.5000001) {
      return answered("partly", "That is right to one digit; give at least two.");
    }
    const parts = (about.parts ?? []).map((part) => (part?.data ? part : { data: [part] }));
    const used = parts.length > 1 ? someOf(parts.length).find((chosen) => rounds(partial(parts, chosen, 0))) : undefined;
    if (used) {
      return answered("accumulate", `You have ${used.length} of the ${parts.length} contributions; the gradient is their sum.`);
    }
    if (rounds(-own)) return answered("sign", "The sign is wrong.");
    for (const n of [2, 3, 4, 5, 6, 8, 10, 12, 16, 32, 64, 100, 1000]) {
      for (const [c, text] of [[n, `${n}`], [1 / n, `1/${n}`]]) {
        for (const sign of [1, -1]) {
          if (own !== 0 && rounds(sign * c * own)) {
            return answered("factor", `Your answer is ${sign < 0 ? "-" : ""}${text} times what it should be.`);
          }
        }
      }
    }
    if (significant > 1 && Math.abs(mine - own) < 2 * unit) return answered("partly", "Almost: the last digit is off.");
    return answered("wrong", `It is not ${typed}.`);
  }

  /** Whether two arrays are the same, within a tolerance. */
  const agree = (answer, truth, tolerance) => new Comparison(truth, { tolerance }).fits(answer);

  return { verdict, verdictShape, verdictNumber, agree };
})();
