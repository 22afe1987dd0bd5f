"""The claims of chapter 6, their tests, and the criteria by which tables judge them."""

from dataclasses import replace

from beyondloss.experiment import Claim, Precondition, paper_claims
from beyondloss.methods.dataset_distillation.measures import (
    BARE,
    ars_tells_images,
    ars_tells_images_beyond_averaging,
    bare_accuracy,
    lrs_predicts_better_than,
    lrs_tells_images,
    noise_labels,
    order_changes,
    order_reverses,
    own_accuracy,
    picked_against_random,
    random_against_best,
    random_against_best_choice,
    random_is_neutral,
    recipe_against_images,
)


def picking_helps(corner: str, per_class: int = 1) -> Precondition:
    """Whether there is a set worth picking or making: without one, nothing can be said about beating it."""
    images = "one image" if per_class == 1 else f"{per_class} images"
    return Precondition(
        "A picked or distilled set is better than random images under the same recipe.",
        f"Accuracy with {images} a class, {corner} labels: the best set (by its mean over seeds) minus random images; "
        "the interval lies above 0.",
        picked_against_random(corner, None if per_class == 1 else per_class),
    )


def on_fashion(number: str, model: Claim) -> Claim:
    """A claim about digits, asked of Fashion-MNIST with the same criterion."""
    return replace(
        model,
        id=number,
        statement=f"{model.id} holds on Fashion-MNIST.",
        criterion=f"As {model.id}, on Fashion-MNIST.",
        experiment="fashion",
    )


DIGITS = (
    Claim(
        "6.1a",
        "Random images with soft labels and augmentation beat the best selected or distilled images with hard labels.",
        "Test accuracy with one image a class, random with the teacher's labels on augmented views minus the best of "
        "herding, k-center, DC, DSA, DM and MTT (by its mean over seeds) with hard labels and no augmentation; the "
        "interval lies above 0.",
        "ranking",
        random_against_best(BARE),
        precondition=picking_helps(BARE),
    ),
    Claim(
        "6.1b",
        "They do so when the distilled side is augmented, too.",
        "As 6.1a, against hard labels with augmentation.",
        "ranking",
        random_against_best("hard, augmented"),
        precondition=picking_helps("hard, augmented"),
    ),
    Claim(
        "6.1c",
        "Gains come from labels and augmentation more than from images.",
        "One image a class: what soft labels with augmentation add to random images over hard labels without, minus "
        "what the images of DC, DSA, DM and MTT add on average to random ones under soft labels with augmentation; the "
        "interval lies above 0.",
        "ranking",
        recipe_against_images("recipe"),
        precondition=picking_helps(BARE),
    ),
    Claim(
        "6.1d",
        "Soft labels carry a teacher through images of nothing, hard labels do not.",
        "A linear teacher of digits, 65 images of normal noise: the student of soft labels equals its teacher to 1e-6, "
        "and its accuracy less that of the student of hard labels has an interval above 0.2.",
        "labels",
        noise_labels,
        margin=0.2,
        role="supports",
    ),
    Claim(
        "6.1e",
        "6.1a holds with ten images a class.",
        "As 6.1a, with ten images a class.",
        "more_images",
        random_against_best(BARE, 10),
        precondition=picking_helps(BARE, 10),
    ),
    Claim(
        "6.1f",
        "6.1a holds with fifty images a class.",
        "As 6.1a, with fifty images a class.",
        "more_images",
        random_against_best(BARE, 50),
        precondition=picking_helps(BARE, 50),
    ),
    Claim(
        "6.2a",
        "The label-robust score tells images from recipes where accuracy does not.",
        "Over eight sets and the four corners of labels and augmentation: the share of variance that the sets explain, "
        "that of LRS minus that of accuracy, has an interval above 0.2.",
        "ranking",
        lrs_tells_images,
        margin=0.2,
    ),
    Claim(
        "6.2b",
        "So does the augmentation-robust score.",
        "As 6.2a, with ARS under hard and under soft labels in place of LRS.",
        "ranking",
        ars_tells_images,
        margin=0.2,
    ),
    Claim(
        "6.2c",
        "The label-robust score predicts better than accuracy how good a set is for another architecture.",
        "Rank correlation over eight sets, each under its own recipe, with the accuracy of a two-layer network trained "
        "on the set with hard labels: that of LRS minus that of accuracy has an interval above 0.",
        "ranking",
        lrs_predicts_better_than(own_accuracy),
    ),
    Claim(
        "6.2d",
        "Random images score as neutral.",
        "ARS of a second random subset stays within 0.02 of 0.269 with hard and with soft labels: the least of the "
        "four one-sided distances has an interval above 0.",
        "ranking",
        random_is_neutral,
    ),
    Claim(
        "6.3a",
        "A score reverses an order that accuracy gives.",
        "Random images with soft labels and augmentation against DM with hard labels and none: accuracy puts the first "
        "ahead, LRS the second; the lesser of the two leads has an interval above 0.",
        "ranking",
        order_reverses,
    ),
    Claim(
        "6.3b",
        "Ranking methods by the label-robust score changes their order.",
        "Share of pairs of the eight sets, each under its own recipe, that accuracy and LRS of different rounds order "
        "differently, minus the share that accuracy orders differently in its two rounds; the interval lies above 0.",
        "ranking",
        order_changes,
    ),
)

