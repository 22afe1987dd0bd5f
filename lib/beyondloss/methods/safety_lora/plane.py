"""The points of LoRA on the grid of chapter 8's explorer: rank, rule of alpha, learning rate and merging scale."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from beyondloss.methods.safety_lora.arms import ALPHAS, RANKS
from beyondloss.methods.safety_lora.experiments import COMPARED, rates
from beyondloss.methods.safety_lora.fronts import SPECTRUM
from beyondloss.methods.safety_lora.measures import counting, with_merges
from beyondloss.methods.safety_lora.tables import ranked

STEPS = tuple(range(-2, 5))  # quarters of a decade from the rate at which an arm was expected to refuse
SCALES = (0.25, 0.5, 0.75, 1.0)
SHOWN = ("refusal", "kept", "reasoning", "benign_right", "row_overlap", "column_overlap", "stable_rank")


@dataclass(frozen=True)
class Plane:
    """Means over the seeds that count, [rank, rule, step, scale]; gaps where nothing was measured.

    Rates depend on the arm, [rank, rule, step]; spectra have one axis more. Updates are merged at scales below 1 for
    rank 16 only, and what describes the update does not depend on the scale, but for the spectrum.
    """

    metrics: dict[str, Float[np.ndarray, "rank rule step scale"]]
    rates: Float[np.ndarray, "rank rule step"]
    spectrum: Float[np.ndarray, "rank rule step scale value"]


def grid_rates(arm: str) -> list[float]:
    """An arm's learning rates in quarters of a decade, one a step."""
    return rates(arm)[:: 2 if arm in COMPARED else 1]


def plane(table: pd.DataFrame) -> Plane:
    """The explorer's values from the points of `fronts`."""
    means = by_setting(table)
    shape = len(RANKS), len(ALPHAS), len(STEPS)
    found = {name: np.full((*shape, len(SCALES)), np.nan) for name in SHOWN}
    chosen, spectrum = np.zeros(shape), np.full((*shape, len(SCALES), SPECTRUM), np.nan)
    for i, rank in enumerate(RANKS):
        for j, rule in enumerate(ALPHAS):
            arm = ranked(rank, rule)
            chosen[i, j] = grid_rates(arm)
            for k, lr in enumerate(chosen[i, j]):
                for s, scale in enumerate(SCALES):
                    row = means.get((arm, lr, scale))
                    if row is None:
                        continue
                    for name in SHOWN:
                        found[name][i, j, k, s] = row.get(name, np.nan)
                    spectrum[i, j, k, s] = scale * means[arm, lr, 1.0]["spectrum"]
    return Plane(found, chosen, spectrum)


def by_setting(table: pd.DataFrame) -> dict[tuple[str, float, float], dict]:
    """(arm, rate, scale) -> mean of every metric over the seeds that count."""
    rows = counting(table).assign(scale=1.0)
    found = mean_of(rows[rows["arm"].str.startswith("LoRA")])
    merged = with_merges(counting(table))
    merged = merged[merged["merged"].str.startswith("scale") & (merged["arm"] == "LoRA 16")]
    for (arm, lr, scale), row in mean_of(
        merged.assign(scale=merged["merged"].str.removeprefix("scale ").astype(float))
    ).items():
        whole = found[arm, lr, 1.0]
        found[arm, lr, scale] = {name: whole[name] for name in SHOWN if name not in row} | row
    return found


def mean_of(rows: pd.DataFrame) -> dict[tuple[str, float, float], dict]:
    """(arm, rate, scale) -> means; of the spectrum value by value."""
    found = {}
    for key, group in rows.groupby(["arm", "lr", "scale"]):
        found[key] = {name: group[name].astype(float).mean() for name in SHOWN if name in group}
        if "spectrum" in group:
            found[key]["spectrum"] = mean_spectrum(group["spectrum"].dropna())
    return found


def mean_spectrum(spectra: Iterable[list[float]]) -> Float[np.ndarray, " value"]:
    """The mean of lists of singular values; below a thousandth they are rounding, and gaps."""
    kept = [values for values in spectra if len(values) == SPECTRUM]
    if not kept:
        return np.full(SPECTRUM, np.nan)
    mean = np.mean(kept, axis=0)
    return np.where(mean > 1e-6 * mean[0], mean, np.nan)
