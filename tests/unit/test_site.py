"""What the published site has beside its pages: openings, figures, the library's reference, site map."""

import json
import re
import xml.etree.ElementTree as ET

import pytest
import toy
from bs4 import BeautifulSoup
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from beyondloss import catalogue
from beyondloss.experiment import BadInput
from beyondloss.page import Explorer, Panel, Series, Slider, carried, show, theme
from beyondloss.page.explorer import LIMIT
from beyondloss.site import chapters, extras, library, notebook, stage, theme_patches
from beyondloss.site import figures as site_figures
from beyondloss.site.chapters import Place

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="


def drawn(name: str, rows=(), experiments=(), **metadata):
    """A cell with a figure as a kernel leaves it."""
    output = new_output("display_data", {"image/png": PNG})
    output.metadata = NotebookNode(carried.metadata("figure", "", experiments, rows))
    return new_code_cell("plot()", id=name, metadata=metadata, outputs=[output])


@pytest.fixture
def nb():
    """A chapter of the toys with three figures."""
    return new_notebook(
        cells=[
            new_markdown_cell(
                "# Toys\n\n**The claim in one sentence.** Toys score.\n\nMore.\n\nAnd more.", id="t"
            ),
            new_code_cell("nothing = 0", id="nothing"),
            drawn("first", [{"x": 1, "y": 2}], ["toy"]),
            drawn("second", tags=["opening"]),
            drawn("third", [{"x": 1}], ["toy", "second"]),
        ]
    )


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "references.bib").write_text(
        "@misc{a,\n  eprint = {0000.00000}\n}\n\n@misc{b,\n  eprint = {1}\n}\n"
    )
    (tmp_path / "_config.yml").write_text('title: T\ncopyright: "2031"\n')
    return tmp_path


def figures(nb):
    return site_figures.figures(toy.CHAPTER, nb)


# Figures ---------------------------------------------------------------------------------------------------


def test_a_figure_names_the_experiments_that_it_carries(nb):
    assert [figure.experiments for figure in figures(nb)] == [("toy",), (), ("toy", "second")]
    assert figures(nb)[2].commands == {
        "again": "beyondloss figure 3.3",
        "its points": "beyondloss run 3 --only toy,second --fresh",
    }
    assert figures(nb)[1].commands == {"again": "beyondloss figure 3.2"}


def test_the_opening_figure_is_the_tagged_one_else_the_first(nb):
    assert chapters.opening_figure(figures(nb)).number == "3.2"
    nb.cells[3].metadata.tags = []
    assert chapters.opening_figure(figures(nb)).number == "3.1"


def test_a_caption_offers_data_where_there_are_any(nb):
    with_data, without = (site_figures.caption(f, "../data/toy/").data["text/html"] for f in figures(nb)[:2])
    assert 'href="../data/toy/figure-3-1.csv"' in with_data and "csv" not in without


