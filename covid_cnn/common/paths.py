"""Where the program keeps things: the home folder and data/, runs/, models/ and cache/ in it.

Home is looked up at each call: what COVID_CNN_HOME names, or else the checkout that the package lies in, or else, for
an installed package, ``~/covid_cnn``. An installed package brings the shipped models and the front door along.
"""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
FRONT_DOOR = "streamlit_app.py"
LONGEST_NAME = 255  # bytes of the name of a file or folder, on the usual systems
INSTALLED = PACKAGE / "shipped"  # pyproject.toml puts what lies beside the package in a checkout there


def home() -> Path:
    """The folder that holds data/, runs/ and models/."""
    if named := os.environ.get("COVID_CNN_HOME"):
        return Path(named).expanduser().absolute()
    return Path.home() / "covid_cnn" if INSTALLED.is_dir() else PACKAGE.parent


def front_door() -> Path:
    """The script that Streamlit runs."""
    return (INSTALLED if INSTALLED.is_dir() else PACKAGE.parent) / FRONT_DOOR


def data_dir() -> Path:
    """The folder of the datasets."""
    return home() / "data"


def runs_dir() -> Path:
    """The folder of the training runs."""
    return home() / "runs"


def models_dir() -> Path:
    """The folder of the model bundles that are made here."""
    return home() / "models"


def model_folders() -> list[Path]:
    """All folders of model bundles; of two bundles of one name, that of the earlier folder counts."""
    return [models_dir(), *([INSTALLED / "models"] if INSTALLED.is_dir() else [])]


def cache_dir() -> Path:
    """The folder of the cache: results computed from images, which can be computed again."""
    return home() / "cache"
