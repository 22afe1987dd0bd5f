// Text samples: masks are empty boxes, what differs from the slider's previous value is lit up.

PAINTERS.text = (pre, { texts, mask, along }, data) => {
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
};
