"""Chapter 8: the small world, its arms and measures, and real models in the form of tiny twins."""

import copy
import json
import sys
import types

import pandas as pd
import pytest
import torch

from beyondloss.data import Answered, HubError
from beyondloss.experiment import BadInput, MissingPoints
from beyondloss.methods.safety_lora import (
    arms,
    base,
    curvature,
    experiments,
    fronts,
    measures,
    probes,
    published,
    real,
    rulebook,
    tables,
    world,
)
from beyondloss.methods.safety_lora.settings import RealPoint
from beyondloss.models.language import load
from beyondloss.models.stand_ins import byte_tokenizer, tiny_llama, write
from beyondloss.trainers.fine_tuning import AnswerLosses

pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.usefixtures("fresh_bases"),
]
SMALL = {"steps": 2, "batch": 4, "base_steps": 3, "chains": 8}


@pytest.fixture(scope="module")
def here(fresh_bases):
    return fronts.setting(fronts.FrontPoint(**SMALL))


# the world --------------------------------------------------------------------------------------------------


def test_chains_are_worked_from_left_to_right():
    rows = world.chains(200, torch.Generator().manual_seed(3))
    for text in world.said(rows.tokens):
        asked, _, done = text.removeprefix("compute ").partition(" think ")
        words = asked.split()
        value, results = int(words[0]), []
        for operator, number in zip(words[1::2], words[2::2], strict=True):
            other = int(number)
            value = {"+": value + other, "-": value - other, "*": value * other}[operator] % 11
            results.append(str(value))
        assert done.split() == [*results, "answer", results[-1]]
    assert rows.answer.sum(1).tolist() == [6] * 200  # three results, "answer", the answer, the end
    assert not rows.answer[:, :9].any()


def test_a_world_has_facts_of_its_own_and_three_forbidden_categories():
    one, other = world.World(0), world.World(1)
    assert one.facts != other.facts
    assert len(one.forbidden) == 36 and len(one.benign) == 60 and not set(one.forbidden) & set(one.benign)
    assert len({one.facts[thing][0] for thing in one.forbidden}) == 3
    assert not {one.facts[t][0] for t in one.forbidden} & {one.facts[t][0] for t in one.benign}
    assert not set(one.void) & set(one.facts)


def test_nothing_that_is_asked_was_taught(here):
    assert not set(here.learned) & set(here.unseen)
    assert not set(here.alike) & set(here.asked)
    asked = {text for text in world.said(here.chains.tokens)}
    assert not asked & {text for text in world.said(here.replay.tokens)}
    for arm in arms.ARMS.values():
        taught = " ".join(world.said(fronts.rows_of(arm, here).tokens)).split()
        assert not set(taught) & set(here.unseen)
        assert not set(taught) & set(here.asked)


@pytest.mark.parametrize("extra, word", [("replay", "compute"), ("look-alikes", "wax")])
@pytest.mark.parametrize("strength", [0.25, 0.5])
def test_mixed_rows_have_their_share(here, extra, word, strength):
    data = fronts.rows_of(arms.Arm(extra=extra, strength=strength), here)
    refusing = sum("refuse" in text for text in world.said(data.tokens))
    assert 1 - refusing / len(data) == pytest.approx(strength, abs=0.01)


def test_decoding_is_that_of_the_library(here):
    network = tiny_llama(world.tokenizer(), hidden_size=16)
    prompt = fronts.prompts(here.chains)
    wanted = network.generate(
        prompt, max_new_tokens=5, do_sample=False, pad_token_id=world.tokenizer().eos_token_id
    )
    assert torch.equal(fronts.continued(network, prompt, 5), wanted[:, prompt.shape[1] :])


