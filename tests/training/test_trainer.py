"""Training through the real path, with networks that take a second: reproducible, resumable, and clear in failure."""

import contextlib
import errno
import json
import shutil
import time
from pathlib import Path

import keras
import msgspec
import numpy as np
import pytest
import tensorflow as tf
from conftest import events_of
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from threadpoolctl import threadpool_info

from benchmarks import gradient_tape
from covid_cnn.common import paths
from covid_cnn.common.errors import CovidCnnError, RunError
from covid_cnn.data import dataset, synthetic
from covid_cnn.evaluation import predictions
from covid_cnn.images import ops, reader
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import BySplit
from covid_cnn.runs import pictures
from covid_cnn.runs import run as runs_run
from covid_cnn.runs.config import RECIPES, TrainConfig
from covid_cnn.runs.run import Run
from covid_cnn.training import calibrate, callbacks, data, export, learner, networks
from covid_cnn.training import trainer as training_trainer

pytestmark = pytest.mark.usefixtures("home", "tiny_networks")
BOTH = pytest.mark.parametrize("network", ["tiny_pooled", "tiny_dense"])


def new_run(data: Path, network: str = "tiny_dense", name: str = "run", **chosen) -> Run:
    return runs_run.create_run(TrainConfig.of(str(data), network, **chosen), name)


def of_type(run: Run, kind: str) -> list[dict]:
    return [event for event in events_of(run) if event["type"] == kind]


def losses(run: Run) -> dict[int, tuple[float, float]]:
    """The losses of each epoch, the last time that it was trained."""
    return {event["epoch"]: (event["loss"], event["val_loss"]) for event in of_type(run, "epoch")}


