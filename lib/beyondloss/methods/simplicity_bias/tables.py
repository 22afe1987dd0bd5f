"""From tables of points to what the figures of chapter 2 draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from jaxtyping import Float

from beyondloss.experiment import Effect, paired_interval
from beyondloss.experiment.tables import best, explode, need, select
from beyondloss.methods.simplicity_bias import theory
from beyondloss.methods.simplicity_bias.arithmetic import ARMS, FINE_TUNING
from beyondloss.methods.simplicity_bias.measures import difference, gain, longest


def training_name(data: str, rho: float) -> str:
    """One name for a distribution and an optimizer."""
    return data if not rho else f"SAM {rho:g}" if data == "as drawn" else f"{data}, SAM {rho:g}"


def named(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(
        training=[training_name(d, r) for d, r in zip(table["data"], table["rho"], strict=True)]
    )


def against(
    table: pd.DataFrame, metric: str, by: Sequence[str], reference: dict, sign: float = 1.0
) -> pd.DataFrame:
    """Paired by seed: `sign` times (metric of each group minus that of the reference), mean with 95% interval."""
    is_reference = np.logical_and.reduce([table[name] == value for name, value in reference.items()])
    shared = [name for name in by if name not in reference]
    base = table[is_reference].set_index([*shared, "seed"])[metric].astype(float)
    rows = []
    for key, group in table.groupby(list(by), sort=False):
        values = group.set_index([*shared, "seed"])[metric].astype(float)
        effect = paired_interval(sign * (values - base.reindex(values.index)))
        rows.append(
            dict(zip(by, key, strict=True)) | {"mean": effect.value, "low": effect.low, "high": effect.high}
        )
    return pd.DataFrame(rows)


LOSSES = {  # metric -> what a reader is told it is
    "loss_at_steps": "loss at equal steps",
    "loss_at_gradients": "loss at equal gradients",
    "final_loss": "final loss",
}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Each training: median steps to learn the first and the last direction, and mean losses."""
    need(table)
    rows = named(table)
    learned = pd.DataFrame(rows["learned_at"].tolist(), index=rows.index).astype(float)
    first, last = learned.iloc[:, 0], learned.iloc[:, -1]
    steps = {"first learned at": first, "last learned at": last, "last over first": last / first}
    groups = rows.assign(**steps).groupby("training", sort=False)
    medians = groups[list(steps)].median().round(1)
    losses = groups[list(LOSSES)].mean().round(4).rename(columns=LOSSES)
    return medians.join(losses).reset_index()


