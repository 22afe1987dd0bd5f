"""Questions with answers that can be checked: tables that ship with libraries, and three question-answering sets."""

from collections.abc import Sequence

from beyondloss.data import HubError
from beyondloss.data.hub import load_dataset, pinned
from beyondloss.data.questions import ASKED, Question
from beyondloss.data.questions import capitals as capitals  # in one place with the other questions
from beyondloss.data.questions import elements as elements
from beyondloss.methods.hallucination.kernels import plain_words

SETS = {  # name -> (spec of the data set, its configuration); the validation split is asked
    "TriviaQA": ("mandarjoshi/trivia_qa@0f7faf33a3908546c6fd5b73a660e0f8ff173c2f", "rc.nocontext"),
    "Natural Questions": ("google-research-datasets/nq_open@5dd9790a83002ad084ddeb7c420dc716852c6f28", None),
    "SQuAD": ("rajpurkar/squad@7b6d24c440a36b6815f21b70d25016731768db1f", None),
}


def is_right(answer: str, question: Question) -> bool:
    """Whether an accepted answer, or all its words in a row, stands in what was said."""
    said = f" {plain_words(answer)} "
    return any(f" {plain_words(accepted)} " in said for accepted in question.answers)


def answered_set(name: str, count: int, folder: str | None = None) -> list[Question]:
    """The first `count` questions of a set of SETS, from the hub or a local folder. Raises HubError."""
    spec, config = SETS[name]
    data_set, revision = pinned(folder or spec, "dataset")
    rows = load_dataset(data_set, config, revision)["validation"]
    rows = rows.select(range(min(count, len(rows))))
    try:
        return [Question(row["question"].strip(), answers_of(row), "", name) for row in rows]
    except KeyError as error:
        raise HubError(f"dataset {data_set} has no column {error}, so it is not {name}") from error


def answers_of(row: dict) -> tuple[str, ...]:
    """Accepted answers in the three layouts: a list, {"text": […]}, {"value": …, "aliases": […]}."""
    given = row["answer"] if "answer" in row else row["answers"]
    if isinstance(given, dict):
        given = [given["value"], *given["aliases"]] if "value" in given else given["text"]
    return tuple(dict.fromkeys(given))


EXAMPLES = {  # of each topic, none of them among the questions
    "capitals": (("Andorra", "Andorra la Vella"), ("Iceland", "Reykjavik"), ("Malta", "Valletta")),
    "elements": (("U", "Uranium"), ("Ra", "Radium"), ("Th", "Thorium")),
}
GENERAL = (
    ("Which planet is known for its rings?", "Saturn"),
    ("How many sides has a hexagon?", "six"),
    ("Which language is spoken in Brazil?", "Portuguese"),
)


def examples(topic: str, statement: bool = False) -> Sequence[tuple[str, str]]:
    """Beginnings and their ends that show what is wanted: questions, or unfinished sentences."""
    if topic not in EXAMPLES:
        return GENERAL
    return [(ASKED[topic][statement].format(name), answer) for name, answer in EXAMPLES[topic]]


def dialogue(question: Question) -> str:
    """Questions and short answers, then the question: what a model without a chat template continues."""
    shown = "".join(f"Q: {asked}\nA: {said}\n" for asked, said in examples(question.topic))
    return f"{shown}Q: {question.text}\nA:"


def statement(question: Question) -> str:
    """Finished sentences, then the unfinished one."""
    shown = "".join(f"{begun} {said}.\n" for begun, said in examples(question.topic, statement=True))
    return shown + question.opening
