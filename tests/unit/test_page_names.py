"""What a notebook imports from beyondloss.page: loaded late, and yet part of what its outputs depend on."""

import subprocess
import sys

import pytest

import beyondloss.page
from beyondloss.experiment.digest import sources


@pytest.mark.parametrize("name", beyondloss.page.__all__)
def test_every_name_is_there(name):
    assert getattr(beyondloss.page, name) is not None


def test_no_other_name_is():
    with pytest.raises(AttributeError, match="'Explroer'"):
        beyondloss.page.Explroer  # noqa: B018


def test_nothing_heavy_is_loaded_before_it_is_needed():
    code = "import sys, beyondloss.page; print({'matplotlib', 'ipywidgets', 'seaborn'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_the_digest_of_a_notebook_reaches_what_draws_it():
    reached = {name.rpartition(".")[2] for name in sources("beyondloss.page", exempt="")}
    assert reached >= {"explorer", "widget", "plot", "marks", "grid", "theme", "source", "cards"}
