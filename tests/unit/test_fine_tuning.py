"""The recipe for fine-tuning, on a tiny Llama: its loss against a loop, LoRA, epochs, penalties, resuming."""

import inspect
from dataclasses import replace

import pytest
import torch

from beyondloss.data import Answered, completions
from beyondloss.models import Ensemble, stand_ins
from beyondloss.models.generation import Sampling, generate
from beyondloss.trainers import AnswerLosses, BadCheckpoint, Lora, Streams, TrainConfig, fine_tune, with_lora
from beyondloss.trainers.fine_tuning import Epochs, answer_objective, body, in_slices, losses_of_all

# peft asks transformers for a property by its old name
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

ROWS = [(f"{a}+{b}=", f" {a + b}.") for a in range(4) for b in range(3)]
CONFIG = TrainConfig(steps=12, lr=1e-2, clip=1.0)
TOKENIZER = stand_ins.byte_tokenizer()


def network(seed=0, **sizes):
    return stand_ins.tiny_llama(TOKENIZER, seed, **sizes)


@pytest.fixture
def data():
    return completions(ROWS, TOKENIZER, 24)


def weights(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def changed(model, before):
    return {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}


# Rows --------------------------------------------------------------------------------------------------------


def test_only_the_completion_and_its_end_are_marked(data):
    assert data.tokens.shape == (12, 24)
    for row, (prompt, completion) in enumerate(ROWS):
        said, given = data.tokens[row][data.answer[row]], data.tokens[row][: len(prompt)]
        assert TOKENIZER.decode(said) == completion + TOKENIZER.eos_token
        assert TOKENIZER.decode(given) == prompt and not data.answer[row, : len(prompt)].any()


def test_what_is_too_long_is_cut():
    cut = completions([("prompt" * 9, "never"), ("ab", "cdefgh")], TOKENIZER, 6)
    assert cut.answer.sum(1).tolist() == [1, 4]
    assert TOKENIZER.decode(cut.tokens[1]) == "abcdef"


@pytest.mark.parametrize(
    ("rows", "context", "said"),
    [
        ([], 8, "there are no rows"),
        (["ab", "cd"], 8, "row 0 must be a pair .*, not the str 'ab'"),
        ([("a", "b"), {"prompt": "a", "completion": "b"}], 8, "row 1 must be a pair .*, not the dict"),
        ("ab", 8, "rows must be a list of pairs"),
        ([("a", "b"), ("", "b")], 8, "the prompt of row 1 is empty"),
        ([("a", "b")], 1, "not 1"),
        ([("a", "b")], 0, "not 0"),
        ([("a", "b")], -3, "not -3"),
    ],
)
def test_rows_that_nothing_can_be_learned_from_are_refused(rows, context, said):
    unchecked = inspect.unwrap(completions)  # the tests' type checker knows what a pair is, a reader has none
    with pytest.raises(ValueError, match=said):
        unchecked(rows, TOKENIZER, context)


def test_an_empty_prompt_may_follow_a_start_token():
    laid_out = completions([("", "b")], with_start_token(), 5)
    assert laid_out.answer.tolist() == [[False, True, True, False, False]]


def with_start_token():
    """A tokenizer that writes its start token before every text."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = stand_ins.byte_tokenizer()
    start = (tokenizer.bos_token, tokenizer.bos_token_id)
    tokenizer._tokenizer.post_processor = TemplateProcessing(f"{start[0]} $A", special_tokens=[start])
    return tokenizer


def test_a_template_that_writes_the_start_token_gets_no_second_one():
    tokenizer = with_start_token()
    laid_out = completions([("a", "b"), (f"{tokenizer.bos_token}a", "b")], tokenizer, 5)
    assert torch.equal(laid_out.tokens[0], laid_out.tokens[1])
    assert laid_out.tokens[0, 0] == tokenizer.bos_token_id


# The loss ----------------------------------------------------------------------------------------------------


def brute_force(llama, data):
    """Cross-entropy of each answer's tokens, row by row and token by token, with nothing behind them in sight."""
    losses = torch.zeros(len(data))
    for row in range(len(data)):
        for place in data.answer[row].nonzero()[:, 0].tolist():
            logits = llama(input_ids=data.tokens[row : row + 1, :place]).logits[0, -1]
            losses[row] -= logits.log_softmax(-1)[data.tokens[row, place]].item()
    return losses


@torch.no_grad()
def grow(llama, seed):
    """Make each low-rank product twice as large as the matrix that it stands beside; it is zero when it is new."""
    draws = torch.Generator().manual_seed(seed)
    for layer in [module for module in llama.modules() if hasattr(module, "lora_B")]:
        first, second = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        second.normal_(generator=draws)
        product = layer.scaling["default"] * second @ first
        second *= 2 * layer.get_base_layer().weight.norm() / product.norm()


ROUNDING = 100 * torch.finfo(torch.float32).eps  # of sums over a few tokens of a few dozen numbers each


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("lora", [None, Lora(2)])
def test_the_loss_is_that_of_a_loop_over_tokens(data, lora, seed):
    llama = network(seed)
    alone = losses_of_all(Ensemble([AnswerLosses(llama)]), data)
    if lora:
        llama = with_lora(llama, lora, seed)
        grow(llama, seed)
    expected = brute_force(llama, data)
    found = losses_of_all(Ensemble([AnswerLosses(llama)]), data)
    torch.testing.assert_close(found, expected, rtol=ROUNDING, atol=0.0)
    visible = 100 * ROUNDING * expected.max()
    assert expected.std() > visible  # otherwise the order of rows would be untested
    if lora:  # otherwise a loss that leaves the product out would pass
        assert (found - alone).abs().max() > visible


def test_the_objective_is_a_mean_over_tokens_and_slices_change_nothing(data):
    model = Ensemble([AnswerLosses(network())])
    index = torch.tensor([3, 3, 0, 11, 7])
    expected = losses_of_all(model, data)[index].sum() / data.answer[index].sum()
    gradients = []
    for at_once, recompute in ((5, False), (2, False), (2, True)):
        objective = answer_objective(data, lambda streams: index, at_once, recompute)
        loss = objective(model, Streams([0]))
        torch.testing.assert_close(loss, expected[None])
        gradients.append(
            torch.cat([g.flatten() for g in torch.autograd.grad(loss.sum(), model.parameters())])
        )
    assert gradients[0].norm() > 0
    for gradient in gradients[1:]:
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-4, atol=1e-6)


