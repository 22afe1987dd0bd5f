"""Images and labels in the IDX files of MNIST and of the sets that took its format over."""

import gzip
import zlib
from pathlib import Path

import numpy as np

UNSIGNED_BYTE = 8


def read_idx(path: str | Path) -> np.ndarray:
    """The array of bytes in an IDX file, gzipped or not; ValueError for a damaged file or another type of numbers."""
    path = Path(path)
    try:
        content = gzip.decompress(raw) if (raw := path.read_bytes())[:2] == b"\x1f\x8b" else raw
        zero, kind, dimensions = int.from_bytes(content[:2], "big"), content[2], content[3]
        start = 4 + 4 * dimensions
        shape = np.frombuffer(content[4:start], ">i4")
        array = np.frombuffer(content[start:], np.uint8).reshape(shape)
    except (OSError, EOFError, zlib.error, IndexError, ValueError) as error:
        raise ValueError(
            f"{path.name} is no IDX file, or not a whole one: install or copy it again"
        ) from error
    if (zero, kind) != (0, UNSIGNED_BYTE):
        raise ValueError(
            f"{path.name} holds numbers of type {kind:#04x}, only bytes ({UNSIGNED_BYTE:#04x}) are read"
        )
    return array