def check_tensorboard(run: Run) -> None:
    """TensorBoard shows each step and epoch once, as the events tell it."""
    told = {}
    for part in ("training", "validation"):
        shown = EventAccumulator(str(run.folder / "tensorboard" / part)).Reload()
        told[part] = {tag: [(s.step, s.value) for s in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}
    steps = run.journal.steps()
    for tag, column in (("step/loss", "loss"), ("step/accuracy", "accuracy"), ("learning rate", "learning_rate")):
        assert told["training"][tag] == [
            (n, pytest.approx(v)) for n, v in zip(steps["step"], steps[column], strict=True)
        ]
    for part, prefix in (("training", ""), ("validation", "val_")):
        for name in ("loss", "accuracy"):
            expected = [(e.epoch, pytest.approx(getattr(e, prefix + name))) for e in run.journal.epochs]
            assert told[part][f"epoch/{name}"] == expected


def stop_in(run: Run, epoch: int) -> None:
    """Have the run stopped in the first step of an epoch, as a person does who presses Stop."""

    def listen(event: dict) -> None:
        if event["type"] == "step" and event["epoch"] == epoch:
            run.request_stop()
            for _ in range(200):  # the interrupt comes here
                time.sleep(0.05)
            raise AssertionError("The run was not interrupted.")

    run.listener = listen


def assert_same_state(one: Run, other: Run) -> None:
    """The checkpoints of two runs hold the same weights, and the same state of the optimiser, to the last bit."""
    last = f"epoch-{one.journal.epochs[-1].epoch}.keras"
    mine, theirs = (keras.models.load_model(run.checkpoint / last) for run in (one, other))
    for a, b in zip(
        [*mine.weights, *mine.optimizer.variables], [*theirs.weights, *theirs.optimizer.variables], strict=True
    ):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.fixture
def no_export(monkeypatch):
    """End after the last epoch."""
    monkeypatch.setattr(calibrate, "export_run", lambda *_: None)


@BOTH
def test_a_run_tells_what_happens_and_leaves_a_model(synthetic_data, network):
    run = new_run(synthetic_data, network, epochs=2, batch_size=5)
    heard = []
    run.listener = heard.append
    run.begin()
    training_trainer.train_run(run)
    types = [event["type"] for event in events_of(run) if event["type"] != "progress"]
    progress = {event["what"]: (event["done"], event["total"]) for event in of_type(run, "progress")}
    assert progress.pop("Reading images") == (10, 10)
    assert set(progress.values()) == ({(16, 16), (10, 10)} if RECIPES[network].frozen_base else set())
    assert types == ["started", "read", *["step"] * 4, "epoch", *["step"] * 4, "epoch", "test", "exported"]
    assert [event["step"] for event in of_type(run, "step")] == list(range(1, 9))
    assert all(event["steps"] == 8 and event["loss"] > 0 for event in of_type(run, "step"))
    assert all(0 < event["waited"] < 1 for event in of_type(run, "epoch"))
    assert "It waited for images for " in run.log_tail()
    assert [event for event in heard if event["type"] != "log"] == events_of(run)
    assert run.journal.damaged == 0
    assert of_type(run, "test")[0]["metrics"]["n"] == 8
    info = Bundle(paths.models_dir() / "run").info
    assert info.recipe.epochs_trained == 2
    assert info.training_data.images == BySplit(16, 10, 8)
    assert info.training_data.synthetic
    assert msgspec.to_builtins(info.metrics.test) == of_type(run, "test")[0]["metrics"]
    assert "Exported as models/run." in run.log_tail()


@BOTH
def test_one_seed_gives_one_run_and_another_seed_another(synthetic_data, no_export, network):
    results = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        run = new_run(synthetic_data, network, name, seed=seed, epochs=2)
        training_trainer.train_run(run)
        results.append(losses(run))
    first, again, other = results
    assert again == first
    for epoch in (1, 2):
        assert other[epoch] != pytest.approx(first[epoch], abs=1e-4)


def test_a_large_seed_is_as_good_as_a_small_one(synthetic_data, no_export):
    run = new_run(synthetic_data, seed=2**32 - 1, epochs=1)
    training_trainer.train_run(run)
    assert 1 in losses(run)


@BOTH
def test_a_resumed_run_ends_like_an_unbroken_one(synthetic_data, network):
    unbroken, broken = (new_run(synthetic_data, network, name, epochs=4) for name in ("unbroken", "broken"))
    training_trainer.train_run(unbroken)
    stop_in(broken, epoch=3)
    training_trainer.train_run(broken)
    assert set(losses(broken)) == {1, 2}
    broken.listener = None
    broken.forget_stop()
    broken.begin()
    training_trainer.train_run(broken)
    assert set(losses(broken)) == {1, 2, 3, 4}
    assert losses(broken) == losses(unbroken)
    assert_same_state(broken, unbroken)
    check_tensorboard(broken)
    models = [Bundle(paths.models_dir() / name) for name in ("unbroken", "broken")]
    pixels = synthetic.draw_radiograph(3, opacities=True, size=64)
    answers = [model.predict(pixels).probabilities for model in models]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-3)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_an_epoch_that_was_kept_is_told_whatever_ends_the_process_before_it_was(synthetic_data, monkeypatch, how):
    """The epoch's files are complete, and its event is not written yet."""
    unbroken, broken = (new_run(synthetic_data, name=name, epochs=3) for name in ("unbroken", "broken"))
    training_trainer.train_run(unbroken)
    tell = callbacks.tell_epoch
    with monkeypatch.context() as patch:
        end = SystemExit if how == "killed" else KeyboardInterrupt

        def telling(run, checkpoint, attention):
            if checkpoint.epoch == 2 and not ended:
                ended.append(2)
                raise end
            return tell(run, checkpoint, attention)

        ended: list[int] = []
        patch.setattr(callbacks, "tell_epoch", telling)
        with contextlib.suppress(SystemExit):
            training_trainer.train_run(broken)
    assert ended == [2]
    assert set(losses(broken)) == ({1} if how == "killed" else {1, 2})
    broken.begin()
    training_trainer.train_run(broken)
    assert losses(broken) == losses(unbroken)
    assert pictures.attention_epochs(broken.folder) == [1, 2, 3]
    assert [epoch.best for epoch in broken.journal.epochs] == [epoch.best for epoch in unbroken.journal.epochs]
    check_tensorboard(broken)


