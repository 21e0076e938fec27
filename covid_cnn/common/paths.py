"""Where the program keeps things: the home folder and data/, runs/, models/ and cache/ in it.

Home is what COVID_CNN_HOME names, or else the folder that holds the package. It is looked up at each call.
"""

import os
from pathlib import Path


def home() -> Path:
    """The folder that holds data/, runs/ and models/."""
    named = os.environ.get("COVID_CNN_HOME")
    return Path(named).expanduser().absolute() if named else Path(__file__).resolve().parents[2]


def data_dir() -> Path:
    """The folder of the datasets."""
    return home() / "data"


def runs_dir() -> Path:
    """The folder of the training runs."""
    return home() / "runs"


def models_dir() -> Path:
    """The folder of the model bundles."""
    return home() / "models"


def cache_dir() -> Path:
    """The folder of what was worked out of the datasets' images, and can be worked out again."""
    return home() / "cache"
