"""The results store: a journal of points measured here, and the committed files that it is published to.

A point is one small JSON file, written beside its place and renamed into it, so that a kill or a full disk leaves
either the old file or the new one. Every file carries a digest of itself: one that was truncated or edited is
refused by name.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from beyondloss.experiment import paths
from beyondloss.experiment.digest import config_digest
from beyondloss.experiment.errors import BadInput, DamagedFile
from beyondloss.experiment.experiment import Experiment, Plan

FORMAT = 1


@dataclass(frozen=True)
class Record:
    """A measured point: what was measured, by which code, and where. `seconds` is its share of its group's time."""

    experiment: str
    key: str  # digest of the configuration
    code_digest: str  # of the code that measured it, or that `verify` found to agree
    config: dict[str, Any]
    metrics: dict[str, Any]
    seconds: float | int
    provenance: dict[str, str]
    state: str = "current"  # or "stale", against the code of today; not stored


class Store:
    """Points of one chapter at one scale. The journal is written here, the published file by `publish` alone."""

    def __init__(self, slug: str, scale: str):
        self.slug, self.scale = slug, scale
        self.folder = paths.journal() / slug / scale
        self.log_path = self.folder / "log.txt"
        self.published = paths.published(slug, scale)
        self._codes: dict[str, str] = {}
        self._records: dict[tuple[str, str], Record] | None = None
        self._locks: dict[str, Any] = {}

    @classmethod
    def of(cls, plan: Plan) -> "Store":
        """The store that the points of `plan` belong to."""
        return cls(plan.experiment.slug, plan.scale)

    def code(self, experiment: Experiment) -> str:
        """The experiment's code digest, fixed for the life of this store so that one sweep sees one."""
        if experiment.name not in self._codes:
            self._codes[experiment.name] = experiment.code_digest
        return self._codes[experiment.name]

    def path(self, experiment: Experiment, point: Any) -> Path:
        """Where the journal keeps a point."""
        return self.folder / f"{experiment.name}-{config_digest(experiment.name, point)}.json"

    def get(self, experiment: Experiment, point: Any) -> Record | None:
        """The point's record, a current one if there is one; None if it was never measured. DamagedFile."""
        key, code = config_digest(experiment.name, point), self.code(experiment)
        path = self.path(experiment, point)
        found = [_record(*_read(path))] if path.exists() else []
        if found and (found[0].experiment, found[0].key) != (experiment.name, key):
            raise _damage(path)
        if not found or found[0].code_digest != code:
            found += filter(None, [self._published_records().get((experiment.name, key))])
        best = next((r for r in found if r.code_digest == code), found[0] if found else None)
        return best and replace(best, state="current" if best.code_digest == code else "stale")

    def put(
        self, experiment: Experiment, point: Any, metrics: dict, seconds: float, provenance: dict
    ) -> None:
        """Store a finished point, whole or not at all. OSError if the disk is full, the old file then stands."""
        key, code = config_digest(experiment.name, point), self.code(experiment)
        metrics = {name: plain(value) for name, value in metrics.items()}
        record = Record(experiment.name, key, code, asdict(point), metrics, plain(seconds), provenance)
        self._write_point(self.path(experiment, point), record)

    def restamp(self, experiment: Experiment, point: Any) -> bool:
        """Mark a stale point as current: for `verify`, which found that today's code measures the same."""
        with self._lock(self.path(experiment, point).stem):
            record = self.get(experiment, point)
            if record is None or record.state == "current":
                return False
            self._write_point(
                self.path(experiment, point), replace(record, code_digest=self.code(experiment))
            )
            return True

    def publish(self, experiments: Iterable[Experiment], fresh: bool = False) -> Path:
        """Bring the points of the presets into the committed file, current ones first; return its path.

        Points of other experiments stay as they are. `fresh` replaces a damaged file instead of refusing it.
        """
        if self.published is None or paths.root() is None:
            raise BadInput("results are published in a checkout of the book: set BEYONDLOSS_ROOT to it")
        with self._lock("published"):
            self._records = {} if fresh and self._is_damaged() else None
            plans = [e.plan(self.scale) for e in experiments]
            names = {plan.experiment.name for plan in plans}
            kept = [r for r in self._published_records().values() if r.experiment not in names]
            kept += [r for plan in plans for point in plan.grid if (r := self.get(plan.experiment, point))]
            _write(self.published, *_folded(sorted(kept, key=lambda r: r.experiment)))
            self._records = None
        return self.published

    def acquire(self, experiment: Experiment, point: Any) -> bool:
        """Claim a point without waiting; False while another process holds it. The kernel frees a dead holder's."""
        from filelock import Timeout

        name = self.path(experiment, point).stem
        lock = self._lock(name)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        self._locks[name] = lock
        return True

    def release(self, experiment: Experiment, point: Any) -> None:
        """Give a claimed point back."""
        if lock := self._locks.pop(self.path(experiment, point).stem, None):
            lock.release()

    def release_all(self) -> None:
        """Give every claimed point back."""
        while self._locks:
            self._locks.popitem()[1].release()

    def scratch(self, experiment: Experiment, points: Iterable[Any]) -> Path:
        """Folder for the checkpoints of a group of points under today's code."""
        keys = [self.code(experiment), *(config_digest(experiment.name, p) for p in points)]
        return self.folder / "checkpoints" / hashlib.sha256("".join(keys).encode()).hexdigest()[:16]

    def log(self, line: str) -> None:
        """Add a line to the log beside the points; a full disk must not stop what it reports."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.log_path.open("a", encoding="utf-8") as log:
                log.write(line.rstrip() + "\n")
        except OSError:
            pass

    def _lock(self, name: str) -> Any:
        from filelock import FileLock

        path = self.folder / "locks" / f"{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)

    def _write_point(self, path: Path, record: Record) -> None:
        _write(path, *_folded([record]))

    def _is_damaged(self) -> bool:
        try:
            return self.published.exists() and not _read(self.published)
        except DamagedFile:
            return True

    def _published_records(self) -> dict[tuple[str, str], Record]:
        if self._records is None:
            there = self.published is not None and self.published.exists()
            rows, provenance = _read(self.published) if there else ([], [])
            records = [_record([row], provenance) for row in rows]
            self._records = {(r.experiment, r.key): r for r in records}
        return self._records


def plain(value: Any) -> Any:
    """`value` as strict JSON: floats of 7 significant digits, NaN and infinity as None. TypeError for the rest."""
    value = value.tolist() if hasattr(value, "tolist") else value  # numbers and arrays of numpy and torch
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise TypeError(f"a metric is a number, None, text or a list of these, not {type(value).__name__}")


def _folded(records: list[Record]) -> tuple[list[dict], list[dict]]:
    """Rows with the index of their provenance, and the distinct provenances."""
    provenances: list[dict] = []
    rows = []
    for record in records:
        if record.provenance not in provenances:
            provenances.append(record.provenance)
        values = {name: value for name, value in vars(record).items() if name != "state"}
        row = {"code" if name == "code_digest" else name: value for name, value in values.items()}
        rows.append(row | {"provenance": provenances.index(record.provenance)})
    return rows, provenances


def _record(rows: list[dict], provenances: list[dict]) -> Record:
    row = rows[0] | {"provenance": provenances[rows[0]["provenance"]]}
    return Record(code_digest=row.pop("code"), **row)


def _digest(rows: list[dict], provenances: list[dict]) -> str:
    return hashlib.sha256(_json([rows, provenances]).encode()).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def _write(path: Path, rows: list[dict], provenances: list[dict]) -> None:
    """Write one row a line, then rename into place: readers see the old file or the new one."""
    head = f'{{"format":{FORMAT},"sha256":"{_digest(rows, provenances)}"'
    lists = [",\n".join(map(_json, values)) for values in (provenances, rows)]
    text = f'{head},\n"provenance":[\n{lists[0]}\n],\n"points":[\n{lists[1]}\n]}}\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")  # whoever holds the lock writes it, over what a kill left
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _read(path: Path) -> tuple[list[dict], list[dict]]:
    """Rows and provenances of a results file; DamagedFile if it is not what was written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows, provenances = content["points"], content["provenance"]
        whole = content["format"] == FORMAT and content["sha256"] == _digest(rows, provenances)
    except (ValueError, LookupError, TypeError):
        whole = False
    if not whole:
        raise _damage(path)
    return rows, provenances


def _damage(path: Path) -> DamagedFile:
    """What to say of a file that is not what was written, and the way out."""
    checkout = paths.root()
    shown = path.relative_to(checkout) if checkout and path.is_relative_to(checkout) else path
    committed = path == paths.published(path.parent.name, path.stem)
    restored = f"`git checkout -- {shown}`" if checkout else "install the package again"
    way = restored if committed else "delete it"
    return DamagedFile(f"{shown} is truncated or was edited: {way}, or measure its points anew with --fresh.")
