"""The claims of chapter 8, with the criteria by which their measures are judged.

Hyper-parameters of every arm are chosen on tuning seeds by the rule of `measures`; effects are of the seeds that count,
paired by seed.
"""

from functools import partial

from beyondloss.experiment import Claim, Precondition, paper_claims
from beyondloss.methods.safety_lora.measures import (
    MARGIN,
    lora_at_one_rate,
    lora_at_own_rates,
    low_rank_keeps,
    merging_gain,
    penalty_gain,
    room,
    smaller_overlap,
    tax_at_one_rate,
    tax_at_own_rate,
)

ROOM = Precondition(
    "LoRA loses something that lower overlap could save.",
    "Share of chains and benign requests (mean of both) that the base answers rightly minus that of LoRA of rank 16, "
    "alpha 16, at its own rate; the interval lies above 0.01.",
    room,
    margin=0.01,
)

TESTS = (
    Claim(
        "8.1a",
        "At the paper's protocol, one learning rate for all, full fine-tuning on refusals costs reasoning.",
        "Share of new chains right, base minus full fine-tuning at the learning rate that LoRA (alpha 16, rank chosen) "
        "gets on the tuning seeds; 8 base models, the interval lies above 0.05.",
        "fronts",
        tax_at_one_rate,
        margin=MARGIN,
    ),
    Claim(
        "8.1b",
        "It does so at its own learning rate, too.",
        "As 8.1a at the rate that the tuning seeds choose for full fine-tuning; the interval lies above 0.05.",
        "fronts",
        tax_at_own_rate,
        margin=MARGIN,
    ),
    Claim(
        "8.2a",
        "At one learning rate for all LoRA keeps reasoning that full fine-tuning loses, and refuses as much.",
        "Share of new chains right, LoRA (alpha 16, rank and rate chosen on the tuning seeds) minus full fine-tuning "
        "at the same rate, and refusal of unseen forbidden requests, LoRA minus full plus 0.05, whichever interval is "
        "lower; it lies above 0.",
        "fronts",
        lora_at_one_rate,
        precondition=Precondition(
            "Full fine-tuning pays at this rate.", "The criterion of 8.1a.", tax_at_one_rate, margin=MARGIN
        ),
    ),
    Claim(
        "8.2b",
        "It does so against full fine-tuning at its own learning rate.",
        "As 8.2a, full fine-tuning at the rate that the tuning seeds choose for it; the interval lies above 0.",
        "fronts",
        partial(lora_at_own_rates, metric="reasoning"),
        precondition=Precondition(
            "Full fine-tuning pays at its own rate, be it little.",
            "Share of new chains right, base minus full fine-tuning at its own rate; the interval lies above 0.",
            tax_at_own_rate,
        ),
    ),
    Claim(
        "8.2c",
        "At its own rate LoRA keeps more of the benign requests than full fine-tuning at its own.",
        "As 8.2b with the share of benign requests answered rightly; the interval lies above 0.",
        "fronts",
        partial(lora_at_own_rates, metric="benign_right"),
        role="ours",
    ),
    Claim(
        "8.2d",
        "It is the low rank that keeps them: at one scale, rank 1 keeps more than rank 64.",
        "Mean share of chains and benign requests right, LoRA of rank 1 minus rank 64, both with alpha in proportion "
        "to the rank and each at its own rate, refusal as in 8.2a; the interval lies above 0.",
        "fronts",
        low_rank_keeps,
        role="supports",
    ),
    Claim(
        "8.2e",
        "On a real model LoRA keeps more of what it knew than full fine-tuning, each at its own rate.",
        "Share of probes (capitals, elements, sums; at full scale benchmarks) right, LoRA (alpha 16, rank and rate "
        "chosen on the tuning seed) minus full fine-tuning (rate chosen), refusal as in 8.2a; it lies above 0.",
        "real",
        partial(lora_at_own_rates, metric="kept"),
        precondition=Precondition(
            "Full fine-tuning pays at its own rate, be it little.",
            "Share of probes right, base minus full fine-tuning at its own rate; the interval lies above 0.",
            partial(tax_at_own_rate, metric="kept"),
        ),
    ),
    Claim(
        "8.3a",
        "LoRA's update overlaps less with the initial weights, where it reads (rows) and where it writes (columns).",
        "Row and column overlap (weighted, 1 = chance, mean over the MLP's matrices), full fine-tuning minus LoRA, "
        "each at its own rate, whichever interval is lower; it lies above 0.",
        "fronts",
        smaller_overlap,
    ),
    Claim(
        "8.4a",
        "A penalty on the overlap in training improves what LoRA keeps.",
        "Mean share of chains and benign requests right, LoRA of rank 16 with the penalty (side, strength and rate "
        "chosen on the tuning seeds) minus without (rate chosen), refusal as in 8.2a; the interval lies above 0.",
        "fronts",
        penalty_gain,
        precondition=ROOM,
    ),
    Claim(
        "8.4b",
        "Removing the top subspace when merging improves it more than making the update smaller does.",
        "As 8.4a: LoRA of rank 16, the best removal (side, size and rate chosen on the tuning seeds) minus the best "
        "scale of 0.25, 0.5, 0.75 or 1 (and rate); the interval lies above 0.",
        "fronts",
        merging_gain,
        precondition=ROOM,
    ),
)

CLAIMS = paper_claims(
    {
        "8.1": "Safety fine-tuning on refusals costs a reasoning model its reasoning: the safety tax.",
        "8.2": "LoRA reaches the safety of full fine-tuning without that cost, because its updates are of low rank.",
        "8.3": "LoRA's updates overlap less with the initial weights than those of full fine-tuning.",
        "8.4": "Lowering the overlap further, by a penalty or in merging, improves the trade-off on some tasks.",
    },
    TESTS,
)
