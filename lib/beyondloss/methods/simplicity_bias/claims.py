"""The claims of chapter 2, with the criteria by which the tables judge them."""

import math
from functools import partial

import numpy as np
import pandas as pd

from beyondloss.experiment import Claim, Effect, MissingPoints, paired_interval, paper_claims

SHARP, SHARPER = 0.2, 0.3  # rho of SAM: half of the size at which heads start, and three quarters of it


def by_seed(table: pd.DataFrame, metric: str, **conditions) -> pd.Series:
    """One value a seed of the points that meet all conditions; MissingPoints if there are none."""
    for name, value in conditions.items():
        table = table[np.isclose(table[name], value) if isinstance(value, float) else table[name] == value]
    if table.empty:
        raise MissingPoints(f"no point with {conditions}")
    return pd.to_numeric(table.set_index("seed")[metric])


def difference(table: pd.DataFrame, metric: str, better: dict, worse: dict, unit: str) -> Effect:
    """Paired by seed: `metric` of the points `worse` minus that of the points `better`, where less is better."""
    return paired_interval(by_seed(table, metric, **worse) - by_seed(table, metric, **better), unit=unit)


PLAIN = {"data": "as drawn", "rho": 0.0}
LATE = {"data": "late x2", "rho": 0.0}


def sam_lowers_ratio(table: pd.DataFrame) -> Effect:
    return difference(table, "log_ratio", {"data": "as drawn", "rho": SHARP}, PLAIN, "log ratio")


def sam_at_equal_gradients(table: pd.DataFrame) -> Effect:
    return difference(table, "loss_at_gradients", {"data": "as drawn", "rho": SHARP}, PLAIN, "loss")


def late_lowers_ratio(table: pd.DataFrame) -> Effect:
    return difference(table, "log_ratio", LATE, PLAIN, "log ratio")


def late_at_equal_steps(table: pd.DataFrame) -> Effect:
    return difference(table, "loss_at_steps", LATE, PLAIN, "loss")


def proxy_beats_random(table: pd.DataFrame) -> Effect:
    proxy, random = ({"data": data, "rho": 0.0} for data in ("late by proxy x2", "random x2"))
    return difference(table, "loss_at_steps", proxy, random, "loss")


def sam_on_few_noisy_prompts(table: pd.DataFrame) -> Effect:
    few = {"prompts": 50, "noise": 0.3, "data": "as drawn"}
    return difference(table, "best_loss", few | {"rho": SHARPER}, few | {"rho": 0.0}, "loss")


def proxy_on_noisy_prompts(table: pd.DataFrame) -> Effect:
    noisy = {"prompts": 150, "noise": 0.3, "rho": 0.0}
    proxy, random = (noisy | {"data": data} for data in ("late by proxy x2", "random x2"))
    return difference(table, "best_loss", proxy, random, "loss")


def longest(table: pd.DataFrame) -> pd.DataFrame:
    """The points of the largest budget of steps."""
    return table[table["steps"] == table["steps"].max()]


def gain(table: pd.DataFrame, better: str, worse: str) -> Effect:
    """Paired by seed, at the largest budget: accuracy of one arm minus that of another."""
    accuracies = [by_seed(longest(table), "accuracy", arm=arm) for arm in (better, worse)]
    return paired_interval(accuracies[0] - accuracies[1], unit="accuracy")


def late_set_holds_hard_tasks(table: pd.DataFrame) -> Effect:
    """Share of the rarest two tasks in the late set of the largest budget, minus their share of the data."""
    rows = longest(table[table["arm"] == "adamw, late x2"])
    if rows.empty:
        raise MissingPoints("no point with the late set")
    counts = np.array(rows["doubled_by_task"].tolist(), dtype=float)
    return paired_interval(counts[:, 2:].sum(1) / counts.sum(1) - 0.3, unit="share")


def small_language_model_gain(table: pd.DataFrame) -> Effect:
    """Loss of a test solution with random examples doubled minus with late ones, the mean over optimizers, a seed."""
    losses = table.pivot_table(index="seed", columns=["optimizer", "data"], values="test_loss")
    if not {"late x2", "random x2"} <= set(losses.columns.get_level_values("data")):
        raise MissingPoints("needs late x2 and random x2")
    change = losses.xs("random x2", axis=1, level="data") - losses.xs("late x2", axis=1, level="data")
    return paired_interval(change.mean(axis=1), unit="nats")


def language_model_gain(table: pd.DataFrame) -> Effect:
    """Relative gain in exact match of the late set over random examples, the mean over models, a seed."""
    table = table[table["problems"] == "gsm8k"]
    per = table.pivot_table(index=["seed", "model", "optimizer"], columns="data", values="exact_match")
    if not {"late x2", "random x2"} <= set(per.columns):
        raise MissingPoints("needs late x2 and random x2")
    relative = (per["late x2"] / per["random x2"] - 1).groupby("seed").mean()
    return paired_interval(relative, unit="relative")


