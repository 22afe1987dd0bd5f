"""Chapter 7: every statement against an independent computation that a wrong constant, factor or sign would fail."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from beyondloss.methods.synthetic_text import theory


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# what the gradient of the last layer sees -------------------------------------------------------------------


def head_gradient_is_right(gradient, of_residuals=theory.residuals):
    """Against autograd through torch's own cross-entropy, weights and bias."""
    hidden, weights, labels = drawn(6, 5), drawn(4, 5, seed=1), np.array([0, 3, 1, 1, 2, 0])
    w, b = torch.tensor(weights, requires_grad=True), torch.zeros(4, dtype=torch.float64, requires_grad=True)
    logits = torch.tensor(hidden) @ w.T + b
    torch.nn.functional.cross_entropy(logits, torch.tensor(labels)).backward()
    residual = of_residuals(hidden @ weights.T, labels)
    bias_too = np.allclose(residual.mean(0), b.grad, rtol=1e-10, atol=1e-14)
    return bias_too and np.allclose(gradient(hidden, residual), w.grad, rtol=1e-10, atol=1e-14)


def test_head_gradient():
    right = theory.head_gradient
    assert head_gradient_is_right(right)
    assert not head_gradient_is_right(lambda h, r: right(h, -r))
    assert not head_gradient_is_right(lambda h, r: len(h) * right(h, r))
    assert not head_gradient_is_right(right, lambda z, y: theory.residuals(2 * z, y))
    assert not head_gradient_is_right(right, lambda z, y: theory.residuals(z, (y + 1) % 4))


def test_rows_of_the_gradient_are_those_of_a_head_that_has_only_them():
    """Restricting the head to the labels' words changes p, hence the gradient: the two are not parts of each other."""
    hidden, weights, labels = drawn(6, 5), drawn(4, 5, seed=1), np.array([0, 1, 0, 1, 1, 0])
    logits = hidden @ weights.T
    full = theory.head_gradient(hidden, theory.residuals(logits, labels))[:2]
    alone = theory.head_gradient(hidden, theory.residuals(logits[:, :2], labels))
    assert not np.allclose(full, alone, rtol=0.05)
    far = logits - np.array([0, 0, 40, 40])  # no other word is likely: then they are
    rows = theory.head_gradient(hidden, theory.residuals(far, labels))[:2]
    assert np.allclose(rows, theory.head_gradient(hidden, theory.residuals(far[:, :2], labels)), rtol=1e-10)


