"""Small stand-ins, written to disk and loaded by the code that loads the large ones."""

import json
import os

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before any library of the hub is imported: no unit test has a network
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; threads that wait for a core spin

SPECIAL = [
    "<|startoftext|>",
    "<|endoftext|>",
    "<|mdm_mask|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
]
SUMS = [(f"{a}+{b}?", a + b) for a in range(5) for b in range(4)]


@pytest.fixture(scope="session")
def byte_tokenizer(tmp_path_factory):
    """Folder of a tokenizer with a token a byte and LLaDA's special tokens: 262 tokens."""
    from beyondloss.models import stand_ins

    folder = tmp_path_factory.mktemp("tokenizer")
    stand_ins.byte_tokenizer(SPECIAL).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory):
    """Folder of a two-layer Llama with a token a byte and a chat template."""
    from beyondloss.models import stand_ins

    tokenizer = stand_ins.byte_tokenizer()
    return stand_ins.write(tmp_path_factory.mktemp("llama"), stand_ins.tiny_llama(tokenizer), tokenizer)


@pytest.fixture
def fresh_dataset_cache(tmp_path, monkeypatch):
    """Keep what `datasets` prepares out of the user's cache."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", str(tmp_path / "downloads"))


@pytest.fixture
def conversation_folder(tmp_path, fresh_dataset_cache):
    """Folder of a data set of 60 sums as messages, the last row with a prompt too long for a small context."""
    folder = tmp_path / "sums"
    folder.mkdir()
    sums = [(f"{a}+{b}?", f"{a + b}.") for a in range(6) for b in range(10)]
    sums[-1] = ("long " * 100, "never")
    rows = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in sums
    ]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def write_configs(folder, configs):
    """A data set of several configurations, each with a train and a test split."""
    listed = ""
    for config, rows in configs.items():
        (folder / config).mkdir(parents=True)
        listed += f"- config_name: {config}\n  data_files:\n"
        for split in ("train", "test"):
            (folder / config / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
            listed += f"  - split: {split}\n    path: {config}/{split}.jsonl\n"
    (folder / "README.md").write_text(f"---\nconfigs:\n{listed}---\n")
    return folder


@pytest.fixture
def gsm8k_folder(tmp_path, fresh_dataset_cache):
    """Folder of GSM8K's layout: twenty sums."""
    rows = [{"question": q, "answer": f"We add.\n#### {total}"} for q, total in SUMS]
    return write_configs(tmp_path / "gsm8k", {"main": rows})


@pytest.fixture
def math_folder(tmp_path, fresh_dataset_cache):
    """Folder of MATH's layout: three problems a subject."""
    from beyondloss.data import problems

    rows = [{"problem": q, "solution": rf"It is $\boxed{{{total}}}$."} for q, total in SUMS[:3]]
    return write_configs(tmp_path / "math", dict.fromkeys(problems.SUBJECTS, rows))
