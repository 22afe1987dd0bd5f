"""What tests of every kind share: toy experiments that workers can import, and a store of a test's own."""

import os
import sys
from pathlib import Path

import pytest

TOYS = Path(__file__).parent / "toys"
sys.path.insert(0, str(TOYS))


@pytest.fixture
def own_store(tmp_path, monkeypatch):
    """An empty checkout and an empty journal for this test and its child processes; the journal's folder."""
    (tmp_path / "checkout").mkdir()
    monkeypatch.setenv("BEYONDLOSS_ROOT", str(tmp_path / "checkout"))
    monkeypatch.setenv("BEYONDLOSS_STORE", str(tmp_path / "journal"))
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "measured.log"))
    monkeypatch.setenv("PYTHONPATH", str(TOYS), prepend=os.pathsep)
    return tmp_path / "journal"
