"""A base that knows something learns with care; scores of soft targets."""

import keras
import numpy as np
import pytest
from keras import layers

from covid_cnn.training import networks, optimizer


def network(classes: int = 3) -> keras.Model:
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(4, 3)(image)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(name="feature_map")(x)
    x = layers.GlobalAveragePooling2D(name="embedding")(x)
    return keras.Model(image, networks.logits_layer(classes)(x))


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return 1 + rng.random((6, 8, 8, 1), np.float32), np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]


def test_the_base_learns_at_its_share_of_the_rate(batch):
    """Adam's first step is as long as its learning rate, whatever the gradient."""
    model = network()
    optimizer.compile_network(model, learning_rate=0.01, base_rate=0.1)
    before = [model.layers[1].kernel.numpy(), model.get_layer("logits").kernel.numpy()]
    model.train_on_batch(*batch)
    base, last = (
        np.abs(now - then)
        for now, then in zip(
            [model.layers[1].kernel.numpy(), model.get_layer("logits").kernel.numpy()], before, strict=True
        )
    )
    assert last.max() == pytest.approx(0.01, rel=0.01)
    assert base.max() == pytest.approx(0.001, rel=0.01)


def test_the_statistics_of_a_pretrained_base_stay_and_others_are_found_in_few_steps(batch):
    for pretrained in (True, False):
        model = network()
        optimizer.prepare_statistics(model, pretrained)
        optimizer.compile_network(model, learning_rate=1e-5)
        before = [weight.numpy() for weight in model.layers[2].weights]
        for _ in range(30):
            model.train_on_batch(*batch)
        unmoved = [np.array_equal(w, b) for w, b in zip(model.layers[2].weights, before, strict=True)]
        assert unmoved == [pretrained] * 4
        if not pretrained:
            truth = model.layers[1](batch[0]).numpy().mean(axis=(0, 1, 2))
            np.testing.assert_allclose(model.layers[2].moving_mean, truth, rtol=0.05)


@pytest.mark.parametrize("classes", [2, 3])
def test_accuracy_asks_for_the_strongest_class_of_a_soft_target(classes):
    if classes == 2:
        wanted, logits = [[0.9], [0.4], [0.95], [0.05]], [[2.0], [-1.0], [-1.0], [3.0]]
    else:
        wanted, logits = [[0.8, 0.1, 0.1], [0.2, 0.5, 0.3]] * 2, [[2.0, 0, 1], [0, 3, 1], [0, 1, 2], [3, 0, 1]]
    told = optimizer.accuracy(keras.ops.array(wanted), keras.ops.array(logits, "float32"))
    assert np.array(told).tolist() == [1, 1, 0, 0]


def test_the_optimizer_survives_in_a_checkpoint(batch, tmp_path):
    model = network()
    optimizer.compile_network(model, learning_rate=0.01, base_rate=0.1)
    model.train_on_batch(*batch)
    model.save(tmp_path / "epoch-1.keras")
    again = keras.models.load_model(tmp_path / "epoch-1.keras")
    assert again.optimizer.base_rate == 0.1
    for one in (model, again):
        one.train_on_batch(*batch)
    for mine, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
