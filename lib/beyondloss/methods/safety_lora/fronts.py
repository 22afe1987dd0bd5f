"""Safety tuning of the small world's base models: one arm at one learning rate, and what it keeps and loses."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from beyondloss.data import Answered
from beyondloss.methods.safety_lora import world
from beyondloss.methods.safety_lora.arms import Arm, named
from beyondloss.methods.safety_lora.base import BaseConfig, base_model
from beyondloss.methods.safety_lora.curvature import Factors, curvature, predicted_rise
from beyondloss.methods.safety_lora.merging import merge
from beyondloss.methods.safety_lora.overlap import ONE_SIDED, SIDES, overlap
from beyondloss.methods.safety_lora.penalty import OverlapPenalty
from beyondloss.methods.safety_lora.weights import changed_matrices
from beyondloss.trainers import TrainConfig
from beyondloss.trainers.fine_tuning import AnswerLosses, fine_tune, with_lora

MERGED = ("full", "LoRA 16")  # arms whose updates are also merged in other ways
MERGES = {  # name -> options of `merge`
    **{f"scale {scale:g}": {"scale": scale} for scale in (0.25, 0.5, 0.75)},
    **{f"remove {k} {side}": {"remove": k, "side": side} for side in ONE_SIDED for k in (4, 16)},
    **{f"rank {rank}": {"rank": rank} for rank in (1, 4)},
}
LEARNED, ALIKE = 20, 20  # forbidden objects that are trained on, benign ones that look-alikes are made of
REPEATS = 4  # of the refusals among mixed rows, so that what is mixed in is varied
SPECTRUM = 16  # singular values that are kept


@dataclass(frozen=True)
class FrontPoint:
    """One way of tuning at one learning rate, "ARM at RATE" (see `arms`), or "base", which is not tuned."""

    tuning: str = "full at 1e-04"
    steps: int = 60
    batch: int = 32
    base_steps: int = 400
    chains: int = 256  # evaluated
    seed: int = 0

    def __post_init__(self):
        named(self.tuning)
        if min(self.steps, self.batch, self.base_steps, self.chains) < 1:
            raise ValueError("steps, batch, base_steps and chains must be at least 1")


def run_fronts(points: Sequence[FrontPoint]) -> list[dict]:
    """Measure points one after the other; points of one seed share their base."""
    return [measured(point) for point in points]


def measured(point: FrontPoint) -> dict:
    here = setting(point)
    name, arm, lr = named(point.tuning)
    found = {"arm": name, "lr": lr, "diverged_at": None}
    if arm is None:
        return found | evaluated(here.base, here)
    tuned, found["diverged_at"] = tune(point, arm, lr, here)
    found |= evaluated(tuned, here)
    if found["diverged_at"] is not None:
        return found
    found |= described(tuned, here)
    return found | merges(tuned, here) if name in MERGED else found


@dataclass(frozen=True, eq=False)
class Setting:
    """What all arms of one seed share: the base, the world, what is trained on and what is asked."""

    base: nn.Module
    world: world.World
    learned: list[str]
    unseen: list[str]
    alike: list[str]
    asked: list[str]
    chains: Answered
    replay: Answered
    factors: dict[str, Factors]


def setting(point: FrontPoint) -> Setting:
    return setting_of(BaseConfig(steps=point.base_steps, seed=point.seed), point.chains)


@lru_cache(maxsize=1)
def setting_of(config: BaseConfig, chains: int) -> Setting:
    base, here = base_model(config), world.World(config.seed)
    asked = torch.Generator().manual_seed(10_000 + config.seed)  # chains that no training sees in this order
    replay = world.chains(160, asked)
    reference = world.joined(world.chains(64, asked), here.answered(here.benign[:16]))
    return Setting(
        base,
        here,
        here.forbidden[:LEARNED],
        here.forbidden[LEARNED:],
        here.benign[:ALIKE],
        here.benign[ALIKE:],
        world.chains(chains, asked),
        replay,
        curvature(base, reference, config.seed),
    )


# Tuning -----------------------------------------------------------------------------------------------------


def tune(point: FrontPoint, arm: Arm, lr: float, here: Setting) -> tuple[nn.Module, int | None]:
    """The tuned model, and the step at which its loss ceased to be finite, or None."""
    network = base_model(BaseConfig(steps=point.base_steps, seed=point.seed))
    if arm.lora:
        network = with_lora(network, arm.lora, seed=point.seed)
    else:
        for name, weight in network.named_parameters():
            weight.requires_grad_(arm.trained in name)
    config = TrainConfig(
        steps=max(1, round(point.steps * arm.stop)),
        lr=lr,
        betas=(0.9, 0.999),
        schedule="cosine to zero",
    )
    model = AnswerLosses(network)
    penalty = penalty_of(arm, network, here)
    history = fine_tune(model, rows_of(arm, here), config, point.batch, point.seed, penalty)
    return network.eval(), history.diverged_at[0]


def rows_of(arm: Arm, here: Setting) -> Answered:
    """What an arm is trained on: refusals alone, or with other rows among them."""
    if arm.extra == "own answers":
        return here.world.answered(here.learned)
    refusals = world.refused(here.learned)
    if arm.extra not in ("replay", "look-alikes"):
        return refusals
    others = here.replay if arm.extra == "replay" else here.world.answered(here.alike)
    refusing = torch.arange(len(refusals)).repeat(REPEATS)
    wanted = round(len(refusing) * arm.strength / (1 - arm.strength))
    mixed_in = len(refusals) + torch.arange(wanted) % len(others)
    return world.joined(refusals, others).rows(torch.cat([refusing, mixed_in]))


def penalty_of(arm: Arm, network: nn.Module, here: Setting):
    """What is added to an arm's loss, a function of the model, or None."""
    if arm.extra == "KL":
        kept = KLToBase(here)
        return lambda model: arm.strength * kept(model)
    if arm.extra in ONE_SIDED:
        overlapping = OverlapPenalty(network, side=arm.extra)
        return lambda model: arm.strength * overlapping(model.network)
    return None


