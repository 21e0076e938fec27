"""What a model has learned from is known again under any name, size and format, and nothing else is taken for it."""

import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from msgspec import structs
from PIL import Image

from covid_cnn.common.errors import BundleError, DatasetError
from covid_cnn.data import dataset as data_dataset
from covid_cnn.data import index
from covid_cnn.data.dataset import Item
from covid_cnn.evaluation import leakage
from covid_cnn.evaluation.leakage import TrainingFingerprint
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import BySplit, TrainingImages

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture
def model(home, tiny_model) -> Bundle:
    """The tiny model, its dataset not at hand."""
    return Bundle(shutil.copytree(tiny_model.bundle, home / "models" / "tiny"))


def forget(model: Bundle) -> Bundle:
    """The model as one of an earlier version, which brings nothing along."""
    (model.folder / leakage.FINGERPRINT_FILE).unlink()
    (model.folder / bundle.INFO_FILE).write_bytes(
        msgspec.json.encode(structs.replace(model.info, training_images=None))
    )
    return Bundle(model.folder)


def test_a_model_knows_its_training_images_again_in_another_size_and_format(model, tiny_model, tmp_path):
    copies = {}
    for item in tiny_model.dataset.items:
        copies[tmp_path / f"{item.split}_{item.label}_{len(copies)}.jpg"] = item.split
        with Image.open(item.path) as image:
            image.resize((120, 110)).save(list(copies)[-1], quality=80)
    items = [Item(path, "", "NORMAL", path.name, "copies") for path in copies]
    learned = leakage.training_fingerprint(model)
    assert learned.drawn and len(learned.hashes) == model.info.training_images.images == 26
    known = leakage.find_leaked(items, learned)
    assert {copies[path] for path in known} == {"train", "val"} and len(known) == 26
    assert [item.path.name for item in leakage.drop_leaked(model, items, known)] == [
        path.name for path, split in copies.items() if split == "test"
    ]


def test_a_model_without_that_file_is_asked_by_its_dataset_and_else_cannot_tell(model, tiny_model):
    items = tiny_model.dataset.subset("test")
    old = forget(model)
    assert leakage.training_fingerprint(old) is None
    with pytest.raises(DatasetError, match="cannot be told.* It brings no training_images.npz, and drawn"):
        leakage.drop_leaked(old, items, None)
    nothing = structs.replace(old.info.training_data, images=BySplit(0, 0, 0))
    added = SimpleNamespace(name="mine", info=structs.replace(old.info, training_data=nothing))
    assert leakage.leakage_unknown(added).endswith("It was added without its dataset: add it again with that.")
    known = leakage.find_leaked(tiny_model.dataset.items, leakage.training_fingerprint(old, tiny_model.dataset))
    assert set(leakage.drop_leaked(old, tiny_model.dataset.items, known)) == set(items)
    with pytest.raises(DatasetError, match="learned from all of these images"):
        leakage.drop_leaked(
            old, tiny_model.dataset.subset("train"), known & {i.path for i in tiny_model.dataset.subset("train")}
        )


def test_a_damaged_file_is_told(model):
    file = model.folder / leakage.FINGERPRINT_FILE
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(BundleError, match="training_images.npz of model tiny is not the one"):
        leakage.training_fingerprint(model)
    file.write_bytes(b"")
    empty = TrainingImages(0, hashlib.sha256(b"").hexdigest())
    (model.folder / bundle.INFO_FILE).write_bytes(
        msgspec.json.encode(structs.replace(model.info, training_images=empty))
    )
    with pytest.raises(BundleError, match="is not the one"):
        leakage.training_fingerprint(Bundle(model.folder))


def test_the_dataset_of_a_model_is_known_by_its_content_and_then_by_its_name(home, tiny_model):
    data = home / "data"
    shutil.copytree(tiny_model.dataset.root, data / "called-otherwise")
    shutil.copytree(tiny_model.dataset.root, data / "drawn")
    shutil.copyfile(next((data / "drawn" / "test").rglob("*.png")), data / "drawn" / "test" / "NORMAL" / "again.png")
    info = bundle.read_info(tiny_model.bundle)

    def own() -> str | None:
        found = leakage.find_training_dataset(info, data_dataset.discover_datasets()[0])
        return found and found.name

    assert own() == "called-otherwise"
    shutil.rmtree(data / "called-otherwise")
    assert own() == "drawn"
    (data / "drawn").rename(data / "another")
    assert own() is None


def test_other_images_of_a_patient_who_was_learned_from_count_as_known(home, tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{n}.png" for n in range(5)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (80, 80), np.uint8)).save(path)
    prints = [index.perceptual_hash(np.asarray(Image.open(path), np.float32) / 255).fine for path in paths]
    mine = "set:clinic:7"  # as a dataset calls a patient that was made of another
    learned = TrainingFingerprint.from_items(
        [Item(paths[0], "", "A", "0.png", "s"), Item(paths[1], "", "A", mine, "s")], prints[:2], False
    )
    asked = [
        Item(paths[0], "", "A", "copied:1", "s"),  # a copy
        Item(paths[2], "", "A", "copied:1", "s"),  # of the same patient as the copy
        Item(paths[3], "", "A", "clinic:7", "s"),  # of a patient who is known by name
        Item(paths[4], "", "A", "0.png", "s"),  # where nothing tells the patient, the name of a file tells nothing
    ]
    assert leakage.find_leaked(asked, learned) == frozenset(paths[i] for i in (0, 2, 3))


def test_an_image_that_cannot_be_read_is_not_known(model, tmp_path):
    (tmp_path / "no.png").write_bytes(b"no image")
    items = [Item(tmp_path / "no.png", "", "A", "no.png", "s")]
    assert leakage.find_leaked(items, leakage.training_fingerprint(model)) == frozenset()


@pytest.mark.parametrize("name", ["lung_styles", "notebook_cnn", "efficientnet_lite0"])
def test_the_shipped_models_bring_along_what_they_learned_from(name):
    model = Bundle(MODELS / name)
    images = msgspec.to_builtins(model.info.training_data.images)
    learned = leakage.training_fingerprint(model)
    assert len(learned.hashes) == model.info.training_images.images == images["train"] + images["val"]
    assert len({row.tobytes() for row in learned.hashes}) > 0.98 * len(learned.hashes)


@pytest.mark.real_data
def test_real_copies_are_found_and_no_other_hospitals_images(home, real_data):
    """Its pneumonias came from covid-chestxray-dataset, where they are JPEG of 640 px at most, of other names."""
    learned = leakage.training_fingerprint(Bundle(MODELS / "notebook_cnn"))

    def known(name: str, split: str | None = None) -> int:
        dataset = data_dataset.open_dataset(real_data / name)
        return len(leakage.find_leaked(dataset.items if split is None else dataset.subset(split), learned))

    assert known("covid-chestxray-dataset") == 72
    assert known("nih-chestxray8-subset") == 0
    assert known("xray_dataset_covid19", "train") == 148
    assert known("xray_dataset_covid19", "test") == 0
