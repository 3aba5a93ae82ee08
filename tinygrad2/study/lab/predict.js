"use strict";
// Predict: before a gradient is shown, the learner says its shape, its rule, or one of its cells; the verdict names the mistake. Each
// rule is asked once, at one of its uses, the easy ones first.

const Predict = {
  kinds: { pick: "pick the rule", type: "type the rule", shape: "its shape", cell: "one cell" },
  get all() {
    return data.questions;
  },

  at: (now) => natural(now.question, Predict.all.length - 1),
  edge: (question) => edges[question.uses[0]],
  /** Why a question cannot be answered in a way; null if it can. */
  hindrance(question, kind) {
    if (kind === "pick" && !question.choices.length) return question.right === null ? "the formula of this rule is not shown" : "nothing was found to choose from";
    return kind === "type" ? Judge.hindrance(question) : null;
  },
  kind(now, question) {
    const open = Object.keys(this.kinds).filter((kind) => this.hindrance(question, kind) === null);
    return open.includes(now.kind) ? now.kind : open[0];
  },
  /** What became of every question: right at once (r), later (w), tried (x) or shown (s), "." where nothing was said yet. */
  answers: (now) => (now.answers || "").padEnd(Predict.all.length, ".").slice(0, Predict.all.length),
  settled: (letter) => "rws".includes(letter),
  /** The number of the question in which the rule of a use is asked. */
  of: (edge) => Predict.all.findIndex((question) => question.uses.includes(edge.number)),

  map(now) {
    const answers = this.answers(now);
    return {
      here: this.edge(this.all[this.at(now)]).user,
      done: (value) => outgoing.get(value).length > 0 && outgoing.get(value).every((edge) => this.settled(answers[this.of(edge)])),
      hint: "Filled: all rules of this op are known. An op leads to the question about its rule.",
      pick: (value) => outgoing.get(value).length && this.ask(this.of(outgoing.get(value)[0])),
    };
  },

  ask: (question) => go({ question, said: null }),

  key(key, now) {
    const to = moved(key, this.at(now), this.all.length);
    if (to !== null) this.ask(to);
    return to !== null;
  },

  card(now) {
    const number = this.at(now);
    const question = this.all[number];
    const edge = this.edge(question);
    const answers = this.answers(now);
    const found = now.said ? this.judge(question, this.kind(now, question), now.said) : null;
    const solved = this.settled(answers[number]);
    const count = (letters) => [...answers].filter((letter) => letters.includes(letter)).length;
    const score = `${count("r")} at once, ${count("w")} later, ${count("s")} shown, ${this.all.length - count("rws")} to go`;
    const move = (to) => ({ type: "button", disabled: to < 0 || to >= this.all.length, onclick: () => this.ask(to) });
    say(found ? `${found.right ? "Right." : "Not yet."} ${found.text}` : this.asked(question));
    return [
      heading(values[edge.user], `question ${number + 1} of ${this.all.length}`, [
        h("button", { ...move(number - 1), "data-key": "before" }, "← before"),
        h("button", { ...move(number + 1), class: solved ? "main" : null, "data-key": "next" }, "next →"),
      ]),
      h("div", { class: "bar" }, h("i", { style: `width: ${(100 * count("rws")) / this.all.length}%` })),
      h("p", { class: "score" }, score, this.places(question)),
      count("rws") === this.all.length ? finished(`All ${this.all.length} rules: ${count("r")} at once, ${count("w")} later, ${count("s")} shown.`, { answers: null, question: null, said: null }, "diagnose") : null,
      h("div", { class: "ask" }, h("p", null, h("strong", null, this.asked(question))), this.tabs(now, question), this.form(question, now), this.outcome(now, found, solved)),
      this.given(question),
      solved ? h("section", null, h("h3", null, "The receipt"), sent(edge)) : null,
    ];
  },

  places(question) {
    const more = question.uses.length - 1;
    return more ? `. This rule is at ${more} more place${more > 1 ? "s" : ""} of this computation` : "";
  },

  asked(question) {
    const edge = this.edge(question);
    const input = values[edge.user].inputs[edge.index].name;
    const sum = edge.before === null ? "" : " (What other uses gave it is called before.)";
    return `What is the gradient of ${input} (${pathOf(edge.target)}) after this step?${sum}`;
  },

  /** What there is to work with: g, the inputs, and what has arrived before. */
  given(question) {
    const edge = this.edge(question);
    const user = values[edge.user];
    const names = namesOf(user, arrays[user.gradient]);
    const shown = [matrix(names.g, { title: "g", note: "what arrives" })];
    user.inputs.forEach((x, i) => {
      const array = x.value !== null ? arrays[values[x.value].array] : x.array !== null ? arrays[x.array] : null;
      if (array) shown.push(matrix(array, { title: x.name, note: x.value === null ? "a constant" : pathOf(x.value) }));
    });
    shown.push(matrix(names.out, { title: "out" }));
    if (edge.before !== null) shown.push(matrix(arrays[edge.before], { title: "before", note: "from other uses" }));
    return h("section", null, h("h3", null, "What is given"), h("div", { class: "row" }, shown), settingsOf(edge.user));
  },

  tabs(now, question) {
    const kind = this.kind(now, question);
    const closed = Object.keys(this.kinds).map((name) => [name, this.hindrance(question, name)]).filter(([, why]) => why);
    return [
      h(
        "div",
        { class: "kinds", role: "group", "aria-label": "How to answer" },
        Object.entries(this.kinds).map(([name, text]) =>
          h("button", { type: "button", "data-key": `kind ${name}`, disabled: closed.some(([other]) => other === name), "aria-pressed": String(name === kind), onclick: () => go({ kind: name, said: null }) }, text),
        ),
      ),
      closed.map(([name, why]) => h("p", { class: "soft small" }, `Not here: ${this.kinds[name]}; ${why}.`)),
    ];
  },

  form(question, now) {
    const kind = this.kind(now, question);
    if (kind === "pick") {
      const programs = question.choices.map((n) => this.program(question, n).split("; "));
      const common = programs[0].filter((line) => programs.every((lines) => lines.includes(line)));
      return programs.map((lines, i) => {
        const chosen = now.said === String(i);
        const state = chosen ? (question.choices[i] === 0 ? "right" : "wrong") : "";
        const shown = lines.map((line, k) => [k ? "\n" : "", h("span", { class: common.includes(line) ? "soft" : null }, line)]);
        return h("button", { type: "button", class: `choice ${state}`, "data-key": `choice ${i}`, onclick: () => this.answer(question, now, String(i)) }, shown);
      });
    }
    const hint = { type: "g @ w.T", shape: "(2, 3)", cell: "-0.12" }[kind];
    const label = { type: "NumPy code for it", shape: "Its shape", cell: `Its cell ${this.cellText(question)}, in two digits or more` }[kind];
    const input = h("input", { "aria-label": label, placeholder: hint, "data-key": "answer", autocomplete: "off", autocapitalize: "off", spellcheck: "false", value: now.said || "" });
    const submit = (event) => {
      event.preventDefault();
      input.focus();
      if (input.value.trim()) this.answer(question, state(), input.value.trim());
    };
    const known = kind === "type" && question.right !== null ? helpers(question.right) : [];
    return [known.length ? h("div", null, h("p", { class: "names soft" }, "Beside NumPy there is"), known) : null, h("p", { class: "names soft" }, label), h("form", { class: "answer", onsubmit: submit }, input, h("button", { class: "main", "data-key": "check" }, "check"))];
  },

  program: (question, n) => (n === 0 ? question.right : question.wrong[n - 1][0]),

  outcome(now, found, solved) {
    const number = this.at(now);
    const show = () => this.settle(number, now, "s", { said: null });
    return [
      found ? h("div", { class: `verdict ${found.right ? "right" : "wrong"}`, "data-kind": found.kind }, h("b", null, found.right ? "right" : "not yet"), `: ${found.text}`) : null,
      solved ? null : h("p", { style: "margin-top: 10px" }, h("button", { type: "button", "data-key": "show", onclick: show }, "show me")),
      this.answers(now)[number] === "s" && !found ? h("p", { class: "soft small" }, "Shown below.") : null,
    ];
  },

  /** Note an answer. What cannot be computed is none, a shape settles no rule, and what was settled stays so. */
  answer(question, now, said) {
    const number = this.at(now);
    const before = this.answers(now)[number];
    const asked = this.kind(now, question);
    const { right, kind } = this.judge(question, asked, said);
    const letter = this.settled(before) || kind === "error" || asked === "shape" ? before : right ? (before === "x" ? "w" : "r") : "x";
    this.settle(number, now, letter, { said });
  },

  settle(number, now, letter, change) {
    const answers = [...this.answers(now)];
    answers[number] = letter;
    go({ ...change, question: number, answers: answers.join("").replace(/\.+$/, "") });
  },

  /** The verdict on an answer. */
  judge(question, kind, said) {
    const edge = this.edge(question);
    if (kind === "pick") {
      const chosen = question.choices[natural(said, question.choices.length - 1)];
      return chosen === 0 ? { right: true, kind: "right", text: "that is the rule." } : { right: false, kind: "picked", text: `${question.wrong[chosen - 1][1]}.` };
    }
    if (kind === "shape") return verdictShape((said.match(/\d+/g) || []).map(Number), arrays[values[edge.target].array].shape);
    if (kind === "type") return Judge.typed(question, said);
    const cell = this.cell(question);
    const terms = edge.before === null ? [] : [arrays[edge.before], arrays[edge.part]];
    const after = arrays[edge.after];
    return verdictNumber(said, after.data[cell], { parts: terms.map((term) => term.data[cell]), tolerance: after.type === "f8" ? 1e-6 : 1e-3 });
  },

  /** The flat index, in what is there, of the cell that is asked for: the largest of the first rows and columns. */
  cell(question) {
    const { data: numbers, there } = arrays[this.edge(question).after];
    const columns = there.length ? there.at(-1) : 1;
    let best = 0;
    for (let i = 0; i < Math.min(numbers.length, 4 * columns); i++) {
      if (i % columns < 8 && Math.abs(numbers[i]) > Math.abs(numbers[best])) best = i;
    }
    return best;
  },

  cellText(question) {
    const index = [];
    const { there } = arrays[this.edge(question).after];
    for (let k = there.length - 1, left = this.cell(question); k >= 0; left = Math.floor(left / there[k]), k--) index.unshift(left % there[k]);
    return `[${index.join(", ")}]`;
  },
};

/** What is said when a mode is through: what came of it, and where to go from here. */
function finished(text, anew, next) {
  return h(
    "div",
    { class: "finished" },
    h("p", null, text),
    h("button", { type: "button", "data-key": "again", onclick: () => go(anew) }, "again"),
    next ? h("button", { type: "button", class: "main", "data-key": "on", onclick: () => go({ mode: next }) }, `on to ${next}`) : null,
  );
}
