"""Text as tokens: documentation that every Python carries, WikiText, and prompts with answers."""

import hashlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from beyondloss.data.hub import HubError, load_dataset, load_tokenizer

WIKITEXT = ("Salesforce/wikitext", "b08601e04326c79dfdd32d625aee71d232d685c3")
GPT2 = ("openai-community/gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e")


@dataclass(frozen=True, eq=False)
class TokenStream:
    """A text as one row of tokens, its last part held out.

    origin: where it comes from, to the version. sha256: of the text where it lies on this machine; a data set of the
    hub is pinned by its revision instead, which stands in the origin.
    """

    train: Int[Tensor, " train_time"]
    held_out: Int[Tensor, " held_out_time"]
    vocabulary: int
    decode: Callable[[Tensor], str] = field(repr=False)
    origin: str
    licence: str
    sha256: str | None = None


@dataclass(frozen=True, eq=False)
class Answered:
    """Prompts with answers, one a row, filled up with the end token. `answer` marks what a model has to say."""

    tokens: Int[Tensor, "row time"]
    answer: Bool[Tensor, "row time"]

    def to(self, device: str | torch.device) -> "Answered":
        return Answered(self.tokens.to(device), self.answer.to(device))


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


def python_documentation(train_share: float = 0.9) -> TokenStream:
    """The language reference inside CPython (`pydoc_data.topics`), a token a character.

    ASCII characters only, topics in alphabetical order. The vocabulary is that of the training part; the few held-out
    characters that it lacks are left out. The text differs between Python versions, so origin and sha256 tell which.
    """
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics)).encode("ascii", "ignore")
    cut = int(train_share * len(text))
    alphabet = bytes(sorted(set(text[:cut])))
    held_out = bytes(c for c in text[cut:] if c in alphabet)
    token_of = torch.zeros(128, dtype=torch.long)
    token_of[list(alphabet)] = torch.arange(len(alphabet))
    return TokenStream(
        train=token_of[list(text[:cut])],
        held_out=token_of[list(held_out)],
        vocabulary=len(alphabet),
        decode=lambda tokens: bytes(alphabet[t] for t in tokens.tolist()).decode(),
        origin="pydoc_data.topics of CPython " + ".".join(map(str, sys.version_info[:3])),
        licence="PSF License Version 2 (code in it also Zero-Clause BSD)",
        sha256=hashlib.sha256(text).hexdigest(),
    )


def wikitext(
    data: str = WIKITEXT[0],
    data_revision: str | None = WIKITEXT[1],
    tokenizer: str = GPT2[0],
    tokenizer_revision: str | None = GPT2[1],
) -> TokenStream:
    """WikiText-103 (raw) in GPT-2's tokens; `held_out` is its test split.

    `data` and `tokenizer` are names on the hub or local folders with the same files. Rows are tokenized one by one
    and joined unchanged. Raises HubError.
    """
    encoder = load_tokenizer(tokenizer, tokenizer_revision)
    splits = load_dataset(data, "wikitext-103-raw-v1", data_revision)
    return TokenStream(
        train=joined(splits["train"], encoder),
        held_out=joined(splits["test"], encoder),
        vocabulary=len(encoder),
        decode=lambda tokens: encoder.decode(tokens.tolist()),
        origin=f"{data}@{revision_of(splits['train'], data_revision)}, wikitext-103-raw-v1, in tokens of "
        f"{tokenizer}@{tokenizer_revision}",
        licence="CC BY-SA 3.0 and GFDL",
    )


def joined(rows, encoder) -> Int[Tensor, " time"]:
    """All rows' tokens in one row, 32-bit integers (WikiText has 1e8 of them)."""

    def encode(batch: Mapping) -> dict:
        return {"input_ids": encoder(batch["text"], verbose=False).input_ids}

    encoded = rows.map(encode, batched=True, remove_columns=rows.column_names)
    column = encoded.data.column("input_ids").combine_chunks().flatten()
    return torch.tensor(column.to_numpy(zero_copy_only=False), dtype=torch.int32)


def conversations(
    data: str,
    data_revision: str | None,
    encoder,
    context: int,
    licence: str,
    held_out_share: float = 0.02,
) -> Conversations:
    """A data set of `messages` (role, content) whose last message is the assistant's, as prompts with answers.

    Laid out as LLaDA expects it; the answer ends with the end token, and so does what fills the row up to `context`,
    which belongs to the answer. Rows whose prompt leaves no room are dropped, longer answers cut. Rows evenly spread
    over the set are held out. Raises HubError.
    """
    if encoder.bos_token is None or encoder.eos_token is None:
        raise HubError(f"the tokenizer for {data} has no token for the start or for the end of a text")
    rows = load_dataset(data, None, data_revision)["train"]
    if "messages" not in rows.column_names:
        raise HubError(f"dataset {data} has no column 'messages', only {', '.join(rows.column_names)}")
    laid_out = [
        row for messages in rows["messages"] if (row := lay_out(messages, encoder, context)) is not None
    ]
    if len(laid_out) < 2:
        raise HubError(f"dataset {data} has fewer than 2 prompts that fit in {context} tokens")
    every = max(2, round(1 / held_out_share))
    return Conversations(
        train=stacked(row for i, row in enumerate(laid_out) if i % every),
        held_out=stacked(laid_out[::every]),
        vocabulary=len(encoder),
        decode=lambda tokens: encoder.decode(tokens.tolist()),
        origin=f"{data}@{revision_of(rows, data_revision)}",
        licence=licence,
    )


def lay_out(messages: list[dict], encoder, context: int) -> tuple[list[int], int] | None:
    """Tokens of one conversation, filled up to `context`, and the length of its prompt; None if nothing fits."""
    turns = [
        f"<|start_header_id|>{m['role']}<|end_header_id|>\n\n{m['content'].strip()}<|eot_id|>"
        for m in messages[:-1]
    ]
    prompt_text = encoder.bos_token + "".join(turns) + "<|start_header_id|>assistant<|end_header_id|>\n\n"
    prompt = encoder(prompt_text, add_special_tokens=False).input_ids
    if messages[-1]["role"] != "assistant" or len(prompt) >= context:
        return None
    answer = encoder(messages[-1]["content"].strip(), add_special_tokens=False).input_ids
    row = (prompt + answer)[:context]
    return row + [encoder.eos_token_id] * (context - len(row)), len(prompt)


def stacked(rows: Iterable[tuple[list[int], int]]) -> Answered:
    tokens, lengths = zip(*rows, strict=True)
    position = torch.arange(len(tokens[0]))
    return Answered(torch.tensor(tokens), position >= torch.tensor(lengths)[:, None])


def revision_of(rows, asked: str | None) -> str | None:
    """The commit that the rows came from, where the library recorded it; otherwise the revision asked for."""
    sources = " ".join(rows.info.download_checksums or {})
    commit = re.search(r"@([0-9a-f]{40})/", sources)
    return commit[1] if commit else asked
