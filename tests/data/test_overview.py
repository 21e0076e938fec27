"""What a model sees alike lies close on the map, and the nearest images are the nearest."""

import numpy as np
import pytest

from covid_cnn.data.overview import METHODS, nearest_neighbours, project


def groups(n: int = 12) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(10 * np.eye(20)[k], 0.1, (n, 20)) for k in range(2)]).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_two_groups_stay_apart(method):
    points = project(groups(), method)
    assert points.shape == (24, 2) and np.isfinite(points).all()
    one, other = points[:12], points[12:]
    spread = max(np.linalg.norm(group - group.mean(axis=0), axis=1).max() for group in (one, other))
    assert np.linalg.norm(one.mean(axis=0) - other.mean(axis=0)) > 2 * spread


def test_pca_is_scikit_learns():
    from sklearn.decomposition import PCA

    embeddings = np.random.default_rng(1).normal(size=(30, 8)) * np.arange(1, 9)
    assert np.abs(project(embeddings)) == pytest.approx(np.abs(PCA(2).fit_transform(embeddings)), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_few_images_have_a_place_too(n, method):
    assert np.isfinite(project(groups()[:n], method)).all() and project(groups()[:n], method).shape == (n, 2)


def test_neighbours_are_the_nearest_by_angle_whatever_the_length():
    embeddings = np.array([[1.0, 0], [5, 0.1], [0, 3], [1, 1], [0, 0]])
    assert nearest_neighbours(embeddings, 0, 3) == [1, 3, 2]
    assert len(nearest_neighbours(embeddings, 0, 10)) == 4
