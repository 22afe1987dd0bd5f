"""What a training run measured."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class History:
    """Evaluations `rows[i] = {"step": …, metric: one value a member}`, and where each member ended early.

    `diverged_at[member]` counts the steps before the first loss that was not finite, `finished_at[member]` those
    before the evaluation that satisfied `until`; None where neither came.
    """

    diverged_at: list[int | None]
    finished_at: list[int | None]
    rows: list[dict] = field(default_factory=list)

    @classmethod
    def of_members(cls, members: int) -> "History":
        return cls([None] * members, [None] * members)

    @property
    def over(self) -> bool:
        """Whether every member has ended."""
        return all(self.ended_at(member) is not None for member in range(len(self.diverged_at)))

    def ended_at(self, member: int) -> int | None:
        diverged, finished = self.diverged_at[member], self.finished_at[member]
        return diverged if finished is None else finished

    def of(self, member: int) -> dict[str, list]:
        """One member's curves up to its end: metric -> values over the evaluations, and the evaluations' `step`."""
        end = self.ended_at(member)
        rows = [row for row in self.rows if end is None or row["step"] <= end]
        names = [name for name in (self.rows[0] if self.rows else {}) if name != "step"]
        return {"step": [row["step"] for row in rows]} | {
            name: [row[name][member] for row in rows] for name in names
        }

    def note_divergence(self, losses: list[Tensor], done: int) -> None:
        """Find the first loss of each member that is not finite; `losses` are those of the last steps done."""
        for step, finite in enumerate(torch.stack(losses).isfinite().tolist(), start=done - len(losses)):
            for member in range(len(finite)):
                if not finite[member] and self.ended_at(member) is None:
                    self.diverged_at[member] = step

    def note_finished(self, until: Callable[[dict], bool] | None) -> None:
        """Ask `until` about each member's last row by itself."""
        last = self.rows[-1]
        for member in range(len(self.finished_at)):
            row = {name: value if name == "step" else [value[member]] for name, value in last.items()}
            if until and self.ended_at(member) is None and until(row):
                self.finished_at[member] = last["step"]
