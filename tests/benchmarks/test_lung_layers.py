"""What stands between an image and the crop to its lungs: every layer against plain NumPy."""

import keras
import numpy as np
import pytest
from PIL import Image

from benchmarks.default_model import lung_layers
from covid_cnn.data import synthetic
from covid_cnn.images import lungs

WHOLE = np.array([[0, 1, 0, 1]], np.float32)


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear and antialiased, as Pillow does it."""
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


def drawn(*boxes: tuple[int, int, int, int], size: int = 100) -> np.ndarray:
    """A mask ``[1, size, size, 1]`` that is 1 within boxes of top, bottom, left, right."""
    mask = np.zeros((1, size, size, 1), np.float32)
    for top, bottom, left, right in boxes:
        mask[:, top:bottom, left:right] = 1
    return mask


# Crop


@pytest.mark.parametrize(("size", "length"), [(24, 96), (40, 96), (96, 96), (200, 96)])
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.25, 0.6), (-0.1, 1.1), (0.9, 1.3)])
def test_a_sampled_pixel_is_an_average(size, length, start, end):
    rows = lung_layers.sampling_matrix(np.float32([start]), np.float32([end]), size, length).numpy()
    assert rows.shape == (1, size, length)
    assert rows.min() >= 0
    np.testing.assert_allclose(rows.sum(axis=2), 1, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(24, 32), (60, 50), (128, 192)])
def test_the_crop_of_everything_is_a_resized_image(height, width):
    image = noise(96, 128)
    crop = lung_layers.Crop(height, width)(image[None, ..., None]).numpy()
    assert crop.shape == (1, height, width, 1)
    inside = np.s_[2:-2, 2:-2]  # Pillow lets a triangle end at the border, Crop moves it inside
    np.testing.assert_allclose(crop[0, ..., 0][inside], resized(image, height, width)[inside], atol=2e-3)


def test_a_crop_of_whole_pixels_is_those_pixels():
    images = noise(2, 40, 80, 1)
    boxes = np.float32([[0.25, 0.75, 0.5, 1], [0, 0.5, 0.125, 0.625]])
    crops = lung_layers.Crop(20, 40)(images, boxes).numpy()
    np.testing.assert_allclose(crops[0], images[0, 10:30, 40:80], atol=1e-4)
    np.testing.assert_allclose(crops[1], images[1, 0:20, 10:50], atol=1e-4)


def test_a_crop_beyond_the_image_repeats_its_border():
    image = np.tile(np.linspace(0, 1, 40, dtype=np.float32)[:, None], (1, 40))[None, ..., None]
    crop = lung_layers.Crop(60, 40)(image, np.float32([[-0.5, 1, 0, 1]])).numpy()[0, ..., 0]
    np.testing.assert_allclose(crop[:20], 0, atol=1e-6)
    np.testing.assert_allclose(crop[20:, 0], image[0, :, 0, 0], atol=1e-5)


# Box


def test_the_box_is_drawn_around_both_lungs():
    box = lung_layers.Box()(drawn((20, 70, 10, 40), (20, 70, 60, 90)))[0].numpy()
    height, width = (side * lung_layers.Box().margin for side in (50, 80))
    np.testing.assert_allclose(100 * box, [20 - height, 70 + height, 10 - width, 90 + width], atol=1.5)


def test_a_speck_moves_no_edge():
    lung = drawn((20, 70, 10, 40), (20, 70, 60, 90))
    speck = drawn((20, 70, 10, 40), (20, 70, 60, 90), (2, 6, 94, 98))
    np.testing.assert_allclose(lung_layers.Box()(speck), lung_layers.Box()(lung), atol=0.011)


def test_doubtful_pixels_are_no_lung():
    lung = drawn((20, 70, 10, 90))
    np.testing.assert_array_equal(lung_layers.Box()(np.maximum(lung, 0.4)), lung_layers.Box()(lung))


@pytest.mark.parametrize("mask", [drawn(), drawn((50, 60, 50, 60)), np.full((1, 100, 100, 1), 0.4, np.float32)])
def test_without_lungs_the_box_is_the_whole_image(mask):
    np.testing.assert_array_equal(lung_layers.Box()(mask), WHOLE)


def test_the_layer_and_the_audit_have_one_box():
    lung = np.concatenate([drawn((20, 70, 10, 40), (15, 70, 60, 90)), drawn()]) * np.float32(0.9)
    boxes = lungs.lung_boxes(lung[..., 0], 0.04, lung_layers.WHOLE)
    np.testing.assert_allclose(lung_layers.Box()(lung), boxes, atol=1e-6)
    np.testing.assert_array_equal(lungs.lung_boxes(lung[..., 0], 0.04, lungs.MIDDLE)[1], lungs.MIDDLE)


def test_each_image_has_its_own_box():
    one, other, none = drawn((10, 50, 10, 50)), drawn((50, 90, 40, 80)), drawn()
    together = lung_layers.Box()(np.concatenate([one, other, none])).numpy()
    alone = np.concatenate([lung_layers.Box()(mask) for mask in (one, other, none)])
    np.testing.assert_allclose(together, alone, atol=1e-6)


# Tone


def test_tones_are_stretched_between_the_percentiles_of_a_coarser_image():
    images = 0.3 + 0.4 * noise(3, 80, 60, 1) * np.float32([1, 0.5, 0.2]).reshape(3, 1, 1, 1)
    stretched = lung_layers.Tone()(images).numpy()
    for image, tone in zip(images, stretched, strict=True):
        coarse = np.sort(image.reshape(20, 4, 15, 4).mean(axis=(1, 3)), axis=None)
        black, white = coarse[2], coarse[-3]  # 3 of 300 are a hundredth
        np.testing.assert_allclose(tone, np.clip((image - black) / (white - black), 0, 1), atol=1e-5)


def test_exposure_and_window_make_no_difference():
    image = noise(1, 80, 80, 1)
    np.testing.assert_allclose(lung_layers.Tone()(0.2 + 0.5 * image), lung_layers.Tone()(image), atol=1e-4)


def test_an_even_image_stays_within_range():
    assert np.ptp(lung_layers.Tone()(np.full((1, 16, 16, 1), 0.7, np.float32))) == 0


# place


@pytest.mark.parametrize("size", [8, 24, 60])
@pytest.mark.parametrize("box", [(0, 1, 0, 1), (0.2, 0.7, 0.4, 0.9), (0.1, 0.2, 0.5, 0.55)])
def test_placing_keeps_the_sum(size, box):
    heat = np.random.default_rng(0).normal(size=(1, 15, 14, 3)).astype(np.float32)
    placed = lung_layers.place_heat(heat, np.float32([box]), size).numpy()
    assert placed.shape == (1, size, size, 3)
    np.testing.assert_allclose(placed.sum(axis=(1, 2)), heat.sum(axis=(1, 2)), atol=1e-3)


def test_heat_lies_where_the_box_is():
    boxes = np.float32([[0.5, 1, 0, 0.25], [0, 0.5, 0.5, 1]])  # and a little beside, as cells are interpolated
    placed = lung_layers.place_heat(np.ones((2, 6, 6, 1), np.float32), boxes, 40).numpy()[..., 0]
    assert placed[0, 17:, :13].sum() == pytest.approx(36, rel=1e-3)
    assert placed[1, :23, 17:].sum() == pytest.approx(36, rel=1e-3)


def test_one_cell_lies_at_its_place_in_the_box():
    heat = np.zeros((1, 10, 10, 1), np.float32)
    heat[0, 2, 7] = 1
    placed = lung_layers.place_heat(heat, np.float32([[0.5, 1, 0, 0.5]]), 80).numpy()[0, ..., 0]
    rows, columns = np.mgrid[:80, :80] + 0.5
    assert (placed * rows).sum() == pytest.approx(40 + 2.5 * 4, abs=0.1)
    assert (placed * columns).sum() == pytest.approx(7.5 * 4, abs=0.1)


def test_what_lies_in_the_image_is_placed_back_where_it_was_cropped():
    """Crop and place are each other's way back: a spot that is found in the crop is marked on the image."""
    image = np.zeros((1, 96, 96, 1), np.float32)
    image[0, 60:66, 30:36] = 1
    box = np.float32([[0.3, 0.9, 0.1, 0.7]])
    placed = lung_layers.place_heat(lung_layers.Crop(48, 48)(image, box), box, 96).numpy()[0, ..., 0]
    rows, columns = np.mgrid[:96, :96] + 0.5
    assert (placed * rows).sum() / placed.sum() == pytest.approx(63, abs=0.3)
    assert (placed * columns).sum() / placed.sum() == pytest.approx(33, abs=0.3)


