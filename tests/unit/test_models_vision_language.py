"""A vision-language stand-in on real files: cached features, exchanged embeddings, attention to images, parts."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from beyondloss.choices import BadInput
from beyondloss.data import Answered, HubError
from beyondloss.models import Ensemble, stand_ins
from beyondloss.models import vision_language as vl
from beyondloss.trainers import TrainConfig
from beyondloss.trainers.config import make_optimizer
from beyondloss.trainers.fine_tuning import AnswerLosses, AnswerLossesFromFeatures, Lora, fine_tune, with_lora

# peft asks transformers for an attribute that has another name now
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

TEXTS = ["<image>what is it?", "<image>yes"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    processor = stand_ins.llava_processor(stand_ins.byte_tokenizer())
    model = stand_ins.tiny_llava(processor, seed=3)
    return stand_ins.write(tmp_path_factory.mktemp("llava"), model, processor)


@pytest.fixture
def loaded(folder):
    return vl.load(str(folder))


@pytest.fixture
def batch(loaded):
    """Two rows, the second shorter, with one image of another shape each."""
    generator = np.random.default_rng(0)
    shapes = ((30, 40, 3), (24, 24, 3))
    images = [Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)) for shape in shapes]
    return loaded.processor(images=images, text=TEXTS, padding=True, return_tensors="pt")


def assert_same_where_there_are_tokens(ours, theirs, batch):
    there = batch["attention_mask"].bool()
    torch.testing.assert_close(ours[there], theirs[there], atol=1e-5, rtol=1e-5)


# Loading ---------------------------------------------------------------------------------------------------------


def test_a_stand_in_comes_back_from_its_folder_with_its_processor(loaded, batch):
    made = stand_ins.tiny_llava(loaded.processor, seed=3)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(**batch).logits, made(**batch).logits)
        other = stand_ins.tiny_llava(loaded.processor, seed=4)(**batch).logits
    assert (made(**batch).logits - other).abs().max() > 1e-3 and not loaded.model.training
    assert batch["pixel_values"].shape == (2, 3, 24, 24)
    assert vl.image_places(loaded.model, batch["input_ids"]).sum(1).tolist() == [9, 9]
    assert loaded.processor.tokenizer.decode(batch["input_ids"][0, 9:]) == "what is it?"


def test_pixels_are_those_of_clip(loaded, batch):
    grey = loaded.processor.image_processor(Image.new("RGB", (24, 24), (255, 0, 0)), return_tensors="pt")
    red, green, _ = grey["pixel_values"][0]
    assert torch.allclose(red, torch.tensor((1 - 0.48145466) / 0.26862954), atol=1e-4)
    assert torch.allclose(green, torch.tensor(-0.4578275 / 0.26130258), atol=1e-4)


def test_what_cannot_be_loaded_is_said_in_one_line(folder, tmp_path, tiny_llama):
    torn = tmp_path / "torn"
    torn.mkdir()
    for file in folder.iterdir():
        (torn / file.name).write_bytes(file.read_bytes())
    (torn / "model.safetensors").unlink()
    for spec, said in {
        "owner/name": "model owner/name names no revision",
        "owner/name@c0ffee": "model owner/name: config.json at revision c0ffee is not on this machine",
        str(torn): "has no file model.safetensors: the folder is incomplete",
        str(tiny_llama): "is of type llama, not llava: it is no vision-language model of that form",
    }.items():
        with pytest.raises(HubError, match=said) as refused:
            vl.load(spec)
        assert "\n" not in str(refused.value)


def test_an_image_of_parts_of_patches_is_refused():
    with pytest.raises(ValueError, match="25 pixels are no multiple of a patch of 8"):
        stand_ins.llava_processor(stand_ins.byte_tokenizer(), size=25)


# Features and embeddings -----------------------------------------------------------------------------------------


def test_cached_features_give_the_logits_of_the_full_path(loaded, batch):
    features = vl.image_features(loaded.model, batch["pixel_values"])
    assert features.shape == (2, 9, 16) and not features.requires_grad
    embedded = vl.embed(loaded.model, batch["input_ids"], features)
    with torch.no_grad():
        full = loaded.model(**batch).logits
        cached = loaded.model(inputs_embeds=embedded, attention_mask=batch["attention_mask"]).logits
        swapped = vl.embed(loaded.model, batch["input_ids"], features.flip(0))
        other = loaded.model(inputs_embeds=swapped, attention_mask=batch["attention_mask"]).logits
    assert_same_where_there_are_tokens(cached, full, batch)
    assert (other - full).abs().max() > 1e-3


def test_cached_features_are_those_of_every_choice_of_layers(loaded, batch):
    config = loaded.model.config
    for layer, strategy, patches in ((-1, "default", 9), (1, "full", 10)):
        config.vision_feature_layer, config.vision_feature_select_strategy = layer, strategy
        states = loaded.model.model.vision_tower(
            batch["pixel_values"], output_hidden_states=True
        ).hidden_states
        features = vl.image_features(loaded.model, batch["pixel_values"])
        torch.testing.assert_close(features, states[layer][:, -patches:])


def test_text_is_generated_from_embeddings_as_from_pixels(loaded, batch):
    row = {name: tensor[:1] for name, tensor in batch.items()}
    features = vl.image_features(loaded.model, row["pixel_values"])
    said = loaded.model.generate(**row, max_new_tokens=6, do_sample=False)[:, row["input_ids"].shape[1] :]
    embedded = vl.embed(loaded.model, row["input_ids"], features)
    again = loaded.model.generate(
        inputs_embeds=embedded, attention_mask=row["attention_mask"], max_new_tokens=6, do_sample=False
    )
    assert torch.equal(said, again)


def test_gradients_reach_projector_and_words_and_not_the_tower(loaded, batch):
    features = vl.image_features(loaded.model, batch["pixel_values"])
    embedded = vl.embed(loaded.model, batch["input_ids"], features)
    loaded.model(inputs_embeds=embedded, attention_mask=batch["attention_mask"]).logits.sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in vl.part(loaded.model, vl.PROJECTOR).parameters())
    assert loaded.model.get_input_embeddings().weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in vl.part(loaded.model, vl.VISION).parameters())


def test_the_embeddings_of_a_text_in_place_of_images_are_that_text(loaded, batch):
    tokens = batch["input_ids"].clone()
    words = torch.randint(0, 256, (2, 9))
    embedded = vl.placed(loaded.model, tokens, loaded.model.get_input_embeddings()(words))
    tokens[vl.image_places(loaded.model, tokens)] = words.flatten()
    with torch.no_grad():
        theirs = loaded.model(input_ids=tokens, attention_mask=batch["attention_mask"]).logits
        ours = loaded.model(inputs_embeds=embedded, attention_mask=batch["attention_mask"]).logits
    assert_same_where_there_are_tokens(ours, theirs, batch)


def test_as_many_image_tokens_as_places_are_needed(loaded, batch):
    features = vl.image_features(loaded.model, batch["pixel_values"])
    with pytest.raises(ValueError, match="have 18 places for images, but 1 images of 9 tokens are given"):
        vl.embed(loaded.model, batch["input_ids"], features[:1])


# Attention -------------------------------------------------------------------------------------------------------


def maps_of(model, batch):
    """Attention of all to all, as the library gives it."""
    part = vl.part(model, vl.LANGUAGE)
    part.set_attn_implementation("eager")
    maps = model(**batch, output_attentions=True).attentions
    part.set_attn_implementation("sdpa")
    return [layer.detach() for layer in maps]


def test_attention_to_images_is_that_part_of_the_model_s_own(loaded, batch):
    found = vl.cross_modal_attention(
        loaded.model, batch["input_ids"], batch["attention_mask"], **pixels(batch)
    )
    assert found.shape == (2, 2, len("what is it?"), 9)
    for layer, whole in enumerate(maps_of(loaded.model, batch)):
        torch.testing.assert_close(found[layer, 0], whole[0, :, 9:, :9].mean(0))
        torch.testing.assert_close(found[layer, 1, :3], whole[1, :, 9:12, :9].mean(0))
    assert (found[:, 1, 3:] == 0).all() and (found[:, 0].sum(-1) < 1).all() and (found[:, 0] > 0).all()


def pixels(batch):
    return {"pixel_values": batch["pixel_values"]}


def test_images_between_words_are_found_where_they_stand(loaded, batch):
    tokens = torch.cat([batch["input_ids"][:1, -3:], batch["input_ids"][:1, :-3]], 1)
    one = {"input_ids": tokens, "pixel_values": batch["pixel_values"][:1]}
    found = vl.cross_modal_attention(loaded.model, tokens, pixel_values=one["pixel_values"])
    whole = maps_of(loaded.model, one)[1][0].mean(0)
    texts = [0, 1, 2, *range(12, 20)]
    torch.testing.assert_close(found[1, 0], whole[texts][:, 3:12])
    assert (found[:, 0, :3] == 0).all()  # words before an image do not see it


def test_of_a_summary_alone_is_kept_and_cached_features_serve_as_well(loaded, batch):
    features = vl.image_features(loaded.model, batch["pixel_values"])
    embedded = vl.embed(loaded.model, batch["input_ids"], features)
    top = vl.cross_modal_attention(
        loaded.model,
        batch["input_ids"],
        batch["attention_mask"],
        summary=lambda block: torch.linalg.svdvals(block.mean(1))[:, :2],
        inputs_embeds=embedded,
    )
    whole = maps_of(loaded.model, batch)[1]
    alone = torch.linalg.svdvals(whole[1, :, 9:12, :9].mean(0))[:2]
    assert top.shape == (2, 2, 2)
    torch.testing.assert_close(top[1, 1], alone, atol=1e-5, rtol=1e-4)


def test_the_model_is_afterwards_as_it_was(loaded, batch):
    decoder = vl.part(loaded.model, vl.LANGUAGE)
    before = decoder.config._attn_implementation

    def fails(block):
        raise KeyError("a summary that fails")

    with pytest.raises(KeyError):
        vl.cross_modal_attention(loaded.model, batch["input_ids"], summary=fails, **pixels(batch))
    assert decoder.config._attn_implementation == before == "sdpa"
    assert not any(layer.self_attn._forward_hooks for layer in decoder.layers)


# Parts -----------------------------------------------------------------------------------------------------------


def test_parts_are_trained_apart_and_at_rates_of_their_own(loaded):
    model = vl.train_only(loaded.model, vl.PROJECTOR)
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert len(trained) == 4 and all(f".{vl.PROJECTOR}." in name for name in trained)
    vl.train_only(model, vl.PROJECTOR, vl.LANGUAGE, vl.HEAD)
    assert not any(weight.requires_grad for weight in vl.part(model, vl.VISION).parameters())
    config = TrainConfig(steps=1, lr=2e-4, lr_factors=((vl.PROJECTOR, 0.1),))
    groups = make_optimizer(Ensemble([model]), config).param_groups
    slow = {id(weight) for group in groups if group["factor"] == 0.1 for weight in group["params"]}
    assert slow == {id(weight) for weight in vl.part(model, vl.PROJECTOR).parameters()}


def test_every_weight_belongs_to_one_part(loaded):
    for name, _ in loaded.model.named_parameters():
        assert sum(part in name for part in vl.PARTS) == 1


def test_an_unknown_part_is_refused_with_the_nearest_match(loaded):
    with pytest.raises(BadInput, match="'projector'; did you mean 'multi_modal_projector'"):
        vl.train_only(loaded.model, "projector")
    with pytest.raises(ValueError, match="Linear has no vision_tower: it is not of LLaVA's form"):
        vl.part(torch.nn.Linear(1, 1), vl.VISION)


def test_all_of_it_works_behind_low_rank_weights(loaded, batch):
    with torch.no_grad():
        full = loaded.model(**batch).logits
    attention = vl.cross_modal_attention(loaded.model, batch["input_ids"], **pixels(batch))
    model = with_lora(loaded.model, Lora(rank=2, targets=("q_proj", "v_proj")), seed=0).eval()
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert len(trained) == 8 and all(f".{vl.LANGUAGE}." in name for name in trained)
    features = vl.image_features(model, batch["pixel_values"])
    embedded = vl.embed(model, batch["input_ids"], features)
    with torch.no_grad():
        logits = model(inputs_embeds=embedded, attention_mask=batch["attention_mask"]).logits
    assert_same_where_there_are_tokens(logits, full, batch)
    again = vl.cross_modal_attention(model, batch["input_ids"], **pixels(batch))
    torch.testing.assert_close(again, attention)


def test_the_stand_in_has_the_names_and_the_image_token_of_published_ones(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "llava" and config["vision_config"]["model_type"] == "clip_vision_model"
    assert config["image_token_index"] == 258


# Fine-tuning -----------------------------------------------------------------------------------------------------


@pytest.fixture
def rows(loaded, batch):
    """Both rows by pixels and by cached features, their texts to be learned."""
    answer = batch["attention_mask"].bool() & ~vl.image_places(loaded.model, batch["input_ids"])
    features = vl.image_features(loaded.model, batch["pixel_values"])
    by_pixels = Answered(batch["input_ids"], answer, pixels(batch))
    return by_pixels, Answered(batch["input_ids"], answer, {"features": features})


def test_losses_from_features_are_those_from_pixels(loaded, rows):
    by_pixels, by_features = rows
    full = AnswerLosses(loaded.model)(by_pixels.tokens, by_pixels.answer, **by_pixels.inputs)
    cached = AnswerLossesFromFeatures(loaded.model)(
        by_features.tokens, by_features.answer, **by_features.inputs
    )
    torch.testing.assert_close(cached, full)
    assert (cached > 0).all()


def test_the_first_stage_trains_the_projector_alone_and_lowers_the_loss(loaded, rows):
    before = {name: weight.clone() for name, weight in loaded.model.named_parameters()}
    model = AnswerLossesFromFeatures(vl.train_only(loaded.model, vl.PROJECTOR))
    first = model(rows[1].tokens, rows[1].answer, **rows[1].inputs).sum()
    fine_tune(model, rows[1], TrainConfig(steps=12, lr=3e-3), batch=2)
    moved = {
        name for name, weight in loaded.model.named_parameters() if not torch.equal(weight, before[name])
    }
    assert moved and all(vl.PROJECTOR in name for name in moved)
    assert model(rows[1].tokens, rows[1].answer, **rows[1].inputs).sum() < first


def test_two_rates_move_two_parts_apart(loaded, rows):
    before = {name: weight.clone() for name, weight in loaded.model.named_parameters()}
    model = AnswerLossesFromFeatures(vl.train_only(loaded.model, vl.PROJECTOR, vl.LANGUAGE))
    config = TrainConfig(
        steps=1, lr=1e-3, lr_factors=((vl.PROJECTOR, 0.1),)
    )  # Adam's first step has the size of lr
    fine_tune(model, rows[1], config, batch=2)
    steps = {name: (weight - before[name]).abs().max() for name, weight in loaded.model.named_parameters()}
    assert steps[f"model.{vl.PROJECTOR}.linear_1.weight"].item() == pytest.approx(1e-4, rel=0.05)
    assert steps[f"model.{vl.LANGUAGE}.layers.0.mlp.up_proj.weight"].item() == pytest.approx(1e-3, rel=0.05)
