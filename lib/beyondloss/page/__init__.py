"""What a chapter's notebook imports: plot theme, explorer, source display, cards, tables.

What a chapter's notebook needs can be imported from here. It is loaded when it is asked for: the command line builds
pages without drawing anything.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # and for the stamp of a notebook's outputs, which follows these imports name by name
    from .cards import claims_table, published_table, run_card
    from .carried import show_figure
    from .explorer import Cells, Explorer, Histogram, Marker, Panel, Points, Readout, Series, Shade, Slider
    from .missing import need, subplots
    from .source import show
    from .theme import PALETTE, label_lines, label_points, log_axes, use_theme

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
    from . import cards, carried, explorer, missing, source, theme

    found = next(
        module for module in (explorer, source, theme, cards, carried, missing) if hasattr(module, name)
    )
    return getattr(found, name)
