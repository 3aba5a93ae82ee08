const data = JSON.parse(document.getElementById("data").textContent);
const title = `gpt2 inspect: ${data.prompt}`;
const likeliest = data.lens.flatMap((stage) => stage.likeliest.flatMap((best) => best.map(([label]) => label)));
Language.neverSay([...data.tokens, ...likeliest, title]);
const T = data.tokens.length;
const state = { at: T - 1, pick: 0 };

// -- words and numbers
const SPOKEN = { "␣": "space", "↵": "new line", "⇥": "tab" };
const spoken = (label) => SPOKEN[label] || label;
const percent = (p) => (p >= 0.0995 ? (100 * p).toFixed(0) : p >= 0.00095 ? (100 * p).toFixed(1) : "<0.1") + "%";
const lossShare = (nats) => [0, 0.14, 0.3, 0.5, 0.75, 1][data.limits.filter((limit) => nats >= limit).length];

// Buttons of which one is chosen, with the arrow keys too.
function choice(group, buttons, chosen, choose) {
  group.replaceChildren(...buttons);
  buttons.forEach((button, i) => {
    button.setAttribute("role", "radio");
    button.addEventListener("click", () => choose(i));
  });
  group.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const now = [...group.children].findIndex((button) => button.getAttribute("aria-checked") === "true");
    const to = event.key === "Home" ? 0 : event.key === "End" ? buttons.length - 1 : step ? now + step : -1;
    if (to < 0 || to >= buttons.length) return;
    event.preventDefault();
    choose(to);
    group.children[to].focus();
  };
  mark(group, chosen);
}
function mark(group, chosen) {
  [...group.children].forEach((button, i) => {
    button.setAttribute("aria-checked", i === chosen);
    button.tabIndex = i === chosen ? 0 : -1;
  });
}

// One bar per token of the prompt; negative ones hang from the middle.
function bars(container, values, name, unit, whatOf = (t) => place(t)) {
  const most = Math.max(1e-12, ...values.map((v) => Math.abs(v || 0)));
  const signed = values.some((v) => v < 0), height = signed ? 60 : 120;
  const long = data.tokens.some((label) => [...label].length > 2);
  const row = el("div", { class: `bars${long ? " long" : ""}${signed ? " signed" : ""}`, role: "list", "aria-label": name });
  values.forEach((value, t) => {
    const text = value === null ? "no token before it to predict it from" : `${short(value)}${unit}`;
    const bar = el("div", { role: "listitem", "aria-label": `position ${t}, ${spoken(data.tokens[t])}: ${text}` }, data.tokens[t]);
    if (value) {
      const size = (height * Math.abs(value)) / most, top = value < 0 ? height : height - size;
      bar.append(el("i", { class: value < 0 ? "down" : "", style: `top:${top}px;height:${size}px` }));
    }
    if (t === state.at) bar.classList.add("at");
    bar.onclick = () => select(t);
    bar.onmousemove = (event) => hint(`${whatOf(t)}: ${text}`, event.clientX, event.clientY);
    bar.onmouseleave = () => hint();
    row.append(bar);
  });
  const before = container.querySelector(".bars"), left = before ? before.scrollLeft : 0;
  container.replaceChildren(el("span", { class: "scale" }, `full height: ${short(most)}${unit}`), row);
  row.scrollLeft = left;
  const chosen = row.children[state.at].offsetLeft - row.offsetLeft;
  if (chosen < row.scrollLeft || chosen + 13 > row.scrollLeft + row.clientWidth) row.scrollLeft = chosen - row.clientWidth / 2;
}

function similarityMap(name, what, { labels, cosines }) {
  const value = (i, j) => (j <= i ? cosines[i][j] : cosines[j][i]);
  const say = (i, j) => `${labels[i]} and ${labels[j]}: ${value(i, j).toFixed(3)}`;
  return {
    title: `${name}: ${what}`, rows: labels, value, share: (v) => v, say,
    start: () => [Math.min(1, labels.length - 1), 0], sum: () => `${labels.length} x ${labels.length} cosines of ${name}`,
  };
}

