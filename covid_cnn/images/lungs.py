"""Where the lungs of an X-ray lie, told in milliseconds without TensorFlow.

The U-Net of ``benchmarks.lung_network`` as a graph of its own, for whoever wants to hide the lungs or see nothing else.
"""

import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from covid_cnn.images import ops

SEGMENTER = Path(__file__).with_name("lungs.tflite")  # ``benchmarks.lung_network`` makes it
SEGMENTER_SIZE = (128, 128)  # height and width of what the network sees
_LOCK = threading.Lock()
# What two lungs look like in a mask; ``is_plausible`` says what this was measured on.
_LEAST, _MOST = 0.04, 0.6  # shares of the image: of the smaller lung, of both with all scraps
_SCRAPS = 0.1  # share of the mask that may lie outside its two largest parts
_SURENESS = 0.91  # mean probability within the mask


def segment_both_lungs(pixels: np.ndarray) -> np.ndarray | None:
    """The lungs of a radiograph, as a U-Net (Ronneberger et al. 2015) finds them.

    It learned on frontal chest X-rays; on others it marks whatever looks most like lungs, or nothing. From float32
    ``[H, W]`` of any size, 0..1, white is dense, to bool ``[H, W]``; None where it does not look like two lungs.
    """
    lung = lung_probability(pixels)
    return ops.upsample(lung, pixels.shape) > 0.5 if is_plausible(lung) else None


def is_plausible(lung: np.ndarray) -> bool:
    """Whether a probability of lung, float32 ``[h, w]``, is that of two lungs rather than of what looks like some.

    Two parts must hold nine tenths of the mask, each 4 % of the image or more and all together 60 % or less, and the
    network must be sure: 0.91 in the mean. Measured: of frontal X-rays this takes 431 of 433 (covid-chestxray-dataset),
    990 of 1000 (ChestX-ray8) and 186 of 188 (the notebook's); of 44 lateral ones, a leg, and 65 images of noise, plain
    or blurred, none. Of 63 axial CT slices, most of which do show two lungs, it takes 14.
    """
    mask = lung > 0.5
    if not mask.any() or mask.mean() > _MOST or lung[mask].mean() < _SURENESS:
        return False
    import cv2  # it takes a while to load, and a prediction can do without

    _, _, parts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    sizes = np.sort(parts[1:, cv2.CC_STAT_AREA])[::-1]
    return bool(len(sizes) > 1 and sizes[1] >= _LEAST * mask.size and sizes[2:].sum() <= _SCRAPS * mask.sum())


def lung_probability(pixels: np.ndarray) -> np.ndarray:
    """The probability of lung, float32 ``[128, 128]``, of a radiograph as ``segment_both_lungs`` takes it."""
    image = ops.prepare(pixels, SEGMENTER_SIZE)
    # An interpreter has one set of tensors: one call at a time. A call takes milliseconds.
    with _LOCK:
        return _network()(image[None])


@functools.cache
def _network() -> Callable[[np.ndarray], np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(str(SEGMENTER), num_threads=min(4, os.cpu_count() or 1))
    interpreter.allocate_tensors()
    (image,), (lung,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(batch: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(image["index"], batch)
        interpreter.invoke()
        return interpreter.get_tensor(lung["index"])[0, ..., 0]

    return run


OUTSIDE = 0.01  # share of the lungs that each edge leaves outside, so that a stray speck moves nothing
FEWEST = 0.03  # share of the image: what is less is no lung
MIDDLE = np.array([0.1, 0.9, 0.1, 0.9], np.float32)  # the box where there is none


def lung_boxes(lung: Any, margin: float, otherwise: np.ndarray, xp: Any = np) -> Any:
    """The box about the lungs in each map of them: its top, bottom, left and right, 0..1.

    A box, as the outline of what is found of a lung tells how much of it is opaque. From the probability of lung,
    float32 ``[N, h, w]``, to float ``[N, 4]``, of ``xp``, which is ``numpy`` or, for a layer of a network,
    ``keras.ops``. The margin, a share of the box, is added on every side, also beyond the image; where there is hardly
    any lung the box is ``otherwise``.
    """
    lung = xp.where(lung > 0.5, lung, 0.0)
    edges = []
    for axis in (2, 1):
        profile = xp.sum(lung, axis=axis)
        share = xp.cumsum(profile, axis=1) / (xp.sum(profile, axis=1, keepdims=True) + 1e-6)
        first, last = (xp.mean(xp.where(share < limit, 1.0, 0.0), axis=1) for limit in (OUTSIDE, 1 - OUTSIDE))
        last = last + 1 / lung.shape[3 - axis]
        edges += [first - margin * (last - first), last + margin * (last - first)]
    enough = xp.mean(lung, axis=(1, 2)) > FEWEST
    return xp.where(enough[:, None], xp.stack(edges, axis=1), otherwise)


def black_out(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A copy of an image ``[H, W]`` that is black inside a box (top, bottom, left, right, each 0..1)."""
    height, width = image.shape
    top, bottom, left, right = np.rint(np.clip(box, 0, 1) * (height, height, width, width)).astype(int)
    dark = image.copy()
    dark[top:bottom, left:right] = 0
    return dark
