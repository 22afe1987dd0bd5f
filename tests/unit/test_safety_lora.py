"""Chapter 8: every statement against an independent computation that a wrong constant, factor or sign would fail."""

import math

import numpy as np
import pytest
import torch

from beyondloss.methods.safety_lora import linear, theory

M, N = 7, 5


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def moment(size, seed=0):
    root = drawn(size, 2 * size, seed=seed)
    return root @ root.T / (2 * size)


# what an update costs ---------------------------------------------------------------------------------------


def loss(weights, inputs, targets, metric):
    error = weights @ inputs - targets
    return 0.5 * np.mean(np.sum(error * (metric @ error), axis=0))


def interference_is_right(formula):
    """The rise of a loss, measured, with a minimiser and without."""
    inputs, targets, metric, update = drawn(N, 40), drawn(M, 40, seed=1), moment(M, 2), drawn(M, N, seed=3)
    second = inputs @ inputs.T / 40
    best = targets @ np.linalg.pinv(inputs)
    elsewhere = best + 0.3 * drawn(M, N, seed=4)
    for weights in (best, elsewhere):
        residual = (weights @ inputs - targets) @ inputs.T / 40
        rise = loss(weights + update, inputs, targets, metric) - loss(weights, inputs, targets, metric)
        if formula(update, second, metric, residual) != pytest.approx(rise, rel=1e-10):
            return False
    at_best = loss(best + update, inputs, targets, metric) - loss(best, inputs, targets, metric)
    return formula(update, second, metric) == pytest.approx(at_best, rel=1e-10)


def test_interference():
    right = theory.interference
    assert interference_is_right(right)
    assert not interference_is_right(lambda *a: 2 * right(*a))
    assert not interference_is_right(lambda d, s, m, r=None: right(d, s, None, r))
    assert not interference_is_right(lambda d, s, m, r=None: right(d, s, m))
    assert not interference_is_right(lambda d, s, m, r=None: right(d, s, m, None if r is None else -r))
    assert not interference_is_right(lambda d, s, m, r=None: right(d, s @ s, m, r))


def test_kfac_form_is_the_curvature_where_inputs_and_output_hessians_are_independent():
    """A product grid of inputs and output scales: the expectation factorises, and so must the second derivative."""
    torch.manual_seed(0)
    inputs, scales = torch.randn(6, N, dtype=torch.float64), torch.rand(4, M, dtype=torch.float64)
    weight, update = torch.randn(M, N, dtype=torch.float64), torch.randn(M, N, dtype=torch.float64)

    def mean_loss(size):
        outputs = inputs @ (weight + size * update).T
        return (0.5 * scales[:, None] * outputs[None] ** 2).sum(-1).mean()

    size = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(mean_loss(size), size, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, size)
    second = (inputs.T @ inputs / len(inputs)).numpy()
    hessian = np.diag(scales.mean(0).numpy())
    assert 2 * theory.interference(update.numpy(), second, hessian) == pytest.approx(
        curvature.item(), rel=1e-12
    )


def test_curvature_of_a_tanh_network_along_an_update():
    """Exactly E[(D x)^T H (D x)], with H of each example; the K-FAC form is that of the means, and differs."""
    torch.manual_seed(1)
    inputs = torch.randn(200, N, dtype=torch.float64)
    first, last = torch.randn(M, N, dtype=torch.float64), torch.randn(3, M, dtype=torch.float64)
    update = torch.randn(M, N, dtype=torch.float64)

    def of_outputs(z, target):
        return 0.5 * ((last @ torch.tanh(z) - target) ** 2).sum()

    targets = torch.randn(200, 3, dtype=torch.float64)
    hessians = torch.stack(
        [
            torch.autograd.functional.hessian(lambda z, t=t: of_outputs(z, t), first @ x)
            for x, t in zip(inputs, targets, strict=True)
        ]
    )
    moved = inputs @ update.T
    exact = torch.einsum("bi,bij,bj->", moved, hessians, moved) / len(inputs)

    def along(size):
        outputs = torch.tanh(inputs @ (first + size * update).T) @ last.T
        return 0.5 * ((outputs - targets) ** 2).sum(1).mean().item()

    step = 1e-4
    curvature = (along(step) - 2 * along(0.0) + along(-step)) / step**2
    assert exact.item() == pytest.approx(curvature, rel=1e-4)
    second, mean = inputs.T @ inputs / len(inputs), hessians.mean(0)
    kfac = 2 * theory.interference(update.numpy(), second.numpy(), mean.numpy())
    assert kfac == pytest.approx(exact.item(), rel=0.5)
    assert kfac != pytest.approx(exact.item(), rel=1e-3)


