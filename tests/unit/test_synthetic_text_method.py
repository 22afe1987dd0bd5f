"""Chapter 7: the method on tiny models, in closed form against autograd, and what a stranger may do to it."""

import json

import pytest
import torch

from beyondloss.experiment import BadInput
from beyondloss.methods import synthetic_text
from beyondloss.methods.synthetic_text import (
    gradients,
    gradmm,
    matching,
    privacy,
    projection,
    prompts,
    selection,
    writing,
)
from beyondloss.methods.synthetic_text.matching import Matching
from beyondloss.methods.synthetic_text.privacy import Privacy
from beyondloss.methods.synthetic_text.prompts import Task
from beyondloss.models.stand_ins import tiny_llama, word_tokenizer

WORDS = "dull bright slow quick plot cast score ending was the and it good poor write fine".split()
TASK = Task(
    {"poor": "poor", "good": "good"}, "it was", {"poor": "write poor", "good": "write good"}, chat=False
)
REAL = {
    "poor": ["the plot was dull", "the cast was slow and the score was dull", "slow ending"],
    "good": ["the plot was bright", "quick score and bright cast", "the ending was quick"],
}
SHORT = Matching(outer=2, inner=2, at_once=2, nearest=4, lr=0.05, rho=0.1)


@pytest.fixture(scope="module")
def tokenizer():
    return word_tokenizer(WORDS)


@pytest.fixture(scope="module", params=[False, True], ids=["own head", "tied head"])
def model(request, tokenizer):
    return tiny_llama(tokenizer, tie_word_embeddings=request.param, initializer_range=0.3)


@pytest.fixture(scope="module")
def plain(tokenizer):
    return tiny_llama(tokenizer, initializer_range=0.3)


def by_autograd(model, tokenizer, texts, label, words):
    """Gradient of the mean loss in a separate copy of the head, one text at a time and without padding."""
    layer, tokens = model.get_output_embeddings(), prompts.word_tokens(tokenizer, TASK)
    rows = slice(None) if words == "all" else tokens
    head = layer.weight.detach()[rows].clone().requires_grad_()
    wanted = tokens[label] if words == "all" else label
    losses = []
    for text in texts:
        ids = tokenizer(f"{text} {TASK.prompt}", return_tensors="pt", add_special_tokens=False).input_ids
        hidden = model.model(input_ids=ids).last_hidden_state[0, -1].detach()
        losses.append(-(head @ hidden).log_softmax(0)[wanted])
    return torch.autograd.grad(torch.stack(losses).mean(), head)[0]


@pytest.mark.parametrize("words", ["labels", "all"])
@pytest.mark.parametrize("label", [0, 1])
def test_head_gradient_is_that_of_autograd(model, tokenizer, words, label):
    reader, head = gradients.Reader(model, tokenizer, TASK), gradients.head_of(model, tokenizer, TASK, words)
    texts = REAL[TASK.labels[label]]  # of different lengths, so padding has to be right, too
    found = gradients.head_gradient(reader.read(prompts.encoded(tokenizer, texts), batch=2), head, label)
    assert torch.allclose(found, by_autograd(model, tokenizer, texts, label, words), atol=1e-6)


@pytest.mark.parametrize("kind", ["cosine", "squared"])
def test_distance_by_factors_is_that_of_written_gradients(plain, tokenizer, kind):
    reader, head = gradients.Reader(plain, tokenizer, TASK), gradients.head_of(plain, tokenizer, TASK, "all")
    real, own = (prompts.encoded(tokenizer, texts) for texts in (REAL["poor"], REAL["good"][:2]))
    target = gradients.targets_of(reader, head, [real])[0]
    hidden = reader.read(own)
    g, t = gradients.head_gradient(hidden, head, 0).flatten(), target.weights.flatten()
    written = {
        "cosine": 1 - g @ t / (g.norm() * t.norm()),
        "squared": (g - t).square().sum() / t.square().sum(),
    }
    assert float(target.distance(hidden, head, kind)) == pytest.approx(
        float(written[kind]), rel=1e-4, abs=1e-6
    )
    same = float(target.distance(reader.read(real), head, kind))
    assert same == pytest.approx(0, abs=1e-5)


def test_clipped_gradients_are_as_short_as_said(plain, tokenizer):
    reader, head = gradients.Reader(plain, tokenizer, TASK), gradients.head_of(plain, tokenizer, TASK)
    hidden = reader.read(prompts.encoded(tokenizer, REAL["poor"]))
    one = [gradients.head_gradient(hidden[[i]], head, 0) for i in range(3)]
    clip = sorted(g.norm() for g in one)[1].item()
    wanted = sum(g * min(1.0, clip / g.norm().item()) for g in one) / 3
    assert torch.allclose(gradients.head_gradient(hidden, head, 0, clip), wanted, atol=1e-6)


