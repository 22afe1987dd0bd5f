// Draws an explorer: sliders over panels of curves, texts and shaded cells. Used as it is by anywidget in JupyterLab and
// by the static page, which gives it a model of six lines. The page's skeleton (sliders, titles, empty drawings of
// fixed height) is there before this module runs, so nothing moves when it does.

const SVG = "http://www.w3.org/2000/svg";
const LINE = 16; // pixels from one line of text to the next
const MOVES = /^(Arrow|Page|Home|End)/;
const pen = document.createElement("canvas").getContext("2d");

function render({ model, el }) {
  if (!el.querySelector(".bl-view")) {
    el.innerHTML = `<div class="bl-explorer" role="group"><div class="bl-view">${model.get("skeleton")}</div></div>`;
  }
  const root = el.querySelector(".bl-view");
  const state = model.get("state");
  const data = lookup(model, state);
  const inputs = [...root.querySelectorAll("input[type=range]")];
  const panels = [...root.querySelectorAll(".bl-panel")];

  const draw = () => {
    inputs.forEach((input, i) => showSlider(input, state.sliders[i], data));
    panels.forEach((panel, i) => {
      const spec = state.panels[i];
      panel.querySelectorAll(".bl-readouts b").forEach((cell, j) => { cell.textContent = data.at(spec.readouts[j]); });
      PAINTERS[spec.kind](panel.querySelector("svg, pre"), spec, data);
    });
    showError(root, data.error());
  };
  const redraw = onceAFrame(draw);
  const report = debounced(() => { root.querySelector("[role=status]").textContent = summary(panels); });

  inputs.forEach((input, i) => input.addEventListener("input", () => {
    const { name, values } = state.sliders[i];
    const value = onGrid(input) ? values[Number(input.value)] : Number(input.value);
    model.set("values", { ...model.get("values"), [name]: value });
    model.save_changes();
    redraw();
    report();
  }));
  // JupyterLab would take the arrow keys: there they walk through a notebook's headings
  root.addEventListener("keydown", (event) => { if (MOVES.test(event.key)) event.stopPropagation(); });
  model.on("change:values", redraw);
  model.on("change:frame", redraw);
  const resized = new ResizeObserver(redraw);
  panels.forEach((panel) => resized.observe(panel));
  draw();
  return () => { resized.disconnect(); model.off("change:values", redraw); model.off("change:frame", redraw); };
}

// ---- the static page ---------------------------------------------------------------------------------------------

// Stands in for a kernel: a model of six lines, whose values the page's address remembers (?explorer-….slider=value).
function stand(root, traits) {
  const begin = () => render({ model: remembered(root.id, traits), el: root });
  if (traits.state) return begin();
  const seen = new IntersectionObserver(async (entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    seen.disconnect();
    traits.state = await fetched(traits.source, root.id);
    begin();
  }, { rootMargin: "400px" });
  seen.observe(root);
}

function remembered(id, traits) {
  const asked = new URLSearchParams(location.search), start = { ...traits.values };
  for (const { name, values } of traits.state.sliders) {
    const value = values.find((value) => String(value) === asked.get(`${id}.${name}`));
    if (value !== undefined) traits.values = { ...traits.values, [name]: value };
  }
  const write = debounced(() => {
    const address = new URL(location), changed = Object.entries(traits.values).filter(([name, value]) => value !== start[name]);
    Object.keys(start).forEach((name) => address.searchParams.delete(`${id}.${name}`));
    changed.forEach(([name, value]) => address.searchParams.set(`${id}.${name}`, value));
    address.hash = id;
    try { history.replaceState(history.state, "", address); } catch { /* a page from disk may not in every browser */ }
  });
  return { get: (name) => traits[name], set: (name, value) => { traits[name] = value; }, on() {}, off() {}, save_changes: write };
}

// Data too heavy for the page, from a script of the same origin; a page from disk may load no other kind of file.
function fetched(source, id) {
  return new Promise((done, failed) => {
    const script = Object.assign(document.createElement("script"), { src: source, onload: () => done(self.explorerData[id]), onerror: failed });
    document.head.append(script);
  });
}

