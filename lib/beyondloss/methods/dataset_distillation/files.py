"""Distilled sets as they are published, read from files without executing anything in them (chapter 6, section 9)."""

import codecs
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Num
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

# of the entries of a file, in order of preference
IMAGES = ("images", "image", "x", "data")
LABELS = ("labels", "label", "y")
PICTURES = (".png", ".jpg", ".jpeg")


def load_distilled(
    path: str | Path, labels: str | Path | None = None
) -> tuple[Num[Tensor, "image channel height width"], Tensor | None]:
    """Images and labels of a published distilled set; nothing in its files is executed.

    path: a file, .safetensors, .npz, .npy, .pt or .pth, with entries as IMAGES and LABELS call them, or with a pair of
        images and labels; or with `data`, a list of such pairs, as the code of DC, DSA and DM saves it, whose first is
        taken; or with the images alone. Or a folder with a folder of pictures a class, as the code of SRe2L saves
        them: its pixels go from 0 to 255, its classes are the folders in order of name (of number, if all are).
    labels: a file with the labels alone, as MTT's code saves them.

    Labels are None where there are none. ValueError for what is no such set.
    """
    path = Path(path)
    if path.is_dir():
        return from_folder(path)
    images, given = entries(read(path), path)
    if labels:
        given = read(Path(labels))
        given = (
            next((given[name] for name in LABELS if name in given), given)
            if isinstance(given, dict)
            else given
        )
    images, given = as_tensor(images, "images", path), as_tensor(given, "labels", Path(labels or path))
    if images is None or images.dim() != 4:
        shape = None if images is None else list(images.shape)
        raise ValueError(f"{path}: images must be [image, channel, height, width], not {shape}")
    return images, given


def entries(found: Any, path: Path) -> tuple[Any, Any]:
    """Images and labels among what a file holds."""
    if isinstance(found, dict):
        image = next((name for name in IMAGES if name in found), None)
        if image is None:
            wanted = ", ".join(f"`{name}`" for name in IMAGES)
            raise ValueError(f"{path} has no entry {wanted}, only {', '.join(map(str, found)) or 'nothing'}")
        if image != "data" or not isinstance(found[image], (list, tuple)):
            return found[image], next((found[name] for name in LABELS if name in found), None)
        found = found[image][0] if found[image] else None
    if isinstance(found, (list, tuple)) and len(found) == 2:
        return found[0], found[1]
    return found, None


def as_tensor(value: Any, what: str, path: Path) -> Tensor | None:
    """An array, or a list of equal ones, as a tensor; ValueError for anything else."""
    try:
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], Tensor):
            return torch.stack(tuple(value))
        return None if value is None else torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: {what} are no array, but {type(value).__name__}") from error


def from_folder(folder: Path) -> tuple[Num[Tensor, "image channel height width"], Tensor]:
    """A folder of pictures a class; ValueError where pictures are missing or differ in size."""
    from PIL import Image

    pictures = {place.name: pictures_in(place) for place in folder.iterdir() if place.is_dir()}
    names = [
        name for name, found in pictures.items() if found
    ]  # __MACOSX and .ipynb_checkpoints are no classes
    ordered = sorted(names, key=int if all(map(str.isdecimal, names)) else str)
    files = [(label, file) for label, name in enumerate(ordered) for file in pictures[name]]
    if not files:
        raise ValueError(f"{folder} has no folders of pictures ({', '.join(PICTURES)}), one a class")
    arrays = [np.array(in_plain_mode(Image.open(file))) for _, file in files]
    if len(shapes := {array.shape for array in arrays}) > 1:
        raise ValueError(
            f"{folder}: pictures must have one size and mode, not {', '.join(map(str, sorted(shapes)))}"
        )
    images = torch.from_numpy(np.stack(arrays))
    images = images[:, None] if images.dim() == 3 else images.permute(0, 3, 1, 2)
    return images.contiguous(), torch.tensor([label for label, _ in files])


def in_plain_mode(picture: "Image") -> "Image":
    """A picture whose numbers are pixels: one with a palette holds places in it, one of bits truth values."""
    return picture.convert({"P": "RGB", "PA": "RGBA", "1": "L"}.get(picture.mode, picture.mode))


def pictures_in(place: Path) -> list[Path]:
    """The pictures of one class in order of name; hidden files and folders have none."""
    if place.name.startswith((".", "__")):
        return []
    return [f for f in sorted(place.iterdir()) if f.suffix.lower() in PICTURES and not f.name.startswith(".")]


def read(path: Path) -> Any:
    """What a file of tensors holds; ValueError for other files, and for what would run code."""
    readers: dict[str, Callable] = {
        ".safetensors": _safetensors,
        ".npz": _npz,
        ".npy": _npy,
        ".pt": _torch,
        ".pth": _torch,
    }
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    if path.suffix.lower() not in readers:
        raise ValueError(
            f"{path}: distilled sets are read from {', '.join(readers)}, or from a folder of pictures"
        )
    try:
        return readers[path.suffix.lower()](path)
    except Exception as error:  # each format has its own; what they mean to the reader is one thing
        raise ValueError(
            f"{path} is damaged or holds more than arrays, which is not read: save images and labels alone, as "
            "torch.save({'images': images, 'labels': labels}, path) does"
        ) from error


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as found:
        return dict(found)


def _npy(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False)


def _torch(path: Path) -> Any:
    """Tensors, and arrays and numbers of numpy, which published files have beside them or in their place."""
    multiarray = np._core.multiarray
    numpy = [
        (function, f"numpy.{core}.multiarray.{function.__name__}")
        for function in (multiarray.scalar, multiarray._reconstruct)
        for core in ("core", "_core")
    ]
    kinds = [type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["Float"] + "?"]
    with torch.serialization.safe_globals([*numpy, np.ndarray, np.dtype, *kinds, codecs.encode]):
        return torch.load(path, map_location="cpu", weights_only=True)
