"""Shared fixtures. A test that needs the real data or a browser is skipped where there is none, except
with COVID_CNN_NO_SKIPS set (as CI does): there a skip is a failure, so that nothing goes untested unseen."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from covid_cnn.data import synthetic
from covid_cnn.data.dataset import Dataset
from covid_cnn.models import bundle
from covid_cnn.runs.config import RECIPES, Recipe
from covid_cnn.runs.run import Run

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real datasets, named by COVID_CNN_REAL_DATA."""
    folder = os.environ.get("COVID_CNN_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("COVID_CNN_REAL_DATA names no folder with the real datasets")
    return Path(folder)


@pytest.fixture(scope="session")
def shipped_models() -> list[Path]:
    """The folders of the two models that know the notebook's images alone."""
    models = Path(__file__).parents[1] / "models"
    return [models / "efficientnet_lite0", models / "notebook_cnn"]


@pytest.fixture(scope="session")
def default_model() -> Path:
    """The folder of the default model."""
    return Path(__file__).parents[1] / "models" / bundle.DEFAULT_MODEL


# Training. TensorFlow is imported where it is needed, so that the other tests start at once.

# Networks that train in a second: one for each kind of head that Grad-CAM knows, and of training there is.
TINY = {
    "tiny_pooled": Recipe(
        "Tiny, pooled",
        (32, 32),
        True,
        epochs=4,
        batch_size=4,
        learning_rate=0.05,
        augmentation="radiograph",
        views=2,
    ),
    "tiny_dense": Recipe(
        "Tiny, dense", (32, 32), False, epochs=4, batch_size=4, learning_rate=0.003, augmentation="notebook"
    ),
}


class Trained(NamedTuple):
    """A run that has trained and exported, and the Keras network that it exported."""

    home: Path
    dataset: Dataset
    run: Run
    network: Any

    @property
    def bundle(self) -> Path:
        return self.home / "models" / self.run.name


@pytest.fixture(scope="session")
def synthetic_data(tmp_path_factory) -> Path:
    """A small dataset of drawn radiographs: of each class 8 to train, 5 to validate and 4 to test, 96 px."""
    counts = {"train": 8, "val": 5, "test": 4}
    return synthetic.write_dataset(tmp_path_factory.mktemp("data") / "drawn", counts=counts, size=96)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty home folder."""
    monkeypatch.setenv("COVID_CNN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@contextmanager
def _tiny_networks() -> Iterator[None]:
    import keras
    from keras import layers

    from covid_cnn.training import networks

    def tiny_pooled(classes: int, pretrained: bool = True) -> keras.Model:
        image = keras.Input((32, 32, 1), name="image")
        x = layers.Conv2D(6, 3, strides=2, activation="relu")(image)
        x = layers.Conv2D(12, 3, activation="relu", name="feature_map")(x)
        x = layers.GlobalAveragePooling2D(name="embedding")(x)
        x = layers.Dropout(0.2)(x)
        return keras.Model(image, networks.logits_layer(classes)(x))

    def tiny_dense(classes: int, pretrained: bool = True) -> keras.Model:
        image = keras.Input((32, 32, 1), name="image")
        x = layers.Conv2D(6, 3, strides=2, activation="relu")(image)
        x = layers.Conv2D(12, 3, activation="relu", name="feature_map")(x)
        x = layers.MaxPooling2D()(x)
        x = layers.Flatten()(x)
        x = layers.Dense(16, activation="relu", name="embedding")(x)
        x = layers.Dropout(0.5)(x)
        return keras.Model(image, networks.logits_layer(classes)(x))

    with pytest.MonkeyPatch.context() as patch:
        for build in (tiny_pooled, tiny_dense):
            patch.setitem(RECIPES, build.__name__, TINY[build.__name__])
            patch.setitem(networks.ARCHITECTURES, build.__name__, build)
        yield


def events_of(run: Any) -> list[dict[str, Any]]:
    """All events of a run, as they stand in its file, without a last line that is not whole."""
    file = run.folder / "events.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}\n")]


@pytest.fixture
def tiny_networks() -> Iterator[None]:
    """The networks tiny_pooled and tiny_dense can be trained like the real ones."""
    with _tiny_networks():
        yield


@pytest.fixture(scope="session")
def train(tmp_path_factory) -> Callable[..., Trained]:
    """Train a network on a dataset through the real path, in this process and in a home of its own."""

    def train(data: Path, network: str, **chosen: Any) -> Trained:
        from covid_cnn.data import dataset
        from covid_cnn.runs import config
        from covid_cnn.runs import run as runs_run
        from covid_cnn.training import networks, trainer

        home, built = tmp_path_factory.mktemp("home"), []

        def build(name: str, classes: int, pretrained: bool) -> Any:
            built.append(networks.ARCHITECTURES[name](classes, pretrained))
            return built[-1]

        (home / "data").mkdir()
        (home / "data" / data.name).symlink_to(data)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COVID_CNN_HOME", str(home))
            patch.setattr(networks, "build_network", build)
            run = runs_run.create_run(config.TrainConfig.of(data.name, network, **chosen), network)
            run.begin()
            trainer.train_run(run)
            return Trained(home, dataset.open_dataset(data.name), run, built[-1])

    return train


@pytest.fixture(scope="session")
def tiny_model(train, synthetic_data) -> Trained:
    """A tiny model: all that a bundle is, but for its size."""
    with _tiny_networks():
        return train(synthetic_data, "tiny_pooled")


@pytest.fixture(scope="session", params=["efficientnet_lite0", "notebook_cnn"])
def trained(request, train, synthetic_data, tmp_path_factory) -> Trained:
    """Both networks, trained on real radiographs where there are any, and else on drawn ones."""
    real, folder = os.environ.get("COVID_CNN_REAL_DATA"), tmp_path_factory.mktemp("real")
    data = _every_third(Path(real) / "xray_dataset_covid19", folder) if real else synthetic_data
    return train(data, request.param, epochs={"efficientnet_lite0": 10, "notebook_cnn": 1}[request.param])


def _every_third(data: Path, folder: Path) -> Path:
    """A dataset of every third image of ``data``, to train on in a third of the time."""
    for file in sorted(data.rglob("*.*"))[::3]:
        copy = folder / file.relative_to(data)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    return folder


def pytest_collection_modifyitems(items):
    """Trainings first, which take long: while the last file ends, the other cores wait."""
    items.sort(key=lambda item: "training" not in item.path.parts)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("COVID_CNN_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be: {report.longrepr[-1] if report.longrepr else ''}"
    return report
