"""Nothing that a protocol must not see reaches it: a choice, a fit, an evaluation, a control, the seeds of tuning.

Each test plants the leak's consequence (garbage where nobody may look, a mark on what was trained on) and shows that
nothing changes, or that no mark is seen.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from beyondloss import catalogue
from beyondloss.data import TokenStream
from beyondloss.data.images import digits
from beyondloss.data.problems import Problem, ProblemSet
from beyondloss.methods.dataset_distillation import (
    distillation,
    evaluation,
    protocol_checks,
    settings,
    splits,
    tuning,
)
from beyondloss.methods.hallucination import asking, detectors, models, worlds
from beyondloss.methods.hallucination.evidence import Evidence
from beyondloss.methods.masked_diffusion import grokking, language, window
from beyondloss.methods.simplicity_bias import arithmetic, incontext, language_model

# Seeds ------------------------------------------------------------------------------------------------------------


def seeds_of(experiment, scale):
    return {point.seed for point in experiment.plan(scale).grid}


def for_tuning(experiment):
    """An experiment that chooses hyper-parameters is called so."""
    return experiment.name == "tuning" or experiment.name.endswith("_tuning")


@pytest.mark.parametrize("chapter", catalogue.chapters(), ids=lambda chapter: chapter.slug)
@pytest.mark.parametrize("scale", ["smoke", "quick", "full"])
def test_seeds_of_tuning_count_nowhere(chapter, scale):
    tuned, counted = (
        {seed for e in chapter.at(scale) if for_tuning(e) == which for seed in seeds_of(e, scale)}
        for which in (True, False)
    )
    assert counted and not tuned & counted


def test_there_is_tuning_to_look_at():
    found = [e.name for chapter in catalogue.chapters() for e in chapter.experiments if for_tuning(e)]
    assert len(found) >= 3


# Chapter 6: learning rates, teachers and sets see no test image ----------------------------------------------------

TINY = {"steps": 3, "teacher_steps": 3, "width": 4, "lrs": (0.003, 0.3), "rounds": 2}
SEEDS = (0, 1)


@pytest.fixture
def garbage_test_part(monkeypatch):
    """A function after whose call every split has noise for test images and wrong labels for them."""
    real = splits.split

    def spoilt(*given, **settings_):
        parts = real(*given, **settings_)
        noise = torch.randn(parts.test.shape, generator=torch.Generator().manual_seed(7))
        return replace(parts, test=noise, test_labels=(parts.test_labels + 1) % parts.classes)

    def plant():
        evaluation.Bench.of.cache_clear()  # a bench that was made before is not taken again
        monkeypatch.setattr(evaluation, "split", spoilt)

    evaluation.Bench.of.cache_clear()
    yield plant
    evaluation.Bench.of.cache_clear()


def bench():
    return evaluation.Bench.made(digits(), evaluation.Protocol(**TINY), SEEDS)


def made_sets(on, method):
    quick = distillation.Setting(
        iterations=2, batch=3, experts=2, checkpoints=3, stride=1, student_steps=2, lr=0.1
    )
    task = distillation.Task(on.split, on.network, on.teacher, 1, SEEDS, quick)
    return distillation.distil(settings.METHODS[method].method, task).images


def test_teachers_and_sets_are_the_same_where_the_test_part_is_garbage(garbage_test_part):
    before = bench()
    sets = {method: made_sets(before, method) for method in settings.METHODS}
    garbage_test_part()
    after = bench()
    assert not torch.equal(before.split.test, after.split.test)
    assert all(map(torch.equal, before.teacher.weights, after.teacher.weights))
    assert all(torch.equal(images, made_sets(after, method)) for method, images in sets.items())


def test_rates_are_tuned_alike_where_the_test_part_is_garbage(garbage_test_part):
    point = tuning.TuningPoint(
        "digits", **TINY, method="DM", iterations=2, real_batch=3, per_class=1, place=0
    )
    before = tuning.run_tuning([point])
    garbage_test_part()
    assert tuning.run_tuning([point]) == before


def test_the_validated_best_is_chosen_and_not_the_one_that_tests_best():
    validation = torch.tensor([[[0.9, 0.8], [0.5, 0.6]], [[0.1, 0.2], [0.3, 0.4]]])  # seed, searched, round
    test = torch.tensor([[[0.1, 0.2], [1.0, 1.0]], [[1.0, 1.0], [0.3, 0.4]]])
    found = evaluation.Results(validation, test)
    torch.testing.assert_close(found.chosen, torch.tensor([[0.1, 0.2], [0.3, 0.4]]))
    torch.testing.assert_close(found.optimism, torch.tensor([0.85, 0.65]))


def test_both_sides_of_a_choice_are_chosen_by_validation(monkeypatch):
    """Students that test best where they validate worst: the chosen accuracy is the worst one."""

    def opposed(self, images, targets, labels, kind, network=None):
        p = self.protocol
        rank = torch.arange(len(p.lrs), dtype=torch.float32)[:, None].expand(len(self.seeds), -1, p.rounds)
        shift = 0.1 * ("cutmix" in kind)
        return evaluation.Results(rank / 10 + shift, 1 - rank / 10 - shift)

    monkeypatch.setattr(evaluation.Bench, "results", opposed)
    point = protocol_checks.ChoicePoint("digits", **TINY, method="random", iterations=2, real_batch=3)
    (found,) = protocol_checks.run_choice([point])
    assert found["by choice"] == pytest.approx(min(found["by views and rate"])) == pytest.approx(0.8)


def test_two_random_subsets_of_a_seed_are_two_draws():
    on = bench()
    first, second = (made_sets(on, method) for method in ("random", "random again"))
    for seed in range(len(SEEDS)):
        assert not torch.equal(first[seed], second[seed])


# Chapter 3: the bound is that of text, and the accuracy that of strings, that was not trained on --------------------


@pytest.fixture
def marked_text(monkeypatch):
    """A text whose tokens below 5 stand in the training part alone, and the others in the held-out part alone."""
    streams = torch.Generator().manual_seed(0)
    text = TokenStream(
        train=torch.randint(0, 5, (400,), generator=streams),
        held_out=torch.randint(5, 10, (200,), generator=streams),
        vocabulary=10,
        decode=lambda tokens: "".join(map(str, tokens.tolist())),
        origin="made",
        licence="none",
    )
    monkeypatch.setattr(language, "text_of", lambda name: text)
    return text


def test_the_bound_is_measured_on_text_that_no_step_has_seen(marked_text, monkeypatch):
    trained, measured = [], []
    windows, curves = language.random_windows, language.cross_entropy_by_rate

    def spied_windows(*given):
        trained.append(windows(*given))
        return trained[-1]

    def spied_curves(forward, shown, hidden_token):
        measured.append(shown)
        return curves(forward, shown, hidden_token)

    monkeypatch.setattr(language, "random_windows", spied_windows)
    monkeypatch.setattr(language, "cross_entropy_by_rate", spied_curves)
    sizes = {
        "layers": 1,
        "heads": 1,
        "width": 8,
        "context": 8,
        "batch": 3,
        "evaluated": 4,
        "denoising_steps": 2,
    }
    language.run_language([language.LanguagePoint("[0, 1]", steps=3, **sizes)])
    assert len(trained) == 3 and max(tokens.max() for tokens in trained) < 5
    assert len(measured) == 1 and measured[0].min() >= 5


def codes(strings):
    """Strings of bits as numbers, without the label."""
    bits = strings[..., :-1].reshape(-1, strings.shape[-1] - 1)
    return set((bits * 2 ** torch.arange(bits.shape[-1])).sum(-1).tolist())


@pytest.mark.parametrize(
    "module, run, point",
    [
        (window, window.run_window, window.WindowPoint("uniform", hidden=8)),
        (grokking, grokking.run_grokking, grokking.GrokkingPoint("label", 40, layers=1, heads=1, width=8)),
    ],
    ids=["window", "grokking"],
)
def test_held_out_accuracy_is_that_of_strings_that_no_step_has_seen(module, run, point, monkeypatch):
    trained, held_out = set(), []
    make, accuracy = module.parity_data, module.label_accuracy

    class Spied:
        def __init__(self, data):
            self.data, self.train, self.held_out = data, data.train, data.held_out

        def batch(self, streams, size):
            found = self.data.batch(streams, size)
            trained.update(codes(found))
            return found

    def spied_accuracy(forward, strings, *given):
        held_out.append(codes(strings))
        return accuracy(forward, strings, *given)

    monkeypatch.setattr(module, "parity_data", lambda *given: Spied(make(*given)))
    monkeypatch.setattr(module, "label_accuracy", spied_accuracy)
    small = {"n": 6, "k": 2, "held_out": 20, "steps": 4, "evaluate_every": 4, "batch": 16}
    (row,) = run([replace(point, samples=40, **small)])
    seen = [strings & trained for strings in held_out]
    assert trained and not seen[-1]  # the last call of an evaluation is that of held-out strings
    if module is grokking:  # and its training accuracy is that of the sample
        assert held_out[0] >= trained and row["train_accuracy"] != row["held_out_accuracy"]


# Chapter 2 ---------------------------------------------------------------------------------------------------------


def test_accuracy_and_its_tuning_are_on_digits_that_no_step_has_seen(monkeypatch):
    trained, judged = set(), []
    fit, accuracy = arithmetic.fit, arithmetic.accuracy_by_task

    def spied_fit(model, data, *given):
        for examples in data:
            trained.update(map(tuple, examples.tokens[:, 1:5].tolist()))
        return fit(model, data, *given)

    def spied_accuracy(network, digits_, *given):
        judged.append(set(map(tuple, digits_.tolist())))
        return accuracy(network, digits_, *given)

    monkeypatch.setattr(arithmetic, "fit", spied_fit)
    monkeypatch.setattr(arithmetic, "accuracy_by_task", spied_accuracy)
    arithmetic.pretrained.cache_clear()
    small = {"width": 16, "pretraining_steps": 4, "examples": 40, "steps": 6, "batch": 8, "lr": 1e-3}
    arithmetic.run_arithmetic([arithmetic.ArithmeticPoint("adamw, late varied", **small)])
    *tested, tuned = judged  # the steps of the curve, and at the end the fifth that rates are chosen on
    assert len(tested) >= 2 and all(digits_ == tested[0] for digits_ in tested)
    assert not trained & tested[0] and not trained & tuned and not tuned & tested[0]


def test_answers_and_losses_are_of_problems_that_no_step_has_seen(tiny_llama, monkeypatch):
    made = {part: [Problem(f"{part} {i}", "#### 1", "1") for i in range(6)] for part in ("train", "test")}
    monkeypatch.setitem(
        language_model.SOURCES, "gsm8k", lambda point: ProblemSet(made["train"], made["test"], "made")
    )
    trained, judged, answered = set(), set(), set()
    objective, losses, match = (
        getattr(language_model, name) for name in ("answer_objective", "losses_of_all", "exact_match")
    )

    def spied_objective(data, *given, **options):
        trained.update(map(tuple, data.tokens.tolist()))
        return objective(data, *given, **options)

    def spied_losses(model, data):
        judged.update(map(tuple, data.tokens.tolist()))
        return losses(model, data)

    def spied_match(model, problems, tokens):
        answered.update(problem.question for problem in problems)
        return match(model, problems, tokens)

    for name, spy in {
        "answer_objective": spied_objective,
        "losses_of_all": spied_losses,
        "exact_match": spied_match,
    }.items():
        monkeypatch.setattr(language_model, name, spy)
    language_model.ready_for.cache_clear()
    sizes = {"steps": 2, "batch": 2, "context": 48, "tested": 4, "answered": 3, "answer_tokens": 2}
    language_model.run_language_model([language_model.LanguageModelPoint(str(tiny_llama), **sizes)])
    language_model.ready_for.cache_clear()
    assert answered == {f"test {i}" for i in range(3)}
    assert len(trained) == 6 and len(judged) == 4 and not trained & judged


def test_the_random_choice_and_the_prompts_are_two_draws_of_a_seed():
    """Doubling prompts at random must not follow from how they were drawn: as many of each type as by chance."""
    point = incontext.InContextPoint("random x2", prompts=400)
    rng = np.random.default_rng([1, 0])
    prompts = incontext.draw_prompts(point.task, point.prompts, rng, True, point.noise)
    doubled = incontext.copies_of(point, prompts, 0) > 1
    assert doubled.mean() == 0.5
    for kind in range(4):
        assert 0.35 < doubled[prompts.kind == kind].mean() < 0.65
    assert not np.array_equal(doubled, incontext.copies_of(point, prompts, 1) > 1)


# Chapter 10 --------------------------------------------------------------------------------------------------------


class Spy(detectors.Detector):
    """A detector that knows questions by their number, and notes which it was fitted on and which it judged."""

    def __init__(self):
        super().__init__()
        self.rounds = []

    def learn(self, given, wrong):
        self.fitted = given.own[:, 0, 0]
        self.labels = wrong

    def judge(self, given):
        self.rounds.append((self.fitted, given.own[:, 0, 0], self.labels))
        return given.own[:, 0, 0]


def numbered(count):
    return Evidence(np.arange(count, dtype=float)[:, None, None] * np.ones((1, 2, 2)))


def test_no_question_is_judged_by_a_detector_that_was_fitted_on_it():
    wrong = np.arange(60) % 3 == 0
    spy = Spy()
    risk, _ = models.cross_fitted(spy, numbered(60), wrong, seed=3)
    assert np.array_equal(risk, np.arange(60))  # each question has the risk that it was given
    assert sorted(np.concatenate([judged for _, judged, _ in spy.rounds])) == list(range(60))
    for fitted, judged, labels in spy.rounds:
        assert not set(fitted) & set(judged) and len(fitted) + len(judged) == 60
        assert np.array_equal(labels, wrong[fitted.astype(int)])


def test_worlds_judge_the_half_of_the_facts_that_detectors_were_not_fitted_on():
    wrong, halves, spy = np.arange(40) % 3 == 0, np.arange(40) < 20, Spy()
    worlds.judged("a", "b", "spy", 0.0, spy, numbered(40), wrong, halves)
    ((fitted, judged, labels),) = spy.rounds
    assert list(fitted) == list(range(20)) and list(judged) == list(range(20, 40))
    assert np.array_equal(labels, wrong[:20])


def test_a_model_that_verifies_itself_is_drawn_from_twice_in_worlds(monkeypatch):
    pairs, make = [], worlds.class_evidence

    def spied(own, cross=None, answer=None):
        if cross is not None:
            pairs.append(np.array_equal(own, cross))
        return make(own, cross, answer)

    monkeypatch.setattr(worlds, "class_evidence", spied)
    tiny = worlds.WorldPoint(entities=30, answers=2, steps=4, batch=16, m=4, budgets=(0.5,), oracle_steps=1)
    worlds.run_worlds([tiny])
    assert len(pairs) == 25 and not any(pairs)


@pytest.mark.parametrize("seed", [0, 3])
def test_a_model_that_verifies_itself_is_asked_with_another_seed(monkeypatch, own_store, seed):
    asked = {}

    def spied(point, spec, posed, cache, samples, temperature, seed=0):
        if temperature:
            asked.setdefault(spec, []).append(seed)
        return [asking.Reply(("a", "b"), tokens=1, seconds=0.0)] * len(posed)

    monkeypatch.setattr(models, "replies", spied)
    monkeypatch.setattr(models, "compared", lambda *given: {})
    monkeypatch.setattr(
        models, "load_questions", lambda point: [SimpleNamespace(text="?", answers=("a",))] * 4
    )
    monkeypatch.setattr(models.questions, "is_right", lambda *given: True)
    for verifier in ("one as chat", "two as chat"):
        models.run_models([models.ModelsPoint("one as chat", verifier, seed=seed)])
    target, itself, again = asked["one as chat"]
    assert target == again and itself != target
    others = {2 * s + turn for s in range(10) if s != seed for turn in (0, 1)}
    assert not {target, itself} & others  # nor do two seeds of the experiment share a draw