def test_stopping_keeps_and_exports_the_best_epoch(synthetic_data):
    run = new_run(synthetic_data, epochs=50)
    stop_in(run, epoch=4)
    training_trainer.train_run(run)
    validation = {epoch: val_loss for epoch, (_, val_loss) in losses(run).items()}
    assert set(validation) == {1, 2, 3}
    best = min(validation, key=lambda epoch: validation[epoch])
    assert [event["message"] for event in of_type(run, "stopped")] == [
        "Stopped in epoch 3; the best epoch so far is kept."
    ]
    assert of_type(run, "exported")[0]["epoch"] == best
    info = Bundle(paths.models_dir() / "run").info
    assert info.recipe.best_epoch == best
    assert info.recipe.epochs_trained == 3


def test_the_exported_weights_are_those_of_the_best_epoch(train, synthetic_data, monkeypatch):
    """With validation losses that rise after the second epoch, the second is what the network holds at the end."""
    weights, evaluate = {}, keras.Model.test_on_batch

    def rising(model, *arguments, **keywords):
        result = evaluate(model, *arguments, **keywords)
        epoch = len(weights) + 1
        weights[epoch] = model.get_layer("logits").get_weights()[0]
        return result | {"loss": abs(epoch - 2) + 1.0}

    monkeypatch.setattr(keras.Model, "test_on_batch", rising)
    done = train(synthetic_data, "tiny_pooled", epochs=4)
    kept = done.network.get_layer("logits").get_weights()[0]
    np.testing.assert_array_equal(kept, weights[2])
    assert not np.array_equal(kept, weights[4])


def test_a_run_stopped_in_its_first_epoch_exports_nothing(synthetic_data):
    run = new_run(synthetic_data, epochs=5)
    stop_in(run, epoch=1)
    training_trainer.train_run(run)
    assert of_type(run, "stopped")[0]["message"] == "Stopped before anything was exported."
    assert bundle.discover_bundles() == ({}, [])


def test_the_checkpoint_does_not_grow(synthetic_data, no_export):
    run = new_run(synthetic_data, epochs=4)
    training_trainer.train_run(run)
    assert len(list(run.checkpoint.iterdir())) <= 6  # of two epochs: its state, its weights, the best
    assert {file.name for file in run.checkpoint.glob("epoch*.json")} == {"epoch-3.json", "epoch-4.json"}


def test_a_damaged_checkpoint_is_told_and_the_run_ends_like_an_unbroken_one(synthetic_data, no_export):
    unbroken, broken = (new_run(synthetic_data, name=name, epochs=3) for name in ("unbroken", "broken"))
    training_trainer.train_run(unbroken)
    stop_in(broken, epoch=3)
    training_trainer.train_run(broken)
    with (broken.checkpoint / "epoch-2.keras").open("r+b") as file:
        file.truncate(999)
    broken.listener = None
    broken.begin()
    training_trainer.train_run(broken)
    assert "epoch-2.json of the checkpoint, or what it names, is damaged: the epoch before" in broken.log_tail(99)
    assert "Going on after epoch 1." in broken.log_tail(99)
    assert [epoch.epoch for epoch in broken.journal.epochs] == [1, 2, 3]
    assert losses(broken) == losses(unbroken)
    assert_same_state(broken, unbroken)


def test_test_images_are_first_looked_at_after_the_last_epoch(synthetic_data, monkeypatch):
    run = new_run(synthetic_data, epochs=2)
    read, looked_at = reader.read, []

    def watched(source, name=""):
        looked_at.append((Path(source), len(losses(run))))
        return read(source, name)

    monkeypatch.setattr(reader, "read", watched)
    training_trainer.train_run(run)
    test = {item.path for item in dataset.open_dataset(synthetic_data).subset("test")}
    assert {path for path, _ in looked_at} > test
    assert {epochs for path, epochs in looked_at if path in test} == {2}


