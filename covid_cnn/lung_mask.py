"""Where the lungs of an X-ray lie, told in milliseconds without TensorFlow.

The U-Net of ``covid_cnn.lungs`` as a graph of its own, for whoever wants to hide the lungs or look at nothing else.
"""

import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from covid_cnn import figures, imaging

GRAPH = Path(__file__).with_name("lungs.tflite")  # ``lungs.graph`` makes it
SIZE = (128, 128)  # height and width of what the network sees
_LOCK = threading.Lock()


def find(pixels: np.ndarray) -> np.ndarray:
    """The lungs of a radiograph, as a U-Net (Ronneberger et al. 2015) finds them.

    It learned on frontal chest X-rays; on others it marks whatever looks most like lungs, or nothing.

    Parameters
    ----------
    pixels : float32 ``[H, W]`` of any size, 0..1, white is dense

    Returns
    -------
    bool ``[H, W]``, True where there is lung
    """
    return figures.upsample(probability(pixels), pixels.shape) > 0.5


def probability(pixels: np.ndarray) -> np.ndarray:
    """The probability of lung, float32 ``[128, 128]``, of a radiograph as ``find`` takes it."""
    image = imaging.prepare(pixels, SIZE)
    # An interpreter has one set of tensors: one call at a time. A call takes milliseconds.
    with _LOCK:
        return _network()(image[None])


@functools.cache
def _network() -> Callable[[np.ndarray], np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(str(GRAPH), num_threads=min(4, os.cpu_count() or 1))
    interpreter.allocate_tensors()
    (image,), (lung,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(batch: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(image["index"], batch)
        interpreter.invoke()
        return interpreter.get_tensor(lung["index"])[0, ..., 0]

    return run
