"""The arithmetic experiment at the learning rates that were tuned for each arm (chapter 2, section 9).

The procedure, the same for every arm: of the rates of the experiment `tuning` take the one with the highest mean
accuracy on the fifth of the digits that is set apart for tuning, over both budgets and seeds that are not used
otherwise. A test holds this table against the stored points.
"""

from collections.abc import Sequence
from dataclasses import replace

from beyondloss.methods.simplicity_bias.arithmetic import ArithmeticPoint, run_arithmetic

TUNED = {
    "adamw, as given": 0.003,
    "adamw, late x2": 0.003,
    "adamw, random x2": 0.003,
    "adamw, early x2": 0.003,
    "adamw, hard tasks x2": 0.003,
    "adamw, late varied": 0.003,
    "adamw, random varied": 0.003,
    "adamw, longer": 0.003,
    "adamw, twice as long": 0.003,
    "muon, as given": 0.01,
    "muon, late x2": 0.01,
    "muon, random x2": 0.01,
    "muon, early x2": 0.01,
    "muon, hard tasks x2": 0.01,
    "muon, late varied": 0.01,
    "muon, random varied": 0.01,
    "muon, longer": 0.01,
    "sam, as given": 0.003,
    "sam, late x2": 0.003,
}


def run_finetuning(points: Sequence[ArithmeticPoint]) -> list[dict]:
    """As `run_arithmetic`, each arm at its own rate where the point names none."""
    return run_arithmetic([point if point.lr else replace(point, lr=TUNED[point.arm]) for point in points])
