"use strict";
// Watch: the backward pass, op by op. Each gradient is a receipt: what came from where, and what it adds up to.

const Watch = {
  step: (now) => natural(now.step, steps.length - 1),

  map(now) {
    const step = this.step(now);
    const visited = new Set(steps.slice(0, step));
    return {
      here: steps[step],
      done: (value) => visited.has(value),
      hint: "Computed from top to bottom; the gradient comes back from the bottom to the top.",
      pick: (value) => go({ step: steps.indexOf(value) }),
    };
  },

  key(key, now) {
    const to = moved(key, this.step(now), steps.length);
    if (to !== null) go({ step: to });
    return to !== null;
  },

  card(now) {
    const step = this.step(now);
    const op = steps[step];
    const value = values[op];
    say(`Step ${step + 1} of ${steps.length}: ${pathOf(op)}. It sends gradients to ${outgoing.get(op).map((edge) => pathOf(edge.target)).join(", ")}.`);
    return [
      heading(value, `step ${step + 1} of ${steps.length}`, [
        h("button", { type: "button", "data-key": "before", disabled: step === 0, onclick: () => go({ step: step - 1 }) }, "← before"),
        h("button", { type: "button", class: "main", "data-key": "next", disabled: step === steps.length - 1, onclick: () => go({ step: step + 1 }) }, "next →"),
      ]),
      h("div", { class: "bar" }, h("i", { style: `width: ${(100 * (step + 1)) / steps.length}%` })),
      step === 0 ? intro() : null,
      step === steps.length - 1 ? finished(`That was the whole backward pass: ${steps.length} ops, ${edges.length} contributions. Every input has its gradient.`, { step: null }, "predict") : null,
      legend(),
      upstream(op),
      h("section", null, h("h3", null, "What it sends to its inputs"), outgoing.get(op).map((edge) => sent(edge))),
    ];
  },
};

/** What to do here, in two lines. */
function intro() {
  return h(
    "div",
    { class: "intro" },
    h("p", null, "The gradient of the loss goes back, one op at a time. Press next → and see what arrives, the rule, and what goes on."),
    h("p", null, "Then predict the rules yourself, and diagnose backward passes in which one step is wrong."),
  );
}

/** What the colours mean. */
function legend() {
  const swatch = (hue, much, text) => h("span", null, h("i", { style: `--hue: var(--${hue}); --much: ${much}%` }), text);
  return h("p", { class: "legend" }, swatch("up", 50, "above 0"), swatch("down", 50, "below 0"), "the stronger, the larger in its array; point at a cell for all its digits", data.tokens.length ? "; rows of tokens have their names" : "");
}

/** The head of a card: the op, where it is, and the line of code that asked for it. */
function heading(value, where, buttons) {
  return h(
    "div",
    null,
    h("div", { class: "top" }, h("h2", null, value.op), h("span", { class: "soft" }, value.path ? `in ${value.path}, ` : "", where), h("div", { class: "buttons" }, buttons)),
    h("code", { class: "source" }, value.source),
  );
}

/** The gradient that arrives at an op, as the sum of what its uses have sent; beside the output it belongs to. */
function upstream(op, passed = healthy) {
  const value = values[op];
  const parts = incoming[op].map(passed.edge);
  const total = (note) => matrix(arrays[passed.gradient(op)], { title: "g", note, class: "total" });
  const receipt = parts.flatMap((edge, i) => [i ? sign("+") : null, matrix(arrays[edge.part], { title: `from ${nameOf(edge.user)}`, class: "received" })]);
  const arrived = { 0: [total("of the loss itself: 1")], 1: parts.length === 1 && [total(`from ${nameOf(parts[0].user)}`)] }[parts.length] || [receipt, sign("="), total("the sum")];
  return h(
    "section",
    { class: "upstream" },
    h("h3", null, "What arrives: g, the slope of the loss for each entry of the output"),
    h("div", { class: "row" }, matrix(arrays[value.array], { title: "out", note: "forward" }), sign("←"), arrived, constants(value)),
    settingsOf(op),
  );
}

/** What an op reads that gets no gradient. */
function constants(value) {
  return value.inputs.filter((x) => x.value === null && x.array !== null).map((x) => matrix(arrays[x.array], { title: x.name, note: "a constant" }));
}