def test_a_figure_is_written_with_its_data(nb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [p.name for p in figures(nb)[0].write()] == ["figure-3-1.png", "figure-3-1.csv"]
    assert (tmp_path / "figure-3-1.csv").read_text() == "x,y\n1,2\n"
    assert [p.name for p in figures(nb)[1].write()] == ["figure-3-2.png"]


def explorer(points=3, **options):
    sliders = [Slider("k", "k", [1, 2]), Slider("w", "w", ["a", "b"])]
    series = [Series("s", list(range(points)), lambda k: [k * x for x in range(points)])]
    return Explorer("T < U", sliders, [Panel("P", "x", "y", series)], "About.", **options)


def shown(figure):
    """The figure of a notebook whose only cell shows `figure`, after writing and reading."""
    data, metadata = figure._repr_mimebundle_()
    cell = new_code_cell("figure", id="e", outputs=[new_output("display_data", data, metadata=metadata)])
    text = notebook.nbformat.writes(notebook.normalise(new_notebook(cells=[cell])))
    (found,) = figures(notebook.nbformat.reads(text, as_version=4))
    return found


def test_the_data_of_an_explorer_are_its_curves_at_every_setting():
    lines = shown(explorer()).csv.splitlines()
    assert lines[0] == "panel,mark,series,k,x,y"
    assert lines[1:] == [f"P,line,s,{k},{x},{k * x}" for k in (1, 2) for x in range(3)]


def test_an_explorer_gets_its_page_from_what_it_carries():
    figure = shown(explorer())
    assert figure.explorer and figure.alt == "About."
    assert site_figures.put_explorer(figure, "d.js") is None
    page = figure.output.data["text/html"]
    assert 'id="explorer-t-u"' in page and 'aria-label="T &lt; U"' in page and '<input type="range"' in page


def test_data_of_a_heavy_explorer_leave_the_page():
    heavy = explorer(points=20_000, heavy=True)
    figure = shown(heavy)
    moved = site_figures.put_explorer(figure, "../data/d.js")
    page = figure.output.data["text/html"]
    traits = json.loads(re.search(r'application/json">(.*?)</script>', page, re.DOTALL)[1])
    assert len(page) < LIMIT < len(moved)
    assert traits == {"values": {"k": 2, "w": "b"}, "source": "../data/d.js"}
    name, state = re.fullmatch(
        r'\(self\.explorerData \?\?= \{\}\)\["(.*?)"\] = (.*);\n', moved, re.DOTALL
    ).groups()
    assert name == heavy.id and json.loads(state) == json.loads(json.dumps(heavy.state))


def test_committed_notebooks_keep_no_numbers():
    figure = shown(explorer())
    nb = notebook.without_data(new_notebook(cells=[new_code_cell("e", id="e", outputs=[figure.output])]))
    told = nb.cells[0].outputs[0].metadata["beyondloss"]
    assert told["title"] == "T < U" and not {"table", "state", "skeleton"} & set(told)
    assert len(json.dumps(told)) < 300


def test_only_a_heavy_explorer_may_be_heavy():
    with pytest.raises(ValueError, match="heavy=True"):
        explorer(points=20_000)


# Chapters --------------------------------------------------------------------------------------------------


def test_a_chapter_opens_with_what_a_reader_wants_to_know(nb, checkout):
    block = chapters.opening(toy.CHAPTER, figures(nb), "quick", Place(), checkout)
    text = chapters.insert(nb.cells[0].source, block)
    title, claim, opening = text.split("\n\n", 2)
    assert title == "# Toys" and "Toys score" in claim and opening.endswith("```\n\nMore.\n\nAnd more.")
    for wanted in (
        "None of these claims",
        "at quick scale",
        "arXiv:",
        "figure-3-2.png",
        "figures.zip",
        "Cite",
    ):
        assert wanted in opening
    assert "mybinder" not in opening


def test_the_citation_has_the_paper_and_the_chapter(checkout):
    text = chapters.citation(toy.CHAPTER, Place("https://example.org/b"), checkout)
    assert text.startswith("@misc{a,") and "@misc{b" not in text
    assert "url       = {https://example.org/b/notebooks/03_toy.html}" in text and "{2031}" in text
    assert text.count("{") == text.count("}")


def test_launch_links_go_to_the_repository_that_was_named(nb, checkout):
    place = Place(repository="https://github.com/owner/name.git")
    block = chapters.opening(toy.CHAPTER, figures(nb), "quick", place, checkout)
    assert "https://mybinder.org/v2/gh/owner/name/main?labpath=notebooks/03_toy.ipynb" in block
    assert "https://colab.research.google.com/github/owner/name/blob/launch/notebooks/03_toy.ipynb" in block


@pytest.mark.parametrize("address", ["here", "ftp://a/b", "https:/x"])
def test_a_place_that_is_none_is_refused(address):
    with pytest.raises(BadInput, match="--url takes an address"):
        Place(address)


def test_every_chapter_has_a_headline():
    """`headlines_table` refuses a claim that the chapter does not make."""
    from beyondloss.site import generated

    rows = [line for line in generated.headlines_table("").splitlines() if "bl-chip" in line]
    assert len(rows) == len(catalogue.chapters())


def test_colab_s_copy_installs_the_book_first(tmp_path):
    (tmp_path / "notebooks").mkdir()
    nb = new_notebook(cells=[new_markdown_cell("# T", id="t"), new_code_cell("scale = 1", id="c")])
    stage.notebook.write(nb, tmp_path / "notebooks" / "03_toy.ipynb")
    stage.launch(tmp_path, tmp_path / "out", Place(repository="https://github.com/o/n"))
    copy = stage.notebook.read(tmp_path / "out" / "notebooks" / "03_toy.ipynb")
    assert [cell.source for cell in copy.cells] == [
        "# T", '%pip install -q "beyondloss @ git+https://github.com/o/n@main"', "scale = 1",
    ]  # fmt: skip


# The library -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Plain `code_` and *stars*, x_, |bar|.", "Plain \\ ``code_``\\  and \\*stars\\*, x\\_, \\|bar\\|."),
        ("See eq. md-mass and theorem nowhere-else.", "See eq. :eq:`md-mass` and theorem nowhere-else."),
        (
            "A.\n\nlr: step size,\n    two lines.\nsteps: how many.",
            "A.\n\n- \\ ``lr``\\ : step size, two lines.\n\n- \\ ``steps``\\ : how many.",
        ),
        ("So::\n\n    x = 1_", "So::\n\n    x = 1_"),
        ("Where $x_i$ is.", "Where \\ :math:`x_i`\\  is."),
    ],
)
def test_a_docstring_becomes_valid_whatever_it_holds(docstring, expected):
    text = "\n".join(library.restructured(docstring.splitlines(), {"md-mass": "eq"})).strip()
    assert text.replace("- \\ ", "- ") == expected.replace("- \\ ", "- ")