def test_inner_product_without_writing_gradients_out():
    one, other = (drawn(3, 5), drawn(3, 4, seed=1)), (drawn(7, 5, seed=2), drawn(7, 4, seed=3))
    written = np.sum(theory.head_gradient(*one) * theory.head_gradient(*other))
    assert theory.gradient_product(*one, *other) == pytest.approx(written, rel=1e-12)
    assert 3 * theory.gradient_product(*one, *other) != pytest.approx(written, rel=1e-2)
    assert theory.gradient_product(one[0], -one[1], *other) == pytest.approx(-written, rel=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_with_two_words_a_gradient_is_one_weighted_state(label):
    hidden, weights = drawn(8, 5), drawn(2, 5, seed=1)
    labels = np.full(8, label)
    residual = theory.residuals(hidden @ weights.T, labels)
    right = 1 + residual[:, label]
    gradient = theory.head_gradient(hidden, residual)
    state = theory.weighted_state(hidden, right)
    assert np.allclose(gradient[label], -state, rtol=1e-12)
    assert np.allclose(gradient[1 - label], state, rtol=1e-12)
    assert not np.allclose(gradient[1 - label], theory.weighted_state(hidden, 1 - right), rtol=0.01)
    assert not np.allclose(gradient[1 - label], hidden.mean(0), rtol=0.01)


def test_a_tied_head_has_the_embedding_in_its_gradient():
    """The weight is used twice; a separate head sees the last layer's part alone, which is the closed form."""
    torch.manual_seed(0)
    table = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    mix = torch.randn(4, 4, dtype=torch.float64)
    tokens, label = torch.tensor([[1, 2], [5, 3]]), torch.tensor([0, 4])

    def loss(embedding, head):
        hidden = torch.tanh(embedding[tokens].sum(1) @ mix)
        return torch.nn.functional.cross_entropy(hidden @ head.T, label), hidden

    tied = torch.autograd.grad(loss(table, table)[0], table)[0]
    alone = torch.autograd.grad(loss(table.detach(), table)[0], table)[0]
    leaked = torch.autograd.grad(loss(table, table.detach())[0], table)[0]
    hidden = loss(table, table)[1].detach().numpy()
    residual = theory.residuals(hidden @ table.detach().numpy().T, label.numpy())
    assert np.allclose(theory.head_gradient(hidden, residual), alone, rtol=1e-10)
    assert torch.allclose(tied, alone + leaked, rtol=1e-10)
    assert leaked.norm() > 0.1 * alone.norm()


@pytest.mark.parametrize("n, m", [(1, 1), (8, 25), (2, 100)])
def test_cosine_distances_within_a_class(n, m):
    generator, mean, spread, draws = np.random.default_rng(0), np.zeros(40), 0.5, 20_000
    mean[0] = 2.0
    scale = math.sqrt(spread * 4 / 40)
    one, other = (mean + scale / math.sqrt(k) * generator.standard_normal((draws, 40)) for k in (n, m))
    sizes = np.sum(one**2, axis=1).mean() * np.sum(other**2, axis=1).mean()
    measured = 1 - np.sum(one * other, axis=1).mean() / math.sqrt(sizes)
    assert measured == pytest.approx(theory.mean_cosine_distance(spread, n, m), rel=0.05, abs=2e-3)
    assert measured != pytest.approx(theory.mean_cosine_distance(2 * spread, n, m), rel=0.05, abs=2e-3)


@pytest.mark.parametrize("gap", [0.01, 0.4, 1.5])
def test_cosine_distance_between_classes(gap):
    """Means of equal length at a given difference, in the plane, with sizes that no formula sees."""
    angle = 2 * math.asin(gap / 2)
    one, other = 3 * np.array([1, 0]), 3 * np.array([math.cos(angle), math.sin(angle)])
    measured = 1 - one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
    assert np.linalg.norm(one - other) == pytest.approx(3 * gap)
    assert measured == pytest.approx(theory.class_cosine_distance(gap), rel=1e-9)
    assert measured != pytest.approx(2 * theory.class_cosine_distance(gap), rel=1e-2)


def test_centring_turns_two_classes_apart():
    common, apart = np.array([10.0, 0, 0]), np.array([0, 1.0, 0])
    one, other = common + apart, common - apart
    cosine = one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
    assert 1 - cosine < 0.03
    centre = (one + other) / 2
    assert (one - centre) @ (other - centre) < 0  # a distance of 2, the largest there is


# which texts the alternating updates keep -------------------------------------------------------------------


def test_nearest_token_by_one_product():
    points, tokens = drawn(50, 6), drawn(30, 6, seed=1) * np.linspace(0.2, 3, 30)[:, None]
    by_hand = np.array([np.argmin(np.sum((tokens - x) ** 2, axis=1)) for x in points])
    assert np.array_equal(theory.nearest(points, tokens), by_hand)
    assert not np.array_equal((points @ tokens.T).argmax(1), by_hand)
    assert not np.array_equal((points @ tokens.T - np.sum(tokens**2, axis=1)).argmax(1), by_hand)


def admm(hessian, minimiser, project, rho, x, multiplier, steps):
    """The three updates with an exact x-step, in the chapter's order; x, z, multiplier after each."""
    path = []
    for _ in range(steps):
        z = project(x + multiplier / rho)
        x = theory.quadratic_step(hessian, minimiser, z, multiplier, rho)
        multiplier = multiplier + rho * (x - z)
        path.append((x, z, multiplier))
    return path


def test_the_x_step_minimises_the_augmented_lagrangian():
    root = drawn(4, 4)
    hessian, minimiser, z, multiplier, rho = (
        root @ root.T,
        drawn(4, seed=1),
        drawn(4, seed=2),
        drawn(4, seed=3),
        0.7,
    )

    def lagrangian(x):
        off = x - minimiser
        return 0.5 * off @ hessian @ off + multiplier @ (x - z) + rho / 2 * np.sum((x - z) ** 2)

    x = theory.quadratic_step(hessian, minimiser, z, multiplier, rho)
    assert all(lagrangian(x + 1e-3 * drawn(4, seed=s)) > lagrangian(x) for s in range(20))
    # completing the square: the two terms are one, up to what x does not change
    squared = lambda v: rho / 2 * np.sum((v - z + multiplier / rho) ** 2)  # noqa: E731
    linear = lambda v: multiplier @ (v - z) + rho / 2 * np.sum((v - z) ** 2)  # noqa: E731
    other = drawn(4, seed=9)
    assert squared(x) - squared(other) == pytest.approx(linear(x) - linear(other), rel=1e-10)


@pytest.mark.parametrize("rho", [0.1, 1.0, 10.0])
def test_on_a_convex_set_the_updates_find_the_solution(rho):
    """A quadratic over a box with known solution; both residuals go to zero and the multiplier is minus the slope."""
    root = drawn(3, 3)
    hessian, wanted = root @ root.T + np.eye(3), np.array([1.0, -0.3, 1.0])
    minimiser = wanted + np.linalg.solve(
        hessian, np.array([2.0, 0.0, 0.5])
    )  # slope at `wanted`: out of the box
    path = admm(hessian, minimiser, lambda v: v.clip(-1, 1), rho, np.zeros(3), np.zeros(3), 800)
    x, z, multiplier = path[-1]
    assert np.allclose(z, wanted, atol=1e-6) and np.allclose(x, z, atol=1e-6)
    assert np.allclose(multiplier, -hessian @ (wanted - minimiser), atol=1e-5)
    assert np.linalg.norm(path[-1][1] - path[-2][1]) < 1e-8  # the dual residual, over rho


def test_a_token_is_kept_exactly_from_the_least_rho_on():
    tokens = drawn(12, 3)
    root = drawn(3, 3, seed=1)
    hessian, minimiser = root @ root.T, drawn(3, seed=2)
    kept_somewhere = moved_somewhere = 0
    for place, token in enumerate(tokens):
        slope = hessian @ (token - minimiser)
        rho = theory.least_rho(place, tokens, slope)

        def stays(rho, token=token, slope=slope, place=place):
            x, _, multiplier = admm(
                hessian,
                minimiser,
                lambda v: tokens[theory.nearest(v[None], tokens)[0]],
                rho,
                token,
                -slope,
                1,
            )[0]
            return np.allclose(x, token, atol=1e-9) and np.allclose(multiplier, -slope, atol=1e-9)

        if rho > 0:
            assert stays(1.01 * rho) and not stays(0.99 * rho)  # so twice or half of it is not the least
            moved_somewhere += 1
        else:
            assert stays(1e-6)
        kept_somewhere += rho == 0
    assert moved_somewhere > 5


def test_a_text_that_only_improves_has_no_least_rho():
    tokens = np.array([[0.0], [1.0], [2.0]])
    assert theory.least_rho(0, tokens, np.array([3.0])) == 0.0  # the slope rises towards every other token
    assert theory.least_rho(2, tokens, np.array([3.0])) == pytest.approx(6.0)


# what matched gradients are worth ---------------------------------------------------------------------------


def ridge(seed=0):
    """A ridge logistic regression: loss, gradient, strong convexity and smoothness, minimiser."""
    x, y = drawn(60, 4, seed=seed), np.sign(drawn(60, seed=seed + 1))
    mu = 0.05
    smooth = mu + 0.25 * np.linalg.eigvalsh(x.T @ x / 60)[-1]

    def loss(w):
        return np.mean(np.logaddexp(0, -y * (x @ w))) + mu / 2 * w @ w

    def gradient(w):
        return -(y / (1 + np.exp(y * (x @ w)))) @ x / 60 + mu * w

    w = np.zeros(4)
    for _ in range(5000):
        w = w - gradient(w) / smooth
    return loss, gradient, mu, smooth, w


def bound_holds(bound, error=0.2):
    """Along descent with a wrong gradient, on logistic regression and on the quadratic where nothing can be gained."""
    loss, gradient, mu, smooth, best = ridge()
    wrong = error * np.array([1.0, 0, 0, 0])
    w, held = np.zeros(4), True
    start = loss(w) - loss(best)
    for step in range(1, 200):
        w = w - (gradient(w) + wrong) / smooth
        held &= loss(w) - loss(best) <= bound(start, error, mu, 1 / smooth, step) + 1e-12
    v = 0.0  # L = mu v^2 / 2 with smoothness mu: the bound is reached
    quadratic = [mu / 2 * (v := v - (mu * v + error) / mu) ** 2 for _ in range(3)]
    held &= all(value <= bound(0.0, error, mu, 1 / mu, k + 1) + 1e-12 for k, value in enumerate(quadratic))
    # a start away from the minimum without an error: the rate itself
    u = 2.0
    for step in range(1, 6):
        u = u - 0.5 * u
        held &= mu / 2 * u**2 <= bound(mu * 2, 0.0, mu, 0.5 / mu, step) + 1e-12
    return held


def test_convergence_to_a_neighbourhood():
    right = theory.loss_bound
    assert bound_holds(right)
    assert not bound_holds(lambda s, e, mu, lr, t: right(s, e / math.sqrt(2), mu, lr, t))
    assert not bound_holds(lambda s, e, mu, lr, t: right(s, e, 2 * mu, lr, t))
    assert not bound_holds(lambda s, e, mu, lr, t: right(s, e, mu, 2 * lr, t))
    assert not bound_holds(lambda s, e, mu, lr, t: right(0.2 * s, e, mu, lr, t))


def test_the_neighbourhood_is_reached_where_curvatures_are_equal():
    mu, error = 0.3, 0.7
    v = 0.0
    for _ in range(400):
        v = v - 0.5 / mu * (mu * v + error)
    assert mu / 2 * v**2 == pytest.approx(theory.loss_bound(0.0, error, mu, 0.5 / mu, 400), rel=1e-6)


def test_a_step_too_long_has_no_bound():
    """The premise lr <= 1 / smoothness is needed: at three times that the quadratic diverges."""
    v = 1.0
    for _ in range(10):
        v = v - 3 * v
    assert v**2 / 2 > theory.loss_bound(0.5, 0.0, 1.0, 1.0, 10)


def test_drift_of_a_matched_gradient():
    """Two quadratics whose gradients agree to an error at 0: reached at the radius where curvatures point apart."""
    error, smooth, other, radius = 0.1, 2.0, 3.0, 0.5
    gradients = (lambda w: smooth * w, lambda w: -other * w - error)
    worst = max(abs(gradients[0](w) - gradients[1](w)) for w in np.linspace(-radius, radius, 101))
    assert worst == pytest.approx(theory.drift(error, smooth, other, radius), rel=1e-12)
    assert worst > theory.drift(error, smooth, 0.0, radius) and worst > theory.drift(
        0.0, smooth, other, radius
    )


@pytest.mark.parametrize("cosine", [1.0, 0.8, 0.3])
def test_a_step_along_a_gradient_of_a_given_cosine(cosine):
    """Equality on the round quadratic; and a bound on logistic regression, whatever the gradient's length."""
    smooth, w = 1.7, np.array([1.0, 0.0])
    g = 5.0 * np.array([cosine, math.sqrt(1 - cosine**2)])
    step = theory.best_step(cosine, smooth * 1.0, 5.0, smooth)
    after = smooth / 2 * np.sum((w - step * g) ** 2)
    assert after / (smooth / 2) == pytest.approx(
        theory.cosine_rate(cosine, smooth, smooth), rel=1e-9, abs=1e-12
    )
    for factor in (0.7, 1.4):
        assert smooth / 2 * np.sum((w - factor * step * g) ** 2) > after - 1e-12
    loss, gradient, mu, smooth, best = ridge()
    w = np.zeros(4)
    for _ in range(20):
        slope = gradient(w)
        aside = drawn(4, seed=5)
        aside -= slope * (aside @ slope) / (slope @ slope)
        unit, across = slope / np.linalg.norm(slope), aside / np.linalg.norm(aside)
        g = 0.01 * (cosine * unit + math.sqrt(1 - cosine**2) * across)
        before = loss(w) - loss(best)
        w = w - theory.best_step(cosine, np.linalg.norm(slope), 0.01, smooth) * g
        assert loss(w) - loss(best) <= theory.cosine_rate(cosine, mu, smooth) * before + 1e-12


@pytest.mark.parametrize("size", [1, 3, 7])
def test_error_of_a_random_subset(size):
    """By enumeration of all subsets."""
    from itertools import combinations

    gradients = drawn(7, 3)
    mean = gradients.mean(0)
    variance = np.mean(np.sum((gradients - mean) ** 2, axis=1))
    errors = [np.sum((gradients[list(s)].mean(0) - mean) ** 2) for s in combinations(range(7), size)]
    assert np.mean(errors) == pytest.approx(theory.subset_error(variance, size, 7), rel=1e-10, abs=1e-15)
    if size < 7:
        assert np.mean(errors) != pytest.approx(variance / size * (7 - size) / 7, rel=1e-3)


def test_when_a_matched_set_is_surely_nearer():
    """The worst case of an error that adds to the target's own, in its direction, against the subset's mean error."""
    variance, size, target = 2.0, 8, 50
    subset = math.sqrt(variance / size)
    of_target = math.sqrt(variance / target)
    limit = theory.largest_useful_error(variance, size, target)
    assert of_target + 0.99 * limit < subset < of_target + 1.01 * limit
    assert theory.largest_useful_error(variance, 50, 50) == 0.0
    assert theory.largest_useful_error(variance, 50, 8) < 0.0


# privacy ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("neighbours, change", [("add or remove", 1), ("replace", 2)])
def test_sensitivity_is_reached_and_not_passed(neighbours, change):
    """Clipped gradients in opposite directions; any others change the sum by less."""
    clip, n = 0.7, 5
    assert theory.sensitivity(clip, n, neighbours) == pytest.approx(change * clip / n)
    worst, generator = 0.0, np.random.default_rng(0)
    for _ in range(4000):
        gradients = generator.standard_normal((2, 2)) * 3
        gradients *= np.minimum(1, clip / np.linalg.norm(gradients, axis=1))[:, None]
        moved = gradients[0] if neighbours == "add or remove" else gradients[0] - gradients[1]
        worst = max(worst, np.linalg.norm(moved) / n)
    assert (
        0.97 * theory.sensitivity(clip, n, neighbours)
        < worst
        <= theory.sensitivity(clip, n, neighbours) + 1e-12
    )


def hockey_stick(sensitive, deviation, epsilon):
    """By integration: how much the likelier of two neighbours' outputs exceeds exp(epsilon) times the other's."""
    one, other = norm(sensitive, deviation), norm(0, deviation)
    edge = sensitive / 2 + epsilon * deviation**2 / sensitive
    return quad(lambda x: one.pdf(x) - math.exp(epsilon) * other.pdf(x), edge, edge + 40 * deviation)[0]


@pytest.mark.parametrize("sensitive, deviation, epsilon", [(1, 1, 0.5), (0.3, 0.2, 2), (2, 5, 0.1)])
def test_delta_of_gaussian_noise(sensitive, deviation, epsilon):
    measured = hockey_stick(sensitive, deviation, epsilon)
    assert theory.gaussian_delta(sensitive, deviation, epsilon) == pytest.approx(measured, rel=1e-6)
    wrong = [(2 * sensitive, deviation, epsilon), (sensitive, deviation, 2 * epsilon)]
    assert all(theory.gaussian_delta(*w) != pytest.approx(measured, rel=1e-2) for w in wrong)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0])