/** The settings of an op that its rules read, in a line; nothing where there are none. */
function settingsOf(op) {
  const codes = outgoing.get(op).map((edge) => edge.code);
  const isRead = (name) => codes.some((code) => code === null || new RegExp(`(^|[^\\w.])${name}(?!\\w|\\s*=[^=])`).test(code));
  const text = ([name, x]) => `${name} = ${x && x.array !== undefined ? `array ${shapeText(arrays[x.array].shape)}` : JSON.stringify(x)}`;
  const all = Object.entries(values[op].settings).filter(([name]) => isRead(name)).map(text);
  return all.length ? h("p", { class: "names soft" }, "Settings: ", h("code", null, all.join(", "))) : null;
}

const NO_FORMULA = "What this op's rule gave. Its formula is not shown: a rule is read where it is a lambda, or assignments and one return, in a file.";

/** What an op sends to one of its inputs: the rule, its value before and after broadcasting is undone, and the running sum. */
function sent(right, passed = healthy) {
  const edge = passed.edge(right);
  const [user, target] = [values[edge.user], values[edge.target]];
  const uses = incoming[edge.target];
  const nth = uses.indexOf(right) + 1;
  const input = user.inputs[edge.index].name;
  const complete = nth === uses.length;
  const which = uses.length === 1 ? "its only use" : `use ${nth} of ${uses.length}`;
  const summed = edge.raw !== null && [
    sign("→"),
    matrix(arrays[edge.raw], { title: "before summing", note: "as the rule gives it", class: "raw" }),
    h("span", { class: "sign" }, h("code", null, edge.summed.replace("{}", "…"))),
  ];
  return h(
    "div",
    { class: "send", "data-edge": edge.number },
    h(
      "header",
      null,
      h("strong", null, h("code", null, input), ` = ${pathOf(edge.target)}`),
      h("span", { class: `tag ${complete ? "good" : ""}` }, `${which}: ${complete ? "the gradient is complete" : "more will be added"}`),
    ),
    edge.code === null
      ? h("p", { class: "soft" }, NO_FORMULA)
      : h("div", { class: "rule" }, rule(edge, input), h("pre", null, edge.code.split("; ").join("\n")), helpers(edge.code), inside(edge)),
    h(
      "div",
      { class: "row" },
      matrix(arrays[target.array], { title: input, note: "forward" }),
      summed || sign("→"),
      edge.before !== null && [matrix(arrays[edge.before], { title: "so far", note: "from other uses", class: "before" }), sign("+")],
      matrix(arrays[edge.part], { title: edge.before !== null ? "this use" : `gradient of ${input}`, class: "part" }),
      edge.before !== null && [sign("="), matrix(arrays[edge.after], { title: `gradient of ${input}`, class: "after" })],
    ),
  );
}

/** The rule of an edge as mathematics, with what it is the value of. */
function rule(edge, input) {
  const holder = markup(edge.math);
  const name = input.replace(/\W/g, "");
  const slope = `<math><mo>∂</mo><mi>L</mi><mo>/</mo><mo>∂</mo><mi>${name}</mi><mo>${edge.before === null ? "=" : "+="}</mo></math>`;
  const last = h("div", { class: "last" }, markup(slope).firstChild, holder.lastElementChild);
  holder.append(last);
  return holder;
}

/** What the functions in a rule are that NumPy does not have. */
const helpers = (code) => NumPy.definitions(code).map((text) => h("p", { class: "soft small" }, h("code", null, text)));

/** The steps of a rule of several, opened: what each name in it stands for here. */
function inside(edge) {
  const names = [...new Set(edge.code.split("; ").slice(0, -1).flatMap((line) => {
    const [left, right] = line.split(/ = (.*)/s);
    return right.startsWith("lambda") ? [] : left.split(", ");
  }))];
  if (!names.length) return null;
  const user = values[edge.user];
  const holder = h("div", { class: "row" });
  const details = h("details", { class: "inside" }, h("summary", { "data-key": `inside ${edge.number}` }, `inside the rule: ${names.join(", ")}`), holder);
  details.addEventListener("toggle", () => {
    if (!details.open || holder.childElementCount) return;
    const found = Judge.attempt(() => evaluate(`${edge.code}; ${names.join("; ")}`, namesOf(user, arrays[user.gradient])).slice(-names.length));
    if (typeof found === "string") holder.append(h("p", { class: "soft" }, `Not shown: ${found}.`));
    else holder.append(...names.map((name, i) => matrix({ ...found[i], there: found[i].shape, whole: true }, { title: name })));
    makeScrollable();
  });
  return details;
}

const sign = (text) => h("span", { class: "sign" }, text);

/** A backward pass, as the pictures of it need it: here the right one. */
const healthy = { edge: (edge) => edge, gradient: (value) => values[value].gradient };