def test_every_docstring_of_the_library_parses():
    """As Sphinx would parse it, so that no author has to know how."""
    import ast
    from pathlib import Path

    from docutils.core import publish_doctree

    broken = []
    for path in sorted(Path(library.__file__).parents[1].rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
                text := ast.get_docstring(node)
            ):
                lines = library.restructured(text.splitlines(), {})
                document = publish_doctree("\n".join(lines), settings_overrides={"report_level": 5})
                if "system_message" in document.pformat():
                    broken.append(f"{path.name}: {getattr(node, 'name', 'module')}")
    assert broken == []


def test_every_public_module_is_in_the_reference():
    pages = library.pages()
    named = {module for text in pages.values() for module in re.findall(r"automodule:: (\S+)", text)}
    for package in ("models", "trainers", "data", "experiment"):
        folder = library.Path(library.__file__).parents[1] / package
        assert {f"beyondloss.{package}.{p.stem}" for p in folder.glob("[a-z]*.py")} <= named
    for chapter in catalogue.chapters():
        assert f"chapter {chapter.number}" in pages[f"{chapter.slug}.md"]


def test_defined_in_leads_to_the_reference_and_to_the_file():
    source = show(theme.spread, theme._way_out, test_a_place_that_is_none_is_refused)
    output = new_output("display_data", {"text/html": source._repr_html_()})
    output.metadata = NotebookNode(source._repr_mimebundle_()[1])
    stage._link_sources(output)
    public, private, foreign = BeautifulSoup(output.data["text/html"], "html.parser").select(".bl-source > p")
    links = [link["href"] for link in public.select("a")]
    assert links == [
        "../_modules/beyondloss/page/theme.html", "../book/api/page.html#beyondloss.page.theme.spread",
    ]  # fmt: skip
    assert public.select_one("#source-spread") is not None
    assert [link["href"] for link in private.select("a")] == links[:1] and not foreign.select("a")


# Around the pages ------------------------------------------------------------------------------------------


def test_the_site_map_lists_whole_addresses():
    root = ET.fromstring(extras.site_map(["b.html", "a.html"], "https://example.org/").encode())
    assert [loc.text for loc in root.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")] == [
        "https://example.org/a.html", "https://example.org/b.html",
    ]  # fmt: skip


def test_a_wrong_address_leads_back_to_where_the_site_stands():
    assert 'href="/b/index.html"' in extras.not_found("https://example.org/b/")
    assert 'href="/index.html"' in extras.not_found("")


def test_a_card_has_the_size_that_is_asked_for(tmp_path):
    from PIL import Image

    extras.link_card(tmp_path / "cards" / "a.png", "A title that is long enough for two lines", "Chapter 3")
    with Image.open(tmp_path / "cards" / "a.png") as card:
        assert card.size == extras.CARD


THEME = """<!DOCTYPE html>
<html><head>
<script src="../_static/vendor/fontawesome/6.5.2/js/all.min.js?digest=1"></script>
<link as="font" href="../fa-brands-400.woff2" rel="preload"/>
<link as="font" href="../fa-solid-900.woff2" rel="preload"/>
</head><body>
<div class="bd-sidebar-primary bd-sidebar">
<details><summary><span class="toctree-toggle" role="presentation"></span></summary></details></div>
<div class="citation-list" role="list"><div class="citation" role="doc-biblioentry">a &lt; b</div></div>
<script>if (a < b && c) d("</p>");</script>
</body></html>
"""


def test_what_the_theme_gets_wrong_is_patched_and_nothing_else():
    patched = theme_patches.patch_theme_html(THEME)
    page = BeautifulSoup(patched, "html.parser")
    assert [link["href"] for link in page.select("link")] == ["../fa-solid-900.woff2"]
    assert page.select_one('[role="complementary"][aria-label="Book"] summary[aria-label="Unfold"] > span')
    assert not page.select('[role="list"], [role="doc-biblioentry"], script[src]')
    assert 'if (a < b && c) d("</p>");' in patched and "a &lt; b" in patched
    assert patched.startswith("<!DOCTYPE html>")


def test_shown_source_names_equations_and_theorems_by_number():
    numbers = {
        "md-mass": ("notebooks/03", "md-mass", "3.4"),
        "md-rule": ("notebooks/03", "equation-md-rule", "3.1"),
    }
    shown = "<span>(chapter 3, eq. md-rule and Theorem md-mass; eq. md-unknown)</span> md-rule"
    assert library.with_numbers(shown, numbers, lambda page: f"../{page}.html") == (
        '<span>(chapter 3, eq. <a href="../notebooks/03.html#equation-md-rule">3.1</a> and '
        'Theorem <a href="../notebooks/03.html#md-mass">3.4</a>; eq. md-unknown)</span> md-rule'
    )
