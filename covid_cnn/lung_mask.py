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

# What two lungs look like in a mask; ``plausible`` says what this was measured on.
_LEAST, _MOST = 0.04, 0.6  # shares of the image: of the smaller lung, of both with all scraps
_SCRAPS = 0.1  # share of the mask that may lie outside its two largest parts
_SURENESS = 0.91  # mean probability within the mask


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


def find_both(pixels: np.ndarray) -> np.ndarray | None:
    """The lungs as ``find`` gives them, or None where what is found does not look like two lungs."""
    lung = probability(pixels)
    return figures.upsample(lung, pixels.shape) > 0.5 if plausible(lung) else None


def plausible(lung: np.ndarray) -> bool:
    """Whether a probability of lung, float32 ``[h, w]``, is that of two lungs rather than of what looks like some.

    Two parts must hold nine tenths of the mask, each 4 % of the image or more and all together 60 % or less, and the
    network must be sure: 0.91 in the mean. Measured: of frontal X-rays this takes 431 of 433 (covid-chestxray-dataset),
    990 of 1000 (ChestX-ray8) and 186 of 188 (the notebook's); of 44 lateral ones, a leg, and 65 images of noise, plain
    or blurred, none. Of 63 axial CT slices, most of which do show two lungs, it takes 14.
    """
    mask = lung > 0.5
    if not mask.any() or mask.mean() > _MOST or lung[mask].mean() < _SURENESS:
        return False
    from scipy import ndimage

    parts, count = ndimage.label(mask)
    sizes = np.sort(np.bincount(parts.ravel(), minlength=count + 1)[1:])[::-1]
    return count > 1 and sizes[1] >= _LEAST * mask.size and sizes[2:].sum() <= _SCRAPS * mask.sum()


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