// ---- values ----------------------------------------------------------------------------------------------------

// What each datum is at the sliders' values: of the kernel where it has answered, else of the nearest grid point.
function lookup(model, state) {
  const sliders = Object.fromEntries(state.sliders.map((slider) => [slider.name, slider]));
  const nearest = ({ values }, value) => {
    const exact = values.indexOf(value);
    if (exact >= 0) return exact;
    const away = values.map((v) => Math.abs(v - value));
    return away.indexOf(Math.min(...away));
  };
  // Off the grid the kernel's latest answer stands until the next one comes.
  const answer = () => {
    const values = model.get("values"), frame = model.get("frame");
    return state.sliders.every(({ name, values: grid }) => grid.includes(values[name])) ? null : frame;
  };
  const index = (name) => nearest(sliders[name], model.get("values")[name]);
  const onTheGrid = (number, indices = {}) => {
    const { over, cells } = state.data[number];
    return cells[over.reduce((at, name) => at * sliders[name].values.length + (indices[name] ?? index(name)), 0)];
  };
  return {
    index,
    onTheGrid,
    value: (name) => model.get("values")[name],
    at: (number) => answer()?.data?.[number] ?? onTheGrid(number),
    text: ({ name, texts }) => answer()?.texts?.[name] ?? texts[index(name)],
    error: () => answer()?.error ?? "",
  };
}

// An input counts the points of its grid, unless it is live and moves between them: then it holds the value.
const onGrid = (input) => !("between" in input.dataset);

function showSlider(input, slider, data) {
  const text = data.text(slider);
  input.value = onGrid(input) ? data.index(slider.name) : data.value(slider.name);
  input.setAttribute("aria-valuetext", text);
  input.closest(".bl-slider").querySelector("output").textContent = text;
}

function showError(root, message) {
  let line = root.querySelector(".bl-error");
  if (!message) { line?.remove(); return; }
  line ??= root.appendChild(Object.assign(document.createElement("p"), { className: "bl-error" }));
  line.textContent = message;
}

const summary = (panels) => panels.flatMap((panel) => [...panel.querySelectorAll(".bl-readouts > span")])
  .map((readout) => readout.textContent).join(", ");

function onceAFrame(action) {
  let waiting = 0;
  return () => { waiting ||= requestAnimationFrame(() => { waiting = 0; action(); }); };
}

function debounced(action, milliseconds = 400) {
  let waiting;
  return () => { clearTimeout(waiting); waiting = setTimeout(action, milliseconds); };
}

// ---- plots -----------------------------------------------------------------------------------------------------

function paintPlot(svg, spec, data) {
  const width = svg.clientWidth, height = svg.clientHeight;
  if (!width) return; // not in view yet: the resize observer calls again
  const font = getComputedStyle(svg);
  pen.font = `600 ${font.fontSize} ${font.fontFamily}`;

  const yTicks = ticks(spec.yRange, spec.yLog, 5);
  const left = Math.max(...yTicks.map((tick) => measure(tick.text))) + 10;
  const named = spec.series.filter((series) => series.name);
  const ends = endLabels(named, width - left);
  const flags = [...spec.shades, ...spec.markers.filter((marker) => marker.y === null)].filter((flag) => flag.name);
  const top = (spec.yLabel ? LINE + 4 : 6) + (ends.above ? LINE * ends.above.length + 4 : 0) + LINE * flags.length + 4;
  const frame = { left, top, width: width - left - ends.margin, height: height - top - (spec.xLabel ? 42 : 24) };
  const x = scale(spec.xRange, spec.xLog, 0, frame.width), y = scale(spec.yRange, spec.yLog, frame.height, 0);

  const plot = viewport(frame, 5); // room for half a dot at the edges
  const over = node("g", { transform: `translate(${frame.left} ${frame.top})` });
  svg.replaceChildren(axes(spec, frame, x, y, yTicks), plot, over);

  spec.shades.forEach((shade) => plot.append(region(shade, data, x, frame.height)));
  const curves = spec.series.map((series) => curve(series, data, x, y));
  curves.forEach((drawn) => plot.append(drawn.shape));
  const taken = flagLabels(over, flags, data, x, frame);
  points(over, spec.markers.filter((marker) => marker.y !== null), data, x, y, frame, taken);
  if (ends.above) keys(over, ends.above, flags.length);
  else nameEnds(over, ends.lines, curves.filter((drawn) => drawn.name), frame);
}

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

