"""The site build: what is executed again and what is not, what a failure leaves behind, generated parts."""

import nbformat
import pytest
import toy
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from beyondloss import catalogue
from beyondloss.experiment import BadInput, sweep
from beyondloss.site import build, fonts, generated, notebook, refresh


def chapter(code: str, scale: str = "quick"):
    first = new_code_cell(f'scale = "{scale}"', id="parameters", metadata={"tags": ["parameters"]})
    return new_notebook(
        cells=[new_markdown_cell("# A toy", id="title"), first, new_code_cell(code, id="code")]
    )


@pytest.fixture
def book(own_store, monkeypatch):
    """A checkout of two chapters without experiments; its root."""
    monkeypatch.setattr(catalogue, "chapters", lambda: [])
    monkeypatch.setattr(fonts, "FACES", {})  # test_site_fonts.py cuts them
    monkeypatch.setattr(fonts, "LICENCES", {})
    here = own_store.parent / "checkout"
    (here / "notebooks").mkdir()
    for name in ("01_first", "02_second"):
        nbformat.write(chapter(f"print('{name}', scale)"), here / "notebooks" / f"{name}.ipynb")
    (here / "book").mkdir()
    (here / "book" / "intro.md").write_text("# A book\n\nSee {doc}`../notebooks/01_first`.\n")
    (here / "README.md").write_text("# A book\n")
    (here / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nchapters:\n"
        "  - file: notebooks/01_first\n  - file: notebooks/02_second\n"
    )
    (here / "_config.yml").write_text(
        'title: T\nonly_build_toc_files: true\nexecute: {execute_notebooks: "off"}\n'
    )
    (here / "constraints.txt").touch()
    return here


@pytest.fixture
def kernels(monkeypatch):
    """Chapters that were executed, by a stand-in that starts no kernel and fails on `raise`."""
    executed = []

    def execute(source, target, given=None):
        executed.append(source.stem)
        nb = notebook.read(source)
        if "raise" in nb.cells[-1].source:
            raise notebook.CellFailed(f"{source.name}: cell 3 failed")
        nb.metadata["beyondloss"] = notebook.stamp(nb, notebook.slug(source), notebook.changed(nb, given))
        notebook.write(nb, target)

    monkeypatch.setattr(notebook, "execute", execute)
    return executed


@pytest.fixture
def rendered(monkeypatch):
    """Sites that were rendered, by a stand-in for Sphinx."""
    sites = []

    def render(stage, site):
        sites.append(sorted(p.relative_to(stage).as_posix() for p in stage.rglob("*") if p.is_file()))
        site.mkdir(parents=True, exist_ok=True)
        (site / "index.html").touch()

    monkeypatch.setattr(build, "_render", render)
    return sites


def test_a_second_build_executes_and_renders_nothing(book, kernels, rendered):
    assert build.build() == build.build() == book / "_build" / "site" / "quick" / "index.html"
    assert kernels == ["01_first", "02_second"]
    assert rendered == [
        [
            "_config.yml",
            "_toc.yml",
            "book/_static/explorer.css",
            "book/_static/explorer.js",
            "book/intro.md",
            "extra/404.html",
            "notebooks/01_first.ipynb",
            "notebooks/02_second.ipynb",
        ]
    ]


def test_only_the_chapter_that_changed_is_executed_again(book, kernels, rendered):
    build.build()
    nbformat.write(chapter("print('changed')"), book / "notebooks" / "02_second.ipynb")
    build.build()
    assert kernels == ["01_first", "02_second", "02_second"]
    assert len(rendered) == 2


def test_prose_is_rendered_again_without_executing(book, kernels, rendered):
    build.build()
    (book / "book" / "intro.md").write_text("# Another title\n")
    build.build()
    assert len(kernels) == 2 and len(rendered) == 2


def test_prose_of_a_chapter_reaches_the_page_without_executing(book, kernels, rendered):
    build.build()
    path = book / "notebooks" / "01_first.ipynb"
    nb = notebook.read(path)
    nb.cells[0].source = "# A better title"
    nbformat.write(nb, path)
    build.build()
    staged = (book / "_build" / "stage" / "quick" / "notebooks" / "01_first.ipynb").read_text()
    assert "A better title" in staged
    assert len(kernels) == 2 and len(rendered) == 2


def test_outputs_and_injected_parameters_go_with_the_source_s_prose():
    source, executed = chapter("print(scale)"), chapter("print(scale)")
    injected = new_code_cell('scale = "full"', metadata={"tags": ["injected-parameters"]})
    executed.cells.insert(2, injected)
    executed.cells[-1].outputs = [new_output("stream", name="stdout", text="full\n")]
    executed.metadata["beyondloss"] = {"cells": "0"}
    source.cells[0].source = "# Another"
    source.cells.insert(1, new_markdown_cell("More prose."))
    merged = notebook.with_outputs(source, executed)
    assert [cell.source for cell in merged.cells] == [
        "# Another", "More prose.", 'scale = "quick"', 'scale = "full"', "print(scale)",
    ]  # fmt: skip
    assert merged.cells[-1].outputs[0].text == "full\n"
    assert source.cells[-1].outputs == []


def test_scales_do_not_share_executions(book, kernels, rendered):
    build.build("quick")
    build.build("full")
    assert kernels == ["01_first", "02_second"] * 2
    assert notebook.read(book / "_build/executed/full/01_first.ipynb").metadata.beyondloss.parameters == {
        "scale": "full"
    }


def test_a_damaged_executed_copy_is_made_again(book, kernels, rendered):
    build.build()
    (book / "_build" / "executed" / "quick" / "01_first.ipynb").write_text("{")
    build.build()
    assert kernels == ["01_first", "02_second", "01_first"]


