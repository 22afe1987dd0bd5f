"""Tiny language models that lie in a folder as the large ones do, so that full-scale code runs on a CPU in a second.

folder = write(path, tiny_llama(tokenizer := byte_tokenizer()), tokenizer)
model, tokenizer = load(str(folder))
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

START, END, PAD, UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<|pad|>", "<|unknown|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def byte_tokenizer(special: Iterable[str] = (START, END)) -> Any:
    """A token a byte of UTF-8, then the special tokens, of which the first starts and the second ends a text.

    The end also pads, as in many models that were published without a token for it.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return fast(tokenizer, tuple(special), pad=1)


def word_tokenizer(words: Iterable[str]) -> Any:
    """A token a word, split at white space: start, end, padding and unknown first, then the words as they come."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    special = (START, END, PAD, UNKNOWN)
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*special, *words]))}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return fast(tokenizer, special, pad=2, unk_token=UNKNOWN)


def fast(tokenizer: Any, special: tuple[str, ...], pad: int, **names: str) -> Any:
    """The tokenizer as `transformers` knows it, with a chat template."""
    from transformers import PreTrainedTokenizerFast

    tokenizer.add_special_tokens(list(special))
    names |= {"bos_token": special[0], "eos_token": special[1], "pad_token": special[pad]}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=CHAT_TEMPLATE, **names)


def tiny_llama(tokenizer: Any, seed: int = 0, **sizes: Any) -> nn.Module:
    """A Llama for the tokens of `tokenizer`, drawn from `seed`; `sizes` are fields of `LlamaConfig`.

    By default two layers of width 32. Its modules have the names of Llama's and Qwen's, so what is written for them,
    such as the targets of LoRA, holds for it.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    default = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
    }
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **(default | sizes),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def write(folder: str | Path, model: nn.Module, tokenizer: Any) -> Path:
    """Save both to `folder` in the files of a published model, and return it."""
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return Path(folder)