# The network that finds the lungs


@pytest.fixture(scope="module")
def found() -> np.ndarray:
    """The probability of lung in drawn radiographs, ``[4, 128, 128]``."""
    images = np.stack(
        [synthetic.draw_radiograph(seed, opacities=False, size=lung_layers.SEGMENTER_SIDE) for seed in range(4)]
    )
    return lung_layers.trained_segmenter().predict(images[..., None], verbose=0)[..., 0]


def test_the_installed_weights_find_lungs_even_in_drawn_radiographs(found):
    for seed, probability in enumerate(found):
        _, air = synthetic._anatomy(seed)
        lung = synthetic._scaled(air, lung_layers.SEGMENTER_SIDE) > 0.1
        overlap = 2 * (lung & (probability > 0.5)).sum() / (lung.sum() + (probability > 0.5).sum())
        assert overlap > 0.6, f"seed {seed}: {overlap:.2f}"


def test_the_installed_graph_is_the_installed_segmenter(found):
    for seed, probability in enumerate(found):
        drawn = synthetic.draw_radiograph(seed, opacities=False, size=lung_layers.SEGMENTER_SIDE)
        # Its weights are folded into one another and rounded to float16 again.
        np.testing.assert_allclose(lungs.lung_probability(drawn), probability, atol=0.03)


