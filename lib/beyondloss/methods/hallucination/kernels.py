"""When do two answers say the same? Equality, embeddings and entailment behind one call (chapter 10, section 2).

A kernel takes two lists of answers and returns their similarities in [0, 1], 1 for the same meaning.
"""

import re
import string
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float

from beyondloss.data import HubError
from beyondloss.models.language import load

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


@runtime_checkable
class Kernel(Protocol):
    """Similarity of every answer of the first list with every one of the second."""

    def __call__(
        self, first: Sequence[Hashable], second: Sequence[Hashable]
    ) -> Float[np.ndarray, "first second"]: ...


def plain_words(answer: Hashable) -> Hashable:
    """Lower case, without punctuation, articles and surplus blanks; what is no text stays as it is."""
    if not isinstance(answer, str):
        return answer
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split())


@dataclass(frozen=True)
class Equality:
    """1 where two answers are equal once `normalise` has read them, else 0."""

    normalise: Callable[[Hashable], Hashable] = plain_words

    def __call__(
        self, first: Sequence[Hashable], second: Sequence[Hashable]
    ) -> Float[np.ndarray, "first second"]:
        left, right = ([self.normalise(answer) for answer in answers] for answers in (first, second))
        return np.array([[float(a == b) for b in right] for a in left]).reshape(len(left), len(right))


@dataclass
class Embedding:
    """Cosine of sentence embeddings, cut at 0. `encode` turns texts into rows; each text is encoded once."""

    encode: Callable[[list[str]], Float[np.ndarray, "text width"]]
    known: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def __call__(self, first: Sequence[str], second: Sequence[str]) -> Float[np.ndarray, "first second"]:
        if new := [text for text in dict.fromkeys([*first, *second]) if text not in self.known]:
            vectors = np.asarray(self.encode(new), dtype=float)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
            self.known.update(zip(new, vectors, strict=True))
        left, right = (np.stack([self.known[text] for text in texts]) for texts in (first, second))
        return (left @ right.T).clip(0.0, 1.0)


@dataclass
class Entailment:
    """Probability that one answer entails the other, the mean of both directions.

    `classify` takes pairs (premise, hypothesis) and returns a probability of entailment each; a pair is judged once.
    """

    classify: Callable[[list[tuple[str, str]]], Float[np.ndarray, " pair"]]
    known: dict[tuple[str, str], float] = field(default_factory=dict, repr=False)

    def __call__(self, first: Sequence[str], second: Sequence[str]) -> Float[np.ndarray, "first second"]:
        pairs = {(a, b) for a in first for b in second if a != b}
        pairs |= {(b, a) for a, b in pairs}
        if new := sorted(pairs - self.known.keys()):
            self.known.update(zip(new, map(float, self.classify(new)), strict=True))
        one = lambda a, b: 1.0 if a == b else (self.known[a, b] + self.known[b, a]) / 2  # noqa: E731
        return np.array([[one(a, b) for b in second] for a in first])


def sentence_encoder(
    spec: str, device: str = "cpu", batch: int = 64
) -> Callable[[list[str]], Float[np.ndarray, "text width"]]:
    """Mean-pooled last states of an encoder by its spec. Raises HubError."""
    model, tokenizer = load(spec, device=device, kind="AutoModel")

    @torch.no_grad()
    def encode(texts: list[str]) -> Float[np.ndarray, "text width"]:
        rows = []
        for start in range(0, len(texts), batch):
            inputs = tokenizer(
                texts[start : start + batch], padding=True, truncation=True, return_tensors="pt"
            )
            inputs = inputs.to(device)
            states, mask = model(**inputs).last_hidden_state, inputs["attention_mask"][..., None]
            rows.append(((states * mask).sum(1) / mask.sum(1)).float().cpu().numpy())
        return np.concatenate(rows)

    return encode


def entailment_classifier(
    spec: str, device: str = "cpu", batch: int = 64
) -> Callable[[list[tuple[str, str]]], Float[np.ndarray, " pair"]]:
    """Probability of entailment by a model, named by its spec, that was fine-tuned on NLI.

    Raises HubError where the model is missing or none of its labels is called "entailment".
    """
    model, tokenizer = load(spec, device=device, kind="AutoModelForSequenceClassification")
    segments = getattr(model.config, "type_vocab_size", 0) > 1  # the model tells premise and hypothesis apart
    labels = {label.lower(): index for index, label in model.config.id2label.items()}
    if "entailment" not in labels:
        raise HubError(f"model {spec} has the labels {', '.join(labels)}: none of them is 'entailment'")

    @torch.no_grad()
    def classify(pairs: list[tuple[str, str]]) -> Float[np.ndarray, " pair"]:
        found = []
        for start in range(0, len(pairs), batch):
            premises, hypotheses = map(list, zip(*pairs[start : start + batch], strict=True))
            inputs = tokenizer(
                premises, hypotheses, padding=True, truncation=True, return_tensors="pt",
                return_token_type_ids=segments,
            )  # fmt: skip
            found.append(model(**inputs.to(device)).logits.float().softmax(-1)[:, labels["entailment"]].cpu())
        return torch.cat(found).numpy().astype(float)

    return classify
