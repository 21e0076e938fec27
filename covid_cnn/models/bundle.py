"""A model bundle: a folder with a trained network as a LiteRT graph, checked when it is loaded, then asked questions.

A prediction needs this module, NumPy and LiteRT; whatever takes longer to load than that is imported where it is used.
"""

import base64
import functools
import hashlib
import os
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np

from covid_cnn.common import paths
from covid_cnn.common.errors import BundleError, CovidCnnError
from covid_cnn.images import ops
from covid_cnn.models.info import InDistribution, ModelInfo, decode_info


def prediction_sets(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Which classes each image could be of, bool [N, K]: those whose probability, [N, K], reaches their threshold, [K].

    A set is never empty. Where no class reaches its threshold, the most probable one is taken: "could be nothing" helps
    nobody, an image that is of no known kind is flagged by its distance and not here, and a class more can only raise
    the coverage.
    """
    sets = probabilities >= np.asarray(thresholds)
    empty = np.flatnonzero(~sets.any(axis=1))
    sets[empty, probabilities[empty].argmax(axis=1)] = True
    return sets


GRAD_CAM, OCCLUSION = "Grad-CAM (Selvaraju et al. 2017)", "Occlusion (Zeiler and Fergus 2014)"
GRAPH_FILE = "model.tflite"
INFO_FILE = "model.json"
CARD_FILE = "MODEL_CARD.md"
DEFAULT_MODEL = "lung_styles"
NO_LIMIT = 1e12  # the limit of the distance of a model that came without the images that it learned from
# A bundle may come from anywhere, so that its files are held to a size before they are read: the largest network of
# Keras as a graph has 1.5 GiB, and the largest model.json here 74 kB.
MAX_INFO_BYTES = 8 * 2**20
MAX_GRAPH_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Prediction:
    """What a bundle says of one image."""

    classes: tuple[str, ...]  # names of the K classes
    probabilities: np.ndarray  # float32 ``[K]``, calibrated, sums to 1
    # float32 ``[h, w, K]``, 0..1, Grad-CAM of each class, or occlusion by a plain graph (all zero where nothing speaks
    # for it); ``[0, 0, K]`` where they were not wanted and are not to be had for nothing
    heatmaps: np.ndarray
    embedding: np.ndarray  # float32 ``[D]``
    label: str  # the class that the decision names
    # ``label`` is ``positive`` when its probability reaches ``threshold``, else the most probable of the other classes;
    # None where the bundle looks for no class, and ``label`` is the most probable one
    positive: str | None
    threshold: float | None
    # How far the image lies from the training images, and the limit up to which it is taken for one of their kind (see
    # ``ppca_distance``)
    distance: float
    distance_limit: float
    in_distribution: bool  # whether the image is within that limit
    prepared: np.ndarray  # float32 ``[H, W]``, 0..1, the image as the network saw it
    # The classes that the image could be of, the most probable first; all of them where the image is not in
    # distribution, for then the model knows nothing of it; None where the bundle has no prediction sets
    prediction_set: tuple[str, ...] | None
    # Of the images of each class, at least this share have it in their set (see ``calibration.conformal_thresholds``);
    # None where the bundle has no prediction sets
    set_level: float | None
    explained_by: str = GRAD_CAM  # what the heatmaps are, `GRAD_CAM` or `OCCLUSION`

    def by_class(self) -> dict[str, float]:
        """The probability of each class by its name."""
        return {name: float(p) for name, p in zip(self.classes, self.probabilities, strict=True)}

    def heatmap(self, name: str = "") -> np.ndarray:
        """The heatmap ``[h, w]`` of a class, by default of the label."""
        return self.heatmaps[..., self.classes.index(name or self.label)]

    @property
    def resembles_training(self) -> bool | None:
        """``in_distribution``; None of a model that came without the images that would tell."""
        return self.in_distribution if self.distance_limit < NO_LIMIT else None

    @property
    def warning(self) -> str:
        """One sentence when the image is unlike the training images, otherwise empty."""
        if self.in_distribution:
            return ""
        return (
            "This image is unlike those the model learned from "
            f"(distance {self.distance:.3g}, limit {self.distance_limit:.3g}), so its answer means little."
        )


class Bundle:
    """A checked model bundle, ready to predict. Safe to share between threads.

    Raises BundleError where a file is missing or damaged, or digest, schema or tensor shapes do not fit.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = read_info(folder)
        self.name: str = folder.name
        self.classes = tuple(self.info.classes)
        self.input_size = self.info.input_size
        self.positive, self.threshold = self.info.decision.positive, self.info.decision.threshold
        sets = self.info.prediction_sets
        self.set_thresholds = sets.thresholds if sets else None
        self.set_level = sets.level if sets else None
        self._mean, self._components, self._variances = _statistics(folder, self.info.in_distribution)
        # An interpreter has one set of tensors: one call at a time. A call takes milliseconds.
        self._lock = threading.Lock()
        self._run = self._load_graph()
        # For a crowd, one interpreter a core; None is one that nobody has needed yet.
        self._crowd: LifoQueue[Any] = LifoQueue()
        for _ in range(_cores()):
            self._crowd.put(None)

    def predict(self, pixels: np.ndarray, crowd: bool = False, explained: bool = True) -> Prediction:
        """Predict and explain one radiograph. The answer is the same, to rounding, with a crowd and without.

        Parameters
        ----------
        pixels : float32 ``[height, width]`` of any size, 0..1, white is dense
        crowd : whether other threads predict at the same time, as over a folder. Then each call takes one core, so
            that more images are answered in a second; without, it takes all cores, so that one is answered sooner.
            The interpreters of the crowd cost memory: one a core, however many threads there are.
        explained : False does without the heatmaps of a plain graph, for which it is asked a hundred times more
        """
        image = ops.prepare(pixels, self.input_size)
        outputs = self._in_crowd(image) if crowd else self._alone(image)
        probabilities, embedding = outputs["probabilities"][0], outputs["embedding"][0]
        if not all(np.isfinite(values).all() for values in outputs.values()):
            raise BundleError(f"Model {self.name} answers with what is no number: export it again.")
        distance = self.distance(embedding)
        limit = self.info.in_distribution.limit
        in_distribution = bool(distance <= limit)
        return Prediction(
            classes=self.classes,
            probabilities=probabilities,
            heatmaps=outputs["heatmaps"][0] if "heatmaps" in outputs else self._occlude(pixels if explained else None),
            embedding=embedding,
            label=decide(self.classes, probabilities, self.positive, self.threshold),
            positive=self.positive,
            threshold=self.threshold,
            distance=distance,
            distance_limit=limit,
            in_distribution=in_distribution,
            prepared=image[..., 0],
            prediction_set=self._prediction_set(probabilities, in_distribution),
            set_level=self.set_level,
            explained_by=OCCLUSION if self.info.plain else GRAD_CAM,
        )

    def _occlude(self, pixels: np.ndarray | None) -> np.ndarray:
        """Heatmaps by hiding one place of an image after the other, ``[12, 12, K]``; of None those of nothing."""
        if pixels is None:
            return np.zeros((0, 0, len(self.classes)), np.float32)
        from covid_cnn.models import faithfulness

        drops = faithfulness.occlusion(self, pixels)
        return np.stack([faithfulness.heat_of(one) for one in np.moveaxis(drops, -1, 0)], axis=-1)

    def _alone(self, image: np.ndarray) -> dict[str, np.ndarray]:
        with self._lock:
            return self._run(image=image[None])

    def _in_crowd(self, image: np.ndarray) -> dict[str, np.ndarray]:
        run = self._crowd.get()
        try:
            run = run or self._load_graph(threads=1)
            return run(image=image[None])
        finally:
            self._crowd.put(run)

    def _prediction_set(self, probabilities: np.ndarray, in_distribution: bool) -> tuple[str, ...] | None:
        if self.set_thresholds is None:
            return None
        chosen = prediction_sets(probabilities[None], np.array(self.set_thresholds))[0]
        return tuple(
            self.classes[k] for k in np.argsort(-probabilities, kind="stable") if chosen[k] or not in_distribution
        )

    def distance(self, embedding: np.ndarray) -> float:
        """How far an image lies from the training images, by its embedding ``[D]``."""
        noise = self.info.in_distribution.noise_variance
        return float(ppca_distance(embedding[None], self._mean, self._components, self._variances, noise)[0])

    def _load_graph(self, threads: int | None = None) -> Any:
        if (self.folder / GRAPH_FILE).stat().st_size > MAX_GRAPH_BYTES:
            raise BundleError(f"The graph of model {self.name} is larger than {MAX_GRAPH_BYTES // 2**30} GiB.")
        with (self.folder / GRAPH_FILE).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != self.info.sha256:
            raise BundleError(
                f"The graph of model {self.name} is not the one its model.json describes: export it again."
            )
        threads = threads or min(4, _cores())
        if self.info.plain:
            from covid_cnn.models.plain_graph import PlainRunner

            plain = PlainRunner(self.folder / GRAPH_FILE, threads, self.info.plain)
            self._check_shapes(plain.shapes | {"heatmaps": (1, 1, 1, len(self.classes))})
            return plain
        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(str(self.folder / GRAPH_FILE), num_threads=threads)
            interpreter.allocate_tensors()
            runner = interpreter.get_signature_runner()
            inputs, outputs = runner.get_input_details(), runner.get_output_details()
            shapes = {name: tuple(tensor["shape"]) for name, tensor in (inputs | outputs).items()}
        except (ValueError, RuntimeError) as error:
            raise BundleError(f"The graph of model {self.name} cannot be loaded: export it again.") from error
        self._check_shapes(shapes)
        return runner

    def _check_shapes(self, shapes: dict[str, tuple[int, ...]]) -> None:
        classes = len(self.classes)
        heatmaps = shapes.get("heatmaps", ())
        expected = {
            "image": (1, *self.input_size, 1),
            "probabilities": (1, classes),
            "heatmaps": (1, *heatmaps[1:3], classes),
            "embedding": (1, self._mean.size),
        }
        if len(heatmaps) != 4 or shapes != expected:
            raise BundleError(f"The tensors of model {self.name} do not have the shapes its model.json describes.")


def _cores() -> int:
    return os.cpu_count() or 1


def read_info(folder: Path) -> ModelInfo:
    """The content of ``model.json`` of the bundle in ``folder``, checked; raises BundleError.

    A file that did not change is read once.
    """
    try:
        about = (folder / INFO_FILE).stat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_INFO_BYTES:
            raise BundleError(
                f"The {INFO_FILE} of model {folder.name} is no file of at most {MAX_INFO_BYTES // 2**20} MB: "
                "export the model again."
            )
        info = _read_info(folder, (about.st_mtime_ns, about.st_size, about.st_ino))
    except OSError as error:
        raise BundleError(f"There is no model called {folder.name}: python -m covid_cnn models lists them.") from error
    if not (folder / GRAPH_FILE).is_file():
        raise BundleError(f"Model {folder.name} has no {GRAPH_FILE}: export the model again.")
    return info


@functools.lru_cache(maxsize=64)
def _read_info(folder: Path, stamp: tuple[int, ...]) -> ModelInfo:
    """Read and check a ``model.json``; ``stamp`` changes with the file, so that a changed one is read again."""
    try:
        return decode_info((folder / INFO_FILE).read_bytes())
    except ValueError as error:
        raise BundleError(f"The {INFO_FILE} of model {folder.name} {error}: export the model again.") from None


def load_bundle(name: str = DEFAULT_MODEL) -> Bundle:
    """The bundle ``models/NAME``, or the one in the folder that ``name`` is a path to; raises BundleError."""
    return Bundle(folder_of(name))


def folder_of(name: str) -> Path:
    """The folder ``models/NAME``, or the bundle's folder that ``name`` is a path to."""
    folder = Path(name)
    candidates = [folder, *(models / folder.name for models in paths.model_folders())]
    return next((one for one in candidates if (one / INFO_FILE).is_file()), paths.models_dir() / folder.name)


def discover_bundles() -> tuple[dict[str, ModelInfo], list[str]]:
    """All bundles under ``models/`` by name, the default first, and for each damaged one a sentence that says so."""
    bundles, problems = {}, []
    every = (path for models in reversed(paths.model_folders()) for path in models.glob("*"))
    folders = {path.name: path for path in every if path.is_dir() and not path.name.startswith(".")}
    for folder in sorted(folders.values(), key=lambda path: (path.name != DEFAULT_MODEL, path.name)):
        try:
            bundles[folder.name] = read_info(folder)
        except CovidCnnError as error:
            problems.append(str(error))
    return bundles, problems


def decide(classes: tuple[str, ...], probabilities: np.ndarray, positive: str | None, threshold: float | None) -> str:
    """Name the class that the probabilities ``[K]`` of an image speak for.

    With a positive class it is that one when its probability reaches the threshold, else the most probable of the
    others; without, it is the most probable class.
    """
    if positive is None or threshold is None:
        return classes[int(np.argmax(probabilities))]
    probability = dict(zip(classes, probabilities, strict=True))
    if probability.pop(positive) >= threshold:
        return positive
    return max(probability, key=lambda name: probability[name])


def ppca_distance(
    embeddings: np.ndarray, mean: np.ndarray, components: np.ndarray, variances: np.ndarray, noise_variance: float
) -> np.ndarray:
    """How unlike the training images each image is, by its embedding: about 1 is usual, larger is stranger.

    It is the squared Mahalanobis distance under probabilistic PCA (Tipping and Bishop 1999), a dimension.

    Few images in many dimensions leave most of a covariance unknown; this model keeps the largest components and
    one variance for all the rest. From embeddings float32 ``[N, D]``, mean ``[D]``, orthonormal components ``[Q, D]``,
    their variances ``[Q]`` and the variance in each remaining direction to float32 ``[N]``.
    """
    centred = embeddings - mean
    projected = centred @ components.T
    residual = np.maximum((centred**2).sum(axis=1) - (projected**2).sum(axis=1), 0)
    return ((projected**2 / variances).sum(axis=1) + residual / noise_variance) / mean.size


def encode_array(array: np.ndarray) -> str:
    """An array for JSON: base64 of its little-endian float32 values."""
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode("ascii")


def decode_array(text: str) -> np.ndarray:
    """The flat float32 array that ``encode_array`` wrote."""
    return np.frombuffer(base64.b64decode(text), "<f4")


def _statistics(folder: Path, statistics: InDistribution) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        mean, variances = decode_array(statistics.mean), decode_array(statistics.variances)
        return mean, decode_array(statistics.components).reshape(variances.size, mean.size), variances
    except ValueError as error:
        raise BundleError(f"The in-distribution statistics of model {folder.name} are damaged.") from error