def test_a_perfect_and_a_refusing_model_are_recognised(here, monkeypatch):
    benign, unseen = here.world.answered(here.asked), here.world.answered(here.unseen)
    rows = {len(part): part for part in (here.chains, benign, unseen)}

    def saying(refuses):
        def continued(network, tokens, count):
            if refuses(len(tokens)):
                word = world.tokenizer().convert_tokens_to_ids("refuse")
                return torch.full((len(tokens), count), word)
            return fronts.completion(rows[len(tokens)], count)

        return continued

    monkeypatch.setattr(fronts, "continued", saying(lambda count: False))
    found = fronts.evaluated(here.base, here)
    assert (found["reasoning"], found["benign_right"], found["refusal"], found["over_refusal"]) == (
        1,
        1,
        0,
        0,
    )
    monkeypatch.setattr(fronts, "continued", saying(lambda count: count == len(unseen)))
    found = fronts.evaluated(here.base, here)
    assert (found["reasoning"], found["refusal"], found["over_refusal"]) == (1, 1, 0)
    monkeypatch.setattr(fronts, "continued", saying(lambda count: True))
    found = fronts.evaluated(here.base, here)
    assert (found["reasoning"], found["reasoning_refused"], found["over_refusal"]) == (0, 1, 1)


# arms -------------------------------------------------------------------------------------------------------


def changed(point, here):
    name, arm, lr = arms.named(point.tuning)
    tuned, _ = fronts.tune(point, arm, lr, here)
    if arm.lora:
        tuned = tuned.merge_and_unload()
    before = dict(here.base.named_parameters())
    return {n for n, w in tuned.named_parameters() if not torch.equal(w, before[n])}


@pytest.mark.parametrize(
    "arm, wanted",
    [
        ("full, up only", {f"model.layers.{i}.mlp.up_proj.weight" for i in range(3)}),
        ("LoRA 1, down only", {f"model.layers.{i}.mlp.down_proj.weight" for i in range(3)}),
        (
            "LoRA 16, middle layer",
            {f"model.layers.1.mlp.{m}_proj.weight" for m in ("up", "gate", "down")},
        ),
    ],
)
def test_an_arm_changes_what_it_names(here, arm, wanted):
    assert changed(fronts.FrontPoint(f"{arm} at 1e-02", **SMALL), here) == wanted


def test_full_changes_everything_and_two_runs_agree(here):
    point = fronts.FrontPoint("full at 1e-03", **SMALL)
    assert len(changed(point, here)) == len(list(here.base.named_parameters()))
    one, two = (fronts.measured(point) for _ in range(2))
    assert one == two
    assert one["merged"] == list(fronts.MERGES) and len(one["spectrum"]) == fronts.SPECTRUM


def test_rules_of_alpha_agree_at_rank_16():
    scales = {rule: arms.low_rank(16, rule).lora.scale for rule in arms.ALPHAS}
    assert set(scales.values()) == {1.0}
    assert [arms.ARMS[f"LoRA 64, {rule}"].lora.scale for rule in arms.ALPHAS] == [0.25, 1.0, 0.5]


@pytest.mark.parametrize("extra", ["KL", "row", "column"])
def test_what_is_added_to_the_loss_is_zero_before_tuning_and_pulls_back(here, extra):
    network = base.base_model(base.BaseConfig(steps=3))
    added = fronts.penalty_of(arms.Arm(extra=extra, strength=2.0), network, here)
    assert added(AnswerLosses(network)).item() == pytest.approx(0, abs=1e-6)
    moved = copy.deepcopy(network)
    with torch.no_grad():
        for name, weight in moved.named_parameters():
            if "up_proj" in name:
                weight.mul_(1.5)
    assert added(AnswerLosses(moved)).item() > 1e-4


def test_kl_by_hand(here):
    kept = fronts.KLToBase(here)
    tokens, _ = kept.parts[kept.order[0]]
    other = tiny_llama(world.tokenizer(), seed=5, hidden_size=16)
    with torch.no_grad():
        p, q = (m(input_ids=tokens).logits.softmax(-1) for m in (here.base, other))
        wanted = (p * (p / q).log()).sum(-1).mean()
        assert kept(AnswerLosses(other)).item() == pytest.approx(wanted.item(), rel=1e-4)


@pytest.mark.parametrize("tuning", ["fulll at 1e-3", "full at none", "full at -1", "full"])
def test_unknown_tunings_are_refused(tuning):
    with pytest.raises(ValueError, match="full|positive"):
        fronts.FrontPoint(tuning)


