"""Progress of long work: a bar on a terminal, lines in a log, nothing in a notebook."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

REPORT = 10.0  # seconds between lines in a log

Tick = Callable[[int], None]


@contextmanager
def ticking(total: int, name: str, wanted: bool | None = None) -> Iterator[Tick]:
    """Yield a function that is told of each few steps done. `wanted` overrides the silence in a notebook."""
    if wanted is False or (wanted is None and _in_notebook()):
        yield lambda n: None
    elif sys.stderr.isatty():
        yield from _bar(total, name)
    else:
        yield _lines(total, name)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _bar(total: int, name: str) -> Iterator[Tick]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=total)
        yield lambda n: bar.advance(task, n)


def _lines(total: int, name: str) -> Tick:
    done, said = 0, time.monotonic()

    def tick(n: int) -> None:
        nonlocal done, said
        done += n
        if n and (done == total or time.monotonic() - said > REPORT):
            print(f"{name}: {done} of {total} points", file=sys.stderr, flush=True)
            said = time.monotonic()

    return tick
