"""What the ``model.json`` of a bundle holds, with its types: whoever reads it later finds it there and of its kind.

A bundle may come from anywhere, and a page that lists all models must not fall over one. So all of it is checked once,
when a bundle is loaded. Keys that are not named here are passed over.
"""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from covid_cnn.common.statistics import LARGEST, Count, Interval

SCHEMA = 1  # the version of the format
Number = Annotated[float, Meta(gt=-LARGEST, lt=LARGEST)]
Positive = Annotated[float, Meta(gt=0, lt=LARGEST)]
Share = Annotated[float, Meta(ge=0, le=1)]
# A metric that has no value where the images cannot tell it, as a sensitivity without positives.
Maybe = Interval | None
Added = Interval | None | UnsetType  # one that only some reports have: not in the file at all where it is not set
CONTRADICTION = "contradicts itself"


class Coverage(Struct, frozen=True):
    """How often the true class is in the prediction set, and how much the sets say."""

    level: Share  # the share of images of each class that were promised to have it in their set
    # The share that has, of all images and class by class
    coverage: Maybe
    coverage_by_class: list[Maybe]
    mean_size: Maybe  # classes in a set
    single: Maybe  # the share of sets that hold one class


class AtPrevalence(Struct, frozen=True):
    """What a positive and a negative answer are worth where `prevalence` of the people are positive."""

    prevalence: Share
    ppv: Maybe
    npv: Maybe


class Report(Struct, frozen=True, kw_only=True):
    """Everything that a test set tells about a classifier: ``metrics.evaluate_classifier`` makes it."""

    n: Count  # images
    n_patients: Count
    classes: list[str]
    positive: str | None  # the one of the K classes that is looked for, if any
    confusion: list[list[Count]]  # images, ``[K][K]``, rows true and columns predicted
    accuracy: Interval
    balanced_accuracy: Maybe
    brier: Maybe
    ece: Maybe
    patients_by_class: dict[str, Count] = {}
    sensitivity_by_class: dict[str, Maybe] = {}
    mcc: Added = UNSET
    auroc: Added = UNSET
    auroc_by_class: dict[str, Maybe] | UnsetType = UNSET
    auroc_positive: Added = UNSET
    sensitivity: Added = UNSET
    specificity: Added = UNSET
    ppv: Added = UNSET
    npv: Added = UNSET
    lr_positive: Added = UNSET
    lr_negative: Added = UNSET
    f1: Added = UNSET
    average_precision: Added = UNSET
    prediction_sets: Coverage | UnsetType = UNSET
    out_of_distribution: Interval | UnsetType = UNSET  # the share that was flagged as unlike the training images
    notes: list[str] = []
    dataset: str | UnsetType = UNSET  # what was evaluated on
    threshold: Number | UnsetType = UNSET  # of a yes-or-no question: from this score on the answer is yes
    at_prevalence: AtPrevalence | UnsetType = UNSET

    def __post_init__(self) -> None:
        if problem := next((problem for problem, there in self._contradictions() if there), ""):
            raise ValueError(problem)

    def _contradictions(self) -> list[tuple[str, bool]]:
        """What may be wrong with it, each with whether it is: a class needs a row, a column and every figure."""
        k, names = len(self.classes), set(self.classes)
        figures = [self.sensitivity, self.specificity, self.ppv, self.npv, self.f1]
        figures.append(self.auroc if k == 2 else self.auroc_positive)
        others = names - {self.positive}
        covered = self.prediction_sets.coverage_by_class if self.prediction_sets else self.classes
        by_class = self.auroc_by_class.keys() & self.sensitivity_by_class.keys() if self.auroc_by_class else others
        return [
            ("its classes are not of different names", len(names) != k),
            ("its confusion matrix is not of its classes", {len(self.confusion), *map(len, self.confusion)} != {k}),
            ("it counts patients of unknown classes", not self.patients_by_class.keys() <= names),
            ("its positive class is unknown", self.positive is not None and self.positive not in names),
            ("a figure of the positive class is missing", self.positive is not None and UNSET in figures),
            ("a figure of a class is missing", not others <= by_class),
            ("its macro AUROC is missing", bool(self.auroc_by_class) and self.auroc is UNSET),
            ("its sets are not of its classes", len(covered) != k),
        ]


class ReliabilityBin(Struct, frozen=True):
    """A bar of the reliability diagram: n images of about one confidence, and the share answered right."""

    confidence: Share
    accuracy: Interval
    n: Count


class Calibrated(Struct, frozen=True):
    """How well probabilities fit what happens: the expected calibration error, and the points of the diagram."""

    ece: Interval
    reliability: list[ReliabilityBin]


class Calibration(Struct, frozen=True):
    """What the temperature did to the calibration on the `n` images of a split."""

    temperature: Positive
    n: Count
    split: Literal["val", "test"]
    before: Calibrated
    after: Calibrated


class Decision(Struct, frozen=True):
    """The class that is looked for, the probability from which on it is named, and how that was chosen."""

    positive: str | None
    threshold: Number | None
    chosen: str


