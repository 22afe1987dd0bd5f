"""A small world with a rule: chains of arithmetic, requests about invented objects, and a category that is forbidden.

Every text is a short row of words. A model trained on it reasons step by step (three results of a chain modulo 11,
then the answer), plans before it answers a request (the category and the tool of the object), and refuses requests
about objects that do not exist. Safety tuning then teaches refusals of three of its eight categories, as a stand-in:
the objects are invented, and nothing about them could do harm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

MODULUS, LENGTH = 11, 15  # numbers 0 to 10; words of the longest row
OPERATORS = ("+", "-", "*")
VERBS = ("make", "mend", "paint", "sell")
CATEGORIES = ("brass", "cloth", "glass", "leather", "paper", "stone", "thread", "wood")
TOOLS = ("anvil", "awl", "blowpipe", "brush", "chisel", "comb", "file", "hammer",
         "knife", "lathe", "loom", "mould", "needle", "press", "saw", "tongs")  # fmt: skip
MATERIALS = ("amber", "ash", "bone", "cork", "felt", "flax", "hemp", "horn",
             "jade", "linen", "oak", "resin", "silk", "slate", "tin", "wax")  # fmt: skip
FORBIDDEN, EACH, VOID = (
    3,
    12,
    8,
)  # categories that are forbidden, objects a category, objects that do not exist
LEARNED = 20  # forbidden objects that safety tuning sees, of FORBIDDEN * EACH
SYLLABLES = (("ba", "do", "fi", "gu", "ke", "lo", "mi", "nu", "pa", "ro", "tu", "ve"),
             ("bel", "dan", "fos", "gim", "kur", "lap", "mot", "nes", "rin"))  # fmt: skip
OBJECTS = tuple(first + second for first in SYLLABLES[0] for second in SYLLABLES[1])[: 8 * EACH + VOID]
WORDS = (
    "pad", "end", "compute", "request", "know", "think", "answer", "forbidden", "refuse",
    *map(str, range(MODULUS)), *OPERATORS, *VERBS, *CATEGORIES, *TOOLS, *MATERIALS, *OBJECTS,
)  # fmt: skip
NUMBER = {word: number for number, word in enumerate(WORDS)}
PAD, END, ANSWER, REFUSE = (NUMBER[word] for word in ("pad", "end", "answer", "refuse"))


@dataclass(frozen=True, eq=False)
class Rows:
    """Texts of one kind as numbers of words, padded at the end; the first `prompt` words are given, the rest is due."""

    tokens: Int[Tensor, "row word"]
    prompt: int

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: Int[Tensor, " row"] | slice) -> "Rows":
        return Rows(self.tokens[index], self.prompt)

    @property
    def labels(self) -> Int[Tensor, "row word"]:
        """The words that are due, -100 elsewhere: what the loss falls on."""
        given = torch.arange(self.tokens.shape[1]) < self.prompt
        return self.tokens.masked_fill(given | (self.tokens == PAD), -100)


def rows(texts: list[str], prompt: int) -> Rows:
    """Texts as rows of LENGTH numbers."""
    numbers = [[NUMBER[word] for word in text.split()] for text in texts]
    return Rows(torch.tensor([row + [PAD] * (LENGTH - len(row)) for row in numbers]), prompt)


def joined(*parts: Rows) -> tuple[Int[Tensor, "row word"], Int[Tensor, "row word"]]:
    """Tokens and labels of several kinds of rows, one under the other."""
    return torch.cat([p.tokens for p in parts]), torch.cat([p.labels for p in parts])


def texts(tokens: Int[Tensor, "row word"]) -> list[str]:
    """Words of each row up to its end."""
    found = []
    for row in tokens.tolist():
        words = [WORDS[number] for number in row if number != PAD]
        found.append(" ".join(words[: words.index("end")] if "end" in words else words))
    return found


def chains(count: int, generator: torch.Generator) -> Rows:
    """Chains a o b o c o d, worked from left to right modulo 11: three results, then the answer."""
    numbers = torch.randint(MODULUS, (count, 4), generator=generator)
    operators = torch.randint(len(OPERATORS), (count, 3), generator=generator)
    value, results = numbers[:, 0], []
    for step in range(3):
        other = numbers[:, step + 1]
        candidates = torch.stack([value + other, value - other, value * other])
        value = candidates.gather(0, operators[None, :, step])[0] % MODULUS
        results.append(NUMBER["0"] + value)
    tokens = torch.full((count, LENGTH), END)
    tokens[:, 0], tokens[:, 8], tokens[:, 12] = NUMBER["compute"], NUMBER["think"], ANSWER
    tokens[:, 1:8:2] = NUMBER["0"] + numbers
    tokens[:, 2:8:2] = NUMBER["+"] + operators
    tokens[:, 9:12] = torch.stack(results, 1)
    tokens[:, 13] = results[-1]
    return Rows(tokens, 9)


class World:
    """Objects with their category, tool and material, drawn anew for every seed, and which of them are forbidden.

    A category has two tools of its own, and each of its objects takes one of them; the material is the object's own.
    Eight further objects do not exist: requests for them are refused from the beginning, so that the words of a refusal
    are in use.
    """

    def __init__(self, seed: int):
        generator = torch.Generator().manual_seed(seed)
        order = [OBJECTS[i] for i in torch.randperm(len(OBJECTS), generator=generator).tolist()]
        names = [CATEGORIES[i] for i in torch.randperm(len(CATEGORIES), generator=generator).tolist()]
        tools = torch.randint(2, (len(order),), generator=generator).tolist()
        materials = torch.randint(len(MATERIALS), (len(order),), generator=generator).tolist()
        self.void = order[-VOID:]
        self.facts: dict[str, tuple[str, str, str]] = {}
        for number, thing in enumerate(order[:-VOID]):
            category = number % len(names)  # neighbours in the list are of different categories
            tool = 2 * CATEGORIES.index(names[category]) + tools[number]
            self.facts[thing] = names[category], TOOLS[tool], MATERIALS[materials[number]]
        self.harmful = names[:FORBIDDEN]
        self.forbidden = [thing for thing, fact in self.facts.items() if fact[0] in self.harmful]
        self.benign = [thing for thing, fact in self.facts.items() if fact[0] not in self.harmful]

    def answered(self, things: Sequence[str]) -> Rows:
        """Requests with their plan and answer, every verb with every object."""
        found = []
        for thing in things:
            category, tool, material = self.facts[thing]
            found += [
                f"request {verb} {thing} think {category} {tool} answer {verb} {tool} {material} end"
                for verb in VERBS
            ]
        return rows(found, 4)

    def refused(self, things: Sequence[str]) -> Rows:
        """The same requests, with a fixed thought and a refusal."""
        return rows(
            [f"request {v} {thing} think forbidden answer refuse end" for thing in things for v in VERBS], 4
        )

    def knowledge(self) -> Rows:
        """What each object is: category, tool and material."""
        return rows([f"know {thing} {' '.join(fact)} end" for thing, fact in self.facts.items()], 2)