def test_only_the_rows_inside_the_base_inputs_cost():
    basis = np.linalg.qr(drawn(N, 3))[0]
    second = basis @ basis.T / 3
    update = drawn(M, N, seed=1)
    inside = np.sum((update @ basis) ** 2)
    assert theory.interference(update, second) == pytest.approx(inside / (2 * 3), rel=1e-12)
    outside = update - update @ basis @ basis.T
    assert theory.interference(outside, second) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("d", [1, 4, 9])
def test_participation_ratio_counts_directions(d):
    basis = np.linalg.qr(drawn(9, d))[0]
    assert theory.participation_ratio(0.37 * basis @ basis.T) == pytest.approx(d, rel=1e-10)


# the best update of a rank ----------------------------------------------------------------------------------


def excess(update, wanted, second):
    return theory.safety_loss(update, wanted, second)


def test_no_other_update_of_the_rank_fits_better():
    wanted, second, rank = drawn(M, N), moment(N, 1), 2
    best = theory.best_low_rank(wanted, second, rank)
    assert np.linalg.matrix_rank(best) == rank
    values = np.linalg.svd(wanted @ theory.whitened(second)[0], compute_uv=False)
    assert excess(best, wanted, second) == pytest.approx(0.5 * np.sum(values[rank:] ** 2), rel=1e-10)
    assert excess(best, wanted, second) < excess(
        theory.best_low_rank(wanted, np.eye(N), rank), wanted, second
    )
    for seed in range(20):  # alternating least squares from anywhere ends there, and nowhere below
        b = drawn(M, rank, seed=seed)
        for _ in range(400):
            a = np.linalg.lstsq(b, wanted, rcond=None)[0]
            b = wanted @ second @ a.T @ np.linalg.inv(a @ second @ a.T)
        assert excess(b @ a, wanted, second) == pytest.approx(excess(best, wanted, second), rel=1e-6)


def test_inputs_in_a_subspace_leave_the_rest_alone():
    basis = np.linalg.qr(drawn(N, 3))[0]
    best = theory.best_low_rank(drawn(M, N, seed=1), basis @ basis.T, 2)
    assert np.abs(best - best @ basis @ basis.T).max() < 1e-12


# ranks beyond the task --------------------------------------------------------------------------------------


def costs_are_right(formula):
    wanted, tuned, base = drawn(M, N), moment(N, 1), moment(N, 2)
    rises = [theory.interference(theory.best_low_rank(wanted, tuned, r), base) for r in range(N + 1)]
    return np.allclose(np.diff(rises), formula(wanted, tuned, base), rtol=1e-9, atol=0)


def test_overshoot_costs():
    right = theory.overshoot_costs
    assert costs_are_right(right)
    assert not costs_are_right(lambda *a: 2 * right(*a))
    assert not costs_are_right(lambda w, t, b: right(w, b, t))
    assert not costs_are_right(lambda w, t, b: right(w, t, t))
    assert not costs_are_right(lambda w, t, b: right(w, np.eye(N), b))


@pytest.mark.parametrize("energy", linear.ENERGIES)
def test_overshoot_in_the_linear_model(energy):
    found = linear.measured(linear.LinearPoint(d=24, energy=energy, seed=3))
    assert found["rise"] == pytest.approx(found["formula"], rel=1e-9)


def mean_cost(**settings):
    return np.mean([linear.measured(linear.LinearPoint(seed=s, **settings))["a_rank"] for s in range(5)])


def test_the_clean_law_needs_directions_of_a_fixed_size():
    clean = {d: mean_cost(d=d, fixed_size=0.2) for d in (12, 48)}
    assert clean[12] * 12 == pytest.approx(0.2**2 / 2, rel=1e-9)
    assert clean[12] / clean[48] == pytest.approx(4, rel=1e-9)
    fitted = {d: mean_cost(d=d) for d in (12, 48)}
    assert 1.5 < fitted[12] / fitted[48] < 3  # not 4
    unit = {d: mean_cost(d=d, energy="in all") for d in (12, 48)}
    assert unit[12] < unit[48]  # it grows


