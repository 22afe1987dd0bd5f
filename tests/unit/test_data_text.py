"""Text data: what it contains, that it is loaded from real files, and what is said when it is not there."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from beyondloss.data import HubError, python_documentation, wikitext
from beyondloss.data.hub import load_dataset, load_tokenizer, model_file


def test_documentation_is_this_pythons():
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics)).encode("ascii", "ignore").decode()
    data = python_documentation()
    assert data.decode(data.train) == text[: int(0.9 * len(text))]
    assert text.endswith(data.decode(data.held_out[-500:]))
    assert data.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert data.origin.endswith(sys.version.split()[0])
    assert data.vocabulary == len(data.train.unique()) == data.train.max() + 1
    assert data.held_out.max() < data.vocabulary
    assert "PSF" in data.licence


def test_documentation_leaves_out_what_cannot_be_learned(monkeypatch):
    monkeypatch.setattr("pydoc_data.topics.topics", {"b": "xyxyxé?", "a": "xyzzy" * 3})
    data = python_documentation(0.8)
    assert data.decode(data.train) == "xyzzyxyzzyxyzzy\nx"  # é is no ASCII, topics are sorted
    assert data.decode(data.held_out) == "yxyx"  # ? never occurs before


@pytest.fixture
def wikitext_folder(tmp_path, fresh_dataset_cache):
    """The layout of Salesforce/wikitext at the pinned revision, with three rows a split."""
    import pyarrow
    from pyarrow import parquet

    folder = tmp_path / "wikitext"
    config = "wikitext-103-raw-v1"
    (folder / config).mkdir(parents=True)
    listed = ""
    for split in ("train", "test"):
        rows = ["", f" = {split} = \n", f" Été in {split} . \n"]
        parquet.write_table(
            pyarrow.table({"text": rows}), folder / config / f"{split}-00000-of-00001.parquet"
        )
        listed += f"  - split: {split}\n    path: {config}/{split}-*\n"
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: {config}\n  data_files:\n{listed}---\n")
    return folder


def test_wikitext_from_a_folder(wikitext_folder, byte_tokenizer):
    data = wikitext(str(wikitext_folder), str(byte_tokenizer))
    assert data.decode(data.train) == " = train = \n Été in train . \n"
    assert data.decode(data.held_out) == " = test = \n Été in test . \n"
    assert data.train.dtype == torch.int32 and data.vocabulary == 262
    assert str(wikitext_folder) in data.origin and "CC BY-SA" in data.licence


def test_a_damaged_file_is_named(wikitext_folder, byte_tokenizer):
    for file in wikitext_folder.glob("*/train*"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(HubError, match=f"dataset {wikitext_folder}: .*cannot be loaded"):
        wikitext(str(wikitext_folder), str(byte_tokenizer))


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (lambda: model_file("a/b", "config.json", "c0ffee"), "model a/b: config.json at revision c0ffee"),
        (lambda: load_tokenizer("a/b", "c0ffee"), "model a/b: tokenizer.json at revision c0ffee"),
        (lambda: load_dataset("a/b", "raw", "c0ffee"), "dataset a/b: raw at revision c0ffee"),
    ],
)
def test_no_network_says_how_to_run_offline(load, said):
    with pytest.raises(HubError, match="the hub cannot be reached") as caught:
        load()
    message = str(caught.value)
    assert message.startswith(said) and "\n" not in message
    assert "hf download a/b" in message and "--revision c0ffee" in message and "FOLDER" in message


@pytest.mark.parametrize("name", ["/no/such/folder", "./here", "one/two/three"])
def test_a_folder_that_is_not_there(name):
    for load in (load_dataset, load_tokenizer, lambda name: model_file(name, "config.json")):
        with pytest.raises(HubError, match=f"{name} is no folder"):
            load(name)


class SmallHub(BaseHTTPRequestHandler):
    """Answers as the hub does: the repository's name says what is wrong with it."""

    def do_HEAD(self):
        code = next(
            (c for c in ("GatedRepo", "RevisionNotFound", "EntryNotFound") if c in self.path), "RepoNotFound"
        )
        self.send_response(403 if code == "GatedRepo" else 404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *_):
        pass


ASK = """
import json
from beyondloss.data.hub import HubError, load_dataset, load_tokenizer, model_file
answers = {}
for fault in ("GatedRepo", "RevisionNotFound", "RepoNotFound", "EntryNotFound"):
    for load in (load_dataset, load_tokenizer, model_file):
        try:
            load(f"some/{fault}", *["config.json"] * (load is not load_tokenizer), revision="c0ffee")
        except HubError as error:
            answers[f"{fault} {load.__name__}"] = f"{type(error).__name__}: {error}"
print(json.dumps(answers))
"""


def test_what_the_hub_refuses_is_explained(tmp_path):
    """The libraries' own errors against a server on this machine that answers as the hub does."""
    with ThreadingHTTPServer(("127.0.0.1", 0), SmallHub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        there = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        asked = subprocess.run(
            [sys.executable, "-c", ASK], check=False, env=there, capture_output=True, text=True
        )
        server.shutdown()
    assert asked.returncode == 0, asked.stderr
    answers = json.loads(asked.stdout)
    for load, kind in (("load_dataset", "dataset"), ("load_tokenizer", "model"), ("model_file", "model")):
        assert f"{kind} some/GatedRepo is gated" in answers[f"GatedRepo {load}"]
        assert "accept its terms on https://huggingface.co/" in answers[f"GatedRepo {load}"]
        assert f"{kind} some/RevisionNotFound has no revision c0ffee" in answers[f"RevisionNotFound {load}"]
        assert f"{kind} some/RepoNotFound is not on the hub, or is private" in answers[f"RepoNotFound {load}"]
    assert answers["EntryNotFound model_file"].startswith(
        "MissingFile: model some/EntryNotFound has no file config.json"
    )
    assert not any("\n" in answer for answer in answers.values())
