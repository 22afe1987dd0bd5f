"""Presets, sweeps, the results store and claims: the one pipe of every experiment of the book."""

from beyondloss.experiment.chapter import Chapter, Config, Paper
from beyondloss.experiment.claims import (
    Claim,
    Finding,
    PaperClaim,
    Precondition,
    Verdict,
    judge,
    paper_claims,
)
from beyondloss.experiment.digest import code_digest, config_digest
from beyondloss.experiment.effects import Effect, paired_interval, weakest
from beyondloss.experiment.engines import checkpoint_file, checkpoint_folder
from beyondloss.experiment.errors import (
    BadInput,
    DamagedFile,
    Failed,
    MissingPoints,
    NotEnough,
    SweepFailed,
    choose,
)
from beyondloss.experiment.experiment import SCALES, Experiment, Plan, duration
from beyondloss.experiment.judging import findings, verdicts
from beyondloss.experiment.parameters import Axis
from beyondloss.experiment.paths import journal, published, root
from beyondloss.experiment.resources import Cost
from beyondloss.experiment.store import Record, Store
from beyondloss.experiment.sweep import sweep, table
from beyondloss.experiment.verify import VerifyReport, verify

__all__ = [
    "SCALES",
    "Axis",
    "BadInput",
    "Chapter",
    "Claim",
    "Config",
    "Cost",
    "DamagedFile",
    "Effect",
    "Experiment",
    "Failed",
    "Finding",
    "MissingPoints",
    "NotEnough",
    "Paper",
    "PaperClaim",
    "Plan",
    "Precondition",
    "Record",
    "Store",
    "SweepFailed",
    "Verdict",
    "VerifyReport",
    "checkpoint_file",
    "checkpoint_folder",
    "choose",
    "code_digest",
    "config_digest",
    "duration",
    "findings",
    "journal",
    "judge",
    "paired_interval",
    "paper_claims",
    "published",
    "root",
    "sweep",
    "table",
    "verdicts",
    "verify",
    "weakest",
]
