"""The checkpoint of a run: what a failing disk has damaged is known, and the epoch before is taken."""

from pathlib import Path

import keras
import numpy as np
import pytest

from covid_cnn.common.errors import RunError
from covid_cnn.training.checkpoint import Checkpoint


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.fixture
def model() -> keras.Model:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(), loss="mse")
    return model


@pytest.fixture
def kept(model, tmp_path) -> list[np.ndarray]:
    """Three epochs were kept, each the best so far; the weights of the second."""
    checkpoint, kernels = Checkpoint(tmp_path), []
    for epoch in (1, 2, 3):
        model.train_on_batch(np.ones((4, 2)), np.zeros((4, 1)))
        kernels.append(model.get_weights())
        checkpoint.save(model, {"epoch": epoch, "val_loss": 1 / epoch})
    return kernels[1]


def test_two_epochs_are_kept_and_the_last_is_taken(kept, tmp_path):
    assert {file.name for file in tmp_path.glob("*.json")} == {"epoch-2.json", "epoch-3.json"}
    assert len(list(tmp_path.iterdir())) == 6
    checkpoint = Checkpoint(tmp_path)
    assert (checkpoint.epoch, checkpoint.best_epoch, checkpoint.best_loss) == (3, 3, 1 / 3)
    assert checkpoint.event == {"epoch": 3, "val_loss": 1 / 3} and not checkpoint.damaged


DAMAGES = [
    flip,
    Path.unlink,
    lambda file: file.write_bytes(b""),
    lambda file: file.write_bytes(file.read_bytes()[:-9]),
    lambda file: file.write_text("[" * 10**5),
    lambda file: file.write_text('{"told": {}, "best": [3, 0.1]}'),
]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((name, damage) for name in ("epoch-3.keras", "epoch-3.json", "best-3.weights.h5") for damage in DAMAGES),
        ("epoch-3.json", lambda file: file.write_bytes(file.read_bytes().replace(b"0.33", b"0.34"))),  # sound JSON
    ],
)
def test_a_damaged_epoch_falls_back_to_the_one_before_it(kept, model, tmp_path, name, damage):
    damage(tmp_path / name)
    checkpoint = Checkpoint(tmp_path)
    assert (checkpoint.epoch, checkpoint.best_epoch) == (2, 2)
    assert checkpoint.damaged == ([] if (damage, name) == (Path.unlink, "epoch-3.json") else ["epoch-3.json"])
    for restore in (checkpoint.restore_last, checkpoint.restore_best):
        model.set_weights([np.zeros_like(weight) for weight in kept])
        restore(model)
        for mine, theirs in zip(model.get_weights(), kept, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    checkpoint.save(model, {"epoch": 3, "val_loss": 0.1})
    assert Checkpoint(tmp_path).epoch == 3


def test_a_checkpoint_of_which_nothing_is_whole_is_a_sentence(kept, tmp_path):
    for file in tmp_path.glob("*.json"):
        file.write_text("{")
    with pytest.raises(RunError, match=r"^The checkpoint of run .* is damaged: start the training anew\.$"):
        Checkpoint(tmp_path)
