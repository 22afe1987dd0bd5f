"""What language models write after prompts: batches, several samples a prompt, seeds, log-probabilities.

`transformers` does the decoding. Ours is what it lacks: a random stream for every prompt, so that what is drawn does
not depend on what else is in the batch, and a prompt that is read once for all its samples.
"""

import hashlib
import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from beyondloss.choices import refuse_text
from beyondloss.data import HubError
from beyondloss.data.completions import prompt_tokens
from beyondloss.models.modes import in_mode


@dataclass(frozen=True)
class Sampling:
    """How to write: at most so many tokens, up to the end token or the first of the strings `stop`.

    Temperature 0 takes the likeliest token. `top_p` draws among the fewest tokens that have this probability together.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    samples: int = 1
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self):
        if self.max_new_tokens < 1 or self.samples < 1:
            raise ValueError(
                f"max_new_tokens and samples must be at least 1: {self.max_new_tokens}, {self.samples}"
            )
        if not 0 <= self.temperature < math.inf or not 0 < self.top_p <= 1:
            raise ValueError(
                "temperature must not be negative or infinite and top_p lie in (0, 1]: "
                f"{self.temperature}, {self.top_p}"
            )
        refuse_text(self.stop, "stop", "a tuple of texts")


@dataclass(frozen=True)
class Continuation:
    """What was written, without its end or stop.

    tokens: how many were drawn for it, end included. log_probability: of these, in nats, under the model itself (at
    temperature 1, of all its tokens).
    """

    text: str
    tokens: int
    log_probability: float


def generate(
    model: nn.Module, tokenizer: Any, prompts: Sequence[str], how: Sampling, batch: int = 64
) -> list[list[Continuation]]:
    """`how.samples` continuations of every prompt, `batch` prompts at a time, or fewer where memory is short.

    The model writes without dropout, in whatever mode it is found and left, and by nothing but `how`: its own settings
    of generation count only for the tokens that end a text. What is drawn belongs to the prompt and the seed, so two
    equal prompts get the same continuations: ask for `samples` to have several. ValueError for a text in place of the
    list of prompts, and for a prompt without any token.
    """
    from accelerate.utils import find_executable_batch_size

    refuse_text(prompts, "prompts", "a list of texts")

    @find_executable_batch_size(starting_batch_size=batch)  # halves until a batch fits in memory
    def all_of_them(size: int) -> list[list[Continuation]]:
        starts = range(0, len(prompts), size)
        return [row for i in starts for row in one_batch(model, tokenizer, prompts[i : i + size], how)]

    with in_mode(model, training=False):
        return all_of_them()


def chat_prompt(tokenizer: Any, question: str, opening: str = "") -> str:
    """A user's question in the model's chat template, and how the answer begins. HubError without a template."""
    turn = [{"role": "user", "content": question}]
    try:
        return tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False) + opening
    except ValueError as error:
        raise HubError(f"{tokenizer.name_or_path} has no chat template: ask it without one") from error


@torch.no_grad()
def one_batch(
    model: nn.Module, tokenizer: Any, prompts: Sequence[str], how: Sampling
) -> list[list[Continuation]]:
    """Continuations of prompts that go through the network together."""
    tokens, mask = padded_left(tokenizer, prompts, model.device)
    draw = Draw(torch.cat([uniforms(how, prompt) for prompt in prompts]).to(model.device), how)
    if how.samples == 1:
        written = continued(model, tokenizer, tokens, mask, draw)
    else:
        written = after_one_reading(model, tokenizer, tokens, mask, draw)
    log_probabilities = torch.stack(draw.log_probabilities, 1).cpu()
    found = [
        continuation(tokenizer, row, log_p, ends_of(model, tokenizer), how.stop)
        for row, log_p in zip(written[:, tokens.shape[1] :].tolist(), log_probabilities, strict=True)
    ]
    return [found[i : i + how.samples] for i in range(0, len(found), how.samples)]


def after_one_reading(
    model: nn.Module,
    tokenizer: Any,
    tokens: Int[Tensor, "prompt time"],
    mask: Int[Tensor, "prompt time"],
    draw: "Draw",
) -> Int[Tensor, "row longer"]:
    """Prompts and their samples: each prompt is read once, and its keys and values are copied for its samples."""
    position = (mask.cumsum(1) - 1).clamp(min=0)
    read = model(input_ids=tokens, attention_mask=mask, position_ids=position, use_cache=True)
    samples = draw.how.samples
    read.past_key_values.batch_repeat_interleave(samples)
    tokens, mask = (tensor.repeat_interleave(samples, 0) for tensor in (tokens, mask))
    first = draw.tokens(read.logits[:, -1].repeat_interleave(samples, 0))
    tokens = torch.cat([tokens, first[:, None]], 1)
    ended = torch.isin(first, torch.tensor(ends_of(model, tokenizer), device=first.device))
    if draw.left == 0 or ended.all():
        return tokens
    mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
    return continued(model, tokenizer, tokens, mask, draw, past_key_values=read.past_key_values)


def continued(
    model: nn.Module,
    tokenizer: Any,
    tokens: Int[Tensor, "row time"],
    mask: Int[Tensor, "row time"],
    draw: "Draw",
    **cache: Any,
) -> Int[Tensor, "row longer"]:
    """The rows with all tokens that are left to draw; what stands behind the end of a row means nothing."""
    from transformers import LogitsProcessorList

    stop, ends = draw.how.stop, ends_of(model, tokenizer)
    with without_own_settings(model):
        return model.generate(
            tokens,
            attention_mask=mask,
            max_new_tokens=draw.left,
            do_sample=False,  # what is drawn, `draw` leaves as the only possible token
            logits_processor=LogitsProcessorList([draw]),
            eos_token_id=ends,
            pad_token_id=pad_of(tokenizer),
            **({"stop_strings": list(stop), "tokenizer": tokenizer} if stop else {}),
            **cache,
        )


@contextmanager
def without_own_settings(model: nn.Module) -> Iterator[None]:
    """Put the model's own settings aside, from which `transformers` fills in whatever a call leaves open."""
    from transformers import GenerationConfig

    # an adapter around the network shows the network's settings as if it had its own
    owners = [module for module in model.modules() if "generation_config" in vars(module)]
    found = [module.generation_config for module in owners]
    for module in owners:
        module.generation_config = GenerationConfig()
    try:
        yield
    finally:
        for module, own in zip(owners, found, strict=True):
            module.generation_config = own