// -- sections that never change but for the theme
function drawStill() {
  $("loss-legend").replaceChildren("nats", ...[...data.limits, null].map((limit) => {
    const chip = el("span", { style: "padding:0 .6em;border-radius:3px" }, limit === null ? "more" : `< ${limit}`);
    return paint(chip, lossShare(limit === null ? Infinity : limit - 1e-9));
  }));
  data.tokens.forEach((_, t) => t && paint($("tokens").children[t], lossShare(data.losses[t - 1])));

  const bodies = data.lens.map(({ name, likeliest, hits }) => el("tr", {}, el("th", { scope: "row" }, name), ...likeliest.map((best, t) => {
    const [label, p] = best[0];
    const cell = el("td", { class: hits[t] ? "hit" : "" }, el("b", {}, label), el("small", {}, percent(p)));
    cell.onclick = () => select(t);
    cell.onmousemove = (event) => hint(`${name}, after ${place(t)}:\n` + best.map(([l, q]) => `${l}  ${percent(q)}`).join("\n"), event.clientX, event.clientY);
    cell.onmouseleave = () => hint();
    return paint(cell, p);
  })));
  $("lens-table").replaceChildren(
    el("thead", {}, el("tr", {}, el("th", { scope: "row" }, "after"), ...data.tokens.map((label) => el("th", { scope: "col" }, label)))),
    el("tbody", {}, ...bodies),
    el("tfoot", {}, el("tr", {}, el("th", { scope: "row" }, "came"), ...data.tokens.map((_, t) => el("td", {}, data.tokens[t + 1] || "")))),
  );

  $("maps").style.gridTemplateColumns = `max-content repeat(${data.attention[0].length}, minmax(64px, 1fr))`;
  $("maps").replaceChildren(...data.attention.flatMap((heads, l) => [el("b", {}, data.blocks[l]), ...heads.map((_, h) => {
    const m = attentionMap(`${data.blocks[l]}, head ${h}`, (i, j) => heads[h][i][j], () => state.at, 4), button = el("button", { class: "map" });
    const row = el("u", { style: `height:${100 / T}%` });
    map(button, m).append(row);
    button.append(`head ${h}`, el("em", {}));
    button.follow = () => {
      row.style.top = `${(100 * state.at) / T}%`;
      button.querySelector("em").textContent = `→ ${data.tokens[m.best()]}`;
      button.setAttribute("aria-label", `${data.blocks[l]}, head ${h}: ${m.sum()}, its largest weight. Enlarge`);
    };
    return button;
  })]));
  $("similarities").replaceChildren(...[
    ["wte", "token embedding", data.wte], ["wpe", "position embedding", data.wpe],
  ].map(([name, what, found]) => {
    const button = el("button", { class: "map", "aria-label": `Cosines of the ${what}. Enlarge` });
    map(button, similarityMap(name, what, found));
    button.append(`${name}, the ${what}: ${found.labels.length} rows`);
    return button;
  }));
  drawActivations();
}

function drawActivations() {
  const columns = data.activations, grid = [el("b", {}), ...columns.map(({ name }) => el("h4", {}, name))];
  data.lens.forEach(({ name: block }) => {
    grid.push(el("b", {}, block));
    for (const { blocks, edges, counts, stds, mark } of columns) {
      const i = blocks.indexOf(block), panel = el("figure", {});
      grid.push(panel);
      if (i < 0) continue;
      const most = Math.max(...counts[i]), all = counts[i].reduce((a, b) => a + b), bins = counts[i].length;
      const svg = el("svg", {
        viewBox: `0 0 ${bins} 100`, preserveAspectRatio: "none", role: "img",
        "aria-label": `${all} values with a standard deviation of ${short(stds[i])}`,
      }, ...counts[i].map((count, k) => el("rect", { x: k + 0.06, width: 0.88, y: 100 - (98 * count) / most, height: (98 * count) / most })));
      const x = ((mark - edges[0]) / (edges[bins] - edges[0])) * bins;
      if (x > 0 && x < bins) svg.append(el("line", { x1: x, x2: x, y1: 0, y2: 100 }));
      svg.onmousemove = (event) => {
        const box = svg.getBoundingClientRect(), k = Math.min(bins - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * bins)));
        const from = k ? short(edges[k]) : "−∞", to = k < bins - 1 ? short(edges[k + 1]) : "∞";
        hint(`${from} to ${to}: ${counts[i][k].toLocaleString("en")} of ${all.toLocaleString("en")}`, event.clientX, event.clientY);
      };
      svg.onmouseleave = () => hint();
      panel.append(el("figcaption", {}, `std ${short(stds[i])}`), svg);
    }
  });
  grid.push(el("b", {}), ...columns.map(({ edges, mark }) =>
    el("div", { class: "axis" }, el("span", {}, short(edges[0])), el("span", {}, `dashed: ${String(mark).replace("-", "−")}`), el("span", {}, short(edges.at(-1))))));
  $("histograms").replaceChildren(...grid);
  $("entropy").replaceChildren(
    el("tr", {}, el("th", {}), ...data.entropy[0].map((_, h) => el("th", { scope: "col" }, `head ${h}`))),
    ...data.entropy.map((heads, l) => el("tr", {}, el("th", { scope: "row" }, data.blocks[l]), ...heads.map((e) => paint(el("td", {}, e.toFixed(2)), e)))),
  );
}

