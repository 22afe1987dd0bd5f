"""Where results lie: the committed files of a checkout, and the journal of points measured here."""

import os
from pathlib import Path

from beyondloss.experiment.errors import BadInput


def root() -> Path | None:
    """Root of the book's checkout (`BEYONDLOSS_ROOT` overrides), None if the package lies elsewhere. BadInput."""
    if named := os.environ.get("BEYONDLOSS_ROOT"):
        if not Path(named).is_dir():
            raise BadInput(
                f"BEYONDLOSS_ROOT names {named!r}, which is no folder: name a checkout of the book, or unset it"
            )
        return Path(named).resolve()
    source = Path(__file__).resolve().parents[2]
    return source.parent if source.name == "lib" and (source.parent / "pyproject.toml").is_file() else None


def data() -> Path | None:
    """Folder of the committed results and of the papers' numbers: of the checkout, else what the package brought."""
    if checkout := root():
        return checkout / "data"
    shipped = Path(__file__).parents[1] / "shipped"
    return shipped if shipped.is_dir() else None


def published(slug: str, scale: str) -> Path | None:
    """The committed results of one chapter at one scale; None where there are no data at all."""
    return data() / "results" / slug / f"{scale}.json" if data() else None


def journal() -> Path:
    """Folder of the points measured on this machine: `BEYONDLOSS_STORE`, `.store` of the checkout or a cache."""
    if named := os.environ.get("BEYONDLOSS_STORE"):
        return Path(named).resolve()
    if checkout := root():
        return checkout / ".store"
    from platformdirs import user_cache_path

    return user_cache_path("beyondloss")