# projection -------------------------------------------------------------------------------------------------


def test_the_nearest_token_is_itself(plain, tokenizer):
    allowed = projection.plain_words(tokenizer)
    assert {tokenizer.decode([i]) for i in allowed} == set(WORDS)
    texts = prompts.encoded(tokenizer, REAL["poor"])
    table = plain.get_input_embeddings().weight.detach()
    found = projection.NearestToken(table, allowed)(table[texts.tokens], texts, 0)
    assert torch.equal(found[texts.mask], texts.tokens[texts.mask])


def readable_by_hand(model, tokenizer, points, texts, k, request):
    """Without a cache: the model reads the request and what was chosen anew at every place."""
    table = torch.nn.functional.normalize(model.get_input_embeddings().weight.detach(), dim=1)
    allowed = projection.plain_words(tokenizer)
    prefix = tokenizer(request, add_special_tokens=False).input_ids
    rows = []
    for row in range(len(texts)):
        chosen = []
        for place in range(texts.tokens.shape[1] - int(texts.lengths[row]), texts.tokens.shape[1]):
            near = points[row, place] @ table[allowed].T
            candidates = allowed[near.topk(k).indices]
            logits = model(input_ids=torch.tensor([prefix + chosen])).logits[0, -1]
            chosen.append(int(candidates[logits[candidates].argmax()]))
        rows.append(chosen)
    return rows


@pytest.mark.parametrize("k", [1, 4])
def test_the_readable_token_is_the_likeliest_of_the_nearest(plain, tokenizer, k):
    texts = prompts.encoded(tokenizer, REAL["poor"])
    points = torch.randn(*texts.tokens.shape, 32, generator=torch.Generator().manual_seed(1))
    chosen = projection.ReadableToken(
        plain, tokenizer, list(TASK.requests.values()), projection.plain_words(tokenizer), k
    )
    found = chosen(points, texts, 1)
    with torch.no_grad():
        wanted = readable_by_hand(plain, tokenizer, points, texts, k, "write good")
    assert [row[m].tolist() for row, m in zip(found, texts.mask, strict=True)] == wanted
    with torch.no_grad():
        assert k == 1 or wanted != readable_by_hand(plain, tokenizer, points, texts, k, "write poor was it")


# matching ---------------------------------------------------------------------------------------------------


def matched(model, tokenizer, **options):
    how = Matching(**(vars(SHORT) | options))
    reader, head = gradients.Reader(model, tokenizer, TASK), gradients.head_of(model, tokenizer, TASK)
    target = gradients.targets_of(reader, head, [prompts.encoded(tokenizer, REAL["poor"])])[0]
    start = prompts.encoded(tokenizer, ["the and it was", "the score"])
    project = gradmm.projection(reader, tokenizer, TASK, how)
    return matching.match(reader, head, target, start, project, how), reader, head, target, start


@pytest.mark.parametrize("words", ["readable", "nearest", "none"])
@pytest.mark.parametrize("distance", ["cosine", "squared"])
def test_matching_brings_texts_nearer(plain, tokenizer, words, distance):
    found, reader, head, target, start = matched(
        plain, tokenizer, words=words, distance=distance, outer=6, inner=5, keep="text"
    )
    before = float(target.distance(reader.read(start), head, distance))
    assert found.distance < before
    if words != "none":  # what is said of the texts is true of them
        assert float(target.distance(reader.read(found.texts), head, distance)) == pytest.approx(
            found.distance, abs=1e-5
        )
        assert torch.equal(found.texts.lengths, start.lengths)
    assert len(found.trace) == 6


@pytest.mark.parametrize("keep", ["text", "round"])
def test_texts_never_get_farther_than_they_were(plain, tokenizer, keep):
    found, *_ = matched(plain, tokenizer, outer=8, lr=3.0, keep=keep)
    far = [row["distance_of_words"] for row in found.trace]
    assert far == sorted(far, reverse=True)


def test_from_noise_any_words_are_nearer_than_none(plain, tokenizer):
    found, _, _, _, start = matched(plain, tokenizer, start="random", tries=3)
    assert found.distance < 2 and not torch.equal(found.texts.tokens, start.tokens)


def test_a_large_rho_keeps_embeddings_at_their_words(plain, tokenizer):
    apart = [
        matched(plain, tokenizer, rho=rho, outer=1, inner=20)[0].trace[0]["apart"] for rho in (1e-3, 100.0)
    ]
    assert apart[1] < apart[0]


# choices ----------------------------------------------------------------------------------------------------


