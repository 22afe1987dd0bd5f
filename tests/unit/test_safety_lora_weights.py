"""Chapter 8: overlap, merge and penalty of small models against brute force, and what bad input gets."""

import copy

import numpy as np
import peft
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from beyondloss.experiment import BadInput
from beyondloss.methods import safety_lora
from beyondloss.methods.safety_lora import merging, weights
from beyondloss.methods.safety_lora.overlap import check_k, of_matrix
from beyondloss.methods.safety_lora.weights import Update
from beyondloss.models.stand_ins import byte_tokenizer, tiny_llama
from beyondloss.trainers.fine_tuning import Lora, with_lora

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


def tiny(**settings):
    return tiny_llama(byte_tokenizer(), hidden_size=16, intermediate_size=24, **settings)


@pytest.fixture
def base():
    return tiny()


def moved(model, size=0.05, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tuned = copy.deepcopy(model)
    with torch.no_grad():
        for weight in tuned.parameters():
            weight.add_(size * torch.randn(weight.shape, generator=generator))
    return tuned


def adapted(model, **settings):
    """A model with a LoRA that does something."""
    tuned = with_lora(
        copy.deepcopy(model), Lora(rank=2, targets=("up_proj", "down_proj"), **settings), seed=1
    )
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if ".lora_B." in name:
                weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)))
    return tuned


def by_hand(w, d, side, k, weighted):
    """The definitions, with numpy's SVD."""
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    k = k or len(s)
    s = s[:k] if weighted else np.ones(k)
    left, right = (u[:, :k] * s).T, vt[:k].T * s
    size = np.sum(s**2) if weighted else 1.0
    m, n = w.shape
    shares = {
        "column": (np.sum((left @ d) ** 2) / size, 1 / m if weighted else k / m),
        "row": (np.sum((d @ right) ** 2) / size, 1 / n if weighted else k / n),
        "both": (np.sum((left @ d @ right) ** 2) / size**2, 1 / (m * n) if weighted else k**2 / (m * n)),
    }
    found, chance = shares[side]
    return found / np.sum(d**2) / chance


SIDES = ("column", "row", "both")


@pytest.mark.parametrize("shape", [(7, 5), (5, 7), (6, 6)])
@pytest.mark.parametrize("k, weighted", [(None, True), (3, True), (3, False)])
@pytest.mark.parametrize("low_rank", [False, True])
def test_overlaps_by_brute_force(shape, k, weighted, low_rank):
    torch.manual_seed(0)
    base = torch.randn(shape) * torch.linspace(2, 0.2, shape[1])
    update = Update(left=torch.randn(shape[0], 2), right=torch.randn(2, shape[1]), scale=0.3)
    update = update if low_rank else Update(dense=update.matrix() + 0.1 * torch.randn(shape))
    found = of_matrix(base, update, k, weighted, SIDES)
    dense = update.matrix().double().numpy()
    for side in SIDES:
        assert found[side] == pytest.approx(
            by_hand(base.double().numpy(), dense, side, k, weighted), rel=1e-4
        )
    values = np.linalg.svd(dense, compute_uv=False)
    assert found["stable_rank"] == pytest.approx(np.sum(values**2) / values[0] ** 2, rel=1e-3)
    ratio = np.linalg.norm(dense) / np.linalg.norm(base)
    assert found["relative_norm"] == pytest.approx(ratio, rel=1e-5)


def test_chance_is_one():
    torch.manual_seed(0)
    base = torch.randn(80, 60) * torch.linspace(3, 0.1, 60)
    found = [of_matrix(base, Update(dense=torch.randn(80, 60)), 5, False, SIDES) for _ in range(40)]
    for side in SIDES:
        assert np.mean([row[side] for row in found]) == pytest.approx(1, abs=0.03)


