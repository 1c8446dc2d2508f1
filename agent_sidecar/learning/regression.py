"""Regressions and measures that fitting needs; scikit-learn is loaded when the first one runs.

Same input, same answer: no random start, and one thread, since sums depend on their order.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Sparse = tuple[NDArray[np.int32], NDArray[np.float32]]


def logistic(
    rows: Floats, truths: NDArray[np.bool_], weights: Floats, *, freedom: float
) -> tuple[Floats, float]:
    """Return coefficients and start of a weighted logistic regression; `freedom`: 1/penalty."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(limits=1):
        found = LogisticRegression(C=freedom, max_iter=2000)
        fitted = found.fit(rows, truths, sample_weight=weights)
    return np.asarray(fitted.coef_[0]), float(fitted.intercept_[0])


def logistic_of_words(
    rows: Sequence[Sparse],
    size: int,
    truths: NDArray[np.bool_],
    weights: Floats,
    *,
    freedom: float,
) -> tuple[Floats, float]:
    """Do the same for rows of a few places each, out of `size`."""
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

    starts = np.cumsum([0, *(len(places) for places, _ in rows)])
    places = np.concatenate([places for places, _ in rows])
    values = np.concatenate([values for _, values in rows])
    matrix = csr_matrix((values, places, starts), shape=(len(rows), size))
    return logistic(matrix, truths, weights, freedom=freedom)


def one_of_many(
    rows: Floats, labels: Sequence[str], *, freedom: float
) -> tuple[tuple[str, ...], Floats, Floats]:
    """Return the labels, and for each coefficients and start of a multinomial regression."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        fitted = LogisticRegression(C=freedom, max_iter=150).fit(rows, np.array(labels))
    names = tuple(str(name) for name in fitted.classes_)
    coefficients, starts = np.asarray(fitted.coef_), np.asarray(fitted.intercept_)
    if len(names) == 2:  # told apart by one row
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        starts = np.concatenate([np.zeros(1), starts])
    return names, coefficients, starts


def calibrate(leans: Floats, targets: Floats, weights: Floats) -> float:
    """Return the slope that makes the sigmoid of a lean the share that was true.

    Platt's scaling through the middle, by Newton's method. Never below zero: a lean that says
    nothing says nothing.
    """
    slope = 0.0
    for _ in range(50):
        chances = 1.0 / (1.0 + np.exp(-np.clip(slope * leans, -30.0, 30.0)))
        gradient = float(leans @ (weights * (chances - targets))) + 1e-3 * slope
        curve = float((weights * chances * (1.0 - chances)) @ (leans * leans)) + 1e-3
        slope -= gradient / curve
        if abs(gradient / curve) < 1e-9:
            break
    return max(0.0, slope)


def auc(truths: NDArray[np.bool_], scores: Floats) -> float | None:
    """Return the area under the ROC curve, ties counted half; None when all are of one kind."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    positive = int(np.sum(truths))
    negative = len(truths) - positive
    if not positive or not negative:
        return None
    above = float(ranks[truths].sum()) - positive * (positive + 1) / 2.0
    return above / (positive * negative)
