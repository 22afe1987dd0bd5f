"""LLaDA in transformers' Llama: a tiny twin on disk, its logits, its loss, its fine-tuning, and what is refused."""

import json
import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from beyondloss.data import Answered, HubError
from beyondloss.data.hub import load_tokenizer
from beyondloss.methods.masked_diffusion import llada, masking
from beyondloss.methods.masked_diffusion.conversations import conversations
from beyondloss.methods.masked_diffusion.llada import LladaPoint, load_llada, run_llada
from beyondloss.models import Ensemble
from beyondloss.trainers import Streams
from beyondloss.trainers.fine_tuning import in_slices

# peft asks transformers for a property by its old name
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

# config.json of GSAI-ML/LLaDA-8B-Base at the pinned revision, less what its own code alone reads
PUBLISHED = {
    "activation_type": "silu",
    "alibi": False,
    "architectures": ["LLaDAModelLM"],
    "attention_layer_norm": False,
    "auto_map": {
        "AutoConfig": "configuration_llada.LLaDAConfig",
        "AutoModelForCausalLM": "modeling_llada.LLaDAModelLM",
        "AutoModel": "modeling_llada.LLaDAModelLM",
    },
    "block_group_size": 1,
    "block_type": "llama",
    "d_model": 4096,
    "embedding_size": 126464,
    "include_bias": False,
    "include_qkv_bias": False,
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "mask_token_id": 126336,
    "max_sequence_length": 4096,
    "mlp_hidden_size": 12288,
    "model_type": "llada",
    "n_heads": 32,
    "n_kv_heads": 32,
    "n_layers": 32,
    "rms_norm_eps": 1e-05,
    "rope": True,
    "rope_theta": 500000.0,
    "scale_logits": False,
    "vocab_size": 126464,
    "weight_tying": False,
}
SHRUNK = {
    "d_model": 32,
    "mlp_hidden_size": 80,
    "n_heads": 4,
    "n_kv_heads": 4,
    "n_layers": 2,
    "max_sequence_length": 64,
}
TINY = {**PUBLISHED, **SHRUNK, "vocab_size": 262, "embedding_size": 262, "mask_token_id": 258}


def shapes(config):
    """Published names of the weights and their shapes."""
    width, inner, kv = config["d_model"], config["mlp_hidden_size"], config["n_kv_heads"] or config["n_heads"]
    kv_width = width // config["n_heads"] * kv
    block = {
        "attn_norm": (width,),
        "q_proj": (width, width),
        "k_proj": (kv_width, width),
        "v_proj": (kv_width, width),
    }
    block |= {
        "attn_out": (width, width),
        "ff_norm": (width,),
        "ff_proj": (inner, width),
        "up_proj": (inner, width),
    }
    block |= {"ff_out": (width, inner)}
    named = {f"blocks.{i}.{name}": shape for i in range(config["n_layers"]) for name, shape in block.items()}
    named |= {
        "wte": (config["embedding_size"], width),
        "ff_out": (config["embedding_size"], width),
        "ln_f": (width,),
    }
    return {f"model.transformer.{name}.weight": shape for name, shape in named.items()}


def write_twin(folder: Path, config: dict, tokenizer: Path | None = None) -> dict[str, torch.Tensor]:
    """A checkpoint in two shards laid out as LLaDA's, with code that must not run; returns its weights."""
    draw = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in shapes(config).items():
        scale = 0.02 if "wte" in name else 1 / math.sqrt(shape[-1])
        weights[name] = torch.randn(shape, generator=draw) * scale + ("norm" in name or "ln_f" in name)
    folder.mkdir(exist_ok=True)
    names = sorted(weights)
    shards = {f"model-0000{i}-of-00002.safetensors": names[i - 1 :: 2] for i in (1, 2)}
    for shard, inside in shards.items():
        save_file({name: weights[name] for name in inside}, folder / shard)
    index = {
        "metadata": {},
        "weight_map": {name: shard for shard, inside in shards.items() for name in inside},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config))
    for code in ("modeling_llada.py", "configuration_llada.py"):
        (folder / code).write_text("raise SystemExit('code of the repository was run')")
    for file in tokenizer.iterdir() if tokenizer else []:
        (folder / file.name).write_bytes(file.read_bytes())
    return weights


@pytest.fixture
def twin(tmp_path, byte_tokenizer):
    write_twin(tmp_path / "llada", TINY, byte_tokenizer)
    return tmp_path / "llada"


