"""What models write: like `transformers` where it does the same, and what it does not do."""

import pytest
import torch

from beyondloss.data import HubError
from beyondloss.models import generation
from beyondloss.models.generation import Sampling, chat_prompt, drawn_token, generate
from beyondloss.models.language import load

PROMPTS = ("The capital of France is", "a", "x y z")


@pytest.fixture(scope="module")
def loaded(tiny_llama):
    return load(str(tiny_llama))


def texts(found):
    return [[one.text for one in samples] for samples in found]


def test_greedy_answers_are_those_of_transformers_one_by_one(loaded):
    model, tokenizer = loaded
    found = generate(*loaded, PROMPTS, Sampling(8), batch=2)
    for prompt, (one,) in zip(PROMPTS, found, strict=True):
        inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        wanted = model.generate(**inputs, do_sample=False, max_new_tokens=8, pad_token_id=257)
        new = wanted[0, inputs.input_ids.shape[1] :]
        assert one.text == tokenizer.decode(new, skip_special_tokens=True) and one.tokens == len(new)
        scores = model(wanted).logits[0, :-1].log_softmax(-1)
        of_new = scores.gather(1, wanted[0, 1:, None])[-len(new) :].sum().item()
        assert one.log_probability == pytest.approx(of_new, rel=1e-4)


def test_samples_do_not_depend_on_the_batch_and_follow_their_seed(loaded):
    how = Sampling(6, temperature=1.0, samples=4, seed=3)
    together = texts(generate(*loaded, PROMPTS, how))
    assert together == [texts(generate(*loaded, [prompt], how))[0] for prompt in PROMPTS]
    assert together == texts(generate(*loaded, PROMPTS, how, batch=1))
    assert len(set(together[0])) == 4
    assert together != texts(generate(*loaded, PROMPTS, Sampling(6, 1.0, samples=4, seed=4)))


def test_a_prompt_is_read_once_for_all_its_samples(loaded):
    model, read = loaded.model, []
    hook = model.model.register_forward_hook(lambda *call: read.append(call[2].last_hidden_state.shape[:2]))
    generate(*loaded, PROMPTS[:1], Sampling(3, 1.0, samples=5))
    hook.remove()
    assert [tuple(shape) for shape in read] == [(1, len(PROMPTS[0])), (5, 1), (5, 1)]


@pytest.mark.parametrize("samples", [1, 3])
def test_samples_have_the_scores_that_the_model_gives_them(loaded, samples):
    """Byte by byte: the first token of each sample, and its log-probability before any temperature."""
    model, tokenizer = loaded
    logits = model(torch.tensor([tokenizer(PROMPTS[0]).input_ids])).logits[0, -1]
    (found,) = generate(*loaded, PROMPTS[:1], Sampling(1, temperature=0.7, samples=samples))
    uniform = generation.uniforms(Sampling(1, 0.7, samples=samples), PROMPTS[0])[:, 0]
    tokens = drawn_token(logits.expand(samples, -1), 0.7, uniform)
    assert [one.text for one in found] == [tokenizer.decode([t], skip_special_tokens=True) for t in tokens]
    expected = logits.log_softmax(-1)[tokens].tolist()
    assert [one.log_probability for one in found] == pytest.approx(expected, rel=1e-4)


def test_drawn_tokens_have_the_law_of_the_logits():
    logits = torch.tensor([[0.0, 1.0, -1.0]]).repeat(40_000, 1)
    uniform = torch.rand(40_000, generator=torch.Generator().manual_seed(0))
    found = torch.bincount(drawn_token(logits, 2.0, uniform)) / 40_000
    assert torch.allclose(found, (logits[0] / 2).softmax(-1), atol=0.01)
    assert drawn_token(logits[:1], 0.0, uniform[:1]).item() == 1
    likely = torch.bincount(drawn_token(logits, 1.0, uniform, top_p=0.9), minlength=3) / 40_000
    impossible = torch.tensor([[-torch.inf, 0.0, 0.0]])
    assert drawn_token(impossible, 1.0, torch.zeros(1)).item() == 1
    assert likely[2] == 0 and torch.allclose(likely[:2], logits[0, :2].softmax(-1), atol=0.01)


