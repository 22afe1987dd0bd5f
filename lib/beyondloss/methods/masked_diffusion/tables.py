"""From tables of points to what the figures of chapter 3 draw."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from beyondloss.experiment import paired_interval
from beyondloss.experiment.tables import explode, mean_band, need, select
from beyondloss.methods.masked_diffusion import language, theory, window
from beyondloss.methods.masked_diffusion.masking import MaskRate
from beyondloss.methods.masked_diffusion.measures import at_best_lr, censored, rank_correlation

__all__ = [
    "against_uniform",
    "best_clocks",
    "clock_table",
    "clocks",
    "curves",
    "delay_table",
    "delays",
    "entropy_by_arm",
    "gains_over_label",
    "held_to_the_end",
    "law_properties",
    "learning_times",
    "mass_between",
    "nearest_windows",
    "rank_correlation",
    "rank_correlations",
    "rate_curves",
    "samples",
    "seed_by_seed",
    "signal_share",
    "train_and_held_out",
]


def signal_share(k: int, rate: MaskRate, weighted: bool) -> float:
    """Share of the loss weight on a position of S' that falls on the signal regime (chapter 3, eq. md-share).

    E[w t (1 - t)^k] / E[w t] with w = 1, or w = 1/t.
    """
    if weighted:
        return rate.mean(lambda t: (1 - t) ** k)
    return rate.mean(lambda t: t * (1 - t) ** k) / rate.mean(lambda t: t)


def law_properties(k: int) -> pd.DataFrame:
    """Signal mass and signal share of every arm of the window experiment."""
    rows = []
    for arm, (law, weighted) in window.laws(k).items():
        rows.append(
            {
                "arm": arm,
                "law": law.name,
                "signal mass": theory.signal_mass(k, law),
                "signal share": signal_share(k, law, weighted),
            }
        )
    return pd.DataFrame(rows)


def learning_times(table: pd.DataFrame) -> pd.DataFrame:
    """Steps to 90% (the budget where it was not reached) with the properties of each law."""
    if table.empty:
        return table
    rows = table[["arm", "k", "lr", "seed"]].assign(
        steps=censored(table, "steps_to_90"), reached=table["steps_to_90"].notna()
    )
    laws = pd.concat([law_properties(int(k)).assign(k=k) for k in table["k"].unique()])
    return rows.merge(laws, on=["arm", "k"])


def curves(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """One row an evaluation: settings, `step`, and the curves `names`."""
    keep = [c for c in ("arm", "objective", "samples", "weight_decay", "lr", "seed") if c in table]
    return explode(table, keep, dict.fromkeys(("step", *names), float))


def held_to_the_end(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Curves of `curves`, a run that ended early held at its last value up to the budget.

    A run ends once it has learned; without this the mean over seeds would be that of the slow ones alone.
    """
    ends = [
        row | {"step": row["step"] + [row["steps"]], name: row[name] + [row[name][-1]]}
        if row["step"] and row["step"][-1] < row["steps"]
        else row
        for row in table.to_dict("records")
    ]
    long = curves(pd.DataFrame(ends, columns=table.columns), name)
    grid = np.unique(long["step"])
    settings = [c for c in long.columns if c not in ("step", name)]
    filled = [
        pd.DataFrame(
            dict(zip(settings, key, strict=True))
            | {"step": grid, name: np.interp(grid, run["step"], run[name])}
        )
        for key, run in long.groupby(settings, sort=False)
    ]
    return pd.concat(filled, ignore_index=True) if filled else long


def rate_curves(table: pd.DataFrame) -> pd.DataFrame:
    """CE(t): one row a point and mask rate."""
    rows = table.assign(rate=[list(language.RATES)] * len(table))
    return explode(rows, ["arm", "lr", "seed"], {"rate": float, "cross_entropy": float})


def train_and_held_out(table: pd.DataFrame) -> pd.DataFrame:
    """Both accuracy curves of each run as `accuracy`, told apart by `strings`."""
    kinds = {"train_accuracy": "sample", "held_out_accuracy": "held out"}
    parts = [
        held_to_the_end(table, name).rename(columns={name: "accuracy"}).assign(strings=strings)
        for name, strings in kinds.items()
    ]
    return pd.concat(parts, ignore_index=True)


def clocks(times: pd.DataFrame) -> pd.DataFrame:
    """Law by law at the smallest learning rate: mean steps to 90%, and their product with the signal share."""
    need(times)
    mean = mean_times(times[times["lr"] == times["lr"].min()])
    return mean.assign(product=mean["signal share"] * mean["steps"]).round(3)


