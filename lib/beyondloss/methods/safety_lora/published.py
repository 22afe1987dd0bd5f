"""The paper's data: refusals of harmful requests, two safety sets, and benchmarks of reasoning.

The text of requests comes from public data sets and stays there: a point holds shares, and nothing of what was asked or
said. Answers to StrongREJECT are judged by Llama-Guard, those to the harmless half of XSTest by their first words;
mathematics, science and code are scored by `lm-eval` (through vLLM where there is a GPU), by the names of its tasks.

What is verified: tiny twins of the models and data in the published columns go through all of this in the tests, with
`lm-eval` replaced. What is not: no weights and no data of the hub were loaded here.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from beyondloss.data import HubError
from beyondloss.data.hub import load_dataset
from beyondloss.experiment import checkpoint_folder
from beyondloss.methods.safety_lora import rulebook
from beyondloss.methods.safety_lora.settings import RealPoint
from beyondloss.models.generation import Sampling, chat_prompt, generate
from beyondloss.models.language import Loaded, load

SCORES = (
    "exact_match",
    "pass@1",
    "math_verify",
    "acc",
)  # of lm-eval, in the order in which they are looked for
THOUGHT = "I should not answer this question!"


def column(rows: Any, name: str, origin: str) -> list[str]:
    """A column of a data set. Raises HubError if it has none of that name."""
    if name not in rows.column_names:
        raise HubError(f"dataset {origin} has no column {name!r}, only {', '.join(rows.column_names)}")
    return list(rows[name])


def taught(point: RealPoint, loaded: Loaded) -> list[tuple[str, str]]:
    """Requests with a fixed thought and a refusal, the first `rows` of them."""
    rows = load_dataset(point.refusals)["train"]
    rows = rows.select(range(min(point.rows, len(rows))))
    pairs = zip(column(rows, "prompt", point.refusals), column(rows, "refusal", point.refusals), strict=True)
    return [refusal(chat_prompt(loaded.tokenizer, asked), answer, point.refusals) for asked, answer in pairs]


def refusal(prompt: str, answer: str, origin: str) -> tuple[str, str]:
    """Prompt and completion; the thought is opened by the template of some models, and here for the others."""
    _, found, said = answer.partition("Answer:")
    if not found:
        raise HubError(f"dataset {origin}: a refusal has no 'Answer:', so its layout is not the expected one")
    opened = prompt.rstrip().endswith("<think>")
    return prompt, f"{'' if opened else '<think>'}{THOUGHT}</think>{said}"


def evaluated(point: RealPoint, loaded: Loaded) -> dict:
    """Safety and reasoning of a model without adapters."""
    found = safety(point, loaded)
    with tempfile.TemporaryDirectory(dir=checkpoint_folder()) as folder:
        loaded.model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
        return found | reasoning(point, Path(folder))


def safety(point: RealPoint, loaded: Loaded) -> dict:
    """Share of harmful requests with a safe answer, and of harmless ones that are refused."""
    rows = load_dataset(point.harmful)["train"]
    harmful = column(rows, "prompt", point.harmful)[: point.asked]
    rows = load_dataset(point.harmless)
    rows = rows["test" if "test" in rows else "train"]
    labels = column(rows, "label", point.harmless)
    asked = column(rows, "prompt", point.harmless)
    harmless = [text for text, label in zip(asked, labels, strict=True) if label == "safe"][: point.asked]
    found = [spoken(loaded, texts, point) for texts in (harmful, harmless)]
    return {
        "refusal": float(np.mean(judged(point, harmful, found[0]))),
        "over_refusal": float(np.mean([rulebook.refuses(opening(said)) for said in found[1]])),
    }


def spoken(loaded: Loaded, asked: list[str], point: RealPoint) -> list[str]:
    """One answer a request, drawn at temperature 1."""
    prompts = [chat_prompt(loaded.tokenizer, text) for text in asked]
    how = Sampling(point.answer_tokens, temperature=1.0, seed=point.seed)
    return [row[0].text for row in generate(loaded.model, loaded.tokenizer, prompts, how)]


def opening(said: str, words: int = 30) -> str:
    """The first words of an answer, after its thought."""
    return " ".join(said.rpartition("</think>")[2].split()[:words])


def judged(point: RealPoint, asked: list[str], said: list[str]) -> list[bool]:
    """Whether the guard calls each answer safe."""
    guard = load(point.guard, getattr(torch, point.precision), point.device)
    prompts = []
    for question, answer in zip(asked, said, strict=True):
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        prompts.append(guard.tokenizer.apply_chat_template(turns, tokenize=False))
    verdicts = generate(guard.model, guard.tokenizer, prompts, Sampling(8), batch=16)
    return ["unsafe" not in row[0].text for row in verdicts]


def reasoning(point: RealPoint, folder: Path) -> dict:
    """Score of every benchmark by lm-eval, and their mean, `kept`."""
    try:
        import lm_eval
    except ImportError as error:
        raise HubError(f"reasoning is scored by lm-eval ({error}): pip install 'lm-eval[vllm]'") from error
    options: dict[str, Any] = {"pretrained": str(folder), "dtype": point.precision}
    if point.engine == "vllm":
        options |= {"gpu_memory_utilization": 0.4, "max_model_len": point.reasoning_tokens + 4096}
    results = lm_eval.simple_evaluate(
        model=point.engine,
        model_args=options,
        tasks=list(point.benchmarks),
        limit=point.limit or None,
        apply_chat_template=True,
        gen_kwargs={"temperature": 0.6, "top_p": 0.95, "max_gen_toks": point.reasoning_tokens},
        random_seed=point.seed,
        confirm_run_unsafe_code=True,
    )
    found = {task: score(results["results"], task) for task in point.benchmarks}
    return found | {"kept": float(np.mean(list(found.values())))}


def score(results: Mapping[str, Mapping[str, Any]], task: str) -> float:
    """The score of a task: lm-eval names it "metric,filter". Raises HubError for a task without a known metric."""
    measures = {key: value for key, value in results[task].items() if "stderr" not in key}
    for name in SCORES:
        for key, value in measures.items():
            if key.split(",")[0] == name:
                return float(value)
    raise HubError(f"lm-eval gave {task} no score of {', '.join(SCORES)}, only {', '.join(measures)}")
