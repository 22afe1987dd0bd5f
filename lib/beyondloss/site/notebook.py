"""A chapter as a notebook: its parameters, its execution, its normal form, and the stamp that tells fresh
outputs from old ones.

Run as a program it prints a notebook's sources, which is what ``git diff`` shows (see ``make env``)::

    python -m beyondloss.site.notebook --source notebooks/03_masked_diffusion.ipynb
"""

from __future__ import annotations

import ast
import copy
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbformat import NotebookNode

from beyondloss.experiment.digest import WHOLE, Reach
from beyondloss.experiment.engines import THREADS
from beyondloss.experiment.errors import BadInput, DamagedFile, Failed, choose
from beyondloss.experiment.paths import root

MAX_BYTES = 1_000_000  # of one committed notebook
KERNEL = {
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "name": "python3",
}
KEPT_OF_A_CELL = ("tags", "mystnb")
KEPT_OF_A_NOTEBOOK = ("beyondloss", "mystnb")
UNSHOWN = (["experiment"], ["page"])  # parts of the package whose source no chapter shows
WIDGET = "application/vnd.jupyter.widget-view+json"


class CellFailed(Failed):
    """A cell raised. The message names notebook, cell and error, and ends with the kernel's traceback."""


# Reading and writing ---------------------------------------------------------------------------------------


def read(path: Path) -> NotebookNode:
    """The notebook at `path`, format 4. Raises DamagedFile with the way out when it is no valid notebook."""
    if not path.is_file():
        raise BadInput(f"no notebook at {path}")
    try:
        nb = nbformat.read(path, as_version=4)
        nbformat.validate(nb)
    except Exception as error:  # nbformat raises a dozen kinds, all of them meaning the same to a reader
        first_line = str(error).strip().splitlines()[0]
        raise DamagedFile(
            f"{path} is not a readable notebook ({first_line}); restore it: git checkout -- {path}"
        ) from error
    return nb


def write(nb: NotebookNode, path: Path) -> None:
    """Write `nb` so that `path` holds either the old notebook or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    nbformat.write(nb, part)
    os.replace(part, path)


def source_text(nb: NotebookNode) -> str:
    """What a person wrote: cell sources and tags in order, no outputs. The text that ``git diff`` compares."""
    blocks = []
    for cell in nb.cells:
        tags = " ".join(cell.metadata.get("tags", []))
        blocks.append(f"# %% [{cell.cell_type}] {tags}".rstrip() + f"\n{cell.source}\n")
    return "\n".join(blocks)


# Numbers ---------------------------------------------------------------------------------------------------

# What a first cell begins with, so that JupyterLab numbers as the site does. Everywhere else it is no more than two
# rules: as Markdown, what stands between them is a comment.
NUMBERING = """---
<!--: what follows numbers theorems and equations in JupyterLab
numbering: {{enumerator: {}.%s}}
? -->
---
"""


def numbering(chapter: int) -> str:
    """The lines that make JupyterLab number theorems and equations within `chapter`: 10.3."""
    return NUMBERING.format(chapter)


def without_numbering(source: str) -> str:
    """The source of a first cell without those lines; the site numbers by itself (site.extension)."""
    return re.sub(r"\A---\n<!--:.*?^---\n", "", source, flags=re.DOTALL | re.MULTILINE)


# Parameters ------------------------------------------------------------------------------------------------


def parameters(nb: NotebookNode) -> dict[str, Any]:
    """Names and default values of the cell tagged `parameters`; {} without such a cell.

    Raises BadInput where the cell holds anything but literals: papermill does not derive.
    """
    cells = [cell for cell in nb.cells if "parameters" in cell.metadata.get("tags", [])]
    if not cells:
        return {}
    found = {}
    try:
        for line in ast.parse(cells[0].source).body:
            target = (
                line.target if isinstance(line, ast.AnnAssign) else line.targets[0]
            )  # `scale: str = "quick"`
            found[target.id] = ast.literal_eval(line.value)
        return found
    except (AttributeError, SyntaxError, ValueError) as error:
        raise BadInput(f"the parameters cell holds more than `name = literal` lines: {error}") from error


def check_parameters(nb: NotebookNode, given: Mapping[str, Any]) -> None:
    """Raise BadInput, before any kernel starts, for a parameter the notebook lacks or a value of another type.

    papermill itself only logs a warning about a misspelt name and runs with the default.
    """
    defaults = parameters(nb)
    if given and not defaults:
        raise BadInput(f"no cell is tagged `parameters`, so the notebook takes none: {', '.join(given)}")
    for name, value in given.items():
        default = defaults[choose("parameter", name, defaults)]
        if default is not None and type(value) is not type(default):
            raise BadInput(
                f"parameter {name} takes {type(default).__name__}, not {type(value).__name__} {value!r}"
            )


def changed(nb: NotebookNode, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `given` that differ from the notebook's own defaults: the ones that have to be injected."""
    defaults = parameters(nb)
    return {name: value for name, value in given.items() if value != defaults.get(name)}


