"""Interactive figures that need no kernel and no server.

An explorer is an `anywidget` whose values over a grid of sliders are computed ahead. In JupyterLab it is live: a slider
that has a `step` moves between the grid's values, and the kernel calls the functions behind the curves. On the site
the same script draws the same state, which the notebook's output carries in its metadata, and sliders snap to the grid.
For print, and for readers without scripts, there is the plain figure, drawn by matplotlib at the sliders' start.

Wherever values are asked for, one of three will do: a constant; an array over the grid, [*grid, ...] with one leading
axis a slider (all of them, or those that `over` names, in that order); or a function whose arguments are named like
the sliders that it depends on. Functions are computed over the grid for the page, and called off the grid where there
is a kernel.

`widget`    the explorer
`slider`    its sliders
`grid`      values over the sliders' grid
`panel`     what every kind of panel is
`plot`, `text`, `heat`, `bars`, `pictures`, `graph`    the kinds, each with its script
`marks`     what stands in a plot
`skeleton`  the HTML
`figure`    the plain figure
"""

from beyondloss.page.explorer.marks import Cells, Histogram, Marker, Points, Series, Shade
from beyondloss.page.explorer.panel import Readout
from beyondloss.page.explorer.plot import Panel
from beyondloss.page.explorer.slider import Slider
from beyondloss.page.explorer.widget import HEAVY, LIMIT, Explorer

__all__ = [
    "HEAVY",
    "LIMIT",
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
]