def test_full_tuning_adapter_and_merged_adapter_agree(base):
    tuned = adapted(base)
    merged = copy.deepcopy(tuned).merge_and_unload()
    by_adapter = safety_lora.overlap(base, tuned).frame.set_index("matrix")
    by_difference = safety_lora.overlap(base, merged)
    assert set(by_adapter.index) == set(by_difference.frame["matrix"])
    assert len(by_adapter) == 4 and len(by_difference.unchanged) == 10
    assert list(by_adapter["layer"]) == [0, 0, 1, 1]
    other = by_difference.frame.set_index("matrix").loc[by_adapter.index]
    for name in ("column", "row", "relative_norm", "stable_rank"):
        assert np.allclose(by_adapter[name], other[name], rtol=1e-3)


def test_the_adapted_model_can_be_its_own_base(base):
    tuned = adapted(base)
    own, given = safety_lora.overlap(tuned, tuned), safety_lora.overlap(base, tuned)
    assert np.allclose(own.frame[["column", "row"]], given.frame[["column", "row"]])


@pytest.mark.parametrize("rule", ["fixed", "sqrt", "proportional"])
def test_folders_agree_with_models(base, tmp_path, rule):
    tuned = adapted(base, rule=rule)
    base.save_pretrained(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "adapter")
    copy.deepcopy(tuned).merge_and_unload().save_pretrained(tmp_path / "tuned")
    wanted = safety_lora.overlap(base, tuned).frame
    numbers = ["column", "row", "relative_norm", "stable_rank"]
    from_adapter = safety_lora.overlap(str(tmp_path / "base"), tmp_path / "adapter").frame
    from_weights = safety_lora.overlap(tmp_path / "base", tmp_path / "tuned").frame
    for found in (from_adapter, from_weights):
        found = found.set_index("matrix").loc[wanted["matrix"]]
        assert np.allclose(found[numbers], wanted[numbers], rtol=1e-3)


def test_gpt2_which_stores_its_matrices_transposed():
    base = gpt2()
    tuned = moved(base)
    table = safety_lora.overlap(base, tuned).frame.set_index("matrix")
    before, after = (m.transformer.h[0].mlp.c_fc.weight.detach().double().numpy().T for m in (base, tuned))
    for side in ("column", "row"):
        wanted = by_hand(before, after - before, side, None, True)
        assert table.loc["transformer.h.0.mlp.c_fc", side] == pytest.approx(wanted, rel=1e-3)
    half = safety_lora.merge(base, tuned, scale=0.5).transformer.h[0].mlp.c_fc.weight
    assert np.allclose(half.detach().double().numpy().T, before + 0.5 * (after - before), atol=1e-6)


def gpt2():
    return GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)).eval()


def test_folders_of_gpt2_are_turned_too(tmp_path):
    base, tuned = gpt2(), moved(gpt2())
    base.save_pretrained(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "tuned")
    wanted = safety_lora.overlap(base, tuned).frame.set_index("matrix")
    found = safety_lora.overlap(tmp_path / "base", tmp_path / "tuned").frame.set_index("matrix")
    assert np.allclose(found.loc[wanted.index, ["column", "row"]], wanted[["column", "row"]], rtol=1e-3)


def test_adapters_of_gpt2():
    base = gpt2()
    config = peft.LoraConfig(r=2, target_modules=["c_fc"], fan_in_fan_out=True, init_lora_weights=False)
    tuned = peft.get_peft_model(copy.deepcopy(base), config)
    full = copy.deepcopy(tuned).merge_and_unload()
    found, wanted = (safety_lora.overlap(base, model).frame for model in (tuned, full))
    wanted = wanted.set_index("matrix").loc[found["matrix"]]
    assert np.allclose(found[["column", "row"]], wanted[["column", "row"]], rtol=1e-3)
    assert_same(safety_lora.merge(base, tuned), full)


def test_half_precision_is_measured_in_float32(base):
    tuned = moved(base)
    wanted = safety_lora.overlap(base, tuned).mean()
    found = safety_lora.overlap(copy.deepcopy(base).half(), copy.deepcopy(tuned).half()).mean()
    assert found == pytest.approx(wanted, rel=0.02)


