// Names in a plot: at line ends, above lines, beside points; none over another.

// Names stand at the right where they leave the plot most of the width, else above it.
function endLabels(lines, histograms, width) {
  const named = [...lines, ...histograms];
  if (!named.length) return { lines: [], margin: 12 };
  const wrapped = named.map((series) => wrap(series.name, Math.max(84, 0.28 * width)));
  const margin = Math.max(...wrapped.flat().map(measure)) + 16;
  if (!histograms.length && margin <= 0.38 * width) return { lines: wrapped, margin };
  const rows = [[]];
  let at = 0;
  for (const series of named) {
    const size = measure(series.name) + 40;
    if (at && at + size > width) { rows.push([]); at = 0; }
    rows.at(-1).push({ ...series, at });
    at += size;
  }
  return { above: rows, margin: 12 };
}

function nameEnds(group, lines, curves, { width, height }) {
  const drawn = curves.map((drawn, i) => ({ ...drawn, lines: lines[i] })).filter((drawn) => drawn.end);
  const wanted = drawn.map((drawn) => clamp(drawn.end[1], 0, height));
  const placed = spread(wanted, drawn.map((drawn) => drawn.lines.length * (LINE - 1)), height + 2);
  drawn.forEach((curve, i) => {
    const name = tinted("g", curve.tint), from = Math.min(curve.end[0], width);
    if (Math.abs(placed[i] - wanted[i]) > 5 || from < width - 12) {
      name.append(node("path", { class: "bl-leader", d: `M${from + 4} ${wanted[i]}L${width + 5} ${placed[i]}` }));
    }
    curve.lines.forEach((text, j) => {
      const at = placed[i] + (j - (curve.lines.length - 1) / 2) * (LINE - 1);
      name.append(label(text, width + 9, at, { class: "bl-name", "dominant-baseline": "central" }));
    });
    group.append(name);
  });
}

function keys(group, rows, flags) {
  rows.forEach((row, i) => row.forEach(({ mark, name, tint, dashed, at }) => {
    const key = tinted("g", tint), y = -LINE * (flags + rows.length - i - 1) - 12;
    if (mark === "histogram") key.append(node("rect", { class: "bl-histogram", x: at + 3, y: y - 5, width: 14, height: 10 }));
    else key.append(node("line", { class: dashed ? "bl-line bl-dashed" : "bl-line", x1: at, x2: at + 18, y1: y, y2: y }));
    key.append(label(name, at + 24, y, { class: "bl-name", "dominant-baseline": "central" }));
    group.append(key);
  }));
}

// Names of vertical lines and of regions, in rows above the plot: each in the lowest row where it covers no other
// name and no line on its way to one. Returns the boxes that it used.
function flagLabels(group, flags, data, x, { left, width, height }) {
  const rows = flags.map((_, row) => -LINE * (row + 1));
  const inside = (at) => at >= -0.5 && at <= width + 0.5;
  const lines = flags.filter((flag) => flag.x !== undefined).map((flag) => ({ ...flag, at: x(data.at(flag.x)) }))
    .filter(({ at }) => inside(at)).sort((a, b) => a.at - b.at);
  const feet = lines.map(({ at }) => box(at - 2, -2, 4, 2)), taken = [...feet];
  const place = (starts, size, stem, others) => {
    const options = rows.flatMap((top) => starts.filter((start) => start >= -left && start + size <= width + 12)
      .map((start) => ({ start, top, boxes: [box(start - 3, top, size + 6, LINE), ...stem(top)] })));
    const choice = options.find(({ boxes }) => free(boxes, others)) ?? options.at(-1);
    taken.push(...(choice?.boxes ?? []));
    return choice;
  };
  lines.forEach((flag, i) => {
    const size = measure(flag.name), sides = [flag.at - size - 5, flag.at + 5];
    const starts = [...(i < (lines.length - 1) / 2 ? sides : sides.reverse()), clamp(flag.at - size / 2, -left, width - size)];
    const stem = (top) => [box(flag.at - 1, top + LINE, 2, -top - LINE)].filter((piece) => piece.height);
    const spot = place(starts, size, stem, taken.filter((other) => other !== feet[i]));
    const shape = tinted("g", flag.tint), centred = spot && spot.start < flag.at && spot.start + size > flag.at;
    shape.append(node("line", { class: "bl-marker", x1: flag.at, x2: flag.at, y1: (spot?.top ?? 0) + (centred ? LINE : 3), y2: height }));
    if (spot) shape.append(flagName(flag.name, spot));
    group.append(shape);
  });
  for (const flag of flags.filter((flag) => flag.x === undefined)) {
    const edges = [data.at(flag.low), data.at(flag.high)].map(x).sort((a, b) => a - b);
    if (!Number.isFinite(edges[0] + edges[1])) continue;
    const [from, to] = edges.map((edge) => clamp(edge, 0, width)), size = measure(flag.name);
    const spot = place([(from + to - size) / 2, from, to - size, from - size - 4, to + 4], size, () => [], taken);
    if (spot) group.append(flagName(flag.name, spot, flag.tint));
  }
  return taken;
}