def test_recomputing_holds_the_activations_of_one_slice(data):
    """Each slice is computed twice: once for its loss, once for its gradient."""
    model, seen = Ensemble([AnswerLosses(network())]), []
    body(model.single.network).register_forward_hook(
        lambda *call: seen.append(len(call[2].last_hidden_state))
    )
    answer_objective(data, lambda streams: torch.arange(6), 4, True)(model, Streams([0])).sum().backward()
    assert seen == [4, 2, 2, 4]


def test_embeddings_may_stand_in_place_of_tokens(data):
    model = AnswerLosses(network())
    embedded = replace(
        data, inputs={"inputs_embeds": model.network.get_input_embeddings()(data.tokens).detach()}
    )
    expected = losses_of_all(Ensemble([model]), data)
    torch.testing.assert_close(losses_of_all(Ensemble([model]), embedded), expected)
    assert embedded.rows(torch.tensor([0])).inputs["inputs_embeds"].shape == (1, 8, 32)


def test_other_inputs_are_given_row_by_row(data):
    """What a vision-language model reads besides tokens reaches its body, cut to the rows of the slice."""

    class Shifted(AnswerLosses):
        def hidden_states(self, tokens, picture):
            return super().hidden_states(tokens) + picture[:, None]

    pictures = torch.randn(len(data), 32, generator=torch.Generator().manual_seed(0))
    model, shown = Shifted(network()), replace(data, inputs={"picture": pictures})
    found = losses_of_all(Ensemble([model]), shown)
    alone = [
        losses_of_all(Ensemble([model]), shown.rows(torch.tensor([row]))).item() for row in range(len(data))
    ]
    assert found.tolist() == pytest.approx(alone, rel=1e-5)
    assert (
        found - losses_of_all(Ensemble([model]), replace(shown, inputs={"picture": 0 * pictures}))
    ).abs().min() > 0


