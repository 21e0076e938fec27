"""Which trainings judge the recipe, and what each says of the images that it did not learn from.

Every training leaves something out: a hospital, a source, the healthy of a collection. What is learned from is the
split "train" alone; "val" and what is left out are for temperature, thresholds and the choice of the recipe; the test
split is looked at once, with the recipe fixed.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import cv2
import keras
import numpy as np

from benchmarks.default_model import crops, hospitals
from benchmarks.default_model.crops import Crops
from benchmarks.default_model.hospitals import CLASSES, EURORAD, NIH, NOTEBOOK, RADIOPAEDIA, SPAIN
from benchmarks.default_model.train import Learned, Recipe, answers, train
from covid_cnn.data.classes import NORMAL
from covid_cnn.data.dataset import Item

JOURNALS = "journals"  # all sources of ieee8023's collection with few images each
LARGE = (RADIOPAEDIA, EURORAD, hospitals.SIRM)
SHIPPED = "shipped"


@dataclass(frozen=True)
class Images:
    """All images of the protocol, N of them, with their crops."""

    items: tuple[Item, ...]
    crops: Crops
    notes: tuple[str, ...]

    @cached_property
    def labels(self) -> np.ndarray:
        """The index of each class in ``CLASSES``, int ``[N]``."""
        return np.array([CLASSES.index(item.label) for item in self.items])

    @cached_property
    def splits(self) -> np.ndarray:
        """Their splits, ``[N]``."""
        return np.array([item.split for item in self.items])

    @cached_property
    def collections(self) -> np.ndarray:
        """The collection that each is in, ``[N]``."""
        return np.array([hospitals.collection(item) for item in self.items])

    @cached_property
    def sources(self) -> np.ndarray:
        """Where each comes from: a large source, or else its collection, ``[N]``."""
        told = zip(self.items, self.collections, strict=True)
        names = {hospitals.COHEN: JOURNALS}
        return np.array([i.source if i.source in LARGE else names.get(where, where) for i, where in told])

    @cached_property
    def patients(self) -> np.ndarray:
        """Their patients, ``[N]``."""
        return np.array([item.patient for item in self.items])

    def of_split(self, split: str) -> list[Item]:
        """Those of a split."""
        return [item for item in self.items if item.split == split]

    def healthy(self, collection: str) -> np.ndarray:
        """Whether each is of a healthy person of a collection, bool ``[N]``."""
        return (self.collections == collection) & (self.labels == CLASSES.index(NORMAL))

    def of_patients(self, chosen: np.ndarray) -> np.ndarray:
        """Whether each is of a patient of one of the chosen images, bool ``[N]``."""
        return np.isin(self.patients, self.patients[chosen])


@dataclass(frozen=True)
class Trial:
    """A training of the protocol.

    Attributes
    ----------
    name : by which its answers are kept
    seed : of the training
    left_out : which images it must not learn from, bool ``[N]``, beside those of other splits than "train"
    """

    name: str
    seed: int
    left_out: Callable[[Images], np.ndarray]


def _spain(images: Images) -> np.ndarray:
    return images.collections == SPAIN


def _without(chosen: Callable[[Images], np.ndarray]) -> Callable[[Images], np.ndarray]:
    """The patients of the chosen images are left out, and Spain."""
    return lambda images: _spain(images) | images.of_patients(chosen(images))


def _of_source(source: str, images: Images) -> np.ndarray:
    return images.sources == source


def _healthy_of(collection: str, images: Images) -> np.ndarray:
    return images.healthy(collection)


SEEDS = (0, 1, 2)
EXTERNAL = tuple(Trial(f"external-{seed}", seed, _spain) for seed in SEEDS)
SOURCES = {source: Trial(source, 0, _without(partial(_of_source, source))) for source in (RADIOPAEDIA, EURORAD)}
HEALTHY = {name: Trial(f"no-healthy-{name}", 0, _without(partial(_healthy_of, name))) for name in (NIH, NOTEBOOK)}
FINAL = tuple(Trial(f"{SHIPPED}-{seed}", seed, lambda images: np.zeros(len(images.items), bool)) for seed in SEEDS[:1])


def load(root: Path, cache: Path | None = None) -> Images:
    """The images of the collections in the folder ``root``; a folder ``cache`` keeps their crops."""
    items = hospitals.read(root)
    made = crops.load([item.path for item in items], cache)
    side = (hospitals.THUMBNAIL, hospitals.THUMBNAIL)
    thumbnails = np.stack([cv2.resize(crop, side, interpolation=cv2.INTER_AREA) for crop in made.exact])
    gathered = hospitals.gather(items, thumbnails)
    place = {item.path: number for number, item in enumerate(items)}
    return Images(gathered.items, made.part(np.array([place[item.path] for item in gathered.items])), gathered.notes)


def learned(images: Images, trial: Trial) -> Learned:
    """What a trial learns from."""
    chosen = np.flatnonzero((images.splits == "train") & ~trial.left_out(images))
    doubtful = images.collections[chosen] == NIH
    return Learned(images.crops.part(chosen), images.labels[chosen], images.sources[chosen].tolist(), doubtful)


def run(images: Images, trial: Trial, recipe: Recipe, cache: Path) -> np.ndarray:
    """The logits ``[N, 3]`` of a trial for all images; ``cache`` keeps them, and the weights."""
    kept = cache / f"{trial.name}.npy"
    if not kept.is_file():
        began = time.perf_counter()
        model = train(learned(images, trial), recipe, trial.seed)
        seconds = time.perf_counter() - began
        model.save_weights(cache / f"{trial.name}.weights.h5")
        (cache / f"{trial.name}.json").write_text(json.dumps({"recipe": repr(recipe), "seconds": seconds}))
        np.save(kept, answers(model, images.crops))
        keras.backend.clear_session()
        print(f"# {trial.name}: trained in {seconds:.0f} s", flush=True)
    return np.load(kept)


def mean_weights(model: keras.Model, files: Sequence[Path]) -> keras.Model:
    """``model`` with the mean of the weights in ``files``, of trainings with one beginning (Wortsman et al. 2022)."""
    stored = []
    for file in files:
        model.load_weights(file)
        stored.append(model.get_weights())
    model.set_weights([np.mean(values, axis=0) for values in zip(*stored, strict=True)])
    return model
