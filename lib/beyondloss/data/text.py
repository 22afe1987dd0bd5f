"""Text as one row of tokens: documentation that every Python carries, and WikiText."""

import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from beyondloss.data.hub import load_dataset, load_tokenizer, pinned, revision_of

WIKITEXT = "Salesforce/wikitext@b08601e04326c79dfdd32d625aee71d232d685c3"
GPT2 = "openai-community/gpt2@607a30d783dfa663caf39e06633721c8d4cfcd7e"


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


def wikitext(data: str = WIKITEXT, tokens_of: str = GPT2) -> TokenStream:
    """WikiText-103 (raw) in GPT-2's tokens; `held_out` is its test split.

    `data` and `tokens_of` (of a model) are specs: pinned names on the hub, or local folders with the same files. Rows
    are tokenized one by one and joined unchanged. Raises HubError.
    """
    (name, revision), tokenizer = pinned(data, "dataset"), load_tokenizer(*pinned(tokens_of))
    splits = load_dataset(name, "wikitext-103-raw-v1", revision)
    return TokenStream(
        train=joined(splits["train"], tokenizer),
        held_out=joined(splits["test"], tokenizer),
        vocabulary=len(tokenizer),
        decode=lambda tokens: tokenizer.decode(tokens.tolist()),
        origin=f"{name}@{revision_of(splits['train'], revision)}, wikitext-103-raw-v1, in tokens of {tokens_of}",
        licence="CC BY-SA 3.0 and GFDL",
    )


def joined(rows: Any, tokenizer: Any) -> Int[Tensor, " time"]:
    """All rows' tokens in one row, 32-bit integers (WikiText has 1e8 of them)."""

    def encode(batch: Mapping) -> dict:
        return {"input_ids": tokenizer(batch["text"], verbose=False).input_ids}

    encoded = rows.map(encode, batched=True, remove_columns=rows.column_names)
    column = encoded.data.column("input_ids").combine_chunks().flatten()
    return torch.tensor(column.to_numpy(zero_copy_only=False), dtype=torch.int32)
