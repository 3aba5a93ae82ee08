"use strict";
// The page: what all modes share. State is in the address; `show` draws the page from it, and nothing else remembers anything.

const data = JSON.parse(document.getElementById("data").textContent);
const { values, edges, steps } = data;
const MODES = { watch: Watch, predict: Predict, diagnose: Diagnose };

const arrays = data.arrays.map((entry) => {
  const bytes = Uint8Array.from(atob(entry.d), (c) => c.charCodeAt(0)).buffer;
  const Kind = { f4: Float32Array, f8: Float64Array, i4: Int32Array, u1: Uint8Array }[entry.t];
  const there = entry.w || entry.s; // the shape of what is in the page
  return { shape: entry.s, there, data: Float64Array.from(new Kind(bytes)), whole: !entry.w, type: entry.t };
});

const outgoing = new Map(steps.map((step) => [step, []])); // of an op, what it sends to its inputs
const incoming = values.map(() => []); // of a value, what its gradient is made of, in order
edges.forEach((edge, i) => {
  edge.number = i;
  outgoing.get(edge.user).push(edge);
  incoming[edge.target].push(edge);
});

for (const { op, array, gradient } of values) if (!op) for (const i of [array, gradient]) if (i !== null) arrays[i].ofParameter = true;
for (const edge of edges) if (!values[edge.target].op) for (const i of [edge.before, edge.part, edge.after]) if (i !== null) arrays[i].ofParameter = true;
for (const { op, array, gradient } of values) if (op) for (const i of [array, gradient]) if (i !== null) arrays[i].ofParameter = false; // where both are one

/** An element: h("p", {class: "x"}, "text", child, null). */
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Markup that Python made. */
function markup(text) {
  const holder = document.createElement("div");
  holder.className = "maths";
  holder.innerHTML = text;
  return holder;
}

const shapeText = (shape) => `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;

/** What the rule of an op may name: its inputs, settings, the output and g; null for what is not all in the page. */
function namesOf(value, gradient) {
  const inputs = value.inputs.map((x) => (x.value !== null ? arrays[values[x.value].array] : x.array !== null ? arrays[x.array] : null));
  return named(value, { g: gradient, out: arrays[value.array], inputs, settings: value.settings });
}

/** The same of arrays that need not be those of the page. */
function named(value, { g, out, inputs, settings }) {
  const names = { g, out };
  value.inputs.forEach((x, i) => {
    if (!x.name.includes("[")) names[x.name] = inputs[i];
    else names.arrays = inputs;
  });
  for (const [name, x] of Object.entries(settings)) names[name] = x && x.array !== undefined ? arrays[x.array] : x;
  return names;
}

/** Those names as the evaluator takes them. Throws where one that the code needs is not all here. */
function evaluate(code, names) {
  const ready = {};
  for (const [name, x] of Object.entries(names)) {
    if (x && x.there && !x.whole) {
      if (new RegExp(`(^|[^\\w.])${name}([^\\w]|$)`).test(code)) throw new NumPy.Error(`${name} ${shapeText(x.shape)} is too large to be in this page as a whole`);
      continue;
    }
    ready[name] = convert(x);
  }
  return NumPy.evaluate(code, ready);
}

/** An array or a setting of the data as the evaluator knows it. */
function convert(x) {
  if (Array.isArray(x)) return x.map(convert);
  if (x && Array.isArray(x.slice)) return NumPy.slice(...x.slice);
  if (x && x.array !== undefined) return convert(arrays[x.array]);
  if (x && x.there) return Object.assign(NumPy.array(x.shape, x.data), x.type === "u1" ? { bool: true } : {});
  return x;
}

/** What the address says. */
function state() {
  const read = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  return { ...read, mode: MODES[read.mode] ? read.mode : "watch" };
}

/** Change part of the state, and draw. */
function go(change) {
  const next = { ...state(), ...change };
  for (const key of Object.keys(next)) if (next[key] === "" || next[key] === null || next[key] === undefined) delete next[key];
  const here = location.href.split("#")[0];  // not "" alone, which in a notebook is the page around this one
  history.replaceState(null, "", here + "#" + new URLSearchParams(next));
  show();
}

/** A whole number of the state within bounds. */
function natural(text, most) {
  const n = /^\d+$/.test(text || "") ? Number(text) : 0;
  return Math.min(n, most);
}

function say(text) {
  document.getElementById("said").textContent = text;
}

/** Whether the numbers of a part of the card are too many to be seen at once; then it can be reached, and scrolled with the arrows. */
function makeScrollable() {
  for (const box of document.querySelectorAll(".matrix, .maths, .wide")) {
    if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
  }
}

function show() {
  const now = state();
  const nav = document.querySelector(".modes");
  nav.replaceChildren(
    ...Object.keys(MODES).map((mode) =>
      h("button", { type: "button", "aria-current": mode === now.mode ? "page" : null, onclick: () => go({ mode }) }, mode[0].toUpperCase() + mode.slice(1)),
    ),
  );
  const card = document.getElementById("card");
  const kept = document.activeElement && document.activeElement.closest("[data-key]");
  const key = kept && kept.dataset.key;
  card.replaceChildren(...MODES[now.mode].card(now).filter((part) => part));
  Overview.draw(MODES[now.mode].map(now));
  const cases = card.querySelector(".cases");
  if (cases) oneStop(cases, cases.querySelector("[aria-current]"));
  makeScrollable();
  if (!key) return;
  const again = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  (again && !again.disabled ? again : card).focus({ preventScroll: true });
  if (again && again.setSelectionRange) again.setSelectionRange(again.value.length, again.value.length);
}

/** Make the buttons of a part of the page one stop of the Tab key, at this one; from there the arrows lead on. */
function oneStop(part, here) {
  part.dataset.stop = "";
  for (const button of part.querySelectorAll("button, summary")) button.tabIndex = button === here ? 0 : -1;
}

/** In such a part the arrows up and down (and aside, but in the list of ops, where these are steps) move the focus. */
function movedFocus({ key, target }) {
  const part = target.closest("[data-stop]");
  const by = { ArrowDown: 1, ArrowUp: -1, ...(part?.id === "map" ? {} : { ArrowRight: 1, ArrowLeft: -1 }) }[key];
  if (!part || !by) return false;
  const isOpen = (item) => !(item.matches("summary") ? item.parentElement.parentElement : item).closest("details:not([open])");
  const items = [...part.querySelectorAll("button, summary")].filter(isOpen);
  items[Math.max(0, Math.min(items.indexOf(target) + by, items.length - 1))].focus();
  return true;
}

/** Where a key leads in a list: the number of another item, or null for a key that does not. */
function moved(key, at, count) {
  const to = { ArrowRight: at + 1, n: at + 1, ArrowLeft: at - 1, p: at - 1, Home: 0, End: count - 1 }[key];
  return to === undefined ? null : Math.max(0, Math.min(to, count - 1));
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, .matrix[tabindex], .maths[tabindex], .wide[tabindex]")) return;
  const modes = Object.keys(MODES);
  if (event.key >= "1" && event.key <= String(modes.length)) return go({ mode: modes[event.key - 1] });
  const now = state();
  if (movedFocus(event) || MODES[now.mode].key(event.key, now)) event.preventDefault();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address says where one is
  document.getElementById("card").focus();
});
addEventListener("hashchange", show);

/** What a value is called here: one name, as in a program, and the path of its module, if it is in one. */
const nameOf = (value) => values[value].variable;
const pathOf = (value) => (values[value].path ? values[value].name : nameOf(value));

show();
showCheck();
