"""What the reader is told when something cannot go on: one line that names it and the way out."""

from beyondloss.choices import BadInput as BadInput
from beyondloss.choices import choose as choose


class DamagedFile(BadInput):
    """A results file is truncated or was edited by hand."""


class NotEnough(BadInput):
    """This machine has fewer GPUs, less memory or less disk than the work is predicted to need."""


class MissingPoints(LookupError):
    """A table has too few points for what a claim measures or a figure draws."""


class Failed(RuntimeError):
    """Some of the work failed; what was finished is kept. The command line exits with 1."""


class SweepFailed(Failed):
    """Some points could not be measured; the others are stored.

    `failures` maps each failed point to its traceback.
    """

    def __init__(self, message: str, failures: dict | None = None):
        super().__init__(message)
        self.failures = failures or {}