def test_images_are_varied_with_one_thread_of_blas(synthetic_data, no_export, monkeypatch):
    threads, vary = set(), data.augment_batch

    def watched(images, *arguments):
        threads.update(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
        return vary(images, *arguments)

    monkeypatch.setattr(data, "augment_batch", watched)
    training_trainer.train_run(new_run(synthetic_data, epochs=1))
    assert threads == {1}


def test_early_stopping_ends_a_run_whose_validation_loss_no_longer_falls(synthetic_data, no_export, monkeypatch):
    told = iter([3.0, 2.0, 2.5, 2.0, 1.0])
    monkeypatch.setattr(keras.Model, "test_on_batch", lambda *_, **__: {"loss": next(told), "accuracy": 0.5})
    run = new_run(synthetic_data, epochs=20, patience=2)
    training_trainer.train_run(run)
    assert list(losses(run)) == [1, 2, 3, 4]
    assert "for 2 epochs, since epoch 2." in of_type(run, "early")[0]["message"]
    training_trainer.train_run(run)  # as after a crash: it stays where it was
    assert list(losses(run)) == [1, 2, 3, 4]


@BOTH
def test_where_it_looks_is_kept_for_each_epoch_and_is_what_the_model_answers(train, synthetic_data, network):
    done = train(synthetic_data, network, epochs=1)
    assert pictures.attention_epochs(done.run.folder) == [1]
    kept, labels = pictures.load_images(done.run.folder, "watched")
    assert labels == ["NORMAL", "PNEUMONIA"] * 2
    by_class = [[item for item in done.dataset.subset("val") if item.label == label] for label in labels[:2]]
    items = [by_class[0][0], by_class[1][0], by_class[0][1], by_class[1][1]]
    images = np.stack([ops.prepare(reader.read(item.path).pixels, (32, 32)) for item in items])
    np.testing.assert_allclose(kept, images[..., 0], atol=1 / 255)
    look = pictures.load_attention(done.run.folder, 1)
    logits = done.network(images, training=False)
    np.testing.assert_allclose(look.probabilities, export.calibrated_probabilities(logits, 1.0), atol=0.01)
    np.testing.assert_allclose(look.heatmaps, gradient_tape.reference(done.network, images), atol=0.05)
    assert len(pictures.load_images(done.run.folder, "augmented")[0]) == 8


# What goes wrong


def failing(run: Run) -> str:
    """The sentence that a failing run ends with."""
    with pytest.raises(CovidCnnError) as error:
        training_trainer.train_run(run)
    assert of_type(run, "failed")[0]["message"] == str(error.value)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)
    assert events_of(run)[-1]["type"] == "failed"
    models = paths.models_dir()
    assert not models.exists() or not list(models.iterdir())
    return str(error.value)


def test_a_dataset_that_is_not_there(tmp_path):
    assert failing(new_run(tmp_path / "nowhere")).startswith("There is no dataset")


def test_a_dataset_without_images(tmp_path):
    (tmp_path / "empty" / "train" / "NORMAL").mkdir(parents=True)
    assert failing(new_run(tmp_path / "empty")) == "There are no images in empty."


def test_a_dataset_of_one_class(tmp_path, synthetic_data):
    for split in ("train", "test"):
        shutil.copytree(synthetic_data / split / "NORMAL", tmp_path / "healthy" / split / "NORMAL")
    assert failing(new_run(tmp_path / "healthy")) == "healthy needs two classes to train, and has only NORMAL."


def test_a_dataset_whose_images_are_all_unreadable(tmp_path):
    for label in ("NORMAL", "PNEUMONIA"):
        for n in range(6):
            path = tmp_path / "broken" / label / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"no image")
    assert "too few readable images" in failing(new_run(tmp_path / "broken"))