def test_plot_and_table(base):
    table = safety_lora.overlap(base, moved(base), sides=("row",))
    axes = table.plot()
    assert axes.get_xlabel() == "layer" and len(axes.lines) == 2
    assert "row" in table._repr_html_() and "column" not in table.mean()
    axes.figure.clear()


# merging ----------------------------------------------------------------------------------------------------


def matrix(model, name="model.layers.0.mlp.up_proj.weight"):
    return model.get_parameter(name).detach()


def test_merge_is_the_tuned_model_by_default(base):
    tuned = adapted(base)
    merged = safety_lora.merge(base, tuned)
    wanted = copy.deepcopy(tuned).merge_and_unload()
    for name, weight in wanted.named_parameters():
        assert torch.allclose(merged.get_parameter(name), weight, atol=1e-6)
    full = moved(base)
    merged = safety_lora.merge(base, full)
    for name, weight in full.named_parameters():
        assert torch.allclose(merged.get_parameter(name), weight, atol=1e-6)


def test_a_merge_by_half_moves_norms_and_embeddings_by_half(base):
    full = moved(base)
    half = dict(safety_lora.merge(base, full, scale=0.5).named_parameters())
    for name, weight in base.named_parameters():
        assert torch.allclose(half[name], (weight + full.get_parameter(name)) / 2, atol=1e-6), name


def assert_same(found, wanted):
    assert dict(found.named_parameters()).keys() == dict(wanted.named_parameters()).keys()
    for name, weight in wanted.named_parameters():
        assert torch.allclose(found.get_parameter(name), weight, atol=1e-6), name


@pytest.mark.parametrize("options", [{}, {"scale": 0.5}, {"remove": 2, "side": "row"}])
@pytest.mark.parametrize("make", [tiny, lambda: tiny(tie_word_embeddings=True), gpt2])
def test_merging_a_folder_is_merging_its_model(tmp_path, make, options):
    base, full = make(), moved(make())
    full.save_pretrained(tmp_path)
    assert_same(safety_lora.merge(base, tmp_path, **options), safety_lora.merge(base, full, **options))
    assert_same(safety_lora.merge(base, tmp_path), full)


def test_a_folder_that_lacks_or_adds_a_weight_is_refused(tmp_path, base):
    tiny(tie_word_embeddings=True).save_pretrained(tmp_path / "without_head")
    with pytest.raises(BadInput, match=r"lm_head\.weight"):
        safety_lora.merge(base, tmp_path / "without_head")
    tied = tiny(tie_word_embeddings=True)
    moved(base).save_pretrained(tmp_path / "with_head")
    with pytest.raises(BadInput, match=r"lm_head\.weight"):
        safety_lora.merge(tied, tmp_path / "with_head")
    tiny(num_hidden_layers=3).save_pretrained(tmp_path / "deeper")
    with pytest.raises(BadInput, match=r"layers\.2\."):
        safety_lora.merge(base, tmp_path / "deeper")


def test_what_is_no_matrix_must_be_finite_too(base):
    full = moved(base)
    with torch.no_grad():
        full.model.norm.weight[0] = float("nan")
    with pytest.raises(BadInput, match=r"norm\.weight .*not finite"):
        safety_lora.merge(base, full)


EXTRAS = [
    ({"target_modules": ["up_proj", "lm_head"]}, "lm_head.weight"),
    ({"target_modules": ["up_proj", "embed_tokens"]}, "model.embed_tokens.weight"),
    ({"modules_to_save": ["lm_head"]}, "lm_head.weight"),
    ({"modules_to_save": ["input_layernorm"]}, "model.layers.0.input_layernorm.weight"),
    ({"trainable_token_indices": [1]}, "model.embed_tokens.weight"),
]


