"""The letters of the pages, made from fonts that packages carry, so that the book looks the same on every machine.

Each face is cut down to the characters that the book may need and packed as woff2. What is cut may not keep the name
of the original (SIL Open Font License, reserved font name): book.css calls them Book Sans, Book Serif and Book Mono.
"""

from __future__ import annotations

import hashlib
import shutil
from importlib.util import find_spec
from pathlib import Path

from beyondloss.experiment.errors import BadInput

# file of the site -> package, file in it
FACES = {
    "book-sans.woff2": ("font_source_sans_pro", "files/SourceSansPro-Regular.ttf"),
    "book-sans-italic.woff2": ("font_source_sans_pro", "files/SourceSansPro-It.ttf"),
    "book-sans-bold.woff2": ("font_source_sans_pro", "files/SourceSansPro-Semibold.ttf"),
    "book-sans-bold-italic.woff2": ("font_source_sans_pro", "files/SourceSansPro-SemiboldIt.ttf"),
    "book-serif-bold.woff2": ("font_source_serif_pro", "files/SourceSerifPro-Semibold.ttf"),
    "book-mono.woff2": ("matplotlib", "mpl-data/fonts/ttf/DejaVuSansMono.ttf"),
    "book-mono-bold.woff2": ("matplotlib", "mpl-data/fonts/ttf/DejaVuSansMono-Bold.ttf"),
}
LICENCES = {
    "LICENSE-sans.txt": ("font_source_sans_pro", "files/LICENSE.txt"),
    "LICENSE-serif.txt": ("font_source_serif_pro", "files/LICENSE.txt"),
    "LICENSE-mono.txt": ("matplotlib", "mpl-data/fonts/ttf/LICENSE_DEJAVU"),
}
CHARACTERS = [
    (0x20, 0x7E),  # ASCII
    (0xA0, 0x17F),  # Latin of western and central Europe
    (0x2B0, 0x36F),  # accents
    (0x370, 0x3FF),  # Greek
    (0x2010, 0x2044),  # dashes, quotation marks
    (0x2070, 0x209C),  # raised and lowered
    (0x20AC, 0x20AC),  # euro
    (0x2100, 0x214F),  # letters of mathematics
    (0x2190, 0x21FF),  # arrows
    (0x2200, 0x22FF),  # operators
    (0x2300, 0x2329),  # floors, ceilings
    (0x2500, 0x25FF),  # boxes, blocks, shapes: what a text figure is drawn with
    (0x2713, 0x2718),  # tick, cross
]


def write(folder: Path, cache: Path) -> None:
    """Put every face and the licences into `folder`; `cache` keeps them from one build to the next."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (package, file) in FACES.items():
        source = _installed(package, file)
        made = cache / f"{_key(source)}-{name}"
        if not made.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            _cut(source, made)
        shutil.copy2(made, folder / name)
    for name, (package, file) in LICENCES.items():
        shutil.copy2(_installed(package, file), folder / name)


def _key(source: Path) -> str:
    """Digest of what a cut font is made from: the installed one, and this module, which says how."""
    digest = hashlib.sha256(source.read_bytes() + Path(__file__).read_bytes())
    return digest.hexdigest()[:12]


def _installed(package: str, file: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise BadInput(f"the pages need {package}: pip install -e '.[book]'")
    return Path(spec.origin).parent / file


def _cut(source: Path, target: Path) -> None:
    """The font at `source` with the characters of the book only, as woff2 and without its name, at `target`."""
    from fontTools import subset

    options = subset.Options(flavor="woff2", obfuscate_names=True, hinting=False)
    options.drop_tables += ["FFTM"]  # dates of the font editor
    options.layout_features += ["tnum", "lnum"]  # figures that stand in columns
    cutter = subset.Subsetter(options)
    wanted: set[int] = set()
    for first, last in CHARACTERS:
        wanted.update(range(first, last + 1))
    cutter.populate(unicodes=wanted)
    with subset.load_font(source, options) as font:
        cutter.subset(font)
        subset.save_font(font, str(target), options)
