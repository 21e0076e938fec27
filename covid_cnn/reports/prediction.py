"""The facts of one prediction, as a dict for JSON.

It never holds the file's name, since hospitals write patients' names into those; digests of the file and of the pixels
tell which image it was, with the frame and the window that were chosen. The module imports nothing slow.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from covid_cnn.reports import card
from covid_cnn.reports.wording import NOTICE, decision_sentence

if TYPE_CHECKING:
    from covid_cnn.images.radiograph import Radiograph
    from covid_cnn.models.bundle import Prediction
    from covid_cnn.models.info import ModelInfo


def pixel_digest(pixels: np.ndarray) -> str:
    """The SHA-256 of an image's pixels, row by row as little-endian float32, in hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(pixels, "<f4").tobytes()).hexdigest()


def summarize_prediction(
    radiograph: Radiograph, prediction: Prediction, model: ModelInfo, software_version: str, time: datetime
) -> dict:
    """The facts of the report, for JSON. Of the image, `sha256` is that of the file, if it was read from one."""
    height, width = radiograph.pixels.shape
    drawn = ("The image was drawn by a program: it is no patient's.",) if radiograph.synthetic else ()
    return {
        "notice": NOTICE,
        "time": time.astimezone(UTC).isoformat(timespec="seconds"),
        "software": f"Covid CNN {software_version}",
        "image": {
            "sha256": radiograph.digest or None,
            "pixels_sha256": pixel_digest(radiograph.pixels),
            "frame": radiograph.frame + 1,
            "frames": radiograph.frames,
            "window": radiograph.window or None,
            "origin": radiograph.origin,
            "width": width,
            "height": height,
            "synthetic": radiograph.synthetic,
            "warnings": [*drawn, *radiograph.warnings],
        },
        "prediction": {
            "label": prediction.label if prediction.in_distribution else None,
            "sentence": decision_sentence(prediction),
            "probabilities": prediction.by_class(),
            "prediction_set": prediction.prediction_set,
            "set_level": prediction.set_level,
            "positive": prediction.positive,
            "threshold": prediction.threshold,
            "in_distribution": prediction.resembles_training,
            "distance": float(prediction.distance),
            "distance_limit": None if prediction.resembles_training is None else float(prediction.distance_limit),
        },
        "model": {
            "name": model.name,
            "trained_on": model.training_data.name,
            "headlines": card.headlines(model),
            "test": msgspec.to_builtins(model.metrics.test),
        },
    }
