"""From logits to log-probabilities of the tokens that stand in the data, and back to the gradient of the logits.

Invariant: no array of the logits' size is made, but the gradient itself. What is computed is computed block by block: a
block is a run of scored tokens of one row, short enough that its logits stay in the processor's cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import array_api_compat as compat
import numpy as np
from numpy.typing import NDArray

from preftune.losses._arrays import Array, first_index, namespace, of_one_library, widest

_BLOCK = 1 << 18  # logits of a block: 1 MiB of float32
_SHARING = 4  # times as many where the library's own threads share a block, as PyTorch's do
_BLOCK_BESIDE = 1 << 26  # on an accelerator, where many small kernels cost more than a cache saves: 256 MiB
_SMALL, _LARGE = 1e-30, 1e37  # between them a float32 sum of exponents has all of its digits


def token_logps(logits: Array, labels: Array, mask: Array) -> Array:
    """Return log-probabilities (B, T) in the widest float: entry t is that of token t where it is scored, else 0.

    `logits` is (B, T, V), `labels` (B, T) token ids, `mask` (B, T) true where a token is scored. The logits at position
    t-1 score token t, so token 0 cannot be scored. Gradients flow to PyTorch and JAX logits; those of PyTorch are
    written into one array of their size.
    Raises ValueError for what is no array, for shapes that do not fit, and for a mask that scores token 0.
    """
    xp, scored = checked(logits, labels, mask)
    if compat.is_torch_array(logits):  # pragma: no cover - the peers' environment has torch
        from preftune.losses._autograd import TokenLogps  # noqa: PLC0415 - torch is there only if its user has it

        return TokenLogps.apply(logits, labels, scored)
    return with_normalizers(xp, logits, labels, scored)[0]


def sequence_logps(logits: Array, labels: Array, mask: Array) -> tuple[Array, Array]:
    """Return summed log-probabilities (B,) in nats and numbers of scored tokens (B,); arguments as `token_logps`."""
    per_token = token_logps(logits, labels, mask)
    return namespace(per_token).sum(per_token, axis=1), lengths_of(per_token, mask)


def lengths_of(per_token: Array, mask: Array) -> Array:
    """Return how many tokens a mask scores, (B,), as the floats that the log-probabilities are."""
    xp = namespace(per_token)
    return xp.sum(xp.astype(xp.astype(mask, xp.bool), per_token.dtype), axis=1)


def with_normalizers(xp: Any, logits: Array, labels: Array, scored: Array) -> tuple[Array, Array]:
    """Return log-probabilities (B, T), and the log-sum-exp (B, T) of the logits that score each token."""
    normalizers = log_normalizers(xp, logits, scored)
    inside = xp.where(scored, labels, xp.zeros_like(labels))[:, 1:, None]
    picked = xp.take_along_axis(logits[:, :-1, :], _indices(xp, inside), axis=2)[..., 0]  # (B, T-1)
    found = xp.astype(picked, normalizers.dtype) - normalizers[:, 1:]
    found = xp.where(scored[:, 1:], found, xp.zeros_like(found))
    return xp.concat([xp.zeros_like(normalizers[:, :1]), found], axis=1), normalizers


def log_normalizers(xp: Any, logits: Array, scored: Array) -> Array:
    """Return the log-sum-exp of the logits at t-1 for every scored token t, (B, T) in the widest float, else 0."""
    batch, tokens, _ = logits.shape
    dtype = widest(xp, logits)
    if not writable(logits):  # JAX, and whatever else is never changed in place: every token, in order
        unread = xp.zeros((1,), dtype=dtype, device=compat.device(logits))
        rows = [[_careful(xp, block, dtype) for block in row_blocks(xp, logits, scored, row)] for row in range(batch)]
        return xp.stack([xp.concat([unread, *row]) for row in rows])

    normalizers = xp.zeros((batch, tokens), dtype=dtype, device=compat.device(logits))

    def work(blocks: list[_Block]) -> None:
        buffer = _buffer(xp, logits, blocks)
        with np.errstate(over="ignore", invalid="ignore"):
            for block in blocks:  # each result is put away at once: many small ones kept would scatter the memory
                normalizers[block.row, block.start : block.stop] = _log_sums(xp, block.of(logits), buffer, dtype)

    _in_threads(work, _blocks(scored, logits), logits)
    return normalizers


def logits_gradient(
    logits: Array, labels: Array, *, scored: Array, normalizers: Array, pull: Array, out: Array | None = None
) -> Array:
    """Return d (sum of pull * log-probabilities) / d logits, (B, T, V); `pull` and `normalizers` are (B, T).

    Writes into `out` where it is given, which may be `logits` themselves.
    """
    xp = namespace(logits)
    gradient = xp.empty_like(logits) if out is None else out
    labels = _indices(xp, labels)

    def work(blocks: list[_Block]) -> None:
        buffer = _buffer(xp, logits, blocks)
        with np.errstate(over="ignore", invalid="ignore"):
            for block in blocks:
                at = block.row, slice(block.start, block.stop)
                part = {"labels": labels[at], "normalizers": normalizers[at], "pull": pull[at]}
                _fill(xp, block.of(gradient), buffer, logits=block.of(logits), **part)

    _in_threads(work, _blocks(scored, logits), logits)
    unread = np.logical_not(_host(scored))  # the logits before a token that is not scored, and the last of each row
    for row, flags in enumerate(np.roll(unread, -1, axis=1)):
        for start, stop in _runs(flags):
            gradient[row, start:stop, :] = 0
    return gradient


class _Block(NamedTuple):
    """Scored tokens from `start` to `stop` of a row."""

    row: int
    start: int
    stop: int

    def of(self, logits: Array) -> Array:
        """Return the logits that score the tokens, (size, V), where they stand."""
        return logits[self.row, self.start - 1 : self.stop - 1, :]


def row_blocks(xp: Any, logits: Array, scored: Array, row: int) -> Iterator[Array]:
    """Yield the logits of a row that stand before a token, 0 to T-2, block by block, (c, V).

    Where the token is not scored they are zeros: what stands there, NaN even, reaches neither values nor gradients.
    """
    last, longest = int(logits.shape[1]) - 1, _longest(logits)
    for start in range(0, last, longest):
        stop = min(start + longest, last)
        block = logits[row, start:stop, :]
        yield xp.where(scored[row, start + 1 : stop + 1, None], block, xp.zeros_like(block[:1, :1]))


def _blocks(scored: Array, logits: Array) -> list[_Block]:
    longest = _longest(logits)
    return [
        _Block(row, at, min(at + longest, stop))
        for row, flags in enumerate(_host(scored))
        for start, stop in _runs(flags)
        for at in range(start, stop, longest)
    ]


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return where runs of true entries begin and end."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _longest(logits: Array) -> int:
    """Return the tokens of the longest block."""
    sharing = 1 if isinstance(logits, np.ndarray) else _SHARING
    on_processor = str(compat.device(logits)).startswith("cpu")
    return max(1, (_BLOCK * sharing if on_processor else _BLOCK_BESIDE) // int(logits.shape[-1]))


def _buffer(xp: Any, logits: Array, blocks: list[_Block]) -> Array:
    """Return room for the exponents of any of the blocks; exponents in half precision would lose digits."""
    longest = max((block.stop - block.start for block in blocks), default=0)
    dtype = xp.result_type(logits.dtype, xp.float32)
    return xp.empty((longest, logits.shape[2]), dtype=dtype, device=compat.device(logits))


def _log_sums(xp: Any, block: Array, buffer: Array, dtype: Any) -> Array:
    """Return the log-sum-exp of each row of a block, (c,)."""
    powers = xp.exp(xp.astype(block, buffer.dtype, copy=False), out=buffer[: block.shape[0], ...])
    total = xp.sum(powers, axis=1, dtype=dtype)
    if bool(xp.all((total > _SMALL) & (total < _LARGE))):  # nearly always: no maximum has to be looked for first
        return xp.log(total)
    return _careful(xp, block, dtype)


def _fill(
    xp: Any, target: Array, buffer: Array, *, logits: Array, labels: Array, normalizers: Array, pull: Array
) -> None:  # fmt: skip
    """Write pull * (one-hot - softmax) of a block, (c, V), into `target`."""
    exact = target if target.dtype == buffer.dtype else buffer[: logits.shape[0], ...]
    shift, factor = (xp.astype(each[:, None], exact.dtype) for each in (normalizers, pull))
    xp.subtract(xp.astype(logits, exact.dtype, copy=False), shift, out=exact)
    xp.exp(exact, out=exact)
    exact *= -factor
    exact[xp.arange(logits.shape[0], device=compat.device(logits)), labels] += factor[:, 0]
    if exact is not target:
        target[...] = xp.astype(exact, target.dtype)


def _careful(xp: Any, block: Array, dtype: Any) -> Array:
    """Return the log-sum-exp of each row of a block, (c,), whatever the logits are."""
    block = xp.astype(block, xp.result_type(block.dtype, xp.float32), copy=False)
    top = xp.max(block, axis=1, keepdims=True)
    total = xp.sum(xp.exp(block - top), axis=1, dtype=dtype)
    return xp.astype(top[:, 0], dtype) + xp.log(total)


def _in_threads(work: Callable[[list[_Block]], None], blocks: list[_Block], logits: Array) -> None:
    """Have the work done on the blocks, each in one thread alone; NumPy has no threads of its own for it."""
    count = min(len(blocks), _cores()) if isinstance(logits, np.ndarray) else 1
    if count <= 1:
        work(blocks)
        return
    cuts = [len(blocks) * part // count for part in range(count + 1)]
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(work, [blocks[start:stop] for start, stop in pairwise(cuts)]))  # raises what one of them raised


def _cores() -> int:
    """Return how many cores this process may use; macOS and Windows do not say which those are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _indices(xp: Any, labels: Array) -> Array:
    """Return labels as the integers that the library indexes with; PyTorch takes some others for masks, or not."""
    return xp.astype(labels, xp.__array_namespace_info__().default_dtypes()["indexing"], copy=False)


