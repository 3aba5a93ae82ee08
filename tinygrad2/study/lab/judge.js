"use strict";
// What is said of a typed rule. It is tried on other inputs and another g than the page shows, so that nothing is right by chance; a
// wrong one is held against the mistakes that people make, and then looked at for its shape, sign, factor and sums.

const Judge = {
  TOLERANCE: 1e-5,

  /** What a rule may name in a trial, ready for the evaluator. */
  names(question, trial) {
    const array = (number) => (number === null ? null : arrays[number]);
    const user = values[edges[question.uses[0]].user];
    const names = named(user, { g: arrays[trial.g], out: arrays[trial.out], inputs: trial.inputs.map(array), settings: trial.settings });
    return trial.before === null ? names : { ...names, before: arrays[trial.before] };
  },

  /** What the gradient is in a trial: the sum of what was there before and of what the engine's rule gives. */
  truth(trial) {
    const part = convert(arrays[trial.part]);
    return trial.before === null ? part : NumPy.evaluate("a + b", { a: convert(arrays[trial.before]), b: part })[0];
  },

  run: (question, code, trial) => evaluate(code, Judge.names(question, trial)).at(-1),

  /** Why no rule can be typed here; null if one can. */
  hindrance(question) {
    if (!question.trials.length) return "this op takes no other numbers than those here, so a rule cannot be tried";
    if (question.right === null) return null;
    question.hindrance ??= this.attempt(() => (this.run(question, question.right, question.trials[0]), "")) ?? "";
    return question.hindrance ? `the NumPy of this page cannot compute it: ${question.hindrance}` : null;
  },

  /** What a function gives, or the message of what the evaluator threw. */
  attempt(f) {
    try {
      return f();
    } catch (error) {
      if (error instanceof NumPy.Error) return error.message;
      throw error;
    }
  },

  fits: (answer, truth, tolerance = Judge.TOLERANCE) => Boolean(answer) && agree(answer, truth, tolerance),

  typed(question, code) {
    const answers = this.attempt(() => question.trials.map((trial) => this.run(question, code, trial)));
    if (typeof answers === "string") {
      const plain = (text) => text.replace(/\s/g, "");
      const known = question.misfits.find(([text]) => plain(text) === plain(code));
      if (known) return { right: false, kind: "named", text: `${known[1]}: ${answers}.${this.lengths(question)}` };
      const nothing = answers.startsWith("before is not defined") ? " Nothing came from other uses so far, so there is no before." : "";
      return { right: false, kind: "error", text: `${answers}.${nothing}${this.lengths(question)}` };
    }
    if (!answers.every((x) => x)) return { right: false, kind: "error", text: "this is not an array." };
    const truths = question.trials.map((trial) => this.truth(trial));
    if (answers.every((x, k) => this.fits(x, truths[k]))) return { right: true, kind: "right", text: "for any g and any inputs that were tried." };
    const found = this.mistake(question, answers) || this.form(question, answers, truths);
    const here = this.rightHere(question, code);
    if (here) return { ...found, kind: "chance", text: `${here} ${found.text}` };
    return { ...found, text: `${found.text}${this.lengths(question)}` };
  },

  /** The mistake that gives the same in every trial, of those that are known; alone, or with one more. */
  mistake(question, answers) {
    const before = question.trials.map((trial) => (trial.before === null ? null : convert(arrays[trial.before])));
    const { summed } = edges[question.uses[0]];
    const ways = [["", "x"], [" And the sign is wrong.", "-x"]]; // what the answer is without one more mistake
    if (before[0]) ways.push([" And what other uses gave, before, is lost.", "x + before"]);
    if (summed) ways.push([" And it is not summed.", summed.replace("{}", "x")]);
    for (const [more, way] of ways) {
      const same = answers.map((x, k) => this.attempt(() => NumPy.evaluate(way, { x, before: before[k] })[0]));
      if (!same.every((x) => x.data)) continue;
      const found = this.mistakes(question).find(([others]) => typeof others !== "string" && same.every((x, k) => this.fits(x, others[k])));
      if (found) return { right: false, kind: "named", text: `${found[1]}.${found[2]}${more}` };
    }
    return null;
  },

  /** What each known mistake gives in the trials, what it is called, and what is wrong beside it: of every question once. */
  mistakes(question) {
    const run = (code) => this.attempt(() => question.trials.map((trial) => this.run(question, code, trial)));
    const without = " And the gradient that arrives, g, is missing.";
    question.mistakes ??= [
      ...question.wrong.map(([code, mistake]) => [run(code), mistake, ""]),
      ...question.wrong.map(([code, mistake]) => [run(`g = np.ones_like(g); ${code}`), mistake, without]),
    ];
    return question.mistakes;
  },

  /** What is wrong by the numbers alone, in the first trial in which something is. */
  form(question, answers, truths) {
    const k = answers.findIndex((x, i) => !this.fits(x, truths[i]));
    const trial = question.trials[k];
    const parts = trial.before === null ? [] : [{ ...convert(arrays[trial.before]), name: "before" }, { ...convert(arrays[trial.part]), name: "this use" }];
    const { summed } = edges[question.uses[0]];
    const raw = summed && question.right ? this.attempt(() => this.run(question, question.wrong[0][0], trial)) : null;
    return verdict(answers[k], truths[k], { parts, before: raw?.data ? raw : null, tolerance: this.TOLERANCE });
  },

  /** What makes a wrong rule right for the numbers of the page; null if it is not, or they are not all here. */
  rightHere(question, code) {
    const edge = edges[question.uses[0]];
    const user = values[edge.user];
    const [g, after] = [arrays[user.gradient], arrays[edge.after]];
    if (!after.whole) return null;
    const names = { ...namesOf(user, g), ...(edge.before === null ? {} : { before: arrays[edge.before] }) };
    const answer = this.attempt(() => evaluate(code, names).at(-1));
    if (!answer?.data || !this.fits(answer, convert(after), after.type === "f8" ? 1e-6 : 1e-3)) return null;
    return g.data.every((x) => x === 1) ? "Right only because g is 1 here." : "Right for the numbers of this page only.";
  },

  /** On which arrays a rule was tried, where they are smaller than those of the page. */
  lengths(question) {
    const user = values[edges[question.uses[0]].user];
    const trial = question.trials[0];
    const mine = Object.entries(named(user, { g: arrays[trial.g], out: arrays[trial.out], inputs: trial.inputs.map((i) => (i === null ? null : arrays[i])), settings: {} }));
    const real = namesOf(user, arrays[user.gradient]);
    const other = mine.filter(([name, x]) => x?.shape && real[name]?.shape && shapeText(x.shape) !== shapeText(real[name].shape));
    return other.length ? ` It is tried on small arrays: ${other.map(([name, x]) => `${name} ${shapeText(x.shape)}`).join(", ")}.` : "";
  },
};