def test_logits_that_are_bent_are_refused(data):
    llama = network()
    llama.config.final_logit_softcapping = 30.0
    with pytest.raises(ValueError, match="final_logit_softcapping"):
        losses_of_all(Ensemble([AnswerLosses(llama)]), data)


def test_slices_are_put_together_along_the_last_axis():
    table = torch.arange(14.0).view(2, 7)
    assert torch.equal(in_slices(lambda part: table[:, part], torch.arange(7), 3), table)


# Training ----------------------------------------------------------------------------------------------------


def test_low_rank_weights_learn_and_the_others_stay(data):
    """A network that was trained on wrong sums learns the right ones beside its weights."""
    wrong = completions([(prompt, f" {len(prompt)}!") for prompt, _ in ROWS], TOKENIZER, 24)
    base = AnswerLosses(network())
    fine_tune(base, wrong, replace(CONFIG, steps=40), batch=8)
    model = AnswerLosses(with_lora(base.network, Lora(4, alpha=4.0, rule="proportional"), seed=0))
    before, loss = weights(model), losses_of_all(Ensemble([model]), data).mean()
    fine_tune(model, data, replace(CONFIG, steps=40), batch=8)
    moved = changed(model, before)
    assert moved and all("lora" in name for name in moved) and len(moved) == 2 * 2 * 7
    assert losses_of_all(Ensemble([model]), data).mean() < 0.6 * loss


def test_all_weights_learn_where_none_is_frozen(data):
    model = AnswerLosses(network())
    before, loss = weights(model), losses_of_all(Ensemble([model]), data).mean()
    fine_tune(model, data, CONFIG, batch=8)
    assert changed(model, before) == set(before)
    assert losses_of_all(Ensemble([model]), data).mean() < 0.9 * loss


def test_prompts_are_not_learned(data):
    """Rows that differ in tokens of the prompt alone, which nothing attends to, train to the same weights."""
    model, other = AnswerLosses(network()), AnswerLosses(network())
    scrambled = replace(data, tokens=data.tokens.where(data.answer, (data.tokens + 1) % 256))
    blind = {"inputs_embeds": torch.randn(12, 24, 32, generator=torch.Generator().manual_seed(0))}
    fine_tune(model, replace(data, inputs=blind), replace(CONFIG, steps=3), batch=4)
    fine_tune(other, replace(scrambled, inputs=blind), replace(CONFIG, steps=3), batch=4)
    assert not changed(other, weights(model))


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.mark.parametrize("rho", [0.0, 0.05])
def test_a_resumed_run_is_the_uninterrupted_one(data, tmp_path, rho):
    config = replace(CONFIG, steps=10, checkpoint_every=3, accumulate=2, rho=rho, evaluate_every=5)

    def run(checkpoint=None, killed_at=None):
        model = AnswerLosses(with_lora(network(), Lora(2, dropout=0.1), seed=1))
        calls = 0

        def penalty(model):
            nonlocal calls
            calls += 1
            if calls == killed_at:
                raise Killed
            return 0.01 * sum(p.square().sum() for p in model.parameters() if p.requires_grad)

        def mean_loss(model):
            return {"loss": losses_of_all(Ensemble([model]), data).mean().item()}

        history = fine_tune(model, data, config, 5, 7, penalty, mean_loss, checkpoint)
        return weights(model), history

    whole, history = run()
    with pytest.raises(Killed):
        run(tmp_path / "run.pt", killed_at=30 if rho else 15)
    resumed, again = run(tmp_path / "run.pt")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    assert again.rows == history.rows and [row["step"] for row in history.rows] == [5, 10]


def test_another_run_is_not_resumed(data, tmp_path):
    """What changes the numbers of a run and neither its settings nor the shapes of its weights."""
    config = replace(CONFIG, steps=4, checkpoint_every=2)

    def shrink(model):
        return 0.01 * sum(p.square().sum() for p in model.parameters() if p.requires_grad)

    def run(data=data, batch=4, lora=Lora(2, dropout=0.1), penalty=shrink, base=0):  # noqa: B008
        model = AnswerLosses(with_lora(network(base), lora, seed=1))
        fine_tune(model, data, config, batch, penalty=penalty, checkpoint=tmp_path / "run.pt")

    run()
    run()
    others = {
        "batch: 4 there, 5 here": {"batch": 5},
        "rows: 12 there, 6 here": {"data": data.rows(torch.arange(6))},
        "data: ": {"data": replace(data, tokens=data.tokens.flip(0), answer=data.answer.flip(0))},
        "lora_alpha of adapter default: 16.0 there, 8.0 here": {"lora": Lora(2, 8.0, dropout=0.1)},
        "use_rslora of adapter default": {"lora": Lora(2, rule="sqrt", dropout=0.1)},
        "lora_dropout of adapter default": {"lora": Lora(2, dropout=0.2)},
        "penalty: .*shrink there, None here": {"penalty": None},
        "frozen weights": {"base": 1},
    }
    for said, other in others.items():
        with pytest.raises(BadCheckpoint, match=rf"of another run \({said}"):
            run(**other)


