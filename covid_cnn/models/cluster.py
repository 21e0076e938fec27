"""The table of an archive of images, made by many machines: Ray Data hands blocks of images to a process a core.

Each process reads and answers a block exactly as `batch.predict_rows` does here. What is answered is written beside
the table at once, a file a block, named by what was asked of which images: the same command takes up what an
earlier one left, and nothing is answered twice. Ray comes with pip install 'covid-cnn[cluster]'.
"""

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from covid_cnn.common.errors import CovidCnnError
from covid_cnn.common.storage import write_atomically
from covid_cnn.images.sources import SelectedImage
from covid_cnn.models import batch
from covid_cnn.models.block_process import BlockProcess
from covid_cnn.models.bundle import GRAPH_FILE, INFO_FILE, Bundle

BLOCK = 256  # images: some seconds of work, so that what Ray itself takes does not count
AHEAD = 2  # images that a process has at a time, so that it computes while it waits for the next
PATIENCE = 10  # seconds for a cluster to answer at all
DEATHS = 3  # of processes in a row before they have loaded the bundle


class Block(NamedTuple):
    """Some images that are answered together, and the file that holds their rows once they are."""

    images: Sequence[SelectedImage]
    file: Path


def plan_blocks(model: Bundle, images: Sequence[SelectedImage], parts: Path, size: int = BLOCK) -> list[Block]:
    """Cut the images, in their order, into blocks whose files lie in the folder ``parts``.

    A file is named by the model and by the path, size and time of each image, so that no row is taken for one of
    another model, nor for one of an image that has changed since.
    """
    # One image alone is answered by all cores, which may differ in rounding.
    blocks, task = [], hashlib.sha256(b"%d" % (len(images) > 1) + (model.folder / INFO_FILE).read_bytes())
    for first in range(0, len(images), size):
        some = images[first : first + size]
        digest = task.copy()
        digest.update(json.dumps([_state(image) for image in some]).encode())
        blocks.append(Block(some, parts / f"{digest.hexdigest()}.json"))
    return blocks


def _state(image: SelectedImage) -> list[str]:
    if image.stamp:
        return [image.path, image.stamp]
    with contextlib.suppress(OSError, ValueError):
        facts = os.stat(image.path)  # noqa: PTH116  # ten million of them
        return [image.path, f"{facts.st_size} {facts.st_mtime_ns}"]
    return [image.path]


@contextlib.contextmanager
def predict_archive(
    model: Bundle, blocks: Sequence[Block], address: str | None = None, workers: int | None = None
) -> Iterator[Iterator[batch.Row]]:
    """Answer all images, then give their rows in order, the same as `batch.predict_rows` gives.

    The files of the blocks are removed when their rows have been used without an error. The ``address`` is of a Ray
    cluster; None is the one that RAY_ADDRESS names, or else this machine. Of ``workers``, a core each, None takes as
    many as there are. Raises CovidCnnError where Ray cannot be used, or a block cannot be answered; what is done is
    kept.
    """
    parts = blocks[0].file.parent
    parts.mkdir(parents=True, exist_ok=True)
    with connect(address):
        for _ in answer_blocks(model, blocks, workers):
            pass
    yield (row for block in blocks for row in read_rows(block))
    shutil.rmtree(parts)


def read_rows(block: Block) -> list[batch.Row]:
    """The rows of a block that is done."""
    rows = json.loads(block.file.read_bytes())
    return [row | {"prediction_set": row["prediction_set"] and tuple(row["prediction_set"])} for row in rows]


@contextlib.contextmanager
def connect(address: str | None) -> Iterator[None]:
    """Connect to a Ray cluster, or start one on this machine; left again at the end."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    try:
        import ray
    except ImportError:
        raise CovidCnnError("The engine ray is not installed: run pip install 'covid-cnn[cluster]'.") from None
    try:
        if address and ":" in address:  # Ray itself tries for five minutes
            host, port = address.rsplit("/", 1)[-1].rsplit(":", 1)
            socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
        ray.init(address=address, log_to_driver=False)
    except (OSError, ValueError, RuntimeError) as error:
        where = f"at {address}" if address else "on this machine"
        raise CovidCnnError(
            f"No Ray cluster {where} can be used: {(str(error).splitlines() or ['it fails'])[0].rstrip('.')}."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def answer_blocks(model: Bundle, blocks: Sequence[Block], workers: int | None = None) -> Iterator[Path]:
    """Answer the blocks that are not done, and give the file of each as soon as it is written, in any order."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    left = [block for block in blocks if not block.file.exists()]
    if not left:
        return
    rows = [{"file": str(block.file), "images": pickle.dumps(block.images)} for block in left]
    files = {name: ray.put((model.folder / name).read_bytes()) for name in (INFO_FILE, GRAPH_FILE)}
    DataContext.get_current().max_consecutive_actor_init_deaths = DEATHS
    crowd = len(blocks) > 1 or len(blocks[0].images) > 1
    answers = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        _Worker,
        fn_constructor_args=(model.name, files, crowd),
        compute=ActorPoolStrategy(size=workers) if workers else ActorPoolStrategy(min_size=1),
        num_cpus=1,
    )
    try:
        for answer in answers.iter_rows():
            file = Path(answer["file"])
            write_atomically(file, answer["rows"])
            yield file
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", error)
        why = str(cause) if isinstance(cause, CovidCnnError) else f"{type(cause).__name__}: {cause}".splitlines()[0]
        raise CovidCnnError(f"A block could not be answered; what is done is kept. {why}") from error


class _Worker:
    """A process that has blocks answered. It keeps the bundle and nothing else, so that any may die and be replaced.

    It leaves the images to a process of its own. Were it ended by one itself, Ray would give it the same block again.
    """

    def __init__(self, name: str, files: dict[str, Any], crowd: bool) -> None:
        import ray

        self._home = tempfile.TemporaryDirectory()  # this machine may have no such model
        folder = Path(self._home.name) / name
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_bytes(ray.get(content))
        self._process = BlockProcess(folder, crowd, AHEAD)

    def __call__(self, block: dict[str, Any]) -> dict[str, str]:
        rows = list(self._process.answer(pickle.loads(block["images"])))
        return {"file": block["file"], "rows": json.dumps(rows)}
