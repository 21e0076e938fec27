"""Variations of an image: within what they promise, and made again by the same generator."""

import numpy as np
import pytest

from covid_cnn.data.synthetic import draw_radiograph
from covid_cnn.images.augment import (
    AUGMENTATIONS,
    Augmentation,
    augment,
    augment_batch,
    coarsen,
    match_shade,
    match_tones,
    take_style,
)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return draw_radiograph(0, opacities=True, size=64)[..., None]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_shape_type_and_range_stay(image, name):
    for seed in range(20):
        varied = augment(image, AUGMENTATIONS[name], rng(seed))
        assert varied.shape == image.shape
        assert varied.dtype == np.float32
        assert varied.min() >= 0 and varied.max() <= 1
        assert np.isfinite(varied).all()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_generator_decides_all(image, name):
    augmentation = AUGMENTATIONS[name]
    np.testing.assert_array_equal(augment(image, augmentation, rng(1)), augment(image, augmentation, rng(1)))
    different = not np.array_equal(augment(image, augmentation, rng(1)), augment(image, augmentation, rng(2)))
    assert different == (name not in ("none", "mirror"))


def test_none_changes_nothing(image):
    np.testing.assert_allclose(augment(image, AUGMENTATIONS["none"], rng()), image, atol=1e-6)


def test_the_original_is_left_as_it_is(image):
    before = image.copy()
    augment(image, AUGMENTATIONS["radiograph"], rng())
    np.testing.assert_array_equal(image, before)


def test_flip_mirrors_left_and_right_half_of_the_time(image):
    varied = [augment(image, Augmentation(flip=0.5), rng(seed)) for seed in range(200)]
    mirrored = [np.allclose(pixels, image[:, ::-1], atol=1e-5) for pixels in varied]
    same = [np.allclose(pixels, image, atol=1e-5) for pixels in varied]
    assert sum(mirrored) + sum(same) == 200
    assert 70 < sum(mirrored) < 130


def test_a_radiograph_is_never_mirrored():
    """The heart stays on its side: a mark on the right stays there."""
    image = np.zeros((64, 64, 1), np.float32)
    image[24:40, 44:56] = 1
    for seed in range(50):
        columns = augment(image, AUGMENTATIONS["radiograph"], rng(seed))[..., 0].sum(axis=0)
        assert columns[32:].sum() > 5 * columns[:32].sum()


@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(shift=0.2), Augmentation(zoom=0.3), Augmentation(rotation=20), AUGMENTATIONS["radiograph"]],
    ids=["shift", "zoom", "rotation", "radiograph"],
)
def test_no_frame_tells_an_augmented_image(augmentation):
    grey = np.full((40, 60, 1), 0.5, np.float32)
    for seed in range(20):
        varied = augment(grey, augmentation, rng(seed))
        assert np.ptp(varied) < 1e-5  # black corners would show


def test_shift_moves_by_at_most_its_share():
    image = np.zeros((100, 100, 1), np.float32)
    image[50, 50] = 1
    moves = []
    for seed in range(50):
        row, column, _ = np.unravel_index(augment(image, Augmentation(shift=0.1), rng(seed)).argmax(), image.shape)
        moves += [row - 50, column - 50]
    assert max(map(abs, moves)) <= 10
    assert min(moves) < -5 and max(moves) > 5


def test_rotation_turns_about_the_centre():
    image = np.zeros((101, 101, 1), np.float32)
    image[49:52, 84:87] = 1
    angles = []
    for seed in range(30):
        rows, columns, _ = np.nonzero(augment(image, Augmentation(rotation=10), rng(seed)) > 0.5)
        y, x = rows.mean() - 50, columns.mean() - 50
        assert np.hypot(x, y) == pytest.approx(35, abs=1)
        angles.append(np.degrees(np.arctan2(y, x)))
    assert max(map(abs, angles)) < 11
    assert min(angles) < -5 and max(angles) > 5


