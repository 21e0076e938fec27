"""Each image is decoded once, whatever asks for it, and what is kept of it is right."""

import io
import sqlite3

import numpy as np
import pytest
from PIL import Image

from covid_cnn import datasets, imaging, likeness, looks, overview, synthetic
from covid_cnn.errors import ImageError
from covid_cnn.store import Store


@pytest.fixture
def files(home, tmp_path):
    made = []
    for n in range(5):
        made.append(tmp_path / f"{n}.png")
        synthetic.write_png(made[-1], synthetic.draw(n, False, 100 + n)[:90])
    made[3].write_text("no image")
    return made


def test_a_look_tells_what_the_image_is(files):
    look = looks.of(files)[0]
    pixels = imaging.read(files[0]).pixels
    assert look.size == (100, 90) and look.format == "PNG" and look.synthetic
    assert look.brightness == pytest.approx(pixels.mean(), abs=1e-6)
    assert look.contrast == pytest.approx(pixels.std(), abs=1e-6)
    assert np.array_equal(look.print.thumbnail, likeness.fingerprint(pixels).thumbnail)


def test_nothing_is_decoded_twice_and_an_unreadable_one_is_told_each_time(files, monkeypatch):
    first = looks.of(files)
    decoded = []
    read = imaging.read
    monkeypatch.setattr(imaging, "read", lambda file: decoded.append(file) or read(file))
    again, small = looks.of(files), looks.thumbnails(files)
    assert set(decoded) == {files[3]}
    assert [type(look) for look in again] == [type(look) for look in first]
    assert isinstance(again[3], ImageError) and isinstance(small[3], ImageError)
    for one, other in zip(again[:3], first[:3], strict=True):
        assert np.array_equal(one.print.thumbnail, other.print.thumbnail)
        assert (one.file, one.size, one.print.hash, one.print.digest) == (
            (other.file, other.size, other.print.hash, other.print.digest)
        )
        assert (one.format, one.brightness, one.contrast, one.warnings) == (
            (other.format, other.brightness, other.contrast, other.warnings)
        )


def test_a_changed_image_is_looked_at_anew(files):
    before = looks.of(files[:1])[0]
    synthetic.write_png(files[0], synthetic.draw(9, False, 64))
    assert looks.of(files[:1])[0].size == (64, 64) != before.size


def test_a_stop_keeps_what_was_read(files, monkeypatch):
    def stop(part, message):
        if part > 0.5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        looks.of(files, stop)
    assert len(Store().get(looks.KIND, list(Store().file_digests(files).values()))) >= 2


def test_a_lost_thumbnail_is_made_again(files):
    whole = looks.thumbnails(files)
    with sqlite3.connect(Store().file) as connection:
        connection.execute("DELETE FROM blobs WHERE kind = ?", (looks.SMALL,))
    assert looks.thumbnails(files)[0] == whole[0]


def test_thumbnails_keep_the_proportions(files):
    with Image.open(io.BytesIO(looks.thumbnails(files)[4])) as small:
        assert small.size == (160, round(160 * 90 / 104)) and small.format == "JPEG"


def test_without_a_place_to_keep_things_all_works_the_same(files, tmp_path):
    (tmp_path / "file").touch()
    nowhere = Store(tmp_path / "file" / "store")
    assert [type(look) for look in looks.of(files, store=nowhere)] == [type(look) for look in looks.of(files)]
    assert looks.thumbnails(files, nowhere)[:3] == looks.thumbnails(files)[:3]


def test_mean_images_are_the_means_of_the_classes(home, tmp_path):
    rng = np.random.default_rng(0)
    flat = {label: rng.uniform(0.2, 0.8, 3) for label in ("A", "B")}
    for label, values in flat.items():
        (tmp_path / "set" / label).mkdir(parents=True)
        for n, value in enumerate(values):
            synthetic.write_png(tmp_path / "set" / label / f"{n}.png", np.full((40 + n, 60), value))
    (tmp_path / "set" / "A" / "bad.png").write_text("no image")
    (tmp_path / "set" / "C").mkdir()
    (tmp_path / "set" / "C" / "bad.png").write_text("no image")
    told = []
    means = overview.mean_images(datasets.open(tmp_path / "set"), lambda part, line: told.append(part), size=32)
    assert list(means) == ["A", "B"] and told == [1]
    for label, values in flat.items():
        assert means[label].shape == (32, 32) and means[label].dtype == np.float32
        assert means[label] == pytest.approx(np.full((32, 32), values.mean()), abs=0.005)
