"""From tables of points to what the figures of chapter 8 draw."""

from collections.abc import Iterable

import pandas as pd

from beyondloss.experiment import paired_interval
from beyondloss.experiment.tables import mean_band
from beyondloss.methods.safety_lora.arms import ALPHAS, RANKS
from beyondloss.methods.safety_lora.measures import Choice, at_choice, counting, one_rate, own_choice

METRICS = ("reasoning", "benign_right", "kept", "refusal", "over_refusal")
OVERLAPS = ("row_overlap", "column_overlap", "two_sided_overlap")


def protocols(table: pd.DataFrame) -> dict[str, Choice]:
    """The settings that the claims compare, by name."""
    lora = one_rate(table)
    return {
        "LoRA at its own rate": lora,
        "full at LoRA's rate": Choice("full", lora.lr),
        "full at its own rate": own_choice(table, "full"),
    }


def summary(
    table: pd.DataFrame, choices: dict[str, Choice], metrics: Iterable[str] = METRICS
) -> pd.DataFrame:
    """One row a setting: arm, learning rate, and each metric as mean with 95% interval over the seeds that count."""
    rows = []
    for name, choice in choices.items():
        row = {"setting": name, "arm": choice.arm, "lr": f"{choice.lr:.1e}", "merged": choice.merged}
        for metric in metrics:
            row[metric] = f"{paired_interval(at_choice(table, choice, metric)):.2f}"
        rows.append(row)
    return pd.DataFrame(rows)


def fronts(table: pd.DataFrame, arms: Iterable[str], metric: str = "reasoning") -> pd.DataFrame:
    """One row an arm and learning rate: refusal and a metric, each as mean with 95% band over the seeds that count."""
    rows = []
    for (arm, lr), group in counting(table).groupby(["arm", "lr"]):
        if arm in set(arms):
            row = {"arm": arm, "lr": lr}
            for name in ("refusal", "over_refusal", metric):
                mean, low, high = mean_band(group[name].to_numpy(float))
                row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def ranks(table: pd.DataFrame, metric: str = "reasoning") -> pd.DataFrame:
    """By rule of alpha and rank, at the rate that the tuning seeds choose and at LoRA's one rate, by seed."""
    rows, lr = [], one_rate(table).lr
    for rule in ALPHAS:
        for rank in RANKS:
            arm = "LoRA 16" if rank == 16 else f"LoRA {rank}, {rule}"
            for rate, choice in {"own rate": own_choice(table, arm), "one rate": Choice(arm, lr)}.items():
                values = at_choice(table, choice, metric)
                rows += [
                    {"rule": rule, "rank": rank, "rate": rate, "seed": seed, metric: value}
                    for seed, value in values.items()
                ]
    return pd.DataFrame(rows)