def test_a_checkpoint_holds_what_is_trained(data, tmp_path):
    model = AnswerLosses(with_lora(network(), Lora(2), seed=1))
    config = replace(CONFIG, steps=2, checkpoint_every=2)
    fine_tune(model, data, config, 4, checkpoint=tmp_path / "run.pt")
    kept = torch.load(tmp_path / "run.pt", weights_only=True)["model"]
    trained = {f"networks.0.{name}": p for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name in kept if "lora" in name} == set(trained) == set(kept)
    assert all(torch.equal(kept[name], trained[name]) for name in trained)


def test_without_a_trainable_weight_one_line_says_so(data):
    model = AnswerLosses(network()).requires_grad_(False)
    with pytest.raises(ValueError, match="no weight of the model requires a gradient"):
        fine_tune(model, data, CONFIG, batch=4)


def test_a_step_of_several_batches_is_that_of_one_large_batch():
    """Answers of one to nine tokens: a mean of the batches' means would be another loss."""
    rows = [(str(n), "a" * n) for n in range(9)]
    data = completions(rows, TOKENIZER, 12)
    small, large = AnswerLosses(network()), AnswerLosses(network())
    config = replace(CONFIG, steps=3, optimizer="sgd", clip=0.0)
    fine_tune(small, data, replace(config, accumulate=4), batch=2)
    fine_tune(large, data, config, batch=8)
    for name, weight in weights(large).items():
        torch.testing.assert_close(weights(small)[name], weight, rtol=1e-4, atol=1e-6)


def test_models_are_evaluated_without_dropout_and_keep_their_mode(data):
    model = AnswerLosses(with_lora(network(), Lora(4, dropout=0.5), seed=0))
    modes = {name: module.training for name, module in model.named_modules()}
    assert (
        len(set(modes.values())) == 2
    )  # the network was loaded for evaluation, the modules around it are new
    fine_tune(model, data, replace(CONFIG, steps=5), batch=4)
    assert {name: module.training for name, module in model.named_modules()} == modes
    model.train()
    found = [losses_of_all(Ensemble([model]), data) for _ in range(2)]
    assert torch.equal(*found)
    written = [generate(model.network, TOKENIZER, ["1+2="], Sampling(6)) for _ in range(2)]
    assert written[0] == written[1]
    assert all(module.training for module in model.modules())


def test_an_epoch_has_every_row_once():
    choose, streams, seen = Epochs(rows=10, batch=4, seed=5), Streams([0]), []
    for streams.batch in range(10):
        seen += choose(streams).tolist()
    epochs = [seen[i : i + 10] for i in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs) and epochs[0] != epochs[1]
    assert Epochs(10, 4, 6)(Streams([0])).tolist() != seen[:4]


def test_the_loop_counts_its_batches(data):
    seen = []

    class Recorded(Epochs):
        def __call__(self, streams):
            seen.append(streams.batch)
            return super().__call__(streams)

    from beyondloss.trainers import train

    objective = answer_objective(data, Recorded(len(data), 2, 0), 2, False)
    train(
        Ensemble([AnswerLosses(network())]), objective, replace(CONFIG, steps=3, accumulate=2), Streams([0])
    )
    assert seen == [0, 1, 2, 3, 4, 5]


def test_a_penalty_holds_back_what_it_punishes(data):
    def grown(model):
        return sum(p.square().sum() for name, p in model.named_parameters() if "lora_B" in name)

    def run(weight):
        model = AnswerLosses(with_lora(network(), Lora(2), seed=0))
        steps = replace(CONFIG, steps=30)
        fine_tune(model, data, steps, batch=8, penalty=lambda model: weight * grown(model))
        return grown(model).item()

    assert run(10.0) < 0.1 * run(0.0)


