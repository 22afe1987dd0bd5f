"""The claims of chapter 3, with the criteria by which the tables judge them."""

import numpy as np
import pandas as pd

from beyondloss.experiment import Claim, Effect, MissingPoints, paired_interval, paper_claims

ROUNDING = 1e-9  # largest error of an identity that float64 explains


def wanted(table: pd.DataFrame, **conditions) -> pd.DataFrame:
    """The rows that meet all conditions; MissingPoints if there are none."""
    for name, value in conditions.items():
        table = table[table[name] == value]
    if table.empty:
        raise MissingPoints(f"no point with {conditions}")
    return table


def censored(table: pd.DataFrame, metric: str) -> pd.Series:
    """Steps at which something was reached; the whole budget where it never was."""
    return pd.to_numeric(table[metric]).fillna(table["steps"])


def decomposition(table: pd.DataFrame) -> Effect:
    """How many decades the pull on the features grows from no noise to half noise, where the identity is exact."""
    if max(table["identity_error"].max(), table["gradient_error"].max()) > ROUNDING:
        return Effect(-1.0, -np.inf, np.inf, table["seed"].nunique(), "decades")
    between = table[(table["width"] > table["signal_inputs"]) & (table["width"] < table["inputs"])]
    pull = wanted(between, width=between["width"].median()).pivot(
        index="seed", columns="noise_share", values="pull"
    )
    if not {0.0, 0.5} <= set(pull.columns):
        raise MissingPoints("needs noise shares 0 and 0.5")
    return paired_interval(np.log10(pull[0.5] / pull[0.0]), unit="decades")


def steps_of_best_lr(table: pd.DataFrame, arm: str) -> pd.Series:
    """Steps to 90% a seed, at the learning rate whose mean over seeds is smallest for this arm."""
    rows = wanted(table, arm=arm)
    by_lr = rows.assign(steps_needed=censored(rows, "steps_to_90")).pivot(
        index="seed", columns="lr", values="steps_needed"
    )
    return by_lr[by_lr.mean().idxmin()]


def window_speed(table: pd.DataFrame) -> Effect:
    ratio = steps_of_best_lr(table, "uniform") / steps_of_best_lr(table, "window")
    return paired_interval(np.log2(ratio).dropna(), unit="doublings")


def weighted_window_speed(table: pd.DataFrame) -> Effect:
    ratio = steps_of_best_lr(table, "uniform, 1/t") / steps_of_best_lr(table, "window, 1/t")
    return paired_interval(np.log2(ratio).dropna(), unit="doublings")


def mass_orders_speed(table: pd.DataFrame) -> Effect:
    """Rank correlation, a seed, of the signal mass with the speed of the laws at the smallest learning rate."""
    rows = wanted(table, lr=table["lr"].min())
    rows = rows.assign(speed=1 / censored(rows, "steps_to_90"))
    correlations = [
        rank_correlation(of_seed["signal_mass"], of_seed["speed"]) for _, of_seed in rows.groupby("seed")
    ]
    return paired_interval(correlations, unit="rank correlation")


def rank_correlation(first: pd.Series, second: pd.Series) -> float:
    """Spearman's; not a number where either is constant."""
    if min(first.nunique(), second.nunique()) < 2:
        return float("nan")
    return float(first.corr(second, method="spearman"))