BY_NUMBER = {claim.id: claim for claim in DIGITS}
FASHION = tuple(
    on_fashion(number, BY_NUMBER[model])
    for number, model in {
        "6.1g": "6.1a",
        "6.1h": "6.1b",
        "6.1i": "6.1c",
        "6.1j": "6.1e",
        "6.1k": "6.1f",
        "6.2e": "6.2a",
        "6.2f": "6.2b",
        "6.2g": "6.2c",
        "6.3c": "6.3a",
        "6.3d": "6.3b",
    }.items()
)
# what the criteria above leave open, asked of the set on which nothing had been measured yet
STRICTER = (
    Claim(
        "6.1l",
        "On Fashion-MNIST labels and augmentation gain more than images, averaged over both orders.",
        "One image a class: what soft labels with augmentation add over hard labels without, averaged over random "
        "images and those of DC, DSA, DM and MTT, minus what the images of these four add to random ones, averaged "
        "over both recipes; the interval lies above 0.",
        "fashion",
        recipe_against_images("average"),
        precondition=picking_helps(BARE),
    ),
    Claim(
        "6.1m",
        "On Fashion-MNIST random images with soft labels beat the best distilled ones with hard labels where each side "
        "has four student rates and may augment or not.",
        "One image a class; no augmentation, affine views, or these with CutMix, and a rate of 0.003, 0.01, 0.03 or "
        "0.1, are chosen by validation, seed by seed; random with soft labels minus the best of DC, DSA and DM with "
        "hard ones (by its mean over seeds); the interval lies above 0.",
        "choice",
        random_against_best_choice,
    ),
    Claim(
        "6.2h",
        "On Fashion-MNIST LRS predicts another architecture better than accuracy with hard labels does.",
        "As 6.2g, against accuracy with hard labels and no augmentation.",
        "fashion",
        lrs_predicts_better_than(bare_accuracy),
    ),
    Claim(
        "6.2i",
        "On Fashion-MNIST ARS tells images from recipes better than accuracy averaged over augmentation does.",
        "Over eight sets with one image a class, under hard and under soft labels: the share of variance that the sets "
        "explain, that of ARS minus that of accuracy averaged over augmentation, has an interval above 0.",
        "fashion",
        ars_tells_images_beyond_averaging,
    ),
)
TESTS = tuple(sorted((*DIGITS, *FASHION, *STRICTER), key=lambda test: test.id))
CLAIMS = paper_claims(
    {
        "6.1": "Distilled sets owe their accuracy to soft labels and augmentation more than to their images: with "
        "both, even images picked at random do better.",
        "6.2": "Scores that compare with random images under the same recipe tell how good the images are where "
        "accuracy does not.",
        "6.3": "By these scores the methods rank in another order than by accuracy.",
    },
    TESTS,
)
