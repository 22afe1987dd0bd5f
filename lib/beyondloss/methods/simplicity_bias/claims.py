"""The claims of chapter 2, their tests, and the criteria by which tables judge them."""

import math
from functools import partial

from beyondloss.experiment import Claim, Precondition, paper_claims
from beyondloss.methods.simplicity_bias.measures import (
    gain,
    language_model_gain,
    late_at_equal_steps,
    late_lowers_ratio,
    late_set_holds_hard_tasks,
    proxy_beats_random,
    proxy_lowers_ratio,
    proxy_on_noisy_prompts,
    sam_at_equal_gradients,
    sam_lowers_ratio,
    sam_on_few_noisy_prompts,
    small_language_model_gain,
)

LATE_LESS_BIAS = Precondition(
    "Doubling the late types lowers simplicity bias.",
    "As 2.2a, with the interval above 0.",
    late_lowers_ratio,
)
SAM_LESS_BIAS = Precondition("SAM lowers simplicity bias.", "As 2.1b.", sam_lowers_ratio)
PROXY_LESS_BIAS = Precondition(
    "The proxy's choice lowers simplicity bias.",
    "log(t_last / t_first), random minus late by proxy; the interval lies above 0.",
    proxy_lowers_ratio,
)
# doubling is a lever only where doubling the right examples, which an oracle knows, is one
ORACLE_ADAMW, ORACLE_MUON = (
    Precondition(
        "Doubling the rare tasks, which an oracle names, gains over random doubling.",
        f"Accuracy with {name}, hard tasks doubled minus random; the interval lies above 0.",
        partial(gain, better=f"{name.lower()}, hard tasks x2", worse=f"{name.lower()}, random x2"),
    )
    for name in ("AdamW", "Muon")
)

