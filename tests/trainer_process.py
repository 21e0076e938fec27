"""What the process of a trainer does that a test kills; of its own name, by which another process finds it."""

import os
from pathlib import Path

from conftest import _tiny_networks

from covid_cnn.runs.run import open_run


def train(home: Path, name: str) -> None:
    """Train a run with a network that takes a second."""
    from covid_cnn.training import trainer

    os.environ["COVID_CNN_HOME"] = str(home)
    with _tiny_networks():
        run = open_run(name)
        run.begin()
        trainer.train_run(run)