def best_clocks(times: pd.DataFrame) -> pd.DataFrame:
    """Mean steps to 90% of each law at its own best learning rate of the grid (the smallest of equally good ones)."""
    need(times)
    return mean_times(times).drop_duplicates("arm", ignore_index=True).round(3)


def clock_table(mean: pd.DataFrame) -> pd.DataFrame:
    """What `clocks` or `best_clocks` found, as a reader is shown it."""
    heads = {"lr": "learning rate", "steps": "steps to 90%", "product": "share times steps"}
    return mean.assign(steps=mean["steps"].round().astype(int)).rename(columns=heads)


def rank_correlations(times: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of the steps to 90% with what orders the laws: at each rate, and each law at its best rate."""
    need(times)
    by_rate = {f"{lr:g}": mean_times(rows) for lr, rows in times.groupby("lr")}
    found = []
    for rate, mean in (by_rate | {"each law's best": best_clocks(times)}).items():
        said = {"learning rate": rate}
        for name in ("signal mass", "signal share"):
            said[f"with the {name}"] = f"{rank_correlation(mean[name], mean['steps']):.2f}"
        found.append(said)
    return pd.DataFrame(found)


def mean_times(times: pd.DataFrame) -> pd.DataFrame:
    """Mean steps to 90% over the seeds, a row a law and learning rate, the fastest first."""
    settings = ["arm", "law", "signal mass", "signal share", "lr"]
    mean = times.groupby(settings, as_index=False)["steps"].mean()
    return mean.sort_values(["steps", "arm", "lr"], ignore_index=True)


def mass_between(k: int, t0: float, t1: float) -> float:
    """Signal mass of the window between two edges, whichever is the lower; of the point where they meet."""
    if abs(t1 - t0) < 1e-9:
        return float(theory.signal_density(k, t0))
    return theory.window_signal_mass(k, min(t0, t1), max(t0, t1))


MEASURED_WINDOWS = ("uniform", "window", "point", "low", "high")  # unweighted uniform laws, or a point


@dataclass(frozen=True)
class NearestWindows:
    """For each pair of edges [t0, t1] of a grid the accuracy curve of the nearest trained window."""

    step: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    names: np.ndarray


def nearest_windows(table: pd.DataFrame, edges: np.ndarray) -> NearestWindows:
    """Curves (mean over seeds, 95% band) at each arm's best learning rate."""
    need(table)
    names = [arm for arm in MEASURED_WINDOWS if arm in set(table["arm"])]
    k, step = int(table["k"].iloc[0]), np.linspace(0, table["steps"].max(), 41)
    chosen = [window.laws(k)[name][0] for name in names]
    ends = np.array([law.quantile(np.array([0.0, 1.0])) for law in chosen])
    bands = np.stack([accuracy_band(at_best_lr(table, name), step) for name in names])
    low, high = np.meshgrid(edges[:-1], edges[1:], indexing="ij")
    wanted = np.stack([np.minimum(low, high), np.maximum(low, high)], axis=-1)
    nearest = ((wanted[:, :, None] - ends) ** 2).sum(-1).argmin(-1)
    titles = np.array([law.name for law in chosen])
    return NearestWindows(step, *np.moveaxis(bands[nearest], 2, 0), titles[nearest])


def accuracy_band(rows: pd.DataFrame, step: np.ndarray) -> np.ndarray:
    """Mean of the accuracy over seeds and its 95% t band at `step`, of shape (3, step): mean, low, high."""
    curves_of_seeds = np.stack(
        [np.interp(step, [0, *s], [0.5, *a]) for s, a in zip(rows["step"], rows["accuracy"], strict=True)]
    )
    mean, low, high = mean_band(curves_of_seeds)
    return np.stack([mean, low, np.minimum(high, 1.0)])


def delays(table: pd.DataFrame) -> pd.DataFrame:
    """How many seeds memorise and generalise, the median steps of those that do, the longest time between the two."""
    need(table)
    steps = table[["memorised_at", "generalised_at"]].apply(pd.to_numeric)
    rows = table.assign(**steps, delay=steps["generalised_at"] - steps["memorised_at"])
    groups = rows.groupby(["weight_decay", "samples", "objective"], sort=False)
    wide = groups.agg(
        seeds=("seed", "size"),
        memorise=("memorised_at", "count"),
        memorised_at=("memorised_at", "median"),
        generalise=("generalised_at", "count"),
        generalised_at=("generalised_at", "median"),
        longest_delay=("delay", "max"),
        held_out=("final_held_out", "mean"),
    )
    return wide.reset_index().sort_values(["weight_decay", "samples"], kind="stable", ignore_index=True)


def delay_table(delays: pd.DataFrame) -> pd.DataFrame:
    """What `delays` found, as a reader is shown it: what no seed reached is said in words."""
    shown = delays[["weight_decay", "samples", "objective"]].set_axis(
        ["weight decay", "strings", "objective"], axis=1
    )
    for name, seeds, at in (
        ("memorised", "memorise", "memorised_at"),
        ("generalised", "generalise", "generalised_at"),
    ):
        counts = zip(delays[seeds], delays["seeds"], strict=True)
        shown[name] = [f"{some} of {all_of_them}" for some, all_of_them in counts]
        shown[f"{name} at"] = delays[at].astype(float).map(_or_never)
    shown["longest delay"] = (
        delays["longest_delay"].astype(float).map(partial(_or_never, never="no such seed"))
    )
    shown["final accuracy"] = delays["held_out"].round(2)
    return shown


def _or_never(steps: float, never: str = "never") -> str:
    return never if pd.isna(steps) else f"{steps:,.0f}"


def seed_by_seed(table: pd.DataFrame) -> pd.DataFrame:
    """Steps at which each seed generalised, where the contrast appears: the middle sample, the largest weight decay.

    Beside them the step by which all that memorised the sample had done so.
    """
    need(table)
    sizes = sorted(table["samples"].unique())
    rows = select(table, samples=sizes[len(sizes) // 2], weight_decay=float(table["weight_decay"].max()))
    steps = rows.assign(
        memorised=pd.to_numeric(rows["memorised_at"]), generalised=pd.to_numeric(rows["generalised_at"])
    )
    found = []
    for objective, runs in steps.groupby("objective", sort=False):
        said = {"objective": objective, "memorised by": _or_never(float(runs["memorised"].max()))}
        for run in runs.sort_values("seed").itertuples():
            said[f"generalised, seed {run.seed}"] = _or_never(float(run.generalised))
        found.append(said)
    return pd.DataFrame(found)


def gains_over_label(table: pd.DataFrame) -> pd.DataFrame:
    """Final held-out accuracy less that of label training, paired by seed: mean and 95% interval, in points."""
    need(table)
    rows = []
    for (samples, decay), group in table.groupby(["samples", "weight_decay"]):
        final = 100 * group.pivot(index="seed", columns="objective", values="final_held_out")
        effects = {
            name: paired_interval(final[name] - final["label"]) for name in final.drop(columns="label")
        }
        said = {name: f"{effect:+.1f}" for name, effect in effects.items()}
        rows.append({"strings": samples, "weight decay": decay} | said)
    return pd.DataFrame(rows)


def against_uniform(table: pd.DataFrame) -> pd.DataFrame:
    """CE(t) less that of [0, 1] of the same seed."""
    curve = rate_curves(table)
    base = curve[curve["arm"] == "[0, 1]"][["seed", "lr", "rate", "cross_entropy"]]
    both = curve.merge(base, on=["seed", "lr", "rate"], suffixes=("", "_uniform"))
    return both.assign(difference=both["cross_entropy"] - both["cross_entropy_uniform"])


def samples(table: pd.DataFrame) -> tuple[list[str], list[int], list[int], np.ndarray]:
    """Texts as they are denoised: laws, seeds, steps, and the texts [law, seed, step], at the lowest learning rate."""
    need(table)
    rows = table[table["lr"] == table["lr"].min()].set_index(["arm", "seed"]).sort_index()
    arms, seeds = list(table["arm"].unique()), sorted(table["seed"].unique().tolist())
    texts = np.array([rows.loc[arm].loc[seeds, "sample"].tolist() for arm in arms])
    return arms, seeds, list(range(texts.shape[2])), texts


def entropy_by_arm(table: pd.DataFrame, arms: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """CE(t) [law, rate], mean over seeds, at the lowest learning rate."""
    need(table)
    rates = np.array(language.RATES)
    rows = table[table["lr"] == table["lr"].min()]
    return rates, np.array(
        [np.mean(rows.loc[rows["arm"] == arm, "cross_entropy"].tolist(), axis=0) for arm in arms]
    )