// -- what follows the chosen position
function follow() {
  const t = state.at, label = data.tokens[t], next = data.tokens[t + 1], candidates = data.candidates[t];
  mark($("tokens"), t);
  $("tokens").scrollTop = $("tokens").children[t].offsetTop - $("tokens").offsetTop - $("tokens").clientHeight / 2;
  const cost = t ? `cost ${short(data.losses[t - 1])} nats` : "is given";
  const then = next === undefined ? "the prompt ends here" : `then came ${next} at ${short(data.losses[t])} nats`;
  $("where").textContent = `Position ${t}: ${label} ${cost}; ${then}.`;
  bars($("loss-bars"), [null, ...data.losses], "Loss of each token", " nats");

  const before = data.tokens.slice(Math.max(0, t - 11), t + 1).join("");
  $("expects").replaceChildren("After ", el("code", {}, (t > 11 ? "…" : "") + before), " the model expects");
  $("candidates").replaceChildren(...candidates.flatMap(({ token, p, next: came }) => [
    el("code", { class: came ? "next" : "" }, token),
    el("div", {}, el("i", { style: `width:${100 * p}%` }), el("span", { class: came ? "next" : "" }, percent(p) + (came ? ", came" : ""))),
  ]));

  for (const row of $("lens-table").rows) [...row.cells].forEach((cell, i) => cell.classList.toggle("at", i === t + 1 && cell.textContent !== ""));
  const scroller = $("lens-table").parentElement, column = $("lens-table").rows[0].cells[t + 1];
  scroller.scrollLeft = column.offsetLeft - scroller.clientWidth / 2;
  $("lens-where").replaceChildren("After ", el("code", {}, place(t)), ", layer by layer");
  const rows = data.lens.map(({ name, likeliest, next_p }) => el("tr", {}, el("th", { scope: "row" }, name),
    ...likeliest[t].map(([l, p]) => el("td", {}, `${l} `, el("small", {}, percent(p)))),
    el("td", {}, next === undefined ? "" : percent(next_p[t]))));
  const heads = ["likeliest", "second", "third", "fourth", "fifth"].slice(0, data.lens[0].likeliest[0].length);
  $("lens-detail").replaceChildren(
    el("tr", {}, el("th", {}), ...heads.map((name) => el("th", { scope: "col" }, name)), el("th", { scope: "col" }, next === undefined ? "" : `${next}, which came`)), ...rows);

  for (const button of $("maps").querySelectorAll(".map")) button.follow();
  const chips = candidates.map(({ token, p, next: came }) => el("button", {}, `${token}  ${percent(p)}${came ? "  came" : ""}`));
  choice($("picks"), chips, state.pick, (i) => { state.pick = i; mark($("picks"), i); drawGradients(); });
  drawGradients();
}

function drawGradients() {
  const t = state.at, { token, logit, signed, norms } = data.candidates[t][state.pick];
  $("pick-where").textContent = `The logit of ${token} after ${place(t)} is ${short(logit)}; the products below add up to ${short(signed.reduce((a, b) => a + b))}.`;
  const most = Math.max(1e-12, ...signed.map(Math.abs));
  $("strip").replaceChildren(...data.tokens.map((label, i) => {
    const part = el("span", { class: i === t ? "at" : "" }, label);
    if (i > t) part.style.opacity = 0.35;
    else paint(part, signed[i] / most);
    return part;
  }));
  const padded = (values) => data.tokens.map((_, i) => (i <= t ? values[i] : 0));
  bars($("signed-bars"), padded(signed), `Input times gradient of the logit of ${spoken(token)}`, "");
  bars($("norm-bars"), padded(norms), `Norm of the gradient of the logit of ${spoken(token)}`, "");
}

function select(t) {
  state.at = t;
  state.pick = 0;
  follow();
}

// -- start
document.title = title;
$("prompt").textContent = data.prompt;
const [parameters, tokens] = [data.parameters, data.vocab_size].map((n) => n.toLocaleString("en"));
const heads = data.attention[0].length === 1 ? "1 head" : `${data.attention[0].length} heads`;
const loss = T > 1 ? ` and a loss of ${short(data.losses.reduce((a, b) => a + b) / (T - 1))} nats per token` : "";
$("about").textContent = `${data.run}: ${parameters} parameters, ${data.blocks.length} blocks of ${heads}, ${tokens} tokens in the vocabulary; ` +
  `the prompt has ${T} of ${data.context} tokens${loss}.`;
choice($("tokens"), data.tokens.map((label, t) =>
  el("button", { "aria-label": `position ${t}: ${spoken(label)}` + (t ? `, loss ${short(data.losses[t - 1])} nats` : "") }, label)), state.at, select);
function draw() {
  readTheme();
  drawStill();
  follow();
}
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
