"""GRADMM for any causal language model: synthetic texts of each label whose gradient is that of real examples."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from beyondloss.choices import choose, refuse_text
from beyondloss.experiment import BadInput, code_digest
from beyondloss.methods.synthetic_text.gradients import Head, Reader, Target, head_of, targets_of
from beyondloss.methods.synthetic_text.matching import Matching, Project, match
from beyondloss.methods.synthetic_text.privacy import Privacy, hidden
from beyondloss.methods.synthetic_text.projection import NearestToken, ReadableToken, plain_words
from beyondloss.methods.synthetic_text.prompts import Task, Texts, encoded
from beyondloss.methods.synthetic_text.writing import random_tokens, written
from beyondloss.models.modes import in_mode

if TYPE_CHECKING:
    from datasets import Dataset

Examples = (
    Any  # label -> texts, or pairs (text, label); whatever else a stranger gives is refused in one line
)
MADE_BY = match  # the code that a kept group follows from


def generate(
    model: nn.Module,
    tokenizer: Any,
    examples: Examples,
    per_label: Any,
    privacy: Privacy | None = None,
    *,
    task: Task | None = None,
    matching: Matching | None = None,
    longest: int = 24,
    folder: str | Path | None = None,
    progress: bool = False,
) -> "Dataset":
    """`per_label` synthetic texts of each label, with columns text, label and distance (of its group's gradient).

    examples: pairs (text, label), or label -> texts; the labels are those of `task`, by default "negative" and
    "positive" of film reviews. privacy: noise on the examples' gradient, after which nothing looks at them again: texts
    begin with what the model writes without them, and their number is taken to be public. longest: tokens of a text.
    folder: keeps each finished group, so that a stopped run goes on; another model, other examples or settings do not
    meet there. The same seed (`matching.seed`) gives the same texts on the same machine. The model is left as it was
    found. Raises BadInput in one line.
    """
    task, matching = task or Task(), matching or Matching()
    real = by_label(examples, task)
    if isinstance(per_label, bool) or not isinstance(per_label, Integral) or per_label < 1:
        raise BadInput(f"per_label must be a whole number of at least 1, not {per_label!r}")
    with in_mode(model, training=False):
        reader, head = Reader(model, tokenizer, task), head_of(model, tokenizer, task, matching.vocabulary)
        targets = matched_to(reader, head, tokenizer, real, privacy, longest, matching.seed)
        project = projection(reader, tokenizer, task, matching)
        rows: dict[str, list] = {"text": [], "label": [], "distance": []}
        for target, label in zip(targets, task.labels, strict=True):
            groups = starts(model, tokenizer, task, label, per_label, matching, longest)
            for number, group in enumerate(shown(groups, label, progress)):
                place = kept_at(folder, matching, target, group, number)
                found = finished(place)
                if found is None:
                    matched = match(reader, head, target, group, project, matching, number)
                    found = {"texts": matched.texts.decoded(tokenizer), "distance": matched.distance}
                    keep(place, found)
                rows["text"] += found["texts"]
                rows["label"] += [label] * len(found["texts"])
                rows["distance"] += [found["distance"]] * len(found["texts"])
    from datasets import Dataset

    return Dataset.from_dict(rows)


def by_label(examples: Examples, task: Task) -> dict[str, list[str]]:
    """The texts of every label. BadInput for a text in place of a list, an unknown label, one without a text."""
    found: dict[str, list[str]] = {label: [] for label in task.labels}
    if isinstance(examples, Mapping):
        for label, texts in examples.items():
            refused(texts, f"the texts of {label}")
            found[choose("label", label, task.labels)] += list(texts)
    else:
        refused(examples, "examples")
        for pair in examples:
            if isinstance(pair, str) or len(pair) != 2:
                raise BadInput(f"an example is a pair (text, label), not {pair!r:.60}")
            found[choose("label", pair[1], task.labels)].append(pair[0])
    for label, texts in found.items():
        if not texts:
            raise BadInput(f"there is no example of the label {label}")
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                raise BadInput(f"a text of the label {label} is {text!r:.60}: it has no words")
    return found


def refused(value: Any, what: str) -> None:
    try:
        refuse_text(value, what, "a list")
    except ValueError as error:
        raise BadInput(str(error)) from None


def matched_to(
    reader: Reader,
    head: Head,
    tokenizer: Any,
    real: Mapping[str, Sequence[str]],
    privacy: Privacy | None,
    longest: int,
    seed: int,
) -> list[Target]:
    """The gradient of each label's examples, with noise where it must be private."""
    texts = [encoded(tokenizer, part, longest) for part in real.values()]
    targets = targets_of(reader, head, texts, privacy.clip if privacy else None)
    if privacy is None:
        return targets
    return [hidden(target, len(part), privacy, seed) for target, part in zip(targets, texts, strict=True)]


def projection(reader: Reader, tokenizer: Any, task: Task, matching: Matching) -> Project:
    """From embeddings to words."""
    allowed = plain_words(tokenizer)
    if matching.words != "readable":
        return NearestToken(reader.embedding.weight, allowed)
    requests = [task.request(tokenizer, label) for label in task.labels]
    return ReadableToken(reader.model, tokenizer, requests, allowed, matching.nearest)


def starts(
    model: nn.Module, tokenizer: Any, task: Task, label: str, count: int, matching: Matching, longest: int
) -> list[Texts]:
    """What matching begins with, in groups; of random embeddings only the length counts, which is `longest`."""
    if matching.start == "random":
        texts = random_tokens(tokenizer, count, longest, 10 * matching.seed + task.labels.index(label))
    else:
        said = written(model, tokenizer, task, label, count, longest=longest, seed=matching.seed)
        texts = encoded(tokenizer, said, longest)
    return in_groups(texts, matching)


def in_groups(texts: Texts, matching: Matching) -> list[Texts]:
    return [texts.rows(index) for index in torch.arange(len(texts)).split(matching.at_once)]


def shown(groups: list[Texts], label: str, progress: bool) -> Any:
    if not progress:
        return groups
    from rich.progress import track

    return track(groups, f"matching texts of the label {label}")


# What is kept -----------------------------------------------------------------------------------------------


def kept_at(
    folder: str | Path | None, matching: Matching, target: Target, start: Texts, number: int
) -> Path | None:
    """File of one group: its name says what the group follows from, the code included."""
    if folder is None:
        return None
    about = [code_digest(MADE_BY), repr(matching), target.label, number, start.tokens.tolist()]
    digest = hashlib.sha256(json.dumps(about).encode())
    digest.update(target.weights.detach().float().cpu().numpy().tobytes())
    return Path(folder) / f"{digest.hexdigest()[:20]}.json"


def finished(place: Path | None) -> dict | None:
    if place is None or not place.is_file():
        return None
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
        return {"texts": list(found["texts"]), "distance": float(found["distance"])}
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{place} is damaged ({error}): delete it and run again") from error


def keep(place: Path | None, found: dict) -> None:
    """Write a group at once: it is there whole or not at all."""
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(found), encoding="utf-8")
        part.replace(place)
