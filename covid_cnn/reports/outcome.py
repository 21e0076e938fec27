"""What came of a test, in people and in a sentence: for those who do not read tables."""

from collections.abc import Sequence

import numpy as np

from covid_cnn.common.statistics import wilson
from covid_cnn.data.classes import matching_class
from covid_cnn.models.info import Report


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
    parts = [f"{i.value:.0%} {what} (95 % interval {i.low:.0%} to {i.high:.0%}, n = {i.n})" for what, i in intervals]
    return "; ".join(parts) + "." if parts else ""
