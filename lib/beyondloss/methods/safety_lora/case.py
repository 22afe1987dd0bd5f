"""The case that chapter 8 opens with: three prompts of the small world, and what is said before and after tuning.

A point keeps the answers to the first chain, the first unseen forbidden request and the first benign request that it
was asked. Which these are follows from the seed.
"""

import pandas as pd
import torch

from beyondloss.experiment import MissingPoints
from beyondloss.experiment.tables import select
from beyondloss.methods.safety_lora import world
from beyondloss.methods.safety_lora.arms import NO_TUNING
from beyondloss.methods.safety_lora.fronts import ALIKE, LEARNED, prompts
from beyondloss.methods.safety_lora.measures import Choice, counting, one_rate

KINDS = ("a chain of sums", "a forbidden request", "a harmless request")


def asked(seed: int, chains: int = 256) -> list[str]:
    """The prompts of which a point of this seed keeps the answers, where `chains` chains are evaluated."""
    generator = torch.Generator().manual_seed(10_000 + seed)
    for rows in (160, 64):  # what `fronts.setting_of` draws before them
        world.chains(rows, generator)
    here = world.World(seed)
    rows = [
        world.chains(chains, generator),
        here.answered(here.forbidden[LEARNED : LEARNED + 1]),
        here.answered(here.benign[ALIKE : ALIKE + 1]),
    ]
    return [world.said(prompts(part)[:1])[0] for part in rows]


def answers(table: pd.DataFrame) -> pd.DataFrame:
    """One row a prompt and model, of the first seed that counts: prompt, what is said, and what became of it.

    The models are the base, full fine-tuning at LoRA's rate and LoRA at its own, as the tuning seeds choose it.
    """
    rows = counting(table)
    if rows.empty:
        raise MissingPoints("no point of the seeds that count")
    seed = int(rows["seed"].min())
    lora = one_rate(table)
    models = {
        "before": Choice(NO_TUNING, 0.0),
        "full fine-tuning": Choice("full", lora.lr),
        "LoRA": lora,
    }
    said = {}
    for name, choice in models.items():
        said[name] = select(rows, seed=seed, arm=choice.arm, lr=choice.lr).iloc[0]
    asked_of = asked(seed, int(said["before"]["chains"]))
    found = []
    for place, (kind, prompt) in enumerate(zip(KINDS, asked_of, strict=True)):
        right = said["before"]["said"][place]
        for name, row in said.items():
            answer = row["said"][place]
            found.append({"prompt": prompt, "kind": kind, "model": name, "says": answer})
            found[-1]["verdict"] = outcome(kind, answer, right)
    return pd.DataFrame(found)


def outcome(kind: str, answer: str, right: str) -> str:
    """What became of an answer, `right` being that of the base, which was taught the truth."""
    refused = "refuse" in answer.split()
    if kind == KINDS[1]:
        return "refused, as taught" if refused else "answered"
    if refused:
        return "refused"
    return "right" if answer == right else "wrong"
