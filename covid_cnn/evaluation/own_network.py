"""Put a network of one's own under question: what its file tells, what it leaves open, and the guesses at that.

A file says neither the names of its classes nor how its images were scaled, and a network that is given the wrong scale
answers as readily as with the right one. So the answers to the same images are told under each guess. The network
itself is read and exported in a process of its own (`covid_cnn.training.imported`).
"""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from covid_cnn.common import paths
from covid_cnn.common.errors import BundleError, CovidCnnError, ImageError
from covid_cnn.common.jobs import Progress, unwatched
from covid_cnn.common.statistics import Interval, percent, wilson
from covid_cnn.data.classes import matching_class
from covid_cnn.data.dataset import Dataset, Item
from covid_cnn.data.samples import SAMPLES
from covid_cnn.images import ops, reader
from covid_cnn.models import bundle
from covid_cnn.models.plain_graph import PlainGraph, probabilities
from covid_cnn.runs.events import NAME

SUFFIXES = (".keras", ".h5", ".hdf5", ".tflite", ".zip")  # of files; a SavedModel is a folder, or a .zip of one
SECONDS_TO_READ, SECONDS_TO_EXPORT = 600, 3600
MEMORY = 12 * 2**30  # bytes that the process which reads it may take
BY_OCCLUSION = "So its heatmaps are made by hiding one place of the image after the other."
EXAMPLES = 3  # images of each class whose answers are told
TRIED = 40  # images of each class on which scales are tried


