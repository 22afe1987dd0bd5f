"""Tables in words of chapters 6 and 10: the values are those of the points, under heads that a reader understands."""

import re

import numpy as np
import pandas as pd
import pytest

from beyondloss.experiment import MissingPoints
from beyondloss.methods.dataset_distillation import reading as distillation
from beyondloss.methods.dataset_distillation import settings
from beyondloss.methods.hallucination import reading as hallucination

CORNERS = dict(zip(settings.CORNERS, (0.6, 0.65, 0.62, 0.9), strict=True))


def points(per_class: int = 1, methods: tuple[str, ...] = tuple(settings.METHODS), **more) -> pd.DataFrame:
    """Six seeds of every set, all equal but DC, which is 0.1 better, and k-center, which is herding."""
    generator = np.random.default_rng(0)
    noise = {method: 0.002 * generator.normal(size=6) for method in settings.METHODS}
    noise["k-center"] = noise["herding"]
    rows = []
    for seed in range(6):
        for method in methods:
            row = {"method": method, "seed": seed, "per_class": per_class, "steps": 400, "whole": 0.95} | more
            for corner, value in CORNERS.items():
                row[corner] = value + 0.1 * (method == "DC") + noise[method][seed]
            rows.append(row)
    return pd.DataFrame(rows)


def number(text: str) -> float:
    """The value before an interval."""
    return float(text.split(" ")[0])


def test_sets_that_are_the_same_share_a_row():
    found = distillation.corners(points()).set_index("set")
    assert "herding, k-center" in found.index and len(found) == len(settings.METHODS) - 2
    assert number(found.loc["DC", "hard"]) == pytest.approx(0.7, abs=0.003)
    assert number(found.loc["random", "soft, augmented"]) == pytest.approx(0.9, abs=0.003)


def test_a_set_stands_beside_random_images_under_its_own_recipe_at_the_sizes_that_have_it():
    few = points(10, ("random", "random again", "herding", "k-center", "DM"))
    found = distillation.own_recipe([points(), few, pd.DataFrame()], "DC")
    assert found["images a class"].tolist() == [1] and settings.METHODS["DC"].corner == "hard"
    assert number(found.loc[0, "DC, hard"]) == pytest.approx(0.7, abs=0.003)
    assert number(found.loc[0, "difference"]) == pytest.approx(0.1, abs=0.003)
    with pytest.raises(MissingPoints):
        distillation.own_recipe([pd.DataFrame()], "DC")


def test_leads_are_those_of_each_number_of_steps():
    longer = points(50, ("random", "k-center"), steps=1600)
    longer.loc[longer["method"] == "k-center", "hard"] += 0.5
    found = distillation.leads_by_steps([points(50), longer, pd.DataFrame()], 50).set_index("steps")
    gain, lead = found.columns
    assert number(found.loc[400, gain]) == pytest.approx(0.3, abs=0.003)
    assert number(found.loc[400, lead]) == pytest.approx(-0.3, abs=0.005)
    assert number(found.loc[1600, lead]) == pytest.approx(0.2, abs=0.005)


def test_two_draws_of_random_images_lie_apart_by_the_mean_distance():
    table = points()
    table.loc[table["method"] == "random again", "soft"] -= 0.2 * (-1) ** table["seed"]
    found = distillation.second_draw({"digits": table}).set_index("data")
    assert float(found.loc["digits", "soft"]) == pytest.approx(0.2, abs=0.005)
    assert float(found.loc["digits", "hard"]) < 0.01


def test_students_are_shown_by_what_they_were_given():
    rows = [
        {
            "inputs": inputs,
            "labels": labels,
            "images": images,
            "accuracy": images / 100 + (labels == "soft") / 10,
        }
        for inputs in ("noise", "digits")
        for labels in ("hard", "soft")
        for images in (8, 16, 32)
    ]
    found = distillation.students(pd.DataFrame(rows), [16, 32]).set_index("labelled images")
    assert found.index.tolist() == [16, 32] and found.loc[16, "noise, soft labels"] == "0.260"
    with pytest.raises(MissingPoints):
        distillation.students(pd.DataFrame(rows), [5])


def tuned() -> pd.DataFrame:
    rows = []
    for place, rate in enumerate((0.1, 1.0)):
        for seed in (100, 101):
            row = {"method": "DM", "per_class": 1, "image_lr": rate, "place": place, "seed": seed}
            rows.append(row | {"start": 0.5, "validated": 0.6 + place / 10})
    return pd.DataFrame(rows)


