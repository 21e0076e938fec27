"""What the ``model.json`` of a bundle must hold, so that all that is read of it later is there and of its kind.

A bundle may come from anywhere, and a page that lists all models must not fall over one. So everything that pages,
cards and reports read is checked here, once, when a bundle is loaded. What nothing reads may be anything.
"""

from typing import Any

# A shape tells what a value must be. It is a predicate, or of other shapes: a dict by its keys, of which those with "?"
# may be left out; [shape], a list of such; {str: shape}, a dict of such by any names; a tuple, one of several.
Shape = Any
LARGEST = 10**15  # beyond all that is counted or measured here; Python's larger integers do not fit into a float
DEEPEST = 20  # levels of lists and dicts: what follows them by recursion stays far from Python's limit


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def _share(value: Any) -> bool:
    return _number(value) and 0 <= value <= 1


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _count(value: Any) -> bool:
    return isinstance(value, int) and _number(value) and value >= 0


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _nothing(value: Any) -> bool:
    return value is None


def _interval(value: Any) -> bool:
    """Whether these are the fields of an `statistics.Interval`, its value within its bounds, or both of these null."""
    numbers = isinstance(value, dict) and value.keys() == {"value", "low", "high", "n"} and _count(value["n"])
    if numbers and value["low"] is None and value["high"] is None:
        return _number(value["value"])
    numbers = numbers and all(isinstance(value[key], (int, float)) for key in value)
    return numbers and -LARGEST < value["low"] <= value["value"] <= value["high"] < LARGEST


DEFINED = (_interval, _nothing)  # a metric may have no value, as a sensitivity without positives
OF_SPLITS = {"train": _count, "val": _count, "test": _count}
REPORT: Shape = {
    "n": _count,
    "n_patients": _count,
    "classes": [_text],
    "positive": (_text, _nothing),
    "confusion": [[_count]],
    "accuracy": _interval,
    "out_of_distribution": _interval,
    "notes": [_text],
    "patients_by_class?": {str: _count},
    "by_patient?": {str: _interval},
    **dict.fromkeys(("balanced_accuracy", "brier", "ece"), DEFINED),
    **dict.fromkeys(("sensitivity?", "specificity?", "ppv?", "npv?", "f1?", "auroc?", "auroc_positive?"), DEFINED),
    **dict.fromkeys(("mcc?", "average_precision?", "lr_positive?", "lr_negative?"), DEFINED),
    **dict.fromkeys(("sensitivity_by_class?", "auroc_by_class?"), {str: DEFINED}),
    "prediction_sets?": {
        "level": _share,
        "coverage_by_class": [DEFINED],
        **dict.fromkeys(("coverage", "mean_size", "single"), DEFINED),
    },
}
OF_TWO = ("sensitivity", "specificity", "ppv", "npv", "f1")  # a report that looks for one class has these
CALIBRATION: Shape = {
    "ece": _interval,
    "reliability": [{"confidence": _share, "accuracy": _interval, "n": _count}],
}
INFO: Shape = {
    "name": _text,
    "network": _text,
    "classes": [_text],
    "input_size": [_count],
    "temperature": _positive,
    "decision": {"positive": (_text, _nothing), "threshold": (_number, _nothing), "chosen": _text},
    "in_distribution": {
        **dict.fromkeys(("method", "limit_chosen", "mean", "components", "variances"), _text),
        "noise_variance": _positive,
        "limit": _number,
    },
    "training_data": {
        "name": _text,
        "synthetic": _flag,
        "fingerprint": _text,
        "images": OF_SPLITS,
        "patients": OF_SPLITS,
        "notes": [_text],
    },
    "recipe": {
        **dict.fromkeys(("data", "network", "augmentation"), _text),
        **dict.fromkeys(("epochs", "batch_size", "seed", "epochs_trained", "best_epoch"), _count),
        "learning_rate": _number,
        # Of a model that the command line does not train: what makes it again, and how the weights were found.
        "command?": _text,
        "how?": _text,
    },
    "metrics": {"val?": REPORT, "test?": REPORT, "other?": {str: REPORT | {"dataset": _text}}},
    "sha256": _text,
    # Its prediction sets (`calibration.conformal_thresholds`), the calibration of its card, evidence, further sections
    # of the card (see `reports.card`), and the fingerprint of its training images (see `evaluation.leakage`).
    "training_images?": ({"images": _count, "sha256": _text}, _nothing),
    "prediction_sets?": ({"method": _text, "level": _share, "thresholds": [_number], "chosen": _text}, _nothing),
    "calibration?": (
        {
            "temperature": _positive,
            "n": _count,
            "split": lambda value: value in ("val", "test"),
            "before": CALIBRATION,
            "after": CALIBRATION,
        },
        _nothing,
    ),
    "evidence?": (
        [
            {
                "title": _text,
                "headline?": _text,
                "text?": _text,
                "table?": {"columns": [(_text, _number)], "rows": [[(_text, _number, _nothing)]]},
            }
        ],
        _nothing,
    ),
}


