"""A process of its own that answers images, because an image may end the process that reads it.

Nearly all that is wrong with an image is refused in a sentence. A codec that crashes takes its process along, though,
and whoever asks again loses the next one. ``python -m covid_cnn.models.block_process MODEL CROWD AHEAD`` takes pickled
images from stdin and answers with their rows, until stdin ends.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from covid_cnn.common.errors import CovidCnnError
from covid_cnn.images import reader
from covid_cnn.images.sources import SelectedImage
from covid_cnn.models import batch
from covid_cnn.models.bundle import Bundle

SECONDS_TO_START, SECONDS_AN_IMAGE = 300, 60  # before it counts as hanging


class BlockProcess:
    """Answers images in another process; an image that ends it, or makes it hang, gets a row that says so.

    Parameters
    ----------
    folder : of the model's bundle
    crowd, ahead : see ``batch.predict_rows``
    patience : seconds for one image; a block has as many times that

    Raises
    ------
    CovidCnnError
        The bundle cannot be loaded.
    """

    def __init__(self, folder: Path, crowd: bool, ahead: int, patience: float = SECONDS_AN_IMAGE) -> None:
        self._command = [sys.executable, "-m", __name__, str(folder), str(int(crowd)), str(ahead)]
        self._patience = patience
        self._start()

    def answer(self, images: Sequence[SelectedImage]) -> list[batch.Row]:
        """A row for each image, in order; images that are asked together are asked one by one after a crash."""
        rows = self._ask(images)
        if rows is not None:
            return rows
        self._start()
        if len(images) > 1:
            return [row for image in images for row in self.answer([image])]
        path = images[0].path
        why = f"{reader.display_name(path)} ends the program that reads it, or keeps it for ever; check or convert it."
        return [self._empty | {"path": path, "error": why}]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _start(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, env=environment)
        self._empty = self._receive(SECONDS_TO_START)
        if self._empty is None:
            raise CovidCnnError("The process that answers images ends before it has loaded the model: is memory short?")

    def _ask(self, images: Sequence[SelectedImage]) -> list[batch.Row] | None:
        """The rows of images; None where the process has ended instead."""
        assert self._process.stdin
        try:
            pickle.dump(list(images), self._process.stdin)
            self._process.stdin.flush()
        except BrokenPipeError:
            self.close()
            return None
        return self._receive(self._patience * len(images))

    def _receive(self, seconds: float) -> Any:
        """The next answer; None, and no process is left, where it has ended or takes longer."""
        assert self._process.stdout
        timer = threading.Timer(seconds, self._process.kill)
        timer.start()
        try:
            answer = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError):
            self.close()
            return None
        finally:
            timer.cancel()
        if isinstance(answer, Exception):
            raise answer
        return answer


def _receive_images() -> list[SelectedImage]:
    try:
        images: list[SelectedImage] = pickle.load(sys.stdin.buffer)
    except EOFError:  # nobody asks any more
        return []
    return images


def main(folder: str, crowd: str, ahead: str) -> None:
    """Answer what comes from stdin."""
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a library prints is no answer

        def send(answer: object) -> None:
            pickle.dump(answer, answers)
            answers.flush()

        try:
            model = Bundle(Path(folder))
            send(batch.to_row(model, "", CovidCnnError("")))
            while images := _receive_images():
                send(list(batch.predict_rows(model, images, crowd=bool(int(crowd)), ahead=int(ahead))))
        except Exception as error:
            send(error if isinstance(error, CovidCnnError) else CovidCnnError(f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    main(*sys.argv[1:])
