"""The embeddings of an image and its variations."""

import numpy as np

from covid_cnn.data import synthetic
from covid_cnn.images.augment import AUGMENTATIONS
from covid_cnn.training import learner, networks


def draw(number: int) -> np.ndarray:
    return np.stack([synthetic.draw_radiograph(n, opacities=False, size=32)[..., None] for n in range(number)])


def test_view_0_is_the_image_and_the_others_hang_on_the_seed():
    images = draw(3)

    def embed(seed: int) -> np.ndarray:
        return learner.embed_views(lambda image: image.ravel(), images, AUGMENTATIONS["hospitals"], seed, 4)

    first = embed(0)
    assert first.shape == (3, 4, 32 * 32) and first.dtype == np.float32
    np.testing.assert_array_equal(first[:, 0], images.reshape(3, -1))
    np.testing.assert_array_equal(embed(0), first)
    assert not np.isclose(embed(1)[:, 1:], first[:, 1:]).all(axis=2).any()
    for one in range(4):
        for other in range(one):
            assert not np.isclose(first[:, one], first[:, other]).all(axis=1).any()


def test_the_graph_embeds_as_the_network_does_and_tells_how_far_it_is(tiny_networks):
    network, images, done = networks.build_network("tiny_pooled", 2), draw(3), []
    embed = learner.embedder(network)
    views = learner.embed_views(embed, images, AUGMENTATIONS["none"], 0, 1, done.append)
    assert done == [1, 2, 3]
    base = network.get_layer("embedding").output
    expected = type(network)(network.inputs, base)([images]).numpy()
    np.testing.assert_allclose(views[:, 0], expected, atol=1e-5)