def test_test_images_that_vanish_while_it_learns_are_asked_back(synthetic_data, tmp_path):
    data = shutil.copytree(synthetic_data, tmp_path / "vanishing")
    run = new_run(data, epochs=2)

    def listen(event: dict) -> None:
        if event["type"] == "epoch" and (data / "test").exists():
            (data / "test").rename(tmp_path / "elsewhere")

    run.listener = listen
    with pytest.raises(CovidCnnError, match="is gone: bring vanishing back, and resume the run"):
        training_trainer.train_run(run)
    assert bundle.discover_bundles() == ({}, [])
    (tmp_path / "elsewhere").rename(data / "test")
    run.begin()
    training_trainer.train_run(run)
    assert run.state() == "finished" and set(losses(run)) == {1, 2}


@pytest.mark.parametrize("learns", ["scratch", "all"])
def test_a_network_that_learns_in_half_precision_is_exported_whole(train, synthetic_data, monkeypatch, learns):
    """Wherever it learns: a processor without bfloat16 computes it too, more slowly."""
    monkeypatch.setattr(learner, "mixed_precision", lambda whole: "mixed_bfloat16" if whole else "float32")
    done = train(synthetic_data, {"scratch": "tiny_dense", "all": "tiny_pooled"}[learns], learns=learns, epochs=3)
    assert keras.config.dtype_policy().name == "float32"
    assert done.network.get_layer("feature_map").compute_dtype == "float32"
    assert all(weight.dtype == "float32" for weight in done.network.weights)
    saved = keras.models.load_model(done.run.checkpoint / "epoch-3.keras")
    assert saved.get_layer("feature_map").compute_dtype == "bfloat16"
    assert all(weight.dtype == "float32" for weight in saved.weights)
    pixels = synthetic.draw_radiograph(3, opacities=True, size=64)
    exported = Bundle(done.bundle).predict(pixels)
    image = ops.prepare(pixels, (32, 32))[None]
    temperature = Bundle(done.bundle).info.temperature
    expected = export.calibrated_probabilities(done.network(image), temperature).numpy()[0]
    np.testing.assert_allclose(exported.probabilities, expected, atol=1e-4)
    look = pictures.load_attention(done.run.folder, 3)
    assert look is not None and np.isfinite(look.heatmaps).all()


def test_what_is_left_out_is_told_in_log_and_bundle(tmp_path, synthetic_data):
    data = Path(shutil.copytree(synthetic_data, tmp_path / "drawn"))
    shutil.copy(next((data / "test" / "NORMAL").iterdir()), data / "test" / "loose.png")
    for split in ("train", "test"):
        next((data / split / "NORMAL").iterdir()).write_bytes(b"no image")
    run = new_run(data, epochs=1)
    training_trainer.train_run(run)
    info = Bundle(paths.models_dir() / "run").info
    assert info.training_data.images.train == 15
    assert [note for note in info.training_data.notes if note.startswith("Left out: synthetic_normal_")]
    assert [note for note in info.training_data.notes if "in no folder of a class" in note]
    assert "in no folder of a class" in run.log_tail(99)
    assert info.metrics.test.n == 7
    assert info.metrics.test.notes == ["1 images could not be read, and were left out."]


def test_a_learning_rate_at_which_the_loss_diverges(synthetic_data, monkeypatch):
    def diverging(classes: int, pretrained: bool = True) -> keras.Model:
        """Logits beyond any float once the weights of the last layer move."""
        image = keras.Input((32, 32, 1))
        x = keras.layers.Conv2D(4, 3, activation="relu", name="feature_map")(image)
        x = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
        x = keras.layers.Rescaling(3e38)(x)
        return keras.Model(image, keras.layers.Dense(1, kernel_initializer="zeros", name="logits")(x))

    monkeypatch.setitem(networks.ARCHITECTURES, "tiny_dense", diverging)
    message = failing(new_run(synthetic_data, learning_rate=9.9))
    assert message == "The loss is no longer a number: train again at a lower learning rate."