# Normal form -----------------------------------------------------------------------------------------------


def normalise(nb: NotebookNode) -> NotebookNode:
    """`nb`, in place, in the form that is committed: executing it again unchanged changes no line of it.

    Goes: execution counts and times, papermill's notes, widget identifiers and states, progress bars, memory
    addresses, versions of the kernel. Stays: sources, tags, the outputs, their pictures with a palette of colours.
    """
    kept = {key: nb.metadata[key] for key in KEPT_OF_A_NOTEBOOK if key in nb.metadata}
    nb.metadata = NotebookNode(
        kept, kernelspec=NotebookNode(KERNEL), language_info=NotebookNode(name="python")
    )
    nb.nbformat, nb.nbformat_minor = 4, 5
    seen: set[str] = set()
    for cell in nb.cells:
        _normalise_cell(cell)
        cell.id = _stable_id(cell, seen)
    return nb


def _normalise_cell(cell: NotebookNode) -> None:
    cell.metadata = NotebookNode(
        {key: cell.metadata[key] for key in KEPT_OF_A_CELL if cell.metadata.get(key)}
    )
    if cell.cell_type == "code":
        cell.execution_count = None
        cell.outputs = _normalise_outputs(cell.outputs)


def _stable_id(cell: NotebookNode, seen: set[str]) -> str:
    """The cell's own identifier; where it has none, a copied one or papermill's, one made from its source."""
    name = "" if _injected(cell) else cell.get("id", "")
    if not name or name in seen:
        digest = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        name = next(n for i in range(len(seen) + 1) if (n := f"{digest}-{i}" if i else digest) not in seen)
    seen.add(name)
    return name


def _normalise_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Streams merged (the kernel cuts them by time), bars reduced to what they left, widgets to their picture."""
    result: list[NotebookNode] = []
    for output in outputs:
        output.pop("execution_count", None)
        if output.output_type == "execute_result":
            output.execution_count = None
        if output.output_type == "stream":
            if result and result[-1].output_type == "stream" and result[-1].name == output.name:
                result[-1].text += output.text
                continue
        elif "data" in output:
            had_widget = output.data.pop(WIDGET, None) is not None
            if had_widget and set(output.data) <= {"text/plain"}:
                continue  # a control or a bar: nothing of it lives outside a kernel
            output.metadata.pop(WIDGET, None)
            _normalise_data(output.data)
        result.append(output)
    for output in result:
        if output.output_type == "stream":
            output.text = re.sub(r"[^\n]*\r(?!\n)", "", output.text)
            # where warnings arise: a temporary file of the kernel's
            output.text = re.sub(r"\S*ipykernel_\d+/\d+\.py", "this cell", output.text)
    return [output for output in result if output.output_type != "stream" or output.text.strip()]


def _normalise_data(data: NotebookNode) -> None:
    if "text/plain" in data:
        data["text/plain"] = re.sub(r"\bat 0x[0-9a-f]{6,}", "at 0x0", data["text/plain"])
    if "image/png" in data:
        from beyondloss.page.png import small

        data["image/png"] = small(data["image/png"])
    if "text/html" in data:  # pandas' Styler draws a random name for each table
        data["text/html"] = re.sub(r"\bT_[0-9a-f]{5}(?=_|\b)", "T_table", data["text/html"])


def without_data(nb: NotebookNode) -> NotebookNode:
    """`nb`, in place, without the numbers behind its pictures: the site gets them, what is committed stays small."""
    from beyondloss.page.carried import KEY, NUMBERS

    for output in (o for cell in nb.cells if cell.cell_type == "code" for o in cell.outputs):
        told = output.get("metadata", {}).get(KEY, {})
        for part in NUMBERS:
            told.pop(part, None)
    return nb


def check_size(path: Path) -> None:
    """Raise BadInput when the notebook is larger than a committed one may be."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise BadInput(
            f"{path.name} has {size:,} bytes, more than {MAX_BYTES:,}: draw fewer or simpler figures"
        )