@pytest.mark.parametrize(
    "augmentation", [Augmentation(contrast=0.3), Augmentation(gamma=0.3)], ids=["contrast", "gamma"]
)
def test_contrast_and_gamma_change_tones_and_not_places(image, augmentation):
    order = np.argsort(image, axis=None, kind="stable")
    changes = []
    for seed in range(5):
        varied = augment(image, augmentation, rng(seed))
        assert (np.diff(varied.ravel()[order]) >= -1e-6).all()
        changes.append(np.abs(varied - image).max())
    assert max(changes) > 0.04


def varied(image: np.ndarray, n: int = 30, **ranges: float) -> list[np.ndarray]:
    variations = [augment(image, Augmentation(**ranges), rng(seed)) for seed in range(n)]
    assert all(pixels.min() >= 0 and pixels.max() <= 1 for pixels in variations)
    return variations


def sharpness(pixels: np.ndarray) -> float:
    return float(np.abs(np.diff(pixels[..., 0], axis=1)).sum())


def test_blur_softens_edges_and_keeps_the_mean(image):
    for pixels in varied(image, blur=3):
        assert sharpness(pixels) <= sharpness(image) + 1
        assert pixels.mean() == pytest.approx(image.mean(), abs=0.01)
    assert min(sharpness(pixels) for pixels in varied(image, blur=3)) < 0.8 * sharpness(image)


