"""Models and data sets of the Hugging Face hub, or the same files in a local folder.

A model or data set is named by its *spec*: `owner/name@revision` on the hub, or the path of a folder. Weights are
safetensors, and no code of a repository is ever run. What goes wrong is told in one line by `HubError`, whichever
library met it.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAGES = {"model": "https://huggingface.co/", "dataset": "https://huggingface.co/datasets/"}
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"


class HubError(RuntimeError):
    """A model or data set cannot be loaded; one line says why and the way out. The command line exits with 1."""


class MissingFile(HubError):
    """The model is there, but it has no file of that name."""


def pinned(spec: str, kind: str = "model") -> tuple[str, str | None]:
    """Name and revision of a spec; the revision of a folder is None. `kind` is "model" or "dataset", for the errors.

    Raises HubError for a name of the hub without a revision: what such a name stands for changes from day to day.
    """
    if Path(spec).is_dir():
        return spec, None
    name, _, revision = spec.partition("@")
    if is_folder(name):
        raise HubError(f"{kind} {name} is a folder, which has no revision: leave out @{revision}")
    if not revision:
        raise HubError(
            f"{kind} {name} names no revision: write {name}@REVISION, one of {PAGES[kind]}{name}/commits/main"
        )
    return name, revision


def spec_of(name: str, revision: str | None) -> str:
    """The spec of a name and a revision that are kept apart, as in the settings of a point."""
    return f"{name}@{revision}" if revision and not Path(name).is_dir() else name


def model_file(name: str, file: str, revision: str | None = None) -> Path:
    """Path of one file of a model: in the folder `name`, or fetched from the hub (and kept) at `revision`."""
    if is_folder(name):
        path = Path(name) / file
        if not path.is_file():
            raise MissingFile(f"model {name} has no file {file}: the folder is incomplete, copy it again")
        return path
    with explained("model", name, revision, file):
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(name, file, revision=revision))


def model_json(name: str, file: str, revision: str | None = None) -> dict:
    path = model_file(name, file, revision)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HubError(f"model {name}: {file} is damaged ({error}): delete it and fetch it again") from error


def weight_files(name: str, revision: str | None = None) -> list[Path]:
    """The safetensors files of a model, all fetched before the first is read. HubError for one that is not whole."""
    try:
        shards = set(model_json(name, INDEX, revision)["weight_map"].values())
    except MissingFile:
        shards = {SINGLE}
    files = [model_file(name, shard, revision) for shard in sorted(shards)]
    from safetensors import SafetensorError, safe_open

    for file in files:
        try:
            safe_open(file, "pt")
        except SafetensorError as error:
            raise HubError(
                f"model {name}: {file.name} is damaged ({error}): delete it and fetch it again"
            ) from error
    return files


def load_tokenizer(name: str, revision: str | None = None):
    """The tokenizer of a model, as its tokenizer.json says.

    Where there is that file, the class that the model names is never asked for, so no class of `transformers` builds
    the rules anew. No code of a repository is run.
    """
    try:
        model_file(name, "tokenizer.json", revision)
        kind = "PreTrainedTokenizerFast"
    except MissingFile:  # an older model, whose class knows its own files
        kind = "AutoTokenizer"
    with explained("model", name, revision, "tokenizer"):
        import transformers

        return getattr(transformers, kind).from_pretrained(name, revision=revision, trust_remote_code=False)


def load_dataset(name: str, config: str | None = None, revision: str | None = None):
    """All splits of a data set, as `datasets` gives them."""
    is_folder(name)
    with explained("dataset", name, revision, config or "its files"):
        import datasets

        return datasets.load_dataset(name, config, revision=revision)


def revision_of(rows, asked: str | None) -> str | None:
    """The commit that rows of a data set came from, where the library recorded it; else the revision asked for."""
    sources = " ".join(rows.info.download_checksums or {})
    commit = re.search(r"@([0-9a-f]{40})/", sources)
    return commit[1] if commit else asked


def is_folder(name: str) -> bool:
    """Whether `name` is a folder of this machine; HubError if it is neither that nor a possible name on the hub."""
    if Path(name).is_dir():
        return True
    if not HUB_NAME.fullmatch(name) or name.startswith("."):
        raise HubError(f"{name} is no folder of this machine, nor a name on the hub (owner/name)")
    return False


ANSWERS = {
    "gated": "{what} is gated ({part}): accept its terms on {page}, then log in with `hf auth login`",
    "revision": "{what} has no revision {revision}: its revisions are listed on {page}/commits/main",
    "unknown": "{what} is not on the hub, or is private: check the name on {page}, or log in with `hf auth login`",
    "missing": "{what} has no file {part} at revision {revision}: its files are listed on {page}/tree/{revision}",
    "network": "{what}: {part} at revision {revision} is not on this machine and the hub cannot be reached; where "
    "there is a network, run `{download} --local-dir FOLDER`, then give FOLDER in place of the name",
    "library": "{what} needs a library that is not installed ({error}): pip install -e '.[full]'",
    None: "{what}: {part} cannot be loaded: {error}",
}


@contextmanager
def explained(kind: str, name: str, revision: str | None, part: str) -> Iterator[None]:
    """Turn whatever is raised while `part` of `name` is loaded into a HubError of one line."""
    try:
        yield
    except Exception as error:
        reason = reason_of(error)
        download = f"hf download {name}" + (" --repo-type dataset" if kind == "dataset" else "")
        answer = ANSWERS[reason].format(
            what=f"{kind} {name}",
            part=part,
            revision=revision or "main",
            page=PAGES[kind] + name,
            download=download + (f" --revision {revision}" if revision else ""),
            error=first_line(error),
        )
        raise (MissingFile if reason == "missing" else HubError)(answer) from error


# in this order: a gated repository is reported as an unknown one too, an unreachable hub as a missing file
REASONS = {
    "gated": {"GatedRepoError"},
    "revision": {"RevisionNotFoundError"},
    "unknown": {"RepositoryNotFoundError", "DatasetNotFoundError"},
    "network": {
        *("OfflineModeIsEnabled", "LocalEntryNotFoundError", "RevisionResolutionError"),
        *("ConnectError", "ConnectionError", "TimeoutException", "TimeoutError"),
    },
    "missing": {"EntryNotFoundError"},
    "library": {"ModuleNotFoundError"},
}


def reason_of(error: BaseException) -> str | None:
    """Which of REASONS lies behind an error. The libraries wrap each other's, so the whole chain is looked at."""
    kinds, chain = set(), [error]
    while chain:
        link = chain.pop()
        kinds |= {base.__name__ for base in type(link).__mro__}
        kinds |= {"GatedRepoError"} if "is a gated dataset" in str(link) else set()
        chain += [cause for cause in (link.__cause__, link.__context__) if cause is not None]
    return next((reason for reason, names in REASONS.items() if names & kinds), None)


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
