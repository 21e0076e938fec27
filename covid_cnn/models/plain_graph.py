"""A LiteRT graph that answers and explains nothing: of a network whose gradient cannot be written down.

It takes images and answers with numbers as it was made to. What a bundle's graph does besides is done around it; its
heatmaps are made by hiding parts of the image (`faithfulness`).
"""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from covid_cnn.common.errors import BundleError
from covid_cnn.images import ops
from covid_cnn.models.info import PlainAnswer

LOOK = (16, 16)  # pixels, by which images are told to be alike


class PlainGraph:
    """A graph of one image, asked for one of its outputs by its number. Safe to share between threads.

    Attributes
    ----------
    shape : ``(H, W, C)`` of its image
    units : how many numbers it answers with
    """

    def __init__(self, file: Path, threads: int | None = None, output: int = 0) -> None:
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter = Interpreter(str(file), num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BundleError(f"LiteRT cannot run {file.name}: {str(error).strip().splitlines()[-1]}.") from error
        (self._image,) = self._interpreter.get_input_details()
        self._answer = self._interpreter.get_output_details()[output]
        _, height, width, channels = (int(side) for side in self._image["shape"])
        self.shape = height, width, channels
        self.units = int(np.prod(self._answer["shape"]))
        self._lock = threading.Lock()

    def answer(self, image: np.ndarray, gain: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """What it answers to a grey image ``[H, W, 1]``, 0..1, given it as ``gain * image + offset``: ``[units]``."""
        given = (image * gain + offset).astype(np.float32)[None]
        scale, zero = self._image["quantization"]
        kind = self._image["dtype"]
        if scale:
            limits = np.iinfo(kind)
            given = np.rint(given / scale + zero).clip(limits.min, limits.max)
        with self._lock:
            self._interpreter.set_tensor(self._image["index"], given.astype(kind))
            self._interpreter.invoke()
            answer = self._interpreter.get_tensor(self._answer["index"]).ravel()
        scale, zero = self._answer["quantization"]
        return ((answer.astype(np.float32) - zero) * scale if scale else answer).astype(np.float32)


def probabilities(answers: np.ndarray, last: str) -> np.ndarray:
    """Probabilities ``[N, K]`` of answers ``[N, units]``; one unit speaks for the second of two classes.

    ``last`` is what makes probabilities of them, "softmax" or "sigmoid"; "" where they are some.
    """
    answers = answers.astype(np.float64)
    if last == "softmax":
        answers = np.exp(answers - answers.max(axis=1, keepdims=True))
    elif last == "sigmoid":
        answers = 1 / (1 + np.exp(-np.clip(answers, -500, 500)))
    if answers.shape[1] == 1:
        return np.hstack([1 - answers, answers])
    return answers / np.maximum(answers.sum(axis=1, keepdims=True), 1e-30)


class PlainRunner:
    """A plain graph, called as the graph of a bundle is: it answers all but the heatmaps."""

    def __init__(self, file: Path, threads: int, asked: PlainAnswer) -> None:
        self._graph, self._last = PlainGraph(file, threads, asked.output), asked.last
        self._gain, self._offset = np.array(asked.gain, np.float32), np.array(asked.offset, np.float32)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of image, probabilities and embedding."""
        height, width, _ = self._graph.shape
        classes = max(2, self._graph.units)
        return {"image": (1, height, width, 1), "probabilities": (1, classes), "embedding": (1, LOOK[0] * LOOK[1])}

    def __call__(self, image: np.ndarray) -> dict[str, Any]:
        """What it makes of an image ``[1, H, W, 1]``, by the names of a bundle's outputs."""
        answer = self._graph.answer(image[0], self._gain, self._offset)[None]
        look = ops.prepare(image[0, ..., 0], LOOK).reshape(1, -1)
        return {"probabilities": probabilities(answer, self._last).astype(np.float32), "embedding": look}