def by_objective(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Metric without weight decay: rows (samples, seed), a column an objective."""
    rows = wanted(table, weight_decay=0.0)
    values = censored(rows, metric) if metric.endswith("_at") else rows[metric]
    return rows.assign(value=values).pivot(index=["samples", "seed"], columns="objective", values="value")


def solved(table: pd.DataFrame, objective: str) -> set[int]:
    """Sample sizes at which every seed of the objective generalises, without weight decay."""
    rows = wanted(table, weight_decay=0.0, objective=objective)
    return {n for n, r in rows.groupby("samples") if pd.to_numeric(r["generalised_at"]).notna().all()}


def at_sizes(values: pd.DataFrame, sizes: set[int]) -> pd.DataFrame:
    """Mean over the sample sizes, one row a seed."""
    chosen = values[values.index.get_level_values("samples").isin(sizes)]
    if chosen.empty:
        raise MissingPoints("no sample size at which the comparison can be made")
    return chosen.groupby("seed").mean()


def diffusion_generalises_sooner(table: pd.DataFrame) -> Effect:
    steps = np.log2(by_objective(table, "generalised_at"))
    mean = at_sizes(steps, solved(table, "label") | solved(table, "diffusion, window"))
    return paired_interval(mean["label"] - mean["diffusion, window"], unit="doublings")


def diffusion_does_not_delay(table: pd.DataFrame) -> Effect:
    delay = np.log2(by_objective(table, "generalised_at") / by_objective(table, "memorised_at"))
    mean = at_sizes(delay, solved(table, "label") & solved(table, "diffusion, window"))
    return paired_interval(mean["label"] - mean["diffusion, window"], unit="doublings")


def diffusion_wins_on_few_samples(table: pd.DataFrame) -> Effect:
    rows = wanted(table, weight_decay=0.0, objective="label")
    hopeless = {n for n, r in rows.groupby("samples") if pd.to_numeric(r["generalised_at"]).isna().all()}
    mean = at_sizes(by_objective(table, "final_held_out"), hopeless)
    return paired_interval(mean["diffusion, window"] - mean["label"], unit="accuracy")


def bounds(table: pd.DataFrame) -> pd.DataFrame:
    """Likelihood bound (nats a token), rows a seed, a column an arm, each at its best learning rate."""
    by_lr = table.pivot(index="seed", columns=["arm", "lr"], values="bound")
    return pd.DataFrame({arm: by_lr[arm][by_lr[arm].mean().idxmin()] for arm in table["arm"].unique()})


def middle_window_gain(table: pd.DataFrame) -> Effect:
    bound = bounds(table)
    return paired_interval(bound["[0, 1]"] - bound["[0.45, 0.55]"], unit="nats a token")


def middle_beats_outer(table: pd.DataFrame) -> Effect:
    bound = bounds(table)
    low, high = ("[0.15, 0.25]", "[0.75, 0.85]") if "[0.15, 0.25]" in bound else ("[0.1, 0.2]", "[0.8, 0.9]")
    return paired_interval(bound[[low, high]].min(axis=1) - bound["[0.45, 0.55]"], unit="nats a token")


def llada_gain(table: pd.DataFrame) -> Effect:
    bound = table.assign(low=[window[0] for window in table["window"]]).pivot(
        index="seed", columns="low", values="nelbo"
    )
    return paired_interval(bound[0.0] - bound[0.45], unit="nats a token")


TESTS = (
    Claim(
        "3.1a",
        "The masked-diffusion objective splits into a signal regime and a noise regime, and the noise regime is a "
        "regulariser that keeps features learning.",
        "The identity and its gradient agree to 1e-9 in every point, and at the middle width between the number of "
        "signal inputs and the number of all inputs the pull on the features at half noise exceeds that at no noise by "
        "more than 3 decades (95% interval over seeds).",
        "landscape",
        decomposition,
        margin=3.0,
    ),
    Claim(
        "3.2a",
        "On parity a transformer trained by masked diffusion generalises sooner than one trained on the label.",
        "Steps to 95% held-out accuracy without weight decay, label over diffusion with the optimal window, in "
        "doublings, averaged over the sample sizes at which either generalises in every seed; the budget where a "
        "run never does; the interval lies above 0.",
        "grokking",
        diffusion_generalises_sooner,
    ),
    Claim(
        "3.2b",
        "Training on the label groks: it generalises long after it has memorised, and masked diffusion does not.",
        "Delay = steps to generalise over steps to memorise, without weight decay; label over diffusion with the "
        "optimal window, in doublings, averaged over the sample sizes at which both generalise in every seed; the "
        "interval lies above 0.",
        "grokking",
        diffusion_does_not_delay,
    ),
    Claim(
        "3.2c",
        "Masked diffusion generalises better where training on the label memorises for good.",
        "Final held-out accuracy, diffusion with the optimal window minus label, without weight decay, at the sample "
        "sizes at which no label-trained seed generalises; the interval lies above 0.02.",
        "grokking",
        diffusion_wins_on_few_samples,
        margin=0.02,
    ),
    Claim(
        "3.3a",
        "On parity the mask window derived from the signal mass learns faster than the uniform law.",
        "Steps to 90% held-out accuracy, uniform over window, without the weight 1/t, each at its own best learning "
        "rate of the grid; the interval lies above log2(1.5) doublings.",
        "window",
        window_speed,
        margin=float(np.log2(1.5)),
    ),
    Claim(
        "3.3b",
        "It does so with the weight 1/t of the likelihood bound, too.",
        "As 3.3a, both laws with the weight 1/t.",
        "window",
        weighted_window_speed,
        margin=float(np.log2(1.5)),
    ),
    Claim(
        "3.3c",
        "The signal mass tells in which order the laws of the mask rate learn.",
        "Rank correlation of signal mass and speed over the eleven laws at the smallest learning rate, a seed; the "
        "interval lies above 0.8.",
        "window",
        mass_orders_speed,
        margin=0.8,
        role="supports",
    ),
    Claim(
        "3.3d",
        "A language model trained in a window around one half has a lower likelihood bound than under the uniform law.",
        "Mean cross-entropy over mask rates 0.05 to 0.95, [0, 1] minus [0.45, 0.55]; the interval lies above 0.",
        "language",
        middle_window_gain,
    ),
    Claim(
        "3.3e",
        "The middle window is better than windows of the same width further out.",
        "The better of an outer window on either side minus [0.45, 0.55], bound in nats; the interval lies above 0.",
        "language",
        middle_beats_outer,
    ),
    Claim(
        "3.3f",
        "The gain lasts when the model is trained longer.",
        "As 3.3d after five times the training tokens, each law at its better learning rate; the interval lies "
        "above 0.",
        "longer",
        middle_window_gain,
    ),
    Claim(
        "3.4a",
        "The middle window helps a model of 8B parameters.",
        "LLaDA-8B-Base fine-tuned on mathematics: held-out bound on the answers, [0, 1] minus [0.45, 0.55]; the "
        "interval lies above 0. The published benchmark accuracies are not measured here.",
        "llada",
        llada_gain,
    ),
)
CLAIMS = paper_claims(
    {
        "3.1": "The loss of masked diffusion splits into a signal part that drives the learning of features and a "
        "noise part that acts as a regulariser.",
        "3.2": "On parity a transformer trained by masked diffusion generalises while it learns, where other "
        "training groks.",
        "3.3": "Drawing the mask rate from the window that the theory singles out makes the model learn faster and "
        "predict better.",
        "3.4": "The gain carries over to language models of 8B parameters.",
    },
    TESTS,
)
