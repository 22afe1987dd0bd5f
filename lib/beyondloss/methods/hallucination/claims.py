"""The claims of chapter 10, with the criteria by which the tables judge them."""

import pandas as pd

from beyondloss.experiment import Claim, Effect, MissingPoints, paired_interval, paper_claims
from beyondloss.methods.hallucination.tables import at_budgets, judged, measured, of_pairs, of_targets

LITTLE = 0.02  # AUROC: what counts as little room
KEPT = 0.01  # AUROC, or share of errors: what counts as keeping the performance
UNIT = "AUROC"


def column(table: pd.DataFrame, *key) -> pd.Series:
    """A column of a pivoted table; MissingPoints if it was not measured."""
    name = key if len(key) > 1 else key[0]
    if name not in table:
        raise MissingPoints(f"no point with {name}")
    return table[name]


def exact_room(table: pd.DataFrame) -> Effect:
    gap = (table["self_oracle"] - table["self"]).groupby(table["seed"]).max()
    return paired_interval(LITTLE - gap, unit=UNIT)


def learned_room(table: pd.DataFrame) -> Effect:
    own = of_targets(table)
    return paired_interval(LITTLE - (own["self oracle"] - own["mean pairwise distance"]), unit=UNIT)


def exact_gain(table: pd.DataFrame) -> Effect:
    return paired_interval(
        (table["cross_oracle"] - table["self_oracle"]).groupby(table["seed"]).mean(), unit=UNIT
    )


def learned_gain(table: pd.DataFrame) -> Effect:
    both = column(of_pairs(table), "cross oracle", 1.0)
    return paired_interval(both - of_targets(table)["self oracle"], unit=UNIT)


def second_model_gain(table: pd.DataFrame) -> Effect:
    """What another model adds over as many more samples of the target itself."""
    rows = judged(table)
    rows = rows[rows["detector"] == "cross oracle"]
    mean = rows.pivot_table(index="seed", columns="itself", values="auroc")
    return paired_interval(mean[False] - mean[True], unit=UNIT)


def keeps_at_half(table: pd.DataFrame) -> Effect:
    pairs = of_pairs(table)
    return paired_interval(column(pairs, "interval", 0.5) - column(pairs, "interval", 1.0) + KEPT, unit=UNIT)


def keeps_the_logistic(table: pd.DataFrame) -> Effect:
    pairs = of_pairs(table)
    return paired_interval(column(pairs, "interval", 0.5) - column(pairs, "value", 1.0) + KEPT, unit=UNIT)


def interval_over_lot(table: pd.DataFrame) -> Effect:
    pairs = of_pairs(table)
    return paired_interval(column(pairs, "interval", 0.3) - column(pairs, "random", 0.3), unit=UNIT)


def exact_interval_over_lot(table: pd.DataFrame) -> Effect:
    budgets = (0.2, 0.3, 0.4, 0.5)
    difference = at_budgets(table, "exact_interval", *budgets) - at_budgets(table, "exact_random", *budgets)
    return paired_interval(difference, unit=UNIT)


def value_over_interval(table: pd.DataFrame) -> Effect:
    pairs = of_pairs(table)
    budgets = (0.1, 0.2, 0.3, 0.5, 0.7)
    gains = [column(pairs, "value", b) - column(pairs, "interval", b) for b in budgets]
    return paired_interval(sum(gains) / len(gains), unit=UNIT)


def value_over_lot(table: pd.DataFrame) -> Effect:
    pairs = of_pairs(table)
    budgets = (0.1, 0.2, 0.3, 0.5, 0.7)
    gains = [column(pairs, "value", b) - column(pairs, "random", b) for b in budgets]
    return paired_interval(sum(gains) / len(gains), unit=UNIT)


def planned_keeps(table: pd.DataFrame) -> Effect:
    more = at_budgets(table, "planned_error", 0.5) - at_budgets(table, "planned_error", 1.0)
    return paired_interval(KEPT - more, unit="share of errors")


def cross_over_mmd(table: pd.DataFrame) -> Effect:
    pairs = of_pairs(table)
    return paired_interval(column(pairs, "cross distance", 1.0) - column(pairs, "MMD", 1.0), unit=UNIT)


def worst_pair(table: pd.DataFrame, detector: str) -> Effect:
    """What a detector adds in the pair of different models where it adds least; not by embeddings."""
    rows = measured(table)
    rows = rows[(rows["detector"] == detector) & ~rows["itself"] & (rows["kernel"] != "embedding")]
    if rows.empty:
        raise MissingPoints(f"no pair of different models with {detector}")
    worst = rows.loc[rows["gain_low"].idxmin()]
    return Effect(
        worst["gain"], worst["gain_low"], worst["gain_high"], rows["seed"].nunique(), UNIT, "bootstrap"
    )


def real_gain(table: pd.DataFrame) -> Effect:
    return worst_pair(table, "value 1")


def real_two_stage(table: pd.DataFrame) -> Effect:
    return worst_pair(table, "interval 0.5")


