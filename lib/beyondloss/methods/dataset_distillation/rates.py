"""The image learning rates that the procedure of `tuning` chose, by data set, method and images a class.

They stand apart from what is tuned, so that a choice does not make the points stale that it was made from.
"""

TUNED_AT = (1, 10, 50)
TUNED = {
    "digits": {
        "DC": {1: 0.3, 10: 0.3, 50: 0.0003},
        "DSA": {1: 0.03, 10: 0.3, 50: 0.0003},
        "DM": {1: 0.3, 10: 3.0, 50: 0.03},
        "MTT": {1: 30.0, 10: 0.3, 50: 0.3},
        "decoupled": {1: 0.3, 10: 0.3, 50: 0.3},
    },
    "fashion-mnist": {
        "DC": {1: 0.3, 10: 3.0},
        "DSA": {1: 3.0, 10: 0.3},
        "DM": {1: 30.0, 10: 3.0},
        "MTT": {1: 30.0, 10: 0.03},
        "decoupled": {1: 0.1, 10: 0.1},
    },
}
NEAREST = "fashion-mnist"  # whose rates are taken for a data set that has none of its own


def tuned(dataset: str, method: str, per_class: int) -> float:
    """The rate chosen at the largest number of images that is no larger; 1 for a method without one."""
    rates = TUNED.get(dataset, TUNED[NEAREST]).get(method, {})
    known = [size for size in rates if size <= per_class]
    return rates[max(known)] if known else 1.0