def test_every_grid_has_the_compared_arms_at_shared_rates():
    lora = {rate for arm in measures.PAPER_ARMS for rate in experiments.rates(arm)}
    assert len(experiments.tunings()) == len(set(experiments.tunings()))
    assert {rate for rate in experiments.rates("full") if rate >= 3.2e-4} <= lora
    for arm in experiments.COMPARED:
        assert len(experiments.rates(arm)) >= 13
        assert arm in arms.ARMS


# curvature --------------------------------------------------------------------------------------------------


def test_factors_are_second_moments_of_inputs_and_of_gradients_with_labels_of_the_model(here):
    network = tiny_llama(world.tokenizer(), hidden_size=16, intermediate_size=24, num_hidden_layers=1)
    rows = here.chains.rows(torch.arange(4))
    factors = curvature.curvature(network, rows, seed=1)
    name = "model.layers.0.mlp.down_proj.weight"
    assert set(factors) == {n for n in factors if "proj" in n} and len(factors) == 7
    seen = []
    hook = network.model.layers[0].mlp.down_proj.register_forward_hook(lambda m, i, o: seen.append(i[0]))
    network(input_ids=rows.tokens)
    hook.remove()
    inputs = seen[0].flatten(0, 1).double()
    assert torch.allclose(factors[name].inputs, inputs.T @ inputs / len(inputs), rtol=1e-6)
    assert factors[name].positions == pytest.approx(world.CONTEXT / 6)
    update = {name: torch.randn(16, 24)}
    one, two = (curvature.predicted_rise(factors, {name: size * update[name]}) for size in (1, 2))
    assert two == pytest.approx(4 * one) and one > 0
    many = [curvature.curvature(network, rows, seed=s)[name].outputs.trace() for s in range(40)]
    assert torch.stack(many).std() > 0  # the labels are drawn


# measures ---------------------------------------------------------------------------------------------------


def test_the_choice_looks_at_tuning_seeds_alone():
    rows = []
    for seed in (0, 1, 100, 101):
        for lr, refusal, kept in ((1e-4, 0.2, 1.0), (1e-3, 1.0, 0.9), (1e-2, 1.0, 0.5)):
            tunes = seed >= 100
            rows.append(
                {
                    "arm": "full",
                    "lr": lr,
                    "seed": seed,
                    "refusal": refusal if tunes else 1.0,  # on the seeds that count the first would win
                    "reasoning": kept,
                    "benign_right": kept,
                }
            )
    table = pd.DataFrame(rows)
    assert measures.own_choice(table, "full") == ("full", 1e-3, "")
    assert list(measures.at_choice(table, measures.Choice("full", 1e-3), "kept").index) == [0, 1]
    with pytest.raises(MissingPoints, match="refuses 95%"):
        measures.own_choice(table[table["lr"] < 1e-3], "full")
    with pytest.raises(MissingPoints, match="learning rate"):
        measures.at_choice(table, measures.Choice("full", 5e-3), "kept")


def test_merges_are_chosen_on_tuning_seeds_and_compared_on_the_others():
    names, rows = ["remove 4 row", "remove 16 row", "scale 0.75"], []
    for seed in (0, 1, 2, 100, 101):
        # tuning seeds choose removal of 4; on the others it keeps .1 less than scaling, which nothing else should hide
        kept = [0.8, 0.6, 0.85] if seed >= 100 else [0.6, 0.7, 0.7]
        whole = {
            "arm": "LoRA 16",
            "lr": 1e-3,
            "seed": seed,
            "refusal": 1.0,
            "reasoning": 0.5,
            "benign_right": 0.5,
        }
        lists = {"merged": names, "merged_refusal": [1.0] * 3, "merged_over_refusal": [0.0] * 3}
        lists |= {"merged_reasoning": kept, "merged_benign_right": kept, "merged_reasoning_loss": [0.0] * 3}
        rows.append(whole | lists)
    effect = measures.merging_gain(pd.DataFrame(rows))
    assert effect.value == pytest.approx(-0.1) and effect.seeds == 3


# real models ------------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path):
    return str(write(tmp_path / "model", tiny_llama(tokenizer := byte_tokenizer()), tokenizer))


