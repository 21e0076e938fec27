"""Make the pictures and figures of the tour anew: python -m docs.tour. Takes a minute.

They tell of a shortcut that is there on purpose: drawn radiographs whose class a letter in the corner gives away, and
a classifier that falls for it. At another hospital the letter stands on the healthy.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from covid_cnn.app.tour.slides import FIGURES, PICTURES
from covid_cnn.data import audit, dataset, overview, synthetic
from covid_cnn.data.dataset import Dataset
from covid_cnn.images import ops

SIZE = 320  # pixels of a drawn image
CLASSIFIER_SIZE = (16, 16)  # all that the classifier is shown
PLACE, HEIGHT = (0.02, 0.0), 0.18  # left and top of the planted letter, and its height, as shares of the image
MARKERS, SIZES = ("R", "L"), (0.1, HEIGHT, 0.25)  # that are stamped, at all of these places
PLACES = tuple((left, top) for top in (PLACE[1], 0.75) for left in (PLACE[0], 0.25, 0.6, 0.82))
STAMPED = 5  # images that letters are tried on
IN_A_ROW = 4
SHORTCUTS = 4  # that are told, the most telling


@dataclass(frozen=True)
class Hospital:
    """Drawn radiographs of one hospital: float32 ``[N, H, W]``, 0..1, and bool ``[N]``, whether each is ill."""

    images: np.ndarray
    ill: np.ndarray


class ThumbnailClassifier:
    """A random forest (Breiman 2001) on a 16 x 16 thumbnail, in which no lung finding can be seen."""

    def __init__(self, learned: Hospital) -> None:
        from sklearn.ensemble import RandomForestClassifier

        self._model = RandomForestClassifier(50, random_state=0).fit(_thumbnails(learned.images), learned.ill)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The probability that each of the images, float32 ``[N, H, W]``, is ill: float64 ``[N]``."""
        return self._model.predict_proba(_thumbnails(images))[:, 1]


def main() -> None:
    """Draw three hospitals, let the classifier learn at the first, and write all that the tour tells of them."""
    learned, tested, other = (
        draw_hospital(1, 60, on_the_ill=True),
        draw_hospital(2, 20, True),
        draw_hospital(3, 20, False),
    )
    classifier = ThumbnailClassifier(learned)
    figures: dict[str, Any] = {
        "learned": len(learned.ill),
        "home": count_right(classifier, tested),
        "away": count_right(classifier, other),
        "shortcuts": _shortcuts({"train": learned, "test": tested}),
    }
    PICTURES.mkdir(exist_ok=True)
    for name, ill in (("healthy", False), ("ill", True)):
        _write(f"{name}_row", np.hstack(learned.images[learned.ill == ill][:IN_A_ROW]))
        _write(f"{name}_mean", learned.images[learned.ill == ill].mean(axis=0))
    sharp = tested.images[1]
    _write("sharp", sharp)
    _write("blurred", np.kron(ops.prepare(sharp, CLASSIFIER_SIZE)[..., 0], np.ones((SIZE // 16, SIZE // 16))))
    means = [learned.images[learned.ill == ill].mean(axis=0) for ill in (False, True)]
    difference, _ = overview.difference_image(means[0], means[1])
    Image.fromarray(difference).save(PICTURES / "difference.webp", quality=80)
    figures["stamp"] = _stamp(classifier, tested)
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def draw_hospital(seed: int, count: int, on_the_ill: bool, size: int = SIZE) -> Hospital:
    """Draw ill and healthy patients in turn; the letter stands on the ill, or on the healthy: this hospital's habit."""
    images = []
    for i in range(count):
        pixels = synthetic.draw_radiograph(seed * 1_000_000 + i, opacities=bool(i % 2), size=size)
        images.append(ops.stamp(pixels, *PLACE, HEIGHT) if bool(i % 2) == on_the_ill else pixels)
    return Hospital(np.stack(images), np.arange(count) % 2 == 1)


def write_hospitals(folder: Path, hospitals: Mapping[str, Hospital]) -> Dataset:
    """Write what hospitals drew as a dataset, SPLIT/CLASS/synthetic_*.png, for an audit; ``hospitals`` by split."""
    for split, drawn in hospitals.items():
        for n, (pixels, ill) in enumerate(zip(drawn.images, drawn.ill, strict=True)):
            path = folder / split / ("ill" if ill else "healthy") / f"{dataset.SYNTHETIC}{split}_{n:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            synthetic.write_png(path, pixels)
    return dataset.open_dataset(folder)


def count_right(classifier: ThumbnailClassifier, hospital: Hospital) -> dict[str, int]:
    """How many of a hospital's images are answered right, and of how many."""
    right = (classifier.predict(hospital.images) >= 0.5) == hospital.ill
    return {"right": int(right.sum()), "n": len(right)}


def stamp_everywhere(
    score: Callable[[np.ndarray], float], pixels: np.ndarray
) -> Iterator[tuple[np.ndarray, str, float]]:
    """Each of ``MARKERS`` on an image, at all ``PLACES`` and in all ``SIZES``: the image, the letter, its score."""
    for text, size, (left, top) in product(MARKERS, SIZES, PLACES):
        stamped = ops.stamp(pixels, left, top, size, text)
        yield stamped, text, score(stamped)


def _stamp(classifier: ThumbnailClassifier, tested: Hospital) -> dict[str, Any]:
    """The healthy image whose answer a letter moves most, before and after; and of how many some letter turns it."""

    def score(pixels: np.ndarray) -> float:
        return float(classifier.predict(pixels[None])[0])

    healthy = list(tested.images[~tested.ill][:STAMPED])
    best = [max(stamp_everywhere(score, pixels), key=lambda one: one[2]) for pixels in healthy]
    before = [score(pixels) for pixels in healthy]
    turned = [old < 0.5 <= new for old, (_, _, new) in zip(before, best, strict=True)]
    n = max(range(len(best)), key=lambda i: best[i][2] - before[i])
    _write("before", healthy[n])
    _write("after", best[n][0])
    return {"before": before[n], "after": best[n][2], "letter": best[n][1], "turned": sum(turned), "n": len(healthy)}


def _shortcuts(hospitals: Mapping[str, Hospital]) -> list[dict[str, Any]]:
    """What should not tell the class and does, as the audit measures it, the most telling first."""
    with tempfile.TemporaryDirectory() as folder:
        report = audit.audit_dataset(write_hospitals(Path(folder) / "drawn", hospitals))
    most = sorted(report.shortcuts, key=lambda one: -one.auroc.value)[:SHORTCUTS]
    return [{"what": one.what, "low": one.auroc.low, "high": one.auroc.high, "value": one.auroc.value} for one in most]


def _thumbnails(images: np.ndarray) -> np.ndarray:
    return np.stack([ops.prepare(image, CLASSIFIER_SIZE).ravel() for image in images])


def _write(name: str, pixels: np.ndarray) -> None:
    Image.fromarray(np.rint(255 * pixels.clip(0, 1)).astype(np.uint8)).save(PICTURES / f"{name}.webp", quality=70)


if __name__ == "__main__":
    main()
