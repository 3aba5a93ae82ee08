"use strict";
// Predict: before each gradient is shown, the learner says its shape, its rule, or one of its cells; the verdict names the mistake.

const Predict = {
  kinds: { pick: "pick the rule", type: "type the rule", shape: "its shape", cell: "one cell" },
  LETTERS: { right: "r", late: "w", tried: "x", shown: "s" },

  at: (now) => natural(now.edge, edges.length - 1),
  kind: (now) => (Predict.kinds[now.kind] ? now.kind : "pick"),
  /** What became of every question: one letter each, "." where it was not asked yet. */
  answers: (now) => (now.answers || "").padEnd(edges.length, ".").slice(0, edges.length),

  map(now) {
    const here = edges[this.at(now)].user;
    const answers = this.answers(now);
    const known = (value) => outgoing.get(value).length > 0 && outgoing.get(value).every((edge) => "rws".includes(answers[edge.number]));
    return {
      here,
      done: known,
      hint: "What you have predicted is filled in. The gradient comes back from the bottom to the top.",
      pick: (value) => outgoing.get(value).length && this.ask(outgoing.get(value)[0].number),
    };
  },

  ask: (edge) => go({ edge, said: null }),

  key(key, now) {
    const to = { ArrowRight: 1, n: 1, ArrowLeft: -1, p: -1 }[key];
    if (to === undefined) return false;
    const edge = this.at(now) + to;
    if (edge >= 0 && edge < edges.length) this.ask(edge);
    return true;
  },

  card(now) {
    const edge = edges[this.at(now)];
    const user = values[edge.user];
    const answers = this.answers(now);
    const found = now.said ? this.judge(edge, this.kind(now), now.said) : null;
    const solved = "rws".includes(answers[edge.number]);
    const count = (letters) => [...answers].filter((letter) => letters.includes(letter)).length;
    const score = `${count("r")} at once, ${count("w")} later, ${count("s")} shown, ${edges.length - count("rws")} to go`;
    const move = (to) => ({ type: "button", disabled: to < 0 || to >= edges.length, onclick: () => this.ask(to) });
    say(found ? `${found.right ? "Right." : "Not yet."} ${found.text}` : this.question(edge));
    return [
      heading(user, `question ${edge.number + 1} of ${edges.length}`, [
        h("button", { ...move(edge.number - 1), "data-key": "before" }, "← before"),
        h("button", { ...move(edge.number + 1), class: solved ? "main" : null, "data-key": "next" }, "next →"),
      ]),
      h("div", { class: "bar" }, h("i", { style: `width: ${(100 * count("rws")) / edges.length}%` })),
      h("p", { class: "score" }, score),
      this.given(edge),
      h("div", { class: "ask" }, h("p", null, h("strong", null, this.question(edge))), this.tabs(now), this.form(edge, now), this.outcome(edge, now, found, solved)),
      solved ? h("section", null, h("h3", null, "The receipt"), sent(edge)) : null,
    ];
  },

  question(edge) {
    const target = values[edge.target];
    const input = values[edge.user].inputs[edge.index].name;
    const sum = edge.before === null ? "" : " (What other uses gave it is called before.)";
    return `What is the gradient of ${input} (${target.name}) after this step?${sum}`;
  },

  /** What there is to work with: g, the inputs, and what has arrived before. */
  given(edge) {
    const user = values[edge.user];
    const names = namesOf(user, arrays[user.gradient]);
    const shown = [matrix(names.g, { title: "g", note: "what arrives" })];
    for (const x of user.inputs) {
      const array = names[x.name];
      if (array) shown.push(matrix(array, { title: x.name, note: x.value === null ? "a constant" : values[x.value].name }));
    }
    shown.push(matrix(names.out, { title: "out" }));
    if (edge.before !== null) shown.push(matrix(arrays[edge.before], { title: "before", note: "from other uses" }));
    const settings = Object.entries(user.settings).map(([name, x]) => `${name} = ${x && x.array !== undefined ? `array ${shapeText(arrays[x.array].shape)}` : JSON.stringify(x)}`);
    return h(
      "section",
      null,
      h("h3", null, "What is given"),
      h("div", { class: "row" }, shown),
      settings.length ? h("p", { class: "names soft" }, "Settings: ", h("code", null, settings.join(", "))) : null,
    );
  },

  tabs(now) {
    const kind = this.kind(now);
    return h(
      "div",
      { class: "kinds", role: "group", "aria-label": "How to answer" },
      Object.entries(this.kinds).map(([name, text]) =>
        h("button", { type: "button", "data-key": `kind ${name}`, "aria-pressed": String(name === kind), onclick: () => go({ kind: name, said: null }) }, text),
      ),
    );
  },

  form(edge, now) {
    const kind = this.kind(now);
    if (kind === "pick") {
      if (!edge.choices.length) return h("p", { class: "soft" }, `${NO_FORMULA} So there is none to choose; type yours.`);
      return edge.choices.map((choice, i) => {
        const chosen = now.said === String(i);
        const state = chosen ? (choice.mistake === null ? "right" : "wrong") : "";
        const code = choice.code.split("; ").join("\n");
        return h("button", { type: "button", class: `choice ${state}`, "data-key": `choice ${i}`, onclick: () => this.answer(edge, now, String(i)) }, code);
      });
    }
    const hint = { type: "g @ w.T", shape: "(2, 3)", cell: "-0.12" }[kind];
    const label = { type: "NumPy code for it", shape: "Its shape", cell: `Its cell ${this.cellText(edge)}, in two digits or more` }[kind];
    const input = h("input", { "aria-label": label, placeholder: hint, "data-key": "answer", autocomplete: "off", spellcheck: "false", value: now.said || "" });
    const submit = (event) => {
      event.preventDefault();
      if (input.value.trim()) this.answer(edge, state(), input.value.trim());
    };
    return [h("p", { class: "names soft" }, label), h("form", { class: "answer", onsubmit: submit }, input, h("button", { class: "main", "data-key": "check" }, "check"))];
  },

  outcome(edge, now, found, solved) {
    const shown = this.answers(now)[edge.number] === "s";
    return [
      found ? h("div", { class: `verdict ${found.right ? "right" : "wrong"}`, "data-kind": found.kind }, h("b", null, found.right ? "right" : "not yet"), `: ${found.text}`) : null,
      solved ? null : h("p", { style: "margin-top: 10px" }, h("button", { type: "button", "data-key": "show", onclick: () => this.settle(edge, now, "s", { said: null }) }, "show me")),
      shown && !found ? h("p", { class: "soft small" }, "Shown below.") : null,
    ];
  },

  answer(edge, now, said) {
    const before = this.answers(now)[edge.number];
    const right = this.judge(edge, this.kind(now), said).right;
    const letter = "rws".includes(before) ? before : right ? (before === "x" ? "w" : "r") : "x";
    this.settle(edge, now, letter, { said });
  },

  settle(edge, now, letter, change) {
    const answers = [...this.answers(now)];
    answers[edge.number] = letter;
    go({ ...change, answers: answers.join("").replace(/\.+$/, "") });
  },

  /** The verdict on an answer. */
  judge(edge, kind, said) {
    const target = arrays[values[edge.target].array];
    if (kind === "pick" && !edge.choices.length) return null;
    if (kind === "pick") {
      const choice = edge.choices[natural(said, edge.choices.length - 1)];
      return choice.mistake === null ? { right: true, kind: "right", text: "that is the rule." } : { right: false, kind: "picked", text: `${choice.mistake}.` };
    }
    if (kind === "shape") {
      const numbers = (said.match(/\d+/g) || []).map(Number);
      return verdictShape(numbers, target.shape);
    }
    const after = arrays[edge.after];
    const terms = edge.before === null ? [] : [arrays[edge.before], arrays[edge.part]];
    const tolerance = after.type === "f8" ? 1e-6 : 1e-3;
    if (kind === "cell") {
      const cell = this.cell(edge);
      return verdictNumber(said, after.data[cell], { parts: terms.map((term) => term.data[cell]), tolerance });
    }
    const raw = edge.raw !== null && arrays[edge.raw].whole ? convert(arrays[edge.raw]) : null;
    try {
      const user = values[edge.user];
      const names = { ...namesOf(user, arrays[user.gradient]), ...(edge.before === null ? {} : { before: arrays[edge.before] }) };
      const answer = evaluate(said, names).at(-1);
      if (!answer) return { right: false, kind: "error", text: "this is not an array." };
      const rule = edge.choices.find((choice) => choice.mistake === null);
      if (!after.whole && !rule) return { right: false, kind: "error", text: "the gradient is too large to be in this page, and there is no formula for it." };
      const truth = after.whole ? convert(after) : evaluate(rule.code, names).at(-1);
      return verdict(answer, truth, { parts: after.whole ? terms.map((term, k) => ({ ...convert(term), name: k ? "this use" : "before" })) : [], before: raw, tolerance });
    } catch (error) {
      if (error instanceof NumPy.Error) return { right: false, kind: "error", text: error.message };
      throw error;
    }
  },

  /** The flat index, in what is there, of the cell that is asked for: the largest of the first rows and columns. */
  cell(edge) {
    const { data: numbers, there } = arrays[edge.after];
    const columns = there.length ? there.at(-1) : 1;
    let best = 0;
    for (let i = 0; i < Math.min(numbers.length, 4 * columns); i++) {
      if (i % columns < 8 && Math.abs(numbers[i]) > Math.abs(numbers[best])) best = i;
    }
    return best;
  },

  cellText(edge) {
    const index = [];
    const { there } = arrays[edge.after];
    for (let k = there.length - 1, left = this.cell(edge); k >= 0; left = Math.floor(left / there[k]), k--) index.unshift(left % there[k]);
    return `[${index.join(", ")}]`;
  },
};
