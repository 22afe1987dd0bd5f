"""Networks: what each position may see, the looped use, GPT-2's twin, and networks side by side."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from beyondloss.models import MLP, Ensemble, Transformer, TransformerConfig
from beyondloss.models.gpt2 import load_gpt2

SMALL = TransformerConfig(vocab_size=11, context=12, n_layers=2, n_heads=2, d_model=16)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def tokens(*shape: int) -> torch.Tensor:
    return torch.randint(SMALL.vocab_size, shape)


def first_change(network: Transformer, position: int) -> int:
    """The first position whose logits change when the token at `position` does."""
    before = tokens(1, SMALL.context)
    after = before.clone()
    after[0, position] = (after[0, position] + 1) % SMALL.vocab_size
    changed = (network(before) - network(after)).abs().amax((0, 2)) > 1e-6
    return changed.nonzero()[0].item()


@pytest.mark.parametrize("n_layers, loops", [(2, 1), (4, 1), (2, 3)])
def test_weights_start_at_the_fan_in_and_writers_by_their_number(n_layers, loops):
    network = Transformer(replace(SMALL, d_model=128, n_layers=n_layers, loops=loops))
    block = network.blocks[0]
    for reader, fan_in in ((block.expand, 128), (block.attention.query_key_value, 128), (network.token, 128)):
        assert reader.weight.std().item() == pytest.approx(fan_in**-0.5, rel=0.1)
    for writer, fan_in in ((block.contract, 512), (block.attention.output, 128)):
        expected = (fan_in * 2 * n_layers * loops) ** -0.5
        assert writer.weight.std().item() == pytest.approx(expected, rel=0.05)
        assert writer.bias.abs().max() == 0


def test_causal_sees_no_future():
    network = Transformer(SMALL)
    assert [first_change(network, position) for position in (1, 5, 11)] == [1, 5, 11]


def test_bidirectional_sees_the_future():
    network = Transformer(replace(SMALL, bidirectional=True))
    assert [first_change(network, position) for position in (1, 5, 11)] == [0, 0, 0]


def test_shorter_texts_than_the_context_have_the_same_logits():
    network, text = Transformer(SMALL), tokens(3, SMALL.context)
    torch.testing.assert_close(network(text[:, :5]), network(text)[:, :5])


def test_longer_texts_are_refused():
    with pytest.raises(ValueError, match="13 tokens, but the context is 12"):
        Transformer(SMALL)(tokens(1, 13))


def test_loops_tie_weights_and_add_the_input_again():
    network, text = Transformer(replace(SMALL, loops=3)), tokens(2, SMALL.context)
    assert sum(p.numel() for p in network.parameters()) == sum(
        p.numel() for p in Transformer(SMALL).parameters()
    )
    embedded = network.token(text) + network.position.weight
    states = embedded
    for turn in range(3):
        states = states + embedded if turn else states
        for block in network.blocks:
            states = block(states)
    torch.testing.assert_close(network(text), F.linear(network.norm(states), network.token.weight))


def test_one_loop_is_the_plain_transformer():
    looped, plain, text = Transformer(replace(SMALL, loops=4)), Transformer(SMALL), tokens(2, SMALL.context)
    plain.load_state_dict(looped.state_dict())
    assert torch.equal(looped(text, loops=1), plain(text))
    assert not torch.allclose(looped(text), plain(text))


def test_readout_of_chosen_states_is_the_chosen_logits():
    network, text = Transformer(SMALL), tokens(4, SMALL.context)
    chosen = torch.rand(text.shape) < 0.3
    torch.testing.assert_close(network.readout(network.hidden_states(text)[chosen]), network(text)[chosen])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradients_against_differences(bidirectional):
    network = Transformer(TransformerConfig(5, 3, 1, 2, 4, bidirectional, loops=2)).double()
    text = torch.tensor([[1, 4, 2], [0, 3, 3]])
    names, values = zip(*network.named_parameters(), strict=True)

    def loss(*weights: torch.Tensor) -> torch.Tensor:
        logits = torch.func.functional_call(network, dict(zip(names, weights, strict=True)), (text,))
        return F.cross_entropy(logits.flatten(0, 1), text.flatten())

    assert torch.autograd.gradcheck(loss, values)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_attention_is_two_products(bidirectional):
    attention = Transformer(replace(SMALL, bidirectional=bidirectional)).blocks[0].attention
    states = torch.randn(3, 7, 16)
    query, key, value = attention.query_key_value(states).view(3, 7, 3, 2, 8).permute(2, 0, 3, 1, 4)
    scores = query @ key.mT / 8**0.5
    if not bidirectional:
        scores = scores.masked_fill(torch.ones(7, 7).triu(1).bool(), -torch.inf)
    mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(3, 7, 16)
    torch.testing.assert_close(attention(states), attention.output(mixed))


def test_dropout_acts_in_training_only():
    network, text = Transformer(replace(SMALL, dropout=0.5)), tokens(2, SMALL.context)
    assert not torch.equal(network(text), network(text))
    network.eval()
    assert torch.equal(network(text), network(text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_heads": 3}, "d_model 16 is not a multiple of n_heads 3"),
        ({"n_heads": 0}, "n_heads must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1.0"),
        ({"gelu": "relu"}, "gelu must be one of exact, tanh, got 'relu'"),
    ],
)
def test_impossible_sizes_are_refused(change, message, monkeypatch):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


def gpt2(**changes):
    """A random GPT-2, small enough for a test and with weights large enough to tell two of them apart."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=50,
        n_positions=20,
        n_embd=24,
        n_layer=3,
        n_head=4,
        bos_token_id=0,
        eos_token_id=0,
        **changes,
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("activation", ["gelu_new", "gelu"])
def test_twin_of_gpt2_has_the_same_logits(activation):
    theirs = gpt2(activation_function=activation)
    ours, text = load_gpt2(theirs).eval(), torch.randint(50, (4, 20))
    torch.testing.assert_close(ours(text), theirs(text).logits, atol=1e-5, rtol=0)