def test_the_chosen_rate_stands_with_where_it_led():
    found = distillation.rates(tuned())
    assert found["1 image a class", "rate"].tolist() == ["1"]
    assert found["1 image a class", "accuracy"].tolist() == ["0.500 → 0.700"]


def judged() -> pd.DataFrame:
    """Rows as `hallucination.measures.judged` has them: the cascade is better the more it asks, `large` most."""
    rows = []
    for target in hallucination.TARGETS:
        own = {"target": target, "verifier": "", "budget": 0.0, "asked": 0.0, "itself": False}
        for name, auroc in (("mean pairwise distance", 0.8), ("self oracle", 0.81)):
            rows.append(own | {"detector": name, "auroc": auroc, "auarc": 0.7, "wrong": 0.4})
    for verifier, gain in (("large", 0.1), ("base", 0.5), ("twin", 0.05)):
        for budget in (0.3, 1.0):
            row = {
                "target": "base",
                "verifier": verifier,
                "detector": "value",
                "budget": budget,
                "wrong": 0.4,
            }
            row |= {
                "auroc": 0.8 + gain * budget,
                "auarc": 0.7,
                "asked": budget / 2,
                "itself": verifier == "base",
            }
            rows.append(row)
    return pd.DataFrame(rows)


def test_the_exact_oracle_and_the_network_that_stands_in_for_one_have_names_of_their_own():
    found = hallucination.of_targets(judged())["detector"].tolist()
    assert found == ["mean pairwise distance", "graph network, trained with labels"]
    assert not set(found) & set(hallucination.OF_THE_GENERATOR.values())
    assert hallucination.wrong_shares(judged())["wrong answers"].unique().tolist() == ["40.0%"]


def test_verifiers_stand_with_their_sizes_and_a_model_that_checks_itself_is_none():
    table = pd.DataFrame([{"model": ["base", "large", "twin"], "parameters": [100, 350, 100]}])
    found = hallucination.verifiers(table, judged(), (0.3, 1.0)).set_index("verifier")
    assert found.index.tolist() == ["large", "twin"]
    assert found.loc["large", "parameters, base being 1"] == "3.5"
    assert found.loc["large", "asked about 100%"] == "0.900 (0.700)"
    calls = hallucination.calls(judged(), (0.3, 1.0), tokens=20).set_index("budget")
    assert calls.loc["30%"].tolist() == ["15.0%", "3.0"]


def real(kernel: str, gain: float) -> dict:
    detectors = ["mean pairwise distance", "MMD", *hallucination.COMPARED]
    row = {"target": "m as dialogue", "verifier": "m as statement", "kernel": kernel, "data": "t", "seed": 0}
    row |= {"detector": detectors, "wrong_share": 0.25}
    zeros = dict.fromkeys(("budget", "low", "high", "auarc", "asked"), [0.0] * len(detectors))
    gains = {"gain": gain, "gain_low": gain - 0.1, "gain_high": gain + 0.1, "auroc": 0.8 + gain}
    return row | zeros | {name: [value] * len(detectors) for name, value in gains.items()}


def test_gains_on_a_real_model_are_those_of_the_kernel_that_is_named():
    table = pd.DataFrame([real("equality", 0.1), real("embedding", -0.2)])
    found = hallucination.real_gains(table, "embedding")
    assert found["both scores, fitted"].tolist() == ["-0.20 [-0.30, -0.10]"]
    assert hallucination.real_scores(table)["MMD"].tolist() == ["0.900"]
    assert hallucination.real_errors(table)["wrong answers"].tolist() == ["25.0%"]
    with pytest.raises(MissingPoints):
        hallucination.real_gains(pd.DataFrame(), "equality")


@pytest.mark.parametrize(
    "table",
    [
        distillation.corners(points()),
        distillation.by_size([points()]),
        distillation.rates(tuned()),
        hallucination.of_targets(judged()),
        hallucination.calls(judged(), (0.3,), tokens=20),
    ],
)
def test_heads_are_words(table):
    """No name of a variable, and no row of heads over an index."""
    assert table.index.name is None and table.columns.names == [None] * table.columns.nlevels
    heads = [head for column in table.columns for head in (column if isinstance(column, tuple) else [column])]
    assert [head for head in heads if re.search(r"_|\b(lr|ior|auroc)\b", head)] == []
