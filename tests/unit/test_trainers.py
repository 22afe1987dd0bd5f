"""The training loop: seeds side by side, ends and divergence, checkpoints, gradients, schedules, precision."""

import math
from dataclasses import asdict, replace

import jaxtyping
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beyondloss.models import MLP, Ensemble, Transformer, TransformerConfig
from beyondloss.trainers import BadCheckpoint, Streams, TrainConfig, seeded_networks, train
from beyondloss.trainers import loop as training_loop
from beyondloss.trainers.config import lr_at

NETWORK = TransformerConfig(vocab_size=7, context=8, n_layers=1, n_heads=2, d_model=8)
CONFIG = TrainConfig(steps=12, lr=1e-2, evaluate_every=4)


class Killed(Exception):
    """Stands for the end of a process."""


def next_token_loss(model: Ensemble, streams: Streams) -> Tensor:
    text = streams.integers(7, 4, 8)
    logits = model(text)[:, :, :-1]
    losses = F.cross_entropy(logits.flatten(0, 2).float(), text[:, :, 1:].flatten(), reduction="none")
    return losses.view(model.members, -1).mean(1)


def killed_at(call: int, objective=next_token_loss):
    """The objective, in a process that dies at this call of it."""
    calls = iter(range(call))

    def dying(model: Ensemble, streams: Streams) -> Tensor:
        if next(calls, None) is None:
            raise Killed
        return objective(model, streams)

    return dying


def blown_up_at(call: int, member: int, value: float = math.nan):
    """The objective with one member's loss turned into `value` at this call of it."""
    calls = 0

    def objective(model: Ensemble, streams: Streams) -> Tensor:
        nonlocal calls
        calls += 1
        losses = next_token_loss(model, streams)
        factor = torch.ones(model.members)
        factor[member] = value if calls == call + 1 else 1.0
        return losses * factor

    return objective


def sums(model: Ensemble) -> dict[str, list[float]]:
    return {"sum": [network.token.weight.double().sum().item() for network in model.networks]}


def run(seeds, config=CONFIG, objective=next_token_loss, network=NETWORK, **options):
    """Train transformers of these seeds and return them with their history."""
    model = seeded_networks(lambda: Transformer(network), seeds)
    return model, train(model, objective, config, Streams(seeds), sums, **options)


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(name == other and torch.equal(a, b) for (name, a), (other, b) in pairs)


# Seeds side by side


def test_a_seed_sees_the_same_numbers_alone_and_beside_others():
    beside, alone = Streams([3, 1, 4]), Streams([1])
    assert torch.equal(beside.uniform(5, 2)[1:2], alone.uniform(5, 2))
    assert torch.equal(beside.integers(9, 40)[1:2], alone.integers(9, 40))
    assert not torch.equal(*Streams([3, 1]).uniform(5))
    normal = Streams([0, 1]).normal(20_000)
    assert torch.equal(normal[1], Streams([1]).normal(20_000)[0])
    assert abs(normal.mean()) < 0.03 and abs(normal.std() - 1) < 0.03


