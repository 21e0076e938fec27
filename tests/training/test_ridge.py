"""The last layer that is solved for."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from covid_cnn.training import ridge

PENALTY = 0.3


@pytest.fixture
def learned() -> tuple[np.ndarray, np.ndarray]:
    """Embeddings ``[60, 2, 7]`` of three classes, one feature of which never changes; labels ``[60]``."""
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 60, p=[0.5, 0.3, 0.2])
    views = rng.normal(3, (0.1, 1, 5, 20, 2, 1, 0), (60, 2, 7)) + labels[:, None, None] * np.array(
        [0.1, 1, 0, 0, 0, 0, 0]
    )
    return views.astype(np.float32), labels


def test_it_is_the_ridge_regression_of_scikit_learn(learned):
    views, labels = learned
    weights = len(labels) / (3 * np.bincount(labels))
    kernel, bias = ridge.solve_ridge(views, labels, weights, PENALTY)
    rows = views.reshape(-1, 7)
    spread = np.where(rows.std(axis=0) > 1e-6, rows.std(axis=0), 1)
    theirs = Ridge(alpha=PENALTY * 7).fit(
        rows / spread, np.eye(3)[labels].repeat(2, axis=0), sample_weight=np.repeat(weights[labels], 2) / 2
    )
    np.testing.assert_allclose(rows @ kernel + bias, theirs.predict(rows / spread), atol=1e-3)


def test_each_image_is_answered_without_its_patient(learned, monkeypatch):
    views, labels = learned
    patients = np.arange(60) // 2
    seen = []
    solve = ridge.solve_ridge
    monkeypatch.setattr(ridge, "solve_ridge", lambda views, *rest: seen.append(views[:, 0, 3]) or solve(views, *rest))
    answers = ridge.out_of_fold(views, labels, [str(patient) for patient in patients], np.ones(3), PENALTY, seed=0)
    left_out = [~np.isin(views[:, 0, 3], values) for values in seen]
    assert (np.sum(left_out, axis=0) == 1).all()
    for out in left_out:
        assert not set(patients[out]) & set(patients[~out])
        kernel, bias = solve(views[~out], labels[~out], np.ones(3), PENALTY)
        np.testing.assert_allclose(answers[out], views[out, 0] @ kernel + bias, atol=1e-4)