def find_flaw(info: dict[str, Any]) -> str:
    """Where ``info``, the content of a ``model.json``, is not what is read of it, such as "metrics.test.n"; or ""."""
    return _flaw(info, INFO, "") or next((place for place, report in _reports(info) if not _agrees(report)), "")


def is_too_deep(value: Any) -> bool:
    """Whether lists and dicts lie within each other more than `DEEPEST` times."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


def _flaw(value: Any, shape: Shape, place: str) -> str:  # noqa: PLR0911
    """The place of the first value that has another shape, ``place`` being where this one is; or ""."""
    if isinstance(shape, tuple):
        flaws = [_flaw(value, one, place) for one in shape]
        return "" if "" in flaws else max(flaws, key=len)  # the longest: of the shape that it comes closest to
    if isinstance(shape, list):
        if not isinstance(value, list):
            return place
        return _first(_flaw(one, shape[0], place) for one in value)
    if not isinstance(shape, dict):
        return "" if shape(value) else place
    if not isinstance(value, dict):
        return place
    if str in shape:
        return _first(_flaw(one, shape[str], _below(place, key)) for key, one in value.items())
    known = {key.removesuffix("?"): (key.endswith("?"), one) for key, one in shape.items()}
    missing = [key for key, (optional, _) in known.items() if key not in value and not optional]
    if missing:
        return _below(place, missing[0])
    return _first(_flaw(value[key], one, _below(place, key)) for key, (_, one) in known.items() if key in value)


def _first(flaws: Any) -> str:
    return next(filter(None, flaws), "")


def _below(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _reports(info: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    own = [(f"metrics.{split}", info["metrics"][split]) for split in ("val", "test") if split in info["metrics"]]
    return own + [(f"metrics.other.{name}", report) for name, report in info["metrics"].get("other", {}).items()]


def _agrees(report: dict[str, Any]) -> bool:
    """Whether a report has a row, a column and every figure for each of its own classes."""
    classes, positive = report["classes"], report["positive"]
    sizes = {len(report["confusion"]), *map(len, report["confusion"])}
    if sizes != {len(classes)} or len(set(classes)) != len(classes):
        return False
    if not report.get("patients_by_class", {}).keys() <= set(classes):
        return False
    if positive is not None:
        one = "auroc" if len(classes) == 2 else "auroc_positive"
        if positive not in classes or any(key not in report for key in (*OF_TWO, one)):
            return False
    others = {name for name in classes if name != positive}
    if "auroc_by_class" in report and not (
        "auroc" in report and others <= report["auroc_by_class"].keys() & report.get("sensitivity_by_class", {}).keys()
    ):
        return False
    sets = report.get("prediction_sets")
    return not sets or len(sets["coverage_by_class"]) == len(classes)
