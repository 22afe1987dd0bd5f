"""Chapter 10: its theory against simulation and linear programming, the scores, the detectors, worlds and claims."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import linprog
from sklearn.metrics import roc_auc_score

from beyondloss.experiment import BadInput, MissingPoints
from beyondloss.methods import hallucination as ha
from beyondloss.methods.hallucination import (
    detectors,
    generator,
    measures,
    metrics,
    scores,
    tables,
    theory,
    worlds,
)

ROOT = Path(__file__).parents[2]
P, Q = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.1, 0.6, 0.2, 0.1])


def grams(classes):
    return (classes[:, :, None] == classes[:, None, :]).astype(float)


def drawn(law, rows, m, seed=0):
    return np.random.default_rng(seed).choice(len(law), size=(rows, m), p=law)


# Metrics -----------------------------------------------------------------------------------------------------


def test_auroc_is_that_of_scikit_learn_with_ties_and_weights():
    generator_ = np.random.default_rng(0)
    risk, wrong, weight = (
        generator_.integers(6, size=300) / 5,
        generator_.random(300) < 0.4,
        generator_.random(300),
    )
    wanted = roc_auc_score(wrong, risk, sample_weight=weight)
    assert metrics.auroc(risk, weight * ~wrong, weight * wrong) == pytest.approx(wanted)


def test_auarc_is_the_mean_accuracy_over_every_share_kept():
    generator_ = np.random.default_rng(1)
    risk, wrong = generator_.random(4000), generator_.random(4000) < 0.3
    kept = np.cumsum(~wrong[np.argsort(risk)]) / np.arange(1, 4001)
    assert metrics.auarc(risk, *metrics.masses(wrong)) == pytest.approx(kept.mean(), abs=1e-3)
    assert metrics.auarc(np.zeros(4000), *metrics.masses(wrong)) == pytest.approx(1 - wrong.mean())


def test_the_bootstrap_interval_of_a_mean_is_that_of_its_standard_error():
    values = np.random.default_rng(3).normal(size=400)
    low, high = metrics.bootstrap(lambda chosen: values[chosen].mean(), 400)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_least_error_tries_every_threshold():
    risk, wrong = np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, True, False, True])
    assert metrics.least_error(risk, *metrics.masses(wrong)) == pytest.approx(0.25)
    assert metrics.least_error(risk, *metrics.masses(wrong), slope=0.5) == pytest.approx(0.125)


# Mean embeddings ---------------------------------------------------------------------------------------------


def test_estimators_and_their_variances_against_simulation():
    m, n, repeats = 6, 5, 60_000
    own, other = drawn(P, repeats, m), drawn(Q, repeats, n, seed=1)
    gram, cross, verifier = grams(own), (own[:, :, None] == other[:, None, :]).astype(float), grams(other)
    found = {
        "self": (scores.mean_pairwise_distance(gram), 1 - P @ P, theory.variance_self(P, m)),
        "cross": (scores.cross_distance(cross), 1 - P @ Q, theory.variance_cross(P, Q, m, n)),
        "mmd": (
            scores.squared_mmd(gram, cross, verifier), theory.squared_mmd(P, Q), theory.variance_mmd(P, Q, m, n)
        ),
    }  # fmt: skip
    for name, (values, mean, variance) in found.items():
        assert values.mean() == pytest.approx(mean, abs=5 * (variance / repeats) ** 0.5), name
        assert values.var() == pytest.approx(variance, rel=0.04), name
    covariance = np.cov(found["self"][0], found["cross"][0])[0, 1]
    assert covariance == pytest.approx(theory.covariance_self_cross(P, Q, m), rel=0.1)


@pytest.mark.parametrize("t", [0.2, 0.4])
def test_tail_bound_is_not_exceeded(t):
    values = scores.mean_pairwise_distance(grams(drawn(P, 20_000, 10)))
    assert (np.abs(values - (1 - P @ P)) > t).mean() <= theory.tail_bound(10, t)


def test_scores_of_the_class_kernel_are_functions_of_the_cluster_sizes():
    for sizes in ([10], [4, 3, 2, 1], [5, 5], [1] * 6):
        classes = np.repeat(np.arange(len(sizes)), sizes)[None]
        gram, m, n = grams(classes), sum(sizes), np.array(sizes, dtype=float)
        share = n / m
        entropy = -(share * np.log(share)).sum()
        assert scores.mean_pairwise_distance(gram)[0] == pytest.approx(
            1 - (n * (n - 1)).sum() / (m * (m - 1))
        )
        assert scores.degree(gram)[0] == pytest.approx(1 - (share**2).sum())
        assert scores.eigenvalues(gram)[0] == pytest.approx(len(sizes))
        assert scores.kernel_entropy(gram)[0] == pytest.approx(entropy, abs=1e-9)
        assert scores.semantic_entropy(gram)[0] == pytest.approx(entropy, abs=1e-12)
        logs = np.log(n + 1e-3).sum() + (m - len(n)) * np.log(1e-3)
        assert scores.eigen_score(gram)[0] == pytest.approx(logs / m)
        assert scores.minority(gram)[0] == pytest.approx(1 - share.max())
        assert scores.cluster_count(gram)[0] == len(sizes)
        assert scores.eccentricity(gram)[0] == pytest.approx((len(sizes) - 1) ** 0.5, abs=1e-6)


def test_eccentricity_grows_with_the_clusters():
    one, two = grams(np.zeros((1, 6), int)), grams(np.array([[0, 0, 0, 1, 1, 1]]))
    assert scores.eccentricity(one)[0] < scores.eccentricity(two)[0]


def test_one_sample_has_no_pairwise_distance():
    with pytest.raises(ValueError, match="at least 2 samples"):
        scores.mean_pairwise_distance(np.ones((3, 1, 1)))


# The class model ---------------------------------------------------------------------------------------------


def small_population():
    return generator.population(generator.GeneratorPoint(classes=3, m=3, seed=1))


def test_enumeration_is_that_of_every_sequence_of_answers():
    population, m = small_population(), 3
    exact = theory.enumerate_population(population, m, m)
    assert exact.right.sum() + exact.wrong.sum() == pytest.approx(1)
    mass = {}
    for own, cross in itertools.product(itertools.product(range(3), repeat=m), repeat=2):
        chance = population.target[:, own].prod(1) * population.verifier[:, cross].prod(1) * population.weight
        pairs = tuple(
            sorted(zip(np.bincount(own, minlength=3), np.bincount(cross, minlength=3), strict=True))
        )
        mass[pairs] = mass.get(pairs, 0) + (chance * population.wrong).sum()
    assert len(mass) == len(exact.wrong)
    for own, cross, wrong in zip(exact.own, exact.cross, exact.wrong, strict=True):
        assert wrong == pytest.approx(mass[tuple(sorted(zip(own, cross, strict=True)))])


def test_oracles_are_the_best_and_a_second_model_does_not_hurt_them():
    exact = theory.enumerate_population(generator.population(generator.GeneratorPoint()), 6, 6)
    own, both = exact.auroc(exact.self_oracle), exact.auroc(exact.cross_oracle)
    assert exact.auroc(exact.self_distance) <= own <= both
    assert exact.auroc(exact.cross_distance) <= both
    noise = np.random.default_rng(0).random(exact.partition.max() + 1)
    assert exact.auroc(noise[exact.partition]) <= own


@pytest.mark.parametrize(
    ("confident", "shared", "verifier"), [(0.3, 0.2, 0.9), (0.6, 0.5, 0.7), (0.1, 0.0, 0.6)]
)
def test_sharp_limit_in_closed_form(confident, shared, verifier):
    right, wrong = 0.6, 0.4
    cells = [  # mass right, mass wrong, self score, cross score
        (right * verifier, 0, 0, 0), (right * (1 - verifier), 0, 0, 1), (0, wrong * confident * shared, 0, 0),
        (0, wrong * confident * (1 - shared), 0, 1), (0, wrong * (1 - confident), 1, 1),
    ]  # fmt: skip
    a, b, own, cross = (np.array(column, dtype=float) for column in zip(*cells, strict=True))
    wanted = theory.sharp_auroc(confident, shared, verifier)
    assert metrics.auroc(own, a, b) == pytest.approx(wanted["self"])
    assert metrics.auroc(cross, a, b) == pytest.approx(wanted["cross"])
    assert metrics.auroc(own * 2 + cross, a, b) == pytest.approx(wanted["both"])


# Budgets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [0.0, 0.25, 0.6, 1.0])
@pytest.mark.parametrize("slope", [0.4, 1.0, 2.5])
def test_best_policy_is_the_solution_of_the_linear_programme(budget, slope):
    """Variables: alarm mass of each outcome when asked, alarm and asking of each partition."""
    exact = theory.enumerate_population(small_population(), 3, 3)
    outcomes, partitions = len(exact.right), exact.partition.max() + 1
    gain = exact.wrong - slope * exact.right
    by_partition = np.zeros((partitions, outcomes))
    by_partition[exact.partition, np.arange(outcomes)] = 1
    mass = by_partition @ (exact.right + exact.wrong)
    objective = -np.concatenate([gain, by_partition @ gain, np.zeros(partitions)])
    rows = [  # alarm after asking <= asked; alarm without asking <= not asked; cost <= budget
        np.hstack([np.eye(outcomes), np.zeros((outcomes, partitions)), -by_partition.T]),
        np.hstack([np.zeros((partitions, outcomes)), np.eye(partitions), np.eye(partitions)]),
        np.concatenate([np.zeros(outcomes + partitions), mass])[None],
    ]
    limits = np.concatenate([np.zeros(outcomes), np.ones(partitions), [budget]])
    solved = linprog(objective, np.vstack(rows), limits, bounds=(0, 1))
    book = theory.ledger(exact, [slope])
    sent = theory.best_sent(book, budget)
    false, true = book.rates(sent)
    assert (true - slope * false)[0] == pytest.approx(-solved.fun, abs=1e-9)
    assert sent[0] @ book.mass <= budget + 1e-12


def test_frontiers_are_ordered_and_meet_the_oracles():
    exact = theory.enumerate_population(generator.population(generator.GeneratorPoint(classes=4)), 5, 5)
    area = lambda roc: np.trapezoid(roc[1], roc[0])  # noqa: E731
    for budget in (0.0, 0.3, 1.0):
        best, both, paper, lot = (
            area(theory.best_roc(exact, budget)),
            area(theory.interval_roc(exact, budget, both=True)),
            area(theory.interval_roc(exact, budget)),
            area(theory.random_roc(exact, budget)),
        )
        assert paper <= both + 1e-9 and both <= best + 1e-9 and lot <= best + 1e-9
    assert area(theory.best_roc(exact, 0.0)) == pytest.approx(exact.auroc(exact.self_oracle), abs=1e-3)
    assert area(theory.best_roc(exact, 1.0)) == pytest.approx(exact.auroc(exact.cross_oracle), abs=1e-3)


def test_intervals_spend_the_budget_on_neighbours():
    exact = theory.enumerate_population(generator.population(generator.GeneratorPoint(classes=4)), 5, 5)
    book, order = theory.ledger(exact, [1.0]), theory.by_distance(exact)
    for sent in theory.interval_starts(exact, book, 0.3):
        inside = np.flatnonzero(sent[order])
        assert (np.diff(inside) == 1).all() and sent @ book.mass <= 0.3 + 1e-12


def test_a_question_that_is_settled_is_worth_nothing():
    exact = theory.enumerate_population(small_population(), 3, 3)
    assert (theory.ledger(exact).value >= -1e-12).all()  # looking never costs
    assert theory.ledger(exact, [0.0]).value == pytest.approx(0)  # whoever always alarms need not look


# Evidence and detectors --------------------------------------------------------------------------------------


def questions(count, seed=0, m=8):
    """Texts: right answers agree with themselves and the verifier, wrong ones with neither or with themselves."""
    draw = np.random.default_rng(seed)
    wrong = draw.random(count) < 0.4
    confident = draw.random(count) < 0.5
    own = [
        [f"The answer {0 if c or not w else draw.integers(4)}." for _ in range(m)]
        for w, c in zip(wrong, confident, strict=True)
    ]
    said = [[f"answer {int(w)}" if draw.random() < 0.8 else "something" for _ in range(m)] for w in wrong]
    return own, said, wrong


def test_a_detector_in_a_few_lines_on_texts():
    own, said, wrong = questions(300)
    detector = ha.Cascade(budget=0.5).fit(own[:150], wrong[:150], verifier=said[:150])
    calls = []

    def ask(indices):
        calls.extend(indices)
        return [said[150 + i] for i in indices]

    risk, asked = detector.score(own[150:], verifier=ask)
    assert sorted(calls) == np.flatnonzero(asked).tolist() and 0.3 < asked.mean() < 0.7
    alone = ha.SelfConsistency().score(own[150:]).risk
    sides = metrics.masses(wrong[150:])
    assert metrics.auroc(risk, *sides) > metrics.auroc(alone, *sides) + 0.05


@pytest.mark.parametrize("name", list(detectors.catalogue((0.0, 0.4, 1.0))))
def test_every_detector_gives_a_finite_risk_and_keeps_its_budget(name):
    own, said, wrong = questions(160)
    given = ha.evidence(own, said, [drawn[0] for drawn in own])
    detector = detectors.catalogue((0.0, 0.4, 1.0))[name]
    risk, asked = detector.fit(given, wrong).score(given)
    assert risk.shape == (160,) and np.isfinite(risk).all()
    if name.split()[-1] in ("0", "0.4", "1"):
        assert asked.mean() == pytest.approx(float(name.split()[-1]), abs=0.1)


@pytest.mark.parametrize("budget, low, high", [(0.1, 0.0, 0.2), (0.9, 0.8, 1.0)])
def test_a_cascade_asks_few_where_its_budget_is_small_and_many_where_it_is_large(budget, low, high):
    own, said, wrong = questions(400)
    given = ha.evidence(own, said)
    for detector in (
        ha.Cascade(budget=budget),
        ha.Cascade(budget=budget, slope=1.0),
        ha.TwoStage(budget=budget),
    ):
        assert low <= detector.fit(given, wrong).score(given).asked.mean() <= high


def test_the_interval_lies_where_it_serves_the_calibration_questions_best():
    own, said, wrong = questions(300)
    given, sides = ha.evidence(own, said), metrics.masses(wrong)
    area = lambda detector: metrics.auroc(detector.fit(given, wrong).score(given).risk, *sides)  # noqa: E731
    starts = np.linspace(0, 0.7, detectors.POSITIONS)
    elsewhere = [area(ha.TwoStage(budget=0.3, start=start)) for start in starts]
    assert area(ha.TwoStage(budget=0.3)) == max(elsewhere) > min(elsewhere) + 0.02


def test_the_interval_rule_keeps_its_order():
    own, said, wrong = questions(200)
    detector = ha.TwoStage(budget=0.4, start=0.3).fit(own, wrong, verifier=said)
    risk, asked = detector.score(own, verifier=said)
    distance = ha.SelfConsistency().score(own).risk
    below, above = ~asked & (risk < risk[asked].min()), ~asked & (risk > risk[asked].max())
    assert (asked | below | above).all() and asked.mean() == pytest.approx(0.4, abs=0.02)
    assert distance[below].max() <= distance[asked].min() and distance[asked].max() <= distance[above].min()


def test_texts_and_classes_give_the_same_evidence():
    own, said = drawn(P, 5, 6), drawn(Q, 5, 4, seed=1)
    by_class = ha.class_evidence(own, said, own[:, 0])
    texts = lambda rows: [[f"answer {c}" for c in row] for row in rows]  # noqa: E731
    by_text = ha.evidence(texts(own), texts(said), [f"answer {c}" for c in own[:, 0]])
    everything = np.ones(5, dtype=bool)
    for a, b in zip(by_class.cross(everything), by_text.cross(everything), strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(by_class.own, by_text.own) and np.array_equal(by_class.answer, by_text.answer)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ha.SelfConsistency(statistic="entropy"), "statistic"),
        (lambda: ha.TwoStage(budget=1.5), "share of the questions"),
        (lambda: ha.Cascade(budget=-0.1), "share of the questions"),
        (lambda: ha.Cascade(route="best"), "route"),
        (lambda: ha.SelfCheck().score([["a", "b"]]), "give `answers`"),
        (lambda: ha.CrossConsistency().score([["a", "b"]]), "give its samples"),
        (lambda: ha.evidence([["a", "b"], ["a"]]), "same number of samples"),
        (lambda: ha.SelfConsistency().fit([["a", "b"]] * 2, [True]), "2 questions but 1 labels"),
        (lambda: ha.SelfConsistency().fit([["a", "b"]] * 2, [True, True]), "all labels are the same"),
        (lambda: generator.GeneratorPoint(shared=2.0), "shared is a share"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make, message):
    with pytest.raises((ValueError, BadInput), match=message):
        make()


# Worlds ------------------------------------------------------------------------------------------------------

TINY = worlds.WorldPoint(entities=30, answers=2, steps=4, batch=16, m=4, budgets=(0.5,), oracle_steps=4)


def test_corpora_share_misconceptions_and_a_twin_its_errors():
    point = worlds.WorldPoint(seed=3)
    world = worlds.make_world(point)
    corpora = worlds.make_corpora(point, world)
    common = world.common > 0
    assert all((c.told[common] == world.myth[common]).all() for c in corpora.values())

    def same(a, b):
        """How many idiosyncratic errors two corpora share."""
        both = (corpora[a].told != world.truth) & (corpora[a].told == corpora[b].told)
        return both[~common].sum()

    assert same("base", "twin") > 10 * max(1, same("base", "peer"))
    assert corpora["large"].covered.mean() == pytest.approx(0.9, abs=0.05)


def test_sentences_tell_what_the_corpus_tells():
    world = worlds.make_world(TINY)
    corpus = worlds.make_corpora(TINY, world)["base"]
    tokens = worlds.sentences(TINY, world, corpus, worlds.Streams([0]))[0]
    fact = {tuple(prompt.tolist()): number for number, prompt in enumerate(world.prompt)}
    numbers = [fact[tuple(row[:2].tolist())] for row in tokens]
    assert corpus.covered[numbers].all()
    wanted = worlds.answer_tokens(TINY, tokens[:, 1], torch.tensor(corpus.told[numbers]))
    assert torch.equal(tokens[:, 3], wanted) and int(tokens.max()) < TINY.vocabulary


def test_a_world_is_measured_on_every_pair():
    (found,) = worlds.run_worlds([TINY])
    rows = pd.DataFrame({name: found[name] for name in measures.ROWS})
    assert len(rows[rows["verifier"] != ""].groupby(["target", "verifier"])) == 25
    assert rows["asked"].between(0, 1).all() and found["model"] == list(worlds.POOL)
    json.dumps(found)


# Tables and claims -------------------------------------------------------------------------------------------


def world_table(**auroc):
    """Two worlds of one pair and its control, with the AUROC of each detector."""
    rows = []
    for seed in (0, 1, 2):
        own = {"mean pairwise distance": 0.7, "self oracle": 0.705}
        names = [("base", "", name, 0.0, value) for name, value in own.items()]
        for verifier, loss in (("peer", 0.0), ("base", 0.05)):
            names += [
                (
                    "base",
                    verifier,
                    re.sub(r"_", " ", key.rsplit("__")[0]),
                    float(key.rsplit("__")[1]),
                    value - loss,
                )
                for key, value in auroc.items()
            ]
        target, verifier, detector, budget, value = map(list, zip(*names, strict=True))
        blank = [0.0] * len(names)
        rows.append(
            {"seed": seed, "target": target, "verifier": verifier, "detector": detector, "budget": budget}
            | {
                "auroc": [v + 0.001 * seed for v in value],
                "auarc": blank,
                "error": blank,
                "asked": blank,
                "wrong": blank,
            }
        )
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("measure", "effect"),
    [
        (measures.learned_room, 0.015),
        (measures.learned_gain, 0.095),
        (measures.second_model_gain, 0.05),
        (measures.keeps_at_half, 0.03),
        (measures.keeps_the_logistic, -0.02),
        (measures.cross_over_mmd, 0.04),
    ],
)
def test_claims_on_worlds_measure_what_they_say(measure, effect):
    reached = {"cross_oracle__1": 0.8, "value__1": 0.79, "cross_distance__1": 0.74, "MMD__1": 0.7}
    table = world_table(**reached, **{"interval__0.5": 0.76, "interval__1": 0.74})
    assert measure(table).value == pytest.approx(effect, abs=1e-9)


def test_a_claim_without_its_points_is_not_run():
    with pytest.raises(MissingPoints):
        measures.interval_over_lot(world_table(**{"interval__0.3": 0.7}))


def test_claims_on_the_generator_follow_the_signs():
    points = [generator.GeneratorPoint(classes=3, m=3, calibration=120, seed=seed) for seed in (0, 1)]
    rows = [vars(p) | row for p, row in zip(points, generator.run_generator(points), strict=True)]
    table = pd.DataFrame(rows)
    assert measures.exact_gain(table).value > 0
    better = table.assign(self_oracle=table["self"] + 0.05)
    assert measures.exact_room(table).value > 0 > measures.exact_room(better).value
    assert measures.exact_interval_over_lot(table).value == pytest.approx(
        np.mean([np.subtract(r["exact_interval"][2:6], r["exact_random"][2:6]).mean() for r in rows])
    )
    long = tables.curves(table, {"exact_best": "best"})
    assert len(long) == 2 * len(generator.BUDGETS)


def test_self_checks_tell_right_from_wrong(capsys):
    m = lambda counts: counts.sum()  # noqa: E731
    ha.exercises.check_pairwise(lambda n: 1 - (n * (n - 1)).sum() / (m(n) * (m(n) - 1)))
    ha.exercises.check_pairwise(lambda n: 1 - ((n / m(n)) ** 2).sum())
    ha.exercises.check_pairwise(lambda n: None)

    def value(eta, sensitivity, specificity, slope):
        gain = lambda wrong, right: max(0.0, wrong - slope * right)  # noqa: E731
        asked = gain(eta * sensitivity, (1 - eta) * (1 - specificity))
        asked += gain(eta * (1 - sensitivity), (1 - eta) * specificity)
        return asked - gain(eta, 1 - eta)

    ha.exercises.check_value(value)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("right") and said[1].startswith("not yet") and said[3].startswith("right")
    assert said[2] == "not yet: your function returns nothing"
