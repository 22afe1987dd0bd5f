"""The book's chapters, found in the methods that define `CHAPTER`."""

from importlib import import_module
from pkgutil import iter_modules

from beyondloss.experiment import Chapter, choose


def chapters() -> list[Chapter]:
    """Every chapter of the book in order."""
    methods = import_module("beyondloss.methods")
    modules = [import_module(f"beyondloss.methods.{found.name}") for found in iter_modules(methods.__path__)]
    return sorted((m.CHAPTER for m in modules if hasattr(m, "CHAPTER")), key=lambda chapter: chapter.number)


def chapter(name: str | int) -> Chapter:
    """The chapter called `name`: "3", "03", "masked_diffusion" or "03_masked_diffusion". BadInput if none is."""
    book = chapters()
    wanted = str(int(name)) if str(name).isdigit() else str(name)
    known = {alias: c for c in book for alias in (str(c.number), c.slug, c.name)}
    if wanted not in known:
        choose("chapter", str(name), [c.slug if str(name)[:1].isalpha() else c.name for c in book])
    return known[wanted]
