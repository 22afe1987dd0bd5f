"""The theory of chapter 2: in-context linear regression by linear self-attention, under gradient descent and SAM.

Conventions: inputs x ~ N(0, diag(eigenvalues)), task w ~ N(0, I), labels y = w.x, `context` examples a prompt. A head
is (v, k, q); the network is yhat = beta^T M x_query with beta = mean of y x over the context and M = sum of v k q^T.
An aligned head of direction d has v = |k| = |q| = s and k, q along e_d, so that M_dd = s^3. `query` is the spectrum of
the query's covariance: the eigenvalues themselves, or these times the weights of the types of query.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.integrate import quad, solve_ivp

Spectrum = Float[np.ndarray, " direction"]


@dataclass(frozen=True)
class InContext:
    """In-context linear regression (chapter 2, section 1): eigenvalues from the largest down, examples a prompt.

    `noise` is the deviation of the labels in the context.
    """

    spectrum: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1)
    context: int = 32
    noise: float = 0.0

    def __post_init__(self):
        if not self.spectrum or min(self.spectrum) <= 0 or list(self.spectrum) != sorted(self.spectrum)[::-1]:
            raise ValueError(f"a spectrum is positive and falls, got {self.spectrum}")
        if self.context < 1:
            raise ValueError(f"context must be at least 1, got {self.context}")
        if self.noise < 0:
            raise ValueError(f"noise must not be negative, got {self.noise}")

    @property
    def eigenvalues(self) -> Spectrum:
        return np.array(self.spectrum)

    @property
    def second_moment(self) -> Spectrum:
        """gamma, the diagonal of E[beta beta^T] (chapter 2, eq. sb-gamma)."""
        lam = self.eigenvalues
        return lam**2 * (1 + 1 / self.context) + lam * (lam.sum() + self.noise**2) / self.context

    @property
    def optimum(self) -> Spectrum:
        """Diagonal of the best M (chapter 2, theorem sb-population)."""
        return self.eigenvalues / self.second_moment

    @property
    def lowest_loss(self) -> float:
        return float(population_loss(self, np.diag(self.optimum)))


def population_loss(
    task: InContext, matrix: Float[np.ndarray, "*many row column"], query: Spectrum | None = None
) -> Float[np.ndarray, "*many"] | float:
    """L(M) = half of E (yhat - w.x_query)^2 (chapter 2, eq. sb-loss)."""
    q = task.eigenvalues if query is None else query
    diagonal = np.diagonal(matrix, axis1=-2, axis2=-1)
    squares = (task.second_moment[:, None] * q * matrix**2).sum((-2, -1))
    return 0.5 * (q.sum() - 2 * (task.eigenvalues * q * diagonal).sum(-1) + squares)


def population_gradient(
    task: InContext, matrix: Float[np.ndarray, "*many row column"], query: Spectrum | None = None
) -> Float[np.ndarray, "*many row column"]:
    """dL/dM = (Gamma M - Lambda) Q (chapter 2, eq. sb-gradient)."""
    q = task.eigenvalues if query is None else query
    return task.second_moment[:, None] * matrix * q - np.diag(task.eigenvalues * q)


def speed(
    task: InContext, factor: Float[np.ndarray, "*many direction"], weights: Spectrum | float = 1.0
) -> Float[np.ndarray, "*many direction"]:
    """f_d(s) = w_d s^2 lam_d (lam_d - gamma_d s^3): growth of aligned heads (chapter 2, eq. sb-scalar)."""
    lam = task.eigenvalues
    return weights * factor**2 * lam * (lam - task.second_moment * factor**3)


def learning_time(
    task: InContext, start: float, share: float = 0.5, weights: Spectrum | float = 1.0
) -> Spectrum:
    """Time of each direction from factor `start` to `share` of its optimum, by quadrature (chapter 2, eq. sb-time)."""
    ends, w = np.cbrt(share * task.optimum), np.broadcast_to(weights, task.optimum.shape)

    def time(d: int) -> float:
        lam, gamma = task.eigenvalues[d], task.second_moment[d]
        return quad(lambda s: 1 / (w[d] * s**2 * lam * (lam - gamma * s**3)), start, ends[d], limit=200)[0]

    return np.array([time(d) for d in range(len(ends))])


def learning_time_closed(
    task: InContext, start: float, share: float = 0.5, weights: Spectrum | float = 1.0
) -> Spectrum:
    """The same in closed form (chapter 2, eq. sb-closed)."""

    def primitive(u):  # of 1 / (u^2 (1 - u^3))
        logarithm = np.log((1 + u + u**2) / (1 - u) ** 2) / 6
        return -1 / u + logarithm - np.arctan((2 * u + 1) / np.sqrt(3)) / np.sqrt(3)

    scale = np.cbrt(task.optimum)
    passed = primitive(np.cbrt(share)) - primitive(start / scale)
    return passed / (weights * task.eigenvalues**2 * scale)


def climbed(
    task: InContext,
    factor: Float[np.ndarray, " direction"],
    rho: float,
    weights: Spectrum | float = 1.0,
    floor: float = 1e-300,
) -> Spectrum:
    """s - rho u(s): the factors after SAM's ascent (chapter 2, eq. sb-ascent). `floor` is least for the norm."""
    gradient = speed(task, factor, weights)
    return factor - rho * gradient / np.sqrt(3 * (gradient**2).sum() + floor**2)


