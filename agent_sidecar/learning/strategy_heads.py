"""The two kinds of model that tell strategies, fitted: a linear one, and small networks.

Same input, same answer: random starts come from a seed, and nothing runs in parallel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.strategies import Floats, softmax

# of the linear model: inverse penalty, and steps after which it no longer learns what is general
FREEDOM, STEPS = 5.0, 60
# of a network: hidden units, rounds, lines per step, first step's size, decay of weights per step
HIDDEN, ROUNDS, BATCH, RATE, DECAY = 128, 15, 64, 2e-3, 1e-2
# share of its input and of its hidden units that a network does without in each step
INPUT_DROPPED, HIDDEN_DROPPED = 0.4, 0.5
# share of certainty that the networks are not taught: labels are people's opinions
DOUBT = 0.05

Truths = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """Weights of one hidden layer and of what follows it."""

    inner: Floats
    inner_starts: Floats
    outer: Floats
    outer_starts: Floats


def fit_linear(numbers: Floats, words: Any, truths: Truths) -> tuple[Floats, Floats, Floats]:
    """Return weights of the numbers, of the words (a sparse matrix) and starts of a softmax.

    Multinomial logistic regression with a quadratic penalty, by L-BFGS. scikit-learn's would need
    numbers and words in one sparse matrix, which takes three times as long.
    """
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    count, labels = numbers.shape[1], truths.shape[1]
    turned = words.T.tocsr()
    exact = numbers.astype(np.float64)

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(-1, labels)
        starts, by_number, by_word = weights[0], weights[1 : 1 + count], weights[1 + count :]
        logits = exact @ by_number + words @ by_word + starts
        logits -= logits.max(axis=1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        wrong = np.exp(logs) - truths
        slope = np.vstack([wrong.sum(axis=0)[None], exact.T @ wrong, turned @ wrong]) * FREEDOM
        slope[1:] += weights[1:]
        penalty = 0.5 * float((weights[1:] ** 2).sum())
        return penalty - FREEDOM * float((truths * logs).sum()), slope.ravel()

    begin = np.zeros((1 + count + words.shape[1]) * labels)
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    weights = found.x.reshape(-1, labels).astype(np.float32)
    return weights[1 : 1 + count], weights[1 + count :], weights[0]


def fit_network(rows: Floats, truths: Truths, seed: int) -> Network:
    """Return a network fitted by Adam with decoupled decay (Loshchilov & Hutter 2019).

    Dropout (Srivastava et al. 2014) of input and hidden units is what keeps it general.
    """
    random = np.random.default_rng(seed)
    shape = (rows.shape[1], HIDDEN), (HIDDEN, truths.shape[1])
    weights = [
        random.normal(0, np.sqrt(2 / shape[0][0]), shape[0]).astype(np.float32),
        np.zeros(HIDDEN, np.float32),
        random.normal(0, np.sqrt(1 / HIDDEN), shape[1]).astype(np.float32),
        np.zeros(shape[1][1], np.float32),
    ]
    wanted = truths * (1.0 - DOUBT) + DOUBT / truths.shape[1]
    step = _adam(weights, steps=ROUNDS * -(-len(rows) // BATCH))
    for _ in range(ROUNDS):
        order = random.permutation(len(rows))
        for start in range(0, len(rows), BATCH):
            at = order[start : start + BATCH]
            seen = rows[at] * _kept(random, (len(at), shape[0][0]), INPUT_DROPPED)
            step(
                _slopes(weights, seen, wanted[at], _kept(random, (len(at), HIDDEN), HIDDEN_DROPPED))
            )
    inner, inner_starts, outer, outer_starts = weights
    return Network(inner=inner, inner_starts=inner_starts, outer=outer, outer_starts=outer_starts)


def _kept(random: np.random.Generator, shape: tuple[int, int], dropped: float) -> Floats:
    kept = random.random(shape, dtype=np.float32) >= dropped
    return np.asarray(kept / np.float32(1.0 - dropped), np.float32)


def _slopes(weights: list[Floats], seen: Floats, wanted: Floats, kept: Floats) -> list[Floats]:
    inner, inner_starts, outer, outer_starts = weights
    before = seen @ inner + inner_starts
    hidden = np.maximum(before, 0.0) * kept
    wrong = (softmax(hidden @ outer + outer_starts) - wanted) / np.float32(len(seen))
    back = (wrong @ outer.T) * kept * (before > 0)
    return [seen.T @ back, back.sum(axis=0), hidden.T @ wrong, wrong.sum(axis=0)]


def _adam(weights: list[Floats], *, steps: int) -> Callable[[list[Floats]], None]:
    """Return what changes the weights in place by their slopes, ever less until `steps`."""
    means = [np.zeros_like(weight) for weight in weights]
    squares = [np.zeros_like(weight) for weight in weights]
    done = 0

    def step(slopes: list[Floats]) -> None:
        nonlocal done
        done += 1
        rate = RATE * (1.0 - (done - 1) / steps)
        for weight, slope, mean, square in zip(weights, slopes, means, squares, strict=True):
            mean += 0.1 * (slope - mean)
            square += 0.02 * (slope * slope - square)
            spread = np.sqrt(square / (1.0 - 0.98**done)) + 1e-8
            decay = DECAY * weight if weight.ndim > 1 else 0.0
            weight -= rate * (mean / (1.0 - 0.9**done) / spread + decay)

    return step
