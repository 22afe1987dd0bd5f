"""Small stand-ins, written to disk and loaded by the code that loads the large ones."""

import gzip
import json
import os
from dataclasses import replace
from itertools import combinations

import numpy as np
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


@pytest.fixture(scope="module")
def fresh_bases(tmp_path_factory):
    """A journal of the module's own, and none of the networks that earlier ones have trained."""
    from beyondloss.experiment.kept import kept_weights

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEYONDLOSS_STORE", str(tmp_path_factory.mktemp("store")))
        kept_weights.cache_clear()
        yield
        kept_weights.cache_clear()


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


@pytest.fixture
def own_plot_settings():
    """Settings of matplotlib and figures that end with the test."""
    import matplotlib.pyplot as plt

    with plt.rc_context():
        yield
    plt.close("all")


@pytest.fixture
def refused_in_one_line():
    """Check that loading a folder raises HubError in one line that names the folder and matches what is said."""
    from beyondloss.data import HubError

    def check(load, folder, said):
        with pytest.raises(HubError, match=said) as caught:
            load(str(folder))
        assert str(folder) in str(caught.value) and "\n" not in str(caught.value)

    return check


@pytest.fixture
def covered_texts():
    """Pairs of texts of a matplotlib figure, titles and ticks too, of which one covers a part of the other."""
    from matplotlib.text import Text

    def hidden_ticks(axis):
        low, high = sorted(axis.get_view_interval())
        return {tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}

    def pairs(figure):
        figure.draw_without_rendering()
        unseen = set()
        for ax in figure.axes:
            unseen |= hidden_ticks(ax.xaxis) | hidden_ticks(ax.yaxis)
        texts = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible() and t not in unseen]
        boxes = [(text.get_text(), text.get_window_extent().padded(-1)) for text in texts]
        return [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]

    return pairs


@pytest.fixture
def fresh_images():
    """Forget image sets that were loaded under another name for their place, before and after."""
    from beyondloss.data.images import load_images

    load_images.cache_clear()
    yield
    load_images.cache_clear()


@pytest.fixture
def tiny_cifar(tmp_path, monkeypatch, fresh_images, fresh_dataset_cache):
    """A folder in the layout of CIFAR-10 on the hub, with random pictures, the first in grey as a few of ImageNet."""
    import datasets
    from PIL import Image

    from beyondloss.data.images import HUB

    datasets.disable_progress_bars()
    generator = np.random.default_rng(0)
    names = [f"kind {c}" for c in range(10)]
    kinds = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    folder = tmp_path / "cifar"
    folder.mkdir()
    for part, count in (("train", 80), ("test", 20)):
        bytes_ = generator.integers(0, 255, (count, 32, 32, 3), dtype=np.uint8)
        pictures = [Image.fromarray(picture) for picture in bytes_]
        pictures[0] = pictures[0].convert("L")
        rows = {"img": pictures, "label": [i % 10 for i in range(count)]}
        datasets.Dataset.from_dict(rows, features=kinds).to_parquet(folder / f"{part}-00000.parquet")
    monkeypatch.setitem(HUB, "cifar-10", replace(HUB["cifar-10"], name=str(folder), revision=None))


def write_idx(path, array):
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))


@pytest.fixture
def save_idx():
    """Writer of a gzipped IDX file of bytes, `save_idx(path, array)`."""
    return write_idx


@pytest.fixture
def tiny_fashion(tmp_path, monkeypatch, fresh_images):
    """A folder in the layout of Debian's package, with random pictures of 28 by 28 pixels."""
    from beyondloss.data.images import HUB

    generator = np.random.default_rng(0)
    for part, count in (("train", 80), ("t10k", 20)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", generator.integers(0, 256, (count, 28, 28)))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.arange(count) % 10)
    monkeypatch.setitem(HUB, "fashion-mnist", replace(HUB["fashion-mnist"], idx=tmp_path))
    return tmp_path
