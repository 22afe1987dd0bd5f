"""The claims of chapter 10, their tests, and the criteria by which tables judge them."""

from functools import partial

from beyondloss.experiment import Claim, Precondition, paper_claims
from beyondloss.methods.hallucination.measures import (
    asking_always,
    cross_over_mmd,
    exact_gain,
    exact_interval_over_lot,
    exact_room,
    interval_over_lot,
    keeps_at_half,
    keeps_the_logistic,
    learned_gain,
    learned_room,
    planned_asking,
    planned_keeps,
    real_gain,
    real_two_stage,
    second_model_gain,
    value_over_interval,
    value_over_lot,
)

# a rule that keeps what asking always reaches says something only where asking always is worth something
RULE_GAINS = Precondition(
    "The rule gains by asking always.",
    "Interval rule at budget 1 minus mean pairwise distance, AUROC; the interval over worlds lies above 0.",
    partial(asking_always, rule="interval"),
)
BOTH_GAIN = Precondition(
    "Both scores of every question are worth more than one.",
    "Logistic regression on both scores of every question minus mean pairwise distance, AUROC; the interval over "
    "worlds lies above 0.",
    partial(asking_always, rule="value"),
)
PLAN_GAINS = Precondition(
    "Asking always saves errors.",
    "Errors at budget 0 minus errors at budget 1; the interval over worlds lies above 0.",
    planned_asking,
)
REAL_GAIN = Precondition("A second model helps on real questions, asked always.", "As 10.2d.", real_gain)

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
        precondition=RULE_GAINS,
    ),
    Claim(
        "10.3b",
        "It keeps with half of the calls what the best use of both scores reaches with all.",
        "Interval rule at budget 0.5 minus logistic regression on both scores of every question, AUROC, plus "
        "0.01, mean over 20 pairs; the interval over worlds lies above 0.",
        "worlds",
        keeps_the_logistic,
        precondition=BOTH_GAIN,
    ),
    Claim(
        "10.3c",
        "Asking in an interval of the self-consistency score beats asking by lot at the same price, as fitted "
        "scores.",
        "AUROC of the composite score of the interval rule minus that of the cascade by lot, budget 0.3, mean "
        "over 20 pairs; the interval over worlds lies above 0.",
        "worlds",
        interval_over_lot,
        precondition=BOTH_GAIN,
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
        "Asking where the expected gain is largest, and deciding on both scores, beats the interval rule.",
        "Cascade by value minus interval rule, AUROC, mean over budgets 0.1 to 0.7 and 20 pairs; the interval "
        "over worlds lies above 0.",
        "worlds",
        value_over_interval,
        role="ours",
    ),
    Claim(
        "10.3f",
        "Asking there also beats asking by lot with the same decisions.",
        "Cascade by value minus cascade by lot, AUROC, mean over budgets 0.1 to 0.7 and 20 pairs; the "
        "interval over worlds lies above 0.",
        "worlds",
        value_over_lot,
        role="ours",
    ),
    Claim(
        "10.3g",
        "A cascade planned for one price of a false alarm makes hardly more errors at half of the calls "
        "than at all.",
        "0.01 minus (errors at budget 0.5 minus errors at budget 1), at the best threshold, false alarms and "
        "misses counted alike, mean over settings; the interval over worlds lies above 0.",
        "generator",
        planned_keeps,
        role="ours",
        precondition=PLAN_GAINS,
    ),
    Claim(
        "10.3h",
        "On real questions the two-stage rule with half of the calls beats self-consistency.",
        "As 10.2d for the interval rule at budget 0.5.",
        "models",
        real_two_stage,
        precondition=REAL_GAIN,
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
        "The distance of the two embeddings (MMD) is a worse detector than their inner product.",
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
