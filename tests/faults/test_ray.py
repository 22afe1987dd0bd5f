"""The engine `ray` on a small cluster of this machine."""

import gc
import threading
import time
import warnings

import pytest
from toy import DEAR, TOY, measured, score

from beyondloss.experiment import Axis, Cost, Experiment, NotEnough, SweepFailed, sweep, table

ray = pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[cluster]'")
pytestmark = [pytest.mark.usefixtures("own_store"), pytest.mark.filterwarnings("default")]


@pytest.fixture
def collected():
    """Ray leaves the ends of its processes to the garbage collector, which would warn in whatever test comes then."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def cluster(own_store, collected):
    """Two nodes of one core each; the driver runs on the first."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def on_ray(plan, **how):
    return sweep(plan, engine="ray", progress=False, **how)


def test_a_cluster_measures_and_a_lost_node_loses_nothing(cluster):
    plan = TOY.plan("smoke")
    assert list(on_ray(plan).score) == pytest.approx([score(p) for p in plan.grid], rel=1e-6)
    assert len(on_ray(plan)) == len(measured()) == 6  # stored as from any engine
    assert len(on_ray(DEAR.plan("smoke"))) == 2  # who names a cluster wants points measured

    mixed = TOY.plan("smoke", overrides={"mood": Axis("well", "fails", "dies"), "seed": 0, "k": 2})
    with pytest.raises(SweepFailed, match="2 of 3 points failed") as error:
        on_ray(mixed)
    assert sorted(p.mood for p in error.value.failures) == ["dies", "fails"]
    assert list(table(mixed).mood) == ["well"]

    dear = Experiment("gpu", "G", TOY.point, TOY.run, {"smoke": {}}, {"smoke": Cost(1, gpus=1)})
    if not ray.cluster_resources().get("GPU"):
        with pytest.raises(NotEnough, match="a group needs 1 GPUs, the Ray cluster has 0"):
            on_ray(dear.plan("smoke"))

    slow = TOY.plan("smoke", overrides={"k": Axis(*range(10, 18)), "pause": 0.5})
    begun = len(measured())
    lost = threading.Thread(target=_lose_a_node, args=(cluster, begun))
    lost.start()
    frame = on_ray(slow)
    lost.join()
    assert list(frame.score) == pytest.approx([score(p) for p in slow.grid], rel=1e-6)
    assert len(cluster.worker_nodes) == 0


def _lose_a_node(cluster, begun):
    while len(measured()) < begun + 4:
        time.sleep(0.05)
    cluster.remove_node(cluster.second, allow_graceful=False)
