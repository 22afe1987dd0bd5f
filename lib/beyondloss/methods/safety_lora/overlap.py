"""How much of an update lies where the initial weights act: the overlaps of chapter 8.

    table = safety_lora.overlap(base, tuned)
    table.plot()

For W0 = U S V^T with its top k singular values (all of them by default) and an update D:

column  |S_k U_k^T D|^2 / (|S_k|^2 |D|^2)          what D writes where W0 writes
row     |D V_k S_k|^2 / (|S_k|^2 |D|^2)            what D reads where W0 reads
both    |S_k U_k^T D V_k S_k|^2 / (|S_k|^4 |D|^2)

The uniform overlaps leave S_k out: the share of the update's energy inside the top subspace. Every number is divided
by its value for an update without a preferred direction (chapter 8, theorem sl-isotropic): 1 is chance.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from beyondloss.experiment import BadInput, choose
from beyondloss.methods.safety_lora.theory import isotropic_overlap
from beyondloss.methods.safety_lora.weights import Update, changed_matrices, is_tall, left_out

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

ONE_SIDED = ("column", "row")  # what `merge` can remove and OverlapPenalty weigh
SIDES = (*ONE_SIDED, "both")
NUMBER = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True, eq=False)
class OverlapTable:
    """Overlaps of every changed matrix, 1 being chance; `unchanged` lists the matrices that the tuning left alone.

    `left_out`: what an adapter changes that is no matrix between activations, so that no overlap is defined.
    """

    frame: "pd.DataFrame"
    unchanged: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def sides(self) -> list[str]:
        return [side for side in SIDES if side in self.frame]

    def mean(self) -> dict[str, float]:
        """Mean over the matrices of each overlap, of the relative norm and of the stable rank."""
        return {
            name: float(self.frame[name].mean()) for name in [*self.sides, "relative_norm", "stable_rank"]
        }

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Each overlap over the layers, averaged over a layer's matrices, with the line of chance."""
        from matplotlib import pyplot as plt

        axes = axes or plt.subplots(figsize=(7, 3.2), layout="constrained")[1]
        by_layer = self.frame.groupby("layer")[self.sides].mean()
        for side in self.sides:
            axes.plot(by_layer.index, by_layer[side], marker="o", label=side)
            axes.annotate(f" {side}", (by_layer.index[-1], by_layer[side].iloc[-1]), va="center")
        axes.axhline(1, linestyle=":", color="grey")
        axes.set(xlabel="layer", ylabel="overlap (1 = chance)")
        return axes

    @property
    def note(self) -> str:
        """One sentence on what was left out, or nothing."""
        return f"Changed too, and left out: {', '.join(self.left_out)}." if self.left_out else ""

    def _repr_html_(self) -> str:
        table = self.frame.to_html(index=False, float_format="{:.3f}".format)
        return f"{table}<p>{self.note}</p>" if self.note else table

    def __repr__(self) -> str:
        return f"{self.frame.to_string(index=False, float_format='{:.3f}'.format)}\n{self.note}".rstrip()


def overlap(
    base: Any,
    tuned: Any,
    k: Integral | None = None,
    weighted: bool = True,
    sides: Sequence[str] = ONE_SIDED,
) -> OverlapTable:
    """Overlap of every update with its initial weights.

    base, tuned: a `transformers` model and its tuned version or a `peft` model over it, or their folders. Matrices go
    through one at a time. k: only the top k singular values of W0 count, at most the smaller side of the smallest
    matrix. Raises BadInput where the two do not belong together or nothing was changed.
    """
    import pandas as pd

    for side in sides:
        choose("side", side, SIDES)
    if not sides:
        raise BadInput(f"no side is named; there are {', '.join(SIDES)}")
    if not weighted and k is None:
        raise BadInput(
            "the uniform overlap is one by definition without k: give the size of the top subspace"
        )
    rows, unchanged = [], []
    for matrix in changed_matrices(base, tuned):
        found = of_matrix(matrix.base, matrix.update, k, weighted, sides, matrix.name)
        if found is None:
            unchanged.append(matrix.name)
            continue
        layer = NUMBER.search(f".{matrix.name}")
        place = {"matrix": matrix.name.removesuffix(".weight"), "layer": int(layer[1]) if layer else -1}
        rows.append(place | found)
    if not rows:
        raise BadInput(
            "tuned equals base in every matrix: there is no update whose overlap could be measured"
        )
    return OverlapTable(pd.DataFrame(rows), tuple(unchanged), left_out(tuned))