function curve(series, data, x, y) {
  const [xs, ys] = [data.at(series.x), data.at(series.y)];
  const at = xs.map((value, i) => [x(value), y(ys[i])]);
  const shape = tinted("g", series.tint);
  if (series.low !== null) shape.append(node("path", { class: "bl-band", d: band(xs, data.at(series.low), data.at(series.high), x, y) }));
  shape.append(node("path", { class: series.dashed ? "bl-line bl-dashed" : "bl-line", d: trace(at) }));
  if (series.dots) at.filter(drawable).forEach(([cx, cy]) => shape.append(node("circle", { class: "bl-dot", cx, cy, r: 3.6 })));
  return { ...series, shape, end: at.filter(drawable).at(-1) };
}

// A path through the points that lifts the pen over gaps.
function trace(at) {
  return at.map((point, i) => drawable(point) ? `${drawable(at[i - 1]) ? "L" : "M"}${point.map(round).join(" ")}` : "").join("");
}

function band(xs, low, high, x, y) {
  const upper = xs.map((value, i) => [x(value), y(high[i])]).filter(drawable);
  const lower = xs.map((value, i) => [x(value), y(low[i])]).filter(drawable);
  return upper.length ? `M${[...upper, ...lower.reverse()].map((point) => point.map(round).join(" ")).join("L")}Z` : "";
}

function region(shade, data, x, height) {
  const [from, to] = [data.at(shade.low), data.at(shade.high)].map(x).sort((a, b) => a - b);
  const shape = tinted("g", shade.tint);
  if (!Number.isFinite(from + to)) return shape;
  shape.append(node("rect", { class: "bl-shade", x: from, width: to - from, height }));
  for (const edge of [from, to]) shape.append(node("line", { class: "bl-edge", x1: edge, x2: edge, y2: height }));
  return shape;
}

// ---- names: at line ends, above lines, beside points; none over another ----------------------------------------

