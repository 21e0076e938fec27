"""A base that knows something learns with care; scores of soft targets."""

import keras
import numpy as np
import pytest
from keras import layers

from covid_cnn.runs.config import TrainConfig
from covid_cnn.training import data, networks, optimizer
from covid_cnn.training.checkpoint import Checkpoint


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
        targets, logits = [[0.9], [0.4], [0.95], [0.05]], [[2.0], [-1.0], [-1.0], [3.0]]
    else:
        targets, logits = [[0.8, 0.1, 0.1], [0.2, 0.5, 0.3]] * 2, [[2.0, 0, 1], [0, 3, 1], [0, 1, 2], [3, 0, 1]]
    right = optimizer.accuracy(keras.ops.array(targets), keras.ops.array(logits, "float32"))
    assert np.array(right).tolist() == [1, 1, 0, 0]


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


@pytest.mark.parametrize("classes", [2, 3])
def test_smoothing_spreads_a_share_over_all_classes_in_training_alone(classes):
    """The loss is least, the entropy of the smoothed targets, where the network answers just those."""
    model = network(classes)
    optimizer.compile_network(model, learning_rate=0.0, label_smoothing=0.3)
    model.get_layer("logits").kernel.assign(np.zeros(model.get_layer("logits").kernel.shape))
    smoothed = np.array([0.7 + 0.3 / classes, *[0.3 / classes] * (classes - 1)])  # of an image of the first class
    logits = np.log(smoothed[1:] / smoothed[0]) if classes == 2 else np.log(smoothed)
    model.get_layer("logits").bias.assign(logits)
    images, targets = np.zeros((4, 8, 8, 1), np.float32), data.one_hot(np.zeros(4, int), classes)
    loss = model.train_on_batch(images, targets, return_dict=True)["loss"]
    assert loss == pytest.approx(-(smoothed * np.log(smoothed)).sum(), rel=1e-5)
    judged = optimizer.eval_model(model).evaluate(images, targets, verbose=0, return_dict=True)
    assert judged["loss"] == pytest.approx(-np.log(smoothed[0]), rel=1e-5)


def test_a_checkpoint_of_the_version_before_is_read(batch, tmp_path):
    """There the optimiser had another name, and its rate was a variable also where it had a schedule."""

    @keras.saving.register_keras_serializable("covid_cnn", "GentleAdam")
    class GentleAdam(optimizer.DiscriminativeAdam):
        pass

    older, model = network(), network()
    older.compile(GentleAdam(0.01, 0.1), loss="categorical_crossentropy")
    older.train_on_batch(*batch)
    older.save(tmp_path / "epoch-1.keras")
    older.save_weights(tmp_path / "best-1.weights.h5")
    keras.saving.get_custom_objects()["covid_cnn>GentleAdam"] = optimizer.DiscriminativeAdam
    (tmp_path / "state.json").write_text('{"told": {"epoch": 1, "val_loss": 0.5}, "best": [1, 0.5]}')
    chosen = {"learns": "all", "warm_up": 1, "schedule": "cosine"}
    config = TrainConfig.of("data", "efficientnet_lite0", **chosen)
    optimizer.compile_network(model, optimizer.learning_rate(config, 10), 0.1)
    checkpoint = Checkpoint(tmp_path)
    assert (checkpoint.epoch, checkpoint.best_epoch, checkpoint.best_loss) == (1, 1, 0.5)
    checkpoint.restore_last(model)
    assert int(model.optimizer.iterations) == 1
    for mine, theirs in zip(model.get_weights(), older.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    theirs = [variable for variable in older.optimizer.variables if variable.name != "learning_rate"]
    for mine, other in zip(model.optimizer.variables, theirs, strict=True):
        np.testing.assert_array_equal(mine.numpy(), other.numpy())