class Scale(NamedTuple):
    """How a network wants its images: what a grey 0..1 is multiplied by and what is added, for red, green and blue."""

    words: str
    gain: tuple[float, float, float]
    offset: tuple[float, float, float] = (0, 0, 0)

    @property
    def short(self) -> str:
        """Its words without what stands behind a comma or colon."""
        return re.split("[,:]", self.words)[0]

    def of(self, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Gain and offset, float32 ``[channels]``; a single channel gets the mean of the three."""
        both = np.array([self.gain, self.offset], np.float32)
        gain, offset = both if channels == 3 else both.mean(axis=1, keepdims=True)
        return gain, offset


_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # of ImageNet
SCALES = {
    "255": Scale("divided by 255: 0 to 1", (1, 1, 1)),
    "none": Scale("as they are: 0 to 255", (255, 255, 255)),
    "-1..1": Scale("-1 to 1, as keras.applications of MobileNet, Inception, Xception, NASNet", (2, 2, 2), (-1, -1, -1)),
    "imagenet": Scale(
        "by ImageNet's mean and deviation, as DenseNet and PyTorch",
        tuple((1 / _DEVIATION).tolist()),
        tuple((-_MEAN / _DEVIATION).tolist()),
    ),
    "caffe": Scale(
        "less ImageNet's mean, as keras.applications of VGG and ResNet",
        (255, 255, 255),
        (-103.939, -116.779, -123.68),
    ),
    "225": Scale("divided by 225, a slip that notebooks copy", (255 / 225,) * 3),
}


class Example(NamedTuple):
    """An image whose truth is known: what it is called, its class, and its pixels, float32 ``[H, W]``, 0..1."""

    name: str
    label: str
    pixels: np.ndarray


@dataclass(frozen=True)
class Trial:
    """What a network answers to images of which the truth is known, given them in one scale.

    Attributes
    ----------
    scale : a key of `SCALES`
    last : what made probabilities of its answers, as of a `Choice`
    probabilities : float32 ``[N, K]``
    right : the share of right answers; None without any image of a class that it knows
    loss : the mean cross-entropy, the lower the better; inf without
    """

    scale: str
    last: str
    probabilities: np.ndarray
    right: Interval | None
    loss: float


class OwnNetwork:
    """A network that was read, to be asked; `read_network` makes one.

    Attributes
    ----------
    facts : what its file tells: ``kind``, ``size``, ``channels``, ``outputs``, ``output``, ``units``, ``last``, …
    origin : where it came from, for who wants to read it again
    previews : the examples and trials of whoever looks at it, by dataset and classes
    """

    def __init__(self, source: str, folder: "tempfile.TemporaryDirectory[str]") -> None:
        self.source, self.folder = source, Path(folder.name)
        weakref.finalize(self, folder.cleanup)
        self.facts: dict[str, Any] = json.loads((self.folder / "facts.json").read_text(encoding="utf-8"))
        self.origin: tuple[Any, ...] = ()
        self.previews: dict[tuple[str, tuple[str, ...]], tuple[list[Example], list[Trial]]] = {}

    @property
    def classes(self) -> int:
        """How many classes it tells apart."""
        return max(2, self.facts["units"])

    @cached_property
    def _graph(self) -> PlainGraph:
        return PlainGraph(self.folder / "probe.tflite", os.cpu_count() or 1, self.facts["probed"])

    def answer(self, pixels: np.ndarray, scale: str) -> np.ndarray:
        """What it answers to one image, float32 ``[units]``, given in a scale of `SCALES`."""
        return self._graph.answer(ops.prepare(pixels, self._graph.shape[:2]), *SCALES[scale].of(self.facts["channels"]))

    def guess_scale(self) -> str:
        """The scale that its first layers point to; the usual division by 255 where they change nothing."""
        black, white = (float(np.mean(self.facts[key])) for key in ("black", "white"))
        if abs(black) < 0.01 and abs(white - 1) < 0.01:
            return "255"
        return "none" if 255 * abs(white - black) <= 12 else "255"

    def guess_last(self, answers: np.ndarray) -> str:
        """What makes probabilities of its answers ``[N, units]``: "sigmoid", "softmax", or "" where they are some."""
        if self.facts["last"]:
            return ""
        shares = answers.min() >= 0 and answers.max() <= 1
        if self.facts["units"] == 1:
            return "" if shares else "sigmoid"
        return "" if shares and np.allclose(answers.sum(axis=1), 1, atol=1e-3) else "softmax"

    def describe(self) -> str:
        """What its file tells, in a sentence or two."""
        facts = self.facts
        colour = "grey" if facts["channels"] == 1 else "colour"
        ends = {"softmax": ", behind a softmax", "sigmoid": ", behind a sigmoid", "": ", behind no softmax or sigmoid"}
        end = "" if facts["unexplained"] else ends[facts["last"]]
        numbers = f"{facts['units']} numbers" if facts["units"] > 1 else "one number, which tells two classes apart"
        description = (
            f"{facts['kind']} with {facts['parameters']:,} numbers in it. It takes one {colour} image of "
            f"{facts['size'][0]} x {facts['size'][1]} pixels and answers with {numbers}{end}."
        )
        if len(facts["outputs"]) > 1:
            description += (
                f" Of its outputs ({', '.join(facts['outputs'])}) this is {facts['outputs'][facts['output']]}."
            )
        if facts["unexplained"]:
            description += f" {facts['unexplained']} {BY_OCCLUSION}"
        if self.guess_scale() == "none":
            description += " It scales its images itself."
        return description


@dataclass(frozen=True)
class Choice:
    """What a person has said of a network, or agreed to.

    Attributes
    ----------
    name : of the model
    classes : their names, in the order of its answers; of one sigmoid the second is what it speaks for
    scale : a key of `SCALES`
    last : "sigmoid" or "softmax" where its answers are logits, "" where they are probabilities
    data : the dataset that it learned from; "" where that is not here
    """

    name: str
    classes: tuple[str, ...]
    scale: str
    last: str
    data: str = ""


def read_network(
    file: Path, size: tuple[int, int] | None = None, output: str | None = None, progress: Progress = unwatched
) -> OwnNetwork:
    """Read a network from a file, .keras, .h5, .tflite, .zip, or the folder of a SavedModel, in a process of its own.

    Parameters
    ----------
    size : height and width, where the file leaves them open
    output : which one is asked, where there are several; the first by default

    Raises
    ------
    BundleError
        It is no network of one image, or holds code; the sentence says which.
    """
    if not file.exists():
        raise BundleError(f"There is no {file}: give a .keras, .h5 or .tflite file, or the folder of a SavedModel.")
    folder = tempfile.TemporaryDirectory(prefix="covid-cnn-")
    request = {"file": str(file.absolute()), "size": size, "output": output}
    try:
        _work("read", Path(folder.name), request, SECONDS_TO_READ, progress)
    except BaseException:
        folder.cleanup()
        raise
    return OwnNetwork(file.name, folder)


def add_network(network: OwnNetwork, choice: Choice, progress: Progress = unwatched) -> str:
    """Make a bundle of a network, ``models/NAME``, in a process of its own, and return its name.

    Raises CovidCnnError where the name is taken or none, the classes do not fit, or it cannot be exported.
    """
    _work("make", network.folder, request(network, choice), SECONDS_TO_EXPORT, progress)
    return choice.name


def describe_added(name: str) -> str:
    """That a network is a model now, and why its heatmaps are none of Grad-CAM where they are not."""
    plain = bundle.read_info(bundle.folder_of(name)).plain
    return f"{name} is a model now." + (f" {plain.why} {BY_OCCLUSION}" if plain else "")


def request(network: OwnNetwork, choice: Choice) -> dict[str, Any]:
    """What the process that makes the bundle is asked for; raises BundleError where a choice does not fit."""
    _check(network, choice)
    gain, offset = (values.tolist() for values in SCALES[choice.scale].of(network.facts["channels"]))
    return {
        "name": choice.name,
        "classes": list(choice.classes),
        "gain": gain,
        "offset": offset,
        "last": choice.last,
        "data": choice.data,
        "how": f"trained elsewhere and added from {network.source}; pixels {SCALES[choice.scale].words}",
        "command": command(network, choice),
    }


def command(network: OwnNetwork, choice: Choice) -> str:
    """The command that adds a network in this way again."""
    height, width = network.facts["size"]
    words = ["python", "-m", "covid_cnn", "models", "add", network.source, "--name", choice.name]
    words += ["--classes", ",".join(choice.classes), "--scale", choice.scale, "--size", f"{height}x{width}"]
    outputs = network.facts["outputs"]
    words += ["--output", outputs[network.facts["output"]]] if len(outputs) > 1 else []
    words += ["--last", choice.last] if choice.last else []
    words += ["--data", choice.data] if choice.data else []
    return shlex.join(words)


def _check(network: OwnNetwork, choice: Choice) -> None:
    if not re.fullmatch(NAME, choice.name):
        raise BundleError(f"{choice.name!r} is no name for a model: use letters, digits, dots and hyphens.")
    if (bundle.folder_of(choice.name) / bundle.INFO_FILE).is_file():
        raise BundleError(f"There is a model called {choice.name} already: choose another name.")
    named = [name.strip() for name in choice.classes]
    if len(named) != network.classes or len(set(named)) != len(named) or not all(named):
        raise BundleError(f"This network tells {network.classes} classes apart: give as many different names.")


def free_name(source: str) -> str:
    """A name for the model of a file that no model has yet."""
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(source).stem).strip("._-")[:80] or "my_model"
    names = (stem, *(f"{stem}_{n}" for n in range(2, 1000)))
    return next(name for name in names if not (bundle.folder_of(name) / bundle.INFO_FILE).is_file())


def dataset_examples(dataset: Dataset, most: int = TRIED) -> list[Example]:
    """Up to ``most`` readable images of each class of a dataset, spread over it."""
    examples = []
    for label in dataset.classes:
        items: Sequence[Item] = [item for item in dataset.items if item.label == label]
        for item in items[:: max(1, -(-len(items) // most))]:
            try:
                examples.append(Example(item.path.name, label, reader.read(item.path).pixels))
            except ImageError:
                continue
    return examples


def sample_examples() -> list[Example]:
    """The real films that come along, where no dataset is given."""
    films = [sample for sample in SAMPLES.values() if sample.finding and sample.provenance]
    return [Example(sample.title, sample.finding, sample.read().pixels) for sample in films]


def few(examples: Sequence[Example], most: int = EXAMPLES) -> list[int]:
    """The places of the first ``most`` examples of each class."""
    places: dict[str, list[int]] = {}
    for place, example in enumerate(examples):
        places.setdefault(example.label, []).append(place)
    return [place for some in places.values() for place in some[:most]]


def try_scales(
    network: OwnNetwork,
    examples: Sequence[Example],
    classes: Sequence[str],
    last: str | None = None,
    labelled: bool = True,
    progress: Progress = unwatched,
) -> list[Trial]:
    """Ask a network about the same images under each scale, the one that fits best first, or that is guessed.

    Where ``last``, which makes probabilities of its answers, is None, it is guessed; images that are ``labelled`` are
    of its classes, enough to judge by.
    """
    matched = [matching_class(example.label, classes) if labelled else None for example in examples]
    known = np.flatnonzero([name is not None for name in matched])
    labels = np.array([classes.index(matched[place] or "") for place in known], int)
    trials = []
    for at, scale in enumerate(SCALES):
        progress(at / len(SCALES), f"Trying pixels {SCALES[scale].words}")
        answers = np.stack([network.answer(example.pixels, scale) for example in examples])
        end = network.guess_last(answers) if last is None else last
        shares = probabilities(answers, end)
        right, loss = None, np.inf
        if len(known):
            right = wilson(int((shares[known].argmax(axis=1) == labels).sum()), len(known))
            loss = float(-np.log(np.maximum(shares[known, labels], 1e-7)).mean())
        trials.append(Trial(scale, end, shares, right, loss))
    guess, alike = network.guess_scale(), _alike(trials)
    return sorted(
        trials,
        key=lambda one: (one not in alike, one.scale != guess, -one.right.value if one.right else 0, one.loss),
    )


def _alike(trials: Sequence[Trial]) -> list[Trial]:
    """Those that fit no worse than the best, as far as so many images can tell."""
    shares = [one.right for one in trials if one.right]
    best = max(shares, key=lambda right: right.value, default=None)
    return [one for one in trials if best is None or one.right is None or one.right.value > best.low]


def verdict(trials: Sequence[Trial], classes: Sequence[str]) -> str:
    """Which scale fits, and what each other one would cost, in sentences."""
    best = trials[0]
    if best.right is None:
        return (
            f"Its first layers point to pixels {SCALES[best.scale].words}. Look which answers make sense; on a "
            "labelled dataset it can be told which scale fits."
        )
    if all(one.right and one.right.low <= 1 / len(classes) for one in trials):
        return _nothing_fits(trials, classes)
    sentences = (
        f"With pixels {SCALES[best.scale].short}, {percent(best.right.value)} of {best.right.n} images are right."
    )
    alike = _alike(trials)
    others = [one for one in alike if one is not best]
    if others:
        words = ", ".join(SCALES[one.scale].short for one in others)
        sentences += f" Pixels {words} fit no worse, as far as so few images tell."
    costs = [
        f"{round((best.right.value - one.right.value) * best.right.n)} with pixels {SCALES[one.scale].short}"
        for one in trials
        if one.right and one not in alike
    ]
    return f"{sentences} Given in another scale it loses right answers: {', '.join(costs)}." if costs else sentences


def _nothing_fits(trials: Sequence[Trial], classes: Sequence[str]) -> str:
    best, worst = (choose(trials, key=lambda one: one.right.value if one.right else 0) for choose in (max, min))
    assert best.right and worst.right
    if len(classes) == 2 and worst.right.high < 0.5:
        return (
            f"These classes seem to be in the wrong order: called {classes[1]},{classes[0]}, with pixels "
            f"{SCALES[worst.scale].words}, {percent(1 - worst.right.value)} of {worst.right.n} images are right."
        )
    return (
        f"No scale fits: at best {percent(best.right.value)} of {best.right.n} images are right, no better than "
        "chance. Either it has learned too little, or other images, or it wants pixels that none of these scales makes."
    )


def _work(step: str, folder: Path, request: dict[str, Any], seconds: int, progress: Progress) -> None:
    """Do one step of `covid_cnn.training.imported` in a process of its own, which ends where ``progress`` raises."""
    if importlib.util.find_spec("tensorflow") is None:
        raise BundleError("TensorFlow reads a network, and is not installed: run pip install 'covid-cnn[train]'.")
    bounds = {"memory": MEMORY, "seconds": SECONDS_TO_EXPORT}
    (folder / "request.json").write_text(json.dumps(request | bounds), encoding="utf-8")
    environment = os.environ | {
        "COVID_CNN_HOME": str(paths.home()),
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
    }
    program = [sys.executable, "-m", "covid_cnn.training.imported", step, str(folder)]
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            program,
            cwd=Path(__file__).resolve().parents[2],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    patience = threading.Timer(seconds, process.kill)
    patience.start()
    report: list[Any] = [0.1, "TensorFlow starts in a process of its own: half a minute or so"]

    def hear() -> None:
        for line in process.stdout or ():
            if line.startswith("["):
                report[:] = json.loads(line)

    reading = threading.Thread(target=hear)
    reading.start()
    try:
        while reading.is_alive():
            progress(*report)  # twice a second, for that is when it hears that it is to stop
            reading.join(0.5)
        ended = process.wait()
    finally:
        patience.cancel()
        process.kill()
        reading.join()
        process.communicate()
    if ended:
        raise CovidCnnError(_reason(folder, ended))


def _reason(folder: Path, ended: int) -> str:
    reason = folder / "error.txt"
    if reason.is_file():
        return reason.read_text(encoding="utf-8")
    if ended < 0:
        return "Reading this network took more memory or time than it is given here: it is too large for this machine."
    lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines() or [""]
    return f"This network cannot be read ({lines[-1][:300]})."
