"""What a paper claims, the tests of it, their criteria, and the verdicts that tables of points give them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from string import ascii_lowercase
from typing import TYPE_CHECKING, Literal

from beyondloss.experiment.effects import Effect
from beyondloss.experiment.errors import BadInput, MissingPoints, choose

if TYPE_CHECKING:
    import pandas as pd

    Measure = Callable[[pd.DataFrame], Effect]
    Tables = Mapping[str, pd.DataFrame]

HELD, DIRECTION, NOT_HELD = "held", "held in direction only", "did not hold"
ABSENT, NOT_RUN = "precondition absent", "not run at this scale"
IN_PART = "held in part"  # of a paper's claim, never of one test
ORDER = (HELD, IN_PART, DIRECTION, NOT_HELD, ABSENT, NOT_RUN)
JUDGED = (HELD, DIRECTION, NOT_HELD)


@dataclass(frozen=True)
class Precondition:
    """A positive control: what must be there before a test can say anything, with a criterion of its own.

    measure: table -> Effect; the control is there where the interval lies above `margin`.
    experiment: whose table is measured; the test's own where empty.
    """

    statement: str
    criterion: str
    measure: "Measure"
    margin: float | int = 0.0
    experiment: str = ""


@dataclass(frozen=True)
class Claim:
    """A test of a paper's claim, in our words, with a criterion written down before the run.

    measure: table of `experiment` -> Effect; raises MissingPoints where the table has too few points.
    margin: the interval must lie above it for the test to hold.
    by: "proof" for what the chapter proves; it needs neither experiment nor measure.
    precondition: where it fails, the test says nothing: its verdict is *precondition absent*.
    role: whether it "decides" the paper's claim, "supports" the reading of it (a control, an oracle, a mechanism), or
        is "ours": asked by the book and not by the paper. Only the first kind enters the verdict of the paper's claim.
    """

    id: str
    statement: str
    criterion: str
    experiment: str = ""
    measure: "Measure | None" = None
    margin: float | int = 0.0
    by: Literal["experiment", "proof"] = "experiment"
    precondition: Precondition | None = None
    role: Literal["decides", "supports", "ours"] = "decides"

    def __post_init__(self):
        if self.by == "experiment" and not (self.experiment and self.measure):
            raise BadInput(f"claim {self.id} is by experiment: it needs `experiment` and `measure`")


@dataclass(frozen=True)
class Verdict:
    """What became of a test at one scale.

    effect, control: of the test and of its precondition; None where nothing was measured.
    adjusted: its p value after Holm's correction over the tests of the chapter that were run at this scale; None for
        a test that was not judged by an effect.
    """

    claim: Claim
    scale: str
    verdict: str
    effect: Effect | None = None
    control: Effect | None = None
    note: str = ""
    adjusted: float | None = None

    @property
    def p(self) -> float | None:
        """p value of the criterion, uncorrected; None for a test that was not judged by an effect."""
        judged = self.verdict in JUDGED and self.effect is not None
        return self.effect.p_value(self.claim.margin) if judged else None

    @property
    def survives(self) -> bool | None:
        """Whether the criterion is met after the correction as well; None where there was nothing to correct."""
        return None if self.adjusted is None else self.adjusted < 0.05


def judge(claim: Claim, tables: "Tables", scale: str) -> Verdict:
    """Verdict of one test from the tables of its chapter's experiments at `scale`, by name; not yet corrected."""
    if claim.measure is None:
        return Verdict(claim, scale, HELD, note="proved in the chapter")
    control, effect, missing = None, None, None
    try:
        control = _control(claim, tables)
        effect = claim.measure(_points(claim.experiment, tables))
    except MissingPoints as error:
        missing = error
    if control is not None and not control.low > claim.precondition.margin:
        word = ABSENT
    elif missing is not None:
        return Verdict(claim, scale, NOT_RUN, control=control, note=str(missing))
    elif effect.low > claim.margin:
        word = HELD
    else:
        word = DIRECTION if effect.value > 0 else NOT_HELD
    return Verdict(claim, scale, word, effect, control, _notes(claim, tables))


def _control(claim: Claim, tables: "Tables") -> Effect | None:
    if claim.precondition is None:
        return None
    return claim.precondition.measure(_points(claim.precondition.experiment or claim.experiment, tables))


def _points(experiment: str, tables: "Tables") -> "pd.DataFrame":
    table = tables.get(experiment)
    if table is None or table.empty:
        raise MissingPoints
    return table


def _notes(claim: Claim, tables: "Tables") -> str:
    """What a reader must know of the points behind the test and its control, each experiment's once."""
    behind = [claim.experiment]
    if claim.precondition and claim.precondition.experiment not in ("", claim.experiment):
        behind.append(claim.precondition.experiment)
    notes = [_note(tables[name]) for name in behind if tables.get(name) is not None]
    return "; ".join(note for note in notes if note)