@pytest.mark.filterwarnings("ignore:Setting .save_embedding_layers:UserWarning")
@pytest.mark.parametrize("settings, name", EXTRAS)
def test_what_an_adapter_changes_beside_matrices_is_said(base, tmp_path, settings, name):
    config = peft.LoraConfig(r=2, **({"target_modules": ["up_proj"], "init_lora_weights": False} | settings))
    tuned = peft.get_peft_model(copy.deepcopy(base), config)
    tuned.save_pretrained(tmp_path)
    for given in (tuned, tmp_path):
        with pytest.raises(BadInput, match=f"{name} .*merge_and_unload") as caught:
            safety_lora.merge(base, given)
        assert "\n" not in str(caught.value)
        table = safety_lora.overlap(base, given)
        assert set(table.frame["matrix"]) == {f"model.layers.{i}.mlp.up_proj" for i in (0, 1)}
        assert name in table.left_out and name in repr(table) and name in table._repr_html_()


# peft takes the bias of a LoRA for a broken matrix
@pytest.mark.filterwarnings("ignore:Adapter .*invalid shape")
def test_biases_beside_a_lora_are_said(tmp_path):
    base = tiny(mlp_bias=True)
    for settings in ({"bias": "all"}, {"lora_bias": True}):
        config = peft.LoraConfig(r=2, target_modules=["up_proj"], **settings)
        tuned = peft.get_peft_model(copy.deepcopy(base), config)
        with pytest.raises(BadInput, match=r"model\.layers\.0\.mlp\.\w+\.bias"):
            safety_lora.merge(base, tuned)


def test_a_plain_adapter_leaves_nothing_out(base):
    table = safety_lora.overlap(base, adapted(base))
    assert table.left_out == () and "left out" not in repr(table)


def test_numbers_of_numpy_are_numbers(base):
    full = moved(base)
    wanted = safety_lora.merge(base, full, remove=2, rank=3, scale=0.5)
    found = safety_lora.merge(base, full, remove=np.int64(2), rank=np.int64(3), scale=np.float32(0.5))
    assert_same(found, wanted)
    assert len(safety_lora.overlap(base, full, k=np.int64(2)).frame) == 14


def test_merge_takes_the_adapted_model_as_its_own_base_and_changes_nothing(base):
    tuned = adapted(base)
    before = {name: weight.clone() for name, weight in tuned.named_parameters()}
    merged = safety_lora.merge(tuned, tuned, remove=2)
    assert torch.allclose(matrix(merged), matrix(safety_lora.merge(base, tuned, remove=2)))
    assert all(torch.equal(weight, before[name]) for name, weight in tuned.named_parameters())
    assert not hasattr(merged, "peft_config")


@pytest.mark.parametrize("side", ["column", "row"])
def test_what_is_removed_is_the_top_subspace(base, side):
    full = moved(base)
    merged = safety_lora.merge(base, full, remove=3, scale=0.5, side=side)
    w, d = matrix(base), matrix(full) - matrix(base)
    u, _, vt = torch.linalg.svd(w, full_matrices=False)
    kept = d - u[:, :3] @ u[:, :3].T @ d if side == "column" else d - d @ vt[:3].T @ vt[:3]
    assert torch.allclose(matrix(merged), w + 0.5 * kept, atol=1e-5)
    inside = merging.outside(d, w, 3, side)
    seen = u[:, :3].T @ inside if side == "column" else inside @ vt[:3].T
    assert seen.abs().max() < 1e-5


def test_everything_can_be_removed_and_rank_be_cut(base):
    full = moved(base)
    w, d = matrix(base), matrix(full) - matrix(base)
    nothing = safety_lora.merge(base, full, remove=16, side="row")  # all of the smaller side
    assert torch.allclose(matrix(nothing), w, atol=1e-5)
    cut = matrix(safety_lora.merge(base, full, rank=2)) - w
    values = torch.linalg.svdvals(d)
    assert torch.linalg.matrix_rank(cut, atol=1e-4) == 2
    assert (d - cut).square().sum() == pytest.approx(float(values[2:].square().sum()), rel=1e-3)


