"""Conversations whose last message is to be said, laid out as LLaDA expects them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from beyondloss.data.completions import Answered, stacked
from beyondloss.data.hub import HubError, load_dataset, pinned, revision_of


@dataclass(frozen=True, eq=False)
class Conversations:
    """Prompts with answers, some rows held out; the other fields are those of `TokenStream`."""

    train: Answered
    held_out: Answered
    vocabulary: int
    decode: Callable[[Tensor], str] = field(repr=False)
    origin: str
    licence: str
    sha256: str | None = None


def conversations(
    data: str,
    tokenizer: Any,
    context: int,
    licence: str,
    held_out_share: float = 0.02,
) -> Conversations:
    """A data set of `messages` (role, content) whose last message is the assistant's, as prompts with answers.

    Laid out as LLaDA expects it; the answer ends with the end token, and so does what fills the row up to `context`,
    which belongs to the answer. Rows whose prompt leaves no room are dropped, longer answers cut. Rows evenly spread
    over the set are held out. Raises HubError.
    """
    if tokenizer.bos_token is None or tokenizer.eos_token is None:
        raise HubError(f"the tokenizer for {data} has no token for the start or for the end of a text")
    name, revision = pinned(data, "dataset")
    rows = load_dataset(name, None, revision)["train"]
    if "messages" not in rows.column_names:
        raise HubError(f"dataset {data} has no column 'messages', only {', '.join(rows.column_names)}")
    tried = [lay_out(messages, tokenizer, context) for messages in rows["messages"]]
    laid_out = [row for row in tried if row is not None]
    if len(laid_out) < 2:
        raise HubError(f"dataset {data} has fewer than 2 prompts that fit in {context} tokens")
    every = max(2, round(1 / held_out_share))
    return Conversations(
        train=stacked(row for i, row in enumerate(laid_out) if i % every),
        held_out=stacked(laid_out[::every]),
        vocabulary=len(tokenizer),
        decode=lambda tokens: tokenizer.decode(tokens.tolist()),
        origin=f"{name}@{revision_of(rows, revision)}",
        licence=licence,
    )


def lay_out(messages: list[dict], tokenizer: Any, context: int) -> tuple[list[int], int] | None:
    """Tokens of one conversation, filled up to `context`, and the length of its prompt; None if nothing fits."""
    turns = [
        f"<|start_header_id|>{m['role']}<|end_header_id|>\n\n{m['content'].strip()}<|eot_id|>"
        for m in messages[:-1]
    ]
    prompt_text = tokenizer.bos_token + "".join(turns) + "<|start_header_id|>assistant<|end_header_id|>\n\n"
    prompt = tokenizer(prompt_text, add_special_tokens=False).input_ids
    if messages[-1]["role"] != "assistant" or len(prompt) >= context:
        return None
    answer = tokenizer(messages[-1]["content"].strip(), add_special_tokens=False).input_ids
    row = (prompt + answer)[:context]
    return row + [tokenizer.eos_token_id] * (context - len(row)), len(prompt)
