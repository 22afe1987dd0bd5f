"""The results store: what it writes, what it finds, and what it refuses to read."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import DEAR, TOY, Point

from beyondloss.experiment import BadInput, DamagedFile, Store, journal, published, root
from beyondloss.experiment import paths as paths_module
from beyondloss.experiment.store import plain

ORIGIN = {"python": "3.11", "device": "a processor", "commit": "abc", "date": "2025-01-01"}


@pytest.fixture
def store(own_store):
    return Store("toy", "smoke")


def put(store, point, **metrics):
    store.put(TOY, point, metrics or {"score": 1.0}, 0.5, ORIGIN)


def again():
    """The same store as another process would open it."""
    return Store("toy", "smoke")


def edited(monkeypatch, code="0" * 16):
    """As if the code of every experiment were another."""
    monkeypatch.setattr("beyondloss.experiment.digest.code_digest", lambda *code_of: code)


def test_a_point_comes_back_as_it_was_put(store):
    put(store, Point(k=3), score=0.5, curve=[1, 2.5], text="a é", none=None)
    record = again().get(TOY, Point(k=3))
    assert record.metrics == {"score": 0.5, "curve": [1, 2.5], "text": "a é", "none": None}
    assert (record.state, record.seconds, record.provenance) == ("current", 0.5, ORIGIN)
    assert again().get(TOY, Point(k=4)) is None


def test_numbers_are_stored_as_strict_json_of_seven_digits():
    metrics = [1 / 3, np.float32(0.1), np.arange(2), float("nan"), -math.inf, True, 10**20, (1.0, "a")]
    assert plain(metrics) == [0.3333333, 0.1, [0, 1], None, None, True, 10**20, [1.0, "a"]]


@given(st.recursive(st.none() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_what_is_stored_is_strict_json_and_stays_the_same(value):
    once = plain(value)
    assert json.loads(json.dumps(once, allow_nan=False)) == once == plain(once)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=1e-300))
def test_rounding_loses_less_than_a_millionth(value):
    assert plain(value) == pytest.approx(value, rel=5.1e-7)


@pytest.mark.parametrize("value", [{"a": 1}, object(), 1j, b"x", [{1, 2}]])
def test_other_things_are_no_metric(value):
    with pytest.raises(TypeError, match="a metric is a number"):
        plain(value)


def test_a_point_of_other_code_is_stale(store, monkeypatch):
    put(store, Point())
    edited(monkeypatch)
    assert again().get(TOY, Point()).state == "stale"


# The published file ----------------------------------------------------------------------------------------


def test_published_points_are_found_without_a_journal(store, own_store):
    for point in TOY.plan("smoke").grid:
        put(store, point, score=float(point.seed))
    put(store, Point(k=99))
    path = store.publish([TOY])
    assert path == published("toy", "smoke")
    for file in own_store.rglob("*.json"):
        file.unlink()
    assert [again().get(TOY, p).metrics["score"] for p in TOY.plan("smoke").grid] == [0, 1, 2, 0, 1, 2]
    assert again().get(TOY, Point(k=99)) is None  # no point of the preset


def test_a_published_file_has_one_line_a_point_and_each_origin_once(store):
    for point in TOY.plan("smoke").grid:
        put(store, point)
    text = store.publish([TOY]).read_text()
    assert sum(line.startswith('{"experiment"') for line in text.splitlines()) == 6
    assert text.count("a processor") == 1
    assert store.publish([TOY]).read_text() == text


def test_publishing_one_experiment_keeps_the_others(store):
    put(store, TOY.plan("smoke").grid[0])
    store.publish([TOY])
    store.put(DEAR, DEAR.plan("smoke").grid[0], {"score": 3.0}, 1.0, ORIGIN)
    store.publish([DEAR])
    records = json.loads(store.published.read_text())["points"]
    assert [record["experiment"] for record in records] == ["dear", "toy"]


def test_a_current_point_is_preferred_wherever_it_lies(store, monkeypatch):
    point = TOY.plan("smoke").grid[0]
    put(store, point, score=1.0)
    store.publish([TOY])
    edited(monkeypatch)
    put(again(), point, score=2.0)
    assert again().get(TOY, point).metrics["score"] == 2.0
    monkeypatch.undo()


def test_a_stale_journal_gives_way_to_a_current_published_point(store, monkeypatch):
    point = TOY.plan("smoke").grid[0]
    put(store, point, score=1.0)
    store.publish([TOY])
    with monkeypatch.context() as other:
        edited(other)
        put(again(), point, score=2.0)
    record = again().get(TOY, point)
    assert (record.state, record.metrics["score"]) == ("current", 1.0)


def test_publishing_needs_a_checkout(own_store, monkeypatch):
    monkeypatch.delenv("BEYONDLOSS_ROOT")
    monkeypatch.setattr(paths_module, "__file__", "/nowhere/site-packages/beyondloss/experiment/paths.py")
    assert root() is None and published("toy", "smoke") is None
    with pytest.raises(BadInput, match="BEYONDLOSS_ROOT"):
        Store("toy", "smoke").publish([TOY])


def test_the_checkout_is_found_from_the_package(monkeypatch):
    monkeypatch.delenv("BEYONDLOSS_ROOT", raising=False)
    monkeypatch.delenv("BEYONDLOSS_STORE", raising=False)
    assert (root() / "lib" / "beyondloss").is_dir()
    assert journal() == root() / ".store"


# Damage ----------------------------------------------------------------------------------------------------


def damaged(text, how):
    cut = {"truncated": text[:-20], "empty": "", "no json": "{", "a list": "[]", "no points": '{"format":1}'}
    edits = {
        "edited": text.replace('"score":1.0', '"score":9.0'),
        "relabelled": text.replace('"seed":0', '"seed":1'),
    }
    found = (cut | edits)[how]
    assert found != text
    return found


DAMAGES = ["truncated", "empty", "no json", "a list", "no points", "edited", "relabelled"]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_point_is_refused_by_name(store, how):
    put(store, Point())
    path = store.path(TOY, Point())
    path.write_text(damaged(path.read_text(), how))
    with pytest.raises(
        DamagedFile, match=rf"{path.name} is truncated or was edited: delete it, or .*--fresh"
    ):
        again().get(TOY, Point())


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_published_file_is_refused_by_name(store, how):
    put(store, TOY.plan("smoke").grid[0])
    path = store.publish([TOY])
    store.path(TOY, TOY.plan("smoke").grid[0]).unlink()
    path.write_text(damaged(path.read_text(), how))
    with pytest.raises(
        DamagedFile, match=r"data/results/toy/smoke.json is .*git checkout -- data/results/toy"
    ):
        again().get(TOY, Point())
    put(again(), TOY.plan("smoke").grid[0])
    with pytest.raises(DamagedFile):
        again().publish([DEAR])
    again().publish([TOY], fresh=True)
    assert again().get(TOY, TOY.plan("smoke").grid[0]).state == "current"


def test_a_point_in_the_file_of_another_is_refused(store):
    put(store, Point(seed=0))
    store.path(TOY, Point(seed=0)).rename(store.path(TOY, Point(seed=1)))
    with pytest.raises(DamagedFile):
        again().get(TOY, Point(seed=1))


# Locks -----------------------------------------------------------------------------------------------------


def test_a_point_is_claimed_once(store):
    other = again()
    assert store.acquire(TOY, Point())
    assert not other.acquire(TOY, Point())
    assert other.acquire(TOY, Point(seed=1))
    store.release(TOY, Point())
    assert other.acquire(TOY, Point())
    other.release_all()
    assert store.acquire(TOY, Point()) and store.acquire(TOY, Point(seed=1))
