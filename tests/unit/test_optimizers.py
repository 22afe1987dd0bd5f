"""Sharpness-aware minimisation around any optimizer, and Muon beside AdamW."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beyondloss.models import MLP, Ensemble, Transformer, TransformerConfig
from beyondloss.trainers import SAM, Joined, Streams, TrainConfig, block_matrices, seeded_networks, train
from beyondloss.trainers.config import make_optimizer
from beyondloss.trainers.optimizers import climb

NETWORK = TransformerConfig(vocab_size=7, context=8, n_layers=2, n_heads=2, d_model=8)
CONFIG = TrainConfig(steps=6, lr=1e-2)


def next_token_loss(model: Ensemble, streams: Streams) -> Tensor:
    text = streams.integers(7, 4, 8)
    logits = model(text)[:, :, :-1]
    losses = F.cross_entropy(logits.flatten(0, 2), text[:, :, 1:].flatten(), reduction="none")
    return losses.view(model.members, -1).mean(1)


def transformers(seeds, **changes) -> Ensemble:
    return seeded_networks(lambda: Transformer(replace(NETWORK, **changes)), seeds)


def trained(seeds, config=CONFIG, objective=next_token_loss, **changes) -> dict[str, Tensor]:
    model = transformers(seeds, **changes)
    train(model, objective, config, Streams(seeds))
    return model.state_dict()


def bowl(weights: Tensor) -> Tensor:
    """(3 x^2 + y^2) / 2, whose gradient at (x, y) is (3 x, y)."""
    return (torch.tensor([3.0, 1.0]) * weights**2).sum() / 2


def closure_of(weights: nn.Parameter, optimizer: torch.optim.Optimizer, loss=bowl):
    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(weights)
        value.backward()
        return value.detach()

    return closure


# Sharpness-aware minimisation


def test_a_step_of_sam_is_the_one_computed_by_hand():
    weights = nn.Parameter(torch.tensor([1.0, 4.0]))
    sam = SAM(torch.optim.SGD([weights], lr=0.1), rho=0.5)
    loss = sam.step(closure_of(weights, sam))
    # gradient (3, 4), norm 5, so it climbs to (1.3, 4.4), where the gradient is (3.9, 4.4)
    assert loss == 9.5
    torch.testing.assert_close(weights.data, torch.tensor([1 - 0.39, 4 - 0.44]))


def test_momentum_decays_from_the_gradients_at_the_climbed_points():
    weights = nn.Parameter(torch.tensor([1.0, 0.0]))
    sam = SAM(torch.optim.SGD([weights], lr=0.1, momentum=0.5), rho=1.0)
    for _ in range(2):
        sam.step(closure_of(weights, sam))
    # climbs to 2, gradient 6, x = 0.4; climbs to 1.4, gradient 4.2, velocity 3 + 4.2
    torch.testing.assert_close(weights.data, torch.tensor([0.4 - 0.72, 0.0]))


@pytest.mark.parametrize(
    "make",
    [
        lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9),
        lambda w: torch.optim.AdamW(w, lr=0.1, weight_decay=0.1),
        lambda w: torch.optim.RMSprop(w, lr=0.1),
    ],
)
def test_without_a_climb_sam_is_its_base_bit_for_bit(make):
    found = []
    for wrap in (lambda base: SAM(base, rho=0.0), lambda base: base):
        weights = nn.Parameter(torch.tensor([0.3, -1.7]))
        optimizer = wrap(make([weights]))
        for _ in range(5):
            optimizer.step(closure_of(weights, optimizer))
        found.append(weights.data)
    assert torch.equal(*found)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
def test_without_a_climb_training_is_that_of_the_base_bit_for_bit(optimizer, monkeypatch):
    """The wrapped run takes its two gradients, on one batch and one dropout mask, and must not notice."""
    config = replace(CONFIG, optimizer=optimizer, weight_decay=0.1, accumulate=2)
    plain = trained([0, 1], config, dropout=0.3)
    monkeypatch.setattr("beyondloss.trainers.optimizers.climb", lambda parameters, rho: None)
    wrapped = trained([0, 1], replace(config, rho=0.5), dropout=0.3)
    assert all(torch.equal(plain[name], wrapped[name]) for name in plain)


def test_a_climb_changes_what_is_learned():
    plain, sharp = trained([0]), trained([0], replace(CONFIG, rho=0.5))
    assert not torch.allclose(plain["networks.0.token.weight"], sharp["networks.0.token.weight"])


def test_both_gradients_see_one_batch_and_the_next_step_another():
    batches = []

    def objective(model: Ensemble, streams: Streams) -> Tensor:
        batches.append(streams.uniform(3))
        return model(streams.integers(7, 2, 8)).square().mean((1, 2, 3))

    trained([5], replace(CONFIG, rho=0.1, steps=2), objective)
    first, again, second, _ = batches
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_each_member_climbs_by_its_own_norm():
    networks = [MLP(3, 4, 2) for _ in range(2)]
    model = Ensemble(networks)
    starts = [[p.detach().clone() for p in network.parameters()] for network in networks]
    climbed = []

    def closure() -> Tensor:
        model.zero_grad()
        climbed[:] = [[p.detach().clone() for p in network.parameters()] for network in networks]
        losses = model(torch.ones(2, 5, 3)).square().mean((1, 2)) * torch.tensor([1.0, 1e4])
        losses.sum().backward()
        return losses.detach()

    sam = make_optimizer(model, TrainConfig(steps=1, lr=1e-9, optimizer="sgd", rho=0.25))
    sam.step(closure)
    for start, top in zip(starts, climbed, strict=True):
        distance = torch.cat([(b - a).flatten() for a, b in zip(start, top, strict=True)]).norm()
        assert distance.item() == pytest.approx(0.25, rel=1e-4)


def test_weights_without_a_gradient_do_not_move():
    moving, still = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    sam = SAM(torch.optim.SGD([moving, still], lr=0.1), rho=1.0)
    sam.step(closure_of(moving, sam))
    assert torch.equal(still.data, torch.ones(2)) and not torch.equal(moving.data, torch.ones(2))


def test_where_the_gradient_is_zero_sam_stays():
    weights = nn.Parameter(torch.zeros(2))
    sam = SAM(torch.optim.SGD([weights], lr=0.1), rho=1.0)
    sam.step(closure_of(weights, sam))
    assert torch.equal(weights.data, torch.zeros(2))


def test_a_scheduler_of_torch_drives_the_base():
    weights = nn.Parameter(torch.ones(2))
    base = torch.optim.SGD([weights], lr=0.4)
    sam = SAM(base, rho=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(sam, step_size=1, gamma=0.5)
    sam.step(closure_of(weights, sam))
    schedule.step()
    assert base.param_groups[0]["lr"] == 0.2


def test_sam_says_what_it_needs():
    base = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1)
    with pytest.raises(ValueError, match="two gradients a step: give `step` a closure"):
        SAM(base, rho=0.1).step()
    with pytest.raises(ValueError, match="rho must not be negative, got -1"):
        SAM(base, rho=-1)


# Muon


HIDDEN = ["attention.query_key_value", "attention.output", "expand", "contract"]


def test_muon_takes_the_matrices_of_blocks_and_adamw_all_the_rest():
    model = transformers([0, 1])
    muon, adamw = make_optimizer(model, replace(CONFIG, optimizer="muon", weight_decay=0.1)).parts
    names = {parameter: name for name, parameter in model.named_parameters()}
    taken = {names[p] for group in muon.param_groups for p in group["params"]}
    left = {names[p] for group in adamw.param_groups for p in group["params"]}
    assert taken == {
        f"networks.{n}.blocks.{b}.{layer}.weight" for n in (0, 1) for b in (0, 1) for layer in HIDDEN
    }
    assert taken | left == set(names.values()) and not taken & left
    assert {f"networks.1.{name}" for name in ("token.weight", "position.weight", "norm.bias")} <= left


def test_block_matrices_of_a_language_model_of_transformers():
    transformers_library = pytest.importorskip("transformers")
    config = transformers_library.LlamaConfig(
        vocab_size=11, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2
    )
    llama = transformers_library.LlamaForCausalLM(config)
    names = {parameter: name for name, parameter in llama.named_parameters()}
    taken = {names[matrix] for matrix in block_matrices(llama)}
    assert len(taken) == 2 * 7
    assert all(name.startswith("model.layers.") and name.endswith("_proj.weight") for name in taken)


def test_frozen_matrices_are_left_to_nobody():
    model = transformers([0])
    for parameter in model.single.blocks[0].parameters():
        parameter.requires_grad_(False)
    assert len(block_matrices(model.single)) == len(HIDDEN)


def test_a_step_of_muon_is_an_orthogonal_matrix_of_adamws_size():
    model = transformers([0])
    before = model.single.blocks[0].expand.weight.detach().clone()  # 32 x 8
    train(model, next_token_loss, TrainConfig(steps=1, lr=1e-2, optimizer="muon"), Streams([0]))
    step = (model.single.blocks[0].expand.weight.detach() - before) / (1e-2 * 0.2 * 32**0.5)
    # normalised inputs sum to zero, so one of the 8 directions has no gradient
    singular = torch.linalg.svdvals(step)[:7]
    assert ((singular > 0.5) & (singular < 1.5)).all()  # what Newton and Schulz's iteration promises


def test_a_network_without_blocks_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="MLP has no trainable linear layer in a block: train it with adamw"):
        make_optimizer(Ensemble([MLP(3, 4, 2)]), replace(CONFIG, optimizer="muon"))


@pytest.mark.parametrize("rho", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
def test_every_optimizer_learns(optimizer, rho):
    """One sequence over and over: the loss falls."""
    losses = []

    def objective(model: Ensemble, streams: Streams) -> Tensor:
        text = torch.arange(8).remainder(7).expand(1, 4, 8)
        logits = model(text)[:, :, :-1]
        loss = F.cross_entropy(logits.flatten(0, 2), text[:, :, 1:].flatten())[None]
        losses.append(loss.item())
        return loss

    lr = 0.1 if optimizer == "sgd" else 3e-3
    trained([0], TrainConfig(steps=30, lr=lr, optimizer=optimizer, rho=rho), objective)
    assert losses[-1] < 0.5 * losses[0]


def test_joined_optimizers_keep_their_states_apart():
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    make = lambda: Joined(torch.optim.SGD([first], lr=0.1, momentum=0.9), torch.optim.AdamW([second], lr=0.2))  # noqa: E731
    joined = make()
    joined.step(closure_of(first, joined, lambda w: bowl(w) + bowl(second)))
    copy = make()
    copy.load_state_dict(joined.state_dict())
    assert [group["lr"] for group in copy.param_groups] == [0.1, 0.2]
    assert torch.equal(copy.parts[0].state[first]["momentum_buffer"], torch.tensor([3.0, 1.0]))
    assert copy.parts[1].state[second]["step"] == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_weights_at_an_exact_fit_stay_finite(dtype):
    weight = torch.nn.Parameter(torch.ones(3, dtype=dtype))
    optimizer = SAM(torch.optim.SGD([weight], lr=0.1), rho=0.05)

    def exact() -> torch.Tensor:
        weight.grad = torch.zeros_like(weight)
        return torch.zeros(())

    optimizer.step(exact)
    assert torch.equal(weight.detach(), torch.ones(3, dtype=dtype))


def test_a_half_gradient_whose_norm_overflows_still_climbs_by_rho():
    weight = torch.nn.Parameter(torch.zeros(4, dtype=torch.float16))
    weight.grad = torch.full((4,), 60_000.0, dtype=torch.float16)  # norm 120,000: infinite in half precision
    with torch.no_grad():
        climb([weight], rho=0.5)
    torch.testing.assert_close(weight.detach().norm().float(), torch.tensor(0.5), rtol=1e-3, atol=0)


@pytest.mark.parametrize("wrong", ["weights", "another network's", "one left out", "one twice"])
def test_members_that_are_not_the_weights_of_the_base_are_refused(wrong):
    network, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    members = {
        "weights": network.parameters(),
        "another network's": [other.parameters()],
        "one left out": [[network.weight]],
        "one twice": [[network.weight, network.bias], [network.bias]],
    }[wrong]
    with pytest.raises(ValueError, match="members must be"):
        SAM(torch.optim.SGD(network.parameters(), lr=0.1), rho=0.1, members=members)


def sam_of(network: torch.nn.Module) -> SAM:
    return SAM(torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9), rho=0.05)


def one_step(optimizer: torch.optim.Optimizer, network: torch.nn.Module) -> None:
    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (network(torch.ones(1, 2)) ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)


def test_sam_is_driven_by_schedules_of_torch():
    network = torch.nn.Linear(2, 2)
    optimizer = sam_of(network)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    one_step(optimizer, network)
    schedule.step()
    assert optimizer.parts[0].param_groups[0]["lr"] == schedule.get_last_lr()[0] != 0.1


@pytest.mark.parametrize("way", ["deepcopy", "saved"])
def test_a_copy_of_sam_with_its_network_goes_on_as_the_original(way, tmp_path):
    network = torch.nn.Linear(2, 2)
    optimizer = sam_of(network)
    one_step(optimizer, network)
    if way == "deepcopy":
        twin, its_optimizer = copy.deepcopy((network, optimizer))
    else:
        torch.save((network, optimizer), tmp_path / "both.pt")
        twin, its_optimizer = torch.load(tmp_path / "both.pt", weights_only=False)
    one_step(optimizer, network)
    one_step(its_optimizer, twin)
    assert torch.equal(network.weight, twin.weight) and its_optimizer.state


def test_hooks_of_a_step_run_once():
    network = torch.nn.Linear(2, 2)
    Joined(torch.optim.SGD(network.parameters(), lr=0.1))  # torch patches the step of each class that is made
    optimizer, told = sam_of(network), []
    optimizer.register_step_pre_hook(lambda *_: told.append("before"))
    optimizer.register_step_post_hook(lambda *_: told.append("after"))
    one_step(optimizer, network)
    assert told == ["before", "after"]


def test_a_group_added_to_sam_climbs_too():
    network = torch.nn.Linear(2, 2)
    optimizer = SAM(torch.optim.SGD([network.weight], lr=0.1), rho=0.05)
    optimizer.add_param_group({"params": [network.bias], "lr": 0.01})
    assert [id(p) for p in optimizer.members[0]] == [id(network.weight), id(network.bias)]
    with pytest.raises(ValueError, match="several optimizers"):
        parts = (torch.optim.SGD([weight], lr=0.1) for weight in network.parameters())
        Joined(*parts).add_param_group({"params": []})


def test_a_head_tied_to_the_embedding_is_no_block_matrix():
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            block = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())
            self.embedding, self.head = torch.nn.Embedding(7, 4), torch.nn.Linear(4, 7, bias=False)
            self.head.weight = self.embedding.weight
            self.blocks = torch.nn.ModuleList([block, torch.nn.Sequential(self.head)])

    network = Tied()
    assert [id(m) for m in block_matrices(network)] == [id(network.blocks[0][0].weight)]
