const data = JSON.parse(document.getElementById("data").textContent);
const title = `gpt2 replay --film: ${data.run}`;
Language.neverSay([...data.tokens, ...data.layers, data.run, title]);
const T = data.tokens.length, PAIRS = (T * (T + 1)) / 2, last = data.frames.length - 1;
const frames = data.frames.map((frame) => ({ ...frame, bytes: Uint8Array.from(atob(frame.attention), (c) => c.charCodeAt(0)) }));
const state = { at: 0, timer: 0 };
const many = (n) => n.toLocaleString("en");

// The weight of a head from the token i to the token j <= i: see film.py.
const weight = (n, i, j) => (frames[state.at].bytes[n * PAIRS + (i * (i + 1)) / 2 + j] / data.full) ** 2;

// -- what never changes
function drawStill() {
  const { train, val } = data.losses, first = Math.min(1, ...frames.map(({ step }) => step)), end = Math.max(frames[last].step, ...train.map(([step]) => step));
  const all = [...train, ...val].map(([, loss]) => loss), high = Math.max(...all), low = Math.min(...all);
  const x = (step) => (1000 * (step - first)) / Math.max(1, end - first), y = (loss) => 4 + (212 * (high - loss)) / Math.max(1e-9, high - low);
  const points = (rows) => rows.map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
  const now = el("line", { id: "now", y1: 0, y2: 240 });
  const svg = el("svg", { viewBox: "0 0 1000 240", preserveAspectRatio: "none", role: "img", "aria-label": `Loss from step ${first} to step ${many(end)}, between ${short(low)} and ${short(high)} nats per token` },
    ...frames.map(({ step }) => el("line", { x1: x(step), x2: x(step), y1: 228, y2: 240 })),
    el("polyline", { points: points(train) }), el("polyline", { class: "down", points: points(val) }), now);
  svg.onclick = (event) => {
    const box = svg.getBoundingClientRect(), at = (1000 * (event.clientX - box.left)) / box.width;
    stop();
    show(frames.reduce((best, { step }, i) => (Math.abs(x(step) - at) < Math.abs(x(frames[best].step) - at) ? i : best), 0));
  };
  $("curve").replaceChildren(el("span", { class: "scale" }, `highest ${short(high)}, lowest ${short(low)}`), svg,
    el("div", { class: "axis" }, el("span", {}, `step ${first}`), el("span", {}, `step ${many(end)}`)));
  state.line = (step) => { for (const end of ["x1", "x2"]) now.setAttribute(end, x(step)); };

  const blocks = [...new Set(data.heads.map(([l]) => l))], per = Math.max(...blocks.map((l) => data.heads.filter(([k]) => k === l).length));
  $("maps").style.gridTemplateColumns = `max-content repeat(${per}, minmax(64px, 1fr))`;
  $("maps").style.maxWidth = `${60 + 240 * per}px`;
  $("maps").replaceChildren(...data.heads.flatMap(([l, h], n) => {
    const button = el("button", { class: "map" }), name = `h.${l}, head ${h}`;
    const m = attentionMap(name, (i, j) => weight(n, i, j), () => T - 1, 2);
    button.setAttribute("aria-label", `${name}. Enlarge`);
    button.follow = () => {
      map(button, { ...m, sum: () => m.sum() });
      button.append(`head ${h}`);
      const enlarged = button.onclick;
      button.onclick = () => { stop(); enlarged(); };
    };
    return [...(n % per ? [] : [el("b", {}, `h.${l}`)]), button];
  }));

  const scales = ["norms", "relative"].map((name) => {
    const logs = frames.flatMap((frame) => frame[name]).filter((v) => v > 0).map(Math.log10), from = Math.min(...logs), to = Math.max(...logs);
    return (v) => (v > 0 ? 2 + (98 * (Math.log10(v) - from)) / Math.max(1e-9, to - from) : 0);
  });
  const cells = data.layers.map(() => scales.map(() => [el("span", {}), el("i", {})]));
  $("layers").replaceChildren(
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "layer"), el("th", { scope: "col" }, "norm"), el("th", { scope: "col" }, "over the weights"))),
    el("tbody", {}, ...data.layers.map((layer, i) => el("tr", {}, el("th", { scope: "row" }, layer), ...cells[i].map((parts) => el("td", {}, ...parts))))));
  state.layers = ({ norms, relative }) => cells.forEach((row, i) => [norms, relative].forEach((values, k) => {
    row[k][0].textContent = values[i] === null ? "its weights are 0" : digits(values[i]);
    row[k][1].style.width = `${scales[k](values[i])}%`;
  }));
}
const digits = (v) => (v && v < 0.001 ? v.toExponential(1).replace("-", "−") : short(v));

// -- what follows the moment
function show(at) {
  state.at = at;
  const { step, loss, text } = frames[at];
  $("moment").value = at;
  const where = `Step ${many(step)}: moment ${at + 1} of ${last + 1}, loss of the next batch ${short(loss)}`;
  $("moment").setAttribute("aria-valuetext", where);
  $("where").textContent = where;
  $("text").replaceChildren(el("b", {}, data.prompt), text);
  state.line(step);
  for (const button of $("maps").querySelectorAll(".map")) button.follow();
  state.layers(frames[at]);
}

// -- playing
function stop() {
  clearInterval(state.timer);
  state.timer = 0;
  $("play").textContent = "Play";
}
function play() {
  clearInterval(state.timer);
  if (state.at === last) show(0);
  state.timer = setInterval(() => {
    if (state.at < last) show(state.at + 1);
    if (state.at === last) stop();
  }, 700 / $("speed").value);
  $("play").textContent = "Pause";
}
$("play").onclick = () => (state.timer ? stop() : play());
$("speed").onchange = () => state.timer && play();
$("moment").oninput = () => { stop(); show(Number($("moment").value)); };

// -- start
document.title = title;
$("moment").max = last;
$("about").textContent = `${data.run}: ${many(data.parameters)} parameters, ${many(last + 1)} moments of ${many(data.steps)} steps.`;
$("how").textContent = `The prompt, continued by the model of this moment with ${many(data.new_tokens)} tokens at temperature ${data.temperature}, always with seed ${data.seed}.`;
const notes = [];
if (data.heads.length < data.all_heads) notes.push(`The page has room for ${many(data.heads.length)} of ${many(data.all_heads)} heads: a shorter prompt, or fewer moments, shows more.`);
if (last + 1 < data.all_frames) notes.push(`The page has room for ${many(last + 1)} of ${many(data.all_frames)} moments: a shorter prompt shows more.`);
if (data.width > 1) notes.push(`A point of the training loss is the mean of ${many(data.width)} steps.`);
if (data.differ.length) notes.push(`The log has another loss of the next batch than computed here, at ${data.differ.length} moments, the first after step ${many(data.differ[0])}: another machine, an older version, or a bug.`);
$("notes").replaceChildren(...notes.map((note) => el("li", {}, note)));
$("notes").hidden = !notes.length;
function draw() {
  readTheme();
  drawStill();
  reserve();
}
function reserve() { // room for the longest text, so that nothing below it moves
  const box = $("text");
  box.style.minHeight = "0";
  const heights = frames.map(({ text }) => {
    box.replaceChildren(data.prompt + text);
    return box.scrollHeight;
  });
  box.style.minHeight = `${Math.max(...heights)}px`;
  show(state.at);
}
draw();
addEventListener("resize", reserve);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
if (last && !matchMedia("(prefers-reduced-motion: reduce)").matches) play();