def test_choice_by_gradient_is_greedy(plain, tokenizer):
    reader, head = gradients.Reader(plain, tokenizer, TASK), gradients.head_of(plain, tokenizer, TASK)
    hidden = reader.read(prompts.encoded(tokenizer, [*REAL["poor"], *REAL["good"]]))
    target = gradients.Target(0, gradients.head_gradient(hidden, head, 0))
    first = selection.chosen("gradient", hidden, 1, head, target)
    alone = [float(target.distance(hidden[[i]], head)) for i in range(6)]
    assert first == [alone.index(min(alone))]
    assert sorted(selection.chosen("gradient", hidden, 6, head, target)) == list(range(6))
    for way in ("random", "herding", "k-center"):
        assert len(set(selection.chosen(way, hidden, 4, head, target))) == 4
    with pytest.raises(ValueError, match="did you mean 'herding'"):
        selection.chosen("herdin", hidden, 2, head, target)
    with pytest.raises(ValueError, match="7 items"):
        selection.chosen("gradient", hidden, 7, head, target)


def test_spread_of_gradients_is_that_of_the_theory(plain, tokenizer):
    reader, head = gradients.Reader(plain, tokenizer, TASK), gradients.head_of(plain, tokenizer, TASK)
    hidden = reader.read(prompts.encoded(tokenizer, REAL["poor"]))
    each = torch.stack([gradients.head_gradient(hidden[[i]], head, 0) for i in range(3)])
    mean = each.mean(0)
    wanted = (each - mean).square().sum((1, 2)).mean() / mean.square().sum()
    assert selection.spread_of_gradients(hidden, head, 0) == pytest.approx(float(wanted), rel=1e-4)


# what models write ------------------------------------------------------------------------------------------


def test_written_texts_are_different_and_cleaned(plain, tokenizer):
    found = writing.written(plain, tokenizer, TASK, "good", 5, longest=6)
    assert len(set(found)) == 5 and all(len(text.split()) >= 3 for text in found)
    again = writing.written(plain, tokenizer, TASK, "good", 5, longest=6)
    assert found == again != writing.written(plain, tokenizer, TASK, "good", 5, longest=6, seed=1)
    assert writing.cleaned('\n 2. "A fine film."\nMore') == "A fine film."
    with pytest.raises(BadInput, match="4 examples are to be shown, 3"):
        writing.written(plain, tokenizer, TASK, "good", 2, examples=REAL["good"], shots=4)


def test_examples_stand_in_the_request(tokenizer):
    asked = TASK.request(tokenizer, "good", ["the plot was bright"])
    assert asked == "write good the plot was bright write good"
    chat = Task({"poor": "poor", "good": "good"}, "it was", {"good": "Write a good one."})
    said = chat.request(tokenizer, "good", ["bright plot"])
    assert said == "<user>Examples of the label good:\n- bright plot\n\nWrite a good one.<assistant>"
    assert "label is poor" in chat.request(tokenizer, "poor")


# privacy ----------------------------------------------------------------------------------------------------


def test_noise_has_the_deviation_that_was_asked_for():
    target, private = gradients.Target(1, torch.zeros(2, 5000)), Privacy(epsilon=2.0, clip=0.3)
    noisy = privacy.hidden(target, 50, private, seed=3).weights
    assert noisy.std().item() == pytest.approx(private.deviation(50), rel=0.03)
    assert not torch.equal(noisy, privacy.hidden(target, 50, private, seed=4).weights)
    other = gradients.Target(0, torch.zeros(2, 5000))
    assert not torch.equal(noisy, privacy.hidden(other, 50, private, seed=3).weights)
    replaced = Privacy(epsilon=2.0, clip=0.3, neighbours="replace")
    assert replaced.deviation(50) > 3.5 * private.deviation(50)  # twice the change, half the budget


def test_the_attack_tells_members_where_their_loss_fell_more():
    before, member = torch.ones(6), torch.tensor([True, True, True, False, False, False])
    fell = torch.tensor([0.1, 0.2, 0.3, 0.8, 0.9, 1.0])
    assert privacy.attack(before, fell, member) == 1.0
    assert privacy.attack(before, fell.flip(0), member) == 0.0
    assert privacy.attack(before, torch.ones(6), member) == 0.5