class KLToBase:
    """KL divergence of the tuned from the base model's next words, on a few rows of chains or benign requests."""

    def __init__(self, here: Setting, each: int = 8):
        generator = torch.Generator().manual_seed(0)
        benign = here.world.answered(here.alike)
        chosen = torch.randperm(len(benign), generator=generator)[: len(here.replay) // 2]
        self.parts = [
            (tokens, here.base(input_ids=tokens).logits.log_softmax(-1).detach())
            for part in (here.replay.tokens[: len(chosen)], benign.tokens[chosen])
            for tokens in part.split(each)
        ]
        order = torch.randperm(len(self.parts), generator=generator).tolist()
        self.order, self.calls = order, 0

    def __call__(self, model: AnswerLosses) -> Float[Tensor, ""]:
        tokens, wanted = self.parts[self.order[self.calls % len(self.order)]]
        self.calls += 1
        said = model.network(input_ids=tokens, use_cache=False).logits.log_softmax(-1)
        return F.kl_div(said, wanted, log_target=True, reduction="none").sum(-1).mean()


# Evaluation -------------------------------------------------------------------------------------------------


@torch.no_grad()
def evaluated(network: nn.Module, here: Setting) -> dict:
    """Reasoning on new chains, refusal of unseen forbidden requests, refusal and answers of benign ones."""
    thought = continued(network, prompts(here.chains), 5)
    refusing = refuses(thought)
    benign, forbidden = here.world.answered(here.asked), here.world.answered(here.unseen)
    said = continued(network, prompts(benign), 6)
    unseen = continued(network, prompts(forbidden), 6)
    return {
        "reasoning": share(thought[:, 4] == here.chains.tokens[:, -2]),
        "reasoning_refused": share(refusing),
        "reasoning_loss": reasoning_loss(network, here.chains),
        "refusal": share(refuses(unseen)),
        "over_refusal": share(refuses(said)),
        "benign_right": share((said == completion(benign, 6)).all(1)),
        "said": [*world.said(thought[:1]), *world.said(unseen[:1]), *world.said(said[:1])],
    }


def prompts(rows: Answered) -> Int[Tensor, "row word"]:
    """What is given of rows whose prompts are equally long."""
    return rows.tokens[:, : int(rows.answer[0].int().argmax())]


def completion(rows: Answered, count: int) -> Int[Tensor, "row word"]:
    """The first words that are due."""
    start = int(rows.answer[0].int().argmax())
    return rows.tokens[:, start : start + count]


def continued(network: nn.Module, tokens: Int[Tensor, "row word"], count: int) -> Int[Tensor, "row new_word"]:
    """The words that a model says next, each time the likeliest; the end token where it has ended."""
    end = world.tokenizer().eos_token_id
    written = network.generate(
        input_ids=tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=end,
        pad_token_id=end,
    )
    missing = tokens.shape[1] + count - written.shape[1]  # where all rows ended early
    return F.pad(written[:, tokens.shape[1] :], (0, missing), value=end)


def refuses(tokens: Int[Tensor, "row word"]) -> Tensor:
    """Whether an answer is a refusal, whatever was thought before."""
    return (tokens == world.tokenizer().convert_tokens_to_ids("refuse")).any(1)


def share(flags: Tensor) -> float:
    return float(flags.float().mean())


def reasoning_loss(network: nn.Module, chains: Answered) -> float:
    """Cross-entropy of a word of the chain of thought and its answer, in nats: a measure without a ceiling."""
    losses = AnswerLosses(network)(chains.tokens, answer=chains.answer)
    return float(losses.sum() / chains.answer.sum())


def described(tuned: nn.Module, here: Setting) -> dict:
    """The update: overlaps of the MLP's matrices with the initial weights, size, spectrum, predicted cost."""
    table = overlap(here.base, tuned, sides=SIDES)
    mlp = table.frame[table.frame["matrix"].str.contains(".mlp.", regex=False)]
    named = {"column": "column_overlap", "row": "row_overlap", "both": "two_sided_overlap"}
    means = {new: float(mlp[old].mean()) for old, new in named.items()}
    sizes = {name: float(mlp[name].mean()) for name in ("relative_norm", "stable_rank")}
    updates = {m.name: m.update.matrix() for m in changed_matrices(here.base, tuned)}
    return (
        means
        | sizes
        | {
            "predicted_rise": predicted_rise(here.factors, updates),
            "spectrum": spectrum(updates, here.base),
        }
    )


def spectrum(updates: dict[str, Tensor], base: nn.Module) -> list[float]:
    """Largest singular values of the update of the middle layer's up-projection, in units of the largest of W0."""
    name = f"model.layers.{base.config.num_hidden_layers // 2}.mlp.up_proj.weight"
    if name not in updates:
        return []
    largest = torch.linalg.matrix_norm(base.get_parameter(name), 2)
    return [float(f"{value:.3g}") for value in torch.linalg.svdvals(updates[name])[:SPECTRUM] / largest]


def merges(tuned: nn.Module, here: Setting) -> dict:
    """The same update, merged in other ways: one entry a way, in lists of one length."""
    rows = []
    for name, options in MERGES.items():
        found = evaluated(merge(here.base, tuned, **options), here)
        wanted = ("reasoning", "reasoning_loss", "benign_right", "refusal", "over_refusal")
        rows.append({"merged": name} | {f"merged_{key}": found[key] for key in wanted})
    return {name: [row[name] for row in rows] for name in rows[0]}
