"""The learning rate of every step, against the formula of the paper, worked out by hand."""

import pytest

from covid_cnn.training.optimizer import learning_rate


def test_a_constant_rate_is_constant():
    assert {learning_rate(0.1, step, 50) for step in range(50)} == {0.1}


def test_the_cosine_falls_from_the_peak_through_half_of_it_to_almost_nothing():
    rates = [learning_rate(0.2, step, 100, schedule="cosine") for step in range(100)]
    assert rates[0] == 0.2 and rates[50] == pytest.approx(0.1) and 0 < rates[99] < 1e-3 * 0.2
    assert rates[25] == pytest.approx(0.2 * 0.853553, rel=1e-5)  # (1 + cos 45 degrees) / 2
    assert all(later < earlier for earlier, later in zip(rates, rates[1:], strict=False))


def test_a_warm_up_rises_in_equal_steps_to_the_peak():
    assert [learning_rate(1.0, step, 8, warm_up=4) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    rates = [learning_rate(1.0, step, 8, warm_up=4, schedule="cosine") for step in range(8)]
    assert rates[3] == rates[4] == 1.0 and rates[6] == pytest.approx(0.5)


def test_a_run_that_is_all_warm_up():
    assert [learning_rate(1.0, step, 2, warm_up=2, schedule="cosine") for step in range(2)] == [0.5, 1.0]
