"""Archives over several machines: the rows that one machine makes, whoever dies on the way."""

import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import psutil
import pytest

from covid_cnn.data import synthetic
from covid_cnn.images import sources
from covid_cnn.models import batch, cluster
from covid_cnn.models.bundle import Bundle

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:ray", "ignore::FutureWarning:ray", "ignore::ResourceWarning"
)
SMALL = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
DRIVER = """
import sys
from pathlib import Path
from covid_cnn.images import sources
from covid_cnn.models import cluster
from covid_cnn.models.bundle import Bundle
model, folder, parts, address = sys.argv[1:]
images = sources.select([Path(folder), Path(folder + ".zip")], lambda archive: archive).images
cluster.BLOCK = 4
with cluster.predict_archive(Bundle(Path(model)), images, Path(parts), address):
    pass
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """A folder of 240 names for 12 images, of which one is broken, and a .zip of the same name with two."""
    folder = tmp_path_factory.mktemp("archive") / "films"
    folder.mkdir()
    for n in range(12):
        synthetic.write_png(folder / f"{n:03}.png", synthetic.draw_radiograph(n, opacities=bool(n % 2), size=256))
    (folder / "007.png").write_bytes(b"no image")
    for n in range(12, 240):
        (folder / f"{n:03}.png").hardlink_to(folder / f"{n % 12:03}.png")
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as packed:
        for name in ("000.png", "007.png"):
            packed.write(folder / name, name)
    return folder


@pytest.fixture
def nodes():
    """A cluster of this machine: a head without a core, and two nodes of one core each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args=SMALL | {"num_cpus": 0})
    try:
        yield made, [made.add_node(num_cpus=1, object_store_memory=SMALL["object_store_memory"]) for _ in range(2)]
    finally:
        made.shutdown()


def test_driver_and_node_die_and_nothing_is_lost_nor_done_twice(nodes, archive, default_model, tmp_path, monkeypatch):
    import ray

    made, (_, mortal) = nodes
    monkeypatch.setattr(cluster, "BLOCK", 4)
    model, parts = Bundle(default_model), tmp_path / "parts"
    images = sources.select([archive, archive.with_suffix(".zip")], lambda opened: opened).images
    here = list(batch.predict_rows(model, images))
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, default_model, archive, parts, made.address])
    wait_for(lambda: len(list(parts.glob("*.json"))) > 1)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    blocks = cluster.plan_blocks(model, images, parts)
    before, after = {block.file for block in blocks if block.file.exists()}, []
    assert 1 < len(before) < len(blocks) - 10
    with cluster.connect(made.address):
        for file in cluster.answer_blocks(model, blocks, workers=2):
            after.append(file)
            if mortal.any_processes_alive() and at_work(mortal):
                made.remove_node(mortal, allow_graceful=False)
        assert sorted(node["Alive"] for node in ray.nodes()) == [False, True, True]
    assert sorted([*before, *after]) == sorted(block.file for block in blocks)
    assert [row for block in blocks for row in cluster.read_rows(block)] == here
    assert sum(bool(row["error"]) for row in here) == 21


def at_work(node) -> bool:
    """Whether a process of this node is answering a block right now."""
    (raylet,) = node.all_processes["raylet"]
    titles = [" ".join(child.cmdline()) for child in psutil.Process(raylet.process.pid).children()]
    print(titles)
    return any("MapWorker" in title and "submit" in title for title in titles)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
