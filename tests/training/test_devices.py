"""Several devices learn as one. Each test has its own process, for TensorFlow counts devices once, at its start."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TWO_DEVICES = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
import conftest, keras, numpy as np, tensorflow as tf
from covid_cnn.models import bundle
from covid_cnn.runs.config import TrainConfig
from covid_cnn.runs.run import create_run
from covid_cnn.training import data, networks, optimizer, trainer
from covid_cnn.training import learner
processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
two = [device.name for device in tf.config.list_logical_devices("CPU")]
"""


def on_two_devices(script: str, *arguments: str) -> None:
    script = TWO_DEVICES.format(root=str(ROOT), tests=str(ROOT / "tests")) + script
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize(("classes", "base_rate"), [(2, 1.0), (3, 0.1)])
def test_two_devices_take_the_steps_of_one(classes, base_rate):
    """With batches that can and cannot be halved, one smaller than the devices, and images that count differently."""
    on_two_devices(
        """
classes, base_rate = int(sys.argv[1]), float(sys.argv[2])

def network():
    keras.utils.set_random_seed(3)
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, networks.logits_layer(classes)(x))
    optimizer.compile_network(model, 0.01, base_rate)
    return model

alone = network()
learner._gpus = lambda: two
strategy = learner.device_strategy(whole=True)
assert strategy.num_replicas_in_sync == 2
assert learner.device_strategy(whole=False).num_replicas_in_sync == 1
with strategy.scope():
    together = network()
class Batches(keras.utils.PyDataset):
    # One batch, filled up for some devices.
    def __init__(self, devices, *batch):
        super().__init__()
        self.batch = data.fill_up(*batch, devices)

    def __len__(self):
        return 1

    def __getitem__(self, index):
        inputs, targets, weights = self.batch
        return inputs, data.as_output(targets), weights

rng = np.random.default_rng(0)
for count in (8, 5, 1, 7, 8):
    inputs = rng.random((count, 8, 8, 1), np.float32)
    targets = np.eye(classes, dtype=np.float32)[rng.integers(0, classes, count)]
    weights = rng.uniform(0.5, 2, count).astype(np.float32)
    one, both = (
        model.fit(Batches(number, inputs, targets, weights), shuffle=False, verbose=0).history
        for number, model in enumerate((alone, together), start=1)
    )
    assert set(one) == set(both) == {"loss", "accuracy"}
    np.testing.assert_allclose(both["loss"], one["loss"], rtol=1e-4)
    for mine, theirs in zip(alone.get_weights(), together.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, mine, atol=2e-5)
wanted = data.as_output(targets)
judged = [optimizer.eval_model(model).evaluate(inputs, wanted, verbose=0) for model in (alone, together)]
np.testing.assert_allclose(judged[1], judged[0], rtol=1e-4)
""",
        str(classes),
        str(base_rate),
    )


def test_a_run_on_two_devices_is_stopped_resumed_and_exported(synthetic_data, home):
    on_two_devices(
        """
learner._gpus = lambda: two
with conftest._tiny_networks():
    def new_run(name):
        run = create_run(TrainConfig.of(sys.argv[1], "tiny_dense", epochs=3, batch_size=5), name)
        run.begin()
        return run

    unbroken = new_run("unbroken")
    trainer.train_run(unbroken)
    assert "on 2 devices" in unbroken.log_tail(99)
    broken = new_run("broken")
    def stop(event):
        if event["type"] == "epoch" and event["epoch"] == 2:
            raise KeyboardInterrupt
    broken.listener = stop
    trainer.train_run(broken)
    assert broken.state() == "stopped", events_of(broken)
    broken.listener = None
    broken.begin()
    trainer.train_run(broken)
    ends = [[event.val_loss for event in run.journal.epochs] for run in (unbroken, broken)]
    assert len(ends[0]) == 3
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-4)
    losses = [[event.loss for event in run.journal.epochs] for run in (unbroken, broken)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    assert bundle.load_bundle("unbroken").info.recipe.epochs_trained == 3
""",
        str(synthetic_data),
    )