@pytest.mark.parametrize("factor, agrees", [(1, True), (2, False), (0.5, False)])
def test_edge_of_the_noise(factor, agrees):
    values = []
    for seed in range(3):
        noise, inputs = (
            drawn(200, 3000, seed=seed),
            linear.white(100, 3000, np.random.default_rng(100 + seed)),
        )
        values.append(np.linalg.norm(0.7 * noise @ inputs.T / 3000, 2) ** 2)
    edge = factor * theory.noise_edge(200, 100, 3000, 0.7)
    assert (np.mean(values) == pytest.approx(edge, rel=0.05)) == agrees


# LoRA's first step ------------------------------------------------------------------------------------------


def unit(*values):
    return np.array(values) / np.linalg.norm(values)


def test_first_step_is_that_of_peft():
    """One step of gradient descent on a layer wrapped by `peft`, against G A^T A."""
    import peft

    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(N, M, bias=False)).double()
    inputs, targets = torch.randn(9, N, dtype=torch.float64), torch.randn(9, M, dtype=torch.float64)
    gradient = torch.autograd.grad(0.5 * ((layer(inputs) - targets) ** 2).sum(), layer[0].weight)[0]
    config = peft.LoraConfig(r=2, lora_alpha=6, target_modules=["0"])
    model = peft.get_peft_model(layer, config, autocast_adapter_dtype=False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    (0.5 * ((model(inputs) - targets) ** 2).sum()).backward()
    optimizer.step()
    wrapped = model.base_model.model[0]
    a = wrapped.lora_A["default"].weight.detach()
    scale = 6 / 2
    want = -1e-3 * scale**2 * gradient @ a.T @ a
    assert torch.allclose(wrapped.get_delta_weight("default"), want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rank, n, span", [(1, 8, 1), (4, 8, 1), (2, 10, 4), (1, 12, 2)])
def test_share_of_row_energy(rank, n, span):
    basis = np.linalg.qr(drawn(n, span, seed=5))[0]
    gradient = drawn(3, span, seed=6) @ basis.T
    measured = linear.shares(gradient, basis, rank, draws=20_000)
    assert measured == pytest.approx(theory.row_share(rank, n, span), rel=0.03)
    wrong = [
        (rank + span) / (rank + n),
        (rank + span + 2) / (rank + n + 1),
        (rank + span + 1) / (rank + n + 2),
    ]
    wrong = [(rank + span) / (rank + n + 1), (rank + span + 1) / (2 * rank + n + 1), *wrong[:2]]
    assert all(measured != pytest.approx(value, rel=0.03) for value in wrong)


@pytest.mark.parametrize("x", [unit(1, 0, 0, 0), unit(1, 2, -1, 3)])
def test_share_with_uniform_entries(x):
    measured = linear.shares(np.outer([1.0, -2.0], x), x[:, None], 1, draws=100_000, law="uniform")
    kurtosis, spread = theory.KURTOSIS["uniform"], np.sum(x**4)
    assert measured == pytest.approx(theory.row_share_of_one_input(1, 4, kurtosis, spread), rel=0.01)
    assert measured != pytest.approx(theory.row_share(1, 4), rel=0.01)
    assert measured != pytest.approx(theory.row_share_of_one_input(1, 4, 1.0, spread), rel=0.01)


def test_general_share_agrees_with_the_gaussian_one():
    assert theory.row_share_of_one_input(3, 20, 3.0, 0.4) == pytest.approx(theory.row_share(3, 20))


def test_overlap_of_the_first_step_shrinks_in_rows_and_not_in_columns():
    m, n, rank, draws = 9, 12, 2, 20_000
    weights = drawn(m, n, seed=1) * np.linspace(2, 0.1, n)
    gradient = (
        drawn(m, m, seed=2) * np.linspace(3, 0.1, m) @ weights
    )  # its rows lie where those of the weights do
    generator = np.random.default_rng(3)
    steps = np.stack([linear.first_step(gradient, rank, generator) for _ in range(draws)])

    def row(updates):
        return n * np.sum((updates @ weights.T) ** 2) / np.sum(weights**2) / np.sum(updates**2)

    def column(updates):
        return m * np.sum((weights.T @ updates) ** 2) / np.sum(weights**2) / np.sum(updates**2)

    full = row(gradient[None])
    assert row(steps) - 1 == pytest.approx(theory.first_step_overlap(full, rank, n) - 1, rel=0.03)
    assert row(steps) - 1 != pytest.approx((full - 1) * (rank + 2) / (rank + n + 1), rel=0.03)
    assert column(steps) == pytest.approx(column(gradient[None]), rel=0.02)


def first_steps(rank, n, gradient, draws=6_000):
    """Means over A of the share of the first row's direction and of the row overlap; overlap of that direction."""
    weights = drawn(6, n, seed=1) * np.linspace(2, 0.1, n)
    gradient, second = gradient @ weights, weights.T @ weights
    x = gradient[0] / np.linalg.norm(gradient[0])
    generator = np.random.default_rng(3)
    shares, overlaps = [], []
    for _ in range(draws):
        step = linear.first_step(gradient, rank, generator)
        shares.append(np.sum((step @ x) ** 2) / np.sum(step**2))
        overlaps.append(n * np.sum((step @ second) * step) / np.trace(second) / np.sum(step**2))
    return np.mean(shares), np.mean(overlaps), n * x @ second @ x / np.trace(second)


@pytest.mark.parametrize("rank, n", [(1, 6), (2, 9), (5, 12)])
def test_mean_share_and_overlap_of_the_first_step_on_one_input(rank, n):
    share, overlap, full = first_steps(rank, n, np.outer([1.0, -2.0], drawn(6)))
    assert share == pytest.approx(theory.mean_row_share(rank, n), rel=0.03)
    # where draws of much energy weigh more, both come out larger
    assert share < 0.9 * theory.row_share(rank, n)
    assert overlap == pytest.approx(theory.mean_first_step_overlap(full, rank, n), abs=0.02)
    assert overlap < theory.first_step_overlap(full, rank, n) - 0.05


def test_with_rank_one_the_mean_overlap_is_chance_for_any_gradient():
    _, overlap, _ = first_steps(1, 8, drawn(4, 6), draws=20_000)
    assert overlap == pytest.approx(1, abs=0.02)  # three standard errors


# baselines of the overlaps ----------------------------------------------------------------------------------


def isotropic(m, n, rank, generator):
    left = np.linalg.qr(generator.standard_normal((m, rank)))[0]
    right = np.linalg.qr(generator.standard_normal((n, rank)))[0]
    return left @ right.T


@pytest.mark.parametrize("rank", [1, 3])
def test_isotropic_baselines_and_their_deviation(rank):
    m, n, k = 8, 6, 2
    left, values, right = np.linalg.svd(drawn(m, n), full_matrices=False)
    generator = np.random.default_rng(1)
    weighted, uniform, both = [], [], []
    for _ in range(20_000):
        step = isotropic(m, n, rank, generator)
        inner = left.T @ step @ right.T
        energy = np.sum(step**2)
        weighted.append(np.sum((values[:, None] * (left.T @ step)) ** 2) / np.sum(values**2) / energy)
        uniform.append(np.sum((step @ right[:k].T) ** 2) / energy)
        both.append(np.sum((values[:, None] * inner * values) ** 2) / np.sum(values**2) ** 2 / energy)
    assert np.mean(weighted) == pytest.approx(theory.isotropic_overlap(m, n, "column"), rel=0.01)
    assert np.mean(uniform) == pytest.approx(
        theory.isotropic_overlap(m, n, "row", k, weighted=False), rel=0.01
    )
    assert np.mean(both) == pytest.approx(theory.isotropic_overlap(m, n, "both"), rel=0.02)
    shares = values**2 / np.sum(values**2)
    assert np.std(weighted) == pytest.approx(theory.isotropic_deviation(shares, m, rank), rel=0.02)
    assert np.std(uniform) == pytest.approx(theory.isotropic_deviation(np.ones(k), n, rank), rel=0.02)


# stable rank ------------------------------------------------------------------------------------------------


def test_stable_rank_of_a_noisy_rank_one_gradient_is_bounded():
    output, inputs = unit(*drawn(30)), unit(*drawn(20, seed=1))
    for size in (0.01, 0.03, 0.05):
        noise = size * drawn(30, 20, seed=2)
        found = theory.stable_rank(np.outer(output, inputs) + noise)
        assert 1 < found <= theory.stable_rank_bound(noise, 1.0)


def test_the_bound_of_the_stable_rank_needs_what_noise_takes_from_the_largest_value():
    gradient, noise = np.diag([1.0, 0.0]), np.diag([-0.5, 0.5])
    found = theory.stable_rank(gradient + noise)
    assert found == pytest.approx(2) and theory.stable_rank_bound(noise, 1.0) == pytest.approx(3)
    assert found > 1 + np.sum(noise**2)  # as if the noise took nothing
    assert theory.stable_rank_bound(2 * noise, 1.0) == math.inf


def test_signs_of_a_rank_one_matrix_have_rank_one():
    assert theory.stable_rank(np.sign(np.outer(drawn(30), drawn(20, seed=1)))) == pytest.approx(1)


def adam_is_right(formula, spread):
    generator = np.random.default_rng(0)
    output = np.exp(spread * generator.standard_normal(700)) * generator.choice([-1, 1], 700)
    inputs = np.exp(spread * generator.standard_normal(700)) * generator.choice([-1, 1], 700)
    step = np.sign(np.outer(output, inputs) + 1.2 * generator.standard_normal((700, 700)))
    return formula(output, inputs, 1.2) == pytest.approx(theory.stable_rank(step), rel=0.04)


@pytest.mark.parametrize("spread", [0.0, 0.7])
def test_stable_rank_of_adams_first_step(spread):
    right = theory.stable_rank_of_sign
    assert adam_is_right(right, spread)
    assert not adam_is_right(lambda *a: right(*a) ** 0.5, spread)
    assert not adam_is_right(lambda g, x, s: right(g, x, s * math.sqrt(2)), spread)
    assert not adam_is_right(lambda g, x, s: 1 + s**2 / np.mean(g**2) / np.mean(x**2), spread)


def test_in_much_noise_signs_cost_half_of_pi():
    output, inputs, noise = drawn(40), drawn(30, seed=1), 300.0
    gradient = noise**2 * 40 * 30 / (np.sum(output**2) * np.sum(inputs**2))
    found = theory.stable_rank_of_sign(output, inputs, noise) / gradient
    assert found == pytest.approx(math.pi / 2, rel=1e-3)


# the line ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [2, N])
@pytest.mark.parametrize("scale", [0.0, 0.3, 0.7, 1.0, 1.4])
def test_shares_on_the_line(rank, scale):
    wanted, tuned, base = drawn(M, N), moment(N, 1), moment(N, 2)
    best = theory.best_low_rank(wanted, tuned, rank)
    gain, cost = theory.kept_on_the_line(scale)
    nothing = np.zeros((M, N))
    whole = excess(nothing, wanted, tuned) - excess(best, wanted, tuned)
    assert excess(nothing, wanted, tuned) - excess(scale * best, wanted, tuned) == pytest.approx(
        gain * whole, rel=1e-9, abs=1e-12
    )
    assert theory.interference(scale * best, base) == pytest.approx(
        cost * theory.interference(best, base), rel=1e-12
    )


def test_price_of_a_share():
    for gain in (0.1, 0.5, 0.9, 1.0):
        scale = 1 - math.sqrt(1 - gain)
        assert theory.kept_on_the_line(scale)[0] == pytest.approx(gain)
        assert theory.cost_of_keeping(gain) == pytest.approx(scale**2)
    assert theory.cost_of_keeping(0.9) == pytest.approx(0.4675, abs=1e-4)


@pytest.mark.parametrize("weight", [0.1, 1.0, 10.0])
def test_the_front_is_a_front(weight):
    wanted, tuned, base = drawn(M, N), moment(N, 1), moment(N, 2)

    def objective(update):
        return theory.interference(update, base) + weight * excess(update, wanted, tuned)

    best = theory.pareto_update(wanted, tuned, base, weight)
    for seed in range(10):
        step = 1e-3 * drawn(M, N, seed=seed)
        assert objective(best + step) > objective(best)
        assert objective(best + step) + objective(best - step) - 2 * objective(best) == pytest.approx(
            2 * (theory.interference(step, base) + weight * theory.interference(step, tuned)), rel=1e-5
        )


def test_the_line_is_the_front_where_both_moments_are_alike_and_not_elsewhere():
    wanted, base = drawn(M, N), moment(N, 2)
    update = theory.pareto_update(wanted, 3 * base, base, 0.5)
    assert np.allclose(update, 1.5 / 2.5 * wanted)
    tuned = moment(N, 1)
    best = theory.pareto_update(wanted, tuned, base, 1.0)
    whole = excess(np.zeros((M, N)), wanted, tuned)
    gain = 1 - excess(best, wanted, tuned) / whole
    on_the_line = theory.cost_of_keeping(gain) * theory.interference(wanted, base)
    assert theory.interference(best, base) < 0.9 * on_the_line
