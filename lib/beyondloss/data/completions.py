"""Prompts with completions as rows of tokens, of which only the completion is learned."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from beyondloss.choices import refuse_text

PADDING = -1  # stands for no token until the completion is marked


@dataclass(frozen=True, eq=False)
class Answered:
    """Prompts with answers, one a row, filled up behind. `answer` marks what a model has to say.

    `inputs` are what a network gets beside the tokens, one entry a row (features of pictures), or in their place:
    `inputs_embeds`, along the same time.
    """

    tokens: Int[Tensor, "row time"]
    answer: Bool[Tensor, "row time"]
    inputs: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens)

    def to(self, device: str | torch.device) -> "Answered":
        return replace(
            self,
            tokens=self.tokens.to(device),
            answer=self.answer.to(device),
            inputs={name: tensor.to(device) for name, tensor in self.inputs.items()},
        )

    def rows(self, index: Int[Tensor, " row"]) -> "Answered":
        """Some rows, cut after the last token of the longest answer: nothing behind it is ever read."""
        answer = self.answer[index]
        end = int(answer.any(0).nonzero().max()) + 1
        inputs = {name: tensor[index] for name, tensor in self.inputs.items()}
        if "inputs_embeds" in inputs:
            inputs["inputs_embeds"] = inputs["inputs_embeds"][:, :end]
        return replace(self, tokens=self.tokens[index, :end], answer=answer[:, :end], inputs=inputs)


def completions(rows: Iterable[tuple[str, str]], tokenizer: Any, context: int) -> Answered:
    """Pairs (prompt, completion) in `context` tokens, the end token after each completion.

    The two are tokenized apart. Prompts are cut to leave room for one token, completions at `context`. A prompt that
    begins with the start token, as chat templates write it, gets no second one. ValueError for no rows, for texts in
    place of pairs, for a context of fewer than two tokens, and for a prompt without any token: nothing would stand
    before the completion's first token to predict it.
    """
    if context < 2:
        raise ValueError(
            f"a context holds at least a token of the prompt and one of the completion, not {context}"
        )
    refuse_text(rows, "rows", "a list of pairs (prompt, completion)")
    laid_out = []
    for number, pair in enumerate(rows):
        refuse_text(pair, f"row {number}", "a pair (prompt, completion)")
        prompt, completion = pair
        start = prompt_tokens(tokenizer, prompt)[: context - 1]
        if not start:
            raise ValueError(
                f"the prompt of row {number} is empty, and the tokenizer adds no start token to predict from"
            )
        end = tokenizer(completion, add_special_tokens=False).input_ids + [tokenizer.eos_token_id]
        tokens = (start + end)[:context]
        laid_out.append((tokens + [PADDING] * (context - len(tokens)), len(start)))
    if not laid_out:
        raise ValueError("there are no rows: give at least one pair (prompt, completion)")
    filled = stacked(laid_out)
    return Answered(
        filled.tokens.where(filled.tokens != PADDING, tokenizer.eos_token_id),
        filled.answer & (filled.tokens != PADDING),
    )


def prompt_tokens(tokenizer: Any, prompt: str) -> list[int]:
    """Tokens of a prompt with the special ones that the tokenizer adds, but never a second start token."""
    started = tokenizer.bos_token is not None and prompt.startswith(tokenizer.bos_token)
    return tokenizer(prompt, add_special_tokens=not started).input_ids


def stacked(rows: Iterable[tuple[list[int], int]]) -> Answered:
    """Rows of tokens of one length, each with the length of its prompt; all behind the prompt is marked."""
    tokens, lengths = zip(*rows, strict=True)
    position = torch.arange(len(tokens[0]))
    return Answered(torch.tensor(tokens), position >= torch.tensor(lengths)[:, None])
