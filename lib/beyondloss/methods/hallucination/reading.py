"""The tables of chapter 10 in words: what a reader sees under a figure."""

from collections.abc import Sequence

import pandas as pd

from beyondloss.experiment.tables import need
from beyondloss.methods.hallucination import measures, tables

OF_THE_GENERATOR = {
    "self": "self-consistency",
    "gcn_self": "graph network, own samples",
    "self_oracle": "exact oracle, own samples",
    "cross": "cross-consistency",
    "gcn_cross": "graph network, both models",
    "cross_oracle": "exact oracle, both models",
}
# the detectors of the language models: no oracle is exact there, a graph network that was trained stands in for it
OF_THE_WORLDS = {
    "self oracle": "graph network, trained with labels",
    "pairwise, strings": "mean pairwise distance of strings",
}
TARGETS = ("base", "twin", "peer", "small", "large")
COMPARED = {
    "self-check": "self-check",
    "cross distance": "cross-consistency",
    "interval 0.5": "interval rule, half of the calls",
    "value 1": "both scores, fitted",
}


def as_rows(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """A table whose index, called `names`, has become its first columns."""
    return table.rename_axis(columns=None).reset_index(names=list(names))


def oracles(table: pd.DataFrame) -> pd.DataFrame:
    """AUROC of scores, graph networks and exact oracles in the class model, mean over worlds."""
    need(table)
    mean = table.groupby(["confident", "verifier_error"])[list(OF_THE_GENERATOR)].mean()
    said = mean.rename(columns=OF_THE_GENERATOR).map("{:.3f}".format)
    return as_rows(said, "confident errors", "verifier's errors")


def of_targets(rows: pd.DataFrame) -> pd.DataFrame:
    """AUROC of every detector that sees the target alone, a column a target."""
    own = rows[rows["verifier"] == ""].replace({"detector": OF_THE_WORLDS})
    wide = own.pivot_table(index="detector", columns="target", values="auroc", sort=False)
    return as_rows(wide[list(TARGETS)].map("{:.3f}".format), "detector")


def wrong_shares(rows: pd.DataFrame) -> pd.DataFrame:
    """How often each target is wrong."""
    mean = rows[rows["verifier"] == ""].groupby("target")["wrong"].mean()[list(TARGETS)]
    return as_rows(mean.map("{:.1%}".format).to_frame("wrong answers"), "target")


def verifiers(table: pd.DataFrame, rows: pd.DataFrame, budgets: Sequence[float]) -> pd.DataFrame:
    """AUROC (and AUARC) of the cascade by value for the target `base`, by verifier and budget, with verifiers' sizes.

    table: the points of the worlds; rows: what was judged in them (`measures.judged`).
    """
    need(table)
    sizes = dict(zip(table["model"].iloc[0], table["parameters"].iloc[0], strict=True))
    mean = _of_cascade(rows, budgets).groupby(["verifier", "budget"])[["auroc", "auarc"]].mean()
    said = [f"{row.auroc:.3f} ({row.auarc:.3f})" for row in mean.itertuples()]
    wide = pd.Series(said, index=mean.index).unstack().rename(columns="asked about {:.0%}".format)
    relative = [f"{sizes[name] / sizes['base']:.2g}" for name in wide.index]
    wide.insert(0, "parameters, base being 1", relative)
    return as_rows(wide, "verifier")


def calls(rows: pd.DataFrame, budgets: Sequence[float], tokens: int) -> pd.DataFrame:
    """Which share of the questions a budget really sends on, and how many tokens that is; `tokens` a question asked."""
    asked = _of_cascade(rows, budgets).groupby("budget")["asked"].mean()
    said = {
        "questions sent on": asked.map("{:.1%}".format),
        "verifier's tokens, a question": (asked * tokens).map("{:.1f}".format),
    }
    return as_rows(pd.DataFrame(said).rename("{:.0%}".format), "budget")


def _of_cascade(rows: pd.DataFrame, budgets: Sequence[float]) -> pd.DataFrame:
    """The rows of the cascade by value with another model as the verifier of `base`."""
    chosen = (rows["detector"] == "value") & ~rows["itself"] & (rows["target"] == "base")
    return rows[chosen & rows["budget"].isin(budgets)]


def real_scores(table: pd.DataFrame) -> pd.DataFrame:
    """AUROC on the real model's questions, compared by equality, a row a pair of target and verifier."""
    need(table)
    rows = _by_pair(measures.measured(table), "equality")
    wide = rows.pivot_table(index="pair", columns="detector", values="auroc", sort=False)
    names = {"mean pairwise distance": "self-consistency"} | COMPARED | {"MMD": "MMD"}
    return as_rows(wide[list(names)].rename(columns=names).map("{:.3f}".format), "target / verifier")


def real_gains(table: pd.DataFrame, kernel: str) -> pd.DataFrame:
    """What detectors add to self-consistency by the same kernel, with 95% bootstrap intervals over questions."""
    need(table)
    rows = _by_pair(measures.measured(table), kernel)
    said = [f"{row.gain:+.2f} [{row.gain_low:+.2f}, {row.gain_high:+.2f}]" for row in rows.itertuples()]
    wide = rows.assign(said=said).pivot(index="pair", columns="detector", values="said")
    wide = wide.loc[rows["pair"].unique(), list(COMPARED)].rename(columns=COMPARED)
    return as_rows(wide, "target / verifier")


def _by_pair(rows: pd.DataFrame, kernel: str) -> pd.DataFrame:
    return rows[rows["kernel"] == kernel].assign(pair=tables.pair_names)


def real_errors(table: pd.DataFrame) -> pd.DataFrame:
    """How often each target of the real model is wrong."""
    need(table)
    share = table.groupby("target")["wrong_share"].first().rename(index=tables.short)
    return as_rows(share.map("{:.1%}".format).to_frame("wrong answers"), "style")
