// A plot: axes, marks between them, names that cover neither each other nor a marker.

PAINTERS.plot = (svg, spec, data) => {
  const width = svg.clientWidth, height = svg.clientHeight;
  const yTicks = ticks(spec.yRange, spec.yLog, 5);
  const left = Math.max(...yTicks.map((tick) => measure(tick.text))) + 10;
  const of = (mark) => spec.marks.filter((one) => one.mark === mark);
  const markers = of("marker"), lines = of("series").filter((series) => series.name);
  const ends = endLabels(lines, of("histogram").filter((one) => one.name), width - left);
  const flags = [...of("shade"), ...markers.filter((marker) => marker.y === null)].filter((flag) => flag.name);
  const maps = of("cells");
  const top = (spec.yLabel ? LINE + 4 : 6) + (ends.above ? LINE * ends.above.length + 4 : 0) + LINE * (flags.length + maps.length) + 4;
  const frame = { left, top, width: width - left - ends.margin, height: height - top - (spec.xLabel ? 42 : 24) };
  const x = scale(spec.xRange, spec.xLog, 0, frame.width), y = scale(spec.yRange, spec.yLog, frame.height, 0);

  const plot = viewport(frame, 5); // room for half a dot at the edges
  const over = node("g", { transform: `translate(${frame.left} ${frame.top})` });
  svg.replaceChildren(axes(spec, frame, x, y, yTicks), plot, over);

  for (const mark of spec.marks) plot.append(...(MARKS[mark.mark]?.(mark, data, x, y, frame) ?? []));
  const taken = flagLabels(over, flags, data, x, frame);
  nameDots(over, dots(spec.marks, data, x, y), frame, taken);
  const rows = flags.length + (ends.above?.length ?? 0);
  maps.forEach((map, i) => scaleOf(over, map, -LINE * (rows + i) - 12));
  if (ends.above) keys(over, ends.above, flags.length);
  else nameEnds(over, ends.lines, lines.map((series) => ({ ...series, end: curve(series, data, x, y).filter(drawable).at(-1) })), frame);
};

// An inner drawing cuts off what lies outside of it, with no clip path and so no identifier.
function viewport({ left, top, width, height }, pad) {
  const size = { width: width + 2 * pad, height: height + 2 * pad };
  return node("svg", { x: left - pad, y: top - pad, ...size, viewBox: `${-pad} ${-pad} ${size.width} ${size.height}` });
}

function axes(spec, { left, top, width, height }, x, y, yTicks) {
  const group = node("g", { transform: `translate(${left} ${top})` });
  for (const { value, text } of yTicks) {
    group.append(node("line", { class: "bl-grid", x2: width, y1: y(value), y2: y(value) }));
    group.append(label(text, -8, y(value), { class: "bl-tick", "text-anchor": "end", "dominant-baseline": "central" }));
  }
  group.append(node("line", { class: "bl-axis", x2: width, y1: height, y2: height }));
  for (const { value, text } of ticks(spec.xRange, spec.xLog, width / 75)) {
    group.append(node("line", { class: "bl-axis", x1: x(value), x2: x(value), y1: height, y2: height + 4 }));
    group.append(label(text, x(value), height + 17, { class: "bl-tick", "text-anchor": "middle" }));
  }
  if (spec.xLabel) group.append(label(spec.xLabel, width / 2, height + 36, { "text-anchor": "middle" }));
  if (spec.yLabel) group.append(label(spec.yLabel, -left, 12 - top, {}));
  return group;
}