# Freshness -------------------------------------------------------------------------------------------------


def slug(path: Path) -> str:
    """`masked_diffusion` of `notebooks/03_masked_diffusion.ipynb`."""
    return re.sub(r"^\d+_", "", path.name.split(".")[0])


def stamp(nb: NotebookNode, slug: str, given: Mapping[str, Any] | None = None) -> NotebookNode:
    """What the outputs of `nb` depend on: its code cells, the library they import, the chapter's results, and
    the parameters `given` to it.

    Prose is not part of it, nor are comments in the code that moves points and makes pages: they change no output.
    """
    code = [cell.source for cell in nb.cells if cell.cell_type == "code"]
    return NotebookNode(
        cells=_digest(code),
        library=_library_digest(*code),
        results=_results_digest(slug),
        parameters=NotebookNode(given or {}),
    )


def outdated(executed: NotebookNode, now: Mapping[str, Any]) -> list[str]:
    """Which parts of the stamp `now` differ from the stamp in `executed`; empty when its outputs are current."""
    then = executed.metadata.get("beyondloss", {})
    return [part for part in now if then.get(part) != now[part]]


def is_stale(path: Path) -> list[str]:
    """Why the stored outputs of the notebook at `path` are older than what they come from; empty if they are not."""
    nb = read(path)
    return outdated(nb, stamp(nb, slug(path)))