def test_blur_is_a_share_of_the_width():
    """An edge of a large image is blurred over as many more pixels."""
    widths = []
    for size in (100, 400):
        edge = np.zeros((size, size, 1), np.float32)
        edge[:, size // 2 :] = 1
        (pixels,) = varied(edge, n=1, blur=4)
        widths.append(np.count_nonzero((pixels[size // 2] > 0.1) & (pixels[size // 2] < 0.9)))
    assert widths[1] == pytest.approx(4 * widths[0], rel=0.35)


def test_noise_is_as_large_as_it_may_be_and_about_no_change():
    grey = np.full((64, 64, 1), 0.5, np.float32)
    variations = varied(grey, noise=0.1)
    spreads = [float(pixels.std()) for pixels in variations]
    assert max(spreads) < 0.105 and max(spreads) > 0.08 and min(spreads) < 0.02
    assert np.mean(variations) == pytest.approx(0.5, abs=0.005)


def test_jpeg_loses_a_little(image):
    losses = [float(np.abs(pixels - image).mean()) for pixels in varied(image, jpeg=15)]
    assert 0 < min(losses) < 0.01 and 0.005 < max(losses) < 0.1
    coarse = [float(np.abs(pixels - image).mean()) for pixels in varied(image, jpeg=1)]
    assert max(coarse) > max(losses)


def test_text_is_stamped_as_often_as_asked_on_a_part_of_the_image():
    grey = np.full((128, 128, 1), 128 / 255, np.float32)
    changed = [float((np.abs(pixels - grey) > 0.02).mean()) for pixels in varied(grey, n=100, text=0.3)]
    assert 15 < sum(share > 0 for share in changed) < 45
    assert max(changed) < 0.4


def test_invert_changes_black_and_white_as_often_as_asked(image):
    variations = varied(image, n=200, invert=0.3)
    inverted = [np.allclose(pixels, 1 - image, atol=1e-6) for pixels in variations]
    same = [np.allclose(pixels, image, atol=1e-6) for pixels in variations]
    assert sum(inverted) + sum(same) == 200
    assert 40 < sum(inverted) < 80


def test_what_is_not_asked_for_is_not_drawn_from_the_generator(image):
    """New kinds of variation leave those of a seed as they were."""
    one, other = rng(7), rng(7)
    augment(image, Augmentation(), one)
    augment(image, Augmentation(rotation=7, contrast=0.2), other)
    assert one.random() == other.random()


# The style of another image


@pytest.fixture(scope="module")
def other() -> np.ndarray:
    """Another patient, in other tones and of another size."""
    return draw_radiograph(1, opacities=False, size=96) ** np.float32(2) * np.float32(0.6)


def test_a_style_is_of_both_images_and_of_the_generator_alone(image, other):
    pixels = image[..., 0].copy()
    styled = take_style(pixels, other, rng(1))
    assert styled.shape == pixels.shape and styled.dtype == np.float32
    assert styled.min() >= 0 and styled.max() <= 1
    np.testing.assert_array_equal(pixels, image[..., 0])
    np.testing.assert_array_equal(styled, take_style(pixels, other, rng(1)))
    assert not np.array_equal(styled, take_style(pixels, other, rng(2)))
    styles = (other, 1 - other)
    foreign = [np.array_equal(take_style(pixels, one, rng(5)), take_style(pixels, other, rng(5))) for one in styles]
    assert foreign == [True, False]
    assert all(not np.array_equal(take_style(pixels, other, rng(seed)), pixels) for seed in range(20))


def test_tones_become_those_of_the_other_image_and_keep_their_order(image, other):
    pixels = image[..., 0]
    matched = match_tones(pixels, other, 1.0)
    levels = (0.1, 0.3, 0.5, 0.7, 0.9)
    np.testing.assert_allclose(np.quantile(matched, levels), np.quantile(other, levels), atol=0.03)
    order = np.argsort(pixels, axis=None)
    assert (np.diff(matched.ravel()[order]) >= -1e-6).all()
    np.testing.assert_allclose(match_tones(pixels, other, 0.5), (pixels + matched) / 2, atol=1e-5)


def test_shade_changes_the_amplitudes_of_broad_waves_and_nothing_else(image, other):
    """Against the Fourier transform of the whole image, which is what the paper does."""
    pixels, foreign = image[..., 0], other[:64, :64]
    spectrum, shade = np.fft.fft2(pixels), np.abs(np.fft.fft2(foreign))
    waves = np.fft.fftfreq(64, 1 / 64)
    broad = (np.abs(waves)[:, None] <= 5) & (np.abs(waves)[None] <= 5)
    amplitude = np.where(broad, 0.3 * np.abs(spectrum) + 0.7 * shade, np.abs(spectrum))
    expected = np.fft.ifft2(amplitude * np.exp(1j * np.angle(spectrum))).real
    np.testing.assert_allclose(match_shade(pixels, foreign, 0.7, 5), expected, atol=1e-4)


def test_the_shade_of_a_tiny_image_is_that_of_what_waves_it_has(other):
    tiny = draw_radiograph(2, opacities=False, size=64)[::8, ::8]
    assert match_shade(tiny, other, 0.9, 13).shape == (8, 8)
    np.testing.assert_allclose(match_shade(tiny, tiny, 0.9, 13), tiny, atol=1e-5)


def test_a_coarse_image_has_lost_its_finest_detail(image):
    pixels = image[..., 0]
    coarse = coarsen(pixels, 0.3)
    assert coarse.shape == pixels.shape
    assert np.abs(np.diff(coarse, axis=1)).mean() < np.abs(np.diff(pixels, axis=1)).mean()
    assert coarse.mean() == pytest.approx(pixels.mean(), abs=0.01)


def test_images_take_the_style_of_others_as_often_as_asked_and_keep_their_own_without_any(image, other):
    variations = [augment(image, Augmentation(style=0.3), rng(seed), [other[..., None]]) for seed in range(200)]
    assert 40 < sum(not np.allclose(pixels, image, atol=1e-6) for pixels in variations) < 80
    np.testing.assert_allclose(augment(image, Augmentation(style=1.0), rng()), image, atol=1e-6)


def test_a_batch_takes_its_styles_from_all_training_images(image, other):
    varied = [
        augment_batch([image, image], np.array([4, 7]), Augmentation(style=1.0), 3, 2, others)
        for others in ([other[..., None]], [other[..., None]], [1 - other[..., None]])
    ]
    np.testing.assert_array_equal(varied[0], varied[1])
    assert not np.array_equal(varied[0], varied[2])
