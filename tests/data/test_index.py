"""Each image is decoded once, whatever asks for it, and what is kept of it is right."""

import io
import shutil
import sqlite3

import numpy as np
import pytest
from PIL import Image

from covid_cnn.common.errors import ImageError
from covid_cnn.common.storage import Cache
from covid_cnn.data import dataset, index, overview, synthetic
from covid_cnn.images import reader


@pytest.fixture
def files(home, tmp_path):
    made = []
    for n in range(5):
        made.append(tmp_path / f"{n}.png")
        synthetic.write_png(made[-1], synthetic.draw_radiograph(n, False, 100 + n)[:90])
    made[3].write_text("no image")
    return made


def test_a_look_tells_what_the_image_is(files):
    look = index.index_images(files)[0]
    pixels = reader.read(files[0]).pixels
    assert look.size == (100, 90) and look.format == "PNG" and look.synthetic
    assert look.brightness == pytest.approx(pixels.mean(), abs=1e-6)
    assert look.contrast == pytest.approx(pixels.std(), abs=1e-6)
    assert np.array_equal(look.fingerprint.thumbnail, index.perceptual_hash(pixels).thumbnail)


def test_nothing_is_decoded_twice_and_an_unreadable_one_is_told_each_time(files, monkeypatch):
    first = index.index_images(files)
    decoded = []
    read = reader.read
    monkeypatch.setattr(reader, "read", lambda file: decoded.append(file) or read(file))
    again, small = index.index_images(files), index.load_thumbnails(files)
    assert set(decoded) == {files[3]}
    assert [type(look) for look in again] == [type(look) for look in first]
    assert isinstance(again[3], ImageError) and isinstance(small[3], ImageError)
    for one, other in zip(again[:3], first[:3], strict=True):
        assert np.array_equal(one.fingerprint.thumbnail, other.fingerprint.thumbnail)
        assert (one.file, one.size, one.fingerprint.fine, one.fingerprint.digest) == (
            (other.file, other.size, other.fingerprint.fine, other.fingerprint.digest)
        )
        assert (one.format, one.brightness, one.contrast, one.warnings) == (
            (other.format, other.brightness, other.contrast, other.warnings)
        )


def test_a_changed_image_is_looked_at_anew(files):
    before = index.index_images(files[:1])[0]
    synthetic.write_png(files[0], synthetic.draw_radiograph(9, False, 64))
    assert index.index_images(files[:1])[0].size == (64, 64) != before.size


def test_a_stop_keeps_what_was_read(files, monkeypatch):
    def stop(part, message):
        if part > 0.5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        index.index_images(files, stop)
    assert len(Cache().get(index.KIND, list(Cache().file_digests(files).values()))) >= 2


def test_a_lost_thumbnail_is_made_again(files):
    whole = index.load_thumbnails(files)
    with sqlite3.connect(Cache().file) as connection:
        connection.execute("DELETE FROM blobs WHERE kind = ?", (index.THUMBNAIL_LONGEST,))
    assert index.load_thumbnails(files)[0] == whole[0]


def test_thumbnails_keep_the_proportions(files):
    with Image.open(io.BytesIO(index.load_thumbnails(files)[4])) as small:
        assert small.size == (160, round(160 * 90 / 104)) and small.format == "JPEG"


def test_without_a_place_to_keep_things_all_works_the_same(files, home):
    def kinds() -> list[type]:
        return [type(look) for look in index.index_images(files)]

    kept, thumbnails = kinds(), index.load_thumbnails(files)[:3]
    shutil.rmtree(home / "cache")
    (home / "cache").touch()
    assert kinds() == kept and index.load_thumbnails(files)[:3] == thumbnails


def test_mean_images_are_the_means_of_the_classes(home, tmp_path):
    rng = np.random.default_rng(0)
    flat = {label: rng.uniform(0.2, 0.8, 3) for label in ("A", "B")}
    for label, values in flat.items():
        (tmp_path / "set" / label).mkdir(parents=True)
        for n, value in enumerate(values):
            # An image of one grey is none, and one of two is a mask.
            stripes = np.where(np.arange(60) % 2, 0.1, -0.1) * (0.5 + np.arange(40 + n)[:, None] % 2)
            synthetic.write_png(tmp_path / "set" / label / f"{n}.png", value + stripes)
    (tmp_path / "set" / "A" / "bad.png").write_text("no image")
    (tmp_path / "set" / "C").mkdir()
    (tmp_path / "set" / "C" / "bad.png").write_text("no image")
    told = []
    means = overview.mean_images(dataset.open_dataset(tmp_path / "set"), lambda part, line: told.append(part), size=32)
    assert list(means) == ["A", "B"] and told == [1]
    for label, values in flat.items():
        assert means[label].pixels.shape == (32, 32) and means[label].pixels.dtype == np.float32
        assert means[label].pixels[:, 1:-1] == pytest.approx(values.mean(), abs=0.005)  # at the edge half a stripe
        assert means[label].images == 3
    assert overview.warn_of_few_images(means).startswith("Few images of A (3), B (3)")
    assert not overview.warn_of_few_images({"A": overview.Mean(means["A"].pixels, overview.FEW)})


def test_the_difference_tells_its_scale():
    one, other = np.full((4, 4), 0.5), np.full((4, 4), 0.5)
    one[0, 0], other[1, 1] = 0.7, 0.6
    picture, most = overview.difference_image(one, other)
    assert most == pytest.approx(0.2) and "0.20" in overview.colour_scale(most)
    assert (picture[0, 0] == overview.RED).all() and (picture[3, 3] == 255).all()
    assert (picture[1, 1] == np.rint(255 + (overview.BLUE - 255) / 2)).all()


def test_a_distribution_has_the_bins_of_all_and_the_shares_of_each():
    told = overview.distribution({"A": np.array([0.0, 0.0, 1.0, 10.0]), "B": np.array([10.0])})
    shares = {label: {x: share for name, x, share in told if name == label} for label in "AB"}
    assert shares["A"].keys() == shares["B"].keys()
    assert all(sum(own.values()) == pytest.approx(1) for own in shares.values())
    assert max(shares["A"].values()) == 0.5 and max(shares["B"].values()) == 1
    last = max(x for x, share in shares["A"].items() if share)
    assert shares["B"][last] == 1 and abs(last - 10) <= 10 / overview.BINS
    assert sum(share for *_, share in overview.distribution({"A": np.full(5, 3.0)})) == pytest.approx(1)
