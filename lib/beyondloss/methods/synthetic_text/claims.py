"""The claims of chapter 7, with the criteria by which their measures are judged.

Every arm's own setting, learning rate and number of steps are chosen on tuning seeds and their texts by the rule of
`measures`; effects are of the seeds that count, paired by seed, at 8 texts of each label.
"""

from functools import partial

from beyondloss.experiment import Claim, Precondition, paper_claims
from beyondloss.methods.synthetic_text.measures import (
    CHOSEN,
    CLOSE,
    FROM_EXAMPLES,
    GENERATED,
    RANDOM,
    beyond,
    close,
    members_hidden,
    members_show,
    nearer,
    readable,
    real_teach,
)

TEACH = 0.02  # share: the least that real examples must teach for a comparison to mean anything
REAL_TEACH = Precondition(
    "Real examples teach something.",
    "Accuracy after learning from all 50 real examples of each label minus that of the model as it stands, calibrated "
    "or not as the tuning seeds choose; the interval lies above 0.02.",
    real_teach,
    margin=TEACH,
)

TESTS = (
    Claim(
        "7.1a",
        "GRADMM's texts come nearer to the gradient of real texts that it did not see.",
        "Cosine distance of the set's gradient from that of the tested texts, mean of both labels, SmolLM2-135M on "
        "film reviews: the share that GRADMM takes off its starting texts'; 5 seeds, the interval lies above 0.3.",
        "reviews",
        nearer,
        margin=0.3,
    ),
    Claim(
        "7.1b",
        "They are readable.",
        "Perplexity under SmolLM2-135M: that of GRADMM's texts is less than twice that of real ones; the interval of "
        "log(2 x real / GRADMM) lies above 0.",
        "reviews",
        readable,
    ),
    Claim(
        "7.2a",
        "Fine-tuning by gradients with a bounded error ends in a neighbourhood of the solution.",
        "Proved for a smooth loss of Polyak and Lojasiewicz, with the constant, and checked.",
        by="proof",
    ),
    Claim(
        "7.2b",
        "A model tuned on GRADMM's texts is nearly as good as one tuned on all the examples that were matched.",
        "Accuracy, all weights tuned, GRADMM's 8 texts of each label minus all 50 real ones; the interval lies above "
        f"-{CLOSE}.",
        "world",
        close,
        precondition=REAL_TEACH,
    ),
    Claim(
        "7.3a",
        "On film reviews it beats what the model writes, with and without real examples in the request.",
        "Accuracy, GRADMM minus generated texts and minus texts generated from examples, whichever interval says less; "
        "it lies above 0.",
        "reviews",
        partial(beyond, rivals=(GENERATED, FROM_EXAMPLES)),
        precondition=REAL_TEACH,
    ),
    Claim(
        "7.3b",
        "It does so in the small world, where all weights are tuned.",
        "As 7.3a.",
        "world",
        partial(beyond, rivals=(GENERATED, FROM_EXAMPLES)),
        precondition=REAL_TEACH,
    ),
    Claim(
        "7.3c",
        "On film reviews it beats as many real examples at random.",
        "Accuracy, GRADMM minus real examples at random, 8 of each label; the interval lies above 0.",
        "reviews",
        partial(beyond, rivals=(RANDOM,)),
        precondition=REAL_TEACH,
    ),
    Claim(
        "7.3d",
        "It does so in the small world, where all weights are tuned.",
        "As 7.3c.",
        "world",
        partial(beyond, rivals=(RANDOM,)),
        precondition=REAL_TEACH,
    ),
    Claim(
        "7.3e",
        "Matching does more than choosing generated texts by their gradient.",
        "Accuracy, GRADMM minus the 8 texts of each label that the gradient chooses greedily from 160 generated ones; "
        "the interval lies above 0.",
        "world",
        partial(beyond, rivals=(CHOSEN,)),
        precondition=REAL_TEACH,
        role="ours",
    ),
    Claim(
        "7.4a",
        "A model tuned on GRADMM's texts shows little of who was among the examples.",
        "Area under the curve of an attack by how far the loss fell, less 0.5, at the rate and steps at which it finds "
        "most in a model tuned on the 50 examples: half of what it finds there minus what it finds in GRADMM's "
        "model; the interval lies above 0.",
        "world",
        members_hidden,
        precondition=Precondition(
            "The attack finds members of a model that was tuned on them.",
            "The area for the model tuned on the examples, less 0.5; the interval lies above 0.02.",
            members_show,
            margin=0.02,
        ),
    ),
)

CLAIMS = paper_claims(
    {
        "7.1": "Alternating between embeddings and likely words gives readable texts with the gradient of real ones.",
        "7.2": "Fine-tuning on them converges to a close neighbourhood of fine-tuning on real data.",
        "7.3": "They beat texts that the model writes by itself and as many real examples.",
        "7.4": "They do not reveal the real examples.",
    },
    TESTS,
)
