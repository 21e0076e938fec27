"""Shortcuts: how well size, format, brightness, borders or corners of an image predict its class.

Where image size, a corner or the picture without its lungs tells sick from healthy, so can a network, and a perfect
score then says nothing of a disease (Zech et al. 2018; DeGrave et al. 2021). Blacking out the lungs is the test of
Maguolo and Nanni (2021).
"""

import io
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from covid_cnn.common.errors import ImageError
from covid_cnn.common.jobs import Progress, map_ahead
from covid_cnn.common.statistics import Interval, auroc, auroc_interval
from covid_cnn.common.storage import Cache
from covid_cnn.data.dataset import Item
from covid_cnn.data.index import COMPARED_SIDE, ImageRecord, load_thumbnails
from covid_cnn.images import lungs
from covid_cnn.images.lungs import black_out

SAMPLE = 2000  # images that are enough for a narrow interval: with more of them, so many are drawn
FOLDS = 5
PATIENTS = 10  # that a class and the rest must have each, for its AUROC to mean something
TREES = 30
EXAMPLES = 12  # images of each side that show what a shortcut tells
CORNER, BORDER = 8, 2  # pixels, of the thumbnail
THUMBNAIL_SIDE, DARKENED_SIDE = 16, 32  # pixels, of the thumbnails to learn from
# An AUROC whose whole interval lies above this is a shortcut that a network can take. Brightness and a thumbnail hold
# a large opacity too, and may tell a disease fairly: only what is nearly perfect is told of them.
LIMIT, LIMIT_WITH_LUNGS = 0.6, 0.9
LUNG_MARGIN = 0.05  # about the lungs that are blacked out, as a share of their box
LUNGS = "lungs 2"  # the kind under which the boxes about the lungs are kept


@dataclass(frozen=True)
class Shortcut:
    """How well one thing that has nothing to do with disease predicts the class."""

    name: str  # for programs: size, format, brightness, borders, corners, thumbnail, without_lungs
    what: str  # for people, as the beginning of a sentence
    label: str  # the class that is told best from the rest
    auroc: Interval  # how well, cross-validated with no patient on both sides; the interval by bootstrap over patients
    telling: bool  # whether the whole interval is above the limit, which depends on whether `what` holds the lungs
    typical: tuple[Item, ...] = ()  # that were told rightly and most surely, of the class and then of the rest

    @property
    def sentence(self) -> str:
        """A sentence or two on what the figure means."""
        evidence = f"{self.what} alone tell {self.label} from the rest with a cross-validated AUROC of {self.auroc}"
        if self.telling:
            return f"{evidence}: a network can learn that instead of the disease."
        if self.auroc.high < 0.5:
            # The stratification bias of Parker et al. (2007).
            return (
                f"{evidence}, where 0.5 is chance. Below it there is nothing to learn: in few images, those that are "
                "held out are of the class that the others have less of, and cross-validation errs to that side."
            )
        return f"{evidence}, where 0.5 is chance."


class _Cue(NamedTuple):
    name: str
    what: str
    limit: float
    features: "Features"


def measure_shortcuts(indexed: Sequence[tuple[Item, ImageRecord]], progress: Progress) -> list[Shortcut]:
    """Measure each shortcut in images and their records, as the AUROC of the class that it predicts best.

    Extremely randomised trees (Geurts et al. 2006) learn every class from one cue and are tested on patients whom they
    never saw, in five folds. With more than two classes, each is told from the rest, and the one that stands out most
    for its number of images is reported: that choice makes it look a little better than it is. Empty where no class and
    the rest have `PATIENTS` patients each.
    """
    items, records = [item for item, _ in indexed], [record for _, record in indexed]
    labels = np.array([item.label for item in items])
    patients = [item.patient for item in items]
    classes = [name for name in np.unique(labels) if _enough(labels == name, patients)]
    if not classes or not CUES:
        return []
    boxes = _lung_boxes(items, lambda part, line: progress(0.5 * part, line))
    folds = _folds(labels, classes, patients)
    measured = []
    for n, cue in enumerate(CUES):
        progress(0.5 + 0.5 * n / len(CUES), f"Learning the class from {cue.what[0].lower()}{cue.what[1:]}")
        measured.append(_measure(cue, cue.features(records, boxes), labels, classes, items, folds))
    progress(1.0, "Measured the shortcuts")
    return measured


def sample(items: Sequence[Item], most: int = SAMPLE) -> list[Item]:
    """Draw about `most` items at random: whole patients, the classes in equal numbers; all where there are no more."""
    if len(items) <= most:
        return list(items)
    images, labels = Counter(item.patient for item in items), {item.patient: item.label for item in reversed(items)}
    patients = sorted(images)
    np.random.default_rng(0).shuffle(patients)
    waiting: dict[str, list[str]] = defaultdict(list)
    for patient in patients:
        waiting[labels[patient]].append(patient)
    drawn: set[str] = set()
    for turn in zip_longest(*waiting.values()):  # a patient of each class in every turn
        if most <= 0:
            break
        drawn |= set(filter(None, turn))
        most -= sum(images[patient] for patient in filter(None, turn))
    return [item for item in items if item.patient in drawn]


def _enough(own: np.ndarray, patients: Sequence[str]) -> bool:
    sides = [{patient for patient, side in zip(patients, own, strict=True) if side == one} for one in (True, False)]
    return min(map(len, sides)) >= PATIENTS