def test_with_privacy_the_examples_enter_by_their_noisy_gradient_alone(plain, tokenizer, monkeypatch):
    """Other examples, the same noisy gradient: the same texts."""
    fixed = [
        gradients.Target(i, torch.randn(2, 32, generator=torch.Generator().manual_seed(i))) for i in (0, 1)
    ]
    monkeypatch.setattr(gradmm, "hidden", lambda target, n, how, seed: fixed[target.label])
    options = {"task": TASK, "matching": SHORT, "longest": 5}
    other = {label: [f"{text} and fine" for text in texts] for label, texts in REAL.items()}
    one, two = (
        synthetic_text.generate(plain, tokenizer, real, 2, Privacy(1.0), **options)["text"]
        for real in (REAL, other)
    )
    assert one == two


# generate ---------------------------------------------------------------------------------------------------


def made(model, tokenizer, examples=REAL, per_label=3, **options):
    return synthetic_text.generate(
        model, tokenizer, examples, per_label, **({"task": TASK, "matching": SHORT, "longest": 5} | options)
    )


def test_generate_gives_as_many_texts_of_each_label(model, tokenizer):
    model.train()
    found = made(model, tokenizer)
    assert model.training
    model.eval()
    assert (
        found.column_names == ["text", "label", "distance"] and found["label"] == ["poor"] * 3 + ["good"] * 3
    )
    assert all(text and set(text.split()) <= set(WORDS) for text in found["text"])
    assert found["distance"][0] == found["distance"][1] != found["distance"][2]  # groups of two and of one
    pairs = [(text, label) for label, texts in REAL.items() for text in texts]
    assert made(model, tokenizer, pairs)["text"] == found["text"]


def test_a_stopped_run_goes_on(plain, tokenizer, tmp_path, monkeypatch):
    whole = made(plain, tokenizer)["text"]
    calls, match = [], gradmm.match

    def stops(*given):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return match(*given)

    monkeypatch.setattr(gradmm, "match", stops)
    with pytest.raises(KeyboardInterrupt):
        made(plain, tokenizer, folder=tmp_path)
    assert made(plain, tokenizer, folder=tmp_path)["text"] == whole and len(calls) == 5  # two were kept
    other = made(plain, tokenizer, {**REAL, "good": REAL["good"][:1]}, folder=tmp_path)
    assert (
        len(calls) == 7 and other["text"][:3] == whole[:3]
    )  # other examples of one label: its groups are new
    file = next(tmp_path.glob("*.json"))
    file.write_text(json.dumps({"texts": 3}))
    with pytest.raises(BadInput, match="damaged"):
        for _ in range(2):
            made(plain, tokenizer, folder=tmp_path)
            made(plain, tokenizer, {**REAL, "good": REAL["good"][:1]}, folder=tmp_path)


def test_half_precision_models_are_matched(plain, tokenizer):
    import copy

    assert len(made(copy.deepcopy(plain).bfloat16(), tokenizer, per_label=2)) == 4


@pytest.mark.parametrize(
    "given, said",
    [
        ({"examples": "the plot"}, "examples must be a list, not the str"),
        ({"examples": {"good": "the plot", "poor": ["x"]}}, "the texts of good must be a list"),
        ({"examples": ["the plot"]}, r"a pair \(text, label\)"),
        ({"examples": [("the plot", "god")]}, "did you mean 'good'"),
        ({"examples": {"good": ["the plot"]}}, "no example of the label poor"),
        ({"examples": {"good": ["the plot", " "], "poor": ["x"]}}, "has no words"),
        ({"examples": {"good": ["the plot", None], "poor": ["x"]}}, "has no words"),
        ({"examples": {"good": ["the plot", float("nan")], "poor": ["x"]}}, "has no words"),
        ({"per_label": 0}, "at least 1"),
        ({"per_label": 2.5}, "whole number"),
        ({"per_label": float("nan")}, "whole number"),
        ({"per_label": True}, "whole number"),
    ],
)
def test_bad_input_is_refused_in_one_line(plain, tokenizer, given, said):
    with pytest.raises(BadInput, match=said) as caught:
        made(plain, tokenizer, **given)
    assert "\n" not in str(caught.value)


def test_tasks_and_settings_that_cannot_be(tokenizer):
    with pytest.raises(BadInput, match="at least two labels"):
        Task({"good": "good"})
    with pytest.raises(BadInput, match="did you mean 'good'"):
        Task({"good": "good", "poor": "poor"}, requests={"goood": "write"})
    with pytest.raises(BadInput, match="one token for two labels"):
        prompts.word_tokens(tokenizer, Task({"a": "good", "b": "good plot"}))
    for wrong in ({"rho": 0}, {"lr": -1.0}, {"outer": 0}, {"size": 0.0}):
        with pytest.raises(ValueError):
            Matching(**wrong)
    for wrong in ({"epsilon": 0}, {"epsilon": 1, "delta": 1.0}, {"epsilon": 1, "clip": 0}):
        with pytest.raises(ValueError):
            Privacy(**wrong)
