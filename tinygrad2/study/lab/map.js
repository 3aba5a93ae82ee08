"use strict";
// The computation on the left: its ops from the inputs down to the loss, in their modules, with arcs where an edge skips some.

const Overview = {
  closed: new Set(), // modules the learner has closed

  /** about: {here, done(value), mark(value) -> [class, text] or null, hint, pick(value)}. */
  draw(about) {
    const nav = document.getElementById("map");
    const ops = values.map((_, i) => i).filter((i) => values[i].op);
    const inner = h("div", { class: "inner" }, this.leaves(about), this.group(ops, 0, about));
    const scrolled = nav.scrollTop;
    nav.replaceChildren(h("p", { class: "hint" }, about.hint), inner);
    nav.scrollTop = scrolled;
    const here = inner.querySelector(".here");
    if (here) this.reveal(nav, here);
    oneStop(nav, here);
    this.arcs(inner, about.here);
  },

  reveal(nav, row) {
    const [box, at] = [nav.getBoundingClientRect(), row.getBoundingClientRect()];
    if (at.top < box.top + 40 || at.bottom > box.bottom - 40) nav.scrollTop += at.top - box.top - box.height / 2;
  },

  /** The parts of a module path; a number belongs to the name before it. */
  parts(value) {
    const parts = [];
    for (const part of values[value].path ? values[value].path.split(".") : []) {
      if (/^\d+$/.test(part) && parts.length) parts[parts.length - 1] += "." + part;
      else parts.push(part);
    }
    return parts;
  },

  group(ops, depth, about) {
    const rows = [];
    for (let i = 0; i < ops.length; ) {
      const name = this.parts(ops[i])[depth];
      let j = i + 1;
      while (j < ops.length && name !== undefined && this.parts(ops[j])[depth] === name) j++;
      if (name === undefined || j - i === 1) rows.push(this.row(ops[i], depth, about));
      else rows.push(this.module(ops.slice(i, j), depth, about));
      i = j;
    }
    return rows;
  },

  /** What is computed from: each leads to the op that completes its gradient. */
  leaves(about) {
    const leaves = values.map((_, i) => i).filter((i) => !values[i].op && incoming[i].length);
    const rows = leaves.map((i) => {
      const last = incoming[i].at(-1).user;
      const done = about.done(last) || (about.here === last && !about.mark);
      const shape = h("span", { class: "shape" }, shapeText(arrays[values[i].array].shape));
      return h("button", { type: "button", class: `op leaf ${done ? "done" : ""}`, "data-key": `leaf ${i}`, onclick: () => about.pick(last) }, h("span", { class: "dot" }), h("span", { class: "what" }, values[i].name), shape);
    });
    const summary = h("summary", { "data-key": "leaves" }, "inputs and parameters ", h("span", { class: "soft" }, String(leaves.length)));
    const details = h("details", { open: this.closed.has("leaves") !== leaves.length <= 6 }, summary, rows);
    details.addEventListener("toggle", () => {
      this.closed[details.open === leaves.length <= 6 ? "delete" : "add"]("leaves");
      this.arcs(details.closest(".inner"), about.here);
    });
    return details;
  },

  module(ops, depth, about) {
    const path = this.parts(ops[0]).slice(0, depth + 1).join(".");
    const holds = ops.includes(about.here);
    const summary = h("summary", { "data-key": `module ${path}` }, path, " ", h("span", { class: "soft" }, `${ops.length} ops`));
    const details = h("details", { open: holds || !this.closed.has(path) }, summary, this.group(ops, depth + 1, about));
    details.addEventListener("toggle", () => {
      this.closed[details.open ? "delete" : "add"](path);
      this.arcs(details.closest(".inner"), about.here);
    });
    return details;
  },

  row(value, depth, about) {
    const { op, array, inputs } = values[value];
    const inside = this.parts(value).slice(depth).join(".");
    const leaves = values[value].path ? [] : inputs.filter((x) => x.value !== null && !values[x.value].op).map((x) => values[x.value].name);
    const mark = about.mark ? about.mark(value) : null;
    const states = [value === about.here && "here", about.done(value) && "done"].filter(Boolean).join(" ");
    return h(
      "button",
      { type: "button", class: `op ${states}`, "data-value": value, "data-key": `op ${value}`, "aria-current": value === about.here ? "step" : null, onclick: () => about.pick(value) },
      h("span", { class: "dot" }),
      h("span", { class: "what" }, inside ? `${inside} · ${op}` : op, leaves.length ? h("span", { class: "soft" }, ` ${leaves[0]}`) : null),
      mark ? h("span", { class: `mark ${mark[0]}` }, mark[1]) : null,
      h("span", { class: "shape" }, shapeText(arrays[array].shape)),
    );
  },

  /** Where the row of an op is, or that of the closed module around it. */
  middle(inner, value) {
    let row = inner.querySelector(`[data-value="${value}"]`);
    for (let at = row.closest("details"); at; at = at.parentElement.closest("details")) if (!at.open) row = at.querySelector("summary");
    const box = row.getBoundingClientRect();
    return box.top + box.height / 2 - inner.getBoundingClientRect().top;
  },

  arcs(inner, here) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("width", "26");
    svg.setAttribute("height", String(inner.offsetHeight));
    svg.setAttribute("aria-hidden", "true");
    const ops = values.map((_, i) => i).filter((i) => values[i].op);
    const skips = edges.filter((edge) => values[edge.target].op && ops.indexOf(edge.user) - ops.indexOf(edge.target) > 1);
    for (const edge of skips) {
      const [a, b] = [this.middle(inner, edge.target), this.middle(inner, edge.user)];
      if (a === b) continue;
      const wide = 8 + Math.min(16, Math.abs(b - a) / 16);
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", `M 24 ${a} C ${24 - wide * 1.6} ${a} ${24 - wide * 1.6} ${b} 24 ${b}`);
      if (edge.user === here || edge.target === here) path.setAttribute("class", "live");
      svg.append(path);
    }
    inner.querySelector("svg")?.remove();
    inner.prepend(svg);
  },
};