@pytest.mark.parametrize("rho", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
def test_a_seed_becomes_the_same_network_alone_and_beside_others(optimizer, rho):
    config = replace(CONFIG, optimizer=optimizer, weight_decay=0.1, clip=0.5, rho=rho)
    model, history = run([3, 1, 4], config)
    for member, seed in enumerate([3, 1, 4]):
        alone, alone_history = run([seed], config)
        torch.testing.assert_close(model.networks[member].state_dict(), alone.single.state_dict())
        assert history.of(member)["sum"] == pytest.approx(alone_history.of(0)["sum"], abs=1e-5)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # attention has no batching rule on a CPU
def test_training_in_batched_calls_gives_the_same_networks():
    config = replace(
        CONFIG, optimizer="sgd"
    )  # Adam blows up the rounding errors of keys' biases, which do nothing
    in_turn, _ = run([3, 1], config)
    batched = seeded_networks(lambda: Transformer(NETWORK), [3, 1])
    batched.batched = True
    train(batched, next_token_loss, config, Streams([3, 1]))
    torch.testing.assert_close(batched.state_dict(), in_turn.state_dict())


def test_neither_networks_nor_training_touch_the_global_stream():
    state = torch.get_rng_state()
    run([0], network=replace(NETWORK, dropout=0.2))
    assert torch.equal(state, torch.get_rng_state())


def test_evaluation_is_without_dropout_and_training_goes_on_with_it():
    seen = {"objective": [], "evaluation": []}
    model = seeded_networks(lambda: Transformer(replace(NETWORK, dropout=0.2)), [0])

    def objective(model, streams):
        seen["objective"].append(model.single.training)
        return next_token_loss(model, streams)

    def evaluate(model):
        seen["evaluation"].append(model.single.training)
        return sums(model)

    train(model, objective, replace(CONFIG, steps=4, evaluate_every=2), Streams([0]), evaluate)
    assert seen == {"objective": [True] * 4, "evaluation": [False] * 2}


def test_another_seed_drops_other_units():
    def dropped(seed):
        with Streams([seed]).seeded_dropout():
            return torch.rand(4)

    assert torch.equal(dropped(3), dropped(3)) and not torch.equal(dropped(3), dropped(4))


def test_dropout_depends_on_the_seed_alone():
    dropping = replace(NETWORK, dropout=0.2)
    first, _ = run([5], network=dropping)
    torch.rand(3)
    second, _ = run([5], network=dropping)
    assert same_weights(first, second)


def test_a_finished_member_ends_as_it_would_alone_and_the_others_go_on():
    threshold = lambda row: max(row["sum"]) > 0.0 and row["step"] >= 8  # noqa: E731
    seeds = [0, 1, 2, 3]
    model, history = run(seeds, until=threshold)
    assert {8, None} <= set(history.finished_at), "the threshold should part the seeds"
    for member, seed in enumerate(seeds):
        alone, alone_history = run([seed], until=threshold)
        assert history.finished_at[member] == alone_history.finished_at[0]
        assert history.of(member)["step"] == alone_history.of(0)["step"]
        torch.testing.assert_close(model.networks[member].state_dict(), alone.single.state_dict())


def test_training_ends_when_all_have_finished():
    _, history = run([0, 1], until=lambda row: row["step"] == 4)
    assert [row["step"] for row in history.rows] == history.of(0)["step"] == [4]


# Divergence


LONG = replace(CONFIG, steps=110, evaluate_every=50)  # the loop looks at the losses at 50, 100 and 110


@pytest.fixture(scope="module")
def healthy():
    return run([3, 1, 4], LONG)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("step", [0, 5, 103])
def test_divergence_is_recorded_with_its_step_and_harms_no_other(value, step, healthy):
    healthy_model, healthy_history = healthy
    model, history = run([3, 1, 4], LONG, blown_up_at(step, member=1, value=value))
    assert history.diverged_at == [None, step, None]
    assert history.of(1)["step"] == [s for s in (50, 100, 110) if s <= step]
    for member in (0, 2):
        assert same_weights(model.networks[member], healthy_model.networks[member])
        assert history.of(member) == healthy_history.of(member)


@pytest.mark.parametrize(("evaluate_every", "steps"), [(50, 50), (300, training_loop.LOOK_EVERY)])
def test_training_ends_at_the_first_look_after_all_have_diverged(evaluate_every, steps):
    calls = []

    def objective(model: Ensemble, streams: Streams) -> Tensor:
        calls.append(1)
        return next_token_loss(model, streams) * math.nan

    _, history = run([0, 1], replace(CONFIG, steps=1000, evaluate_every=evaluate_every), objective)
    assert history.diverged_at == [0, 0]
    assert history.rows == []
    assert history.of(0) == {"step": []}
    assert len(calls) == steps


def test_a_diverging_learning_rate_is_noticed():
    _, history = run([0, 1], TrainConfig(steps=60, lr=1e30, optimizer="sgd", clip=0.0))
    assert all(step is not None and 0 < step < 60 for step in history.diverged_at)


# Checkpoints

RUNS = {
    "plain": {},
    "dropout": {"network": replace(NETWORK, dropout=0.3)},
    "warm-up and cosine": {"config": replace(CONFIG, schedule="cosine", warmup=7, weight_decay=0.1)},
    "momentum": {"config": replace(CONFIG, optimizer="sgd", lr=0.05)},
    "two batches a step": {"config": replace(CONFIG, accumulate=2)},
    "bfloat16": {"config": replace(CONFIG, precision="bfloat16")},
    "muon": {"config": replace(CONFIG, optimizer="muon", weight_decay=0.1)},
    "sam": {"config": replace(CONFIG, rho=0.1, accumulate=2), "network": replace(NETWORK, dropout=0.3)},
    "sam around muon": {"config": replace(CONFIG, rho=0.1, optimizer="muon")},
    "until": {"until": lambda row: row["step"] == 8 and max(row["sum"]) > 0.0},
}
DEATHS = [
    (name, call) for name in RUNS for call in (1, 4, 6, 11) if (name, call) != ("until", 11)
]  # over by then


@pytest.mark.parametrize("seeds", [[2], [2, 0, 1]])
@pytest.mark.parametrize(("name", "call"), DEATHS)
def test_a_resumed_run_is_the_run_bit_for_bit(name, seeds, call, tmp_path):
    options = dict(RUNS[name])
    config = replace(options.pop("config", CONFIG), checkpoint_every=3)
    whole, whole_history = run(seeds, config, **options)
    with pytest.raises(Killed):
        run(seeds, config, killed_at(call), checkpoint=tmp_path / "run.pt", **options)
    calls_a_step = config.accumulate * (2 if config.rho else 1)
    assert (tmp_path / "run.pt").exists() == (call // calls_a_step >= 3)
    resumed, history = run(seeds, config, checkpoint=tmp_path / "run.pt", **options)
    assert asdict(history) == asdict(whole_history)
    assert same_weights(resumed, whole)


def test_a_run_with_a_diverged_member_resumes_to_itself(tmp_path):
    config = replace(CONFIG, checkpoint_every=3)
    whole, whole_history = run([2, 0], config, blown_up_at(4, member=0))
    with pytest.raises(Killed):
        run([2, 0], config, killed_at(8, blown_up_at(4, member=0)), checkpoint=tmp_path / "run.pt")
    resumed, history = run([2, 0], config, checkpoint=tmp_path / "run.pt")
    assert history.diverged_at == whole_history.diverged_at == [4, None]
    assert history.of(1) == whole_history.of(1)
    assert same_weights(resumed.networks[1], whole.networks[1])


def test_a_run_with_a_finished_member_resumes_to_itself(tmp_path):
    config, seeds = replace(CONFIG, checkpoint_every=5), [0, 1, 2, 3]
    early = lambda row: row["step"] == 4 and max(row["sum"]) > 0.0  # noqa: E731
    whole, whole_history = run(seeds, config, until=early)
    with pytest.raises(Killed):
        run(seeds, config, killed_at(6), until=early, checkpoint=tmp_path / "run.pt")
    resumed, history = run(seeds, config, until=early, checkpoint=tmp_path / "run.pt")
    assert {4, None} == set(history.finished_at)
    assert asdict(history) == asdict(whole_history)
    assert same_weights(resumed, whole)


def test_a_done_run_is_not_run_again(tmp_path):
    config = replace(CONFIG, checkpoint_every=CONFIG.steps)
    whole, whole_history = run([0], config, checkpoint=tmp_path / "run.pt")
    again, history = run([0], config, killed_at(0), checkpoint=tmp_path / "run.pt")
    assert asdict(history) == asdict(whole_history)
    assert same_weights(again, whole)


@pytest.fixture
def written(tmp_path):
    """A checkpoint after 6 steps of seed 0."""
    config, path = replace(CONFIG, checkpoint_every=6), tmp_path / "run.pt"
    with pytest.raises(Killed):
        run([0], config, killed_at(7), checkpoint=path)
    return config, path


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_checkpoint_is_refused_by_name_with_the_way_out(written, share):
    config, path = written
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(
        BadCheckpoint, match=r"checkpoint .*run\.pt is damaged: delete it to train from the start"
    ):
        run([0], config, checkpoint=path)


def test_a_changed_byte_is_noticed(written):
    config, path = written
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadCheckpoint, match="is damaged"):
        run([0], config, checkpoint=path)


@pytest.mark.parametrize(
    ("seeds", "changes", "network", "difference"),
    [
        ([0], {"lr": 0.02}, NETWORK, "lr: 0.01 there, 0.02 here"),
        ([0], {"steps": 13}, NETWORK, "steps: 12 there, 13 here"),
        ([1], {}, NETWORK, r"seeds: \(0,\) there, \(1,\) here"),
        ([0, 1], {}, NETWORK, r"seeds: \(0,\) there, \(0, 1\) here"),
        ([0], {}, replace(NETWORK, vocab_size=9), r"token.weight: \(7, 8\) there, \(9, 8\) here"),
        ([0], {}, replace(NETWORK, n_layers=2), r"blocks.1.*: None there, \(8,\) here"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(written, seeds, changes, network, difference):
    config, path = written
    with pytest.raises(BadCheckpoint, match=rf"run\.pt is of another run \(.*{difference}\): delete it"):
        run(seeds, replace(config, **changes), network=network, checkpoint=path)


def test_a_write_that_fails_leaves_the_last_checkpoint_whole(written, monkeypatch):
    config, path = written
    before = path.read_bytes()

    def full_disk(state, file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("beyondloss.trainers.checkpoint.torch.save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        run([0], config, checkpoint=path)
    assert path.read_bytes() == before


# Gradients and the optimizer


def test_members_are_clipped_as_they_would_be_alone():
    networks = [MLP(3, 4, 2) for _ in range(2)]
    for scale, network in zip([100.0, 1e-3], networks, strict=True):
        (network(torch.ones(5, 3)).sum() * scale).backward()
    untouched = [p.grad.clone() for p in networks[1].parameters()]
    direction = [p.grad.clone() for p in networks[0].parameters()]
    training_loop.clip_each_member(Ensemble(networks), 0.7)
    assert all(
        torch.equal(p.grad, before) for p, before in zip(networks[1].parameters(), untouched, strict=True)
    )
    clipped = torch.cat([p.grad.flatten() for p in networks[0].parameters()])
    before = torch.cat([gradient.flatten() for gradient in direction])
    torch.testing.assert_close(clipped, 0.7 * before / before.norm())


def decayed(config: TrainConfig) -> Ensemble:
    """A transformer of ones after training without a gradient."""
    model = seeded_networks(lambda: Transformer(NETWORK), [0])
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    without_gradient = lambda model, streams: model(streams.integers(7, 4, 8)).mean((1, 2, 3)) * 0.0  # noqa: E731
    train(model, without_gradient, config, Streams([0]))
    return model


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
def test_weight_decay_falls_on_matrices_and_tables_alone(optimizer):
    model = decayed(TrainConfig(steps=1, lr=0.1, weight_decay=0.5, optimizer=optimizer))
    shrunk = {name for name, p in model.single.named_parameters() if torch.allclose(p, torch.tensor(0.95))}
    still = {name for name, p in model.single.named_parameters() if torch.equal(p, torch.ones_like(p))}
    assert {"token.weight", "position.weight", "blocks.0.expand.weight"} <= shrunk
    assert {"norm.weight", "blocks.0.expand.bias", "blocks.0.norm_mlp.bias"} <= still
    assert shrunk | still == {name for name, _ in model.single.named_parameters()}


def test_accumulated_batches_are_one_large_batch():
    config = TrainConfig(steps=3, lr=0.1, optimizer="sgd", clip=0.0)

    def large_batch(model: Ensemble, streams: Streams) -> Tensor:
        return (next_token_loss(model, streams) + next_token_loss(model, streams)) / 2

    accumulated, _ = run([0, 1], replace(config, accumulate=2))
    large, _ = run([0, 1], config, large_batch)
    torch.testing.assert_close(accumulated.state_dict(), large.state_dict())


def test_frozen_weights_stay_and_others_stay_trainable():
    model = seeded_networks(lambda: Transformer(NETWORK), [0, 1])
    for network in model.networks:
        network.token.requires_grad_(False)
    before = model.networks[0].token.weight.clone()
    train(model, next_token_loss, CONFIG, Streams([0, 1]), sums, until=lambda row: row["step"] == 8)
    assert torch.equal(model.networks[0].token.weight, before)
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ["networks.0.token.weight", "networks.1.token.weight"]


def test_schedules():
    config = TrainConfig(steps=110, lr=2.0, warmup=10)
    assert [lr_at(step, config) for step in (0, 4, 9, 10, 109)] == [0.2, 1.0, 2.0, 2.0, 2.0]
    cosine = replace(config, schedule="cosine")
    assert [lr_at(step, cosine) for step in (9, 10, 60, 110)] == pytest.approx([2.0, 2.0, 1.1, 0.2])
    linear = replace(config, schedule="linear")
    assert [lr_at(step, linear) for step in (10, 60, 109)] == pytest.approx([2.0, 1.0, 0.02])


def test_every_step_has_its_learning_rate():
    model = decayed(TrainConfig(steps=2, lr=0.4, warmup=4, weight_decay=0.5))
    expected = torch.tensor((1 - 0.1 * 0.5) * (1 - 0.2 * 0.5))
    torch.testing.assert_close(model.single.token.weight, expected.expand(7, 8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "adam"}, "optimizer must be one of adamw, sgd, muon, got 'adam'"),
        (
            {"schedule": "step"},
            "schedule must be one of constant, cosine, cosine to zero, linear, got 'step'",
        ),
        ({"precision": "float16"}, "precision must be one of float32, bfloat16, got 'float16'"),
        ({"steps": 0}, "steps must be positive, got 0"),
        ({"accumulate": 0}, "accumulate must be positive, got 0"),
        ({"rho": -0.1}, "rho must not be negative, got -0.1"),
        ({"clip": -1.0}, "clip must not be negative, got -1.0"),
        ({"lr": float("nan")}, "lr must be finite, got nan"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)


def test_a_loss_that_is_not_one_a_member_is_refused():
    with pytest.raises(ValueError, match=r"one loss a member: wanted shape \[2\], got \[\]"):
        run([0, 1], objective=lambda model, streams: next_token_loss(model, streams).mean())


def test_numbers_of_streams_and_of_values_that_do_not_fit_are_refused():
    model = seeded_networks(lambda: Transformer(NETWORK), [0, 1])
    with pytest.raises(ValueError, match="3 streams for 2 networks"):
        train(model, next_token_loss, CONFIG, Streams([0, 1, 2]))
    with pytest.raises(ValueError, match="metric loss has 1 values for 2 networks"):
        train(model, next_token_loss, CONFIG, Streams([0, 1]), lambda model: {"loss": [0.0]})


# Precision and compilation


def test_bfloat16_is_for_products_only():
    seen = []

    def objective(model: Ensemble, streams: Streams) -> Tensor:
        seen.append(model(streams.integers(7, 4, 8)).dtype)
        return next_token_loss(model, streams)

    model, _ = run([0], replace(CONFIG, precision="bfloat16"), objective)
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.fixture
def unchecked_shapes():
    """The compiler can't follow the checks of shapes that tests put into every function."""
    checked = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", checked)


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
@pytest.mark.usefixtures("unchecked_shapes")
def test_a_compiled_network_learns_the_same(seeds, monkeypatch):
    traced = lambda model: nn.Module.compile(model, backend="aot_eager")  # noqa: E731  needs no C++ compiler
    monkeypatch.setattr(Ensemble, "compile", traced)
    compiled, history = run(seeds, replace(CONFIG, compile=True, steps=4))
    plain, plain_history = run(seeds, replace(CONFIG, steps=4))
    assert compiled._compiled_call_impl is not None
    torch.testing.assert_close(compiled.state_dict(), plain.state_dict())
    assert history.of(0)["sum"] == pytest.approx(plain_history.of(0)["sum"])


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@needs_gpu
def test_a_gpu_draws_what_a_cpu_draws():
    for draw in (
        lambda streams: streams.uniform(5),
        lambda streams: streams.normal(2, 3),
        lambda streams: streams.integers(7, 4),
    ):
        assert torch.equal(draw(Streams([3, 1], "cuda")).cpu(), draw(Streams([3, 1])))


@needs_gpu
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")  # of torch's own compiler
@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
@pytest.mark.parametrize("change", [{}, {"precision": "bfloat16"}, {"compile": True}])
def test_a_gpu_learns_what_a_cpu_learns(seeds, change):
    """Batches come from the CPU's streams, so that both see the same ones."""
    losses = {}
    for device in ("cpu", "cuda"):
        draws, curve = Streams(seeds), []

        def objective(model: Ensemble, streams: Streams, draws=draws, curve=curve, device=device) -> Tensor:
            text = draws.integers(7, 4, 8).to(device)
            logits = model(text)[:, :, :-1].float()
            each = F.cross_entropy(logits.flatten(0, 2), text[:, :, 1:].flatten(), reduction="none")
            curve.append(each.view(model.members, -1).mean(1))
            return curve[-1]

        model = seeded_networks(lambda: Transformer(NETWORK), seeds, device)
        train(
            model, objective, replace(CONFIG, **(change if device == "cuda" else {})), Streams(seeds, device)
        )
        losses[device] = torch.stack(curve).detach().cpu()
    torch.testing.assert_close(
        losses["cuda"], losses["cpu"], atol=0.03 if "precision" in change else 1e-3, rtol=0
    )


@needs_gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_a_step_does_not_wait_for_the_gpu():
    model = seeded_networks(lambda: Transformer(NETWORK), [0, 1], "cuda")
    try:
        torch.cuda.set_sync_debug_mode("error")
        for _ in range(3):
            training_loop.backward(
                next_token_loss, model, Streams([0, 1], "cuda"), 1, torch.autocast("cuda", enabled=False)
            )
            training_loop.clip_each_member(model, 1.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_gpu
def test_a_resumed_run_on_a_gpu_goes_on_from_its_streams(tmp_path):
    streams = Streams([0], "cuda")
    with streams.seeded_dropout():
        state = streams.state()
        first = streams.uniform(3), torch.rand(3, device="cuda")
        streams.restore(state)
        assert all(map(torch.equal, first, (streams.uniform(3), torch.rand(3, device="cuda"))))