# penalty ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["column", "row"])
@pytest.mark.parametrize("k, weighted", [(None, True), (3, True), (3, False)])
@pytest.mark.parametrize("low_rank", [True, False])
def test_penalty_is_overlap_times_squared_relative_norm(base, side, k, weighted, low_rank):
    start = (
        with_lora(copy.deepcopy(base), Lora(rank=2, targets=("up_proj", "down_proj")), 1)
        if low_rank
        else base
    )
    penalty = safety_lora.OverlapPenalty(copy.deepcopy(start), side, k, weighted)
    assert penalty(start).item() == pytest.approx(0, abs=1e-9)
    tuned = adapted(base) if low_rank else moved(base)
    table = safety_lora.overlap(base, tuned, k, weighted, sides=(side,)).frame
    wanted = (table[side] * table["relative_norm"] ** 2).mean()
    assert penalty(tuned).item() == pytest.approx(wanted, rel=1e-3)
    penalty(tuned).backward()
    gradients = [weight.grad for name, weight in tuned.named_parameters() if weight.requires_grad]
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize("side", ["column", "row"])
def test_penalty_of_gpt2_takes_the_sides_as_the_overlap_does(side):
    base = gpt2()
    with torch.no_grad():
        penalty = safety_lora.OverlapPenalty(base, side)
    tuned = moved(base)
    table = safety_lora.overlap(base, tuned, sides=(side,)).frame
    assert penalty(tuned).item() == pytest.approx(
        (table[side] * table["relative_norm"] ** 2).mean(), rel=1e-3
    )


def test_penalty_adds_up_all_active_adapters(base):
    config = peft.LoraConfig(r=2, target_modules=["up_proj"], init_lora_weights=False)
    tuned = peft.get_peft_model(copy.deepcopy(base), config)
    tuned.add_adapter("other", config)
    tuned.base_model.set_adapter(["default", "other"])
    penalty = safety_lora.OverlapPenalty(tuned, "row")
    table = safety_lora.overlap(base, tuned, sides=("row",)).frame
    assert penalty(tuned).item() == pytest.approx(
        (table["row"] * table["relative_norm"] ** 2).mean(), rel=1e-3
    )
    penalty(tuned).backward()
    factors = {name: weight for name, weight in tuned.named_parameters() if ".lora_" in name}
    assert len(factors) == 8 and all(weight.grad.abs().sum() > 0 for weight in factors.values())


def test_penalty_refuses_what_the_overlap_refuses(base):
    merged = adapted(base)
    penalty = safety_lora.OverlapPenalty(merged)
    merged.merge_adapter()
    for call in (safety_lora.OverlapPenalty, penalty):
        with pytest.raises(BadInput, match="unmerge_adapter"):
            call(merged)
    config = peft.LoraConfig(r=2, target_modules=["up_proj"], use_dora=True)
    with pytest.raises(BadInput, match="DoRA"):
        safety_lora.OverlapPenalty(peft.get_peft_model(copy.deepcopy(base), config))


def test_a_penalty_for_an_adapter_is_none_for_full_tuning(base):
    penalty = safety_lora.OverlapPenalty(with_lora(copy.deepcopy(base), Lora(rank=2), 0))
    with pytest.raises(BadInput, match="not those that the penalty was made for"):
        penalty(base)


def test_descending_the_penalty_lowers_the_overlap(base):
    tuned = adapted(base)
    penalty = safety_lora.OverlapPenalty(tuned, "row")
    before = safety_lora.overlap(base, tuned).mean()
    optimizer = torch.optim.Adam([w for w in tuned.parameters() if w.requires_grad], lr=0.03)
    for _ in range(20):
        optimizer.zero_grad()
        penalty(tuned).backward()
        optimizer.step()
    after = safety_lora.overlap(base, tuned).mean()
    assert after["row"] < before["row"]


# bad input --------------------------------------------------------------------------------------------------


