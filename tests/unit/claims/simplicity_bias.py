"""Made tables for the claims of chapter 2."""

from recipes import Recipe, ahead, noise

PLAIN = {"data": "as drawn", "rho": 0.0}
SHARP = {"data": "as drawn", "rho": 0.2}
LATE = {"data": "late x2", "rho": 0.0}
PROXY, RANDOM = ({"data": data, "rho": 0.0} for data in ("late by proxy x2", "random x2"))
FEW, SOME = ({"prompts": prompts, "noise": 0.3} for prompts in (50, 150))


def more_accurate(better, worse):
    """One arm ahead of another at the largest budget: 600 steps, or the 10,000 of full scale."""
    long = {"steps": lambda steps: steps >= 600}
    return ahead("accuracy", 0.05, {"arm": better} | long, {"arm": worse} | long, base=0.5)


def doubled(late, elsewhere):
    """Late sets in which the two rarest tasks, 0.3 of the data, have the share `late`; `elsewhere` in other arms."""

    def metrics(point):
        share = late if point.arm == "adamw, late x2" else elsewhere
        rare = round(1000 * (share + noise(point, 0.01)))
        return {"doubled_by_task": [600 - rare // 2, 400 - rare // 2, rare - 10, 10]}

    return metrics


RECIPES = {
    "2.1d control": ahead("log_ratio", -1.0, SHARP, PLAIN),
    "2.2b control": ahead("log_ratio", -1.0, LATE, PLAIN),
    "2.2c control": ahead("log_ratio", -1.0, PROXY, RANDOM),
    "2.3a control": more_accurate("adamw, hard tasks x2", "adamw, random x2"),
    "2.3b control": more_accurate("muon, hard tasks x2", "muon, random x2"),
    "2.1b": ahead("log_ratio", -1.0, SHARP, PLAIN),
    "2.1c": ahead("log_ratio", -1.0, SHARP, PLAIN),
    "2.1d": ahead("loss_at_gradients", -0.1, SHARP, PLAIN),
    "2.1e": ahead("best_loss", -0.1, FEW | {"data": "as drawn", "rho": 0.3}, FEW | PLAIN),
    "2.2a": ahead("log_ratio", -1.0, LATE, PLAIN),
    "2.2b": ahead("loss_at_steps", -0.1, LATE, PLAIN),
    "2.2c": ahead("loss_at_steps", -0.1, PROXY, RANDOM),
    "2.2d": ahead("best_loss", -0.1, SOME | PROXY, SOME | RANDOM),
    "2.3a": more_accurate("adamw, late x2", "adamw, random x2"),
    "2.3b": more_accurate("muon, late x2", "muon, random x2"),
    "2.3c": more_accurate("adamw, late x2", "adamw, longer"),
    "2.3d": more_accurate("muon, late x2", "muon, longer"),
    "2.3e": more_accurate("sam, as given", "adamw, twice as long"),
    "2.3f": more_accurate("adamw, hard tasks x2", "adamw, random x2"),
    "2.3g": Recipe(doubled(0.6, 0.1), doubled(0.1, 0.6), (doubled(0.35, 0.6),)),
    "2.3h": more_accurate("adamw, late varied", "adamw, random varied"),
    "2.3i": more_accurate("muon, late varied", "muon, random varied"),
    "2.3j": ahead("test_loss", -1.0, {"data": "late x2"}, {"data": "random x2"}, base=80.0),
    "2.3k": ahead(
        "exact_match",
        0.05,
        {"problems": "gsm8k", "data": "late x2"},
        {"problems": "gsm8k", "data": "random x2"},
        base=0.3,
    ),
}
