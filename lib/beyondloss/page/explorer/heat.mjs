// Numbers in shaded cells.

PAINTERS.heat = (svg, spec, data) => {
  const width = svg.clientWidth, size = 34, values = data.at(spec.values);
  const left = Math.max(0, ...spec.rows.map(measure)) + 12, top = spec.yLabel ? LINE + 8 : 6;
  const step = (width - left) / spec.columns.length, [low, high] = spec.range;
  const group = node("g", { transform: `translate(${left} ${top})` });
  if (spec.yLabel) group.append(label(spec.yLabel, -left, 12 - top, {}));
  values.forEach((row, i) => {
    group.append(label(spec.rows[i], -10, (i + 0.5) * size, { class: "bl-tick", "text-anchor": "end", "dominant-baseline": "central" }));
    row.forEach((value, j) => {
      if (value === null) return;
      const share = clamp((value - low) / (high - low || 1), 0, 1), cell = tinted("g", spec.tint);
      cell.append(node("rect", { class: "bl-cell", x: j * step + 1, y: i * size + 1, width: Math.max(0, step - 2), height: size - 2, rx: 3, "fill-opacity": 0.04 + 0.46 * share }));
      cell.append(label(value.toFixed(spec.digits), (j + 0.5) * step, (i + 0.5) * size, { "text-anchor": "middle", "dominant-baseline": "central" }));
      group.append(cell);
    });
  });
  const under = spec.rows.length * size;
  spec.columns.forEach((text, j) => group.append(label(text, (j + 0.5) * step, under + 15, { class: "bl-tick", "text-anchor": "middle" })));
  if (spec.xLabel) group.append(label(spec.xLabel, (width - left) / 2, under + 32, { "text-anchor": "middle" }));
  svg.replaceChildren(group);
};
