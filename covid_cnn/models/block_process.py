"""A process of its own that answers images, because an image may end the process that reads it.

Nearly all that is wrong with an image is refused in a sentence, and compressed DICOM is unpacked by programs of their
own (`images.codec`). PNG, JPEG, WebP, BMP and TIFF are decoded where they are asked about, though, and a decoder that
crashes takes its process along. ``python -m covid_cnn.models.block_process MODEL CROWD AHEAD`` takes pickled images
from stdin and answers with their rows, one by one, until stdin ends.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from covid_cnn.common.errors import CovidCnnError
from covid_cnn.images import reader
from covid_cnn.images.sources import SelectedImage
from covid_cnn.models import batch
from covid_cnn.models.bundle import Bundle

SECONDS_TO_START, SECONDS_AN_IMAGE = 300, 60  # before it counts as hanging
LOOK_EVERY = 0.1  # seconds, for one that hangs


class BlockProcess:
    """Answers images in another process; an image that ends it, or makes it hang, gets a row that says so.

    From one row to the next it has so many seconds' ``patience``. Raises CovidCnnError where the bundle in ``folder``
    cannot be loaded.
    """

    def __init__(self, folder: Path, crowd: bool, ahead: int | None = None, patience: float = SECONDS_AN_IMAGE) -> None:
        self._ahead, self._patience = ahead or 2 * (os.cpu_count() or 1), patience
        self._command = [sys.executable, "-m", __name__, str(folder), str(int(crowd)), str(self._ahead)]
        self._start()

    def answer(self, images: Sequence[SelectedImage], heatmaps: Path | None = None) -> Iterator[batch.Row]:
        """A row for each image, in order, as ``batch.predict_rows`` makes them.

        After a crash those that were being read when it came are asked one by one.
        """
        left = images
        while left:
            left = left[(yield from self._ask(left, heatmaps)) :]
            if left:
                self._start()
                doubtful, left = left[: self._ahead + 1], left[self._ahead + 1 :]
                for image in doubtful:
                    if not (yield from self._ask([image], heatmaps)):
                        self._start()
                        yield self._empty | {"path": image.path, "error": _ends_its_reader(image)}

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _start(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, env=environment)
        self._due = float("inf")
        threading.Thread(target=self._end_when_due, args=[self._process], daemon=True).start()
        self._empty = self._receive(SECONDS_TO_START)
        if self._empty is None:
            raise CovidCnnError("The process that answers images ends before it has loaded the model: is memory short?")

    def _end_when_due(self, process: "subprocess.Popen[bytes]") -> None:
        while process.poll() is None:
            if time.monotonic() > self._due:
                process.kill()
            time.sleep(LOOK_EVERY)

    def _ask(self, images: Sequence[SelectedImage], heatmaps: Path | None) -> Generator[batch.Row, None, int]:
        """The rows of images until the process ends, and how many these were."""
        assert self._process.stdin
        try:
            pickle.dump((list(images), heatmaps), self._process.stdin)
            self._process.stdin.flush()
        except BrokenPipeError:
            self.close()
            return 0
        for done in range(len(images)):
            row = self._receive(self._patience)
            if row is None:
                return done
            yield row
        return len(images)

    def _receive(self, seconds: float) -> Any:
        """The next answer; None, and no process is left, where it has ended or takes longer."""
        assert self._process.stdout
        self._due = time.monotonic() + seconds
        try:
            answer = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError):
            self.close()
            return None
        finally:
            self._due = float("inf")
        if isinstance(answer, Exception):
            raise answer
        return answer


def _ends_its_reader(image: SelectedImage) -> str:
    name = reader.display_name(image.path)
    return f"{name} ends the program that reads it, or keeps it for ever; check or convert it."


def _receive_request() -> tuple[list[SelectedImage], Path | None]:
    try:
        request: tuple[list[SelectedImage], Path | None] = pickle.load(sys.stdin.buffer)
    except EOFError:  # nobody asks any more
        return [], None
    return request


def main(folder: str, crowd: str, ahead: str) -> None:
    """Answer what comes from stdin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asks
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a library prints is no answer

        def send(answer: object) -> None:
            pickle.dump(answer, answers)
            answers.flush()

        try:
            model = Bundle(Path(folder))
            send(batch.to_row(model, "", CovidCnnError("")))
            while (request := _receive_request())[0]:
                images, heatmaps = request
                for row in batch.predict_rows(model, images, heatmaps, bool(int(crowd)), int(ahead)):
                    send(row)
        except BrokenPipeError:
            os._exit(1)
        except Exception as error:
            send(error if isinstance(error, CovidCnnError) else CovidCnnError(f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    main(*sys.argv[1:])