def falls(table: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """How much lower each first training of `pairs` is than the second, paired by seed, with 95% intervals."""
    need(table)
    rows = named(table)
    measured = {"log ratio": ("log_ratio", ".3f")} | {LOSSES[m]: (m, ".4f") for m in list(LOSSES)[:2]}
    found = []
    for training, other in pairs:
        said = {"training": training, "compared with": other}
        for name, (metric, digits) in measured.items():
            effect = difference(rows, metric, {"training": training}, {"training": other}, "")
            said[name] = f"{effect:+{digits}}"
        found.append(said)
    return pd.DataFrame(found)


READ = {"best_loss": "each at its best", "loss_at_gradients": "at equal gradients"}


def noise_table(table: pd.DataFrame, trainings: Sequence[str], *metrics: str) -> pd.DataFrame:
    """Fall of the loss against gradient descent on the data as drawn, in hundredths of its logarithm (about percent).

    A row a training, a reading of `READ` and a number of prompts; a column a deviation of the label noise.
    """
    need(table)
    rows = named(table)
    found = []
    for training, metric in product(trainings, metrics):
        logs = rows.assign(log=100 * np.log(rows[metric].astype(float)))
        change = against(logs, "log", ["prompts", "noise", "training"], {"training": "as drawn"}, sign=-1)
        for prompts, group in select(change, training=training).groupby("prompts"):
            said = {"training": training, "loss read": READ[metric], "prompts": prompts}
            for of in group.sort_values("noise").itertuples():
                said[f"label noise {of.noise:g}"] = f"{Effect(of.mean, of.low, of.high, 1):+.1f}"
            found.append(said)
    return pd.DataFrame(found)


def loss_curves(table: pd.DataFrame, trainings: Sequence[str]) -> pd.DataFrame:
    """Population loss above its lowest value, over steps: a row a seed and step."""
    rows = named(table)
    rows = rows[rows["training"].isin(trainings)]
    settings = ["spectrum", "context", "noise"]
    long = explode(rows, ["training", "seed", *settings], {"step": float, "loss": float})
    keys = list(long[settings].itertuples(index=False, name=None))
    lowest = {key: theory.InContext(*key).lowest_loss for key in set(keys)}
    excess = long["loss"] - [lowest[key] for key in keys]
    return long.assign(excess=excess.clip(lower=1e-6))


def accuracy_table(table: pd.DataFrame) -> pd.DataFrame:
    """Each arm of the arithmetic experiment at the largest budget: accuracy, by task, and gain over random doubling."""
    need(table)
    table, rows = longest(table), []
    accuracy = table.pivot(index="seed", columns="arm", values="accuracy").astype(float)
    for arm, group in table.groupby("arm", sort=False):
        by_task = dict(zip(FINE_TUNING, np.mean(group["by_task"].tolist(), axis=0).round(3), strict=True))
        effect = paired_interval(
            accuracy[arm] - accuracy[f"{ARMS[arm][0].replace('sam', 'adamw')}, random x2"]
        )
        rows.append(
            {
                "arm": arm,
                "accuracy": round(group["accuracy"].mean(), 3),
                **by_task,
                "over random x2": f"{effect:+.3f}",
            }
        )
    return pd.DataFrame(rows)


COMPARED = (  # what is fine-tuned on, and what it is held against
    ("late x2", "random x2"),
    ("hard tasks x2", "random x2"),
    ("early x2", "random x2"),
    ("late varied", "random varied"),
    ("late x2", "longer"),
)


def comparisons(table: pd.DataFrame) -> pd.DataFrame:
    """What the claims on fine-tuning compare: gain in accuracy at the largest budget, paired by seed, by optimizer."""
    need(table)
    rows = []
    for data, other in COMPARED:
        effects = {
            name: gain(table, f"{optimizer}, {data}", f"{optimizer}, {other}")
            for optimizer, name in (("adamw", "with AdamW"), ("muon", "with Muon"))
        }
        said = {name: f"{effect:+.3f}" for name, effect in effects.items()}
        rows.append({"fine-tuned on": data, "compared with": other} | said)
    return pd.DataFrame(rows)


def late_sets(table: pd.DataFrame) -> pd.DataFrame:
    """Of the doubled examples, the mean share of each task, beside its share of the data."""
    need(table)
    rows = {"the data": FINE_TUNING}
    for (arm, steps), group in table.groupby(["arm", "steps"], sort=False):
        counts = np.mean(group["doubled_by_task"].tolist(), axis=0)
        if ARMS[arm][1] in ("late x2", "early x2", "random x2"):
            shares = (counts / counts.sum()).round(2)
            rows[f"{arm}, {steps} steps"] = dict(zip(FINE_TUNING, shares, strict=True))
    return pd.DataFrame(rows).T


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of each arm minus that of random doubling with its optimizer: a row an arm and budget, with interval."""
    rows = table.assign(
        optimizer=[ARMS[arm][0] for arm in table["arm"]], data=[ARMS[arm][1] for arm in table["arm"]]
    )
    found = []
    for optimizer, group in rows[rows["optimizer"] != "sam"].groupby("optimizer", sort=False):
        change = against(group, "accuracy", ["steps", "data"], {"data": "random x2"})
        found.append(change.assign(optimizer=optimizer))
    return pd.concat(found, ignore_index=True).query("data != 'random x2'")


def tuned_rates(table: pd.DataFrame) -> dict[str, float]:
    """The learning rate of each arm with the highest mean accuracy on the tuning digits, over budgets and seeds."""
    return {arm: float(best(rows, "lr", "tuning_accuracy", "greatest")) for arm, rows in table.groupby("arm")}


def language_model_table(table: pd.DataFrame) -> pd.DataFrame:
    """Each optimizer and data set: share of right answers, loss of a test solution, and how far it is below random."""
    need(table)
    rows = []
    for optimizer, group in table.groupby("optimizer", sort=False):
        falls = against(group, "test_loss", ["data"], {"data": "random x2"}, sign=-1).set_index("data")
        for data, runs in group.groupby("data", sort=False):
            mean = runs[["exact_match_before", "exact_match", "test_loss"]].mean()
            fall = f"{Effect(*falls.loc[data, ['mean', 'low', 'high']], len(runs)):+.2f}"
            row = {
                "arm": f"{optimizer}, {data}",
                "right before": f"{mean['exact_match_before']:.1%}",
                "right after": f"{mean['exact_match']:.1%}",
                "nats a solution": f"{mean['test_loss']:.1f}",
                "below random x2": fall,
            }
            rows.append(row)
    return pd.DataFrame(rows)


TIMES = np.geomspace(1, 20_000, 60)


@dataclass(frozen=True)
class Staircases:
    """Over the grid of the sliders `over`: shares m / m* and population loss at TIMES, and t_last / t_first."""

    over: tuple[str, ...]
    shares: Float[np.ndarray, "*grid direction time"]
    loss: Float[np.ndarray, "*grid time"]
    ratio: Float[np.ndarray, "*grid"]


def eigenvalues(decay: float, directions: int = 4) -> tuple[float, ...]:
    """Each is the one before times `decay`; their sum is 1."""
    powers = decay ** np.arange(directions)
    return tuple(powers / powers.sum())


def staircases(
    decays: Sequence[float], rhos: Sequence[float], factors: Sequence[float], start: float = 0.3
) -> dict[str, Staircases]:
    """Gradient descent, SAM, and the slowest type seen more often, each over the sliders that it depends on."""
    return {
        "Gradient descent": over_grid({"decay": decays}, start),
        "SAM": over_grid({"decay": decays, "rho": rhos}, start),
        "Upsampling": over_grid({"decay": decays, "factor": factors}, start),
    }


def over_grid(sliders: dict[str, Sequence[float]], start: float) -> Staircases:
    shape = tuple(map(len, sliders.values()))
    solved = [staircase(start, **dict(zip(sliders, s, strict=True))) for s in product(*sliders.values())]
    stacked = [np.stack(part).reshape(*shape, *np.shape(part[0])) for part in zip(*solved, strict=True)]
    return Staircases(tuple(sliders), *stacked)


def staircase(start: float, decay: float, rho: float = 0.0, factor: float = 1.0) -> tuple:
    """Shares, loss and ratio at one setting of the sliders."""
    task, weights = theory.InContext(eigenvalues(decay)), np.array([1.0, 1.0, 1.0, factor])
    solved = theory.flow(task, start, rho, weights / weights.mean(), horizon=TIMES[-1], points=8000)
    entries = np.array([np.interp(TIMES, solved.times, factors**3) for factors in solved.factors])
    loss = theory.population_loss(task, np.stack([np.diag(m) for m in entries.T]))
    first, last = solved.learned[0], solved.learned[-1]
    return entries / task.optimum[:, None], loss, last / first if np.isfinite(first) else np.nan