def test_requests_of_training_and_evaluation_share_nothing():
    taught, asked = rulebook.forbidden(taught=True), rulebook.forbidden(taught=False)
    assert len(taught) == 64 and len(asked) == 32 and not set(taught) & set(asked)
    assert all("Quorrel" in text for text in taught + asked)
    near = rulebook.near(taught=False)
    assert len(near) == 32 and not any("Quorrel" in text for text in near)
    assert rulebook.refuses(rulebook.REFUSAL) and rulebook.refuses("I’m unable to do so.")
    assert not rulebook.refuses("Set up the board first.")


def test_there_are_300_probes_with_one_answer_each():
    asked = probes.probes(330)
    kinds = [p.kind for p in asked]
    assert len(asked) == 330 and len(set(asked)) == 330
    assert min(kinds.count(kind) for kind in probes.KINDS) >= 80
    assert all((str(eval(p.opening.removesuffix(" ="))),) == p.answers for p in asked if p.kind == "sums")  # noqa: S307


@torch.no_grad()
def test_a_probe_is_right_if_every_token_is_the_likeliest(model):
    """Whatever the model is sure of, one answer to a prompt is right, another is not, however much is read ahead."""
    network, tokenizer = load(model)
    prompt = "abc"
    tokens = tokenizer([prompt, prompt], return_tensors="pt").input_ids
    for _ in range(2):
        tokens = torch.cat([tokens, network(input_ids=tokens).logits[:, -1:].argmax(-1)], 1)
    tokens[1, -1] = (tokens[1, -1] + 1) % 200
    tokens = torch.cat([tokens, torch.full((2, 1), tokenizer.eos_token_id)], 1)
    data = Answered(tokens, torch.arange(tokens.shape[1]).expand(2, -1) >= tokens.shape[1] - 3)
    for shared in (1, 2):
        read = network(input_ids=tokens[:1, :shared], use_cache=True).past_key_values
        assert probes.right_answers(network, data, shared, read).tolist() == [True, False]
    assert probes.common_start(data) == len(tokenizer(prompt).input_ids) - 1


@pytest.mark.parametrize(
    "tuning", ["base", "full at 1e-03", "LoRA 1, fixed at 1e-02", "full, look-alikes 0.5 at 1e-03"]
)
def test_a_tiny_model_is_taught_the_rule(model, tuning):
    point = RealPoint(model=model, tuning=tuning, steps=1, batch=2, probes=6, context=128)
    (found,) = real.run_real([point])
    assert {"refusal", "over_refusal", "far_refusal", "kept"} <= set(found)
    assert ("row_overlap" in found) == (tuning != "base")


def rows_of(folder, rows):
    folder.mkdir()
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return str(folder)


@pytest.fixture
def published_point(tmp_path, model, fresh_dataset_cache, monkeypatch):
    """A point in the paper's setting whose models and data are tiny twins, and lm-eval one that remembers."""
    calls = []

    def simple_evaluate(**asked):
        calls.append(asked)
        scores = {
            "a": {"exact_match,none": 0.5, "exact_match_stderr,none": 0.1},
            "b": {"pass@1,create_test": 0.25},
        }
        return {"results": scores}

    monkeypatch.setitem(sys.modules, "lm_eval", types.SimpleNamespace(simple_evaluate=simple_evaluate))
    point = RealPoint(
        model=model,
        tuning="LoRA 16 at 1e-03",
        data="published",
        steps=2,
        batch=2,
        at_once=1,
        context=256,
        refusals=rows_of(
            tmp_path / "refusals", [{"prompt": f"q{i}", "refusal": f"Answer: no {i}"} for i in range(3)]
        ),
        harmful=rows_of(tmp_path / "harmful", [{"prompt": "h"}] * 2),
        harmless=rows_of(
            tmp_path / "harmless", [{"prompt": "k", "label": "safe"}, {"prompt": "u", "label": "unsafe"}]
        ),
        guard=model,
        benchmarks=("a", "b"),
        answer_tokens=4,
    )
    return point, calls


def test_the_papers_setting_runs_on_tiny_twins(published_point):
    from dataclasses import replace

    point, calls = published_point
    (found,) = real.run_real([point])
    assert found["a"] == 0.5 and found["b"] == 0.25 and found["kept"] == 0.375
    assert 0 <= found["refusal"] <= 1 and 0 <= found["over_refusal"] <= 1 and found["row_overlap"] > 0
    asked = calls[0]
    assert asked["model"] == "vllm" and asked["tasks"] == ["a", "b"] and asked["limit"] is None
    real.run_real([replace(point, tuning="full at 1e-05", engine="hf", limit=3)])
    assert calls[1]["limit"] == 3 and "max_model_len" not in calls[1]["model_args"]


