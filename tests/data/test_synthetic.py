import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from covid_cnn.common.errors import DatasetError
from covid_cnn.data import synthetic
from covid_cnn.images import reader

SIZE = 128
COUNTS = {"train": 2, "val": 1, "test": 1}


@pytest.fixture(scope="module")
def classes():
    """120 normal radiographs and 120 with opacities, of 240 patients, with their labels."""
    labels = np.arange(240) % 2
    return np.stack([synthetic.draw_radiograph(seed, bool(label), SIZE) for seed, label in enumerate(labels)]), labels


def auroc(features, labels):
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    return cross_val_score(model, features, labels, cv=5, scoring="roc_auc").mean()


@pytest.mark.parametrize("size", [64, 512, 600])
def test_a_radiograph_has_the_size_and_range_it_should(size):
    pixels = synthetic.draw_radiograph(3, True, size)
    assert pixels.shape == (size, size) and pixels.dtype == np.float32
    assert 0 <= pixels.min() < 0.05 and 0.7 < pixels.max() <= 1


def test_the_same_seed_gives_the_same_pixels_and_another_seed_others(classes):
    assert np.array_equal(synthetic.draw_radiograph(5, True, SIZE), classes[0][5])
    assert len({image.tobytes() for image in classes[0]}) == 240


def test_a_pair_differs_in_brighter_patches_and_nowhere_else():
    for seed in range(5):
        normal, ill = (synthetic.draw_radiograph(seed, opacities, SIZE) for opacities in (False, True))
        patches = normal != ill
        assert 0.005 < patches.mean() < 0.35
        assert (ill - normal)[patches].mean() > 0.01


def test_the_anatomy_is_that_of_a_frontal_chest_x_ray(classes):
    mean = classes[0][classes[1] == 0].mean(0)  # the average healthy patient, [128, 128]
    right_lung, left_lung = mean[40:70, 30:48].mean(), mean[40:70, 82:98].mean()
    heart, air, abdomen = mean[70:82, 66:78].mean(), mean[:6, :20].mean(), mean[110:, 32:96].mean()
    assert air < min(right_lung, left_lung) and max(right_lung, left_lung) + 0.2 < min(heart, abdomen)
    assert mean[74:84, 74:82].mean() > mean[74:84, 46:54].mean() + 0.1  # the heart lies to the patient's left
    assert mean[90:96, 28:38].mean() > mean[90:96, 90:100].mean() + 0.02  # the right diaphragm stands higher


def test_frame_and_exposure_do_not_tell_the_class(classes):
    images, labels = classes
    k = SIZE // 16
    borders = [images[:, :k], images[:, -k:], images[:, :, :k], images[:, :, -k:]]
    corners = [
        images[:, rows, columns] for rows in (slice(k), slice(-k, None)) for columns in (slice(k), slice(-k, None))
    ]
    extremes = [np.quantile(images, q, axis=(1, 2)) for q in (0.01, 0.99)]
    features = [region.mean((1, 2)) for region in borders + corners] + [region.std((1, 2)) for region in borders]
    assert auroc(np.stack(features + extremes, 1), labels) < 0.65
    assert auroc(np.stack([images.mean((1, 2)), images.std((1, 2))], 1), labels) < 0.7


def test_opacities_can_be_learnt(classes):
    images, labels = classes
    thumbnails = images[:, 16:112].reshape(240, 32, 3, 32, 4).mean((2, 4)).reshape(240, -1)
    assert auroc(thumbnails, labels) > 0.7


def test_a_dataset_has_its_layout_and_says_that_it_is_synthetic(tmp_path):
    told = []
    folder = tmp_path / "new" / "synthetic"
    written = synthetic.write_dataset(folder, 1, lambda done, line: told.append(done), counts=COUNTS, size=64)
    assert written == folder
    for split, count in COUNTS.items():
        for label in ("NORMAL", "PNEUMONIA"):
            assert len(list(folder.glob(f"{split}/{label}/synthetic_{label.lower()}_*.png"))) == count
    files = sorted(folder.rglob("*.png"))
    assert len({path.read_bytes() for path in files}) == len(files) == 8
    assert told == sorted(told) and told[-1] == 1
    assert "no patient" in (folder / "README.md").read_text()
    assert [path.name for path in folder.parent.iterdir()] == ["synthetic"]
    for path in files:
        assert reader.read(path).synthetic
    with Image.open(files[0]) as image:
        assert image.mode == "L"


def test_no_patient_is_drawn_twice(tmp_path, monkeypatch):
    seeds = []
    monkeypatch.setattr(
        synthetic, "draw_radiograph", lambda seed, opacities, size: seeds.append(seed) or np.zeros((4, 4))
    )
    synthetic.write_dataset(tmp_path / "a", seed=0)
    synthetic.write_dataset(tmp_path / "b", seed=1)
    assert len(set(seeds)) == len(seeds) == 400


def test_a_second_click_is_harmless_and_another_folder_is_left_alone(tmp_path):
    folder = synthetic.write_dataset(tmp_path / "synthetic", counts=COUNTS, size=16)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert synthetic.write_dataset(folder, counts=COUNTS, size=16) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    (tmp_path / "mine").mkdir()
    with pytest.raises(DatasetError, match="already exists"):
        synthetic.write_dataset(tmp_path / "mine")


def test_a_failure_half_way_leaves_nothing_behind(tmp_path):
    def stop(done, line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthetic.write_dataset(tmp_path / "synthetic", progress=stop, counts=COUNTS, size=16)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="cannot be written"):
        synthetic.write_dataset(tmp_path / "file" / "synthetic")
