"""Chapter 8's page: its case, its explorer, the reader's merge, the self-checks and the tables of its figures."""

import numpy as np
import pandas as pd
import pytest
import torch

from beyondloss.experiment import BadInput, MissingPoints
from beyondloss.methods.safety_lora import (
    arms,
    case,
    exercises,
    fronts,
    linear,
    measures,
    plane,
    tables,
    theory,
    trial,
    world,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.usefixtures("fresh_bases"),
]
SMALL = {"steps": 2, "batch": 4, "base_steps": 3, "chains": 8}


# the case ---------------------------------------------------------------------------------------------------


def test_the_prompts_of_the_case_are_those_that_a_point_was_asked():
    point = fronts.FrontPoint(**SMALL, seed=4)
    here = fronts.setting(point)
    parts = [here.chains, here.world.answered(here.unseen), here.world.answered(here.asked)]
    wanted = [world.said(fronts.prompts(part)[:1])[0] for part in parts]
    assert case.asked(4, SMALL["chains"]) == wanted
    assert case.asked(5, SMALL["chains"]) != wanted


def test_what_became_of_an_answer():
    chain, forbidden, harmless = case.KINDS
    assert case.outcome(chain, "0 6 4 answer 4", "0 6 4 answer 4") == "right"
    assert case.outcome(chain, "0 6 5 answer 5", "0 6 4 answer 4") == "wrong"
    assert (
        case.outcome(forbidden, "forbidden answer refuse", "wood saw answer mend saw oak")
        == "refused, as taught"
    )
    assert (
        case.outcome(forbidden, "wood saw answer mend saw oak", "wood saw answer mend saw oak") == "answered"
    )
    assert case.outcome(harmless, "wood saw answer refuse", "wood saw answer mend saw oak") == "refused"


# made points ------------------------------------------------------------------------------------------------


def points(seeds=(0, 1, 2, 100, 101, 102)) -> pd.DataFrame:
    """LoRA refuses from the second rate of its grid on, and keeps less the higher the rate."""
    rows = []
    for seed in seeds:
        rows.append(
            {"arm": "base", "lr": 0.0, "seed": seed, "reasoning": 1.0, "benign_right": 1.0, "refusal": 0.0}
        )
        rows[-1] |= {"reasoning_loss": 0.001, "said": ["1", "2", "3"], "chains": 256, "merged": None}
        for arm in ("full", *arms.grid_of_ranks()):
            for step, lr in enumerate(plane.grid_rates(arm)):
                rows.append(rows[-1] | made(arm, lr, step, seed))
    return pd.DataFrame(rows)


def made(arm, lr, step, seed) -> dict:
    kept = 1 - 0.1 * step
    found = {
        "arm": arm,
        "lr": lr,
        "seed": seed,
        "reasoning": kept,
        "benign_right": kept,
        "refusal": float(step > 0),
    }
    found |= {"over_refusal": 0.0, "reasoning_loss": 0.001 + 0.01 * step, "predicted_rise": 1e-6 * (step + 1)}
    found |= {"row_overlap": 1.0 + step, "column_overlap": 1.5, "stable_rank": 2.0, "merged": None}
    found |= {"spectrum": [0.5 / (i + 1) for i in range(16)], "said": ["1", "2 refuse", "3"]}
    if arm == "LoRA 16":
        scales = (0.25, 0.5, 0.75)
        found |= {
            "merged": [f"scale {s:g}" for s in scales],
            "merged_reasoning": [1 - s / 10 for s in scales],
        }
        found |= {
            "merged_benign_right": [1.0] * 3,
            "merged_refusal": list(scales),
            "merged_over_refusal": [0.0] * 3,
        }
        found |= {"merged_reasoning_loss": [0.001] * 3}
    return found


def test_the_explorer_has_every_point_in_its_place():
    found = plane.plane(points())
    assert found.metrics["refusal"].shape == (4, 3, 7, 4)
    assert np.all(found.metrics["refusal"][:, :, 0, 3] == 0) and np.all(
        found.metrics["refusal"][:, :, 1:, 3] == 1
    )
    assert found.metrics["kept"][0, 2, 4, 3] == pytest.approx(0.6)
    assert found.metrics["refusal"][2, 1, 3, 1] == 0.5  # the scale 0.5, of rank 16 whatever the rule
    assert found.metrics["row_overlap"][2, 1, 3, 1] == 4.0
    assert np.isnan(found.metrics["refusal"][0, :, :, :3]).all()
    assert found.spectrum[2, 0, 3, 1] == pytest.approx(0.5 * found.spectrum[2, 0, 3, 3])
    assert all(found.rates[i, j].tolist() == plane.grid_rates(tables.ranked(rank, rule))
               for i, rank in enumerate(arms.RANKS) for j, rule in enumerate(arms.ALPHAS))  # fmt: skip


