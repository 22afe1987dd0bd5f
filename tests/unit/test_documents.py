"""What the documents say of the book: every command, file, name and number in them against what is there."""

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from pybtex.database import parse_file

from beyondloss import catalogue, cli
from beyondloss.experiment.experiment import SCALES
from beyondloss.site import generated, notebook

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "book/intro.md", "book/how_to_run.md"]
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


def blocks(document: str, language: str) -> list[str]:
    """The code of one language in a document."""
    found = FENCE.findall((ROOT / document).read_text())
    return [textwrap.dedent(code) for _, name, code in found if name == language]


def commands(document: str) -> list[list[str]]:
    """The commands of a document, word by word, without comments."""
    prose = FENCE.sub("", (ROOT / document).read_text())
    lines = [line for code in blocks(document, "bash") for line in code.splitlines()]
    lines += re.findall(r"`((?:make|beyondloss) [^`]+)`", prose)
    typed = [command for line in lines for command in re.sub(r"\s+#.*", "", line).split("&&")]
    return [shlex.split(command) for command in typed if command.strip()]


# Commands --------------------------------------------------------------------------------------------------


def check_make(*arguments: str):
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    assert given.get("SCALE", "quick") in SCALES
    stages = (ROOT / "tests" / "run.py").read_text()
    assert all(f'"{stage}": [' in stages for stage in given.get("STAGES", "").split())
    subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, check=True, capture_output=True)


def check_beyondloss(*arguments: str):
    """Parse a command as the command line does, and what it asks of a chapter as the chapter does; run nothing."""
    book = typer.main.get_command(cli.app)
    root = book.make_context("beyondloss", list(arguments))
    name, command, rest = book.resolve_command(root, list(arguments))
    if not rest:  # the command itself is spoken of
        return
    given = command.make_context(name, [word.replace("slug", "masked_diffusion") for word in rest]).params
    assert given.get("scale") in (*SCALES, None)
    if given.get("chapter"):
        overrides = dict(map(cli._setting, given.get("settings") or []))
        only = given["only"].split(",") if given.get("only") else None
        chapter = catalogue.chapter(given["chapter"])
        chapter.preset(
            given.get("scale") or "quick", only=only, seeds=given.get("seeds"), overrides=overrides
        )


def check_papermill(source: str, target: str, *options: str):
    known = notebook.parameters(notebook.read(ROOT / source))
    named = [options[i + 1] for i, word in enumerate(options) if word == "-p"]
    named += [
        name for i, word in enumerate(options) if word == "-y" for name in yaml.safe_load(options[i + 1])
    ]
    assert named and set(named) <= set(known)


def check_pip(*arguments: str):
    assert arguments[:2] == ("install", "-e")
    assert set(re.findall(r"\w+", arguments[2])) <= set(PROJECT["optional-dependencies"])


def check_cpu_torch(*arguments: str):
    assert arguments[:3] == ("install", next(p for p in pins() if p.startswith("torch==")), "-i")


def check_python(*arguments: str):
    makefile = (ROOT / "Makefile").read_text()
    assert arguments == ("-m", "venv", re.search(r"^VENV\s*:= (\S+)$", makefile, re.MULTILINE)[1])


def check_sbatch(*arguments: str):
    script = next(word for word in arguments if word.endswith(".sh"))
    assert (ROOT / script).is_file()
    check_beyondloss("run", *arguments[arguments.index(script) + 1 :])


def pins() -> list[str]:
    return (ROOT / "constraints.txt").read_text().splitlines()


