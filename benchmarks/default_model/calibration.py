"""Temperature, decision threshold and prediction sets, from images of hospitals that were held out in turn.

A network is surer, and oftener right, at the hospitals that it learned from. What it says elsewhere is measured on what
each training without a source says of that source, and on the validation images of the others. The healthy of
collections whose healthy were left out are not among them: a training that knows only the ill of a hospital calls its
healthy ill, and a calibration on those was measured to miss more than half of COVID-19 elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from benchmarks.default_model.hospitals import ASIDE, CLASSES, EXTERNAL
from benchmarks.default_model.protocol import EXTERNAL as TRIALS
from benchmarks.default_model.protocol import SOURCES, SPAIN, Images
from covid_cnn.data.classes import COVID, NORMAL, OTHER
from covid_cnn.evaluation import calibration

SPECIFICITY, LEVEL = 0.97, 0.9
PRIOR = {COVID: 0.25, NORMAL: 0.5, OTHER: 0.25}  # what is expected of whoever comes: every second one is healthy
SMALLEST, LARGEST = 0.2, 5.0  # of a temperature


@dataclass(frozen=True)
class Pool:
    """What networks say of N images that they did not learn from.

    Attributes
    ----------
    logits : float ``[N, 3]``
    labels : int ``[N]``
    away : bool ``[N]``, whether the network knew no image of that hospital, or no healthy one of it
    """

    logits: np.ndarray
    labels: np.ndarray
    away: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """How logits become probabilities and a decision.

    Attributes
    ----------
    temperature : divides the logits
    bias : added to them before, ``[3]``
    threshold : of the probability of COVID-19
    sets : the thresholds of the prediction sets, ``[3]``
    n, away : of how many images, and how many of them of hospitals that were held out
    healthy : how many of them healthy
    """

    temperature: float
    bias: np.ndarray
    threshold: float
    sets: np.ndarray
    n: int
    away: int
    healthy: int

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Logits ``[N, 3]`` -> probabilities ``[N, 3]``."""
        return softmax((logits + self.bias) / self.temperature, axis=1)

    def decided(self, probabilities: np.ndarray) -> np.ndarray:
        """The class that each row ``[N, 3]`` is decided to be, int ``[N]``."""
        covid = CLASSES.index(COVID)
        rest = probabilities.copy()
        rest[:, covid] = -1
        return np.where(probabilities[:, covid] >= self.threshold, covid, rest.argmax(axis=1))


def pool(images: Images, said: Mapping[str, np.ndarray]) -> Pool:
    """What the trials of the protocol, by name, say of the sources that they left out; no test image is among them."""
    usable = ~np.isin(images.splits, [ASIDE, EXTERNAL, "test"]) & (images.collections != SPAIN)
    left_out = {trial.name: images.sources == source for source, trial in SOURCES.items()}
    parts = [(said[name], chosen & usable) for name, chosen in left_out.items() if name in said]
    away = sum(chosen.sum() for _, chosen in parts)
    home = (images.splits == "val") & usable
    parts.append((said[TRIALS[0].name], home))
    logits = np.concatenate([logits[chosen] for logits, chosen in parts])
    labels = np.concatenate([images.labels[chosen] for _, chosen in parts])
    return Pool(logits, labels, np.arange(len(labels)) < away)


def fit(found: Pool) -> Calibration:
    """Temperature and bias of the greatest likelihood, the classes counting by ``PRIOR``; then threshold and sets."""
    counts = np.bincount(found.labels, minlength=len(CLASSES))
    weight = (np.array([PRIOR[name] for name in CLASSES]) / counts)[found.labels]
    smoothed = np.eye(len(CLASSES))[found.labels]

    def loss(values: np.ndarray) -> float:
        temperature, bias = np.exp(values[0]), np.array([values[1], 0.0, values[2]])
        told = log_softmax((found.logits + bias) / temperature, axis=1)
        return -float((weight[:, None] * smoothed * told).sum() / weight.sum())

    limits = [(np.log(SMALLEST), np.log(LARGEST)), (-5, 5), (-5, 5)]
    values = minimize(loss, np.zeros(3), bounds=limits).x
    # As the graph stores them.
    temperature, bias = float(np.float16(np.exp(values[0]))), np.array([values[1], 0.0, values[2]])
    probabilities = softmax((found.logits + bias) / temperature, axis=1)
    covid, normal = CLASSES.index(COVID), CLASSES.index(NORMAL)
    healthy = found.labels == normal
    threshold = calibration.choose_threshold_at_specificity(
        np.zeros(healthy.sum(), bool), probabilities[healthy, covid], SPECIFICITY
    )
    sets = calibration.conformal_thresholds(found.labels, probabilities, LEVEL)
    return Calibration(temperature, bias, threshold, sets, len(found.labels), int(found.away.sum()), int(healthy.sum()))