class Written:
    """Stands for a tokenizer whose token i is the i-th of some strings."""

    eos_token_id = 0
    strings = ("<end>", "one ", "two\n", "thr", "ee", " four")

    def decode(self, row, skip_special_tokens=False):
        return "".join(self.strings[token] for token in row if token or not skip_special_tokens)


@pytest.mark.parametrize(
    ("row", "stop", "text", "tokens"),
    [
        ([1, 3, 4, 5], (), "one three four", 4),
        ([1, 3, 0, 5], (), "one thr", 3),
        ([1, 2, 3, 4], ("\n",), "one two", 2),
        ([1, 3, 4, 5, 0], ("three",), "one ", 3),  # a stop that two tokens make together
        ([5, 1, 0], ("four", "one"), " ", 1),
    ],
)
def test_a_continuation_ends_at_its_end_or_its_first_stop(row, stop, text, tokens):
    found = generation.continuation(Written(), row, torch.arange(1.0, 6.0), [0], stop)
    assert (found.text, found.tokens) == (text, tokens)
    assert found.log_probability == sum(range(1, tokens + 1))


def test_decoding_halts_where_every_row_has_stopped(loaded):
    """No step is spent on rows that have ended: a stop that every text holds ends after one token."""
    model, steps = loaded.model, []
    hook = model.model.register_forward_hook(lambda *call: steps.append(1))
    (whole,) = generate(*loaded, PROMPTS[:1], Sampling(20))
    count, first = len(steps), whole[0].text[0]
    (short,) = generate(*loaded, PROMPTS[:1], Sampling(20, stop=(first,)))
    hook.remove()
    assert count == 20 and len(steps) == 21
    assert short[0].text == "" and short[0].tokens == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 5.0},
        {"no_repeat_ngram_size": 1},
        {"suppress_tokens": list(range(200))},
        {"num_beams": 3},
        {"max_time": 1e-9},
    ],
)
@pytest.mark.parametrize("how", [Sampling(8), Sampling(8, 1.0, samples=2)])
def test_the_models_own_settings_do_not_change_what_is_drawn(loaded, monkeypatch, settings, how):
    model, before = loaded.model, texts(generate(*loaded, PROMPTS, how))
    for name, value in settings.items():
        monkeypatch.setattr(model.generation_config, name, value)
    own = model.generation_config
    assert texts(generate(*loaded, PROMPTS, how)) == before
    assert model.generation_config is own


def test_the_models_own_ends_end_a_text(loaded, monkeypatch):
    (whole,) = generate(*loaded, PROMPTS[:1], Sampling(8))
    first = loaded.tokenizer(whole[0].text).input_ids[0]
    monkeypatch.setattr(loaded.model.generation_config, "eos_token_id", [first])
    assert generate(*loaded, PROMPTS[:1], Sampling(8))[0][0].tokens == 1


def test_what_is_no_list_of_prompts_is_refused(loaded):
    with pytest.raises(ValueError, match="prompts must be a list of texts, not the str 'abc'"):
        generate(*loaded, "abc", Sampling(2))
    with pytest.raises(ValueError, match="a prompt is empty"):
        generate(*loaded, ["abc", ""], Sampling(2))


def test_chat_needs_a_template(loaded, byte_tokenizer):
    assert chat_prompt(loaded.tokenizer, "Hello", " It is") == "<user>Hello<assistant> It is"
    tokenizer = loaded.tokenizer
    template, tokenizer.chat_template = tokenizer.chat_template, None
    try:
        with pytest.raises(HubError, match="has no chat template"):
            chat_prompt(tokenizer, "Hello")
    finally:
        tokenizer.chat_template = template


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_new_tokens": 0}, "at least 1"),
        ({"samples": 0}, "at least 1"),
        ({"temperature": -1.0}, "temperature must not be negative"),
        ({"temperature": float("nan")}, "temperature must not be negative or infinite"),
        ({"top_p": 0.0}, "top_p lie in"),
        ({"stop": "ab"}, "stop"),
    ],
)
def test_impossible_sampling(wrong, said):
    with pytest.raises((ValueError, TypeError), match=said):  # a type checker knows that stop is no text
        Sampling(**({"max_new_tokens": 4} | wrong))
