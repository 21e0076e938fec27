"""Embeddings: of an image and its variations, and remembered from one run to the next."""

from pathlib import Path

import numpy as np
import pytest

from covid_cnn.common.storage import Cache
from covid_cnn.data import synthetic
from covid_cnn.images.augment import AUGMENTATIONS
from covid_cnn.training import embeddings, networks
from covid_cnn.training.embeddings import Embedder


def test_view_0_is_the_image_and_the_others_hang_on_the_seed():
    images = np.stack([synthetic.draw_radiograph(seed, opacities=False, size=32)[..., None] for seed in range(3)])

    def embed(batch: np.ndarray) -> np.ndarray:
        return batch.reshape(len(batch), -1)

    def of(seed: int) -> np.ndarray:
        hospitals = AUGMENTATIONS["hospitals"]
        views = [embeddings.embed_views(embed, image, i, hospitals, 4, seed) for i, image in enumerate(images)]
        return np.stack(views)

    first = of(0)
    assert first.shape == (3, 4, 32 * 32)
    np.testing.assert_array_equal(first[:, 0], embed(images))
    np.testing.assert_array_equal(of(0), first)
    assert not np.isclose(of(1)[:, 1:], first[:, 1:]).all(axis=2).any()
    for one in range(4):
        for other in range(one):
            assert not np.isclose(first[:, one], first[:, other]).all(axis=1).any()


@pytest.fixture
def images() -> np.ndarray:
    return np.stack([synthetic.draw_radiograph(seed, opacities=False, size=32)[..., None] for seed in range(3)])


@pytest.fixture
def network(tiny_networks):
    return networks.build_network("tiny_pooled", 2)


@pytest.fixture
def cached(tmp_path, network, monkeypatch):
    """Embedders that share a cache, each with the number of images that it has to work out in ``computed``."""
    monkeypatch.setattr(embeddings, "embedder", lambda network: lambda batch: network(batch).numpy()[:, [0] * 12])
    return lambda seed=0, name="radiograph", of=network: Embedder(
        of, AUGMENTATIONS[name], seed, Cache(tmp_path / "cache" / "embeddings.sqlite")
    )


def test_a_second_run_computes_nothing_and_gets_the_same(cached, images, monkeypatch):
    first = cached()
    views = first.views(images, 4)
    assert views.shape == (3, 4, 12) and (first.computed, first.remembered) == (12, 0)
    again = cached()
    monkeypatch.setattr(embeddings, "embedder", None)  # not even the graph is made
    np.testing.assert_array_equal(again.views(images, 4), views)
    assert (again.computed, again.remembered) == (0, 12)


def test_whatever_an_embedding_hangs_on_makes_it_another(cached, images, network):
    cached().views(images, 2)
    network.get_layer("logits").bias.assign([1.0])  # the embedding does not hang on the last layer
    assert cached().views(images, 2).any()
    others = [cached(seed=1), cached(name="notebook")]
    network.layers[1].bias.assign([1.0] * 6)
    others.append(cached())
    for other in others:
        other.views(images, 2)
        assert (other.computed, other.remembered) == (6, 0)
    changed = cached()
    changed.views(np.concatenate([images[:2], 1 - images[2:]]), 2)
    assert (changed.computed, changed.remembered) == (2, 4)
    alone = cached(seed=5)
    assert alone.views(images, 1).shape == (3, 1, 12) and alone.computed == 3
    assert cached(seed=6).views(images, 1).any()  # the plain image knows no seed
    more = cached(seed=6)
    more.views(images, 1)
    assert more.remembered == 3


def damage_the_file(file: Path) -> None:
    file.write_bytes(b"no database at all, but long enough to be looked at" * 100)


def damage_a_blob(file: Path) -> None:
    store = Cache(file)
    store._with_connection(lambda c: c.execute("UPDATE blobs SET blob = zeroblob(LENGTH(blob)) WHERE rowid = 1"))
    store._with_connection(lambda c: c.execute("UPDATE blobs SET blob = x'00' WHERE rowid = 2"))


@pytest.mark.parametrize(("damage", "lost"), [(damage_the_file, 3), (damage_a_blob, 2)])
def test_a_damaged_cache_is_computed_anew(cached, images, tmp_path, damage, lost):
    views = cached().views(images, 2)
    damage(tmp_path / "cache" / "embeddings.sqlite")
    again = cached()
    np.testing.assert_array_equal(again.views(images, 2), views)
    assert again.computed == 2 * lost


def test_the_cache_is_bounded_and_the_oldest_go_first(cached, images, monkeypatch):
    one = 4 + 4 * 12
    monkeypatch.setattr(embeddings, "MOST_BYTES", 3 * one)
    cached().views(images, 1)
    cached().views(1 - images[:2], 1)
    newest, oldest = cached(), cached()
    newest.views(1 - images[:2], 1)
    oldest.views(images[:1], 1)
    assert newest.remembered == 2 and oldest.remembered == 0


def test_a_place_that_cannot_be_written_is_no_error(cached, images, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert cached().views(images, 1).shape == (3, 1, 12)