def _measure(
    cue: _Cue,
    features: np.ndarray,
    labels: np.ndarray,
    classes: list[str],
    items: Sequence[Item],
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
) -> Shortcut:
    scores = _cross_validated(features, labels, classes, folds)
    values = [auroc(labels == name, scores[:, k]) for k, name in enumerate(classes)]
    # The value less a rough error, lest a class of few images wins by chance.
    few = [min((labels == name).sum(), (labels != name).sum()) for name in classes]
    sure = [value - 2 * np.sqrt(max(value * (1 - value), 0) / n) for value, n in zip(values, few, strict=True)]
    best = int(np.argmax(sure))
    own = labels == classes[best]
    interval = auroc_interval(own, scores[:, best], [item.patient for item in items])
    assert interval  # both sides have images
    order = np.argsort(scores[:, best], kind="stable")
    typical = tuple(items[n] for n in [*order[own[order]][::-1][:EXAMPLES], *order[~own[order]][:EXAMPLES]])
    return Shortcut(cue.name, cue.what, str(classes[best]), interval, interval.low > cue.limit, typical)


def _folds(labels: np.ndarray, classes: list[str], patients: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The cross-validation folds, stratified by class and grouped by patient: indices to learn from and to test on."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    evidence = np.where(np.isin(labels, classes), labels, "")  # it refuses classes that are too small for all folds
    return list(folds.split(np.zeros(len(labels)), evidence, patients))


def _cross_validated(
    features: np.ndarray, labels: np.ndarray, classes: list[str], folds: Sequence[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Cross-validated class probabilities, float ``[N, K]``: each by a model that did not see the patient."""
    from sklearn.ensemble import ExtraTreesClassifier

    scores = np.zeros((len(labels), len(classes)))
    for learned, tested in folds:
        trees = ExtraTreesClassifier(TREES, min_samples_leaf=3, class_weight="balanced", random_state=0)
        trees.fit(features[learned], labels[learned])
        evidence = trees.predict_proba(features[tested])
        columns = {name: k for k, name in enumerate(trees.classes_)}
        for k, name in enumerate(classes):
            if name in columns:
                scores[tested, k] = evidence[:, columns[name]]
    return scores


Features = Callable[[Sequence[ImageRecord], np.ndarray], np.ndarray]  # float [N, D] of N images and their lung boxes
_BORDERS = np.r_[:BORDER, COMPARED_SIDE - BORDER : COMPARED_SIDE]
_CORNERS = np.ix_(*2 * [np.r_[:CORNER, COMPARED_SIDE - CORNER : COMPARED_SIDE]])


def _each(feature: Callable[[ImageRecord], Any]) -> Features:
    """A feature of each image by itself, one number or an array of them."""
    return lambda records, boxes: np.stack([np.ravel(feature(record)) for record in records])


def _format(records: Sequence[ImageRecord], boxes: np.ndarray) -> np.ndarray:
    formats = sorted({record.format for record in records})
    return np.array([[record.format == name for name in formats] for record in records], np.float32)


def _without_lungs(records: Sequence[ImageRecord], boxes: np.ndarray) -> np.ndarray:
    thumbnails = (record.fingerprint.thumbnail for record in records)
    return np.stack([_shrunk(black_out(*both), DARKENED_SIDE) for both in zip(thumbnails, boxes, strict=True)])


def _shrunk(image: np.ndarray, side: int) -> np.ndarray:
    step = len(image) // side
    return image.reshape(side, step, side, step).mean(axis=(1, 3)).astype(np.float32).ravel()


CUES = (
    _Cue("size", "Image size and aspect ratio", LIMIT, _each(lambda one: (*one.size, one.size[0] / one.size[1]))),
    _Cue("format", "The formats of the files", LIMIT, _format),
    _Cue("brightness", "Mean brightness values", LIMIT_WITH_LUNGS, _each(lambda one: one.brightness)),
    _Cue(
        "borders",
        "The columns at the left and right border",
        LIMIT,
        _each(lambda one: one.fingerprint.thumbnail[:, _BORDERS]),
    ),
    _Cue("corners", "The four corners", LIMIT, _each(lambda one: one.fingerprint.thumbnail[_CORNERS])),
    _Cue(
        "thumbnail",
        "Thumbnails of 16 x 16 pixels",
        LIMIT_WITH_LUNGS,
        _each(lambda one: _shrunk(one.fingerprint.thumbnail, THUMBNAIL_SIDE)),
    ),
    _Cue("without_lungs", "Images with their lungs blacked out", LIMIT, _without_lungs),
)


def _lung_boxes(items: Sequence[Item], progress: Progress) -> np.ndarray:
    """The box about the lungs in each image, float32 ``[N, 4]``."""
    boxes = np.zeros((len(items), 4), np.float32)
    for n, box in enumerate(Cache().complete(LUNGS, [item.path for item in items], _find_lungs), 1):
        boxes[n - 1] = np.frombuffer(box, np.float32)
        progress(n / len(items), f"Looked for the lungs in {n} images")
    return boxes


def _find_lungs(files: Sequence[Path], digests: Mapping[Path, str]) -> Generator[bytes, None, None]:
    return (box.tobytes() for box in map_ahead(load_thumbnails(files), _box_of))


def _box_of(small: bytes | ImageError) -> np.ndarray:
    if isinstance(small, ImageError):  # gone since it was looked at
        return lungs.MIDDLE
    with Image.open(io.BytesIO(small)) as picture:
        pixels = np.asarray(picture, np.float32) / 255
    # Where hardly any lung shows it is the middle of the image, as in Maguolo and Nanni (2021).
    (box,) = lungs.lung_boxes(lungs.lung_probability(pixels)[None], LUNG_MARGIN, lungs.MIDDLE)
    return box.astype(np.float32)
