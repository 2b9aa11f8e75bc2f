"""What is learned: answers, or preferences between two of them. Loss, gradient and metrics of any batch of examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from preftune.local.engine.encode import Encoded, EncodedPair
from preftune.local.engine.model import Batch, learn, sequence_logps
from preftune.local.engine.parameters import Gradients, Parameters
from preftune.losses import DPO, preference_gradients, preference_loss, preference_metrics

_EVAL_BATCH = 16  # examples scored at once; fixed, so that an evaluation never depends on the batch size


class Objective(Protocol):
    """Examples, their loss, its gradient."""

    def __len__(self) -> int:
        """Return the number of examples."""

    @property
    def tokens(self) -> int:
        """Return the number of tokens that are scored in one pass."""

    def prepare(self, parameters: Parameters, batches: Sequence[NDArray[np.int64]]) -> None:
        """Look at the model before the first step, in the batches that come first."""

    def learn(self, parameters: Parameters, examples: NDArray[np.int64]) -> tuple[dict[str, float], Gradients]:
        """Return the metrics of a batch and the gradient of its loss."""

    def evaluate(self, parameters: Parameters) -> dict[str, float]:
        """Return the metrics over all examples."""


class Supervised:
    """Next-token loss on answers: the mean over the tokens of a batch."""

    def __init__(self, answers: Sequence[Encoded]) -> None:
        self._answers = answers

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def tokens(self) -> int:
        """Return the number of answer tokens."""
        return sum(answer.targets.size for answer in self._answers)

    def prepare(self, parameters: Parameters, batches: Sequence[NDArray[np.int64]]) -> None:
        """Do nothing: there is no reference."""

    def learn(self, parameters: Parameters, examples: NDArray[np.int64]) -> tuple[dict[str, float], Gradients]:
        """Return the loss of a batch and its gradient."""
        batch = self._batch(examples)
        tokens = max(1, batch.targets.size)
        logps, gradients = learn(parameters, batch, lambda _, some: np.full(some.size, -1 / tokens))
        return {"loss": float(-logps.sum() / tokens)}, gradients

    def evaluate(self, parameters: Parameters) -> dict[str, float]:
        """Return the loss over all answers."""
        logps = [sequence_logps(parameters, self._batch(examples)) for examples in in_turn(len(self))]
        return {"loss": -float(np.concatenate(logps).sum()) / max(1, self.tokens)}

    def _batch(self, examples: NDArray[np.int64]) -> Batch:
        return Batch.of([(self._answers[i],) for i in examples])


class Preference:
    """The preference loss against the model as it was when the training began."""

    def __init__(self, pairs: Sequence[EncodedPair], method: DPO) -> None:
        self._pairs, self._method = pairs, method
        sizes = [(pair.chosen.targets.size, pair.rejected.targets.size) for pair in pairs]
        self._lengths = np.array(sizes, np.float64).reshape(-1, 2)  # (pairs, 2): chosen, rejected
        self._weights = np.array([pair.weight for pair in pairs], np.float64)
        self._reference: NDArray[np.float64] = np.zeros((0, 2))  # as the lengths

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def tokens(self) -> int:
        """Return the number of answer tokens of both sides."""
        return int(self._lengths.sum())

    def prepare(self, parameters: Parameters, batches: Sequence[NDArray[np.int64]]) -> None:
        """Score every pair under the reference, grouped as it will be scored first, so that step 1 is at exactly 0."""
        self._reference = np.zeros((len(self), 2))
        for examples in batches:
            self._reference[examples] = sequence_logps(parameters, self._batch(examples)).reshape(-1, 2)

    def learn(self, parameters: Parameters, examples: NDArray[np.int64]) -> tuple[dict[str, float], Gradients]:
        """Return the metrics of a batch and the gradient of its loss."""

        def pull(sequences: slice, logps: NDArray[np.float64]) -> NDArray[np.float64]:
            some = examples[sequences.start // 2 : sequences.stop // 2]
            by_side = preference_gradients(**self._arguments(some, logps.reshape(-1, 2)), method=self._method)
            return np.stack(by_side, axis=1).ravel() / len(examples)

        logps, gradients = learn(parameters, self._batch(examples), pull)
        return self._metrics(examples, logps.reshape(-1, 2)), gradients

    def evaluate(self, parameters: Parameters) -> dict[str, float]:
        """Return the metrics over all pairs."""
        return self._metrics(np.arange(len(self)), self.score(parameters))

    def score(self, parameters: Parameters) -> NDArray[np.float64]:
        """Return the log-probabilities of every pair, (pairs, 2): chosen, rejected."""
        return np.concatenate(
            [sequence_logps(parameters, self._batch(some)).reshape(-1, 2) for some in in_turn(len(self))]
        )

    def _batch(self, examples: NDArray[np.int64]) -> Batch:
        return Batch.of([(self._pairs[i].chosen, self._pairs[i].rejected) for i in examples])

    def _arguments(self, examples: NDArray[np.int64], logps: NDArray[np.float64]) -> dict[str, Any]:
        lengths = self._lengths[examples]
        return self._logps(examples, logps) | {
            "chosen_lengths": lengths[:, 0],
            "rejected_lengths": lengths[:, 1],
            "weights": self._weights[examples],
        }

    def _logps(self, examples: NDArray[np.int64], logps: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        reference = self._reference[examples]
        return {
            "policy_chosen_logps": logps[:, 0],
            "policy_rejected_logps": logps[:, 1],
            "reference_chosen_logps": reference[:, 0],
            "reference_rejected_logps": reference[:, 1],
        }

    def _metrics(self, examples: NDArray[np.int64], logps: NDArray[np.float64]) -> dict[str, float]:
        loss = preference_loss(**self._arguments(examples, logps), method=self._method)
        return preference_metrics(loss, **self._logps(examples, logps))


def in_turn(examples: int) -> list[NDArray[np.int64]]:
    """Return the batches in which examples are scored when nothing is learned."""
    return [np.arange(start, min(start + _EVAL_BATCH, examples)) for start in range(0, examples, _EVAL_BATCH)]