def _note(table: "pd.DataFrame") -> str:
    """What a reader must know of the points behind a verdict."""
    notes = []
    if (planned := table.attrs.get("planned", len(table))) > len(table):
        notes.append(f"{len(table)} of {planned} points")
    if "diverged_at" in table and (diverged := int(table["diverged_at"].notna().sum())):
        notes.append(f"{diverged} of {len(table)} points diverged")
    stale = table[table["state"] == "stale"] if "state" in table else table[:0]
    if len(stale):
        notes.append(f"{len(stale)} points computed at commit {', '.join(sorted(set(stale['commit'])))}")
    return "; ".join(notes)


# Many tests ------------------------------------------------------------------------------------------------


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number by Holm's step-down procedure, in the order given.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none becomes less than one before it.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    by_size = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for rank, i in enumerate(by_size):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def corrected(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts of a chapter at one scale, each with its adjusted p value; the verdicts stay as they are.

    A test whose precondition was absent is counted among them, as one that shows nothing: the number of tests that the
    others are corrected for must not depend on how the controls came out.
    """
    family = [i for i, verdict in enumerate(verdicts) if verdict.effect is not None]
    p_values = [1.0 if (p := verdicts[i].p) is None else p for i in family]
    found = list(verdicts)
    for i, adjusted in zip(family, holm(p_values), strict=True):
        found[i] = replace(found[i], adjusted=None if found[i].p is None else adjusted)
    return found


# A paper's claim -------------------------------------------------------------------------------------------


def by_deciding_tests(deciding: Sequence[Verdict]) -> str:
    """A claim *held* if all its deciding tests held, and *held in part* if some did. Where none held, it *held in
    direction only* if every test that could be judged had the right sign, and otherwise *did not hold*. Where no test
    could be judged, its verdict says why: *precondition absent* or *not run at this scale*. A proof beside
    experiments of which none was run, or none held, decides nothing.
    """  # noqa: D205 readers see this text
    experiments = [v for v in deciding if v.claim.by == "experiment"]
    judged = {v.verdict for v in experiments or deciding} & set(JUDGED)
    if not judged:
        return ABSENT if any(v.verdict == ABSENT for v in experiments) else NOT_RUN
    if all(v.verdict == HELD for v in deciding):
        return HELD
    if any(v.verdict == HELD for v in experiments):
        return IN_PART
    return DIRECTION if judged == {DIRECTION} else NOT_HELD


@dataclass(frozen=True)
class PaperClaim:
    """One of the three to five things that a paper claims, in our words, with the tests of it.

    rule: verdicts of the deciding tests -> verdict of the claim; its docstring says it in words for readers.
    """

    id: str
    statement: str
    tests: tuple[Claim, ...]
    rule: Callable[[Sequence[Verdict]], str] = by_deciding_tests

    def __post_init__(self):
        if not any(test.role == "decides" for test in self.tests):
            raise BadInput(f"claim {self.id} has no test that decides it")
        for test in self.tests:
            if test.id.rstrip(ascii_lowercase) != self.id:
                raise BadInput(f"test {test.id} does not belong under claim {self.id}: call it {self.id}a")


def paper_claims(statements: Mapping[str, str], tests: Sequence[Claim]) -> tuple[PaperClaim, ...]:
    """Claims of a paper, number -> sentence, each with the tests that bear its number and a letter: 3.2a under 3.2.

    Raises BadInput for a test without a claim, or a claim without a test that decides it.
    """
    under: dict[str, list[Claim]] = {number: [] for number in statements}
    for test in tests:
        number = choose(f"claim above test {test.id}:", test.id.rstrip(ascii_lowercase), statements)
        under[number].append(test)
    return tuple(PaperClaim(number, said, tuple(under[number])) for number, said in statements.items())


@dataclass(frozen=True)
class Finding:
    """What became of a paper's claim at one scale, and of the tests under it."""

    claim: PaperClaim
    scale: str
    tests: tuple[Verdict, ...]

    @property
    def deciding(self) -> list[Verdict]:
        """The verdicts that the claim's own verdict follows from."""
        return [verdict for verdict in self.tests if verdict.claim.role == "decides"]

    @property
    def verdict(self) -> str:
        """The verdict by the claim's rule."""
        return self.claim.rule(self.deciding)

    @property
    def ran(self) -> bool:
        """Whether any of its deciding tests was measured; a proof alone is none."""
        return any(verdict.effect is not None for verdict in self.deciding)

    @property
    def counts(self) -> dict[str, int]:
        """Verdict -> number of tests under the claim, all roles, in the order of `ORDER`."""
        counted = Counter(verdict.verdict for verdict in self.tests)
        return {word: counted[word] for word in ORDER if counted[word]}


def findings(claims: Sequence[PaperClaim], tables: "Tables", scale: str) -> list[Finding]:
    """Every claim of a chapter with its tests, judged from the tables of its experiments and corrected together."""
    # all tests in one list, because Holm's correction is over the chapter; then each claim takes back its own
    verdicts = iter(corrected([judge(test, tables, scale) for claim in claims for test in claim.tests]))
    return [Finding(claim, scale, tuple(islice(verdicts, len(claim.tests)))) for claim in claims]
