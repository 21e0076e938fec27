"""Copies of a radiograph are told from other radiographs, however the copy was made."""

import io

import numpy as np
import pytest
from PIL import Image

from covid_cnn.data import synthetic
from covid_cnn.data.index import (
    COMPARED_SIDE,
    FINE_BYTES,
    find_copies,
    find_near_duplicates,
    hash_distance,
    perceptual_hash,
    stack_hashes,
)


def picture(seed: int, fine_seed: int | None = None) -> np.ndarray:
    """A smooth picture, which decides the hash, under finer structure: float32 ``[256, 256]``, 0..1."""
    coarse = np.random.default_rng(seed).uniform(0.25, 0.75, (8, 8)).astype(np.float32)
    fine = np.random.default_rng(1000 + (seed if fine_seed is None else fine_seed)).normal(0, 0.05, (64, 64))
    parts = (Image.fromarray(np.float32(part)).resize((256, 256), Image.Resampling.BICUBIC) for part in (coarse, fine))
    return np.clip(sum(np.asarray(part) for part in parts), 0, 1)


def stored(pixels: np.ndarray, size: int, quality: int) -> np.ndarray:
    """``pixels`` as another collection has them: resized, and compressed."""
    image = Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).resize((size, size), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float32) / 255


def pairs(*images: np.ndarray) -> list[tuple[int, int]]:
    return find_near_duplicates([perceptual_hash(image) for image in images])


def test_a_fingerprint_keeps_what_it_says():
    one = perceptual_hash(picture(0)[:200])
    assert one.size == (256, 200)
    assert one.thumbnail.shape == (COMPARED_SIDE, COMPARED_SIDE)
    assert len(one.fine) == FINE_BYTES
    negative = perceptual_hash(1 - picture(0)[:200])
    assert hash_distance(*stack_hashes([one.fine, negative.fine])) > 0.98, (
        "every coefficient but the mean has the other sign"
    )


def test_the_digest_is_of_pixels_and_their_shape():
    flat = np.zeros((20, 30), np.float32)
    other = flat.copy()
    other[3, 3] = 1 / 255
    digests = {perceptual_hash(image).digest for image in (flat, flat.copy(), flat.T, other)}
    assert len(digests) == 3


@pytest.mark.parametrize(("size", "quality", "gain"), [(256, 100, 1.0), (180, 85, 1.0), (700, 40, 1.0), (224, 90, 0.8)])
def test_a_copy_is_found_in_another_size_format_and_brightness(size, quality, gain):
    images = [picture(seed) for seed in range(4)]
    assert pairs(*images, stored(images[2], size, quality) * np.float32(gain)) == [(2, 4)]


def test_identical_images_are_a_pair_even_without_any_structure():
    flat = np.full((50, 40), 0.5, np.float32)
    assert pairs(flat, picture(1), flat.copy()) == [(0, 2)]


def test_every_pair_of_a_group_is_told_once_the_lower_index_first():
    one, other = picture(1), picture(2)
    assert pairs(one, other, one, one, other) == [(0, 2), (0, 3), (1, 4), (2, 3)]


def test_two_that_are_alike_from_afar_are_no_copies():
    """As two radiographs of one view are, which differ in their fine structure."""
    one, other = picture(5, fine_seed=1), picture(5, fine_seed=2)
    assert pairs(one, other) == []


def test_a_mirrored_image_is_no_copy():
    assert pairs(picture(3), picture(3)[:, ::-1]) == []


def test_nothing_is_like_nothing():
    assert pairs() == []


def test_copies_of_some_images_are_told_among_others():
    known = stack_hashes([perceptual_hash(picture(seed)).fine for seed in (1, 2)])
    asked = [perceptual_hash(image).fine for image in (picture(3), stored(picture(2), 150, 70), picture(1))]
    assert find_copies(asked, known, [False] * 3).tolist() == [False, True, True]
    assert find_copies(asked, known[:0], [False] * 3).tolist() == [False] * 3
    assert find_copies([], known, []).tolist() == []


def test_drawn_radiographs_are_held_to_a_stricter_limit():
    """All are of one plan, and yet a resized JPEG copy is told from another patient."""
    drawn = [synthetic.draw_radiograph(seed, seed % 2 == 0, 256) for seed in range(700, 730)]
    prints = [perceptual_hash(image.copy()) for image in drawn]
    assert find_near_duplicates(prints, [True] * 30) == []
    again = [perceptual_hash(stored(image, size, 75)) for image, size in zip(drawn, [160, 300, 100], strict=False)]
    # What nothing marks as drawn any more is held to the limit of its partner.
    assert find_near_duplicates([*prints, *again], [True] * 30 + [False] * 3)[:3] == [(0, 30), (1, 31), (2, 32)]
