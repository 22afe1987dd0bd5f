"""LLaDA-8B inside transformers' own Llama, fine-tuned under a law of the mask probability (chapter 3, section 9).

LLaDA's repository asks for code of its own to be run; the book never does. Its network is Llama's without the causal
mask, so its weights are renamed into `LlamaForCausalLM` and every position is shown every other.

What is verified. Names, shapes and sizes: the published configuration, built without memory, has the 291 names and
16,031,162,368 bytes of the published index. The computation: a two-layer twin under the published names gives the
logits of a plain-torch forward to 1e-5. What is not: the 8B weights were never downloaded here, and no number of the
book comes from them. In bfloat16 the authors' code turns queries and keys in float32, transformers in bfloat16.

Cost, predicted at 40% of an H200's bfloat16 peak, not measured. This fine-tuning (1,200 steps of 256 x 1,024 tokens,
the forward pass done twice to save memory): 1.5e19 operations, about 10 hours a run on one GPU. The other half of the
paper's claim, pre-training from scratch on DCLM (15,000 steps of 128 x 4,096 tokens): 3.8e20 operations, about 260
hours a run, for which the book has no code. The paper used the framework `dllm`, whose own example, without windows, is

    sbatch --nodes=24 --gres=gpu:8 scripts/train.slurm.sh --accelerate_config fsdp --script_path examples/llada/pt.py
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beyondloss.data import Answered, HubError
from beyondloss.data.hub import load_tokenizer, model_json, pinned, spec_of
from beyondloss.methods.masked_diffusion import masking
from beyondloss.methods.masked_diffusion.conversations import conversations
from beyondloss.models import Ensemble
from beyondloss.models.language import load_model
from beyondloss.trainers import (
    History,
    Lora,
    Objective,
    Streams,
    TrainConfig,
    seeded_networks,
    train,
    with_lora,
)
from beyondloss.trainers.fine_tuning import in_slices

LLADA = "GSAI-ML/LLaDA-8B-Base@0f2787f2d87eac5eed8a087d5ecd24277e6255b2"
TULU_MATH = "allenai/tulu-3-sft-personas-math-filtered"
TULU_LICENCE = "see the data set's page (its family is ODC-BY-1.0)"

EVALUATION_SEED, EVALUATION_BATCHES = 2**31, 16

BLOCK = r"model\.transformer\.blocks\.(\d+)\."
AS_LLAMA = {  # LLaDA's names of its weights as patterns -> Llama's
    BLOCK + "attn_norm": r"model.layers.\1.input_layernorm",
    BLOCK + "q_proj": r"model.layers.\1.self_attn.q_proj",
    BLOCK + "k_proj": r"model.layers.\1.self_attn.k_proj",
    BLOCK + "v_proj": r"model.layers.\1.self_attn.v_proj",
    BLOCK + "attn_out": r"model.layers.\1.self_attn.o_proj",
    BLOCK + "ff_norm": r"model.layers.\1.post_attention_layernorm",
    BLOCK + "ff_proj": r"model.layers.\1.mlp.gate_proj",
    BLOCK + "up_proj": r"model.layers.\1.mlp.up_proj",
    BLOCK + "ff_out": r"model.layers.\1.mlp.down_proj",
    r"model\.transformer\.wte": "model.embed_tokens",
    r"model\.transformer\.ln_f": "model.norm",
    r"model\.transformer\.ff_out": "lm_head",
}
LLAMA_LIKE = {  # what LLaDA's configuration must say for Llama to be the same network
    "block_type": "llama",
    "layer_norm_type": "rms",
    "activation_type": "silu",
    "rope": True,
    "alibi": False,
    "include_bias": False,
    "include_qkv_bias": False,
    "attention_layer_norm": False,
    "input_emb_norm": False,
    "scale_logits": False,
    "weight_tying": False,
    "block_group_size": 1,
}


@dataclass(frozen=True)
class LladaPoint:
    """Fine-tune LLaDA on prompts with answers, its mask probability drawn from U[window].

    `model` and `data` are names on the hub or local folders. The published runs: 1,200 steps, batch 256, context 1,024,
    windows [0, 1], [0.45, 0.55] and [0.5, 1], all weights trained. Low-rank weights and their `lr` are ours.
    """

    window: tuple[float, float] = (0.0, 1.0)
    model: str = LLADA.partition("@")[0]
    revision: str | None = LLADA.partition("@")[2]
    data: str = TULU_MATH
    data_revision: str | None = None  # the commit used is among the metrics
    steps: int = 1200
    batch: int = 256
    context: int = 1024
    lr: float = 1e-4
    lora_rank: int = 64
    seed: int = 0

    def __post_init__(self):
        masking.uniform(*self.window)  # raises ValueError for an empty window
        for name in ("steps", "batch", "context", "lora_rank"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class MaskPredictor(nn.Module):
    """A Llama without causal mask, and the token that stands for a hidden one."""

    def __init__(self, llama: nn.Module, mask_token: int):
        super().__init__()
        self.llama, self.mask_token = llama, mask_token

    def forward(self, tokens: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time vocabulary"]:
        return masked_logits(self.llama, tokens)


def masked_logits(
    llama: nn.Module, tokens: Int[Tensor, "batch time"]
) -> Float[Tensor, "batch time vocabulary"]:
    """Logits of every position, each of which sees all the others."""
    time = tokens.shape[-1]
    all_visible = torch.ones(1, 1, time, time, dtype=torch.bool, device=tokens.device)
    return llama(input_ids=tokens, attention_mask=all_visible, use_cache=False).logits


def load_llada(
    spec: str = LLADA, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> MaskPredictor:
    """LLaDA from the hub or a local folder.

    Raises HubError where a file is missing or damaged, or where the weights are not just those of a LLaDA.
    """
    name, revision = pinned(spec)
    config = as_llama(name, model_json(name, "config.json", revision))
    llama = load_model(spec, dtype, device, "LlamaForCausalLM", AS_LLAMA, config=config)
    return MaskPredictor(llama, config.mask_token_id)


def as_llama(name: str, config: dict):
    """LLaDA's configuration in Llama's words; HubError if it describes another network."""
    from transformers import LlamaConfig

    for field, expected in LLAMA_LIKE.items():
        if config.get(field, expected) != expected:
            raise HubError(
                f"model {name}: {field} is {config[field]!r}, but this loader knows only {expected!r}"
            )
    try:
        return LlamaConfig(
            vocab_size=config.get("embedding_size") or config["vocab_size"],
            hidden_size=config["d_model"],
            intermediate_size=config["mlp_hidden_size"],
            num_hidden_layers=config["n_layers"],
            num_attention_heads=config["n_heads"],
            num_key_value_heads=config.get("n_kv_heads") or config["n_heads"],
            max_position_embeddings=config["max_sequence_length"],
            rms_norm_eps=config["rms_norm_eps"],
            rope_theta=config["rope_theta"],
            tie_word_embeddings=False,
            mask_token_id=config["mask_token_id"],
        )
    except KeyError as error:
        raise HubError(f"model {name}: config.json has no field {error}, so it is no LLaDA") from None


def llada_objective(data: Answered, law: masking.MaskRate, mask_token: int, batch: int) -> Objective:
    """LLaDA's loss: 1/t times the cross-entropy of hidden answer tokens, a token (chapter 3, eq. md-weighted).

    Prompts are never hidden. With `answer` true everywhere this is the loss of pre-training.
    """

    def objective(model: Ensemble, streams: Streams) -> Float[Tensor, " member"]:
        rows = streams.integers(len(data.tokens), batch)
        rates = law.sample(streams, batch)
        tokens, answer = data.tokens[rows], data.answer[rows]
        masked = masking.draw_masks(rates, tokens.shape[-1], streams) & answer

        def sums_of(part: Int[Tensor, " slice"]) -> Float[Tensor, "member slice"]:
            return hidden_sums(model, tokens[:, part], masked[:, part], mask_token)

        sums = in_slices(sums_of, torch.arange(batch, device=tokens.device))
        return (sums / rates / answer.sum(-1)).mean(-1)

    return objective


def hidden_sums(
    model: Ensemble,
    tokens: Int[Tensor, "member batch time"],
    masked: Bool[Tensor, "member batch time"],
    mask_token: int,
) -> Float[Tensor, "member batch"]:
    """Cross-entropy summed over the hidden tokens of each sequence, in nats."""
    logits = model(masking.hide(tokens, masked, mask_token))
    losses = torch.zeros(tokens.shape, device=tokens.device)
    losses[masked] = F.cross_entropy(logits[masked].float(), tokens[masked], reduction="none")
    return losses.sum(-1)


def low_rank(predictor: MaskPredictor, rank: int) -> MaskPredictor:
    """Freeze the weights and put a trainable product of two thin matrices beside each matrix of the blocks."""
    predictor.llama = with_lora(predictor.llama, Lora(rank, alpha=2.0, rule="proportional"))
    return predictor


def sft(
    model: Ensemble, train_data: Answered, held_out: Answered, mask_token: int, point: LladaPoint
) -> History:
    """Fine-tune on answers with the point's window; `nelbo` is measured on held-out rows with t ~ U[0, 1]."""
    law = masking.uniform(*point.window)
    device = train_data.tokens.device
    config = TrainConfig(
        steps=point.steps,
        lr=point.lr,
        schedule="linear",
        warmup=min(50, point.steps // 10),
        precision="bfloat16" if device.type == "cuda" else "float32",
    )
    return train(
        model,
        llada_objective(train_data, law, mask_token, point.batch),
        config,
        Streams([point.seed], device),
        lambda forward: {"nelbo": [held_out_nelbo(forward, held_out, mask_token, point.batch)]},
    )


@torch.no_grad()
def held_out_nelbo(model: Ensemble, data: Answered, mask_token: int, batch: int) -> float:
    """Bound on the negative log-likelihood of an answer token, in nats; the same rows and masks at every call."""
    objective = llada_objective(data, masking.uniform(stratified=True), mask_token, batch)
    streams = Streams([EVALUATION_SEED], data.tokens.device)
    device = data.tokens.device.type
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        losses = [objective(model, streams) for _ in range(EVALUATION_BATCHES)]
    return torch.stack(losses).mean().item()


def run_llada(points: Sequence[LladaPoint]) -> list[dict]:
    """Measure points one after the other: held-out bound before and after fine-tuning, and the data's commit."""
    return [fine_tuned(point) for point in points]


def fine_tuned(point: LladaPoint) -> dict:
    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    spec = spec_of(point.model, point.revision)
    tokenizer = load_tokenizer(*pinned(spec))
    data_spec = spec_of(point.data, point.data_revision or "main")
    data = conversations(data_spec, tokenizer, point.context, TULU_LICENCE)
    train_data, held_out = data.train.to(device), data.held_out.to(device)

    def start() -> MaskPredictor:
        return low_rank(load_llada(spec, device, dtype), point.lora_rank)

    model = seeded_networks(start, [point.seed], device)
    mask_token = model.single.mask_token
    before = held_out_nelbo(model, held_out, mask_token, point.batch)
    history = sft(model, train_data, held_out, mask_token, point)
    return {
        "nelbo_before": before,
        "nelbo": history.rows[-1]["nelbo"][0] if history.rows else None,
        "data_origin": data.origin,
        "diverged_at": history.diverged_at[0],
    }