def of_matrix(
    base: Float[Tensor, "m n"],
    update: Update,
    k: Integral | None = None,
    weighted: bool = True,
    sides: Sequence[str] = ONE_SIDED,
    name: str = "the matrix",
) -> dict[str, float] | None:
    """Overlaps of one update with their isotropic values divided out, and its size; None for an update of zero."""
    check_k(k, base, name)
    k = None if k is None else int(k)
    energy = energy_of(update)
    if not energy:
        return None
    weight = float(base.square().sum())
    if not weight:
        raise BadInput(f"{name} of base is zero: nothing can overlap with it")
    if k is None:
        size, seen = weight, {side: WHOLE[side](base, update) for side in sides}
    else:
        left, right = top_factors(base, k, weighted)
        size = float(left.square().sum()) if weighted else 1.0
        seen = {side: projected_energy(update, side, left, right) for side in sides}
    found = {}
    for side in sides:
        share = seen[side] / (energy * size ** (2 if side == "both" else 1))
        found[side] = share / isotropic_overlap(*base.shape, side, k, weighted)
    return found | {
        "relative_norm": (energy / weight) ** 0.5,
        "stable_rank": energy / spectral_square(update),
    }


def check_k(k: Any, base: Float[Tensor, "m n"], name: str) -> None:
    """BadInput for a k that is not None and no number of singular values of this matrix."""
    most = min(base.shape)
    if k is not None and (isinstance(k, bool) or not isinstance(k, Integral) or not 1 <= k <= most):
        raise BadInput(f"k must be between 1 and {most} for {name} of shape {tuple(base.shape)}, not {k!r}")


def top_factors(
    base: Float[Tensor, "m n"], k: Integral, weighted: bool
) -> tuple[Float[Tensor, "m k"], Float[Tensor, "n k"]]:
    """U_k and V_k, times S_k for the weighted overlaps."""
    left, values, right = torch.linalg.svd(base, full_matrices=False)
    scale = values[:k] if weighted else values.new_ones(k)
    return left[:, :k] * scale, right[:k].T * scale


def projected_energy(
    update: Update, side: str, left: Float[Tensor, "m k"], right: Float[Tensor, "n k"]
) -> float:
    """|left^T D|^2, |D right|^2, or both at once."""
    if update.dense is not None:
        inner = update.dense if side == "row" else left.T @ update.dense
        return float((inner if side == "column" else inner @ right).square().sum())
    outer = update.left if side == "row" else left.T @ update.left
    inner = update.right if side == "column" else update.right @ right
    return product_energy(outer, inner, update.scale)


def whole_column(base: Float[Tensor, "m n"], update: Update) -> float:
    """|W0^T D|^2."""
    if update.dense is None:
        return product_energy(base.T @ update.left, update.right, update.scale)
    if is_tall(base):
        return float((base.T @ update.dense).square().sum())
    return float((base @ base.T * update.moment).sum())


def whole_row(base: Float[Tensor, "m n"], update: Update) -> float:
    """|D W0^T|^2."""
    if update.dense is None:
        return product_energy(update.left, update.right @ base.T, update.scale)
    if is_tall(base):
        return float((base.T @ base * update.moment).sum())
    return float((update.dense @ base.T).square().sum())


def whole_both(base: Float[Tensor, "m n"], update: Update) -> float:
    """|W0^T D W0^T|^2."""
    if update.dense is None:
        return product_energy(base.T @ update.left, update.right @ base.T, update.scale)
    return float((base.T @ update.dense @ base.T).square().sum())


WHOLE = {"column": whole_column, "row": whole_row, "both": whole_both}


def product_energy(left: Float[Tensor, "m r"], right: Float[Tensor, "r n"], scale: float = 1.0) -> float:
    """|scale * left @ right|^2, by the two r x r moments: m x n entries are never made."""
    return scale**2 * float(((left.T @ left) * (right @ right.T)).sum())


def energy_of(update: Update) -> float:
    """|D|^2."""
    if update.dense is not None:
        return float(update.dense.square().sum())
    return product_energy(update.left, update.right, update.scale)


def spectral_square(update: Update) -> float:
    """Square of the largest singular value."""
    if update.dense is None:
        left, right = (torch.linalg.qr(part)[1] for part in (update.left, update.right.T))
        return update.scale**2 * float(torch.linalg.matrix_norm(left @ right.T, 2) ** 2)
    return largest_eigenvalue(update.moment)


def largest_eigenvalue(moment: Float[Tensor, "n n"], most: int = 300, tolerance: float = 1e-6) -> float:
    """Of a positive semi-definite matrix, by power iteration from a fixed start, until it no longer moves."""
    vector = torch.randn(len(moment), generator=torch.Generator().manual_seed(0))
    value = 0.0
    for _ in range(most):
        vector = moment @ (vector / vector.norm())
        before, value = value, float(vector.norm())
        if abs(value - before) <= tolerance * value:
            break
    return value
