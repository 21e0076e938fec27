"""A trainer killed at random moments: its state is true, no half-written model is there, and the run goes on."""

import multiprocessing
import random
import sys
import time
from types import ModuleType

import pytest
import trainer_process
from conftest import TINY

from covid_cnn.common import paths
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.runs import run as runs_run
from covid_cnn.runs.config import RECIPES, TrainConfig
from covid_cnn.runs.run import Run

KILLS = 20
EPOCHS = 6


@pytest.fixture(scope="module")
def trainers():
    """Processes that have loaded TensorFlow: all are forked from one that has."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["covid_cnn.training.trainer"])
    return context


def losses(run: Run) -> list[tuple[float, float]]:
    return [(epoch.loss, epoch.val_loss) for epoch in run.journal.epochs]


@pytest.mark.timeout(600)
def test_a_trainer_killed_at_any_moment_is_never_lost(trainers, synthetic_data, home, monkeypatch):
    monkeypatch.setitem(RECIPES, "tiny_dense", TINY["tiny_dense"])

    # A page test in this process may have left its script as the main module, which a new process would run again.
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))

    def begin(run: Run):
        process = trainers.Process(target=trainer_process.train, args=(home, run.name))
        process.start()
        return process

    def new(name: str) -> Run:
        config = TrainConfig.of(str(synthetic_data), "tiny_dense", epochs=EPOCHS, batch_size=8)
        run = runs_run.create_run(config, name)
        run.leave()
        return run

    def finish(run: Run) -> None:
        process = begin(run)
        process.join(120)
        assert process.exitcode == 0, run.log_tail()
        assert run.state() == "finished"
        assert Bundle(paths.models_dir() / run.name).info.recipe.epochs_trained == EPOCHS

    unbroken = new("unbroken")
    finish(unbroken)
    took = unbroken.journal.marks[-1].time - unbroken.journal.marks[0].time
    moments = random.Random(0)
    run, killed, moments_of_run = new("0"), [], 0
    for kill in range(KILLS):
        before = len(losses(run))
        process = begin(run)
        while not run.journal.marks or run.state() == "died":
            time.sleep(0.01)
        time.sleep(moments.uniform(0, took))
        process.kill()
        process.join()
        moments_of_run += 1
        assert run.state() in ("died", "finished"), kill
        found, problems = bundle.discover_bundles()
        assert not problems
        assert len(losses(run)) >= before
        if run.state() == "finished" or moments_of_run == 5:
            if run.state() == "died":
                finish(run)
            killed.append(run)
            run, moments_of_run = new(f"after-{kill}"), 0
    if run.state() == "died":
        finish(run)
        killed.append(run)
    for run in killed:
        assert losses(run) == losses(unbroken)
    assert not list(paths.models_dir().glob(".*"))
