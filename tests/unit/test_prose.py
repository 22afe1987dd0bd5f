"""What a reader of a chapter meets between formulas: few numbers a paragraph, the others in tables."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
MOST = 3  # numbers in a paragraph
# what is no measured number: blocks of theorems, proofs and solutions, code, formulas, addresses, names of claims,
# sections and tables' rows
PASSED_OVER = (
    r"^(`{3,}).*?^\1$",
    r"\$\$.*?\$\$",
    r"\$[^$]*\$",
    r"`[^`]*`",
    r"\]\([^)]*\)",
    r"^\|.*$",
    r"\b[Cc]laims? \d+\.\d+",
    r"\b\d+\.\d+[a-z]\b",
    r"\b(?:[Ss]ections?|[Cc]hapters?|[Pp]arts?) \d+",
    r"^#.*$|^\**\d+\.",
)
NUMBER = re.compile(r"(?<![\w.,-])-?\d[\d,.]*\d(?!\w)|(?<![\w.,-])-?\d(?![\w.,]*\w)")


def numbers(paragraph: str) -> list[str]:
    for pattern in PASSED_OVER:
        paragraph = re.sub(pattern, " ", paragraph, flags=re.DOTALL if "*?" in pattern else re.MULTILINE)
    return NUMBER.findall(paragraph)


def paragraphs(name: str) -> list[str]:
    """Running text and the points of its lists."""
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]
    prose = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    blocks = re.compile(PASSED_OVER[0], re.DOTALL | re.MULTILINE)
    return [p for text in prose for p in re.split(r"\n\s*\n|\n(?=- )", blocks.sub(" ", text))]


def test_measured_numbers_are_counted_and_names_are_not():
    assert numbers("It gains 0.031 [0.001, 0.060] with 16 seeds.") == ["0.031", "0.001", "0.060", "16"]
    assert (
        numbers("At $\\rho=0.2$ claim 2.3 and its test 2.3b (section 9) with SmolLM2-135M, 8B, `lr=0.2`.")
        == []
    )
    assert numbers("-0.91, against 5.") == ["-0.91", "5"]


NAMES = (
    "02_simplicity_bias",
    "03_masked_diffusion",
    "06_dataset_distillation",
    "08_safety_lora",
    "10_hallucination",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_paragraph_has_few_numbers(name):
    crowded = {p[:60]: found for p in paragraphs(name) if len(found := numbers(p)) > MOST}
    assert len(paragraphs(name)) > 100 and crowded == {}