TESTS = (
    Claim(
        "2.1a",
        "In linear self-attention SAM brings the speeds together: at equal small heads its slowest direction is faster "
        "relative to its fastest than gradient descent's.",
        "Proved for every rho below s / u_1, to all orders in rho.",
        by="proof",
    ),
    Claim(
        "2.1b",
        "From small random heads the learning times lie closer together under SAM, as a ratio.",
        "log(t_last / t_first), gradient descent minus SAM at rho = 0.2 (heads of size 0.4), population gradient, 16 "
        "seeds; the interval lies above 0.",
        "population",
        sam_lowers_ratio,
    ),
    Claim(
        "2.1c",
        "It is so on a finite pool of prompts in batches, too.",
        "As 2.1b on 512 prompts in batches of 32; the interval lies above 0.",
        "pool",
        sam_lowers_ratio,
    ),
    Claim(
        "2.1d",
        "Less bias makes SAM the better optimizer at an equal number of gradients.",
        "Population loss after 1,000 gradients, gradient descent minus SAM at rho = 0.2; the interval "
        "lies above 0.",
        "population",
        sam_at_equal_gradients,
        precondition=SAM_LESS_BIAS,
    ),
    Claim(
        "2.1e",
        "On few prompts with noisy labels SAM generalises better than gradient descent, each stopped at its best.",
        "Lowest population loss over the run, 50 prompts, label noise 0.3, gradient descent minus SAM at rho = 0.3; "
        "the interval lies above 0.",
        "noise",
        sam_on_few_noisy_prompts,
    ),
    Claim(
        "2.2a",
        "Upsampling the types learned late lowers simplicity bias.",
        "log(t_last / t_first), as drawn minus late types doubled, population gradient; the interval "
        "lies above log 1.5.",
        "population",
        late_lowers_ratio,
        margin=math.log(1.5),
    ),
    Claim(
        "2.2b",
        "It improves the loss at an equal number of steps.",
        "Population loss after 1,000 steps, as drawn minus late types doubled; the interval lies above 0.",
        "population",
        late_at_equal_steps,
        precondition=LATE_LESS_BIAS,
    ),
    Claim(
        "2.2c",
        "So it does where a proxy pass has to find the late examples, against as many random ones.",
        "Population loss after 1,000 steps on 512 prompts in batches of 32, random minus late by proxy; the interval "
        "lies above 0.",
        "pool",
        proxy_beats_random,
        precondition=PROXY_LESS_BIAS,
    ),
    Claim(
        "2.2d",
        "With label noise the proxy's choice generalises better than a random one, each stopped at its best.",
        "Lowest population loss over the run, 150 prompts, label noise 0.3, random minus late by proxy; the interval "
        "lies above 0.",
        "noise",
        proxy_on_noisy_prompts,
    ),
    Claim(
        "2.3a",
        "Fine-tuning with AdamW on data with the late examples doubled is more accurate than with "
        "random ones doubled.",
        "Accuracy on unseen digits after 600 steps, late minus random, each at its tuned learning rate, 16 seeds; the "
        "interval lies above 0.",
        "finetuning",
        partial(gain, better="adamw, late x2", worse="adamw, random x2"),
        precondition=ORACLE_ADAMW,
    ),
    Claim(
        "2.3b",
        "So it is with Muon.",
        "As 2.3a with Muon.",
        "finetuning",
        partial(gain, better="muon, late x2", worse="muon, random x2"),
        precondition=ORACLE_MUON,
    ),
    Claim(
        "2.3c",
        "With AdamW it is worth more than spending the proxy pass on longer training.",
        "Accuracy, late minus the data as given for as many more steps as the proxy takes; the "
        "interval lies above 0.",
        "finetuning",
        partial(gain, better="adamw, late x2", worse="adamw, longer"),
        precondition=ORACLE_ADAMW,
    ),
    Claim(
        "2.3d",
        "So it is with Muon.",
        "As 2.3c with Muon.",
        "finetuning",
        partial(gain, better="muon, late x2", worse="muon, longer"),
        precondition=ORACLE_MUON,
    ),
    Claim(
        "2.3e",
        "SAM is worth its second gradient in fine-tuning.",
        "Accuracy, SAM around AdamW minus AdamW for twice the steps; the interval lies above 0.",
        "finetuning",
        partial(gain, better="sam, as given", worse="adamw, twice as long"),
        role="ours",
    ),
    Claim(
        "2.3f",
        "Who knows the rare tasks and doubles them gains over random doubling.",
        "Accuracy with AdamW, hard tasks doubled minus random; the interval lies above 0.",
        "finetuning",
        partial(gain, better="adamw, hard tasks x2", worse="adamw, random x2"),
        role="supports",
    ),
    Claim(
        "2.3g",
        "The late set holds more of the rare tasks than the data do.",
        "Their share of the late set minus 0.3, AdamW; the interval lies above 0.1.",
        "finetuning",
        late_set_holds_hard_tasks,
        margin=0.1,
        role="supports",
    ),
    Claim(
        "2.3h",
        "Augmenting the late examples, a second time on other digits, gains over augmenting random ones with AdamW.",
        "Accuracy, late varied minus random varied; the interval lies above 0.",
        "finetuning",
        partial(gain, better="adamw, late varied", worse="adamw, random varied"),
        precondition=ORACLE_ADAMW,
    ),
    Claim(
        "2.3i",
        "So it is with Muon.",
        "As 2.3h with Muon.",
        "finetuning",
        partial(gain, better="muon, late varied", worse="muon, random varied"),
        precondition=ORACLE_MUON,
    ),
    Claim(
        "2.3j",
        "A small language model fine-tuned on generated word problems gains over random doubling.",
        "SmolLM2-135M, loss of a test solution, random minus late, the mean of AdamW and Muon, 3 seeds; the interval "
        "lies above 0. Exact match on 24 problems a seed is too coarse to judge by and is shown beside.",
        "smollm2",
        small_language_model_gain,
    ),
    Claim(
        "2.3k",
        "Language models fine-tuned on mathematics gain in exact match.",
        "GSM8K, late over random, relative, mean over models and optimizers; the interval lies above 0. The published "
        "gain is up to 18%.",
        "language_model",
        language_model_gain,
    ),
)
CLAIMS = paper_claims(
    {
        "2.1": "Sharpness-aware minimization learns the features of a task at more equal speeds than gradient "
        "descent, and generalises better for it.",
        "2.2": "Showing more often what is learned late lowers simplicity bias as SAM does, and improves "
        "generalisation.",
        "2.3": "Language models that are fine-tuned on mathematics become more accurate when the examples that are "
        "learned late are doubled or varied, with AdamW and with Muon.",
    },
    TESTS,
)