class Draw:
    """A logits processor that draws the next token of each row by the row's own random numbers, and keeps its score."""

    def __init__(self, uniform: Float[Tensor, "row step"], how: Sampling):
        self.uniform, self.how = uniform, how
        self.log_probabilities: list[Float[Tensor, " row"]] = []

    @property
    def left(self) -> int:
        """How many more tokens a row may get."""
        return self.how.max_new_tokens - len(self.log_probabilities)

    def __call__(
        self, written: Int[Tensor, "row time"], logits: Float[Tensor, "row vocabulary"]
    ) -> Float[Tensor, "row vocabulary"]:
        chosen = self.tokens(logits)[:, None]
        return torch.full_like(logits, -torch.inf).scatter(1, chosen, 0.0)

    def tokens(self, logits: Float[Tensor, "row vocabulary"]) -> Int[Tensor, " row"]:
        """The next token of each row."""
        uniform = self.uniform[:, len(self.log_probabilities)]
        chosen = drawn_token(logits.float(), self.how.temperature, uniform, self.how.top_p)
        scores = logits.float().log_softmax(-1).gather(1, chosen[:, None])[:, 0]
        self.log_probabilities.append(scores)
        return chosen


def drawn_token(
    logits: Float[Tensor, "row vocabulary"],
    temperature: float,
    uniform: Float[Tensor, " row"],
    top_p: float = 1.0,
) -> Int[Tensor, " row"]:
    """The token at which the cumulative probability passes `uniform`; the likeliest one at temperature 0."""
    if temperature == 0:
        return logits.argmax(-1)
    logits = logits / temperature
    if top_p < 1:
        from transformers import TopPLogitsWarper

        logits = TopPLogitsWarper(top_p)(None, logits)
    cumulative = logits.softmax(-1).cumsum(-1)
    # at a uniform of exactly 0 the first token would be drawn even where it is impossible
    passed = (uniform[:, None] * cumulative[:, -1:]).clamp(min=torch.finfo(cumulative.dtype).tiny)
    place = torch.searchsorted(cumulative, passed)
    return place.squeeze(1).clamp(max=logits.shape[1] - 1)


def uniforms(how: Sampling, prompt: str) -> Float[Tensor, "sample step"]:
    """Numbers in [0, 1) that belong to a prompt and a seed."""
    digest = hashlib.sha256(f"{how.seed}\n{prompt}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.rand(how.samples, how.max_new_tokens, generator=generator)


def padded_left(
    tokenizer: Any, prompts: Sequence[str], device: str | torch.device
) -> tuple[Int[Tensor, "prompt time"], Int[Tensor, "prompt time"]]:
    """Tokens of prompts that end together, and which of them are no padding. ValueError for a prompt of no tokens."""
    rows = [prompt_tokens(tokenizer, prompt) for prompt in prompts]
    if not all(rows):
        raise ValueError("a prompt is empty, and the tokenizer adds no start token to write from")
    longest = max(map(len, rows))
    tokens = [[pad_of(tokenizer)] * (longest - len(row)) + row for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(tokens, device=device), torch.tensor(mask, device=device)


def pad_of(tokenizer: Any) -> int:
    """The token that fills up shorter rows; that of the end where the tokenizer has none for it."""
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def ends_of(model: nn.Module, tokenizer: Any) -> list[int]:
    """Tokens that end a text: the tokenizer's, and those that the model names besides, such as the end of a turn."""
    named = model.generation_config.eos_token_id
    others = [] if named is None else named if isinstance(named, list) else [named]
    return sorted({tokenizer.eos_token_id, *others})


def continuation(
    tokenizer: Any,
    row: list[int],
    log_probabilities: Float[Tensor, " step"],
    ends: Sequence[int],
    stop: Sequence[str],
) -> Continuation:
    """A row of tokens up to its end or the first stop."""
    used = next((place + 1 for place, token in enumerate(row) if token in ends), len(row))

    def stopped(count: int) -> bool:
        return any(string in tokenizer.decode(row[:count]) for string in stop)

    used = bisect_left(range(used), True, lo=1, key=stopped) if stopped(used) else used
    text = tokenizer.decode(row[:used], skip_special_tokens=True)
    for string in stop:
        text = text.partition(string)[0]
    return Continuation(text, used, log_probabilities[:used].sum().item())