def test_the_graph_can_be_made_again(found, tmp_path, monkeypatch):
    monkeypatch.setattr(lungs, "SEGMENTER", tmp_path / "lungs.tflite")
    lungs.SEGMENTER.write_bytes(lung_layers.convert_segmenter(lung_layers.trained_segmenter()))
    drawn = synthetic.draw_radiograph(0, opacities=False, size=lung_layers.SEGMENTER_SIDE)
    network = lungs._network.__wrapped__()
    np.testing.assert_allclose(network(drawn[None, ..., None]), found[0], atol=0.03)


def test_the_installed_segmenter_is_frozen():
    assert lung_layers.trained_segmenter().trainable_weights == []


def test_weights_are_kept_in_half_precision(tmp_path, monkeypatch):
    monkeypatch.setattr(lung_layers, "SEGMENTER_WEIGHTS", tmp_path / "lungs.npz")
    keras.utils.set_random_seed(0)
    model = lung_layers.segmenter()
    lung_layers.save_weights(model)
    for mine, theirs in zip(model.get_weights(), lung_layers.trained_segmenter().get_weights(), strict=True):
        np.testing.assert_array_equal(theirs, mine.astype(np.float16))


def test_layers_come_back_from_a_file_as_they_were(tmp_path):
    image = keras.Input((40, 40, 1))
    seen = lung_layers.Tone()(lung_layers.Crop(12, 16)(image, lung_layers.Box()(image)))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(seen))
    model.save(tmp_path / "model.keras")
    images = noise(2, 40, 40, 1)
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(images), model(images))