CHECKS = {
    "make": check_make,
    "beyondloss": check_beyondloss,
    "papermill": check_papermill,
    "pip": check_pip,
    ".venv/bin/pip": check_cpu_torch,
    "sbatch": check_sbatch,
    "python3": check_python,
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_can_be_given(document):
    found = commands(document)
    assert found
    for command in found:
        assert command[0] in CHECKS, command
        CHECKS[command[0]](*command[1:])


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if blocks(d, "python")])
def test_python_runs_as_it_stands(document, tmp_path):
    code = "\n".join(blocks(document, "python"))
    environment = {**os.environ, "BEYONDLOSS_STORE": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for said in re.findall(r"^print\(.*\)  # (.*)…$", code, re.MULTILINE):
        assert said in done.stdout


def test_the_two_commands_come_first():
    first = blocks("README.md", "bash")[0]
    assert [line.partition("#")[0].strip() for line in first.splitlines()] == ["make book", "make test"]


def test_the_batch_script_starts_ray_on_all_nodes_and_runs_the_chapter(tmp_path):
    said = tmp_path / "said.json"
    stubs = {
        "scontrol": "printf 'node7\\nnode8\\n'",
        "srun": f"{sys.executable} -c \"import json, sys; json.dump(sys.argv[1:], open('{said}', 'w'))\" \"$@\"",
    }
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    for name, line in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"JOB_NODELIST": "node[7-8]", "JOB_ID": "123", "JOB_NUM_NODES": "2", "CPUS_PER_TASK": "32"}
    slurm = {f"SLURM_{name}": value for name, value in slurm.items()} | {"SLURM_GPUS_ON_NODE": "4"}
    subprocess.run(
        ["bash", ROOT / "book" / "jobs" / "slurm.sh", "3", "--only", "window"],
        cwd=tmp_path,
        env={**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=True,
    )
    given = json.loads(said.read_text())
    ray, command = given[: given.index("--")], given[given.index("--") + 1 :]
    assert ray[ray.index("ray") :] == [
        "ray", "symmetric-run", "--address", "node7:20123", "--min-nodes", "2", "--num-cpus", "32", "--num-gpus", "4",
    ]  # fmt: skip
    assert command == shlex.split("beyondloss run 3 --only window --scale full --engine ray")
    check_beyondloss(*command[1:])


# Files and names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files(document):
    text = FENCE.sub("", (ROOT / document).read_text())
    links = re.findall(r"\]\(([^)#:]+)[^):]*\)|\{download\}`[^<]*<([^>]+)>`", text)
    for link in [next(filter(None, link)) for link in links]:
        assert ((ROOT / document).parent / link).is_file(), link


def test_generated_parts_are_where_they_belong():
    """That they are current is tested with the notebooks."""
    parts = {
        name: generated.PART.findall((ROOT / name).read_text()) for name in ("README.md", "book/intro.md")
    }
    assert [part[1] for part in parts["README.md"]] == ["chapters"]
    assert [part[1] for part in parts["book/intro.md"]] == ["summary", "headlines", "contents"]


def test_a_table_has_a_row_for_every_claim_and_every_chapter():
    claims = [claim.id for chapter in catalogue.chapters() for claim in chapter.claims]
    assert (
        re.findall(r'^\| <a href="#[\w-]+">([\d.]+)<', generated.findings_table(""), re.MULTILINE) == claims
    )
    contents = generated.contents_table("")
    assert re.findall(r"^\| (\d+) \|", contents, re.MULTILINE) == [str(n) for n in range(1, 11)]
    assert contents.count("*planned*") == 10 - len(catalogue.chapters())
    tests = sum(len(chapter.tests) for chapter in catalogue.chapters())
    assert tests > len(claims)
    assert f"Their papers make {len(claims)} claims, which {tests} tests examine." in generated.summary("")


def test_the_contents_agree_with_the_chapters_that_are_written():
    planned = {chapter["number"]: chapter for part in generated.planned() for chapter in part["chapter"]}
    for chapter in catalogue.chapters():
        plan = planned[chapter.number]
        written = (chapter.slug, chapter.paper.title, chapter.paper.arxiv)
        assert (plan["slug"], plan["paper"], plan["arxiv"]) == written


def test_the_glossary_has_every_term_once_and_in_order():
    text = (ROOT / "book" / "glossary.md").read_text()
    lists = [
        re.findall(r"^(\S.*)$", part, re.MULTILINE)
        for part in re.findall(r"```{glossary}\n(.*?)```", text, re.S)
    ]
    terms = [term for part in lists for term in part]
    assert len(set(terms)) == len(terms) > 20
    assert all(part == sorted(part, key=str.casefold) for part in lists)
    for term in terms:
        definition = text.split(f"\n{term}\n", 1)[1]
        assert re.match(r" {2}\S", definition), f"{term} has no definition"


def test_every_reference_says_who_what_and_when():
    entries = parse_file(ROOT / "book" / "references.bib").entries
    for key, entry in entries.items():
        assert entry.persons["author"] and entry.fields["title"] and entry.fields["year"], key
        assert re.fullmatch(r"\d{4}\.\d{5}", entry.fields.get("eprint", "0000.00000")), key
    papers = {entry.fields.get("eprint") for entry in entries.values()}
    assert {chapter.paper.arxiv for chapter in catalogue.chapters()} <= papers


# Version, licence, what must not be said --------------------------------------------------------------------


def test_citation_agrees_with_the_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert all(author.get("name") or author.get("family-names") for author in citation["authors"])


def test_the_version_is_in_the_changelog_and_in_how_to_cite():
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{PROJECT['version']}]" in changes
    assert f"Version {PROJECT['version']}" in (ROOT / "README.md").read_text()


def test_code_and_text_have_their_licences():
    assert (ROOT / "LICENSE").read_text().startswith("BSD 3-Clause License")
    assert "https://creativecommons.org/licenses/by/4.0/" in (ROOT / "LICENSE-TEXT").read_text()


def test_no_file_names_this_checkout_or_a_package_registry():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    hosts = [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "(org|com)"),
        ("anaconda", "org"),
        ("debian", "org"),
    ]
    names = "|".join([re.escape(str(ROOT)), *(rf"\b{name}\.{domain}\b" for name, domain in hosts)])
    found = [
        name for name in listed.stdout.splitlines() if re.search(names.encode(), (ROOT / name).read_bytes())
    ]
    assert found == []
