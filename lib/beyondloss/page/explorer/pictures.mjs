// Small pictures with a name below: grey ones of hexadecimal digits, coloured ones from their address of data.

PAINTERS.pictures = (svg, { names, size, columns, colour, pixels }, data) => {
  const pictures = data.at(pixels), tile = 58, step = Math.min(84, svg.clientWidth / columns);
  svg.replaceChildren(...names.map((name, i) => {
    const group = node("g", { transform: `translate(${round((i % columns) * step)} ${82 * Math.floor(i / columns)})` });
    const href = colour ? pictures[i] : grey(pictures.slice(i * size * size, (i + 1) * size * size), size);
    group.append(node("image", { class: "bl-picture", href, width: tile, height: tile }));
    group.append(label(name, tile / 2, tile + 15, { class: "bl-tick", "text-anchor": "middle" }));
    return group;
  }));
};

// A square grey picture of hexadecimal digits, as an address of data.
function grey(digits, size) {
  const canvas = Object.assign(document.createElement("canvas"), { width: size, height: size });
  const context = canvas.getContext("2d"), image = context.createImageData(size, size);
  [...digits].forEach((digit, i) => image.data.set([17, 17, 17, 0].map((unit, j) => j < 3 ? unit * parseInt(digit, 16) : 255), 4 * i));
  context.putImageData(image, 0, 0);
  return canvas.toDataURL();
}
