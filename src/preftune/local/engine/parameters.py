"""Which numbers the model reads and which of them are trained: all of its own, or a low-rank adapter beside them.

    full      every array of the model is read and trained
    low rank  every matrix M, embeddings too, is read as M + scale * B @ A; M is frozen, A and B are trained

B begins at zero, so an adapted model begins as its base, bit for bit. Source: LoRA, arXiv 2106.09685.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Weights: TypeAlias = dict[str, Floats]
Rows: TypeAlias = NDArray[np.uint16]  # row numbers of a table


@dataclass(frozen=True, eq=False)
class Gradients:
    """The gradient of a batch: whole for the small arrays, touched rows alone for the tables."""

    dense: Weights
    rows: dict[str, tuple[Rows, Floats]]  # table: (row numbers, each once; their gradients)

    def norm(self) -> float:
        """Return the Euclidean norm over everything."""
        parts = [*self.dense.values(), *(values for _, values in self.rows.values())]
        return float(np.sqrt(sum(float(np.vdot(part, part)) for part in parts)))


class Parameters(Protocol):
    """What the model reads, and what the optimiser moves."""

    @property
    def trained(self) -> Weights:
        """Return the arrays that are trained, by name; changed in place."""

    def rows(self, name: str, ids: Rows) -> Floats:
        """Return rows of a table as the model sees them, (len(ids), WIDTH)."""

    def whole(self, name: str) -> Floats:
        """Return an array as the model sees it."""

    def pull_back(self, seen: Gradients) -> Gradients:
        """Return the gradient in what is trained for the gradient in what the model sees."""

    def merged(self) -> Weights:
        """Return the whole model as its own arrays."""


class Full:
    """Every array is the model's own, and trained."""

    def __init__(self, weights: Weights) -> None:
        self.trained = weights

    def rows(self, name: str, ids: Rows) -> Floats:
        """Return rows of a table."""
        return np.take(self.trained[name], ids, axis=0)

    def whole(self, name: str) -> Floats:
        """Return an array."""
        return self.trained[name]

    def pull_back(self, seen: Gradients) -> Gradients:
        """Return the gradient as it is."""
        return seen

    def merged(self) -> Weights:
        """Return the arrays themselves."""
        return self.trained


class LowRank:
    """Every matrix has an adapter of `rank`, scaled by `alpha` / `rank`; biases are frozen with the rest."""

    def __init__(self, base: Weights, *, rank: int, alpha: float, seed: int) -> None:
        random = np.random.default_rng(seed)
        self._base, self.rank, self.alpha = base, rank, alpha
        self._scale = np.float32(alpha / rank)
        self.trained: Weights = {}
        for name, matrix in _matrices(base).items():
            inner = random.normal(0, rank**-0.5, (rank, matrix.shape[1]))
            self.trained[f"{name}.lora_A"] = inner.astype(np.float32)
            self.trained[f"{name}.lora_B"] = np.zeros((matrix.shape[0], rank), np.float32)

    def rows(self, name: str, ids: Rows) -> Floats:
        """Return rows of a table with what the adapter adds to them."""
        a, b = self._adapter(name)
        rows: Floats = np.take(b, ids, axis=0) @ (self._scale * a)
        rows += np.take(self._base[name], ids, axis=0)
        return rows

    def whole(self, name: str) -> Floats:
        """Return an array, a matrix with what the adapter adds to it."""
        if self._base[name].ndim == 1:
            return self._base[name]
        a, b = self._adapter(name)
        return self._base[name] + b @ (self._scale * a)

    def pull_back(self, seen: Gradients) -> Gradients:
        """Return the gradient in A and B: scale * B^T G and scale * G A^T for a matrix whose gradient is G."""
        dense: Weights = {}
        rows: dict[str, tuple[Rows, Floats]] = {}
        for name, gradient in _matrices(seen.dense).items():
            a, b = self._adapter(name)
            dense[f"{name}.lora_A"] = self._scale * (b.T @ gradient)
            dense[f"{name}.lora_B"] = self._scale * (gradient @ a.T)
        for name, (ids, gradient) in seen.rows.items():
            a, b = self._adapter(name)
            dense[f"{name}.lora_A"] = self._scale * (np.take(b, ids, axis=0).T @ gradient)
            rows[f"{name}.lora_B"] = ids, self._scale * (gradient @ a.T)
        return Gradients(dense, rows)

    def merged(self) -> Weights:
        """Return the base with the adapter added."""
        return {name: self.whole(name) for name in self._base}

    def _adapter(self, name: str) -> tuple[Floats, Floats]:
        return self.trained[f"{name}.lora_A"], self.trained[f"{name}.lora_B"]


def _matrices(arrays: Weights) -> Weights:
    return {name: array for name, array in arrays.items() if array.ndim == 2}  # noqa: PLR2004 - rows and columns


def copied(weights: Mapping[str, Floats]) -> Weights:
    """Return weights that do not change with the originals."""
    return {name: array.copy() for name, array in weights.items()}