class InDistribution(Struct, frozen=True):
    """Statistics that tell how far an image is from the training images; arrays are as `encode_array` writes them."""

    method: str
    mean: str
    components: str
    variances: str
    noise_variance: Positive
    limit: Number
    limit_chosen: str


class BySplit(Struct, frozen=True):
    """A count for each split."""

    train: Count
    val: Count
    test: Count


class TrainingData(Struct, frozen=True):
    """The dataset that a model learned from."""

    name: str
    synthetic: bool
    fingerprint: str
    images: BySplit
    patients: BySplit
    notes: list[str]


class Recipe(Struct, frozen=True, omit_defaults=True):
    """The settings of the training, as in ``runs.config.TrainConfig``, and what came of them."""

    data: str
    network: str
    augmentation: str
    epochs: Count
    batch_size: Count
    learning_rate: Number
    seed: Count
    epochs_trained: Count
    best_epoch: Count
    # Of a model that the command line does not train: what makes it again, and how its weights were found
    command: str = ""
    how: str = ""
    learns: str | None = None
    patience: Count | None = None
    schedule: str | None = None
    warm_up: Count | None = None
    base_rate: Number | None = None
    balance: str | None = None
    label_smoothing: Number | None = None
    mixup: Number | None = None


class Metrics(Struct, frozen=True, omit_defaults=True):
    """How good the model was on the splits of its own dataset, and on others by what those are called."""

    val: Report | None = None
    test: Report | None = None
    other: dict[str, Report] = {}


class TrainingImages(Struct, frozen=True):
    """How many training images the file of their fingerprints knows, and its SHA-256."""

    images: Count
    sha256: str


class SetThresholds(Struct, frozen=True):
    """The probability from which on each class is in the prediction set, and how that was chosen."""

    method: str
    level: Annotated[float, Meta(gt=0, lt=1)]
    thresholds: list[Number]
    chosen: str


class Table(Struct, frozen=True):
    """A table of a model card."""

    columns: list[str | int | float]
    rows: list[list[str | int | float | None]]


class Evidence(Struct, frozen=True, omit_defaults=True):
    """A further section of a model card, which another program than the training has measured."""

    title: str
    headline: str = ""  # one sentence with its most telling figure, beside the model wherever it can be chosen
    text: str = ""
    table: Table | None = None


class PlainAnswer(Struct, frozen=True):
    """How a graph that explains nothing is asked (see ``plain_graph``)."""

    # What makes of a grey 0..1 what it takes, one number a channel
    gain: list[Number]
    offset: list[Number]
    output: Count  # the number of its answer among its outputs
    last: Literal["", "sigmoid", "softmax"]  # what makes probabilities of its answer; "" where it is some
    why: str  # a sentence that says why it explains nothing


class ModelInfo(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The content of ``model.json``."""

    schema: Literal[1]  # the version of the format
    name: str
    network: str
    classes: list[str]
    input_size: tuple[Count, Count]  # height and width of the image that the network takes, in pixels
    temperature: Positive  # by which the logits are divided
    decision: Decision
    prediction_sets: SetThresholds | None = None
    in_distribution: InDistribution
    training_data: TrainingData
    recipe: Recipe
    metrics: Metrics
    calibration: Calibration | None = None
    evidence: list[Evidence] | None = None
    training_images: TrainingImages | None = None
    versions: dict[str, str] = {}  # of the libraries that made it
    plain: PlainAnswer | None = None  # of a graph that answers and explains nothing
    sha256: str  # of ``model.tflite``

    def __post_init__(self) -> None:
        positive, threshold, sets = self.decision.positive, self.decision.threshold, self.prediction_sets
        decides = threshold is None if positive is None else positive in self.classes and threshold is not None
        named = len(set(self.classes)) == len(self.classes) >= 2
        if not (decides and named and (sets is None or len(sets.thresholds) == len(self.classes))):
            raise ValueError(CONTRADICTION)

    @property
    def headlines(self) -> list[str]:
        """The sentences that the evidence puts beside the model."""
        return [section.headline for section in self.evidence or () if section.headline]


def decode_info(content: bytes) -> ModelInfo:
    """The content of a ``model.json``, checked; raises ValueError with the end of a sentence that its name begins."""
    try:
        return msgspec.json.decode(content, type=ModelInfo)
    except msgspec.ValidationError as error:
        problem = _describe_flaw(str(error))
    except (msgspec.DecodeError, RecursionError):
        problem = "is damaged"
    raise ValueError(problem)


def _describe_flaw(message: str) -> str:
    """What msgspec says about a flaw, such as "lacks a usable metrics.test.n"."""
    missing = re.search(r"missing required field `(\w+)`", message)
    position = re.search(r" - at `\$\.?(.*)`$", message)
    parts = [re.sub(r"\[[^\]]*\]", "", position[1]) if position else "", missing[1] if missing else ""]
    place = ".".join(part for part in parts if part)
    if place in ("", "schema"):
        return message if message == CONTRADICTION else "is of another version of the format"
    return f"lacks a usable {place}"
