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
  window.addEventListener("resize", reach);
  window.addEventListener("load", () => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(reach));
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
