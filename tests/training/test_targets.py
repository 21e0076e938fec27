"""The targets of the images: one of the classes each, mixed, and balanced between classes."""

import numpy as np
import pytest

from covid_cnn.training import data

LABELS = np.array([0] * 12 + [1] * 3 + [2] * 5)


def test_two_classes_are_asked_for_by_one_number():
    assert data.one_hot(LABELS, 3).shape == (20, 3) and data.one_hot(LABELS, 3).dtype == np.float32
    np.testing.assert_array_equal(data.one_hot(np.array([1]), 3), [[0, 1, 0]])
    np.testing.assert_array_equal(data.one_hot(np.array([0, 1]), 2), [[0], [1]])


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


def cross_entropy(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return -(targets * np.log(probabilities)).sum(axis=-1)


def test_the_loss_of_a_mixture_is_the_mixture_of_the_losses():
    rng = np.random.default_rng(0)
    labels, weights = LABELS[:15], rng.uniform(0.5, 2, 15).astype(np.float32)
    inputs, targets = rng.random((15, 4), np.float32), data.one_hot(labels, 3)
    mixed, answers, together = data.mixup(inputs, targets, weights, 0.4, np.random.default_rng(7))
    known = np.random.default_rng(7)
    partner, share = known.permutation(15), known.beta(0.4, 0.4)
    np.testing.assert_allclose(mixed, share * inputs + (1 - share) * inputs[partner], rtol=1e-5)
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)
    probabilities = rng.dirichlet(np.ones(3), 15)
    apart = share * weights * cross_entropy(targets, probabilities)
    apart += (1 - share) * weights[partner] * cross_entropy(targets[partner], probabilities)
    np.testing.assert_allclose(together * cross_entropy(answers, probabilities), apart, rtol=1e-4)


@pytest.mark.parametrize("count", [1, 4, 5, 6])
def test_a_batch_is_filled_up_for_several_devices_and_keeps_its_loss(count):
    rng = np.random.default_rng(0)
    batch = rng.random((count, 2)), rng.random((count, 3)), rng.uniform(0.5, 2, count)
    values, _, weights = filled = data.fill_up(*batch, devices=4)
    assert {len(part) for part in filled} == {4 if count <= 4 else 8}
    assert (values * weights[:, None]).mean() == pytest.approx((batch[0] * batch[2][:, None]).mean())
    for part, before in zip(filled[:2], batch, strict=False):
        np.testing.assert_array_equal(part[:count], before)
        assert all(any((row == other).all() for other in before) for row in part[count:])
