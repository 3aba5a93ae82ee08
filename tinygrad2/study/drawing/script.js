// Opens and closes the modules of a picture. `lanes` and `layout` do what layout.py has done for the first one, line by line.

const svg = document.currentScript.closest("svg");
const get = id => svg.querySelector("#" + id);
const set = (node, attributes) => Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
const {S, left, right, templates, nodes, outermost, open} = JSON.parse(get("graph").textContent);
const opened = new Set(open);

function lanes(edges, x, step) {
  const placed = [];
  for (const edge of edges.sort((a, b) => a.at - a.start - (b.at - b.start))) {
    edge.lane = x;
    while (placed.some(other => other.lane === edge.lane && other.start <= edge.at && edge.start <= other.at)) edge.lane += step;
    placed.push(edge);
  }
  return x + step * new Set(placed.map(edge => edge.lane)).size;
}

function layout() {
  const places = {}, edges = [];
  function place(keys, y) {
    for (const key of keys) {
      const top = y, {height, inputs, inside} = nodes[key];
      if (opened.has(key)) {
        y = place(inside, top + S.head) + S.foot;
        places["f" + key.slice(1)] = [top, y - S.gap - top];
        continue;
      }
      for (const [how, origin, shape, at] of inputs) {
        edges.push({how, origin, target: key, shape, at: top + at, name: nodes[origin].name});
        if (how === "leaf" || how === "constant") places[origin] = [top + at - S.enter, nodes[origin].height];
      }
      places[key] = [top, height];
      y += height + S.gap;
    }
    return y;
  }
  const height = place(outermost, S.top) + S.gap;
  for (const edge of edges) {
    edge.source = nodes[edge.origin].around.find(module => !opened.has(module)) ?? edge.origin;
    const [y, height] = places[edge.source], chip = "lc".includes(edge.source[0]);
    [edge.x, edge.start] = chip ? [S.chip, y + S.leave] : [S.box, y + height - 6];
  }
  const x = lanes(edges.filter(edge => edge.how === "left"), left - S.lane, -S.lane);
  const end = lanes(edges.filter(edge => edge.how === "right"), right + S.label, S.lane);
  return {places, edges, x, width: end + S.lane - x, height};
}

function show() {
  const {places, edges, x, width, height} = layout();
  for (const node of svg.querySelectorAll(".node, .around")) {
    const place = places[node.id];
    set(node, {display: place ? "inline" : "none"});
    if (!place) continue;
    set(node, {transform: `translate(${node.matches(".box, .group") ? S.box : S.chip} ${place[0]})`});
    set(node.querySelector("rect"), {height: place[1]});
  }
  get("edges").innerHTML = edges.map(edge => templates[edge.how].replace(/{(\w+)}/g, (_, field) => edge[field])).join("");
  set(get("paper"), {x, width, height});
  set(svg, {viewBox: `${x} 0 ${width} ${height}`, width, height});
}

function toggle({dataset: {module}}) {
  if (!opened.delete(module)) opened.add(module);
  show();
  get(opened.has(module) ? "f" + module.slice(1) : module).focus();
}

for (const node of svg.querySelectorAll(".toggle")) {
  node.addEventListener("click", () => toggle(node));
  node.addEventListener("keydown", event => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    toggle(node);
  });
}
