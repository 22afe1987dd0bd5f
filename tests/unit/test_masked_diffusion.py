"""Chapter 3: the theory against independent computations, the masks, the objectives, and what its claims conclude."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from beyondloss.experiment import MissingPoints
from beyondloss.methods.masked_diffusion import (
    exercises,
    finite_sample,
    grokking,
    language,
    masking,
    measures,
    parity,
    tables,
    theory,
)
from beyondloss.trainers import History, Streams, seeded_networks

LAWS = [
    masking.uniform(),
    masking.uniform(0.2, 0.7),
    masking.point_mass(0.3),
    masking.beta(2, 4),
    masking.cosine(),
]


@pytest.mark.parametrize("k", [1, 2, 3, 6, 10])
@pytest.mark.parametrize("low, high", [(0.0, 1.0), (0.0, 0.3), (0.2, 0.21), (0.45, 0.55)])
def test_mass_of_a_window_in_closed_form_is_its_integral(k, low, high):
    t = np.linspace(low, high, 200_001)
    integral = np.trapezoid((k + 1) * t * (1 - t) ** k, t) / (high - low)
    assert theory.window_signal_mass(k, low, high) == pytest.approx(integral, abs=1e-9)
    assert theory.signal_mass(k, masking.uniform(low, high)) == pytest.approx(integral, abs=1e-9)


def test_known_optima():
    assert theory.optimal_edge(6) == pytest.approx(0.24593, abs=5e-6)
    assert theory.window_signal_mass(6, 0, 1) == pytest.approx(1 / 8)
    assert theory.signal_mass(6, masking.point_mass(1 / 7)) == pytest.approx((6 / 7) ** 6)


@pytest.mark.parametrize("k", range(1, 15))
def test_no_other_window_from_zero_and_no_other_point_has_more_mass(k):
    grid = np.linspace(1e-4, 1, 20_000)
    edge = theory.optimal_edge(k)
    assert theory.window_signal_mass(k, 0, grid).max() <= theory.window_signal_mass(k, 0, edge) + 1e-12
    assert theory.signal_density(k, grid).max() <= theory.signal_density(k, theory.optimal_rate(k)) + 1e-12


def test_best_edge_of_a_long_secret():
    x = theory.optimal_edge(100_000) * 100_001
    assert np.exp(x) == pytest.approx(1 + x + x**2, rel=1e-3)  # exercise 2


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_draws_follow_the_quantile_function(law):
    draws = law.sample(Streams([0, 1]), 50_000)
    assert draws.shape == (2, 50_000)
    wanted = law.quantile(np.linspace(0.02, 0.98, 25)).clip(masking.SMALLEST_RATE)
    got = np.quantile(draws[0].numpy(), np.linspace(0.02, 0.98, 25))
    assert np.abs(got - wanted).max() < 0.015


def test_stratified_draws_fill_every_part_once():
    draws = masking.uniform(stratified=True).sample(Streams([3]), 64)[0]
    assert sorted((draws * 64).floor().int().tolist()) == list(range(64))


@pytest.mark.parametrize("make", [lambda: masking.uniform(0.5, 0.5), lambda: masking.uniform(-0.1, 1)])
def test_an_impossible_window_is_refused(make):
    with pytest.raises(ValueError, match="0 <= low < high <= 1"):
        make()


def test_both_weights_have_the_mean_of_the_losses_as_expectation():
    streams, batch = Streams([0]), 40_000
    rates = masking.uniform(0.1, 0.9).sample(streams, batch)
    masked = masking.draw_masks(rates, 10, streams)
    losses = torch.full((1, batch, 10), 0.7)
    assert masking.diffusion_loss(losses, masked, rates, weighted=False).item() == pytest.approx(
        0.7, abs=1e-5
    )
    assert masking.diffusion_loss(losses, masked, rates, weighted=True).item() == pytest.approx(0.7, abs=0.01)


def test_a_batch_without_a_mask_has_no_loss():
    none = torch.zeros(1, 3, 4, dtype=torch.bool)
    assert (
        masking.diffusion_loss(torch.ones(1, 3, 4), none, torch.full((1, 3), 0.1), weighted=False).item() == 0
    )


def test_parity_data_obeys_the_rule_and_keeps_its_parts_apart():
    data = parity.parity_data(n=8, k=3, samples=50, held_out=60, seeds=[0, 1])
    for train, held_out, secret in zip(data.train, data.held_out, data.secret, strict=True):
        strings = torch.cat([train, held_out])
        assert torch.equal(strings[:, secret].sum(1) % 2, strings[:, -1])
        assert len(strings.unique(dim=0)) == 110


@pytest.mark.parametrize(
    "sizes, message", [((4, 2, 10, 10), "16 strings"), ((4, 5, 2, 2), "between 1 and n = 4")]
)
def test_impossible_parity_is_refused(sizes, message):
    n, k, samples, held_out = sizes
    with pytest.raises(ValueError, match=message):
        parity.parity_data(n, k, samples, held_out, [0])


def test_posterior_by_bayes_on_every_string_and_mask():
    case = theory.enumerate_parity(4, 3)
    for (row, signs), (m, mask) in itertools.product(enumerate(case.signs), enumerate(case.masks)):
        shown = mask == 0
        alike = case.signs[(case.signs[:, shown] == signs[shown]).all(1)]
        assert torch.allclose(case.target[row, m], alike.mean(0) * mask)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_decomposition_is_exact_under_every_law(law):
    case = theory.enumerate_parity(4, 2)
    prediction = torch.randn(16, 32, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    # a predictor is a function of what is shown: make equal views predict the same
    for m, mask in enumerate(case.masks):
        _, view = (case.signs * (1 - mask)).unique(dim=0, return_inverse=True)
        prediction[:, m] = prediction[view, m]
    parts = theory.decompose(case, prediction, law)
    assert parts.objective.item() == pytest.approx(
        (parts.signal + parts.noise + parts.constant).item(), abs=1e-12
    )
    cheat = theory.decompose(case, case.signs[:, None].expand_as(prediction), law)  # knows what is hidden
    assert abs(cheat.objective - (cheat.signal + cheat.noise + cheat.constant)) > 0.1


def test_energy_is_what_the_best_readout_removes():
    landscape = theory.label_landscape(3, 2)
    features = torch.randn(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    hidden, share = torch.relu(landscape.inputs @ features.T), 0.4
    weight = (1 - share) * landscape.signal_weight + share * landscape.noise_weight
    root = weight.sqrt()[:, None]
    readout = torch.linalg.lstsq(root * hidden, root * landscape.target[:, None], driver="gelsd").solution
    removed = (weight * landscape.target**2).sum() - (
        weight * (hidden @ readout - landscape.target[:, None])[:, 0] ** 2
    ).sum()
    assert theory.energy(landscape, features, share).item() == pytest.approx(removed.item(), abs=1e-4)


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_recognisable_strings_by_enumeration(rate):
    data = parity.parity_data(4, 2, 6, 0, range(300))
    masks = torch.cartesian_prod(*[torch.tensor([False, True])] * 5)
    weight = rate ** masks.sum(1) * (1 - rate) ** (5 - masks.sum(1))
    same = (data.train == data.train[:, :1])[:, None] | masks[None, :, None]
    alone = (same.all(-1).sum(-1) == 1).float()
    assert (alone @ weight).mean().item() == pytest.approx(
        finite_sample.recognisable(4, 2, 6, rate), abs=0.02
    )


def test_memorising_is_told_from_the_sample_and_generalising_from_held_out_strings():
    history = History.of_members(1)
    curves = [(50, 0.7, 0.5), (100, 0.99, 0.6), (150, 1.0, 0.94), (200, 0.98, 0.95), (250, 1.0, 1.0)]
    history.rows = [
        {"step": step, "train_accuracy": [train], "held_out_accuracy": [held_out]}
        for step, train, held_out in curves
    ]
    found = grokking.describe(history, 0)
    assert (found["memorised_at"], found["generalised_at"]) == (100, 200)
    assert (found["final_train"], found["final_held_out"]) == (1.0, 1.0)
    history.rows = history.rows[:1]
    assert grokking.describe(history, 0)["memorised_at"] is None


def test_label_accuracy_reads_the_label_and_hides_it():
    class Cheat(torch.nn.Module):
        def forward(self, tokens):
            assert (tokens[:, -1] == parity.MASK).all()
            return torch.nn.functional.one_hot(tokens * 0 + 1, 3).float()

    strings = torch.tensor([[[0, 1, 1], [1, 0, 1], [0, 0, 0], [1, 1, 0]]])
    assert grokking.label_accuracy(seeded_networks(Cheat, [0]), strings, causal=False) == [0.5]


def test_denoising_reveals_every_position_once_and_changes_none():
    network = language.Transformer(
        language.network_config(language.LanguagePoint("[0, 1]", context=8, width=8), FEW)
    )
    model = seeded_networks(lambda: network, [0])
    stages = torch.stack(language.denoise(model, 8, FEW.vocabulary, 4, Streams([0])))
    hidden = stages == FEW.vocabulary
    assert hidden.sum(-1)[:, 0].tolist() == [8, 6, 4, 2, 0]
    kept = ~hidden[:-1]
    assert torch.equal(stages[1:][kept], stages[:-1][kept])


FEW = language.TokenStream(
    train=torch.arange(50) % 5,
    held_out=torch.arange(30) % 5,
    vocabulary=5,
    decode=lambda tokens: "".join("abcde"[t] for t in tokens),
    origin="made here",
    licence="none",
)


def test_cross_entropy_of_an_even_guess_is_log_vocabulary():
    class Even(torch.nn.Module):
        def forward(self, tokens):
            return torch.zeros(*tokens.shape, 6)

    windows = FEW.held_out[:24].view(3, 8)
    curves = language.cross_entropy_by_rate(seeded_networks(Even, [0]), windows, 5)
    assert np.allclose(curves, np.log(5), atol=1e-5) and np.shape(curves) == (1, len(language.RATES))


# Claims: each measure must be able to find for and against ---------------------------------------------------


def window_table(uniform: float, window_steps: float) -> pd.DataFrame:
    rows = [
        {
            "arm": arm,
            "lr": lr,
            "k": 3,
            "seed": seed,
            "steps": 1000,
            "steps_to_90": steps * (1 + seed / 50),
            "signal_mass": mass,
        }
        for arm, steps, mass in (
            ("uniform", uniform, 0.2),
            ("window", window_steps, 0.3),
            ("point", 50.0, 0.4),
        )
        for lr in (0.1, 0.2)
        for seed in range(4)
    ]
    return pd.DataFrame(rows)


def test_speed_of_the_window():
    assert measures.window_speed(window_table(400.0, 100.0)).low == pytest.approx(2)
    assert measures.window_speed(window_table(100.0, 400.0)).high == pytest.approx(-2)


def test_an_arm_is_judged_at_its_best_learning_rate_and_a_failure_counts_as_the_budget():
    table = window_table(400.0, 100.0)
    table.loc[(table["arm"] == "window") & (table["lr"] == 0.1), "steps_to_90"] = None
    assert measures.window_speed(table).value == pytest.approx(2)
    table.loc[table["arm"] == "window", "steps_to_90"] = None
    assert measures.window_speed(table).value < 0


def test_order_by_mass():
    assert measures.mass_orders_speed(window_table(400.0, 100.0)).value == pytest.approx(1)
    assert measures.mass_orders_speed(window_table(20.0, 30.0)).value < 0


def grokking_table(label: tuple, diffusion: tuple) -> pd.DataFrame:
    """(memorised at, generalised at, final) of the two objectives, at one sample size."""
    rows = [
        {
            "objective": objective,
            "samples": 100,
            "weight_decay": 0.0,
            "seed": seed,
            "steps": 1000,
            "memorised_at": memorised,
            "generalised_at": generalised,
            "final_held_out": final + seed / 1000,
        }
        for objective, (memorised, generalised, final) in (("label", label), ("diffusion, window", diffusion))
        for seed in range(3)
    ]
    return pd.DataFrame(rows)


def test_verdicts_on_grokking_go_both_ways():
    groks = grokking_table((100, 800, 1.0), (200, 200, 1.0))
    assert measures.diffusion_generalises_sooner(groks).low == pytest.approx(2)
    assert measures.diffusion_does_not_delay(groks).low == pytest.approx(3)
    fast = grokking_table((100, 100, 1.0), (400, 800, 1.0))
    assert measures.diffusion_generalises_sooner(fast).high == pytest.approx(-3)
    assert measures.diffusion_does_not_delay(fast).high == pytest.approx(-1)


def test_few_samples_are_those_on_which_no_label_seed_generalises():
    few = grokking_table((100, None, 0.5), (400, None, 0.6))
    assert measures.diffusion_wins_on_few_samples(few).value == pytest.approx(0.1)
    with pytest.raises(MissingPoints):
        measures.diffusion_wins_on_few_samples(grokking_table((100, 100, 1.0), (400, None, 0.6)))
    with pytest.raises(MissingPoints):
        measures.diffusion_generalises_sooner(few)


def test_bounds_take_the_better_learning_rate_of_each_arm():
    rows = [
        {"arm": arm, "lr": lr, "seed": seed, "bound": bound + seed / 100}
        for arm, lr, bound in (
            ("[0, 1]", 1, 2.0),
            ("[0, 1]", 2, 3.0),
            ("[0.45, 0.55]", 1, 2.5),
            ("[0.45, 0.55]", 2, 1.5),
        )
        for seed in range(3)
    ]
    assert measures.middle_window_gain(pd.DataFrame(rows)).value == pytest.approx(0.5)


def test_a_broken_identity_is_not_a_held_claim():
    rows = [
        {"identity_error": 0.0, "gradient_error": 0.0, "signal_inputs": 4, "inputs": 9, "width": 6}
        | {"seed": s, "noise_share": n, "pull": p}
        for s in range(3)
        for n, p in ((0.0, 1e-9), (0.5, 1e-2 * (1 + s)))
    ]  # fmt: skip
    assert measures.decomposition(pd.DataFrame(rows)).low > 3
    rows[0]["gradient_error"] = 1e-3
    assert measures.decomposition(pd.DataFrame(rows)).value < 0


# Tables and self-checks ---------------------------------------------------------------------------------------


def test_signal_share_by_simulation():
    law, k, streams = masking.uniform(0, 0.4), 3, Streams([0])
    rates = law.sample(streams, 300_000)[0]
    masked = masking.draw_masks(rates[None], k + 1, streams)[0]
    signal = masked[:, 0] & (masked.sum(1) == 1)
    assert tables.signal_share(k, law, False) == pytest.approx(
        (signal.float().mean() / masked[:, 0].float().mean()).item(), abs=0.01
    )
    weighted = (signal / rates).mean() / (masked[:, 0] / rates).mean()
    assert tables.signal_share(k, law, True) == pytest.approx(weighted.item(), abs=0.02)


def test_a_run_that_ended_early_is_held_at_its_last_value():
    table = pd.DataFrame(
        {
            "arm": ["a", "a"],
            "seed": [0, 1],
            "steps": [4, 4],
            "step": [[1, 2], [1, 2, 3, 4]],
            "accuracy": [[0.5, 1.0], [0.5] * 4],
        }
    )
    long = tables.held_to_the_end(table, "accuracy")
    assert long[long["step"] == 4].set_index("seed")["accuracy"].to_dict() == {0: 1.0, 1: 0.5}


def test_nearest_windows_name_a_trained_law_for_every_pair_of_edges():
    rows = [
        {"arm": arm, "k": 3, "lr": 0.2, "seed": s, "steps": 10, "steps_to_90": 5}
        | {"step": [5, 10], "accuracy": [0.6, 0.9 + s / 100]}
        for arm in ("uniform", "point")
        for s in range(3)
    ]  # fmt: skip
    edges = np.linspace(0, 1, 5)
    nearest = tables.nearest_windows(pd.DataFrame(rows), edges)
    assert nearest.mean.shape == (4, 4, 41) and set(nearest.names.ravel()) == {"U[0, 1]", "t = 0.25"}
    assert nearest.names[0, -1] == "U[0, 1]" and nearest.names[1, 0] == "t = 0.25"


def test_delays_are_told_apart_by_weight_decay():
    runs = [(0.0, 100, None), (0.3, 100, 800), (0.0, 150, 150), (0.3, 150, None)]
    rows = [
        {"weight_decay": decay, "samples": 100, "objective": "label", "seed": seed, "final_held_out": 1.0}
        | {"memorised_at": memorised, "generalised_at": generalised}
        for seed, (decay, memorised, generalised) in enumerate(runs)
    ]
    told = tables.delays(pd.DataFrame(rows)).set_index("weight_decay")
    assert told["generalise"].to_dict() == {0.0: 1, 0.3: 1}
    assert told["longest_delay"].to_dict() == {0.0: 0.0, 0.3: 700.0}
    never = tables.delays(pd.DataFrame(rows).assign(generalised_at=None))
    shown = tables.delay_table(never)
    assert set(shown["generalised"]) == {"0 of 2"} and set(shown["generalised at"]) == {"never"}
    assert set(shown["longest delay"]) == {"no such seed"} and not any("_" in head for head in shown)
    by_seed = tables.seed_by_seed(pd.DataFrame(rows))
    assert by_seed.to_dict("records") == [
        {
            "objective": "label",
            "memorised by": "150",
            "generalised, seed 1": "800",
            "generalised, seed 3": "never",
        }
    ]


def test_best_clocks_take_the_fastest_rate_of_each_law():
    rows = [
        {"arm": arm, "k": 3, "lr": lr, "seed": 0, "steps": 10, "steps_to_90": steps}
        for arm, lr, steps in [("uniform", 0.2, None), ("uniform", 0.8, 6), ("low", 0.2, 4), ("low", 0.8, 7)]
    ]
    best = tables.best_clocks(tables.learning_times(pd.DataFrame(rows))).set_index("arm")
    assert best["lr"].to_dict() == {"low": 0.2, "uniform": 0.8}
    assert best["steps"].to_dict() == {"low": 4, "uniform": 6}
    shown = tables.clock_table(best.reset_index())
    assert list(shown)[-2:] == ["learning rate", "steps to 90%"]
    # the low window has the larger share; it is faster at the one rate and slower at the other
    orders = tables.rank_correlations(tables.learning_times(pd.DataFrame(rows)))
    assert orders["with the signal share"].tolist() == ["-1.00", "1.00", "-1.00"]
    assert orders["learning rate"].tolist() == ["0.2", "0.8", "each law's best"]


def test_self_checks_tell_right_from_wrong(capsys):
    def said(check, answer):
        check(answer)
        return capsys.readouterr().out

    assert said(exercises.check_window_mass, theory.window_signal_mass).startswith("right")
    assert "you say" in said(exercises.check_window_mass, lambda k, low, high: 0.3)
    assert "nothing" in said(exercises.check_window_mass, lambda k, low, high: None)
    assert "ZeroDivisionError" in said(exercises.check_window_mass, lambda k, low, high: 1 / 0)
    assert said(exercises.check_stratified, lambda shift, n: (shift + np.arange(n) / n) % 1).startswith(
        "right"
    )
    assert "no draw or two" in said(exercises.check_stratified, lambda shift, n: np.full(n, shift))
    for first in (lambda shift: 0.5, lambda shift: shift):  # one in each part, but not uniform on its own
        assert "1/12" in said(
            exercises.check_stratified, lambda shift, n, first=first: (first(shift) + np.arange(n)) / n
        )