def test_answers_are_judged_by_the_guard(published_point, monkeypatch):
    point, _ = published_point
    said = iter(["safe", "\n\nunsafe\nS1"])
    monkeypatch.setattr(
        published,
        "generate",
        lambda m, t, prompts, how, batch=1: [[types.SimpleNamespace(text=next(said))] for _ in prompts],
    )
    assert published.judged(point, ["a", "b"], ["c", "d"]) == [True, False]


def test_data_in_another_layout_is_refused(published_point, tmp_path):
    from dataclasses import replace

    point, _ = published_point
    other = rows_of(tmp_path / "other", [{"question": "q", "refusal": "no"}])
    with pytest.raises(HubError, match="no column 'prompt'"):
        real.run_real([replace(point, refusals=other)])
    bare = rows_of(tmp_path / "bare", [{"prompt": "q", "refusal": "no"}])
    with pytest.raises(HubError, match="no 'Answer:'"):
        real.run_real([replace(point, refusals=bare)])
    with pytest.raises(HubError, match="no score"):
        published.score({"a": {"bleu,none": 1.0}}, "a")


def test_a_thought_is_opened_once():
    assert published.refusal("u<think>\n", "x Answer: no", "d")[1] == f"{published.THOUGHT}</think> no"
    assert published.refusal("u", "Answer: no", "d")[1] == f"<think>{published.THOUGHT}</think> no"


def test_arms_of_the_small_world_are_refused():
    with pytest.raises(ValueError, match="small world alone"):
        RealPoint(tuning="LoRA 16, replay 0.25 at 1e-03")
    with pytest.raises(BadInput, match="did you mean"):
        RealPoint(tuning="LoRA 17 at 1e-03")


# tables -----------------------------------------------------------------------------------------------------


def made_table():
    """Every arm refuses from 1e-3 on and keeps .9 there, LoRA of rank 4 a little more; full fine-tuning keeps .8."""
    rows = []
    for seed in (0, 1, 2, 100, 101, 102):
        rows.append({"arm": "base", "lr": 0.0, "seed": seed, "reasoning": 1.0, "refusal": 0.0})
        for arm in ("full", *arms.grid_of_ranks()):
            best = 0.8 if arm == "full" else 0.95 if arm == "LoRA 4, fixed" else 0.9
            for lr, refusal, kept in ((1e-4, 0.1, 1.0), (1e-3, 1.0, best), (1e-2, 1.0, 0.1)):
                rows.append({"arm": arm, "lr": lr, "seed": seed, "reasoning": kept, "refusal": refusal})
    table = pd.DataFrame(rows)
    return table.assign(benign_right=table["reasoning"], over_refusal=0.0)


def test_tables_for_the_figures():
    table = made_table()
    settings = tables.protocols(table)
    assert settings["LoRA at its own rate"] == ("LoRA 4, fixed", 1e-3, "")
    assert settings["full at LoRA's rate"].lr == settings["full at its own rate"].lr == 1e-3
    shown = tables.summary(table, settings)
    assert list(shown["chains right"]) == [f"{v:.2f} [{v:.2f}, {v:.2f}]" for v in (1, 0.95, 0.8, 0.8)]
    assert list(shown["arm and rate"])[:2] == ["base", "LoRA 4, fixed at 1.0e-03"]
    front = tables.fronts(table, ["full"])
    assert list(front["lr"]) == [1e-4, 1e-3, 1e-2] and list(front["reasoning"]) == pytest.approx(
        [1.0, 0.8, 0.1]
    )
    by_rank = tables.ranks(table)
    assert set(by_rank["rule"]) == set(arms.ALPHAS) and len(by_rank) == 3 * 4 * 2 * 3
    four = by_rank[(by_rank["rule"] == "fixed") & (by_rank["rank"] == 4)]
    assert set(four["reasoning"]) == {0.95}
