"""A dataset at a glance: mean images of the classes, distributions of measures, a map of embeddings, neighbours."""

import io
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image

from covid_cnn.common.errors import ImageError
from covid_cnn.common.jobs import Progress, unwatched
from covid_cnn.data import index
from covid_cnn.data.dataset import Dataset

MEAN_SIZE = 160  # pixels
FEW = 30  # images of a mean below which single images still show in it
BINS = 24  # of a distribution
AT_ONCE = 64  # images
RED, BLUE = np.array((213, 94, 0)), np.array((0, 114, 178))  # Okabe and Ito's, which colour-blind eyes tell apart


class Mean(NamedTuple):
    """The mean of some images, float32 ``[H, W]`` 0..1, with their number."""

    pixels: np.ndarray
    images: int


def mean_images(dataset: Dataset, progress: Progress = unwatched, size: int = MEAN_SIZE) -> dict[str, Mean]:
    """The mean of the images of each class, each stretched to a square of ``size`` pixels, as a network is given it.

    What is sharp in a mean is at one place in most of its images, as letters and frames are: anatomy blurs. Images that
    cannot be read are left out, and so is a class of which none can.
    """
    sums = {label: np.zeros((size, size)) for label in dataset.classes}
    counts = dict.fromkeys(dataset.classes, 0)
    for first in range(0, len(dataset.items), AT_ONCE):
        items = dataset.items[first : first + AT_ONCE]
        for item, small in zip(items, index.load_thumbnails([item.path for item in items]), strict=True):
            if not isinstance(small, ImageError):
                sums[item.label] += _square(small, size)
                counts[item.label] += 1
        done = first + len(items)
        progress(done / len(dataset.items), f"Read {done} of {len(dataset.items)} images")
    return {
        label: Mean((total / (255 * counts[label])).astype(np.float32), counts[label])
        for label, total in sums.items()
        if counts[label]
    }


def difference_image(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, float]:
    """Two mean images, float ``[H, W]``, as a picture of where they differ, uint8 ``[H, W, 3]``, and its scale.

    White where they are equal, red where `one` is brighter and blue where `other` is, full where they differ most: by
    the scale, 0..1, where 1 is black against white.
    """
    most = float(np.abs(one - other).max())
    share = (one - other) / max(most, 1e-6)
    towards = np.where(share[..., None] > 0, RED, BLUE)
    return np.rint(255 + (towards - 255) * np.abs(share[..., None])).astype(np.uint8), most


def colour_scale(most: float) -> str:
    """A sentence on what the colours of a `difference_image` mean."""
    return f"Full colour is a difference of {most:.2f}, where black against white is 1."


def warn_of_few_images(means: Mapping[str, Mean]) -> str:
    """A warning about mean images made of too few images; empty where there are none."""
    names = [f"{label} ({mean.images})" for label, mean in means.items() if mean.images < FEW]
    if not names:
        return ""
    return (
        f"Few images of {', '.join(names)}: a mean of fewer than {FEW} still shows single images, and so does a "
        "difference from it."
    )


def distribution(values: Mapping[str, np.ndarray]) -> list[tuple[str, float, float]]:
    """How a measure of N images, float ``[N]`` by class, is distributed, in bins that all classes share.

    For each class and bin it gives the class, the middle of the bin, and the share of the class's images in it. The
    bins reach over all values, with an empty one on either side.
    """
    every = np.concatenate(list(values.values()))
    low, high = float(every.min()), float(every.max())
    width = max((high - low) / BINS, 1e-6 * max(1.0, abs(high)))
    edges = low + width * np.arange(-1, BINS + 2)
    middles = (edges[:-1] + edges[1:]) / 2
    histogram = []
    for label, own in values.items():
        places = np.clip(((own - low) / width).astype(int), 0, BINS - 1) + 1
        shares = np.bincount(places, minlength=len(middles)) / len(own)
        histogram += [(label, float(x), float(share)) for x, share in zip(middles, shares, strict=True)]
    return histogram


def _square(small: bytes, size: int) -> np.ndarray:
    with Image.open(io.BytesIO(small)) as picture:
        return np.asarray(picture.convert("L").resize((size, size), Image.Resampling.BILINEAR), np.float64)


METHODS = ("PCA", "t-SNE")
DIMENSIONS = 50  # dimensions that t-SNE is given, as its authors do


def project(embeddings: np.ndarray, method: str = "PCA") -> np.ndarray:
    """Project embeddings, float ``[N, D]``, to float32 ``[N, 2]``, so that images that a model finds alike lie close.

    By PCA (Pearson 1901) distances mean something, as far as two dimensions tell. t-SNE (van der Maaten and Hinton
    2008) keeps who is near whom, and nothing else: sizes of groups and gaps between them mean little.
    """
    from sklearn.decomposition import PCA  # here, as it takes a while

    few = min(DIMENSIONS, *embeddings.shape)
    projected = np.zeros((len(embeddings), max(2, few)), np.float32)
    if len(embeddings) > 1:
        # Randomised (Halko et al. 2011): all axes of thousands of images would take minutes.
        projected[:, :few] = PCA(few, svd_solver="randomized", random_state=0).fit_transform(embeddings)
    if method == "PCA" or len(embeddings) < 4:
        return projected[:, :2]
    from sklearn.manifold import TSNE

    perplexity = min(30, (len(embeddings) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(projected).astype(np.float32)


def cosine_similarity(embeddings: np.ndarray, one: np.ndarray) -> np.ndarray:
    """The cosine similarity of each of some embeddings, float ``[N, D]``, to one ``[D]``: float ``[N]``, -1..1.

    It is 0 beside an embedding of length 0.
    """
    norms = np.maximum(np.linalg.norm(embeddings, axis=1) * np.linalg.norm(one), 1e-12)
    return embeddings @ one / norms


def nearest_neighbours(embeddings: np.ndarray, index: int, count: int) -> list[int]:
    """The indices of the embeddings, float ``[N, D]``, most similar to one of them by cosine, the nearest first."""
    alike = cosine_similarity(embeddings, embeddings[index])
    alike[index] = -np.inf
    return np.argsort(-alike, kind="stable")[: min(count, len(embeddings) - 1)].tolist()
