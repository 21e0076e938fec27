"""A run that the version before the folders made still opens, is told truly, and is trained to its end.

``fixtures/older_run`` was stopped after two of four epochs, on the drawn images that are drawn again here. The shipped
``notebook_cnn`` and ``efficientnet_lite0`` are bundles of that version; the tests of bundles load them.
"""

import shutil
from pathlib import Path

import pytest
from conftest import events_of

from covid_cnn.common import paths
from covid_cnn.data import synthetic
from covid_cnn.models.bundle import load_bundle
from covid_cnn.runs.run import Run, open_run

OLDER = Path(__file__).parents[1] / "fixtures" / "older_run"


@pytest.fixture
def older(home) -> Run:
    shutil.copytree(OLDER, paths.runs_dir() / "older")
    paths.data_dir().mkdir(parents=True)
    synthetic.write_dataset(paths.data_dir() / "drawn", counts={"train": 8, "val": 5, "test": 4}, size=96)
    return open_run("older")


def test_an_older_run_is_told_truly(older):
    assert older.state() == "stopped"
    assert older.config.network == "efficientnet_lite0" and older.config.epochs == 4
    assert [event["epoch"] for event in events_of(older) if event["type"] == "epoch"] == [1, 2]


def test_an_older_run_is_trained_to_its_end(older):
    from covid_cnn.training import trainer

    older.begin()
    trainer.train_run(older)
    assert older.state() == "finished"
    assert [event["epoch"] for event in events_of(older) if event["type"] == "epoch"] == [1, 2, 3, 4]
    assert load_bundle("older").info.recipe.epochs_trained == 4
