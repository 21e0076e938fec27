"""What a network is asked to answer: smoothed, mixed, and balanced between classes."""

import numpy as np
import pytest

from covid_cnn.training import data

LABELS = np.array([0] * 12 + [1] * 3 + [2] * 5)


def test_smoothing_spreads_a_share_over_all_classes():
    np.testing.assert_array_equal(data.one_hot_targets(np.array([1]), 3), [[0, 1, 0]])
    np.testing.assert_allclose(data.one_hot_targets(np.array([0, 1]), 2, 0.1), [[0.95, 0.05], [0.05, 0.95]], rtol=1e-6)
    np.testing.assert_allclose(data.one_hot_targets(LABELS, 3, 0.3).sum(axis=1), 1, rtol=1e-6)


def test_two_classes_are_asked_for_by_one_number():
    assert data.as_output(data.one_hot_targets(LABELS, 3)).shape == (20, 3)
    np.testing.assert_array_equal(data.as_output(data.one_hot_targets(np.array([0, 1]), 2)), [[0], [1]])


def test_weights_make_classes_count_the_same():
    weights = data.class_weights(LABELS, 3, "weights")
    assert [weights[label] * (label == LABELS).sum() for label in range(3)] == pytest.approx([20 / 3] * 3)
    for balance in ("none", "sampling"):
        assert data.class_weights(LABELS, 3, balance).tolist() == [1, 1, 1]


def test_without_sampling_every_image_comes_once():
    order = data.epoch_order(LABELS, "none", np.random.default_rng(1))
    assert sorted(order) == list(range(20)) and list(order) != list(range(20))


def test_sampling_shows_classes_equally_often_and_their_images_as_evenly_as_can_be():
    order = data.epoch_order(LABELS, "sampling", np.random.default_rng(1))
    np.testing.assert_array_equal(np.bincount(LABELS[order]), [7, 7, 6])
    shown = np.bincount(order, minlength=20)
    assert shown[:12].max() == 1 and set(shown[12:15]) == {2, 3} and set(shown[15:]) == {1, 2}
    np.testing.assert_array_equal(order, data.epoch_order(LABELS, "sampling", np.random.default_rng(1)))
    assert (order != data.epoch_order(LABELS, "sampling", np.random.default_rng(2))).any()


def cross_entropy(wanted: np.ndarray, told: np.ndarray) -> np.ndarray:
    return -(wanted * np.log(told)).sum(axis=-1)


def test_the_loss_of_a_mixture_is_the_mixture_of_the_losses():
    rng = np.random.default_rng(0)
    labels, weights = LABELS[:15], rng.uniform(0.5, 2, 15).astype(np.float32)
    inputs, wanted = rng.random((15, 4), np.float32), data.one_hot_targets(labels, 3)
    mixed, answers, together = data.mixup(inputs, wanted, weights, 0.4, np.random.default_rng(7))
    known = np.random.default_rng(7)
    partner, share = known.permutation(15), known.beta(0.4, 0.4)
    np.testing.assert_allclose(mixed, share * inputs + (1 - share) * inputs[partner], rtol=1e-5)
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)
    told = rng.dirichlet(np.ones(3), 15)
    apart = share * weights * cross_entropy(wanted, told)
    apart += (1 - share) * weights[partner] * cross_entropy(wanted[partner], told)
    np.testing.assert_allclose(together * cross_entropy(answers, told), apart, rtol=1e-4)