def broken(model, value):
    tuned = moved(model)
    with torch.no_grad():
        matrix(tuned)[0, 0] = value
    return tuned


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda base: safety_lora.overlap(base, base), "equals base"),
        (lambda base: safety_lora.overlap(base, broken(base, float("nan"))), "up_proj.weight .*not finite"),
        (lambda base: safety_lora.overlap(broken(base, float("inf")), base), "up_proj.weight .*not finite"),
        (lambda base: safety_lora.overlap(base, [1, 2]), "not list"),
        (lambda base: safety_lora.overlap(base, "nowhere"), "nowhere is no folder"),
        (lambda base: safety_lora.overlap(base, moved(base), k=17), "k must be between 1 and 16"),
        (lambda base: safety_lora.overlap(base, moved(base), k=0), "k must be between 1 and 16"),
        (lambda base: safety_lora.overlap(base, moved(base), weighted=False), "without k"),
        (lambda base: safety_lora.overlap(base, moved(base), sides=("rows",)), "did you mean 'row'"),
        (lambda base: safety_lora.overlap(base, moved(base), sides=()), "no side"),
        (
            lambda base: safety_lora.overlap(base, torch.nn.Sequential(torch.nn.Linear(3, 3))),
            "share no matrix",
        ),
        (
            lambda base: safety_lora.overlap(base, moved(tiny_llama(byte_tokenizer(), hidden_size=16))),
            "has shape",
        ),
        (
            lambda base: safety_lora.overlap(base, with_lora(copy.deepcopy(base), Lora(rank=2), 0)),
            "equals base",
        ),
        (lambda base: safety_lora.merge(base, moved(base), remove=-1), "0 or more"),
        (lambda base: safety_lora.merge(base, moved(base), remove=17), "at most 16"),
        (lambda base: safety_lora.merge(base, moved(base), scale=float("nan")), "finite"),
        (lambda base: safety_lora.merge(base, moved(base), side="rows"), "did you mean 'row'"),
        (lambda base: safety_lora.merge(base, moved(base), rank=0), "at least 1"),
        (lambda base: safety_lora.merge("base", moved(base)), "not str"),
        (lambda base: merging.check_numbers(0, None, "0.5"), "scale must be a finite number, not '0.5'"),
        (lambda base: safety_lora.merge(base, moved(base), scale=True), "finite"),
        (lambda base: merging.check_numbers("2", None, 1.0), "0 or more, not '2'"),
        (lambda base: merging.check_numbers(1.5, None, 1.0), "0 or more"),
        (lambda base: merging.check_numbers(0, "2", 1.0), "at least 1, not '2'"),
        (lambda base: safety_lora.merge(base, moved(base), rank=True), "at least 1"),
        (lambda base: check_k("2", matrix(base), "up_proj"), "k must be between 1 and 16 .*not '2'"),
        (lambda base: check_k(1.5, matrix(base), "up_proj"), "k must be between"),
        (lambda base: safety_lora.OverlapPenalty(base.requires_grad_(False)), "trains no matrix"),
        (lambda base: safety_lora.OverlapPenalty(base, "rows"), "did you mean 'row'"),
        (lambda base: safety_lora.OverlapPenalty(base, k=99), "k must be between"),
        (
            lambda base: safety_lora.OverlapPenalty(base)(adapted(base)),
            "not those that the penalty was made for",
        ),
    ],
)
def test_bad_input_gets_one_line(base, call, message):
    with pytest.raises(BadInput, match=message) as caught:
        call(base)
    assert "\n" not in str(caught.value)


def test_a_merged_adapter_is_refused(base):
    tuned = adapted(base)
    tuned.merge_adapter()
    with pytest.raises(BadInput, match="unmerge_adapter"):
        safety_lora.overlap(base, tuned)


def test_dora_is_refused(base):
    config = peft.LoraConfig(r=2, target_modules=["up_proj"], use_dora=True)
    with pytest.raises(BadInput, match="DoRA"):
        safety_lora.overlap(base, peft.get_peft_model(copy.deepcopy(base), config))


def test_only_matrices_between_activations_count(base):
    names = list(weights.matrices_of(base))
    assert len(names) == 14
    assert not [name for name in names if "embed" in name or "lm_head" in name or "norm" in name]