def test_a_validation_loss_that_diverges(synthetic_data, monkeypatch):
    monkeypatch.setattr(keras.Model, "test_on_batch", lambda *_, **__: {"loss": float("nan"), "accuracy": 0.5})
    assert failing(new_run(synthetic_data)).startswith("The loss is no longer a number")


@pytest.mark.parametrize("first", [1, 2])
def test_too_little_memory(synthetic_data, monkeypatch, first):
    """For the first batches, which are made in the main thread, or for later ones, which are made in another."""
    augment_batch = data.augment_batch

    def raise_memory_error(images, indices, augmentation, seed, epoch, others):
        if epoch >= first:
            raise MemoryError
        return augment_batch(images, indices, augmentation, seed, epoch, others)

    monkeypatch.setattr(data, "augment_batch", raise_memory_error)
    assert "too little memory" in failing(new_run(synthetic_data))


@pytest.mark.parametrize(
    "place", [(export, "convert_graph"), (predictions, "predict_known")], ids=["conversion", "test"]
)
def test_a_failing_export_leaves_no_half_written_model(synthetic_data, monkeypatch, place):
    def fail(*_, **__):
        raise LookupError("no such op")

    monkeypatch.setattr(*place, fail)
    run = new_run(synthetic_data, epochs=1)
    assert failing(run) == "Training failed (LookupError): the log of the run says more."
    assert "no such op" in run.log_tail()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("Can't write data (file write failed: errno = 28, error message = 'No space left on device')"),
        tf.errors.ResourceExhaustedError(None, None, "model.pb; No space left on device"),
    ],
    ids=["Python", "HDF5", "TensorFlow"],
)
def test_a_full_disk_leaves_the_last_whole_epoch_to_resume_from(synthetic_data, monkeypatch, error):
    run = new_run(synthetic_data, epochs=2)
    save = keras.Model.save

    def fill(model, file, *arguments, **options):
        save(model, file, *arguments, **options)
        if "epoch-2" in str(file):
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save", fill)
        assert failing(run) == "The disk is full: free some space, and resume the run."
    assert not list(run.checkpoint.glob("epoch-2*"))
    training_trainer.train_run(run)
    assert set(losses(run)) == {1, 2} and of_type(run, "exported")


