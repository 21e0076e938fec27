"""The learning rate of every step, against the formula of the paper, worked out by hand."""

import keras
import numpy as np
import pytest

from covid_cnn.runs.config import TrainConfig
from covid_cnn.training.optimizer import learning_rate


def rates(peak: float, epochs: int, steps: int, **chosen) -> list[float]:
    """Those of a run of so many epochs of so many steps."""
    config = TrainConfig.of("data", "notebook_cnn", epochs=epochs, learning_rate=peak, **chosen)
    optimizer = keras.optimizers.Adam(learning_rate(config, steps))
    found = []
    for step in range(epochs * steps):
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate))
    return found


def test_a_constant_rate_is_constant():
    assert set(rates(0.1, 5, 10)) == {np.float32(0.1)}


def test_the_cosine_falls_from_the_peak_through_half_of_it_to_almost_nothing():
    found = rates(0.2, 10, 10, schedule="cosine")
    assert found[0] == np.float32(0.2) and found[50] == pytest.approx(0.1) and 0 < found[99] < 1e-3 * 0.2
    assert found[25] == pytest.approx(0.2 * 0.853553, rel=1e-5)  # (1 + cos 45 degrees) / 2
    assert all(later < earlier for earlier, later in zip(found, found[1:], strict=False))


def test_a_warm_up_rises_in_equal_steps_to_the_peak():
    assert rates(1.0, 2, 4, warm_up=1)[:6] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    found = rates(1.0, 2, 4, warm_up=1, schedule="cosine")
    assert found[:4] == [0.25, 0.5, 0.75, 1.0]
    # It falls from the last step of the warm-up on: (1 + cos 36 degrees) / 2, and 108 degrees.
    assert found[4] == pytest.approx(0.904508, abs=1e-5) and found[6] == pytest.approx(0.345492, abs=1e-5)


def test_a_warm_up_of_one_step_is_none():
    assert rates(1.0, 4, 1, warm_up=1, schedule="cosine") == rates(1.0, 4, 1, schedule="cosine")


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_run_that_is_all_warm_up(schedule):
    assert rates(1.0, 1, 2, warm_up=1, schedule=schedule) == [0.5, 1.0]