def test_the_twin_tells_the_two_activations_apart():
    theirs = gpt2()
    ours, text = load_gpt2(theirs).eval(), torch.randint(50, (4, 20))
    for block in ours.blocks:
        block.approximate = "none"
    assert (ours(text) - theirs(text).logits).abs().max() > 1e-4


def test_a_gpt2_with_other_features_is_refused():
    with pytest.raises(ValueError, match="no activation_function=relu"):
        load_gpt2(gpt2(activation_function="relu"))


def test_mlp_is_its_formula():
    network, inputs = MLP(3, 8, 2), torch.randn(5, 3)
    first, second = network.features, network.readout
    expected = (inputs @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    torch.testing.assert_close(network(inputs), expected)


def losses_and_gradients(ensemble: Ensemble, inputs: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    outputs = ensemble(inputs)
    outputs.square().flatten(1).mean(1).sum().backward()
    return outputs.detach(), [p.grad.clone() for p in ensemble.parameters()]


def test_side_by_side_in_turn_is_alone():
    networks, text = [Transformer(SMALL) for _ in range(3)], tokens(3, 4, SMALL.context)
    outputs, _ = losses_and_gradients(Ensemble(networks), text)
    assert all(torch.equal(outputs[i], network(text[i])) for i, network in enumerate(networks))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.filterwarnings("ignore:There is a performance drop")  # attention has no batching rule on a CPU
def test_one_batched_call_is_the_same_networks_in_turn(bidirectional):
    networks = [Transformer(replace(SMALL, bidirectional=bidirectional)) for _ in range(3)]
    text = tokens(3, 4, SMALL.context)
    outputs, gradients = losses_and_gradients(Ensemble(networks), text)
    Ensemble(networks).zero_grad()
    batched, batched_gradients = losses_and_gradients(Ensemble(networks, batched=True), text)
    torch.testing.assert_close(batched, outputs)
    torch.testing.assert_close(batched_gradients, gradients)


def test_options_reach_every_network():
    networks, text = [Transformer(SMALL) for _ in range(2)], tokens(2, 4, SMALL.context)
    outputs = Ensemble(networks)(text, loops=2)
    assert torch.equal(outputs[1], networks[1](text[1], loops=2))


def test_state_of_an_ensemble_is_complete():
    make = lambda: Ensemble([nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for _ in range(2)])  # noqa: E731
    first, second, inputs = make(), make(), torch.randn(2, 8, 3)
    first(inputs)  # moves the running means
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.eval()(inputs), second.eval()(inputs))


def test_networks_with_buffers_are_not_batched_unasked(monkeypatch):
    on_gpu = torch.zeros(2, 1, 3)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    assert Ensemble([nn.Linear(3, 3)] * 2).runs_batched(on_gpu)
    assert not Ensemble([nn.BatchNorm1d(3)] * 2).runs_batched(on_gpu)
    assert not Ensemble([nn.Linear(3, 3)] * 2, batched=False).runs_batched(on_gpu)


def test_wrong_numbers_of_networks_are_refused():
    with pytest.raises(ValueError, match="at least one network"):
        Ensemble([])
    with pytest.raises(ValueError, match="inputs for 3 networks, but the ensemble has 2"):
        Ensemble([MLP(3, 4, 1)] * 2)(torch.zeros(3, 5, 3))
    with pytest.raises(ValueError, match="2 networks, not one"):
        Ensemble([MLP(3, 4, 1)] * 2).single  # noqa: B018


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_batched_on_a_gpu_is_in_turn(precision):
    networks = [Transformer(SMALL).cuda() for _ in range(3)]
    text = tokens(3, 4, SMALL.context).cuda()
    with torch.autocast("cuda", precision, enabled=precision == torch.bfloat16):
        batched, in_turn = Ensemble(networks)(text), Ensemble(networks, batched=False)(text)
    torch.testing.assert_close(
        batched, in_turn, atol=3e-2 if precision == torch.bfloat16 else 1e-4, rtol=1e-2
    )
