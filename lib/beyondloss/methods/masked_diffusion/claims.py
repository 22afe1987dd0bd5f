"""The claims of chapter 3, their tests, and the criteria by which tables judge them."""

import numpy as np

from beyondloss.experiment import Claim, Precondition, paper_claims
from beyondloss.methods.masked_diffusion.measures import (
    decomposition,
    diffusion_does_not_delay,
    diffusion_generalises_sooner,
    diffusion_wins_on_few_samples,
    label_groks,
    llada_gain,
    mass_orders_speed,
    middle_beats_outer,
    middle_window_gain,
    weighted_window_speed,
    window_speed,
)

GROKS = Precondition(
    "Training on the label groks.",
    "At the sizes at which every label-trained run generalises without weight decay, held-out accuracy first reaches "
    "0.6 after more than five times the steps of memorising, in doublings; the interval lies above log2(5).",
    label_groks,
    margin=float(np.log2(5)),
)

TESTS = (
    Claim(
        "3.1a",
        "The masked-diffusion objective splits into a signal regime and a noise regime, and the noise regime is a "
        "regulariser that keeps features learning.",
        "The identity and its gradient agree to 1e-9 in every point, and at the middle width between the number of "
        "signal inputs and the number of all inputs the pull on the features at half noise exceeds that at no noise by "
        "more than 3 decades (95% interval over seeds).",
        "landscape",
        decomposition,
        margin=3.0,
    ),
    Claim(
        "3.2a",
        "On parity a transformer trained by masked diffusion generalises sooner than one trained on the label.",
        "Steps to 95% held-out accuracy without weight decay, label over diffusion with the optimal window, in "
        "doublings, averaged over the sample sizes at which either generalises in every seed; the budget where a "
        "run never does; the interval lies above 0.",
        "grokking",
        diffusion_generalises_sooner,
        precondition=GROKS,
    ),
    Claim(
        "3.2b",
        "Training on the label groks: it generalises long after it has memorised, and masked diffusion does not.",
        "Delay = steps to generalise over steps to memorise, without weight decay; label over diffusion with the "
        "optimal window, in doublings, averaged over the sample sizes at which both generalise in every seed; the "
        "interval lies above 0.",
        "grokking",
        diffusion_does_not_delay,
        precondition=GROKS,
    ),
    Claim(
        "3.2c",
        "Masked diffusion generalises better where training on the label memorises for good.",
        "Final held-out accuracy, diffusion with the optimal window minus label, without weight decay, at the sample "
        "sizes at which no label-trained seed generalises; the interval lies above 0.02.",
        "grokking",
        diffusion_wins_on_few_samples,
        margin=0.02,
    ),
    Claim(
        "3.3a",
        "On parity the mask window derived from the signal mass learns faster than the uniform law.",
        "Steps to 90% held-out accuracy, uniform over window, without the weight 1/t, each at its own best learning "
        "rate of the grid; the interval lies above log2(1.5) doublings.",
        "window",
        window_speed,
        margin=float(np.log2(1.5)),
    ),
    Claim(
        "3.3b",
        "It does so with the weight 1/t of the likelihood bound, too.",
        "As 3.3a, both laws with the weight 1/t.",
        "window",
        weighted_window_speed,
        margin=float(np.log2(1.5)),
    ),
    Claim(
        "3.3c",
        "The signal mass tells in which order the laws of the mask rate learn.",
        "Rank correlation of signal mass and speed over the eleven laws at the smallest learning rate, a seed; the "
        "interval lies above 0.8.",
        "window",
        mass_orders_speed,
        margin=0.8,
        role="supports",
    ),
    Claim(
        "3.3d",
        "A language model trained in a window around one half has a lower likelihood bound than under the uniform law.",
        "Mean cross-entropy over mask rates 0.05 to 0.95, [0, 1] minus [0.45, 0.55]; the interval lies above 0.",
        "language",
        middle_window_gain,
    ),
    Claim(
        "3.3e",
        "The middle window is better than windows of the same width further out.",
        "The better of an outer window on either side minus [0.45, 0.55], bound in nats; the interval lies above 0.",
        "language",
        middle_beats_outer,
    ),
    Claim(
        "3.3f",
        "The gain lasts when the model is trained longer.",
        "As 3.3d after five times the training tokens, each law at its better learning rate; the interval lies "
        "above 0.",
        "longer",
        middle_window_gain,
    ),
    Claim(
        "3.4a",
        "The middle window helps a model of 8B parameters.",
        "LLaDA-8B-Base fine-tuned on mathematics: held-out bound on the answers, [0, 1] minus [0.45, 0.55]; the "
        "interval lies above 0. The published benchmark accuracies are not measured here.",
        "llada",
        llada_gain,
    ),
)
CLAIMS = paper_claims(
    {
        "3.1": "The loss of masked diffusion splits into a signal part that drives the learning of features and a "
        "noise part that acts as a regulariser.",
        "3.2": "On parity a transformer trained by masked diffusion generalises while it learns, where other "
        "training groks.",
        "3.3": "Drawing the mask rate from the window that the theory singles out makes the model learn faster and "
        "predict better.",
        "3.4": "The gain carries over to language models of 8B parameters.",
    },
    TESTS,
)