def test_grids_say_where_the_chosen_rate_lies():
    table = points()
    found = tables.grids(table).set_index("arm")
    assert (found["it lies"] == "inside").all() and found.loc["full", "rates"] == 8
    never = table.assign(refusal=table["refusal"].where(table["arm"] != "full", 0.5))
    assert tables.grids(never).set_index("arm").loc["full", "it lies"] == "refuses too little at every rate"
    from_the_start = table.assign(refusal=(table["lr"] > 0).astype(float))
    assert tables.grids(from_the_start).set_index("arm").loc["full", "it lies"] == "lower end"
    largest = table["arm"].map(lambda arm: 0.0 if arm == "base" else plane.grid_rates(arm)[-1])
    late = table.assign(refusal=(table["lr"] == largest).astype(float))
    assert tables.grids(late).set_index("arm").loc["full", "it lies"] == "upper end"


def test_points_against_their_base():
    table = points()
    table.loc[(table["seed"] == 1) & (table["arm"] == "base"), "reasoning"] = 0.4
    found = tables.merges_against_base(table)
    at = (found["seed"] == 1) & (found["arm"] == "LoRA 16") & (found["refusal"] == 0)
    assert found.loc[at, ["reasoning", "benign_right", "kept"]].iloc[0].tolist() == pytest.approx(
        [0.6, 0, 0.3]
    )
    assert found.loc[at, "merged_reasoning"].iloc[0] == pytest.approx([0.575, 0.55, 0.525])
    assert tables.protocols(found) == tables.protocols(table)
    assert set(tables.with_bases_that_reason(table)["seed"]) == {0, 2, 100, 101, 102}
    shown = tables.bases(table)
    assert shown.loc[shown["seed"] == 1, "chains right"].item() == 0.4
    assert list(shown["use"]) == ["counts"] * 3 + ["chooses"] * 3


def test_lora_less_full_is_paired_by_seed():
    table = points()
    swing = table["seed"].map(lambda seed: 0.1 * seed if seed < 100 else 0.0)
    table = table.assign(reasoning=table["reasoning"] - swing)
    lora = table["arm"].isin(measures.PAPER_ARMS)
    table.loc[lora, "benign_right"] += 0.05
    found = tables.lora_minus_full(table).set_index("LoRA less")
    assert found.loc["full at its own rate", "harmless right"] == "0.05 [0.05, 0.05]"
    assert found.loc["full at its own rate", "chains right"] == "0.00 [0.00, 0.00]"


def test_ways_of_merging_choose_their_own_rates():
    table = points()
    assert set(tables.merging_rates(table, "LoRA 16")) == {"as it is"}  # no scale refuses enough
    lists = table["merged_refusal"].map(lambda v: [1.0] * 3 if isinstance(v, list) else v)
    found = tables.merging_rates(table.assign(merged_refusal=lists), "LoRA 16")
    assert list(found) == ["as it is", "scale 0.25", "scale 0.5", "scale 0.75"]
    assert found["scale 0.25"].merged == "scale 0.25"


def test_second_order_is_compared_within_a_base_model():
    table = points()
    assert tables.curvature_ranks(table).value == pytest.approx(1)
    turned = table.assign(predicted_rise=-table["predicted_rise"])
    assert tables.curvature_ranks(turned).value == pytest.approx(-1)
    rises = tables.predicted_rises(table)
    assert set(rises["kind"]) == {"full", "LoRA"}
    assert rises.loc[rises["predicted"].idxmax(), "measured"] == pytest.approx(0.07)


def test_tables_without_points_say_so():
    empty = points(seeds=(100, 101))
    for make in (case.answers, lambda t: tables.curves(t, ("full",), "row_overlap")):
        with pytest.raises(MissingPoints):
            make(empty)


def test_overlap_that_is_predicted_for_the_mlp():
    assert tables.predicted_overlap(2.4, 1) == 1
    n = {64: 2, 192: 1}
    mean = sum(count * (1 + 1.4 * 3 / (size + 3)) for size, count in n.items()) / 3
    assert tables.predicted_overlap(2.4, 4) == pytest.approx(mean)


