"use strict";
// Diagnose: a backward pass with one faulty step, or none. A probe costs; an accusation ends the case.
// A probe of an op takes it and all between it and the loss as one function, moves all that goes into that, and measures how the
// loss moves: do the gradients that are shown say so?

const Diagnose = {
  cases: () => data.diagnose.cases,
  at: (now) => natural(now.case, data.diagnose.cases.length - 1),
  probed: (now) => (now[`probed${Diagnose.at(now)}`] || "").split(".").filter((x) => x !== "" && steps.includes(Number(x))).map(Number),
  /** What was said of a case: the number of an op, "healthy", or nothing yet. */
  accused: (now, i) => now[`accused${i}`] || null,
  here(now) {
    const op = Number(now.op ?? -1);
    return steps.includes(op) ? op : steps[0];
  },

  /** Whether the shown gradients predict what the loss does: from an op and all between it and the loss. */
  probe(i, op) {
    const [measured, predicted] = [data.diagnose.measured[op], Diagnose.cases()[i].predicted[op]];
    return { measured, predicted, agree: Math.abs(measured - predicted) < data.diagnose.tolerance * (Math.max(Math.abs(measured), Math.abs(predicted)) || 1) };
  },

  won(now, i) {
    const said = this.accused(now, i);
    const { culprit } = this.cases()[i];
    return said === null ? null : said === (culprit === null ? "healthy" : String(culprit));
  },

  map(now) {
    if (!this.cases().length) return { ...Watch.map(now), hint: "" };
    const i = this.at(now);
    const probed = this.probed(now);
    const culprit = this.accused(now, i) === null ? null : this.cases()[i].culprit;
    return {
      here: this.here(now),
      done: (value) => probed.includes(value),
      mark: (value) => (value === culprit ? ["bad", "✗"] : probed.includes(value) ? (this.probe(i, value).agree ? ["good", "="] : ["bad", "≠"]) : null),
      hint: "A probe that agrees clears the op and all between it and the loss. If it disagrees, one of those is wrong.",
      pick: (op) => go({ op, sure: null }),
    };
  },

  key(key, now) {
    const to = this.cases().length ? moved(key, steps.indexOf(this.here(now)), steps.length) : null;
    if (to !== null) go({ op: steps[to], sure: null });
    return to !== null;
  },

  /** The backward pass of a case, for the receipts. */
  passed(i) {
    const found = this.cases()[i];
    return {
      gradient: (value) => found.gradients[value] ?? values[value].gradient,
      edge: (edge) => ({ ...edge, raw: null, ...(found.edges[edge.number] || {}) }),
    };
  },

  card(now) {
    if (!this.cases().length) return [h("h2", null, "No cases here"), h("p", { class: "soft" }, data.diagnose.why)];
    const i = this.at(now);
    const op = this.here(now);
    const probed = this.probed(now);
    const said = this.accused(now, i);
    const left = this.cases()[i].budget - probed.length;
    const over = said !== null;
    const known = probed.includes(op);
    const spend = () => go({ [`probed${i}`]: [...probed, op].join("."), sure: null });
    const doubt = this.doubt(now, i, op);
    const accuse = (who) => () => go(doubt[who] && now.sure !== who ? { sure: who } : { [`accused${i}`]: who, sure: null });
    const surely = (who, text) => (now.sure === who && doubt[who] ? `yes, ${text}` : text);
    say(over ? this.verdict(now, i) : `Case ${i + 1}: ${left} probes left. Looking at ${pathOf(op)}.`);
    return [
      h("h2", null, `Case ${i + 1}: which step of this backward pass is wrong?`),
      h("p", { class: "soft" }, "At most one op sends a wrong gradient to one of its inputs, and everything computed from it is wrong too. Or nothing is wrong."),
      h("div", { class: "cases" }, this.cases().map((_, k) => this.tab(now, k))),
      h(
        "div",
        { class: "top" },
        h("span", { class: "budget", role: "img", "aria-label": `${left} probes left` }, "●".repeat(left) + "○".repeat(probed.length)),
        h("span", { class: "soft" }, `${left} probes left`),
        h("div", { class: "buttons" }, h("button", { type: "button", "data-key": "healthy", disabled: over, onclick: accuse("healthy") }, surely("healthy", "nothing is wrong here"))),
      ),
      now.sure && !over && doubt[now.sure] ? h("p", { class: "verdict sure" }, `${doubt[now.sure]} Press it again to say so all the same.`) : null,
      over ? h("div", { class: `verdict ${this.won(now, i) ? "right" : "wrong"}`, "data-kind": this.won(now, i) ? "won" : "lost" }, this.verdict(now, i), this.after(now, i)) : null,
      probed.length ? this.table(now, i, probed) : null,
      h("section", null, heading(values[op], `step ${steps.indexOf(op) + 1} of ${steps.length}`, [
        h("button", { type: "button", class: "main", "data-key": "probe", disabled: over || known || left === 0, onclick: spend }, "probe it"),
        h("button", { type: "button", "data-key": "accuse", disabled: over, onclick: accuse(String(op)) }, surely(String(op), "accuse it")),
      ])),
      upstream(op, this.passed(i)),
      h("section", null, h("h3", null, "What it sends to its inputs, beside the rule that it should follow"), outgoing.get(op).map((edge) => sent(edge, this.passed(i)))),
    ];
  },

  /** Why an accusation is not founded on the probes so far, for the op that is shown and for "healthy"; null where it is. */
  doubt(now, i, op) {
    const probes = this.probed(now).map((probe) => this.probe(i, probe).agree);
    const why = probes.includes(false) ? "A probe disagrees, so something is wrong." : probes.length ? null : "There was no probe yet.";
    return { [op]: probes.includes(false) ? null : "No probe disagrees so far.", healthy: why };
  },

  /** What can be done when a case is over; after the last one, what came of all. */
  after(now, i) {
    const all = this.cases().map((_, k) => this.won(now, k));
    const next = [...all.keys()].map((k) => (i + 1 + k) % all.length).find((k) => all[k] === null);
    const clear = (k) => ({ [`probed${k}`]: null, [`accused${k}`]: null });
    const again = h("button", { type: "button", "data-key": "again", onclick: () => go({ ...clear(i), op: null }) }, "this case again");
    if (next !== undefined) {
      return h("p", { class: "buttons" }, again, h("button", { type: "button", class: "main", "data-key": "next case", onclick: () => go({ case: next, op: null }) }, "next case →"));
    }
    const anew = Object.assign({ case: null, op: null }, ...all.map((_, k) => clear(k)));
    return finished(`All ${all.length} cases: ${all.filter((won) => won).length} won, with ${all.reduce((sum, _, k) => sum + this.probed({ ...now, case: String(k) }).length, 0)} probes.`, anew, "");
  },

  tab(now, k) {
    const won = this.won(now, k);
    const text = won === null ? String(k + 1) : won ? `${k + 1} ✓` : `${k + 1} ✗`;
    const label = `case ${k + 1}${won === null ? "" : won ? ", won" : ", lost"}`;
    return h(
      "button",
      { type: "button", class: won === null ? null : won ? "won" : "lost", "aria-label": label, "data-key": `case ${k}`, "aria-current": k === this.at(now) ? "true" : null, onclick: () => go({ case: k, op: null, sure: null }) },
      text,
    );
  },

  table(now, i, probed) {
    const rows = probed.map((op) => {
      const { measured, predicted, agree } = this.probe(i, op);
      const mark = h("b", { style: `color: var(--${agree ? "good" : "bad"})` }, agree ? "= agree" : "≠ disagree");
      return h("tr", { "data-probe": op }, h("td", null, pathOf(op)), h("td", null, measured.toPrecision(6)), h("td", null, predicted.toPrecision(6)), h("td", null, mark));
    });
    const heads = ["probe", "slope of the loss, measured", "slope by the gradients shown", ""];
    return h("section", null, h("h3", null, "Probes"), h("div", { class: "wide" }, h("table", { class: "probes" }, h("tbody", null, h("tr", null, heads.map((head) => h("th", { scope: "col" }, head))), rows))));
  },

  verdict(now, i) {
    const { culprit, title, mistake } = this.cases()[i];
    const won = this.won(now, i);
    if (culprit === null) return won ? "Won: this backward pass is healthy." : "Lost: nothing was wrong here. An accusation needs a probe that disagrees.";
    const what = `${pathOf(culprit)}: ${title}. ${mistake}`;
    return `${won ? "Won" : "Lost"}. It was ${what}`;
  },
};