def plain_forward(weights, config, tokens):
    """LLaDA's network in plain torch. Positions turn pairs of coordinates, written as complex numbers."""

    def norm(x, name):
        mean_square = (x * x).mean(-1, keepdim=True)
        return (
            x / torch.sqrt(mean_square + config["rms_norm_eps"]) * weights[f"model.transformer.{name}.weight"]
        )

    def times(x, name):
        return x @ weights[f"model.transformer.{name}.weight"].T

    def heads(x):
        return x.unflatten(-1, (-1, config["d_model"] // config["n_heads"])).transpose(1, 2)

    def turned(x):
        half = x.shape[-1] // 2
        speed = config["rope_theta"] ** (-torch.arange(half) / half)
        angle = torch.outer(torch.arange(x.shape[-2]), speed)
        pairs = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angle), angle)
        return torch.cat([pairs.real, pairs.imag], -1)

    x = weights["model.transformer.wte.weight"][tokens]
    for i in range(config["n_layers"]):
        block, inner = f"blocks.{i}.", norm(x, f"blocks.{i}.attn_norm")
        query, key, value = (heads(times(inner, block + part)) for part in ("q_proj", "k_proj", "v_proj"))
        key, value = (part.repeat_interleave(query.shape[1] // part.shape[1], 1) for part in (key, value))
        scores = turned(query) @ turned(key).transpose(-1, -2) / math.sqrt(query.shape[-1])
        x = x + times((scores.softmax(-1) @ value).transpose(1, 2).flatten(2), block + "attn_out")
        inner = norm(x, block + "ff_norm")
        gate = times(inner, block + "ff_proj")
        x = x + times(gate * torch.sigmoid(gate) * times(inner, block + "up_proj"), block + "ff_out")
    return times(norm(x, "ln_f"), "ff_out")


@pytest.mark.parametrize("changed", [{}, {"n_kv_heads": 2}, {"n_kv_heads": None, "rope_theta": 10000.0}])
def test_logits_are_those_of_a_plain_forward(tmp_path, changed):
    config = {**TINY, **changed}
    weights = write_twin(tmp_path / "llada", config)
    predictor = load_llada(str(tmp_path / "llada"))
    tokens = torch.randint(262, (3, 40), generator=torch.Generator().manual_seed(1))
    logits, expected = predictor(tokens), plain_forward(weights, config, tokens)
    assert expected.std() > 0.5  # otherwise agreement would mean little
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    assert predictor.mask_token == 258


def test_every_position_sees_every_other(twin):
    predictor = load_llada(str(twin))
    tokens = torch.arange(20)[None]
    changed = tokens.clone()
    changed[0, -1] = 100
    assert (predictor(tokens)[0, 0] - predictor(changed)[0, 0]).abs().max() > 1e-3


def renamed(weight):
    """The name after the one pattern that fits it, as transformers reads `AS_LLAMA`."""
    (fitting,) = [pattern for pattern in llada.AS_LLAMA if re.match(pattern + r"\.", weight)]
    return re.sub(fitting, llada.AS_LLAMA[fitting], weight)


def test_the_published_configuration_has_the_published_weights():
    """Names and total size are those of model.safetensors.index.json of the hub."""
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        llama = LlamaForCausalLM(llada.as_llama("LLaDA-8B", PUBLISHED))
    ours = {name: tuple(tensor.shape) for name, tensor in llama.state_dict().items()}
    published = shapes(PUBLISHED)
    assert {renamed(name): shape for name, shape in published.items()} == ours
    assert len(published) == 291
    assert 2 * sum(p.numel() for p in llama.parameters()) == 16_031_162_368


def test_half_precision_is_kept(twin):
    predictor = load_llada(str(twin), dtype=torch.bfloat16)
    assert {p.dtype for p in predictor.parameters()} == {torch.bfloat16}
    assert predictor.llama.model.rotary_emb.inv_freq.dtype == torch.float32
    assert predictor(torch.zeros(1, 4, dtype=torch.long)).isfinite().all()


def test_one_file_without_an_index_is_enough(twin):
    whole = {}
    for shard in sorted(twin.glob("model-*")):
        whole |= load_file(shard)
        shard.unlink()
    expected = plain_forward(whole, TINY, torch.zeros(1, 4, dtype=torch.long))
    save_file(whole, twin / "model.safetensors")
    (twin / "model.safetensors.index.json").unlink()
    torch.testing.assert_close(load_llada(str(twin))(torch.zeros(1, 4, dtype=torch.long)), expected)


def edit_shard(twin, change):
    shard = min(twin.glob("model-*"))
    weights = load_file(shard)
    save_file(change(weights), shard)


def without(mapping, name):
    return {key: value for key, value in mapping.items() if key != name}


FIRST = "model.transformer.blocks.0.attn_norm.weight"  # lies in the first shard
FAULTS = {
    "missing shard": (lambda twin: min(twin.glob("model-*")).unlink(), "has no file model-00001-of-00002"),
    "damaged shard": (
        lambda twin: min(twin.glob("model-*")).write_bytes(b"x" * 99),
        "model-00001.* is damaged",
    ),
    "no weights": (lambda twin: [f.unlink() for f in twin.glob("model*")], "has no file model.safetensors"),
    "no configuration": (lambda twin: (twin / "config.json").unlink(), "has no file config.json"),
    "damaged configuration": (lambda twin: (twin / "config.json").write_text("{"), "config.json is damaged"),
    "damaged index": (lambda twin: next(twin.glob("*.index.json")).write_text("{"), "index.json is damaged"),
    "no mask token": (
        lambda twin: (twin / "config.json").write_text(json.dumps(without(TINY, "mask_token_id"))),
        "no field 'mask_token_id'",
    ),
    "other network": (lambda twin: write_twin(twin, {**TINY, "alibi": True}), "alibi is True"),
    "no LLaDA": (
        lambda twin: (twin / "config.json").write_text('{"model_type": "gpt2"}'),
        "no field 'vocab_size'",
    ),
    "renamed": (
        lambda twin: edit_shard(
            twin, lambda w: without(w, FIRST) | {FIRST.replace("attn", "other"): w[FIRST]}
        ),
        "model.transformer.blocks.0.other_norm.weight has no place in the network",
    ),
    "missing weight": (
        lambda twin: edit_shard(twin, lambda w: without(w, FIRST)),
        "lacks 1 weights of the network, among them model.layers.0.input_layernorm.weight",
    ),
    "wrong shape": (
        lambda twin: edit_shard(twin, lambda w: w | {FIRST: torch.ones(33)}),
        r"input_layernorm.weight has shape \(33,\), the network \(32,\)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_checkpoint_is_refused_by_name(twin, fault, refused_in_one_line):
    damage, said = FAULTS[fault]
    damage(twin)
    refused_in_one_line(load_llada, twin, said)


def test_without_network_the_missing_file_is_named():
    with pytest.raises(
        HubError, match="model GSAI-ML/LLaDA-8B-Base: config.json at revision 0f2787f.*hf download"
    ):
        load_llada()


class Recorder(torch.nn.Module):
    """Logits that grow with the token's number at each position; keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.scale, self.shown = torch.nn.Parameter(torch.tensor(0.1)), []

    def forward(self, tokens):
        self.shown.append(tokens)
        return (self.scale * torch.arange(10.0)).expand(*tokens.shape, 10)


def test_the_loss_is_lladas(monkeypatch):
    """Against the authors' formula, written as a loop over sequences and positions."""
    draw = torch.Generator().manual_seed(0)
    data = Answered(torch.randint(9, (6, 8), generator=draw), torch.arange(8) >= torch.arange(6)[:, None])
    law, batch, network = masking.uniform(0.2, 0.9), 10, Recorder()
    value = llada.llada_objective(data, law, 9, batch)(Ensemble([network]), Streams([5]))

    streams = Streams([5])
    rows, rates = streams.integers(6, batch)[0], law.sample(streams, batch)[0]
    masked = masking.draw_masks(rates[None], 8, streams)[0]
    costs = -(0.1 * torch.arange(10.0)).log_softmax(0)
    expected, hidden = 0.0, 0
    for b, row in enumerate(rows.tolist()):
        places = [i for i in range(8) if masked[b, i] and i >= row]
        hidden += len(places)
        expected += sum(costs[data.tokens[row, i]] for i in places) / rates[b] / (8 - row) / batch
    torch.testing.assert_close(value, expected[None])
    shown = torch.cat(network.shown)
    assert (shown == 9).sum() == hidden > 10 and len(network.shown) == 3  # slices of 4, 4 and 2 sequences
    assert not any((shown[b, :row] == 9).any() for b, row in enumerate(rows.tolist()))  # prompts stay visible

    gradient = torch.autograd.grad(value.sum(), network.scale)
    for at_once in (1, 100):  # slices save memory and change nothing
        monkeypatch.setattr(llada, "in_slices", partial(in_slices, at_once=at_once))
        again = llada.llada_objective(data, law, 9, batch)(Ensemble([network]), Streams([5]))
        torch.testing.assert_close(again, value)
        torch.testing.assert_close(torch.autograd.grad(again.sum(), network.scale), gradient)


@pytest.fixture
def point(twin, conversation_folder):
    small = {"steps": 20, "batch": 8, "context": 48, "lr": 1e-2, "lora_rank": 4}
    return LladaPoint((0.4, 0.6), str(twin), None, str(conversation_folder), None, **small)


def test_fine_tuning_lowers_the_held_out_bound(point):
    first, second = run_llada([point, replace(point, seed=1)])
    assert (
        first["nelbo_before"] == second["nelbo_before"]
    )  # the same held-out masks, and a start that changes nothing
    for metrics in (first, second):
        assert metrics["nelbo"] < 0.8 * metrics["nelbo_before"] and metrics["diverged_at"] is None
    assert first["nelbo"] != second["nelbo"]
    assert run_llada([replace(point, seed=1)]) == [second]  # alone as beside others
    assert point.data in first["data_origin"]


def test_the_bound_is_that_of_rows_that_no_step_has_seen(point, monkeypatch):
    parts, trained, judged = [], [], []
    read, objective, bound = llada.conversations, llada.llada_objective, llada.held_out_nelbo

    def spied_read(*given):
        parts.append(read(*given))
        return parts[-1]

    def spied_objective(data, *given):
        trained.append(data.tokens)
        return objective(data, *given)

    def spied_bound(model, data, *given):
        judged.append(data.tokens)
        before = len(trained)
        value = bound(model, data, *given)
        del trained[before:]  # the bound uses the objective, too
        return value

    monkeypatch.setattr(llada, "conversations", spied_read)
    monkeypatch.setattr(llada, "llada_objective", spied_objective)
    monkeypatch.setattr(llada, "held_out_nelbo", spied_bound)
    run_llada([replace(point, steps=2)])
    (data,) = parts
    assert len(trained) == 1 and torch.equal(trained[0], data.train.tokens)
    assert len(judged) == 2 and all(torch.equal(tokens, data.held_out.tokens) for tokens in judged)
    rows = [set(map(tuple, part.tokens.tolist())) for part in (data.train, data.held_out)]
    assert not rows[0] & rows[1]


def test_only_thin_matrices_are_trained(point):
    predictor = llada.low_rank(load_llada(point.model), 4)
    trained = {name: p.numel() for name, p in predictor.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * 2 * 7 and all(
        "lora" in name for name in trained
    )  # two a matrix, 7 matrices, 2 blocks
    frozen = {name: p.clone() for name, p in predictor.named_parameters() if not p.requires_grad}
    rows = Answered(torch.zeros(4, 6, dtype=torch.long), torch.ones(4, 6, dtype=torch.bool))
    history = llada.sft(Ensemble([predictor]), rows, rows, 258, replace(point, steps=3))
    assert history.rows[-1]["step"] == 3
    assert all(torch.equal(p, frozen[name]) for name, p in predictor.named_parameters() if name in frozen)
    assert any(p.abs().max() > 0 for name, p in predictor.named_parameters() if "lora_B" in name)


def test_a_run_that_diverges_says_when(point):
    metrics = run_llada([replace(point, lr=1e30, steps=8)])[0]
    assert metrics["diverged_at"] in range(1, 8) and metrics["nelbo"] is None


def test_the_tokenizer_of_such_a_repository_needs_no_code(twin):
    assert load_tokenizer(str(twin)).decode([258]) == "<|mdm_mask|>"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"window": (0.6, 0.4)}, "low < high"),
        ({"batch": 0}, "batch"),
        ({"lora_rank": 0}, "lora_rank"),
    ],
)
def test_impossible_points(wrong, said):
    with pytest.raises(ValueError, match=said):
        LladaPoint(**wrong)


def test_conversations_hide_the_prompt(conversation_folder, byte_tokenizer):
    tokenizer = load_tokenizer(str(byte_tokenizer))
    data = conversations(str(conversation_folder), tokenizer, 48, "none", held_out_share=0.1)
    assert (len(data.train.tokens), len(data.held_out.tokens)) == (53, 6)  # one prompt of 60 was too long
    tokens, answer = data.held_out.tokens[0], data.held_out.answer[0]
    said = "<|startoftext|><|start_header_id|>user<|end_header_id|>\n\n0+0?<|eot_id|>"
    assert data.decode(tokens[~answer]) == said + "<|start_header_id|>assistant<|end_header_id|>\n\n"
    assert data.decode(tokens[answer]) == "0." + "<|endoftext|>" * (int(answer.sum()) - 2)
    assert data.train.tokens.shape[1] == 48 and data.train.answer.any(1).all()


def test_conversations_need_messages(gsm8k_folder, byte_tokenizer):
    with pytest.raises(HubError, match="no column 'messages', only question, answer"):
        conversations(str(gsm8k_folder), load_tokenizer(str(byte_tokenizer)), 48, "none")


def test_conversations_need_an_end_token(conversation_folder, byte_tokenizer):
    tokenizer = load_tokenizer(str(byte_tokenizer))
    tokenizer.eos_token = None
    with pytest.raises(HubError, match="no token for the start or for the end"):
        conversations(str(conversation_folder), tokenizer, 48, "none")
