"""Tiny language and vision-language models that lie in a folder as the large ones do.

Full-scale code runs on them on a CPU in a second:

folder = write(path, tiny_llama(tokenizer := byte_tokenizer()), tokenizer)
model, tokenizer = language.load(str(folder))

folder = write(path, tiny_llava(processor := llava_processor(byte_tokenizer())), processor)
model, processor = vision_language.load(str(folder))
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

START, END, PAD, UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<|pad|>", "<|unknown|>"
IMAGE = "<image>"
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
    from transformers import LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(llama_config(tokenizer, sizes)).eval()


def llama_config(tokenizer: Any, sizes: Mapping[str, Any]) -> Any:
    """The configuration of `tiny_llama`."""
    from transformers import LlamaConfig

    default = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
    }
    return LlamaConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **(default | dict(sizes)),
    )


def llava_processor(tokenizer: Any, size: int = 24, patch: int = 8) -> Any:
    """The processor of images of `size` pixels and of texts with `<image>`, one token of images a patch.

    The tokenizer, which becomes the processor's, gets `<image>` as one more special token unless it has it. Images are
    resized by Pillow: torchvision is not needed. ValueError for a size that is no multiple of the patch.
    """
    from transformers import LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    if size % patch:
        raise ValueError(f"{size} pixels are no multiple of a patch of {patch}")
    if IMAGE not in tokenizer.get_vocab():
        tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    images = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # the class token, which the strategy leaves out
        chat_template=CHAT_TEMPLATE,
    )


def tiny_llava(
    processor: Any, seed: int = 0, vision: Mapping[str, Any] | None = None, **sizes: Any
) -> nn.Module:
    """A vision-language model of LLaVA's form for the images and tokens of `processor`, drawn from `seed`.

    A CLIP vision tower of two layers of width 16, a projector of two layers, and the Llama of `tiny_llama`. `vision`
    holds fields of `CLIPVisionConfig`, `sizes` those of `LlamaConfig`. Features are those of the tower's last layer
    but one, as in LLaVA.
    """
    from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration

    size, patch = processor.image_processor.crop_size["height"], processor.patch_size
    default = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": 16,
    }
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=size, patch_size=patch, **(default | dict(vision or {}))),
        text_config=llama_config(processor.tokenizer, sizes),
        image_token_index=processor.image_token_id,
        image_seq_length=(size // patch) ** 2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlavaForConditionalGeneration(config).eval()


def write(folder: str | Path, model: nn.Module, tokenizer: Any) -> Path:
    """Save both to `folder` in the files of a published model, and return it; a processor has a tokenizer."""
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return Path(folder)