def test_a_failing_chapter_does_not_stop_the_others_and_nothing_is_rendered(book, kernels, rendered):
    nbformat.write(chapter("raise ValueError"), book / "notebooks" / "01_first.ipynb")
    with pytest.raises(build.BuildFailed, match="01_first"):
        build.build()
    assert kernels == ["01_first", "02_second"] and rendered == []


def test_an_unknown_scale_starts_nothing(book, kernels, rendered):
    with pytest.raises(BadInput, match="did you mean 'quick'"):
        build.build("quik")
    assert kernels == [] and not (book / "_build").exists()


def test_a_warning_of_sphinx_fails_the_build_and_leaves_the_old_site(book, kernels):
    old = book / "_build" / "site" / "quick"
    old.mkdir(parents=True)
    (old / "index.html").write_text("the old one")
    (book / "book" / "intro.md").write_text("# A book\n\nSee {doc}`nowhere`.\n")
    with pytest.raises(build.BuildFailed, match=r"intro\.md:3: WARNING: unknown document"):
        build.build()
    assert (old / "index.html").read_text() == "the old one"
    with pytest.raises(build.BuildFailed):
        build.build()  # a second try must not pass because Sphinx remembers the page


def test_a_tool_that_builds_nothing_and_says_so_to_nobody_fails_the_build(book, kernels, monkeypatch):
    """As jupyter-book 2 does with our files."""
    monkeypatch.setattr(build.sys, "executable", "/bin/true")
    with pytest.raises(build.BuildFailed):
        build.build()


def test_mathjax_is_trimmed_to_what_a_page_asks_for(tmp_path):
    files = ["tex-chtml.js", "tex-svg.js", "output/chtml/fonts/woff-v2/a.woff", "sre/mathmaps/en.json"]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    build._trim_mathjax(tmp_path)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*") if p.is_file()) == sorted(
        [files[0], files[2]]
    )


# Generated parts -------------------------------------------------------------------------------------------

MARKED = "before\n<!-- generated: {} -->\nold\n<!-- end of generated part -->\nafter\n"


@pytest.fixture
def toys(book, monkeypatch):
    """The same checkout with the toy chapter in its catalogue."""
    monkeypatch.setattr(catalogue, "chapters", lambda: [toy.CHAPTER])
    return book


def test_claims_are_listed_with_their_tests_folded_and_without_a_column_where_nothing_was_run(toys):
    text = generated.fill(MARKED.format("claims"), "../")
    assert "[Toys](../notebooks/03_toy.ipynb)" in text
    head, folded = text.split("<details><summary>1 test</summary>", 1)
    assert '<span id="claim-3-1">**3.1**</span> Toys are good.' in head
    test = '| <span id="claim-3-1a">3.1a</span> | Toys score.<br><small>mean above 1</small> |'
    assert test not in head and test in folded.split("</details>")[0]
    assert (
        "None of these claims was tested at quick or full scale yet" in head
        and "not run at this scale" not in text
    )
    assert text.startswith("before\n") and text.endswith("after\n") and "\nold\n" not in text


def test_chapters_are_listed_with_costs(toys):
    text = generated.fill(MARKED.format("chapters"))
    assert "| 3 | [Toys](notebooks/03_toy.ipynb)<br>" in text
    assert "None of these claims was tested at quick or full scale yet" in text
    assert "99 GPUs" in text


def test_filling_twice_changes_nothing(toys):
    once = generated.fill(MARKED.format("claims"))
    assert generated.fill(once) == once


def test_points_that_are_not_committed_decide_nothing(toys):
    plan = toy.DEAR.plan("quick")
    sweep(plan, progress=False)
    assert "seeds" not in generated.fill(MARKED.format("claims"))


def test_an_unknown_part_names_the_nearest(toys):
    with pytest.raises(BadInput, match="did you mean 'claims'"):
        generated.fill(MARKED.format("claim"))


def test_the_build_fills_its_own_copy_only(toys, kernels, rendered):
    page = toys / "book" / "intro.md"
    page.write_text("# A book\n\n" + MARKED.format("chapters"))
    build.build()
    assert "Toys" in (toys / "_build" / "stage" / "quick" / "book" / "intro.md").read_text()
    assert "Toys" not in page.read_text()


def test_refresh_brings_everything_up_to_date_once(toys, kernels, monkeypatch):
    monkeypatch.setattr(refresh, "SCALE", "smoke")
    for name in ("01_first", "02_second", "03_toy"):
        nbformat.write(chapter(f"print('{name}')", "smoke"), toys / "notebooks" / f"{name}.ipynb")
    (toys / "README.md").write_text(MARKED.format("chapters"))
    assert {path.name for path in refresh.stale()} == {
        "smoke.json", "01_first.ipynb", "02_second.ipynb", "03_toy.ipynb", "README.md",
    }  # fmt: skip
    refresh.refresh(say=lambda line: None)
    assert refresh.stale() == {}
    assert len(toy.measured()) == 6
    assert (toys / "data" / "results" / "toy" / "smoke.json").is_file()
    assert "Toys" in (toys / "README.md").read_text()


def test_refresh_keeps_prose_that_is_younger_than_the_execution(book, kernels):
    build.execute_chapters(build.chapter_notebooks(), "quick")
    path = book / "notebooks" / "01_first.ipynb"
    nb = notebook.read(path)
    nb.cells[0].source = "# A better title"
    nbformat.write(nb, path)
    refresh.refresh(say=lambda line: None)
    assert notebook.read(path).cells[0].source == "# A better title"
    assert notebook.is_stale(path) == []
    assert kernels == ["01_first", "02_second"]
