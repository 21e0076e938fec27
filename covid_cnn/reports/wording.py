"""The words for a prediction and for every metric, the same on pages, in reports and on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from covid_cnn.common.statistics import percent, wilson
from covid_cnn.data.classes import matching_class
from covid_cnn.models.bundle import NO_LIMIT
from covid_cnn.models.info import Report

if TYPE_CHECKING:
    from covid_cnn.models.bundle import Prediction


# Those of an evaluation, in the order of its table.
FIGURES = (
    *("sensitivity", "specificity", "auroc", "accuracy", "balanced_accuracy", "predictive_values", "likelihood_ratio"),
    *("f1", "average_precision", "mcc", "brier", "ece"),
)


@dataclass(frozen=True)
class Term:
    """A term of the field.

    Attributes
    ----------
    name : what it is called.
    plain : what it says, in one or two sentences that need no statistics.
    definition : how it is defined, Markdown with formulas between dollar signs.
    formula : in LaTeX.
    paper : where it comes from: authors, year, title, place.
    """

    name: str
    plain: str
    definition: str
    formula: str
    paper: str


TERMS = {
    "probability": Term(
        "Calibrated probability",
        "Of 100 images like those the model was tuned on to which it gives 0.70, it is right in about 70. At another "
        "hospital that need not hold.",
        "The network's scores $z$, divided by one temperature $T$ before the softmax. $T$ is the value that makes the "
        "true classes, smoothed after Platt (1999), most likely, of images that the network had not learned from when "
        "it scored them; it changes how sure the network is, and hardly ever its answer.",
        r"p_k = \frac{\exp(z_k / T)}{\sum_j \exp(z_j / T)}",
        "Guo, Pleiss, Sun, Weinberger (2017): On Calibration of Modern Neural Networks. ICML.",
    ),
    "threshold": Term(
        "Decision threshold",
        "From this probability on the model names the class that it looks for. A low threshold misses fewer of the ill "
        "and frightens more of the healthy.",
        r"The label is the positive class where its probability reaches the threshold $t$, and else the most probable "
        "of the others. The model card tells how $t$ was chosen.",
        r"\hat y = \begin{cases} + & p_+ \ge t \\ \arg\max_{k \ne +} p_k & \text{else} \end{cases}",
        "Youden (1950): Index for rating diagnostic tests. Cancer 3; on choosing a threshold.",
    ),
    "prediction_set": Term(
        "Prediction set",
        "All classes that cannot be ruled out. Two or three names mean that the model does not know, and that is an "
        "honest answer.",
        r"Conformal prediction, class by class: a class is in the set where its probability reaches $q_k$, which all "
        r"but a share $\alpha$ of the images of that class reach that the network had not learned from. The promise "
        "holds for images of the same kind as those, and for no others; where networks of parts of the data scored "
        "them, it is not proven, only tested.",
        r"C(x) = \{k : p_k(x) \ge q_k\}, \qquad P(y \in C(x) \mid y = k) \ge 1 - \alpha",
        "Vovk (2012): Conditional validity of inductive conformal predictors. ACML; Angelopoulos, Bates (2021): A "
        "Gentle Introduction to Conformal Prediction.",
    ),
    "in_distribution": Term(
        "Distance from the training images",
        "How unlike the images that the model learned from this one looks to it: about 1 is usual, and beyond the "
        "limit the model gives no label.",
        r"The squared Mahalanobis distance of the network's embedding $e$ from those of the training images, under "
        r"probabilistic principal component analysis, divided by the number of dimensions $D$. It knows nothing of "
        "anatomy, so that it misses some odd images and flags some good ones.",
        r"d = \tfrac1D (e - \mu)^\top \left(W W^\top + \sigma^2 I\right)^{-1} (e - \mu)",
        "Tipping, Bishop (1999): Probabilistic Principal Component Analysis. JRSS B 61; Lee et al. (2018): A Simple "
        "Unified Framework for Detecting Out-of-Distribution Samples. NeurIPS.",
    ),
    "grad_cam": Term(
        "Grad-CAM",
        "Colour marks what raised the score of a class. It shows where the network looked, not where disease is, and "
        "not that the score is right.",
        r"Each feature map $A^m$ of a late layer is weighed with the gradient of the class's score $z_k$ on it, "
        "averaged over the map's cells; the sum is cut off at zero and scaled to a maximum of 1. A network that "
        "sees a crop to the lungs has its map put back to where the crop was.",
        r"L^k = \mathrm{ReLU}\left(\sum_m \alpha^k_m A^m\right), \qquad "
        r"\alpha^k_m = \frac1{hw} \sum_{i,j} \frac{\partial z_k}{\partial A^m_{ij}}",
        "Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra (2017): Grad-CAM. ICCV.",
    ),
    "accuracy": Term(
        "Accuracy",
        "The share of images that are answered right. Where nearly all are healthy, always answering healthy scores "
        "high.",
        "Right answers by all answers; TP, TN, FP, FN count true and false positives and negatives.",
        r"\frac{TP + TN}{TP + TN + FP + FN}",
        "Wilson (1927): Probable inference, the law of succession, and statistical inference. JASA 22; the interval.",
    ),
    "sensitivity": Term(
        "Sensitivity",
        "Of 100 ill people, how many it finds.",
        "Also recall, or the true positive rate.",
        r"\frac{TP}{TP + FN}",
        "Yerushalmy (1947): Statistical problems in assessing methods of medical diagnosis. Public Health Reports 62.",
    ),
    "specificity": Term(
        "Specificity",
        "Of 100 people without the disease, how many it leaves in peace.",
        "Also the true negative rate; one minus it is the rate of false alarms.",
        r"\frac{TN}{TN + FP}",
        "Yerushalmy (1947): Statistical problems in assessing methods of medical diagnosis. Public Health Reports 62.",
    ),
    "balanced_accuracy": Term(
        "Balanced accuracy",
        "The accuracy if every class were equally common: always giving one answer scores no better than chance.",
        "The mean of the shares of each of the $K$ classes that are answered right.",
        r"\frac1K \sum_{k=1}^K \frac{\text{right}_k}{n_k}",
        "Brodersen, Ong, Stephan, Buhmann (2010): The Balanced Accuracy and Its Posterior Distribution. ICPR.",
    ),
    "auroc": Term(
        "AUROC",
        "Take one ill and one healthy person: how often it gives the ill one the higher score. 0.5 is a coin, 1 is "
        "perfect; no threshold is involved.",
        "The area under the curve of sensitivity against false alarms, over all thresholds; the Mann-Whitney "
        "statistic, scaled.",
        r"P(s_+ > s_-) + \tfrac12 P(s_+ = s_-)",
        "Hanley, McNeil (1982): The meaning and use of the area under a receiver operating characteristic curve. "
        "Radiology 143.",
    ),
    "predictive_values": Term(
        "Predictive values",
        "Of 100 people it calls ill, how many are (PPV); of 100 it calls healthy, how many are (NPV). Both depend on "
        "how common the disease is where you are.",
        r"From sensitivity $Se$, specificity $Sp$ and prevalence $\pi$ by Bayes' rule.",
        r"PPV = \frac{Se\,\pi}{Se\,\pi + (1 - Sp)(1 - \pi)}, \qquad "
        r"NPV = \frac{Sp\,(1 - \pi)}{Sp\,(1 - \pi) + (1 - Se)\,\pi}",
        "Altman, Bland (1994): Diagnostic tests 2: predictive values. BMJ 309.",
    ),
    "likelihood_ratio": Term(
        "Likelihood ratio",
        "By how much a positive answer multiplies the odds of disease. 1 tells nothing; above 10 it tells a lot.",
        "Of a positive answer, and of a negative one; the odds after the test are those before it times the ratio.",
        r"LR_+ = \frac{Se}{1 - Sp}, \qquad LR_- = \frac{1 - Se}{Sp}",
        "Deeks, Altman (2004): Diagnostic tests 4: likelihood ratios. BMJ 329.",
    ),
    "f1": Term(
        "F1",
        "High only where it both finds most of the ill and is mostly right when it says ill. Healthy people who are "
        "called healthy do not count.",
        "The harmonic mean of precision (PPV) and recall (sensitivity).",
        r"\frac{2\,TP}{2\,TP + FP + FN}",
        "van Rijsbergen (1979): Information Retrieval. Butterworths.",
    ),
    "average_precision": Term(
        "Average precision",
        "How often it is right when it says ill (PPV), averaged over finding few to all of the ill. Guessing scores "
        "the share of the ill among the images.",
        "The area under the curve of precision $P$ against recall $R$, as a sum of steps over the thresholds $n$.",
        r"\sum_n (R_n - R_{n-1}) P_n",
        "Davis, Goadrich (2006): The relationship between Precision-Recall and ROC curves. ICML.",
    ),
    "mcc": Term(
        "MCC",
        "How well answers and truth go together, all four kinds of outcome counted: 0 is guessing, 1 is perfect, -1 "
        "is always wrong.",
        "Matthews' correlation coefficient: the correlation of two yes-or-no variables.",
        r"\frac{TP \cdot TN - FP \cdot FN}{\sqrt{(TP + FP)(TP + FN)(TN + FP)(TN + FN)}}",
        "Matthews (1975): Comparison of the predicted and observed secondary structure of T4 phage lysozyme. "
        "Biochimica et Biophysica Acta 405.",
    ),
    "brier": Term(
        "Brier score",
        "How far the probabilities lie from what was true, squared: 0 is perfect, and being surely wrong costs most.",
        r"The mean over $N$ images of the squared distance between the probabilities and the truth $y$ (1 for the true "
        "class, 0 for the others); for two classes, half of it.",
        r"\frac1N \sum_{i=1}^N \sum_{k=1}^K (p_{ik} - y_{ik})^2",
        "Brier (1950): Verification of forecasts expressed in terms of probability. Monthly Weather Review 78.",
    ),
    "ece": Term(
        "Expected calibration error",
        "By how much the model is surer, or less sure, than it has reason to be, on average.",
        r"Images are sorted into bins $B_b$ by the probability of the answer; in each, the gap between that "
        "probability and the share that is right, weighed by the number of images.",
        r"\sum_b \frac{|B_b|}{N} \left|\mathrm{acc}(B_b) - \mathrm{conf}(B_b)\right|",
        "Guo, Pleiss, Sun, Weinberger (2017): On Calibration of Modern Neural Networks. ICML.",
    ),
}
NOTICE = "Research and teaching only. Not for diagnosis."
UNKNOWN_KIND = "No chest X-ray: no answer"
UNKNOWN_KIND_WHY = "Unlike the films that it learned from: no chest X-ray, or one shown in another way."
LEARNED_FROM = "This image was in its training; its answer proves nothing."


def open_classes(prediction: Prediction) -> tuple[str, ...]:
    """The classes between which an answer does not decide, the most probable first; none of an unknown kind of image.

    These are the prediction set and the label, which where two rules disagree is not in it.
    """
    if not prediction.in_distribution:
        return ()
    named = {*(prediction.prediction_set or ()), prediction.label}
    probability = prediction.by_class()
    return tuple(sorted(named, key=lambda name: -probability[name]))


def verdict(prediction: Prediction) -> str:
    """The answer in one line, as the prediction set has it: "Not sure: normal or other pneumonia (45 %, 39 %)"."""
    classes = open_classes(prediction)
    if not classes:
        return UNKNOWN_KIND
    probability = prediction.by_class()
    shares = ", ".join(f"{percent(probability[name])}" for name in classes)
    *others, last = classes
    return f"Not sure: {', '.join(others)} or {last} ({shares})" if others else f"{last} ({shares})"


def decision_sentence(prediction: Prediction) -> str:
    """What the network answered, and by which rule."""
    if not prediction.in_distribution:
        return "The image is unlike those that the network was trained on, so that it is given no label."
    probability = prediction.by_class()
    if prediction.positive is None or prediction.threshold is None:
        return (
            f"{prediction.label} is the most probable of {len(prediction.classes)} classes, "
            f"with a probability of {probability[prediction.label]:.3f}."
        )
    positive = prediction.label == prediction.positive
    sentence = (
        f"The probability of {prediction.positive}, {probability[prediction.positive]:.3f}, "
        f"{'reaches' if positive else 'stays below'} the decision threshold of {prediction.threshold:.3f}"
    )
    most_probable = max(probability, key=lambda name: probability[name])
    if positive and most_probable != prediction.positive:
        sentence += f", though {most_probable} is more probable, with {probability[most_probable]:.3f}"
    elif not positive and len(probability) > 2:
        sentence += (
            f"; of the other classes, {prediction.label} is the most probable, with {probability[prediction.label]:.3f}"
        )
    return f"{sentence}."


def possible_classes(prediction: Prediction) -> str:
    """The prediction set in words, to stand after "could be"; empty where the model has no prediction sets."""
    if not prediction.prediction_set:
        return ""
    *others, last = prediction.prediction_set
    return f"{', '.join(others)} or {last}" if others else f"{last} alone"


def coverage_sentence(prediction: Prediction) -> str:
    """What a prediction set promises, and whether it agrees with the answer; empty where the model has none."""
    if prediction.prediction_set is None or prediction.set_level is None:
        return ""
    if not prediction.in_distribution:
        return "Of such an image the model knows nothing."
    sentence = (
        f"Of 100 images like those the model was tuned on, at least {100 * prediction.set_level:g} have their true "
        "class in such a set; at another hospital it may be fewer."
    )
    if prediction.label not in prediction.prediction_set:
        sentence += f" The answer, {prediction.label}, is not among them: the two rules disagree, so rely on neither."
    return sentence


def likeness_sentence(prediction: Prediction) -> str:
    """Whether the image resembles those that the network was trained on."""
    if prediction.distance_limit >= NO_LIMIT:
        return "Whether the image resembles those that the network was trained on is unknown: it came without them."
    numbers = f"distance {prediction.distance:.1f}, limit {prediction.distance_limit:.1f}"
    if prediction.in_distribution:
        return f"The image resembles the images that the network was trained on ({numbers})."
    return f"The image is unlike those that the network was trained on ({numbers}): its answer means little here."


_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
_ADDRESS = re.compile(r"(?<!`)\b(?:[a-z][a-z0-9+.-]*://|www\.)[^\s`<>]+", re.IGNORECASE)


def strip_links(markdown: str) -> str:
    """Markdown in which no link, picture or HTML is left: of a link its words, of an address the address as code.

    For texts of strangers: a picture in Markdown makes the reader's browser call whom it names.
    """
    while (stripped := _LINK.sub(r"\1", markdown)) != markdown:  # a picture may be the words of a link
        markdown = stripped
    markdown = re.sub(r"(?<!\\)([\[\]<])", r"\\\1", markdown)
    return _ADDRESS.sub(lambda address: f"`{address[0]}`", markdown)


def describe_errors(missed: int, ill: int, alarms: int, healthy: int, who: str = "ill") -> str:
    """How many were missed and how many alarmed in vain: ``missed 9 of 25 ill, no false alarm among 25 healthy``.

    Parameters
    ----------
    missed, ill : of so many ill, those called healthy
    alarms, healthy : of so many healthy, those called ill
    who : what stands for ill, as a class that a model looks for
    """
    parts = []
    if ill:
        parts.append(f"missed {missed or 'none'} of {ill} {who}")
    if healthy:
        named = "healthy" if who == "ill" else "others"
        alarm = f"{alarms} false alarm{'s' if alarms != 1 else ''}" if alarms else "no false alarm"
        parts.append(f"{alarm} among {healthy} {named}")
    return ", ".join(parts)


def describe_report(report: Report) -> tuple[str, str]:
    """A report as a sentence in people, and one with its intervals."""
    confusion, classes = np.asarray(report.confusion, int), report.classes
    healthy = matching_class("normal", classes)
    right, n = int(np.trace(confusion)), int(confusion.sum())
    if healthy is None:
        return f"Right for {right} of {n} images.", _intervals([("right", right, n)])
    h = classes.index(healthy)
    well, ill = int(confusion[h].sum()), n - int(confusion[h].sum())
    missed, alarms = int(confusion[:, h].sum() - confusion[h, h]), well - int(confusion[h, h])
    sentence = describe_errors(missed, ill, alarms, well)
    shares = [("of the ill called ill", ill - missed, ill), ("of the healthy called healthy", well - alarms, well)]
    if len(classes) > 2:
        sentence += f"; the right class for {right} of {n}"
        shares.append(("called the right class", right, n))
    return f"{sentence[0].upper()}{sentence[1:]}.", _intervals(shares)


def _intervals(shares: Sequence[tuple[str, int, int]]) -> str:
    """Shares with Wilson's intervals, in percent."""
    intervals = [(what, wilson(k, n)) for what, k, n in shares if n]
    parts = [
        f"{percent(i.value)} {what} (95 % interval {percent(i.low)} to {percent(i.high)}, n = {i.n})"
        for what, i in intervals
    ]
    return "; ".join(parts) + "." if parts else ""