def test_least_noise(epsilon):
    deviation = theory.needed_deviation(0.4, epsilon, 1e-5)
    assert hockey_stick(0.4, deviation, epsilon) == pytest.approx(1e-5, rel=1e-3)


def test_the_classic_noise_suffices_below_one_and_not_above():
    for epsilon in (0.05, 0.5, 1.0):
        enough = theory.classic_deviation(1.0, epsilon, 1e-5)
        assert theory.gaussian_delta(1.0, enough, epsilon) <= 1e-5
    at_one = theory.classic_deviation(1.0, 1.0, 1e-5)
    assert theory.gaussian_delta(1.0, 0.75 * at_one, 1.0) > 1e-5  # so a lost root of two is noticed
    assert at_one < 1.5 * theory.needed_deviation(1.0, 1.0, 1e-5)  # and so is one too many
    assert theory.gaussian_delta(1.0, theory.classic_deviation(1.0, 12.0, 1e-5), 12.0) > 1e-5


def test_selection_that_looks_at_exact_gradients_has_no_guarantee():
    """Two neighbours, two candidates and a mechanism as noisy as one likes: the choice alone tells them apart."""
    gradients = np.array([[1.0, 0.0], [0.0, 1.0]])
    candidates = np.array([[0.6, 0.3], [0.3, 0.6]])

    def chosen(mean):
        return int(np.argmin(np.sum((candidates - mean) ** 2, axis=1)))

    one, other = (chosen(np.array([g, 0.9 * g[::-1]]).mean(0) + 0.1 * g) for g in gradients)
    assert one != other  # certain in both, so delta is 1 for every epsilon
    rng = np.random.default_rng(0)  # by noisy means the same choice is a coin toss
    noisy = [chosen(gradients[0] + 50 * rng.standard_normal(2)) for _ in range(2000)]
    assert abs(np.mean(noisy) - 0.5) < 0.05


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0])
def test_hits_beyond_false_alarms(epsilon):
    """The best attack on Gaussian noise, a threshold, stays below; that on randomised response reaches it."""
    for delta in (1e-5, 1e-2):
        deviation = theory.needed_deviation(1.0, epsilon, delta)
        advantage = 2 * norm.cdf(1 / (2 * deviation)) - 1
        assert advantage <= theory.advantage_bound(epsilon, delta)
    truth = math.exp(epsilon) / (1 + math.exp(epsilon))  # the answer is true with this probability
    assert truth - (1 - truth) == pytest.approx(theory.advantage_bound(epsilon, 0.0), rel=1e-12)
    assert theory.advantage_bound(epsilon, 0.01) > theory.advantage_bound(epsilon, 0.0)
