// A ranking: the longest bar on top, whiskers for intervals, a named line.

PAINTERS.bars = (svg, spec, data) => {
  const width = svg.clientWidth, step = 27;
  const values = data.at(spec.values), [low, high] = ["low", "high"].map((key) => spec[key] === null ? null : data.at(spec[key]));
  const order = values.map((_, i) => i).filter((i) => values[i] !== null).sort((a, b) => values[b] - values[a]);
  const left = Math.max(...spec.names.map(measure)) + 12, right = 46, under = step * spec.names.length, top = 18;
  const x = scale(spec.range, false, 0, Math.max(20, width - left - right));
  const group = node("g", { transform: `translate(${left} ${top})` });
  for (const { value, text } of ticks(spec.range, false, (width - left) / 90)) {
    group.append(node("line", { class: "bl-grid", x1: x(value), x2: x(value), y2: under }));
    group.append(label(text, x(value), under + 15, { class: "bl-tick", "text-anchor": "middle" }));
  }
  order.forEach((i, row) => {
    const bar = tinted("g", spec.tints[spec.lit[i] ? 1 : 0]), middle = (row + 0.5) * step;
    bar.append(node("rect", { class: "bl-bar", y: row * step + 3, width: Math.max(0, x(values[i])), height: step - 6, rx: 3 }));
    if (low) bar.append(node("line", { class: "bl-whisker", x1: x(low[i]), x2: x(high[i]), y1: middle, y2: middle }));
    bar.append(label(spec.names[i], -8, middle, { "text-anchor": "end", "dominant-baseline": "central" }));
    const end = Math.max(x(values[i]), low ? x(high[i]) : 0) + 6;
    bar.append(label(values[i].toFixed(spec.digits), end, middle, { class: "bl-name", "dominant-baseline": "central" }));
    group.append(bar);
  });
  const mark = spec.mark === null ? null : data.at(spec.mark);
  if (mark !== null) {
    const line = tinted("g", spec.tints[2]);
    line.append(node("line", { class: "bl-marker", x1: x(mark), x2: x(mark), y1: -2, y2: under }));
    line.append(label(spec.markName, x(mark), -8, { class: "bl-name", "text-anchor": "middle" }));
    group.append(line);
  }
  if (spec.xLabel) group.append(label(spec.xLabel, (width - left - right) / 2, under + 34, { "text-anchor": "middle" }));
  svg.replaceChildren(group);
};
