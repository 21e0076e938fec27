"""Copies of a radiograph are told from other radiographs, however the copy was made."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from covid_cnn.likeness import THUMBNAIL, details, fingerprint, near_duplicates


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
    return near_duplicates([fingerprint(image) for image in images])


def test_a_fingerprint_keeps_what_it_says():
    one = fingerprint(picture(0)[:200])
    assert one.size == (256, 200)
    assert 0 <= one.hash < 2**64
    (detail,) = details(one.thumbnail[None])
    assert detail.shape == (THUMBNAIL**2,) and detail.dtype == np.float32
    assert detail.mean() == pytest.approx(0, abs=1e-6)
    assert np.linalg.norm(detail) == pytest.approx(1, abs=1e-5)


def test_the_digest_is_of_pixels_and_their_shape():
    flat = np.zeros((20, 30), np.float32)
    other = flat.copy()
    other[3, 3] = 1 / 255
    digests = {fingerprint(image).digest for image in (flat, flat.copy(), flat.T, other)}
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


def test_thumbnails_are_asked_for_only_where_hashes_are_close():
    prints = [fingerprint(picture(seed)) for seed in (1, 2, 3, 2)]
    asked = []

    def thumbnails(some):
        asked.extend(some)
        return np.stack([prints[i].thumbnail for i in some])

    slim = [replace(one, thumbnail=np.empty((0, 0), np.uint8)) for one in prints]
    assert near_duplicates(slim, thumbnails) == [(1, 3)]
    assert asked == [1, 3]


def test_a_close_hash_alone_is_no_copy():
    """Two radiographs of one view: alike from afar, and different in their fine structure."""
    one, other = picture(5, fine_seed=1), picture(5, fine_seed=2)
    assert (fingerprint(one).hash ^ fingerprint(other).hash).bit_count() <= 8
    assert pairs(one, other) == []


def test_a_mirrored_image_is_no_copy():
    assert pairs(picture(3), picture(3)[:, ::-1]) == []


def test_nothing_is_like_nothing():
    assert pairs() == []
