"""A map of a dataset: the embeddings of its images projected to a plane, and nearest neighbours."""

import numpy as np

METHODS = ("PCA", "t-SNE")
FEW = 50  # dimensions that t-SNE is given, as its authors do


def project(embeddings: np.ndarray, method: str = "PCA") -> np.ndarray:
    """Project embeddings to two coordinates, so that images that are similar to the model lie close.

    PCA (Pearson 1901) is a projection: distances in it mean something, as far as two dimensions tell. t-SNE (van der
    Maaten and Hinton 2008) keeps who is near whom, and nothing else: sizes of groups and gaps between them mean little.

    Parameters
    ----------
    embeddings : float ``[N, D]``, N at least 1.
    method : one of `METHODS`.

    Returns
    -------
    float32 ``[N, 2]``
    """
    from sklearn.decomposition import PCA  # here, as it takes a while

    few = min(FEW, *embeddings.shape)
    projected = np.zeros((len(embeddings), max(2, few)), np.float32)
    if len(embeddings) > 1:
        # Randomised (Halko et al. 2011): all axes of thousands of images would take minutes.
        projected[:, :few] = PCA(few, svd_solver="randomized", random_state=0).fit_transform(embeddings)
    if method == "PCA" or len(embeddings) < 4:
        return projected[:, :2]
    from sklearn.manifold import TSNE

    perplexity = min(30, (len(embeddings) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(projected).astype(np.float32)


def cosine_similarity(embeddings: np.ndarray, one: np.ndarray) -> np.ndarray:
    """The cosine similarity of each of some embeddings to one.

    Parameters
    ----------
    embeddings : float ``[N, D]``
    one : float ``[D]``

    Returns
    -------
    float ``[N]``, -1..1; 0 beside an embedding of length 0.
    """
    norms = np.maximum(np.linalg.norm(embeddings, axis=1) * np.linalg.norm(one), 1e-12)
    return embeddings @ one / norms


def nearest_neighbours(embeddings: np.ndarray, index: int, count: int) -> list[int]:
    """The indices of the embeddings most similar to one of them by cosine, the nearest first.

    Parameters
    ----------
    embeddings : float ``[N, D]``
    """
    alike = cosine_similarity(embeddings, embeddings[index])
    alike[index] = -np.inf
    return np.argsort(-alike, kind="stable")[: min(count, len(embeddings) - 1)].tolist()
