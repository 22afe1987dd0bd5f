"""What is installed is said in one place, and every other file agrees with it."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = (ROOT / "constraints.txt").read_text().splitlines()
PROVIDED = packages_distributions()
PIN = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*")


def requirements(*extras: str) -> list[Requirement]:
    """What the package needs, with the named extras and those that they take in."""
    lines = list(PROJECT["dependencies"])
    for extra in extras:
        for line in PROJECT["optional-dependencies"][extra]:
            own = Requirement(line)
            lines += map(str, requirements(*own.extras)) if own.name == PROJECT["name"] else [line]
    return [Requirement(line) for line in dict.fromkeys(lines)]


def test_constraints_are_plain_pins_that_any_machine_can_read():
    assert [line for line in PINS if not PIN.fullmatch(line)] == []
    assert not [line for line in PINS if line.lower().startswith(("nvidia", "triton", "beyondloss"))]
    names = [canonicalize_name(line.split("==")[0]) for line in PINS]
    assert len(set(names)) == len(names)


def test_every_dependency_is_pinned_within_its_bounds():
    pins = {canonicalize_name(name): pin for name, pin in (line.split("==") for line in PINS)}
    for requirement in requirements("dev", "problems"):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin, f"{requirement.name} has no line in constraints.txt"
        assert Version(pin) in requirement.specifier, f"{requirement} excludes {pin}"


def imported(path: Path) -> set[str]:
    """The distributions of others that a module of the library imports, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    tops = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"beyondloss"}
    return {canonicalize_name(PROVIDED.get(top, [top])[0]) for top in tops}


def test_what_the_library_imports_is_declared():
    declared = {canonicalize_name(r.name) for r in requirements(*PROJECT["optional-dependencies"])}
    for path in sorted((ROOT / "lib").rglob("*.py")):
        assert imported(path) <= declared, path.name


@pytest.mark.parametrize(
    ("folder", "extras"),
    [("experiment", ["cluster"]), ("page", []), ("models", ["full", "vision"]), ("trainers", ["full"])],
)
def test_a_room_imports_what_its_extras_install(folder, extras):
    """A notebook needs no extra; the pipe needs Ray only when asked for; networks may need those of `full`."""
    declared = {canonicalize_name(r.name) for r in requirements(*extras)}
    for path in sorted((ROOT / "lib" / "beyondloss" / folder).rglob("*.py")):
        assert imported(path) <= declared, path.name


def test_jupyter_book_is_the_one_that_reads_our_files():
    assert Version(version("jupyter-book")) < Version("2")


def test_environment_yml_adds_nothing_to_pyproject():
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert dependencies == [f"python{PROJECT['requires-python']}", "pip", {"pip": ["-e .[dev]"]}]


def test_config_builds_with_what_is_installed():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert config["execute"]["execute_notebooks"] == "off"
    for name in config["sphinx"]["config"]["extensions"]:
        __import__(name)
    for name in config["sphinx"]["config"]["html_css_files"]:
        assert (ROOT / "book" / "_static" / name).is_file()


def test_the_contents_list_every_chapter_and_nothing_that_is_missing():
    toc = (ROOT / "_toc.yml").read_text()
    listed = {entry["file"] for part in yaml.safe_load(toc)["parts"] for entry in part["chapters"]}
    chapters = {f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {entry for entry in listed if entry.startswith("notebooks/")} == chapters
    assert all(
        any((ROOT / entry).with_suffix(kind).is_file() for kind in (".md", ".ipynb")) for entry in listed
    )


def make(*arguments: str) -> str:
    """What make would do, without doing it."""
    command = ["make", "--dry-run", "--always-make", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_make_book_takes_the_scale_and_make_env_the_interpreter():
    assert "beyondloss build --scale quick" in make("book")
    assert "beyondloss build --scale full" in make("book", "SCALE=full")
    assert f"{sys.executable} -c" in make("env", f"PYTHON={sys.executable}")


@pytest.mark.parametrize("target", ["book", "test", "notebooks", "bench"])
def test_make_installs_from_the_constraints_before_anything_else(target):
    assert "pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'" in make(target)


def test_binder_gets_the_torch_that_is_pinned():
    lines = (ROOT / ".binder" / "requirements.txt").read_text().splitlines()
    torch = next(line for line in PINS if line.startswith("torch=="))
    assert f"{torch}+cpu" in lines and "-e .[book]" in lines and "-c constraints.txt" in lines


def test_the_workflow_runs_the_tests_and_publishes_what_was_built():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text())
    steps = workflow["jobs"]["test"]["steps"]
    runs = [step["run"] for step in steps if "run" in step]
    assert ".ci/run" in runs and any("make book URL=" in run for run in runs)
    assert any(step.get("with", {}).get("path") == "_build/site/quick" for step in steps)
    assert workflow["jobs"]["deploy"]["needs"] == "test"


def test_git_shows_notebooks_by_their_sources():
    assert "*.ipynb diff=ipynb" in (ROOT / ".gitattributes").read_text()
    assert "git config diff.ipynb.textconv" in make("env")
    assert "-m beyondloss.site.notebook --source" in make("env")


def test_no_file_names_a_place_on_somebody_s_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    places = re.compile(rb"/home/\w+/|/root/|/Users/\w+/|file:///|\bindex-url\b")
    found = [name for name in listed.stdout.splitlines() if places.search((ROOT / name).read_bytes())]
    assert [name for name in found if name != "tests/unit/test_environment.py"] == []


SHOWS_ITS_NUMBERS = """
from beyondloss import catalogue
from beyondloss.experiment import Store, paths
from beyondloss.page.cards import published_table
import json
assert paths.root() is None
for chapter in catalogue.chapters():
    for name in json.loads((paths.data() / "published" / f"{chapter.slug}.json").read_text()):
        assert len(published_table(chapter, name).rows)
plan = catalogue.chapter("3").preset("quick").computed[0]
print(sum(Store.of(plan).get(plan.experiment, point) is not None for point in plan.grid), len(plan.grid))
"""


def test_an_installed_package_brings_the_numbers_of_the_chapters(tmp_path):
    """As on Colab: no checkout, and a notebook that shows what was published and what was measured."""
    into = ["--build-base", tmp_path / "base", "--build-lib", tmp_path / "installed"]
    command = [sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", tmp_path, "build", *into]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BEYONDLOSS_")}
    environment |= {"PYTHONPATH": str(tmp_path / "installed"), "BEYONDLOSS_STORE": str(tmp_path / "store")}
    command = [sys.executable, "-c", SHOWS_ITS_NUMBERS]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    stored, points = map(int, done.stdout.split())
    assert stored == points > 0