@dataclass(frozen=True)
class Flow:
    """Factors s [direction, time] of aligned heads, and when each passed `share` (infinite: not by the end)."""

    times: Float[np.ndarray, " time"]
    factors: Float[np.ndarray, "direction time"]
    learned: Spectrum


def flow(
    task: InContext,
    start: float,
    rho: float = 0.0,
    weights: Spectrum | float = 1.0,
    horizon: float | None = None,
    share: float = 0.5,
    points: int = 400,
) -> Flow:
    """Solve s' = f(s - rho u(s)) from equal factors (chapter 2, eq. sb-sam-flow); `rho = 0` is gradient descent.

    The solution stands still once all directions are within 2% of their optima, where SAM's normalised gradient would
    chatter. Without a horizon it ends there, at the latest after 12 times what gradient descent needs.
    """
    weights = np.broadcast_to(weights, task.optimum.shape)
    ends, begin = np.cbrt(share * task.optimum), np.full(len(task.optimum), start)
    latest = horizon or 12 * learning_time(task, start, share, weights).max()
    floor = 1e-3 * speed(task, begin, weights).min()

    def arrived(t, s):
        return (s**3 / task.optimum).min() - max(0.98, share)

    arrived.terminal = True
    passing = [lambda t, s, d=d: s[d] - ends[d] for d in range(len(ends))]
    solution = solve_ivp(
        lambda t, s: speed(task, climbed(task, s, rho, weights, floor), weights),
        (0, latest),
        begin,
        method="LSODA",
        events=[*passing, arrived],
        dense_output=True,
        rtol=1e-9,
        atol=1e-12 * start,
    )
    times = np.linspace(0, horizon or solution.t[-1], points)
    learned = [event[0] if len(event) else np.inf for event in solution.t_events[:-1]]
    return Flow(times, solution.sol(times.clip(max=solution.t[-1])), np.array(learned))


def unit_gradient(task: InContext) -> Spectrum:
    """u_d at equal, small factors: lam_d^2 / sqrt(3 sum lam^4) (chapter 2, eq. sb-unit)."""
    squares = task.eigenvalues**2
    return squares / np.sqrt(3 * (squares**2).sum())


def speed_ratio(task: InContext, factor: float, rho: float) -> float:
    """Speed of the slowest over that of the fastest direction at equal, small factors (chapter 2, eq. sb-ratio)."""
    u, lam = unit_gradient(task), task.eigenvalues
    return float((lam[-1] / lam[0]) ** 2 * ((factor - rho * u[-1]) / (factor - rho * u[0])) ** 2)


def largest_rho(task: InContext, factor: float) -> float:
    """s / u_1, where SAM's ascent sets the fastest direction back to nothing (chapter 2, theorem sb-ratio-theorem)."""
    return float(factor / unit_gradient(task)[0])


def relative_delay(task: InContext) -> Spectrum:
    """delta_d in t_d(rho) / t_d(0) = 1 + delta_d rho / s0 + ...: a mean of u_d (chapter 2, eq. sb-delay)."""
    lam = task.eigenvalues

    def share_of_gradient(d: int, z: float) -> float:
        """u_d where direction d has z of its way left; those learned by then have no gradient any more."""
        left = 1 - (1 - z) * lam**2 / lam[d] ** 2
        gradient = np.where(left > 1e-12, lam / np.where(left > 1e-12, left, 1.0), 0.0) ** 2
        return gradient[d] / np.sqrt(3 * (gradient**2).sum())

    def mean(d: int) -> float:
        jumps = [1 - lam[d] ** 2 / e**2 for e in lam if e > lam[d]]
        return quad(lambda z: 2 * z * share_of_gradient(d, z), 0, 1, points=jumps or None, limit=400)[0]

    return np.array([mean(d) for d in range(len(lam))])


def equivalent_upsampling(task: InContext, start: float, rho: float) -> float:
    """How many times the slowest type must be seen for SAM's ratio of learning times (chapter 2, eq. sb-equivalent)."""
    plain, sharp = learning_time(task, start), flow(task, start, rho).learned
    return float((plain[-1] / plain[0]) / (sharp[-1] / sharp[0]))
