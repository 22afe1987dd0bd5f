// The marks of a plot. Each makes the elements that stand inside its frame; names come later (labels.mjs).

const curve = (series, data, x, y) => {
  const ys = data.at(series.y);
  return data.at(series.x).map((value, i) => [x(value), y(ys[i])]);
};

MARKS.series = (series, data, x, y) => {
  const shape = tinted("g", series.tint), at = curve(series, data, x, y);
  if (series.low !== null) {
    const d = band(data.at(series.x), data.at(series.low), data.at(series.high), x, y);
    shape.append(node("path", { class: "bl-band", d }));
  }
  shape.append(node("path", { class: series.dashed ? "bl-line bl-dashed" : "bl-line", d: trace(at) }));
  if (series.dots) at.filter(drawable).forEach(([cx, cy]) => shape.append(node("circle", { class: "bl-dot", cx, cy, r: 3.6 })));
  return [shape];
};

// A path through the points that lifts the pen over gaps.
function trace(at) {
  return at.map((point, i) => drawable(point) ? `${drawable(at[i - 1]) ? "L" : "M"}${point.map(round).join(" ")}` : "").join("");
}

function band(xs, low, high, x, y) {
  const upper = xs.map((value, i) => [x(value), y(high[i])]).filter(drawable);
  const lower = xs.map((value, i) => [x(value), y(low[i])]).filter(drawable);
  return upper.length ? `M${[...upper, ...lower.reverse()].map((point) => point.map(round).join(" ")).join("L")}Z` : "";
}

MARKS.shade = (shade, data, x, y, { height }) => {
  const [from, to] = [data.at(shade.low), data.at(shade.high)].map(x).sort((a, b) => a - b);
  if (!Number.isFinite(from + to)) return [];
  const shape = tinted("g", shade.tint);
  shape.append(node("rect", { class: "bl-shade", x: from, width: to - from, height }));
  for (const edge of [from, to]) shape.append(node("line", { class: "bl-edge", x1: edge, x2: edge, y2: height }));
  return [shape];
};

MARKS.histogram = ({ edges, counts, tint }, data, x, y, { height }) => {
  const shape = tinted("g", tint), at = data.at(edges).map(x), tops = data.at(counts).map(y);
  const floor = Math.min(height, y(0));
  const steps = tops.map((top, i) => Number.isFinite(top) ? `V${round(top)}H${round(at[i + 1])}` : `V${round(floor)}H${round(at[i + 1])}`);
  shape.append(node("path", { class: "bl-histogram", d: `M${round(at[0])} ${round(floor)}${steps.join("")}V${round(floor)}Z` }));
  return [shape];
};

// Intervals of named points; the points themselves come with their names.
MARKS.points = (points, data, x, y) => {
  const [xs, ys] = [data.at(points.x), data.at(points.y)];
  const end = (key) => points[key] === null ? null : data.at(points[key]);
  const [left, right, low, high] = ["left", "right", "low", "high"].map(end);
  return xs.map((value, i) => {
    const shape = tinted("g", points.lit[i] ? points.second : points.tint);
    if (left) shape.append(node("line", { class: "bl-interval", x1: x(left[i]), x2: x(right[i]), y1: y(ys[i]), y2: y(ys[i]) }));
    if (low) shape.append(node("line", { class: "bl-interval", x1: x(value), x2: x(value), y1: y(low[i]), y2: y(high[i]) }));
    return shape;
  });
};

// A map: a cell has more of one colour the further its value lies above the centre, of the other the further below.
MARKS.cells = (map, data, x, y) => {
  const columns = data.at(map.xEdges).map(x), rows = data.at(map.yEdges).map(y), reach = reachOf(map);
  const [above, below] = [tinted("g", map.tint), tinted("g", map.below)];
  data.at(map.values).forEach((row, i) => row.forEach((value, j) => {
    if (value === null) return;
    const [left, right] = [columns[j], columns[j + 1]].sort((a, b) => a - b), [top, bottom] = [rows[i], rows[i + 1]].sort((a, b) => a - b);
    const share = clamp(Math.abs(value - map.centre) / reach, 0, 1);
    const size = { x: left, y: top, width: right - left, height: bottom - top };
    (value < map.centre ? below : above).append(node("rect", { class: "bl-cell bl-tile", ...size, "fill-opacity": 0.69 * share }));
  }));
  return [below, above];
};

const reachOf = ({ range, centre }) => Math.max(...range.map((end) => Math.abs(end - centre))) || 1;

// What the colours of a map mean: its name, and five steps between the least and the greatest value.
function scaleOf(group, map, y) {
  const reach = reachOf(map), [least, greatest] = map.range, size = 16;
  const ends = [short(least), short(greatest)], start = measure(map.name) + 10 + measure(ends[0]) + 6;
  group.append(label(map.name, 0, y, { "dominant-baseline": "central" }));
  group.append(label(ends[0], start - 6, y, { class: "bl-tick", "text-anchor": "end", "dominant-baseline": "central" }));
  for (let i = 0; i < 5; i += 1) {
    const away = (least + (greatest - least) * i / 4 - map.centre) / reach, step = tinted("g", away < 0 ? map.below : map.tint);
    step.append(node("rect", { class: "bl-cell bl-step", x: start + i * size, y: y - 6, width: size, height: 12, "fill-opacity": 0.69 * Math.abs(away) }));
    group.append(step);
  }
  group.append(label(ends[1], start + 5 * size + 6, y, { class: "bl-tick", "dominant-baseline": "central" }));
}