def writable(logits: Array) -> bool:
    """Tell whether arrays like these can be written into, with `out=` and by index."""
    return compat.is_numpy_array(logits) or compat.is_torch_array(logits) or compat.is_cupy_array(logits)


def _host(mask: Array) -> NDArray[np.bool_]:
    """Return a (B, T) mask as NumPy's, wherever it lives."""
    return np.asarray(compat.to_device(mask, "cpu"))


def checked(logits: Array, labels: Array | None, mask: Array) -> tuple[Any, Array]:
    """Return the namespace and the mask as booleans; raise ValueError for what does not fit."""
    of_one_library({"logits": logits} | ({} if labels is None else {"labels": labels}) | {"mask": mask})
    xp = namespace(logits)
    scored = xp.astype(mask, xp.bool)
    if logits.ndim != 3 or 0 in logits.shape:  # noqa: PLR2004 - (B, T, V)
        raise ValueError(f"logits: expected shape (B, T, V), none of them 0, found {tuple(logits.shape)}")
    if not xp.isdtype(logits.dtype, "real floating"):
        raise ValueError(f"logits: expected real numbers, found dtype {logits.dtype}")
    for name, array in (("labels", labels), ("mask", scored)):
        if array is not None and tuple(array.shape) != tuple(logits.shape[:2]):
            raise ValueError(f"{name}: expected shape {tuple(logits.shape[:2])}, found {tuple(array.shape)}")
    row = first_index(xp, scored[:, 0])
    if row is not None:
        raise ValueError(f"mask[{row}, 0]: expected false, found true; no logits score the first token")
    if labels is not None:
        _check_labels(xp, labels, scored, int(logits.shape[2]))
    return xp, scored


def _check_labels(xp: Any, labels: Array, scored: Array, vocabulary: int) -> None:
    if not xp.isdtype(labels.dtype, "integral"):
        raise ValueError(f"labels: expected integer token ids, found dtype {labels.dtype}")
    for name, wrong in (("negative", labels < 0), ("at or above the vocabulary", labels >= vocabulary)):
        row = first_index(xp, xp.any(wrong & scored, axis=1))
        if row is not None:
            raise ValueError(
                f"labels[{row}]: expected ids in 0..{vocabulary - 1} where the mask is true, found one {name}"
            )
