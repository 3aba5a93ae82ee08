// What the pages of gpt2 draw with.
const $ = (id) => document.getElementById(id);

// A new element: el("b", {class: "x"}, "text", other).
function el(tag, attributes, ...children) {
  const svg = ["svg", "rect", "line", "polyline"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// -- words and numbers, and the tokens of `data`, which the page has
const place = (t) => `${data.tokens[t]} (${t})`;
const short = (x) => { // three digits of it
  const size = Math.abs(x), digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.995 || size < 1e-9 ? 2 : Math.min(6, 2 - Math.floor(Math.log10(size)));
  return x.toFixed(digits).replace("-", "−");
};

// -- colours: from the background to the accent or, for negative shares, to its counterpart
let theme;
function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const rgb = (name) => style.getPropertyValue(name).trim().match(/[0-9a-f]{2}/g).map((hex) => parseInt(hex, 16));
  theme = { bg: rgb("--bg"), ink: rgb("--ink"), accent: rgb("--accent"), counter: rgb("--counter"), panel: rgb("--panel") };
}
function mixed(share) {
  const s = Math.min(1, Math.abs(share)), end = share < 0 ? theme.counter : theme.accent;
  return theme.bg.map((c, i) => Math.round(c + s * (end[i] - c)));
}
function luminance(rgb) {
  const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function paint(element, share) { // with the text in whichever colour is easier to read on it
  const back = mixed(share), L = luminance(back) + 0.05;
  const contrast = (rgb) => { const l = luminance(rgb) + 0.05; return Math.max(l / L, L / l); };
  element.style.background = `rgb(${back})`;
  element.style.color = `rgb(${contrast(theme.ink) >= contrast(theme.bg) ? theme.ink : theme.bg})`;
  return element;
}
// -- the hint beside the pointer
function hint(text, x, y) {
  const tip = $("tip");
  tip.hidden = !text;
  tip.textContent = text || "";
  if (!text) return;
  tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - tip.offsetWidth - 8)) + "px";
  tip.style.top = (y + tip.offsetHeight + 22 > innerHeight ? y - tip.offsetHeight - 10 : y + 16) + "px";
}

// -- maps: attention and similarity
function map(button, m) {
  const rows = m.rows.length, canvas = el("canvas", { width: rows, height: rows });
  const context = canvas.getContext("2d"), image = context.createImageData(rows, rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < rows; j++) {
      const value = m.value(i, j), rgb = value === undefined ? theme.panel : mixed(m.share(value));
      image.data.set([...rgb, 255], 4 * (i * rows + j));
    }
  }
  context.putImageData(image, 0, 0);
  const frame = el("span", {}, canvas);
  canvas.onmousemove = (event) => {
    const box = canvas.getBoundingClientRect();
    const [i, j] = [event.clientY - box.top, event.clientX - box.left].map((d) => Math.min(rows - 1, Math.max(0, Math.floor((d / box.width) * rows))));
    hint(m.say(i, j), event.clientX, event.clientY);
  };
  canvas.onmouseleave = () => hint();
  button.onfocus = () => {
    if (!button.matches(":focus-visible")) return;
    const box = button.getBoundingClientRect();
    hint(m.sum() + "\nEnter enlarges", box.left, box.bottom - 12);
  };
  button.onblur = () => hint();
  button.onclick = () => { hint(); enlarge(m); };
  button.replaceChildren(frame);
  return frame;
}

function enlarge(m) {
  const n = m.rows.length, canvas = $("large-map"), context = canvas.getContext("2d");
  const longest = Math.max(...m.rows.map((label) => [...label].length));
  const cell = Math.max(9, Math.min(26, Math.floor((Math.min(innerWidth * 0.96 - 50, innerHeight * 0.96 - 120) - 40) / n)));
  const margin = Math.min(110, 14 + 8 * longest), size = margin + n * cell, dpr = devicePixelRatio || 1;
  const cursor = m.start();
  const draw = () => {
    canvas.width = canvas.height = size * dpr;
    canvas.style.width = canvas.style.height = size + "px";
    context.scale(dpr, dpr);
    context.font = `${Math.min(13, cell + 1)}px ${getComputedStyle(document.documentElement).getPropertyValue("--mono")}`;
    context.textBaseline = "middle";
    m.rows.forEach((label, i) => {
      const middle = margin + (i + 0.5) * cell;
      context.fillStyle = `rgb(${theme.ink})`;
      context.textAlign = "right";
      context.fillText(label, margin - 5, middle, margin - 6);
      context.save();
      context.translate(middle, margin - 5);
      if (longest > 1) { context.rotate(-Math.PI / 2); context.textAlign = "left"; } else context.textAlign = "center";
      context.fillText(label, 0, longest > 1 ? 0 : -4, margin - 6);
      context.restore();
      for (let j = 0; j < n; j++) {
        const value = m.value(i, j);
        context.fillStyle = `rgb(${value === undefined ? theme.panel : mixed(m.share(value))})`;
        context.fillRect(margin + j * cell, margin + i * cell, cell, cell);
      }
    });
    context.strokeStyle = `rgb(${theme.counter})`;
    context.lineWidth = 2;
    context.strokeRect(margin + cursor[1] * cell, margin + cursor[0] * cell, cell, cell);
    $("large-read").textContent = m.say(...cursor);
  };
  const move = (i, j) => {
    [cursor[0], cursor[1]] = [i, j].map((k) => Math.min(n - 1, Math.max(0, k)));
    draw();
  };
  canvas.onkeydown = (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    move(cursor[0] + step[0], cursor[1] + step[1]);
  };
  canvas.onmousemove = (event) => {
    const box = canvas.getBoundingClientRect();
    const [i, j] = [event.clientY - box.top, event.clientX - box.left].map((d) => Math.floor((d - margin) / cell));
    if (i >= 0 && j >= 0) move(i, j);
  };
  $("large-title").textContent = m.title;
  $("large").showModal();
  draw();
  canvas.focus();
}
$("large").addEventListener("click", (event) => event.target === $("large") && $("large").close());

// The attention of a head: `weight(i, j)` for j up to i, of which `digits` are known, and the row `at()` that is told of first.
function attentionMap(title, weight, at, digits) {
  const best = () => {
    let top = 0;
    for (let j = 1; j <= at(); j++) if (weight(at(), j) > weight(at(), top)) top = j;
    return top;
  };
  const say = (i, j) => j > i
    ? `${place(i)} cannot look at ${place(j)}, which is later`
    : `${place(i)} looks at ${place(j)} with ${weight(i, j).toFixed(digits)}`;
  return {
    title: `${title}: row looks at column`, rows: data.tokens,
    value: (i, j) => (j > i ? undefined : weight(i, j)), share: Math.sqrt, say, best,
    start: () => [at(), best()], sum: () => say(at(), best()),
  };
}
