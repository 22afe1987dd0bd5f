"""Chapter 2: the theory against independent computations, the training of heads, the late set, what claims conclude."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from beyondloss.experiment import MissingPoints, table
from beyondloss.methods.simplicity_bias import (
    CHAPTER,
    arithmetic,
    attention,
    exercises,
    incontext,
    late_examples,
    measures,
    tables,
    theory,
)
from beyondloss.methods.simplicity_bias.arithmetic import ArithmeticPoint
from beyondloss.methods.simplicity_bias.finetuning import TUNED, run_finetuning
from beyondloss.methods.simplicity_bias.incontext import InContextPoint, run_incontext
from beyondloss.trainers import SAM

FOUR = theory.InContext((0.4, 0.3, 0.2, 0.1), 32)
THREE = theory.InContext((0.55, 0.30, 0.15), 32)
SHORT = InContextPoint(heads=3, steps=30, budget=20, proxy_steps=5, kept=3)
POOL = replace(SHORT, prompts=24)


# Theory


@pytest.mark.parametrize("task", [FOUR, THREE, theory.InContext((1.0,), 4)])
@pytest.mark.parametrize("start, share", [(0.05, 0.5), (0.3, 0.4), (0.01, 0.9)])
def test_learning_times_in_closed_form_are_their_integrals(task, start, share):
    weights = np.linspace(0.5, 2, len(task.spectrum))
    expected = theory.learning_time(task, start, share, weights)
    assert theory.learning_time_closed(task, start, share, weights) == pytest.approx(expected, rel=1e-8)


def test_learning_times_are_those_of_the_solved_equation():
    assert theory.flow(FOUR, 0.05).learned == pytest.approx(theory.learning_time(FOUR, 0.05), rel=1e-6)
    assert theory.learning_time(FOUR, 0.05) == pytest.approx(
        [120.943254, 215.619729, 486.828972, 1956.433371]
    )


@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_population_loss_and_second_moment_by_monte_carlo(noise):
    task, generator = theory.InContext((0.6, 0.4), 4, noise), np.random.default_rng(0)
    drawn, lam, n = attention.draw_prompts(task, 100_000, generator), task.eigenvalues, task.context
    moments = drawn.beta[:, :, None] * drawn.beta[:, None]
    assert standard_errors(moments, np.diag(task.second_moment)) < 4
    lacking = (lam * lam.sum() / n, lam**2 / n, *([noise**2 * lam / n] if noise else []))
    for part in lacking:  # each term in 1 / N is seen
        assert standard_errors(moments, np.diag(task.second_moment - part)) > 8
    matrix = np.array([[0.9, 0.2], [-0.3, 0.5]])
    clean = np.einsum("pd,de,pe->p", drawn.beta, matrix, drawn.query) - drawn.label
    assert standard_errors(clean**2 / 2, theory.population_loss(task, matrix)) < 4
    each = clean[:, None, None] * drawn.beta[:, :, None] * drawn.query[:, None]
    assert standard_errors(each, theory.population_gradient(task, matrix)) < 4


def standard_errors(values, expected) -> float:
    """Largest deviation of the mean over the first axis from what is expected, in standard errors."""
    return np.abs((values.mean(0) - expected) / (values.std(0) / np.sqrt(len(values)))).max()


def test_population_gradient_is_the_derivative_and_vanishes_at_the_optimum():
    query, matrix = np.array([0.2, 0.5, 0.3, 0.1]), np.random.default_rng(0).normal(size=(4, 4))
    slope = theory.population_gradient(FOUR, matrix, query)
    for row, column in np.ndindex(4, 4):
        step = np.zeros((4, 4))
        step[row, column] = 1e-5
        up, down = (theory.population_loss(FOUR, matrix + sign * step, query) for sign in (1, -1))
        assert (up - down) / 2e-5 == pytest.approx(slope[row, column], abs=1e-8)
    assert np.abs(theory.population_gradient(FOUR, np.diag(FOUR.optimum), query)).max() < 1e-15


def test_typed_queries_have_the_covariance_of_the_inputs():
    drawn = attention.draw_prompts(FOUR, 40_000, np.random.default_rng(0), typed=True)
    assert ((drawn.query != 0).sum(1) == 1).all()
    assert (drawn.query.T @ drawn.query) / 40_000 == pytest.approx(np.diag(FOUR.eigenvalues), abs=0.01)


def test_known_times_under_sam():
    """Found by two other solvers before this library was written."""
    assert theory.flow(THREE, 0.3, 0.4).learned == pytest.approx([35.66, 43.54, 242.1], rel=1e-3)
    assert np.isinf(theory.flow(THREE, 0.3, 1.0).learned[0])


@pytest.mark.parametrize("rho", [0.05, 0.3])
def test_upsampling_divides_the_ratio_exactly_and_sam_does_not_speed_up(rho):
    plain = theory.flow(THREE, 0.3, share=0.4).learned
    weights = np.array([0.5, 0.5, 2.0])
    assert theory.flow(THREE, 0.3, 0.0, weights, share=0.4).learned * weights == pytest.approx(
        plain, rel=1e-5
    )
    assert (theory.flow(THREE, 0.3, rho, share=0.4).learned > plain).all()


def test_the_delay_is_first_order_and_has_a_counter_example():
    cases = {(0.5, 0.3, 0.2): True, (0.45, 0.45, 0.1): False, (0.48, 0.42, 0.1): False, (0.4, 0.4, 0.2): True}
    for spectrum, falls in cases.items():
        task = theory.InContext(spectrum)
        plain, sharp = (theory.flow(task, 0.003, rho).learned for rho in (0.0, 6e-5))
        assert (sharp / plain - 1) / 0.02 == pytest.approx(theory.relative_delay(task), rel=0.04)
        assert (sharp[-1] / sharp[0] < plain[-1] / plain[0]) == falls


@pytest.mark.parametrize("rho", [0.3, 0.515])
def test_below_its_bound_sam_loses_no_direction(rho):
    assert rho < np.sqrt(3) * 0.3
    assert np.isfinite(theory.flow(THREE, 0.3, rho, share=0.9).learned).all()


def test_above_its_bound_a_direction_left_alone_stays_below_the_barrier():
    """Theorem sb-lost: rho lies between sqrt(3) s0 and s0 / u_1, and it is the slowest direction that is lost."""
    slow = theory.InContext((0.48, 0.42, 0.04))
    assert np.sqrt(3) * 0.03 < 0.06 < theory.largest_rho(slow, 0.03)
    solved = theory.flow(slow, 0.03, 0.06)
    assert np.isfinite(solved.learned).tolist() == [True, True, False]
    assert solved.factors[2].max() < 0.06 / np.sqrt(3)


def test_equivalent_upsampling_starts_at_one_and_grows():
    factors = [theory.equivalent_upsampling(THREE, 0.3, rho) for rho in (0.0, 0.2, 0.4)]
    assert factors[0] == pytest.approx(1, rel=1e-5)
    assert factors[2] == pytest.approx(14.742 / 6.789, rel=1e-3) and factors[1] < factors[2]


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"spectrum": (0.1, 0.2)}, "positive and falls"),
        ({"context": 0}, "context"),
        ({"noise": -1.0}, "noise"),
    ],
)
def test_impossible_tasks_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        theory.InContext(**wrong)


# Heads


def test_a_step_of_sam_on_heads_is_that_of_the_library_on_tensors():
    heads = attention.small_heads(4, 3, 0.6, [5])
    gradient = incontext.typed_gradient(InContextPoint())
    matrices = incontext.train(heads, gradient, lr=0.3, rho=0.2, steps=1)
    v, k, q = (torch.nn.Parameter(torch.tensor(part[0])) for part in (heads.v, heads.k, heads.q))
    gamma, lam = torch.tensor(FOUR.second_moment), torch.tensor(FOUR.eigenvalues)
    sam = SAM(torch.optim.SGD([v, k, q], lr=0.3), rho=0.2)

    def closure():
        sam.zero_grad()
        m = torch.einsum("h,hd,he->de", v, k, q)
        loss = (gamma[:, None] * lam * m**2).sum() / 2 - (lam**2 * m.diagonal()).sum()
        loss.backward()
        return loss.detach()

    sam.step(closure)
    expected = torch.einsum("h,hd,he->de", v, k, q).detach().numpy()
    assert matrices[1, 0] == pytest.approx(expected, abs=1e-12)


def test_heads_start_balanced_and_small_steps_keep_them_so():
    heads = attention.small_heads(4, 5, 0.4, [0, 1])
    assert heads.imbalance == pytest.approx([0, 0], abs=1e-12)
    pull = heads.gradient(np.random.default_rng(0).normal(size=(2, 4, 4)))
    drift = [heads.moved(pull, -lr).imbalance.max() for lr in (1e-3, 1e-4)]
    assert drift[0] / drift[1] == pytest.approx(100, rel=0.1)  # second order: the flow conserves it


@pytest.mark.parametrize(
    "point", [SHORT, replace(SHORT, rho=0.2), replace(POOL, batch=8, data="late by proxy x2")]
)
def test_a_seed_measures_the_same_alone_and_beside_others(point):
    beside = run_incontext([replace(point, seed=s) for s in (3, 1)])
    (alone,) = run_incontext([replace(point, seed=1)])
    assert beside[1]["loss"] == pytest.approx(alone["loss"], abs=1e-9)


def test_weights_of_types():
    assert incontext.type_weights("late x2", 4) == pytest.approx(np.array([1, 1, 2, 2]) * 4 / 6)
    assert incontext.type_weights("early x2", 4) == pytest.approx(np.array([2, 2, 1, 1]) * 4 / 6)
    assert incontext.type_weights("as drawn", 3) == pytest.approx([1, 1, 1])


def test_on_a_whole_pool_copies_and_weights_are_one_and_batches_have_them_as_mean():
    copied, reweighted = (replace(POOL, data=data) for data in ("late x2", "late, reweighted x2"))
    matrix = np.random.default_rng(0).normal(size=(1, 4, 4))
    whole = incontext.pool_gradient(copied, [0])(matrix, 0)
    assert incontext.pool_gradient(reweighted, [0])(matrix, 0) == pytest.approx(whole)
    for point in (copied, reweighted):
        in_batches = incontext.pool_gradient(replace(point, batch=16), [0])
        mean = np.mean([in_batches(matrix, step) for step in range(3000)], axis=0)
        assert mean == pytest.approx(whole, abs=0.06 * np.abs(whole).max())


def test_both_gradients_of_a_step_see_one_batch():
    gradient = incontext.pool_gradient(replace(POOL, batch=8), [0])
    matrix = np.eye(4)[None]
    assert np.array_equal(gradient(matrix, 3), gradient(matrix, 3))
    assert not np.array_equal(gradient(matrix, 3), gradient(matrix, 4))


@pytest.mark.parametrize("data, count", [("late by proxy x2", 12), ("random x2", 12)])
def test_doubled_examples_are_as_many_as_asked(data, count):
    point = replace(POOL, data=data)
    prompts = attention.draw_prompts(point.task, 24, np.random.default_rng(0), True)
    copies = incontext.copies_of(point, prompts, 0)
    assert copies.mean() == pytest.approx(1)
    assert (copies == copies.max()).sum() == count


@pytest.mark.parametrize("batch, cost", [(8, 5 * 8), (0, 5 * 24)])
def test_a_proxy_pass_costs_batches_where_training_does(monkeypatch, batch, cost):
    point, gradients = replace(POOL, batch=batch), []
    prompts = attention.draw_prompts(point.task, 24, np.random.default_rng(0), True)
    whole = incontext.Pool.gradient

    def counted(pool, matrix):
        gradients.append(pool.label.size)
        return whole(pool, matrix)

    monkeypatch.setattr(incontext.Pool, "gradient", counted)
    assert incontext.proxy_losses(point, prompts, 0).shape == (24,)
    assert sum(gradients) == cost


def test_a_proxy_pass_starts_from_the_heads_that_training_starts_from(monkeypatch):
    seeds, make = [], incontext.small_heads

    def spied(directions, heads, start, members):
        seeds.append(list(members))
        return make(directions, heads, start, members)

    monkeypatch.setattr(incontext, "small_heads", spied)
    run_incontext([replace(POOL, data="late by proxy x2", seed=5)])
    assert seeds == [[5], [5]]


@pytest.mark.parametrize("rho, step", [(0.0, 20), (0.2, 10)])
def test_a_step_of_sam_counts_two_gradients(rho, step):
    (row,) = run_incontext(
        [replace(SHORT, rho=rho)]
    )  # compared after 20 gradients, kept at steps 0, 10, 20 and 30
    assert row["step"][step // 10] == step
    assert row["loss_at_gradients"] == pytest.approx(row["loss"][step // 10], abs=1e-5)
    assert row["loss_at_steps"] == pytest.approx(row["loss"][2], abs=1e-5)
    assert row["loss"][1] - row["loss"][2] > 1e-4


def test_divergence_is_told_and_does_not_raise():
    with np.errstate(all="ignore"):
        (row,) = run_incontext([replace(SHORT, lr=1e3)])
    assert row["diverged_at"] is not None


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"data": "random x2"}, "needs a pool"),
        ({"steps": 0}, "steps must be"),
        ({"share": 1.0}, "share must lie"),
    ],
)
def test_impossible_points_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        InContextPoint(**wrong)


# The late set


def test_late_and_early_sets_by_hand():
    losses = np.array([[1.0, 5.0, 0.0, 3.0], [1.0, 1.0, 0.0, 4.0]])  # means 1, 3, 0, 3.5
    assert late_examples.late_set(losses, 0.5).tolist() == [1, 3]
    assert late_examples.early_set(losses, 0.25).tolist() == [2]
    assert late_examples.upsampled(4, np.array([1, 3])).tolist() == [0, 1, 2, 3, 1, 3]
    assert late_examples.upsampled(2, np.array([0]), copies=3).tolist() == [0, 1, 0, 0]
    with pytest.raises(ValueError, match="share must lie"):
        late_examples.late_set(losses, 1.0)


# Arithmetic

TINY = ArithmeticPoint(
    "adamw, as given", lr=3e-3, width=8, heads=2, pretraining_steps=3, examples=40, steps=6, batch=8
)


def test_answers_are_right_and_digits_are_split_once():
    parts = arithmetic.split_digits(5, seed=0)
    assert [len(p) for p in parts] == [375, 125, 125]
    assert len(torch.cat(parts).unique(dim=0)) == 625
    examples = arithmetic.make_examples("b - d", torch.tensor([[1, 2, 3, 4]]), 5)
    assert examples.answers.tolist() == [(2 - 4) % 5]
    assert examples.tokens.tolist() == [[5 + list(arithmetic.TASKS).index("b - d"), 1, 2, 3, 4, 13]]
    assert arithmetic.vocabulary(5) == 14


def test_a_mixture_has_its_shares():
    data = arithmetic.mixture(arithmetic.FINE_TUNING, arithmetic.split_digits(5, 0)[0], 5, 1000, 0)
    counts = [
        (data.tasks == list(arithmetic.TASKS).index(task)).sum().item() for task in arithmetic.FINE_TUNING
    ]
    assert counts == [400, 300, 150, 150]


@pytest.mark.parametrize("arm", arithmetic.ARMS)
def test_every_arm_runs_and_doubles_as_many(arm):
    rows = arithmetic.run_arithmetic([replace(TINY, arm=arm, seed=s) for s in (0, 1)])
    doubled = 12 if arm.endswith(("x2", "varied")) else 0
    assert [sum(row["doubled_by_task"]) for row in rows] == [doubled, doubled]
    assert all(0 <= row["accuracy"] <= 1 and row["diverged_at"] is None for row in rows)
    if arm.endswith("hard tasks x2"):
        assert rows[0]["doubled_by_task"] == [0, 0, 6, 6]


def test_a_varied_example_keeps_its_answer_and_stays_among_the_digits_to_train_on():
    digits = arithmetic.split_digits(5, seed=0)[0]
    examples = arithmetic.mixture(arithmetic.FINE_TUNING, digits, 5, 400, seed=0)
    other = arithmetic.varied(examples, digits, seed=1)
    known = {tuple(row) for row in digits.tolist()}
    assert all(tuple(row) in known for row in other.tokens[:, 1:5].tolist())
    assert (other.tokens[:, 1:5] != examples.tokens[:, 1:5]).any(1).float().mean() > 0.8
    for task, rule in arithmetic.TASKS.items():
        rows = other.tasks == list(arithmetic.TASKS).index(task)
        assert torch.equal(rule(*other.tokens[rows, 1:5].T) % 5, examples.answers[rows])


def test_arms_of_a_seed_start_from_the_same_weights():
    first, second = (
        arithmetic.start(replace(TINY, arm=arm), [4]) for arm in ("adamw, as given", "muon, late x2")
    )
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_point_without_a_rate_takes_the_tuned_one():
    (tuned,) = run_finetuning([replace(TINY, lr=0.0)])
    (named,) = arithmetic.run_arithmetic([replace(TINY, lr=TUNED[TINY.arm])])
    assert tuned == named


def test_the_tuned_rates_are_what_the_stored_points_say():
    points = table(CHAPTER.preset("quick")["tuning"])
    assert len(points) == points.attrs["planned"]
    assert tables.tuned_rates(points) == TUNED


@pytest.mark.parametrize("wrong, said", [({"share": 0.0}, "share"), ({"lr": -1.0}, "lr")])
def test_impossible_arithmetic_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        replace(TINY, **wrong)


# Claims and tables


def points_of(values: dict[tuple[str, float], list[float]], metric: str) -> pd.DataFrame:
    rows = [
        {"data": data, "rho": rho, "seed": seed, "prompts": 50, "noise": 0.3, metric: value}
        for (data, rho), column in values.items()
        for seed, value in enumerate(column)
    ]
    return pd.DataFrame(rows)


def test_an_effect_is_positive_where_the_claim_is_right():
    ratio = points_of(
        {("as drawn", 0.0): [3.0, 2.0], ("as drawn", 0.2): [2.5, 1.4], ("late x2", 0.0): [2.0, 1.2]},
        "log_ratio",
    )
    assert measures.sam_lowers_ratio(ratio).value == pytest.approx(0.55)
    assert measures.late_lowers_ratio(ratio).value == pytest.approx(0.9)
    loss = points_of({("as drawn", 0.0): [0.2, 0.4], ("as drawn", 0.3): [0.1, 0.5]}, "best_loss")
    assert measures.sam_on_few_noisy_prompts(loss).value == pytest.approx(0.0)
    accuracy = pd.DataFrame(
        [
            {"arm": f"adamw, {d} x2", "seed": s, "accuracy": a + longer, "steps": 300 + 300 * (longer > 0)}
            for d, a, longer in (
                ("late", 0.4, 0.4),
                ("random", 0.5, 0.2),
                ("late", 0.1, 0.0),
                ("random", 0.9, 0.0),
            )
            for s in (0, 1)
        ]
    )
    assert measures.gain(accuracy, "adamw, late x2", "adamw, random x2").value == pytest.approx(0.1)
    with pytest.raises(MissingPoints):
        measures.gain(accuracy, "muon, late x2", "muon, random x2")


def test_a_small_language_model_gains_where_the_loss_falls_below_that_of_random_doubling():
    losses = {"as given": 81.0, "late x2": 79.0, "random x2": 80.5}
    table_ = pd.DataFrame(
        [
            {
                "seed": s,
                "optimizer": o,
                "data": d,
                "test_loss": loss + s,
                "exact_match": 0.1,
                "exact_match_before": 0.0,
            }
            for s in (0, 1)
            for o in ("adamw", "muon")
            for d, loss in losses.items()
        ]
    )
    assert measures.small_language_model_gain(table_).value == pytest.approx(1.5)
    shown = tables.language_model_table(table_)
    assert list(shown["below random x2"][:3]) == [
        "-0.50 [-0.50, -0.50]",
        "+1.50 [+1.50, +1.50]",
        "+0.00 [+0.00, +0.00]",
    ]
    assert not any("_" in head for head in shown)
    with pytest.raises(MissingPoints):
        measures.small_language_model_gain(table_[table_["data"] != "late x2"])


def measured_prompts():
    """Two trainings on two numbers of prompts: losses of SAM are a tenth lower, its learning times closer by 0.5."""
    return pd.DataFrame(
        [
            {"data": "as drawn", "rho": rho, "prompts": prompts, "noise": 0.3, "seed": seed}
            | {"learned_at": [10, 40 - 20 * bool(rho)], "log_ratio": 1.5 - 0.5 * bool(rho) + seed}
            | dict.fromkeys(
                ("loss_at_steps", "loss_at_gradients", "best_loss", "final_loss"), 0.9 if rho else 1.0
            )
            for rho in (0.0, 0.2)
            for prompts in (50, 150)
            for seed in (0, 1)
        ]
    )


def test_tables_say_how_much_lower_a_training_is_paired_by_seed():
    one_size = measured_prompts().query("prompts == 50")
    (row,) = tables.falls(one_size, [("SAM 0.2", "as drawn")]).to_dict("records")
    assert row["log ratio"] == "+0.500 [+0.500, +0.500]"
    assert row["loss at equal steps"] == "+0.1000 [+0.1000, +0.1000]"
    (back,) = tables.falls(one_size, [("as drawn", "SAM 0.2")]).to_dict("records")
    assert back["log ratio"].startswith("-0.500")
    by_noise = tables.noise_table(measured_prompts(), ["SAM 0.2"], "best_loss", "loss_at_gradients")
    assert by_noise["prompts"].tolist() == [50, 150, 50, 150]
    assert by_noise["loss read"].tolist() == ["each at its best"] * 2 + ["at equal gradients"] * 2
    assert set(by_noise["label noise 0.3"]) == {"+10.5 [+10.5, +10.5]"}
    shown = tables.summary(one_size)
    assert shown["last over first"].tolist() == [4.0, 2.0] and not any("_" in head for head in shown)


def test_fine_tuning_is_compared_by_optimizer_at_the_largest_budget():
    accuracy = {"late x2": 0.9, "random x2": 0.7, "hard tasks x2": 0.8, "early x2": 0.6, "longer": 0.95}
    accuracy |= {"late varied": 0.5, "random varied": 0.5}
    rows = [
        {"arm": f"{optimizer}, {data}", "steps": steps, "seed": seed}
        | {"accuracy": value - 0.1 * (optimizer == "muon") * (data == "late x2") if steps == 600 else 0.0}
        for optimizer in ("adamw", "muon")
        for data, value in accuracy.items()
        for steps in (300, 600)
        for seed in (0, 1)
    ]
    shown = tables.comparisons(pd.DataFrame(rows))
    gained = [cell.split()[0] for cell in shown["with AdamW"]]
    assert gained == ["+0.200", "+0.100", "-0.100", "+0.000", "-0.050"]
    assert shown["with Muon"][0].startswith("+0.100")


def test_gains_are_over_random_doubling_with_the_same_optimizer_and_budget():
    accuracy = {"as given": 0.5, "late x2": 0.7, "random x2": 0.6}
    rows = [
        {"arm": f"{o}, {d}", "steps": steps, "seed": s, "accuracy": a + steps / 1e4 + (o == "muon") * a}
        for o in ("adamw", "muon")
        for steps in (300, 600)
        for s in (0, 1)
        for d, a in accuracy.items()
    ]
    gains = tables.gains(pd.DataFrame(rows)).set_index(["optimizer", "steps", "data"])["mean"]
    assert gains["adamw", 300, "late x2"] == pytest.approx(0.1)
    assert gains["muon", 600, "as given"] == pytest.approx(-0.2)
    assert "random x2" not in gains.index.get_level_values("data")


def test_a_time_that_never_came_does_not_count_for_the_claim():
    ratio = points_of({("as drawn", 0.0): [3.0, 2.0], ("as drawn", 0.2): [2.5, None]}, "log_ratio")
    assert np.isnan(measures.sam_lowers_ratio(ratio).value)


def test_differences_are_paired():
    rows = points_of({("as drawn", 0.0): [1.0, 9.0], ("late x2", 0.0): [0.5, 8.5]}, "log_ratio")
    change = tables.against(rows, "log_ratio", ["data", "rho"], {"data": "as drawn", "rho": 0.0}, sign=-1)
    late_row = change[change["data"] == "late x2"].iloc[0]
    assert late_row["mean"] == late_row["low"] == late_row["high"] == pytest.approx(0.5)


def test_staircases_cover_the_grid_and_agree_where_the_levers_are_at_rest():
    solved = tables.staircases((0.5, 0.8), (0.0, 0.3), (1, 4))
    plain, sam, up = (solved[name] for name in ("Gradient descent", "SAM", "Upsampling"))
    assert plain.shares.shape == (2, 4, 60) and sam.shares.shape == up.shares.shape == (2, 2, 4, 60)
    assert sam.shares[:, 0] == pytest.approx(plain.shares) and up.ratio[:, 0] == pytest.approx(plain.ratio)
    assert up.ratio[:, 0] / up.ratio[:, 1] == pytest.approx([4, 4], rel=1e-4)


# Exercises


def test_exercises_accept_the_solution_and_refuse_another(capsys):
    exercises.check_speed(lambda s, lam, gamma, w: w * s**2 * lam * (lam - gamma * s**3))
    exercises.check_late_set(late_examples.late_set)
    assert capsys.readouterr().out == "right on 50 random heads\nright on 50 random tables of losses\n"
    exercises.check_speed(lambda s, lam, gamma, w: s**2 * lam * (lam - gamma * s**3))
    exercises.check_late_set(late_examples.early_set)
    exercises.check_late_set(lambda losses, share: None)
    assert capsys.readouterr().out.count("not yet") == 3
