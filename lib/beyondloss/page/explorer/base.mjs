// Draws an explorer. Used as it is by anywidget in JupyterLab and by the site, which gives it a model of six lines. The
// page's skeleton (sliders, titles, empty drawings of fixed height) is there before this runs, so nothing moves when it
// does. All scripts of this folder become one, in one scope, this one first: each kind of panel adds itself to PAINTERS,
// each mark of a plot to MARKS.

const SVG = "http://www.w3.org/2000/svg";
const LINE = 16; // pixels from one line of text to the next
const MOVES = /^(Arrow|Page|Home|End)/;
const pen = document.createElement("canvas").getContext("2d");
const PAINTERS = {}; // kind of panel -> (svg or pre, its state, data) => draws it
const MARKS = {}; // mark of a plot -> (its state, data, x, y, frame) => a group

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
      paint(panel.querySelector("svg, pre"), spec, data);
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

function paint(element, spec, data) {
  if (element instanceof SVGElement && !element.clientWidth) return; // not in view yet: the resize observer calls again
  const font = getComputedStyle(element);
  pen.font = `600 ${font.fontSize} ${font.fontFamily}`;
  PAINTERS[spec.kind](element, spec, data);
}

// ---- the site ----------------------------------------------------------------------------------------------------

// Every explorer of the page, once. Heavy data come from a script of their own when the explorer comes into view.
function standAll() {
  for (const root of document.querySelectorAll(".bl-explorer[id]:not([data-stands])")) {
    root.dataset.stands = "";
    stand(root, JSON.parse(root.querySelector("script[type='application/json']").textContent));
  }
}

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

// A script of the same origin: a page from disk may load no other kind of file.
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
    at: (number) => answer()?.data ? answer().data[number] : onTheGrid(number), // a gap of the kernel's is null
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

// ---- drawing      ----------------------------------------------------------------------------------------------

function node(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    const places = key.endsWith("opacity") ? 3 : 1; // a tenth of a pixel, but colours are finer
    made.setAttribute(key, typeof value === "number" ? Number(value.toFixed(places)) : value);
  }
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
  : String(Number(value.toPrecision(3))).replace("-", "−");

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