// Names stand at the right where they leave the plot most of the width, else above it.
function endLabels(named, width) {
  if (!named.length) return { margin: 12 };
  const lines = named.map((series) => wrap(series.name, Math.max(84, 0.28 * width)));
  const margin = Math.max(...lines.flat().map(measure)) + 16;
  if (margin <= 0.38 * width) return { lines, margin };
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
  rows.forEach((row, i) => row.forEach(({ name, tint, dashed, at }) => {
    const key = tinted("g", tint), y = -LINE * (flags + rows.length - i - 1) - 12;
    key.append(node("line", { class: dashed ? "bl-line bl-dashed" : "bl-line", x1: at, x2: at + 18, y1: y, y2: y }));
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

function points(group, markers, data, x, y, { width, height }, taken) {
  const at = markers.map((marker) => [x(data.at(marker.x)), y(data.at(marker.y))]);
  taken.push(...at.filter(drawable).map(([cx, cy]) => box(cx - 6, cy - 6, 12, 12)));
  markers.forEach((marker, i) => {
    const [cx, cy] = at[i];
    if (!drawable(at[i])) return;
    const shape = tinted("g", marker.tint), size = measure(marker.name);
    const sides = [[10, -LINE], [10, LINE / 4], [-size - 10, -LINE], [-size - 10, LINE / 4], [-size / 2, -1.9 * LINE], [-size / 2, 0.9 * LINE]];
    const options = sides.map(([dx, dy]) => box(cx + dx, cy + dy, size, LINE))
      .filter((spot) => spot.x >= 0 && spot.x + size <= width + 8 && spot.y >= 0 && spot.y + LINE <= height);
    const spot = options.find((option) => free([option], taken)) ?? options[0];
    shape.append(node("circle", { class: "bl-dot", cx, cy, r: 5 }));
    if (spot && marker.name) {
      taken.push(spot);
      shape.append(label(marker.name, spot.x, spot.y + LINE / 2, { class: "bl-name", "dominant-baseline": "central" }));
    }
    group.append(shape);
  });
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

// ---- texts and cells -------------------------------------------------------------------------------------------

function paintText(pre, { texts, mask, along }, data) {
  const text = [...data.at(texts)];
  const step = along === null ? 0 : data.index(along);
  const before = step ? [...data.onTheGrid(texts, { [along]: step - 1 })] : text;
  const kind = (character, i) => character === mask ? "mask" : character !== before[i] ? "new" : "";
  const runs = [];
  text.forEach((character, i) => {
    const now = kind(character, i);
    if (runs.at(-1)?.kind === now) runs.at(-1).text += character;
    else runs.push({ kind: now, text: character });
  });
  pre.replaceChildren(...runs.map((run) => {
    if (!run.kind) return document.createTextNode(run.text);
    const part = document.createElement(run.kind === "new" ? "mark" : "span");
    if (run.kind === "mask") part.className = "bl-mask";
    // a mask may come from another font than the text: underscores are as wide as letters
    part.textContent = run.kind === "mask" ? run.text.replaceAll(mask, "_") : run.text;
    return part;
  }));
}

function paintHeat(svg, spec, data) {
  const width = svg.clientWidth, size = 34, values = data.at(spec.values);
  if (!width) return;
  const font = getComputedStyle(svg);
  pen.font = `600 ${font.fontSize} ${font.fontFamily}`;
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
}

const PAINTERS = { plot: paintPlot, text: paintText, heat: paintHeat };

// ---- small things ----------------------------------------------------------------------------------------------

function node(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, typeof value === "number" ? round(value) : value);
  return made;
}

function label(text, x, y, attributes) {
  const made = node("text", { x, y, ...attributes });
  made.textContent = text;
  return made;
}

function tinted(name, [light, dark]) {
  return node(name, { class: "bl-tint", style: `--bl-light:${light};--bl-dark:${dark}` });
}

function scale([low, high], log, from, to) {
  const f = log ? Math.log10 : (value) => value;
  const stretch = (to - from) / (f(high) - f(low) || 1);
  return (value) => value === null ? NaN : from + (f(value) - f(low)) * stretch;
}

// Round numbers within a range, `about` so many, with the text to show for each.
function ticks([low, high], log, about) {
  if (log && high / low >= 10) return logTicks(low, high, about);
  const rough = (high - low) / Math.max(2, about), power = 10 ** Math.floor(Math.log10(rough));
  const off = (step) => Math.abs(Math.log(step / rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).reduce((best, s) => off(s) < off(best) ? s : best);
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  const decimals = [0, 1, 2, 3, 4, 5, 6].find((d) => Math.abs(step - step.toFixed(d)) < step * 1e-6) ?? 6;
  return Array.from({ length: last - first + 1 }, (_, i) => {
    const value = (first + i) * step;
    return { value, text: Math.abs(high) >= 10000 ? short(value) : value.toFixed(decimals).replace("-", "−") };
  });
}

function logTicks(low, high, about) {
  const decades = Math.log10(high / low), steps = decades > 2 ? [1] : [1, 2, 5], every = Math.ceil(decades / Math.max(2, about));
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += every) {
    for (const m of steps) {
      const value = m * 10 ** power;
      if (value >= low * 0.999 && value <= high * 1.001) found.push({ value, text: short(value) });
    }
  }
  return found;
}

const short = (value) => Math.abs(value) >= 1000 || value === 0
  ? new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(value).replace("K", "k")
  : String(Number(value.toPrecision(3)));

function wrap(text, width) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (lines.at(-1) && measure(longer) > width) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

const measure = (text) => pen.measureText(text).width;
const drawable = (point) => point !== undefined && Number.isFinite(point[0]) && Number.isFinite(point[1]);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const round = (value) => Math.round(value * 10) / 10;

export default { render, stand };
