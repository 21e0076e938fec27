"""Archives over several machines: the rows that one machine makes, whoever dies on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest

from covid_cnn.data import synthetic
from covid_cnn.images import sources
from covid_cnn.models import batch, cluster
from covid_cnn.models.block_process import BlockProcess
from covid_cnn.models.bundle import INFO_FILE, Bundle

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:ray", "ignore::FutureWarning:ray", "ignore::ResourceWarning"
)
# A dead node is noticed in seconds; Ray's own patience is half a minute.
WATCHFUL = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 5}
SMALL = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
DRIVER = """
import sys
from pathlib import Path
from covid_cnn.images import sources
from covid_cnn.models import cluster
from covid_cnn.models.bundle import Bundle
model, folder, parts, address = sys.argv[1:]
images = sources.select([Path(folder), Path(folder + ".zip")], lambda archive: archive).images
bundle = Bundle(Path(model))
with cluster.predict_archive(bundle, cluster.plan_blocks(bundle, images, Path(parts), 4), address):
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
def opened():
    """Closes archives."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def nodes():
    """A cluster on this machine: a head without a core, and two nodes of one core each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args=SMALL | {"num_cpus": 0, "_system_config": WATCHFUL})
    try:
        yield made, [made.add_node(num_cpus=1, object_store_memory=SMALL["object_store_memory"]) for _ in range(2)]
    finally:
        made.shutdown()


def test_the_command_line_writes_the_table_of_the_local_engine(nodes, archive, default_model, tmp_path):
    command = [sys.executable, "-m", "covid_cnn", "predict", archive, archive.with_suffix(".zip")]
    command += ["--model", default_model, "--csv"]
    for table, *more in (["here"], ["there", "--engine", "ray", "--address", nodes[0].address, "--workers", "1"]):
        done = subprocess.run([*command, tmp_path / table, *more], capture_output=True, text=True)
        assert done.returncode == 1, done.stderr  # some images are broken
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"here", "there"}


def test_driver_and_node_die_and_nothing_is_lost_nor_done_twice(nodes, archive, opened, default_model, tmp_path):
    import ray

    made, (_, mortal) = nodes
    model, parts = Bundle(default_model), tmp_path / "parts"
    images = sources.select([archive, archive.with_suffix(".zip")], opened.enter_context).images
    here = list(batch.predict_rows(model, images))
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, default_model, archive, parts, made.address])
    wait_for(lambda: len(list(parts.glob("*.json"))) > 1)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    images.append(POISON)
    blocks = cluster.plan_blocks(model, images, parts, 4)
    before, after = {block.file for block in blocks if block.file.exists()}, []
    assert 1 < len(before) < len(blocks) - 10
    with cluster.connect(made.address):
        for file in cluster.answer_blocks(model, blocks, workers=2):
            after.append(file)
            if mortal.any_processes_alive() and at_work(mortal):
                made.remove_node(mortal, allow_graceful=False)
        assert sorted(node["Alive"] for node in ray.nodes()) == [False, True, True]
    assert sorted([*before, *after]) == sorted(block.file for block in blocks)
    *rows, poison = [row for block in blocks for row in cluster.read_rows(block)]
    assert rows == here and poison["error"].startswith("poison.dcm ends the program")
    assert sum(bool(row["error"]) for row in here) == 21


def crash() -> None:
    """What a codec does that fails hard."""
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    time.sleep(3600)


POISON = sources.SelectedImage("films/poison.dcm", crash)


def test_an_image_that_ends_its_process_or_keeps_it_is_a_row(archive, opened, default_model):
    images = sources.select([archive], opened.enter_context).images[:2]
    here = list(batch.predict_rows(Bundle(default_model), images, crowd=True))
    with closing(BlockProcess(default_model, True, 2)) as process:
        first, poison, last = process.answer([images[0], POISON, images[1]])
        assert [first, last] == here
        process._patience = 0.2
        assert list(process.answer([POISON._replace(read=hang)])) == [poison]
    assert poison.keys() == here[0].keys() and poison["path"] == POISON.path
    assert poison["error"].startswith("poison.dcm ends the program that reads it, or keeps it for ever")


def test_a_block_that_changed_is_another_block(archive, default_model, tmp_path):
    own, folder = tmp_path / "own", tmp_path / "films"
    shutil.copytree(default_model, own)
    folder.mkdir()
    for n in range(4):
        (folder / f"{n}.png").write_bytes((archive / f"{n:03}.png").read_bytes())

    def names() -> list[str]:
        images = sources.select([folder], lambda opened: opened).images
        return [block.file.name for block in cluster.plan_blocks(Bundle(own), images, tmp_path, 2)]

    first = names()
    assert names() == first
    (folder / "3.png").write_bytes(b"another")
    second = names()
    assert second[0] == first[0] and second[1] != first[1]
    info = json.loads((own / INFO_FILE).read_text())
    (own / INFO_FILE).write_text(json.dumps(info | {"created": "yesterday"}))
    assert not {*names()} & {*first, *second}


def at_work(node) -> bool:
    """Whether a process of this node is answering a block right now."""
    (raylet,) = node.all_processes["raylet"]
    titles = [" ".join(child.cmdline()) for child in psutil.Process(raylet.process.pid).children()]
    return any("MapWorker" in title and "submit" in title for title in titles)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