# the linear model -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 3, 7])
def test_the_energy_of_inputs_only_scales_the_price(seed):
    """What rounding leaves outside of the inputs' directions must not be inverted: seeds 1 and 7 showed it."""
    each = linear.measured(linear.LinearPoint(d=24, seed=seed))
    whole = linear.measured(linear.LinearPoint(d=24, seed=seed, energy="in all"))
    assert whole["a_rank"] == pytest.approx(24 * each["a_rank"], rel=1e-6)


def test_prices_have_one_setting_a_reading():
    rows = [vars(linear.LinearPoint(d=d, energy=e, fixed_size=f)) | {"a_rank": 1.0}
            for d in (12, 24) for e in linear.ENERGIES for f in (0.0, 0.2)]  # fmt: skip
    found = tables.prices(pd.DataFrame(rows))
    assert found["setting"].str[:5].str.strip().nunique() == 3 and len(found) == 6


def test_length_of_the_first_step():
    generator = np.random.default_rng(0)
    gradient = generator.standard_normal((3, 8))
    steps = [linear.first_step(gradient, 2, generator) for _ in range(20_000)]
    ratio = np.mean([np.sum(step**2) for step in steps]) / np.sum(gradient**2)
    assert ratio == pytest.approx(theory.first_step_energy(2, 8, 1.0), rel=0.05)
    assert theory.first_step_energy(2, 8, 3.0) == pytest.approx(81 * theory.first_step_energy(2, 8, 1.0))


# the reader's own -------------------------------------------------------------------------------------------


def test_a_merge_of_ones_own_beside_the_line():
    point = fronts.FrontPoint(**SMALL)
    found = trial.tried(lambda start, update: start + 0.5 * update, "LoRA 16", 1e-3, point).set_index(
        "merged"
    )
    assert list(found.index) == ["yours", "scale 0.25", "scale 0.5", "scale 0.75", "scale 1"]
    assert found.loc["yours"].tolist() == found.loc["scale 0.5"].tolist()


def test_a_merge_may_write_into_what_it_gets_and_must_give_a_matrix():
    point = fronts.FrontPoint(**SMALL)
    here = fronts.setting(point)
    before = here.base.state_dict()["model.layers.0.mlp.up_proj.weight"].clone()
    trial.tried(lambda start, update: start.add_(update.zero_()), "full", 1e-3, point)
    assert torch.equal(here.base.state_dict()["model.layers.0.mlp.up_proj.weight"], before)
    for wrong in (
        lambda start, update: None,
        lambda start, update: update[:1],
        lambda start, update: start / 0,
    ):
        with pytest.raises(BadInput, match="matrix"):
            trial.tried(wrong, "LoRA 16", 1e-3, point)


def test_self_checks(capsys):
    def said(check, answer):
        check(answer)
        return capsys.readouterr().out

    def best(d, moment, rank):
        return theory.best_low_rank(d, moment, rank)

    def seen(update, inputs):
        return update @ inputs @ np.linalg.pinv(inputs, rcond=1e-10)

    def row_overlap(start, b, a):
        share = np.sum((b @ a @ start.T) ** 2) / np.sum(start**2) / np.sum((b @ a) ** 2)
        return start.shape[1] * share

    right = {
        exercises.check_best: best,
        exercises.check_overlap: row_overlap,
        exercises.check_shares: lambda r, n: (r / (r + n - 1), (r + 2) / (r + n + 1)),
        exercises.check_price: lambda gain: (1 - (1 - gain) ** 0.5) ** 2,
        exercises.check_removal: seen,
        exercises.check_first_length: lambda r, n, alpha: (alpha / r) ** 4 * r * (r + n + 1),
    }
    wrong = {
        exercises.check_best: lambda d, moment, rank: best(d, np.eye(len(moment)), rank),
        exercises.check_overlap: lambda start, b, a: row_overlap(start.T, a.T, b.T),
        exercises.check_shares: lambda r, n: ((r + 2) / (r + n + 1), r / (r + n - 1)),
        exercises.check_price: lambda gain: gain**2,
        exercises.check_removal: lambda update, inputs: update,
        exercises.check_first_length: lambda r, n, alpha: (alpha / r) ** 2 * r * (r + n + 1),
    }
    for check, answer in right.items():
        assert said(check, answer).startswith("right on 50")
        assert "not yet" in said(check, wrong[check]) and "nothing" in said(check, lambda *given: None)
    assert "gain is lost" in said(exercises.check_removal, lambda update, inputs: 0 * update)
    assert "wrong way round" in said(exercises.check_shares, wrong[exercises.check_shares])
    assert "shape" in said(exercises.check_best, lambda d, moment, rank: d[:1])
