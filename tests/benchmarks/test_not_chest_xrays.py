from collections import Counter
from itertools import chain

import numpy as np
import pytest

from benchmarks import not_chest_xrays
from covid_cnn.data import synthetic
from covid_cnn.images import ops, reader


@pytest.fixture(scope="module")
def pictures():
    """All that needs neither the real datasets nor chest X-rays."""
    makers = ("leg", "scans", "photographs", "pages", "icons", "noise", "blank")
    return list(chain.from_iterable(getattr(not_chest_xrays, maker)() for maker in makers))


def test_every_picture_is_of_a_kind_of_twenty_but_for_the_one_leg(pictures):
    counts = Counter(picture.kind for picture in pictures)
    assert counts.pop("Leg X-ray") == 1
    assert min(counts.values()) >= 20


def test_every_picture_is_grayscale_from_0_to_1(pictures):
    for kind, name, pixels in pictures:
        assert pixels.ndim == 2 and pixels.dtype == np.float32, (kind, name)
        assert pixels.min() >= 0 and pixels.max() <= 1 and np.isfinite(pixels).all(), (kind, name)


def test_no_picture_is_there_twice(pictures):
    assert len({(pixels.shape, pixels.tobytes()) for _, _, pixels in pictures}) == len(pictures)


def test_chest_xrays_are_turned_inverted_and_cropped(tmp_path):
    path = tmp_path / "chest.png"
    path.write_bytes(ops.to_png(synthetic.draw_radiograph(0, opacities=False)))
    chest = reader.read(path).pixels
    made = {kind.removeprefix("Chest X-ray, "): pixels for kind, _, pixels in not_chest_xrays.transformed([path])}
    assert np.array_equal(made["upside down"], chest[::-1, ::-1])
    assert made["turned by 90 degrees"].shape == chest.shape[::-1]
    assert np.allclose(made["negative"] + chest, 1)
    assert made["a sixteenth of it"].size == pytest.approx(chest.size / 16, rel=0.02)


def test_of_many_chest_xrays_some_are_taken_from_all_over(tmp_path, monkeypatch):
    monkeypatch.setattr(not_chest_xrays, "MOST", 3)
    paths = [tmp_path / f"{i}.png" for i in range(9)]
    for path in paths:
        path.write_bytes(ops.to_png(np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)))
    names = {name for _, name, _ in not_chest_xrays.transformed(paths)}
    assert names == {"0.png", "4.png", "8.png"}


@pytest.mark.real_data
def test_the_collection_holds_ct_slices_and_lateral_views(real_data, monkeypatch):
    monkeypatch.setenv("COVID_CNN_REAL_DATA", str(real_data))
    counts = Counter(picture.kind for picture in not_chest_xrays.collection())
    assert counts == {"CT slice of the chest": 63, "Lateral chest X-ray": 44}
