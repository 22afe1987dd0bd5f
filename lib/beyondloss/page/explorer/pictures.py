"""A panel of small pictures, in grey or in colour."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from beyondloss.page.explorer.grid import Drawn, Grid, Row, Values
from beyondloss.page.explorer.panel import Data, Kind, Readout, State

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUALITY = 85  # of pictures in colour, as WebP counts it


@dataclass(frozen=True)
class PicturesPanel(Kind):
    """Square pictures, named below, `columns` in a row.

    `pixels` in grey: text [*grid], of each picture row by row one hexadecimal digit a pixel, "0" black and "f" white,
    `size` pixels a side. In colour: an array [*grid, pictures, size, size, 3] of bytes (uint8), kept as WebP.

    A function of sliders gives either, the same kind at every setting.
    """

    title: str
    names: Sequence[str]
    pixels: Values
    size: int
    over: Sequence[str] | None = None
    columns: int = 5
    readouts: Sequence[Readout] = ()
    description: str = ""

    kind = "pictures"

    @property
    def summary(self) -> str:
        return f"{self.title}: {len(self.names)} pictures"

    @property
    def height(self) -> int:
        return 82 * -(-len(self.names) // self.columns)

    def state(self, grid: Grid) -> dict[str, Any]:
        owner, count = f"pictures {self.title!r}", len(self.names)
        text = not callable(self.pixels) and np.asarray(self.pixels).dtype.kind == "U"
        pixels = grid.add(owner, self.pixels, self.over, 0 if text else 4, self._packed)
        colour = isinstance(grid.cells(pixels)[0], list)
        wanted = count if colour else count * self.size**2
        for cell in grid.cells(pixels):
            if isinstance(cell, list) != colour:
                raise ValueError(f"{owner}: text at one setting and bytes at another")
            if len(cell) != wanted:
                what = f"{count} of them" if colour else f"{wanted} pixels"
                raise ValueError(f"{owner}: {count} pictures, so {what} at every setting")
        return {
            "pixels": pixels,
            "names": list(self.names),
            "size": self.size,
            "columns": self.columns,
            "colour": colour,
        }

    def _packed(self, pixels: Any) -> str | list[str]:
        """What the page keeps of the pictures at one setting: their digits, or each one's address of data."""
        pixels = np.asarray(pixels)
        if pixels.dtype.kind == "U" and not pixels.ndim:
            return str(pixels)
        size = self.size
        if pixels.dtype == np.uint8 and pixels.ndim == 4 and pixels.shape[1:] == (size, size, 3):
            return webp(pixels)
        raise ValueError(
            f"pictures {self.title!r}: {pixels.dtype} of shape {pixels.shape}; give text, a digit a pixel, "
            f"or bytes (uint8) of shape (pictures, {size}, {size}, 3)"
        )

    def drawn(self, state: State) -> Iterator[Drawn]:
        def pictures(pixels: str | list[str]) -> Iterator[Row]:
            for name, picture in zip(state["names"], self._one_by_one(pixels), strict=True):
                yield {"series": name, "value": picture}

        yield Drawn("picture", "", {"pixels": state["pixels"]}, pictures)

    def draw(self, ax: Axes, state: State, data: Data) -> None:
        columns, count = state["columns"], len(state["names"])
        pictures = self._one_by_one(data[state["pixels"]])
        for i, (name, picture) in enumerate(zip(state["names"], pictures, strict=True)):
            left, top = 1.25 * (i % columns), 1.5 * (i // columns)
            ax.imshow(
                self._array(picture), cmap="gray", vmin=0, vmax=15, extent=(left, left + 1, top + 1, top)
            )
            ax.text(left + 0.5, top + 1.08, name, ha="center", va="top", fontsize=8)
        ax.set(xlim=(0, 1.25 * min(columns, count)), ylim=(1.5 * -(-count // columns), 0))
        ax.set_axis_off()

    def _one_by_one(self, pixels: str | list[str]) -> list[str]:
        """Each picture's own text: hexadecimal digits, or the address of its data."""
        if isinstance(pixels, list):
            return pixels
        step = self.size**2
        return [pixels[i : i + step] for i in range(0, len(pixels), step)]

    def _array(self, picture: str) -> np.ndarray:
        if not picture.startswith("data:"):
            return np.array([int(digit, 16) for digit in picture]).reshape(self.size, self.size)
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))))


def webp(pictures: UInt8[np.ndarray, "picture height width 3"]) -> list[str]:
    """Each picture as an address that holds its data."""
    from PIL import Image

    addresses = []
    for picture in pictures:
        packed = io.BytesIO()
        Image.fromarray(picture).save(packed, "webp", quality=QUALITY)
        addresses.append("data:image/webp;base64," + base64.b64encode(packed.getvalue()).decode("ascii"))
    return addresses
