// Small comforts of a page: copy buttons at commands and citations, and a preview of what a link leads to.
// Without this script everything is readable and every link works.

(() => {
  // ---- copy ------------------------------------------------------------------------------------------------------

  function addCopyButton(code) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "bl-copy", textContent: "Copy" });
    button.setAttribute("aria-label", `Copy ${code.matches("pre") ? "the citation" : code.textContent}`);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    code.after(button);
  }

  // ---- previews --------------------------------------------------------------------------------------------------

  const PREVIEWED = "article a.reference.internal[href*='#'], article a.bl-term";
  const pages = new Map(); // address of a page -> its document, asked for once

  const preview = Object.assign(document.createElement("div"), { className: "bl-preview", id: "bl-preview", hidden: true });
  preview.setAttribute("role", "tooltip");
  let waiting = 0, shownFor = null;

  async function target(link) {
    const address = new URL(link.href), here = new URL(location);
    const same = address.pathname === here.pathname;
    if (!same && !pages.has(address.pathname)) {
      pages.set(address.pathname, fetch(address.pathname).then((answer) => answer.text())
        .then((text) => new DOMParser().parseFromString(text, "text/html")));
    }
    const page = same ? document : await pages.get(address.pathname);
    return piece(page.getElementById(decodeURIComponent(address.hash.slice(1))));
  }

  // What of a page stands for an anchor: a theorem, an equation, a definition, an entry; not a whole section.
  function piece(found) {
    if (!found) return null;
    if (found.matches("dt")) return joined(found, found.nextElementSibling);
    if (found.matches("section")) return joined(...[...found.children].filter((child) => !child.matches("span")).slice(0, 2));
    if (found.matches("span:empty, span.target") || found.matches("tr > td span")) return found.closest("tr") ?? found.nextElementSibling;
    return found;
  }

  function joined(...parts) {
    const whole = document.createElement("div");
    parts.filter(Boolean).forEach((part) => whole.append(part.cloneNode(true)));
    return whole;
  }

  async function show(link) {
    const found = await target(link).catch(() => null);
    if (!found || shownFor !== link) return;
    const copy = found.cloneNode(true);
    copy.querySelectorAll("script, .headerlink, .bl-copy, .copybtn, .bl-proof-links").forEach((part) => part.remove());
    [copy, ...copy.querySelectorAll("[id]")].forEach((part) => part.removeAttribute("id"));
    preview.replaceChildren(copy);
    preview.hidden = false;
    link.setAttribute("aria-describedby", preview.id);
    place(link);
    if (!copy.querySelector("mjx-container")) await window.MathJax?.typesetPromise?.([preview]);
    if (shownFor === link) place(link);
  }

  function place(link) {
    const at = link.getBoundingClientRect(), size = preview.getBoundingClientRect(), gap = 8;
    const below = at.bottom + gap + size.height < innerHeight || at.top < size.height + gap;
    preview.style.left = `${scrollX + Math.max(gap, Math.min(at.left, document.documentElement.clientWidth - size.width - gap))}px`;
    preview.style.top = `${scrollY + (below ? at.bottom + gap : at.top - size.height - gap)}px`;
  }

  function hide() {
    clearTimeout(waiting);
    shownFor?.removeAttribute("aria-describedby");
    shownFor = null;
    preview.hidden = true;
  }

  function ask(link, milliseconds) {
    if (shownFor === link) return clearTimeout(waiting);
    hide();
    shownFor = link;
    waiting = setTimeout(() => show(link), milliseconds);
  }

  function leave() {
    clearTimeout(waiting);
    waiting = setTimeout(hide, 200);
  }

  // ---- a formula wider than its place is broken into lines, where one breaks them by hand --------------------------

  // Levels of places to break at, from the best to the last resort; a formula gets no more of them than it needs.
  const BREAKS = [
    { at: /^\\q?quad(?![a-zA-Z])/, dropped: true },
    { at: /^(=|<|>|:=|\\(?:le|ge|leq|geq|approx|sim|propto|to|iff|implies|Rightarrow|equiv)(?![a-zA-Z]))/ },
    { at: /^([+\-]|\\(?:pm|cdot|times)(?![a-zA-Z]))/ },
    { at: /^([+\-,]|\\(?:pm|cdot|times)(?![a-zA-Z]))/, inBrackets: true }, // of the outermost brackets
  ];
  const SMALL = 0.8, SMALLEST = 0.7; // of the size of a formula: before and after the last resort
  const SPACE = 2; // pixels by which the browser's widths may differ

  // The lines of a formula: its own, and those that breaking at all levels below `levels` makes; nothing is broken
  // inside braces, \left…\right or an inner environment, which keeps its rows and columns.
  function linesOf(tex, levels) {
    const lines = [""];
    let closed = 0, brackets = 0;
    for (let i = 0; i < tex.length;) {
      const token = /^(\\(?:begin|end)\{\w+\*?\}|\\\\(?:\[[^\]]*\])?|\\[a-zA-Z]+|\\.|[^])/.exec(tex.slice(i))[0];
      const outside = closed === 0, begun = lines.at(-1).trim() !== "";
      const place = outside && begun && BREAKS.slice(0, levels).find((level) =>
        level.at.test(tex.slice(i)) && (brackets === 0 || (level.inBrackets && brackets === 1)));
      if (/^(\{|\\left$|\\begin)/.test(token)) closed += 1;
      if (/^(\}|\\right$|\\end)/.test(token)) closed -= 1;
      if (/^[([]$/.test(token)) brackets += 1;
      if (/^[)\]]$/.test(token)) brackets -= 1;
      if (outside && token.startsWith("\\\\")) {
        lines.push("");
        brackets = 0;
      } else if (outside && token === "&") {
        lines[lines.length - 1] += " "; // a place of alignment; the lines get one of their own
      } else if (place && token === ",") {
        lines[lines.length - 1] += token;
        lines.push("");
      } else if (place) {
        lines.push(place.dropped ? "" : token);
      } else {
        lines[lines.length - 1] += token;
      }
      i += token.length;
    }
    return lines.filter((line) => line.trim());
  }

  function broken(tex, levels) {
    const whole = /^\s*\\begin\{(split|aligned|gathered)\}([^]*)\\end\{\1\}\s*$/.exec(tex); // Sphinx adds a split
    if (whole) return broken(whole[2], levels);
    const lines = linesOf(tex, levels).map((line, i) => `& ${i ? "\\quad " : ""}{}${line}`);
    return `\\begin{aligned}${lines.join("\\\\")}\\end{aligned}`;
  }

  const isWide = (box) => box.scrollWidth > box.clientWidth + SPACE
    || [...box.querySelectorAll("mjx-container")].some((formula) => formula.scrollWidth > formula.clientWidth + SPACE);

  async function set(box, tex) {
    MathJax.typesetClear([box]);
    const number = box.querySelector(".eqno");
    box.replaceChildren(...(number ? [number] : []), `\\[${tex}\\]`);
    await MathJax.typesetPromise([box]);
  }

  async function fit(box) {
    box.bl_tex ??= MathJax.startup.document.getMathItemsWithin(box)[0]?.math;
    if (!box.bl_tex) return;
    if (box.bl_broken) await set(box, box.bl_tex);
    box.style.fontSize = "";
    box.bl_broken = false;
    for (let levels = 1; levels <= BREAKS.length && isWide(box); levels++) {
      if (levels === BREAKS.length && shrink(box, SMALL)) return;
      await set(box, broken(box.bl_tex, levels));
      box.bl_broken = true;
    }
    shrink(box, SMALLEST);
  }

  // Make a formula smaller, but not below `least` of its size, until it fits; say whether it does.
  function shrink(box, least) {
    box.style.fontSize = "";
    for (let size = 0.95; size >= least && isWide(box); size -= 0.05) box.style.fontSize = `${size}em`;
    if (isWide(box)) box.style.fontSize = "";
    return !isWide(box);
  }

  // One pass after the other: a page may be resized while MathJax is still at work, and it works on one thing at a time.
  let fitting = Promise.resolve();
  function fitFormulas() {
    fitting = fitting.then(fitAll);
    return fitting;
  }

  async function fitAll() {
    const page = document.documentElement, width = page.clientWidth;
    if (!window.MathJax?.startup?.document || page.dataset.fitted === String(width)) return;
    for (const box of document.querySelectorAll("article div.math")) {
      if (box.bl_broken || box.style.fontSize || isWide(box)) await fit(box);
    }
    page.dataset.fitted = width;
    reach();
  }

  // ---- what scrolls sideways can be reached by keyboard ----------------------------------------------------------

  function reach() {
    document.querySelectorAll(".pst-scrollable-table-container, .bl-card, article div.math").forEach((box) => {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    });
  }

  // ---- paper is light, whatever the screen is --------------------------------------------------------------------

  let onScreen = null;
  matchMedia("print").addEventListener("change", ({ matches }) => {
    const page = document.documentElement.dataset;
    if (matches) [onScreen, page.theme] = [page.theme, "light"];
    else if (onScreen) page.theme = onScreen;
  });

  // ---- formulas, fonts and explorers move what the address names: stay there until the reader moves ---------------

  function stayAtAddress() {
    const named = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!named) return;
    let quiet;
    const letGo = () => { stay.disconnect(); clearTimeout(quiet); };
    const wait = () => { clearTimeout(quiet); quiet = setTimeout(letGo, 10000); };  // from the last move on
    const stay = new ResizeObserver(() => { named.scrollIntoView({ behavior: "instant" }); wait(); });
    stay.observe(document.body);
    ["wheel", "touchstart", "keydown", "pointerdown"].forEach((act) => addEventListener(act, letGo, { once: true, passive: true }));
  }

  // ---- start -----------------------------------------------------------------------------------------------------

  document.querySelectorAll(".bl-figure code, .bl-cite pre").forEach(addCopyButton);
  document.body.append(preview);
  window.addEventListener("resize", () => { reach(); fitFormulas(); });
  window.addEventListener("load", () => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(reach).then(fitFormulas));
  stayAtAddress();
  if (matchMedia("(hover: hover)").matches && location.protocol !== "file:") {
    document.addEventListener("mouseover", (event) => {
      const link = event.target.closest?.(PREVIEWED);
      if (link) ask(link, 250);
      else if (event.target.closest?.(".bl-preview")) clearTimeout(waiting);
      else if (shownFor) leave();
    });
    document.addEventListener("focusin", (event) => {
      const link = event.target.closest?.(PREVIEWED);
      if (link?.matches(":focus-visible")) ask(link, 250);
      else hide();
    });
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
})();
