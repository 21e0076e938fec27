"""A second hospital, drawn: a set for external validation where there are no real images for one.

Its patients are drawn like the others, and its machine differs: exposure, contrast, sharpness and a letter in the
corner, always in the same way. A model that learned from one hospital can be asked about it.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from covid_cnn.common import paths
from covid_cnn.common.jobs import Progress
from covid_cnn.data import dataset, synthetic
from covid_cnn.data.dataset import Dataset
from covid_cnn.images import ops

NAME = "another-hospital-drawn"
IMAGES = 20  # of each class
SEED = 9_000_000  # other patients than any dataset that is drawn
SIZE = 320
GAMMA, CONTRAST, BLUR = 1.5, 0.75, 1.2  # darker, flatter, softer (standard deviation in pixels)


def draw_elsewhere(progress: Progress) -> Dataset:
    """Open the drawn dataset of another hospital under data/, and draw it first where it is missing."""
    folder = paths.data_dir() / NAME
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".drawing-") as temporary:
            unfinished = Path(temporary) / NAME
            for n in range(2 * IMAGES):
                label = synthetic.CLASSES[n % 2]
                path = unfinished / label / f"{dataset.SYNTHETIC}elsewhere_{n:03}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                synthetic.write_png(path, as_elsewhere(synthetic.draw_radiograph(SEED + n, bool(n % 2), SIZE)))
                progress((n + 1) / (2 * IMAGES), f"Drawn {n + 1} of {2 * IMAGES} radiographs of another hospital")
            shutil.move(unfinished, folder)
    return dataset.open_dataset(folder)


def as_elsewhere(pixels: np.ndarray) -> np.ndarray:
    """A radiograph, float32 ``[H, W]`` 0..1, as the other hospital's machine would have taken it; same shape, range."""
    toned = pixels ** np.float32(GAMMA) * CONTRAST + (1 - CONTRAST) / 3
    return ops.stamp(ops.blur(toned.astype(np.float32), BLUR), 0.85, 0.02, 0.09)
