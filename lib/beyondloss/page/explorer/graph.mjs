// Nodes with arrows between them. An arrow bends to its right, so that two ways between a pair stand apart.

const NODE = 17; // radius

PAINTERS.graph = (svg, spec, data) => {
  const width = svg.clientWidth, height = svg.clientHeight, pad = NODE + 6;
  const widest = Math.max(...spec.names.map(measure)), aside = Math.max(pad, widest / 2);
  const x = scale(spec.xRange, false, aside, width - aside), y = scale(spec.yRange, false, height - pad - LINE, pad);
  const ys = data.at(spec.y), at = data.at(spec.x).map((value, i) => [x(value), y(ys[i])]);
  const fills = spec.values === null ? null : data.at(spec.values);
  const weights = spec.weights === null ? null : data.at(spec.weights);
  const arrows = spec.arrows.map(([from, to], i) => arrow(at[from], at[to], weights ? weights[i] : 1, spec.tint));
  svg.replaceChildren(...arrows.filter(Boolean), ...at.map((place, i) => nodeOf(place, spec.names[i], fills?.[i] ?? 0, spec.tint)));
};

function nodeOf([cx, cy], name, fill, tint) {
  const shape = tinted("g", tint), inside = measure(name) <= 2 * NODE - 6;
  shape.append(node("circle", { class: "bl-node", cx, cy, r: NODE }));
  shape.append(node("circle", { class: "bl-fill", cx, cy, r: NODE, "fill-opacity": 0.6 * fill }));
  shape.append(label(name, cx, inside ? cy : cy + NODE + 11, { "text-anchor": "middle", "dominant-baseline": "central" }));
  return shape;
}

function arrow(from, to, weight, tint) {
  if (!weight || !drawable(from) || !drawable(to)) return null;
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]], length = Math.hypot(dx, dy) || 1;
  const bend = [(from[0] + to[0]) / 2 - 0.12 * dy, (from[1] + to[1]) / 2 + 0.12 * dx];
  const start = towards(from, bend, NODE + 2), tip = towards(to, bend, NODE + 3);
  const head = 6 + 4 * weight, back = towards(tip, bend, head);
  const side = [(tip[1] - back[1]) * 0.45, (back[0] - tip[0]) * 0.45];
  const shape = tinted("g", tint);
    shape.append(node("path", { class: "bl-arrow", "stroke-width": 1 + 2.4 * weight, d: `M${pair(start)}Q${pair(bend)} ${pair(back)}` }));
  shape.append(node("path", { class: "bl-dot", d: `M${pair(tip)}L${pair([back[0] + side[0], back[1] + side[1]])}L${pair([back[0] - side[0], back[1] - side[1]])}Z` }));
  return length > 2 * NODE ? shape : null;
}

const pair = (point) => point.map(round).join(" ");

function towards([x, y], [toX, toY], distance) {
  const length = Math.hypot(toX - x, toY - y) || 1;
  return [x + (toX - x) * distance / length, y + (toY - y) * distance / length];
}