TESTS = (
    Claim(
        "2.1a",
        "In linear self-attention SAM brings the speeds together: at equal small heads its slowest direction is faster "
        "relative to its fastest than gradient descent's.",
        "Proved for every rho below s / u_1, to all orders in rho.",
        by="proof",
    ),
    Claim(
        "2.1b",
        "From small random heads the learning times lie closer together under SAM, as a ratio.",
        "log(t_last / t_first), gradient descent minus SAM at rho = 0.2 (heads of size 0.4), population gradient, 16 "
        "seeds; the interval lies above 0.",
        "population",
        sam_lowers_ratio,
    ),
    Claim(
        "2.1c",
        "It is so on a finite pool of prompts in batches, too.",
        "As 2.1b on 512 prompts in batches of 32; the interval lies above 0.",
        "pool",
        sam_lowers_ratio,
    ),
    Claim(
        "2.1d",
        "Less bias makes SAM the better optimizer at an equal number of gradients.",
        "Population loss after 1,000 gradients, gradient descent minus SAM at rho = 0.2; the interval "
        "lies above 0.",
        "population",
        sam_at_equal_gradients,
    ),
    Claim(
        "2.1e",
        "On few prompts with noisy labels SAM generalises better than gradient descent, each stopped at its best.",
        "Lowest population loss over the run, 50 prompts, label noise 0.3, gradient descent minus SAM at rho = 0.3; "
        "the interval lies above 0.",
        "noise",
        sam_on_few_noisy_prompts,
    ),
    Claim(
        "2.2a",
        "Upsampling the types learned late lowers simplicity bias.",
        "log(t_last / t_first), as drawn minus late types doubled, population gradient; the interval "
        "lies above log 1.5.",
        "population",
        late_lowers_ratio,
        margin=math.log(1.5),
    ),
    Claim(
        "2.2b",
        "It improves the loss at an equal number of steps.",
        "Population loss after 1,000 steps, as drawn minus late types doubled; the interval lies above 0.",
        "population",
        late_at_equal_steps,
    ),
    Claim(
        "2.2c",
        "So it does where a proxy pass has to find the late examples, against as many random ones.",
        "Population loss after 1,000 steps on 512 prompts in batches of 32, random minus late by proxy; the interval "
        "lies above 0.",
        "pool",
        proxy_beats_random,
    ),
    Claim(
        "2.2d",
        "With label noise the proxy's choice generalises better than a random one, each stopped at its best.",
        "Lowest population loss over the run, 150 prompts, label noise 0.3, random minus late by proxy; the interval "
        "lies above 0.",
        "noise",
        proxy_on_noisy_prompts,
    ),
    Claim(
        "2.3a",
        "Fine-tuning with AdamW on data with the late examples doubled is more accurate than with "
        "random ones doubled.",
        "Accuracy on unseen digits after 600 steps, late minus random, each at its tuned learning rate, 16 seeds; the "
        "interval lies above 0.",
        "finetuning",
        partial(gain, better="adamw, late x2", worse="adamw, random x2"),
    ),
    Claim(
        "2.3b",
        "So it is with Muon.",
        "As 2.3a with Muon.",
        "finetuning",
        partial(gain, better="muon, late x2", worse="muon, random x2"),
    ),
    Claim(
        "2.3c",
        "With AdamW it is worth more than spending the proxy pass on longer training.",
        "Accuracy, late minus the data as given for as many more steps as the proxy takes; the "
        "interval lies above 0.",
        "finetuning",
        partial(gain, better="adamw, late x2", worse="adamw, longer"),
    ),
    Claim(
        "2.3d",
        "So it is with Muon.",
        "As 2.3c with Muon.",
        "finetuning",
        partial(gain, better="muon, late x2", worse="muon, longer"),
    ),
    Claim(
        "2.3e",
        "SAM is worth its second gradient in fine-tuning.",
        "Accuracy, SAM around AdamW minus AdamW for twice the steps; the interval lies above 0.",
        "finetuning",
        partial(gain, better="sam, as given", worse="adamw, twice as long"),
        role="ours",
    ),
    Claim(
        "2.3f",
        "Who knows the rare tasks and doubles them gains over random doubling.",
        "Accuracy with AdamW, hard tasks doubled minus random; the interval lies above 0.",
        "finetuning",
        partial(gain, better="adamw, hard tasks x2", worse="adamw, random x2"),
        role="supports",
    ),
    Claim(
        "2.3g",
        "The late set holds more of the rare tasks than the data do.",
        "Their share of the late set minus 0.3, AdamW; the interval lies above 0.1.",
        "finetuning",
        late_set_holds_hard_tasks,
        margin=0.1,
        role="supports",
    ),
    Claim(
        "2.3h",
        "Augmenting the late examples, a second time on other digits, gains over augmenting random ones with AdamW.",
        "Accuracy, late varied minus random varied; the interval lies above 0.",
        "finetuning",
        partial(gain, better="adamw, late varied", worse="adamw, random varied"),
    ),
    Claim(
        "2.3i",
        "So it is with Muon.",
        "As 2.3h with Muon.",
        "finetuning",
        partial(gain, better="muon, late varied", worse="muon, random varied"),
    ),
    Claim(
        "2.3j",
        "A small language model fine-tuned on generated word problems gains over random doubling.",
        "SmolLM2-135M, loss of a test solution, random minus late, the mean of AdamW and Muon, 3 seeds; the interval "
        "lies above 0. Exact match on 24 problems a seed is too coarse to judge by and is shown beside.",
        "smollm2",
        small_language_model_gain,
    ),
    Claim(
        "2.3k",
        "Language models fine-tuned on mathematics gain in exact match.",
        "GSM8K, late over random, relative, mean over models and optimizers; the interval lies above 0. The published "
        "gain is up to 18%.",
        "language_model",
        language_model_gain,
    ),
)
CLAIMS = paper_claims(
    {
        "2.1": "Sharpness-aware minimization learns the features of a task at more equal speeds than gradient "
        "descent, and generalises better for it.",
        "2.2": "Showing more often what is learned late lowers simplicity bias as SAM does, and improves "
        "generalisation.",
        "2.3": "Language models that are fine-tuned on mathematics become more accurate when the examples that are "
        "learned late are doubled or varied, with AdamW and with Muon.",
    },
    TESTS,
)
