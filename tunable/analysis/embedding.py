"""Kernels in fewer dimensions: their principal components, and t-SNE of these (scikit-learn)."""

from typing import Any, cast

import numpy as np

from tunable.errors import BackendError, needs

MOST_COMPONENTS = 50  # that t-SNE is given, as its authors do
PERPLEXITY = 30.0  # neighbours that t-SNE looks at for a point, as its authors and scikit-learn have it, but
MOST_OF_ALL = 0.4  # of all points at most: with fewer, the points of one block fold up


def check_installed() -> None:
    """Raise BackendError where scikit-learn is not installed."""
    try:
        import sklearn.decomposition  # noqa: F401
    except ImportError:
        raise BackendError(needs("scikit-learn", "analyze")) from None


def components(vectors: np.ndarray, most: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the principal components of vectors.

    Args:
        vectors: (n, d), n at least 2.
        most: components that are returned; None: all.

    Returns:
        The scores (n, c) of the centred vectors, the directions (c, d), and the shares (c,) of the variance, which are
        0 where all vectors are equal. Every direction's largest value is positive.
    """
    from sklearn.decomposition import PCA

    if not np.ptp(vectors, axis=0).any():
        count = min(*vectors.shape, most or vectors.shape[0])
        return np.zeros((len(vectors), count)), np.zeros((count, vectors.shape[1])), np.zeros(count)
    fitted = PCA(n_components=most and min(most, *vectors.shape), svd_solver="full").fit(vectors)
    directions = np.asarray(fitted.components_)
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
    directions = directions * np.where(largest < 0, -1, 1)
    return (vectors - vectors.mean(0)) @ directions.T, directions, np.asarray(fitted.explained_variance_ratio_)


def together(groups: list[np.ndarray]) -> np.ndarray:
    """Put vectors of different lengths into one space, in which vectors of different groups are orthogonal.

    Args:
        groups: (n_i, d_i) each.

    Returns:
        (sum n_i, sum min(n_i, d_i)): vectors of the same lengths, and with the same angles inside each group.
    """
    turned = [np.transpose(np.linalg.qr(group.T, mode="r")) for group in groups]
    rows, columns = (np.cumsum([0, *(each.shape[axis] for each in turned)]) for axis in (0, 1))
    joined = np.zeros((rows[-1], columns[-1]))
    for each, top, left in zip(turned, rows, columns, strict=False):
        joined[top : top + each.shape[0], left : left + each.shape[1]] = each
    return joined


def plane(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Lay vectors out in two dimensions: PCA to MOST_COMPONENTS, then t-SNE.

    Args:
        vectors: (n, d).
        seed: of t-SNE.

    Returns:
        (n, 2), the same for the same seed; the first two components where there are fewer than four vectors.
    """
    from sklearn.manifold import TSNE

    scores = components(vectors, MOST_COMPONENTS)[0]
    if len(vectors) < 4 or scores.shape[1] < 2:
        return np.pad(scores, [(0, 0), (0, 2)])[:, :2]
    settings: dict[str, Any] = {"perplexity": min(PERPLEXITY, MOST_OF_ALL * (len(vectors) - 1)), "random_state": seed}
    return cast(np.ndarray, TSNE(init="pca", method="exact", **settings).fit_transform(scores))