def with_outputs(source: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """`source` with the outputs, the stamp and the injected parameters of `executed`, whose code is the same.

    Prose and tags are those of `source`: they may have changed since, and that made no output stale.
    """
    nb = copy.deepcopy(source)
    nb.metadata["beyondloss"] = executed.metadata["beyondloss"]
    run = [cell for cell in executed.cells if cell.cell_type == "code"]
    cells = []
    for cell in nb.cells:
        cells.append(cell)
        if cell.cell_type == "code":
            cell.outputs = run.pop(0).outputs
            if run and _injected(run[0]):
                cells.append(run.pop(0))
    nb.cells = cells
    return normalise(nb)


def _injected(cell: NotebookNode) -> bool:
    return "injected-parameters" in cell.metadata.get("tags", [])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def plain_python(cell: str) -> str:
    """A cell's source in Python alone: magics, commands of the shell and questions are calls. BadInput for no Python.

    What a magic of a whole cell is given counts where it is Python, such as that of `%%time`.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    if cell.lstrip().startswith("%%"):
        inside = cell.lstrip().partition("\n")[2]
        try:
            return plain_python(inside)
        except BadInput:  # another language: it names nothing of the package
            return ""
    try:
        plain = TransformerManager().transform_cell(cell)
        ast.parse(plain)
    except SyntaxError as error:
        line = (error.text or cell).strip().splitlines()[0]
        raise BadInput(f"a cell is no Python ({error.msg}): {line}") from None
    return plain


def _library_digest(*cells: str) -> str:
    """Digest of all definitions of the package that cells reach, and of the scripts and style sheets beside them."""
    reach = Reach.of_cells("\n".join(map(plain_python, cells)))
    parts = {"reached": reach.digest}
    for node, (statements, _) in reach.nodes.items():
        # a chapter shows the source of its method, comments and all; of how a page is made it shows none
        if node.module.split(".")[1:2] not in UNSHOWN:
            shown = (
                [reach.sources[node.module].read_text()]
                if node.name == WHOLE
                else [s.text for s in statements]
            )
            parts[":".join(node)] = _digest(shown)
    for folder in {path.parent for path in reach.sources.values()}:
        parts |= {p.name: _sha(p) for p in folder.iterdir() if p.suffix in (".mjs", ".css", ".json")}
    return _digest(parts)


def _results_digest(slug: str) -> str:
    """Digest of the committed results of a chapter and of the numbers its paper published."""
    checkout = root()
    files = sorted((checkout / "data").rglob("*.json")) if checkout else []
    return _digest({str(p.relative_to(checkout)): _sha(p) for p in files if slug in (p.parent.name, p.stem)})


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Execution -------------------------------------------------------------------------------------------------


def execute(source: Path, target: Path, given: Mapping[str, Any] | None = None) -> NotebookNode:
    """Run the notebook at `source` from top to bottom in a fresh kernel and write it, normal and stamped, to `target`.

    While it runs the work lies in `….part.ipynb` beside `target`, so `target` is always whole. Parameters equal to
    the notebook's defaults are not injected. Raises BadInput before a kernel starts, CellFailed when a cell fails
    (the part file then holds everything up to that cell).
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    nb = read(source)
    check_parameters(nb, given or {})
    given = changed(nb, given or {})
    mark = stamp(nb, slug(source), given)
    target = target.resolve()
    part = target.with_suffix(".part.ipynb")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with kernel_environment():
            papermill.execute_notebook(
                source.resolve(),
                part,
                parameters=given,
                kernel_name=KERNEL["name"],
                language=KERNEL["language"],
                cwd=source.resolve().parent,  # as in JupyterLab, wherever the caller stands
                progress_bar=sys.stderr.isatty(),
                extra_arguments=["--log-level=CRITICAL"],  # else each kernel prints lines about itself
            )
    except PapermillExecutionError as error:
        traceback = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
        message = f"{source.name}: cell {error.cell_index} failed with {error.ename}: {error.evalue}"
        raise CellFailed(f"{message}\n{traceback}\nExecuted so far: {part}") from None
    nb = normalise(read(part))
    nb.metadata["beyondloss"] = mark
    write(nb, target)
    part.unlink()
    return nb


# What of the environment would change outputs, and what it is while a chapter is executed. Proxies stay: they decide
# whether something is reached, not what is there.
FIXED = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # Agg would leave a page without figures
    "PYTHONHASHSEED": "0",
    "PYTHONWARNINGS": "default",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "COLUMNS": "80",
    "LINES": "24",
    **dict.fromkeys(
        THREADS, "1"
    ),  # sums are rounded by how they are shared out; workers of a sweep set their own
}
DROPPED = ("LANGUAGE", "JUPYTER_PATH", "JUPYTER_CONFIG_PATH")  # besides every other PYTHON… and …COLOR…
KEPT_OF_PYTHON = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPYCACHEPREFIX",
    "PYTHONNOUSERSITE",
)
PLACES = ("BEYONDLOSS_ROOT", "BEYONDLOSS_STORE", "BEYONDLOSS_BUILD")


@contextmanager
def kernel_environment() -> Iterator[None]:
    """The environment that a chapter's kernel gets, the same wherever it is executed; the caller's own comes back."""
    before = dict(os.environ)
    matplotlib = Path(find_spec("matplotlib").origin).parent
    with TemporaryDirectory(prefix="beyondloss-kernel-") as profile:
        try:
            for name in filter(_changes_outputs, before):
                del os.environ[name]
            os.environ.update(FIXED, MATPLOTLIBRC=str(matplotlib / "mpl-data" / "matplotlibrc"))
            # no start-up files and no kernels of the user's
            os.environ.update(
                dict.fromkeys(("IPYTHONDIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"), profile)
            )
            os.environ.update(_absolute(before))
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _changes_outputs(name: str) -> bool:
    return name in DROPPED or "COLOR" in name or (name.startswith("PYTHON") and name not in KEPT_OF_PYTHON)


def _absolute(environment: Mapping[str, str]) -> dict[str, str]:
    """Folders that the caller named from where it stands, for a kernel that stands elsewhere."""
    named = {name: str(Path(environment[name]).resolve()) for name in PLACES if environment.get(name)}
    if imports := environment.get("PYTHONPATH"):
        folders = [str(Path(folder).resolve()) for folder in imports.split(os.pathsep)]
        named["PYTHONPATH"] = os.pathsep.join(folders)
    return named


def main(arguments: list[str]) -> None:
    """``--source FILE``: print the sources. Anything unreadable is printed as it is, so that a diff never fails."""
    path = Path(arguments[-1])
    try:
        print(source_text(read(path)))
    except BadInput:
        print(path.read_text(errors="replace"))


if __name__ == "__main__":
    main(sys.argv[1:])