TESTS = (
    Claim(
        "10.1a",
        "Self-consistency leaves little room: in the class model no detector that sees the same samples does "
        "much better.",
        "0.02 minus the gap of AUROC between the exact oracle on the target's samples and the mean pairwise "
        "distance, the largest gap over the settings of a world; the interval over worlds lies above 0.",
        "generator",
        exact_room,
    ),
    Claim(
        "10.1b",
        "So it is for language models: a graph network trained with labels on the same Gram matrices does not "
        "do much better.",
        "0.02 minus (graph network minus mean pairwise distance), AUROC on held-out questions, mean over five "
        "targets; the interval over worlds lies above 0.",
        "worlds",
        learned_room,
    ),
    Claim(
        "10.2a",
        "The samples of a second model raise what an oracle can reach.",
        "Exact oracle on both models' samples minus exact oracle on the target's, AUROC, mean over settings; "
        "the interval over worlds lies above 0.02.",
        "generator",
        exact_gain,
        margin=0.02,
    ),
    Claim(
        "10.2b",
        "They do for language models: the graph network gains from the verifier's samples.",
        "Graph network on both Gram matrices minus graph network on the target's, AUROC, mean over 20 pairs "
        "of different models; the interval over worlds lies above 0.02.",
        "worlds",
        learned_gain,
        margin=0.02,
    ),
    Claim(
        "10.2c",
        "It is the second model that helps, not the further samples.",
        "Graph network with another model's samples minus graph network with as many new samples of the "
        "target itself, AUROC, mean over targets; the interval over worlds lies above 0.",
        "worlds",
        second_model_gain,
    ),
    Claim(
        "10.2d",
        "A second model helps on real questions.",
        "Logistic regression on both scores (cross-fitted) minus mean pairwise distance, AUROC, in the pair "
        "of different models, compared by equality (at full scale by entailment), where the lower end is "
        "least; the 95% bootstrap interval over questions lies above 0.",
        "models",
        real_gain,
    ),
    Claim(
        "10.3a",
        "The two-stage rule keeps the performance of asking always with half of the calls.",
        "Interval rule at budget 0.5 minus the same rule at budget 1, AUROC, plus 0.01, mean over 20 pairs; "
        "the interval over worlds lies above 0.",
        "worlds",
        keeps_at_half,
    ),
    Claim(
        "10.3b",
        "It keeps with half of the calls what the best use of both scores reaches with all.",
        "Interval rule at budget 0.5 minus logistic regression on both scores of every question, AUROC, plus "
        "0.01, mean over 20 pairs; the interval over worlds lies above 0.",
        "worlds",
        keeps_the_logistic,
    ),
    Claim(
        "10.3c",
        "Asking in an interval of the self-consistency score beats asking by lot at the same price, as fitted "
        "scores.",
        "AUROC of the composite score of the interval rule minus that of the cascade by lot, budget 0.3, mean "
        "over 20 pairs; the interval over worlds lies above 0.",
        "worlds",
        interval_over_lot,
    ),
    Claim(
        "10.3d",
        "Asking in an interval beats asking by lot at the same price, as exact sets of decisions.",
        "Area under the best ROC of interval rules minus that of asking by lot with decisions on both scores, "
        "mean over budgets 0.2 to 0.5 and settings; the interval over worlds lies above 0.",
        "generator",
        exact_interval_over_lot,
    ),
    Claim(
        "10.3e",
        "asking where the expected gain is largest, and deciding on both scores, beats the interval rule.",
        "Cascade by value minus interval rule, AUROC, mean over budgets 0.1 to 0.7 and 20 pairs; the interval "
        "over worlds lies above 0.",
        "worlds",
        value_over_interval,
        role="ours",
    ),
    Claim(
        "10.3f",
        "it also beats asking by lot with the same decisions.",
        "Cascade by value minus cascade by lot, AUROC, mean over budgets 0.1 to 0.7 and 20 pairs; the "
        "interval over worlds lies above 0.",
        "worlds",
        value_over_lot,
        role="ours",
    ),
    Claim(
        "10.3g",
        "a cascade planned for one price of a false alarm makes hardly more errors at half of the calls "
        "than at all.",
        "0.01 minus (errors at budget 0.5 minus errors at budget 1), at the best threshold, false alarms and "
        "misses counted alike, mean over settings; the interval over worlds lies above 0.",
        "generator",
        planned_keeps,
        role="ours",
    ),
    Claim(
        "10.3h",
        "On real questions the two-stage rule with half of the calls beats self-consistency.",
        "As 10.2d for the interval rule at budget 0.5.",
        "models",
        real_two_stage,
    ),
    Claim(
        "10.4a",
        "Self- and cross-consistency are one minus a squared length and one minus an inner product of kernel "
        "mean embeddings.",
        "Proved; estimators, variances and the class-model identities agree with enumeration and simulation.",
        by="proof",
    ),
    Claim(
        "10.4b",
        "the distance of the two embeddings (MMD) is a worse detector than their inner product.",
        "Cross distance minus MMD, AUROC, mean over 20 pairs; the interval over worlds lies above 0.",
        "worlds",
        cross_over_mmd,
        role="ours",
    ),
)
CLAIMS = paper_claims(
    {
        "10.1": "Detectors that see the samples of one model alone come close to what a supervised oracle reaches "
        "with them: there is little left to gain.",
        "10.2": "The samples of a second model raise what can be reached.",
        "10.3": "A rule in two stages, which asks the second model only where the first is uncertain, keeps the "
        "performance at a fraction of the calls.",
        "10.4": "Kernel mean embeddings give detection by consistency a geometry.",
    },
    TESTS,
)