def test_a_disk_too_full_for_the_last_word_is_told_on_the_terminal(synthetic_data, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    run = new_run(synthetic_data)
    monkeypatch.setattr(Run, "append", fail)
    with pytest.raises(RunError, match="The disk is full"):
        training_trainer.train_run(run)


def test_a_dataset_that_vanishes_while_it_is_read(synthetic_data, tmp_path, monkeypatch):
    data = Path(shutil.copytree(synthetic_data, tmp_path / "fleeting"))
    read = reader.read

    def vanishing(source, name=""):
        image = read(source, name)
        shutil.rmtree(data, ignore_errors=True)
        return image

    monkeypatch.setattr(reader, "read", vanishing)
    assert "is gone: bring fleeting back, and resume the run." in failing(new_run(data))


# Learning on embeddings


def test_balanced_classes_weigh_the_same_whatever_their_number(synthetic_data, tmp_path, no_export, monkeypatch):
    uneven = Path(shutil.copytree(synthetic_data, tmp_path / "uneven"))
    for path in sorted((uneven / "train" / "NORMAL").iterdir())[:6]:
        path.unlink()
    weights = []
    fit = keras.Model.fit

    def listen(model, batches, **options):
        for _, targets, sample_weights in batches:
            weights.extend(zip(targets[:, 0].tolist(), sample_weights.tolist(), strict=True))
        return fit(model, batches, **options)

    monkeypatch.setattr(keras.Model, "fit", listen)
    for balance in ("none", "weights"):
        weights.clear()
        training_trainer.train_run(new_run(uneven, "tiny_pooled", name=balance, balance=balance, epochs=1))
        total = [sum(weight for label, weight in weights if label == index) for index in (0, 1)]
        assert total == pytest.approx([5, 5] if balance == "weights" else [2, 8])


def test_a_run_whose_settings_are_damaged_says_so(synthetic_data):
    run = new_run(synthetic_data)
    settings = run.folder / "config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"network": "resnet999"}))
    with pytest.raises(RunError):
        training_trainer.train_run(run)
    assert "resnet999" in of_type(run, "failed")[0]["message"]


# Whatever learns, and however


EVERY_SETTING = {"schedule": "cosine", "warm_up": 1, "mixup": 0.4, "label_smoothing": 0.1, "balance": "sampling"}


@pytest.fixture(scope="session")
def three_classes(tmp_path_factory, synthetic_data) -> Path:
    """The drawn radiographs, with a third class: inverted ones of both others."""
    data = Path(shutil.copytree(synthetic_data, tmp_path_factory.mktemp("data") / "three"))
    for split in ("train", "val", "test"):
        (data / split / "INVERTED").mkdir()
        for path in sorted((data / split).glob("*/*.png"))[::2]:
            inverted = 255 - np.asarray(Image.open(path))
            Image.fromarray(inverted).save(data / split / "INVERTED" / f"inverted_{path.name}")
    return data


def test_a_fine_tuned_run_of_three_classes_resumes_with_every_setting(three_classes, monkeypatch):
    """Stopped in its last epoch, it ends like an unbroken one, at the rates of its schedule."""
    export_run = calibrate.export_run
    monkeypatch.setattr(calibrate, "export_run", lambda run, *rest: run.name == "broken" and export_run(run, *rest))
    results = []
    for name in ("unbroken", "broken"):
        run = new_run(three_classes, "tiny_pooled", name, learns="all", epochs=3, patience=3, **EVERY_SETTING)
        if name == "broken":
            stop_in(run, epoch=3)
            training_trainer.train_run(run)
            assert set(losses(run)) == {1, 2}
            run.listener = None
            run.forget_stop()
        training_trainer.train_run(run)
        results.append(run)
    unbroken, broken = results
    assert losses(broken) == losses(unbroken)
    assert_same_state(broken, unbroken)
    steps = {event["step"]: event for event in of_type(broken, "step")}
    an_epoch = len(steps) // 3
    rates = [steps[step]["learning_rate"] for step in sorted(steps)]
    assert rates[:an_epoch] == pytest.approx([1e-3 * step / an_epoch for step in range(1, an_epoch + 1)])
    fallen = (an_epoch + 1) / (2 * an_epoch + 1)  # the cosine begins in the last step of the warm-up
    assert rates[2 * an_epoch] == pytest.approx(0.5e-3 * (1 + np.cos(np.pi * fallen))) and rates[-1] < rates[-2]
    assert len(pictures.attention_epochs(broken.folder)) == 3
    model = Bundle(paths.models_dir() / "broken")
    assert model.info.recipe.learns == "all" and model.info.recipe.epochs_trained == 3
    assert model.predict(synthetic.draw_radiograph(1, opacities=True, size=64)).heatmaps.shape[-1] == 3


def test_what_learns_is_what_changes(synthetic_data, no_export, monkeypatch):
    changed, build = {}, networks.build_network

    def remember(*arguments) -> keras.Model:
        built.append(build(*arguments))
        if len(built) == 1:  # the one that learns; another may be exported
            before.extend(built[-1].get_weights())
        return built[-1]

    monkeypatch.setattr(networks, "build_network", remember)
    for learns in ("last", "all"):
        built, before = [], []
        training_trainer.train_run(new_run(synthetic_data, "tiny_pooled", learns, learns=learns, epochs=1))
        now = built[0].get_weights()
        changed[learns] = [not np.array_equal(w, b) for w, b in zip(now, before, strict=True)]
    assert changed == {"last": [False] * 4 + [True] * 2, "all": [True] * 6}