function flagName(text, { start, top }, tint) {
  const name = label(text, start, top + LINE / 2, { class: "bl-name", "dominant-baseline": "central" });
  if (!tint) return name;
  const shape = tinted("g", tint);
  shape.append(name);
  return shape;
}

// Every point that has a name: markers with an ordinate, and the points of the mark of that name.
function dots(marks, data, x, y) {
  const found = [];
  for (const mark of marks) {
    if (mark.mark === "marker" && mark.y !== null) found.push({ ...mark, r: 5, at: [x(data.at(mark.x)), y(data.at(mark.y))] });
    if (mark.mark !== "points") continue;
    const [xs, ys] = [data.at(mark.x), data.at(mark.y)];
    mark.names.forEach((name, i) => found.push({ name, r: 4, tint: mark.lit[i] ? mark.second : mark.tint, at: [x(xs[i]), y(ys[i])] }));
  }
  return found.filter(({ at }) => drawable(at));
}

// Each point with its name on that side where it covers nothing; a name that fits nowhere is left out while others
// need the place, but the point is drawn, and says its name to a mouse.
function nameDots(group, dots, { width, height }, taken) {
  taken.push(...dots.map(({ at: [cx, cy] }) => box(cx - 6, cy - 6, 12, 12)));
  for (const { name, tint, r, at: [cx, cy] } of dots) {
    const shape = tinted("g", tint), size = measure(name);
    const circle = node("circle", { class: "bl-dot", cx, cy, r });
    circle.append(Object.assign(node("title", {}), { textContent: name }));
    shape.append(circle);
    const sides = [[10, -LINE / 2], [10, -LINE], [10, LINE / 4], [-size - 10, -LINE / 2], [-size - 10, -LINE], [-size - 10, LINE / 4], [-size / 2, -1.9 * LINE], [-size / 2, 0.9 * LINE]];
    const spot = sides.map(([dx, dy]) => box(cx + dx, cy + dy, size, LINE))
      .filter((spot) => spot.x >= 0 && spot.x + size <= width + 8 && spot.y >= 0 && spot.y + LINE <= height)
      .find((option) => free([option], taken));
    if (spot && name) {
      taken.push(spot);
      shape.append(label(name, spot.x, spot.y + LINE / 2, { class: "bl-name", "dominant-baseline": "central" }));
    }
    group.append(shape);
  }
}

// Moves centres as little as possible until blocks of the given sizes clear each other, none below `limit` while there is
// room: pool adjacent violators.
function spread(wanted, sizes, limit) {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b]);
  const offsets = [];
  order.forEach((i, k) => { offsets.push(k ? offsets[k - 1] + (sizes[order[k - 1]] + sizes[i]) / 2 : 0); });
  const pools = [];
  order.forEach((i, k) => {
    pools.push({ sum: wanted[i] - offsets[k], count: 1 });
    while (pools.length > 1 && mean(pools.at(-2)) > mean(pools.at(-1))) {
      const last = pools.pop();
      pools.at(-1).sum += last.sum;
      pools.at(-1).count += last.count;
    }
  });
  const room = limit - (offsets.at(-1) ?? 0) - (sizes[order.at(-1)] ?? 0) / 2, placed = [];
  pools.flatMap((pool) => Array(pool.count).fill(mean(pool)))
    .forEach((start, k) => { placed[order[k]] = clamp(start, -8, Math.max(-8, room)) + offsets[k]; });
  return placed;
}

const mean = ({ sum, count }) => sum / count;
const box = (x, y, width, height) => ({ x, y, width, height });
const apart = (a, b) => a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
const free = (boxes, taken) => boxes.every((one) => taken.every((other) => apart(one, other)));