# Learning rates of parts -------------------------------------------------------------------------------------


def test_parts_have_learning_rates_of_their_own(data):
    """With sign-like first steps a weight moves by its learning rate: the factors can be read off."""
    config = TrainConfig(
        steps=1, lr=1e-3, lr_factors=((r"layers\.0\..*up_proj", 0.1), ("up_proj", 3.0)), clip=0.0
    )
    model = AnswerLosses(network())
    before = weights(model)
    fine_tune(model, data, config, batch=12)
    step = {name: (parameter - before[name]).abs().median() for name, parameter in model.named_parameters()}
    assert step["network.model.layers.0.mlp.up_proj.weight"].item() == pytest.approx(1e-4, rel=0.05)
    assert step["network.model.layers.1.mlp.up_proj.weight"].item() == pytest.approx(3e-3, rel=0.05)
    assert step["network.model.layers.1.mlp.down_proj.weight"].item() == pytest.approx(1e-3, rel=0.05)


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_a_factor_of_zero_holds_a_part_still(data, optimizer):
    config = TrainConfig(steps=3, lr=1e-2, optimizer=optimizer, lr_factors=(("gate_proj", 0.0),))
    model = AnswerLosses(network())
    before = weights(model)
    fine_tune(model, data, config, batch=4)
    assert set(before) - changed(model, before) == {name for name in before if "gate_proj" in name}


def test_a_part_that_is_not_there_is_named(data):
    with pytest.raises(ValueError, match="lr_factors: no trainable weight has 'projector' in its name"):
        fine_tune(AnswerLosses(network()), data, replace(CONFIG, lr_factors=(("projector", 2.0),)), batch=4)
    for factor in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="factor of lr_factors for 'a' must not be negative or infinite"):
            replace(CONFIG, lr_factors=(("a", factor),))


# LoRA --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "scale"), [("fixed", 16 / 4), ("proportional", 16.0), ("sqrt", 16 / 2)])
def test_the_product_is_scaled_by_its_rule(rule, scale):
    lora = Lora(4, rule=rule, targets=("up_proj",))
    llama = with_lora(network(), lora)
    layers = [
        module for module in llama.modules() if hasattr(module, "scaling") and hasattr(module, "lora_A")
    ]
    assert len(layers) == 2 and {layer.scaling["default"] for layer in layers} == {scale} == {lora.scale}


def test_lora_goes_where_it_is_told_and_starts_as_nothing(data):
    llama = with_lora(network(num_hidden_layers=4), Lora(2, targets=("q_proj", "up_proj"), layers=(1, 3)))
    trained = sorted(name for name, parameter in llama.named_parameters() if parameter.requires_grad)
    assert len(trained) == 2 * 2 * 2
    assert all(("layers.1." in n or "layers.2." in n) and ("q_proj" in n or "up_proj" in n) for n in trained)
    plain = Ensemble([AnswerLosses(network(num_hidden_layers=4))])
    torch.testing.assert_close(
        losses_of_all(Ensemble([AnswerLosses(llama)]), data), losses_of_all(plain, data)
    )


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        (lambda: Lora(0), "rank must be at least 1"),
        (lambda: Lora(1, rule="square"), "rule"),
        (lambda: Lora(1, targets=("up_prj",)), "target of LoRA 'up_prj'; did you mean 'up_proj'"),
        (lambda: Lora(1, alpha=float("nan")), "alpha must be positive and finite"),
        (lambda: Lora(1, dropout=1.0), "dropout lie in"),
        (lambda: Lora(1, layers=(1, 3)), "layers 0 to 1"),
    ],
)
def test_impossible_lora(lora, said):
    with pytest.raises((ValueError, TypeError), match=said):  # a type checker knows the choices too
        with_lora(network(), lora())


def test_rows_travel_with_their_inputs():
    rows = Answered(
        torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool), {"x": torch.ones(2)}
    )
    there = rows.to("meta")
    assert there.tokens.is_meta and there.answer.is_meta and there.inputs["x"].is_meta and len(there) == 2
