"""What a chapter's notebook imports: plot theme, explorer, source display, cards, tables.

What a chapter's notebook needs can be imported from here. It is loaded when it is asked for: the command line builds
pages without drawing anything.
"""

from typing import Any

__all__ = [
    "PALETTE",
    "Cells",
    "Explorer",
    "Histogram",
    "Marker",
    "Panel",
    "Points",
    "Readout",
    "Series",
    "Shade",
    "Slider",
    "claims_table",
    "label_lines",
    "label_points",
    "log_axes",
    "need",
    "published_table",
    "run_card",
    "show",
    "show_figure",
    "subplots",
    "use_theme",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # statements, not importlib: the digest of what a notebook depends on follows them
    from . import cards, carried, explorer, missing, source, theme

    found = next(
        module for module in (explorer, source, theme, cards, carried, missing) if hasattr(module, name)
    )
    return getattr(found, name)
