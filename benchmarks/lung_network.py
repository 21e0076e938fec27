"""Train the network that finds the lungs, on masks of lungVAE (Selvan et al. 2020, CC BY-SA), and test it.

Only radiographs of the default model's own training split teach it; masks of held-out patients test it.
"""

import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks import collections, measure
from benchmarks.default_model import lung_layers
from covid_cnn.common import statistics
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.data.dataset import Item
from covid_cnn.images import lungs, ops, reader
from covid_cnn.images.augment import Augmentation, affine, tones
from covid_cnn.images.ops import warp

MASKS = Path("annotations") / "lungVAE-masks"
VARIED = Augmentation(rotation=20, zoom=0.35, shift=0.2, contrast=0.5, gamma=0.6, flip=0.5)
TONES = Augmentation(contrast=0.5, gamma=0.6, blur=0.8, noise=0.05, jpeg=15, text=0.3, invert=0.05)


def main(epochs: int = 70, batch: int = 16, seed: int = 0) -> None:
    """Train, test and install the lung network. About a quarter of an hour."""
    keras.utils.set_random_seed(seed)
    root = measure.real_data(collections.COHEN)
    items = [item for item in collections.gather_collections(root.parent).items if _mask(root, item)]
    train, test = ([item for item in items if item.split == split] for split in ("train", "test"))
    images, masks = _read(root, train)
    model = lung_layers.segmenter()
    steps = epochs * (len(images) // batch)
    warm = steps // 4
    rate = keras.optimizers.schedules.CosineDecay(2e-4, steps - warm, warmup_target=4e-3, warmup_steps=warm)
    model.compile(keras.optimizers.AdamW(rate, 1e-4), loss=_loss)
    started = time.monotonic()
    for epoch in range(epochs):
        rng = np.random.default_rng((seed, epoch))
        order = rng.permutation(len(images))
        for first in range(0, len(order) - batch + 1, batch):
            pairs = [_vary(images[i], masks[i], rng) for i in order[first : first + batch]]
            loss = model.train_on_batch(*(np.stack(part)[..., None] for part in zip(*pairs, strict=True)))
        if epoch % 5 == 4:
            print(f"# epoch {epoch + 1}: loss {float(loss):.3f}, {time.monotonic() - started:.0f} s", flush=True)
    lung_layers.save_weights(model)
    lungs.SEGMENTER.write_bytes(lung_layers.convert_segmenter(lung_layers.trained_segmenter()))
    report(root, test)


def report(root: Path, items: list[Item]) -> None:
    """Print how well the installed network finds the lungs of ``items``: Dice's coefficient."""
    images, masks = _read(root, items)
    found = lung_layers.trained_segmenter().predict(images[..., None], verbose=0)[..., 0] > 0.5
    true = masks > 0.5
    dice = 2 * (found & true).sum((1, 2)) / (found.sum((1, 2)) + true.sum((1, 2)))
    patients = [item.patient for item in items]
    interval = statistics.bootstrap(statistics.mean_of(dice), patients)
    print(f"Dice on {len(dice)} held-out radiographs: {interval}, lowest {dice.min():.3f}")


def _mask(root: Path, item: Item) -> Path | None:
    file = root / MASKS / f"{item.path.stem}_mask.png"
    return file if collections.COHEN in item.path.parts and file.is_file() else None


def _read(root: Path, items: list[Item]) -> tuple[np.ndarray, np.ndarray]:
    """Images and masks of ``items``, float32 ``[N, 128, 128]``, 0..1."""
    if not items:
        raise CovidCnnError(f"There are no lung masks in {MASKS}.")
    size = (lung_layers.SEGMENTER_SIDE, lung_layers.SEGMENTER_SIDE)
    images = [ops.prepare(reader.read(item.path).pixels, size)[..., 0] for item in items]
    masks = []
    for item in items:
        with Image.open(str(_mask(root, item))) as mask:
            masks.append(np.asarray(mask.convert("L").resize(size, Image.Resampling.BOX), np.float32) / 255)
    return np.stack(images), np.stack(masks)


def _vary(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask moved together, and the image in other tones. Outside the image there is no lung."""
    movement = affine(image.shape, VARIED, rng)
    moved = warp(image, movement, repeat=bool(rng.random() < 0.5))
    return tones(moved, TONES, rng), warp(mask, movement, repeat=False)


def _loss(true: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """Cross-entropy plus Dice (Milletari et al. 2016), which does not care how much of an image is lung."""
    overlap = 2 * tf.reduce_sum(true * found, (1, 2, 3)) + 1
    dice = overlap / (tf.reduce_sum(true + found, (1, 2, 3)) + 1)
    return tf.reduce_mean(keras.losses.binary_crossentropy(true, found)) + tf.reduce_mean(1 - dice)


if __name__ == "__main__":
    measure.run(main)
