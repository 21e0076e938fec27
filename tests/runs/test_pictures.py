"""The pictures that a run keeps."""

import numpy as np
import pytest

from covid_cnn.runs import pictures
from covid_cnn.runs.pictures import AttentionPicture


def test_images_and_looks_come_back_in_order(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.random((3, 8, 6), dtype=np.float32)
    pictures.save_images(tmp_path, "watched", images, ["ä", "b", "ä"])
    kept, labels = pictures.load_images(tmp_path, "watched")
    np.testing.assert_allclose(kept, images, atol=1 / 255)
    assert labels == ["ä", "b", "ä"]
    for epoch in (10, 9, 1):
        heatmaps = rng.random((3, 4, 4, 2))
        pictures.save_attention(tmp_path, epoch, AttentionPicture(np.float32([[0.25, 0.75]] * 3), heatmaps))
    assert pictures.attention_epochs(tmp_path) == [1, 9, 10]
    look = pictures.load_attention(tmp_path, 1)
    np.testing.assert_allclose(look.heatmaps, heatmaps, atol=1 / 255)
    assert look.probabilities[0].tolist() == [0.25, 0.75]


@pytest.mark.parametrize("content", [b"", b"PK", b"no pictures"])
def test_what_is_missing_or_damaged_is_none(tmp_path, content):
    assert pictures.attention_epochs(tmp_path) == []
    assert pictures.load_attention(tmp_path, 1) is None
    assert pictures.load_images(tmp_path, "augmented") is None
    (tmp_path / pictures.PICTURES_FOLDER).mkdir()
    (tmp_path / pictures.PICTURES_FOLDER / "epoch-1.npz").write_bytes(content)
    assert pictures.load_attention(tmp_path, 1) is None
