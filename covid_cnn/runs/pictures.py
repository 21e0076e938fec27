"""The pictures that a run keeps: what it is shown, and where it looks in a few images while it learns.

They are small files in ``pictures/`` of the run: ``augmented.npz``, ``watched.npz`` and one ``epoch-N.npz`` an epoch.
"""

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from covid_cnn.common import storage

PICTURES_FOLDER = "pictures"


@dataclass(frozen=True)
class AttentionPicture:
    """What a network answers to N watched images after an epoch, and where it looks."""

    probabilities: np.ndarray  # float32 ``[N, K]``, before calibration
    heatmaps: np.ndarray  # float32 ``[N, h, w, K]``, 0..1, Grad-CAM of each class


def save_images(run: Path, name: str, images: np.ndarray, labels: list[str]) -> None:
    """Keep images, float32 ``[N, H, W]`` 0..1, and their classes as ``augmented`` or ``watched``."""
    _keep(run, name, {"images": _bytes(images), "labels": np.array(labels)})


def load_images(run: Path, name: str) -> tuple[np.ndarray, list[str]] | None:
    """What ``save_images`` kept: float32 ``[N, H, W]`` 0..1, and the classes; None if it is not there (yet)."""
    kept = _load(run, name)
    return (_floats(kept["images"]), kept["labels"].tolist()) if kept else None


def save_attention(run: Path, epoch: int, picture: AttentionPicture) -> None:
    """Keep where the network looks after an epoch."""
    _keep(run, f"epoch-{epoch}", {"probabilities": picture.probabilities, "heatmaps": _bytes(picture.heatmaps)})


def load_attention(run: Path, epoch: int) -> AttentionPicture | None:
    """Where the network looked after an epoch; None if that was not kept."""
    kept = _load(run, f"epoch-{epoch}")
    return AttentionPicture(kept["probabilities"], _floats(kept["heatmaps"])) if kept else None


def attention_epochs(run: Path) -> list[int]:
    """The epochs whose look was kept, in order."""
    names = (re.fullmatch(r"epoch-(\d+)\.npz", path.name) for path in (run / PICTURES_FOLDER).glob("epoch-*.npz"))
    return sorted(int(name[1]) for name in names if name)


def changed_between(run: Path, name: str) -> int:
    """When something was kept under a name, in nanoseconds since 1970; 0 where nothing was."""
    try:
        return (run / PICTURES_FOLDER / f"{name}.npz").stat().st_mtime_ns
    except OSError:
        return 0


def _keep(run: Path, name: str, arrays: Mapping[str, Any]) -> None:
    (run / PICTURES_FOLDER).mkdir(exist_ok=True)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    storage.write_atomically(run / PICTURES_FOLDER / f"{name}.npz", file.getvalue())


def _load(run: Path, name: str) -> dict[str, np.ndarray] | None:
    try:
        with np.load(run / PICTURES_FOLDER / f"{name}.npz") as kept:
            return dict(kept)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile):
        return None


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(np.asarray(values).clip(0, 1) * 255).astype(np.uint8)


def _floats(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) / 255
