"""Weights on disk: safetensors, tables as their rows that are not zero; and the archives that users download.

An adapter is what was trained beside the frozen model: for every matrix M of it `M.lora_A` and `M.lora_B`, and in its
`adapter_config.json` the scale lora_alpha / r, so that the trained model is M + scale * B @ A.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from safetensors import safe_open
from safetensors.numpy import load_file, save

from preftune.local.engine.encode import TABLE_BITS
from preftune.local.engine.model import base_weights
from preftune.local.engine.parameters import Weights
from preftune.local.engine.train import State

_FORMAT = "preftune-embedded-1"
_LEVEL = 3  # of zstd: weights are noise to a compressor


def save_weights(weights: Weights, path: Path) -> None:
    """Write the weights so that the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, save(_sparse(weights), metadata={"format": _FORMAT}))


def load_weights(path: Path) -> Weights:
    """Return the weights that `save_weights` wrote."""
    stored, weights = load_file(path), base_weights()
    for name, array in weights.items():
        if f"{name}.rows" in stored:  # the base model's tables are zero
            array[stored[f"{name}.rows"]] = stored[f"{name}.values"]
        else:
            array[:] = stored[name]
    return weights


def save_state(state: State, path: Path) -> None:
    """Write where a training stands, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, save(_sparse(state.arrays), metadata={"numbers": json.dumps(state.numbers)}))


def load_state(path: Path) -> State:
    """Return what `save_state` wrote."""
    with safe_open(path, framework="numpy") as stored:
        numbers = json.loads(stored.metadata()["numbers"])
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - it is no mapping
    arrays: Weights = {}
    for name, value in tensors.items():
        if name.endswith(".values"):
            table = np.zeros((1 << TABLE_BITS, value.shape[1]), value.dtype)
            table[tensors[name.removesuffix(".values") + ".rows"]] = value
            arrays[name.removesuffix(".values")] = table
        elif not name.endswith(".rows"):
            arrays[name] = value
    return State(arrays, numbers)


def merged_archive(weights: Weights, config: dict[str, Any]) -> bytes:
    """Return the whole model as a .tar.zst."""
    return _archive(
        {"model.safetensors": save(_sparse(weights), metadata={"format": _FORMAT}), "config.json": _json(config)}
    )


def adapter_archive(trained: Weights, config: dict[str, Any]) -> bytes:
    """Return a low-rank adapter as a .tar.zst."""
    tensors = save(_sparse(trained), metadata={"format": _FORMAT})
    return _archive({"adapter_model.safetensors": tensors, "adapter_config.json": _json(config)})


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, make it last, rename it."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _sparse(weights: Weights) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for name, value in weights.items():
        if len(value) == 1 << TABLE_BITS:  # a table, its B, or its moments
            rows = np.flatnonzero(value.any(axis=1)).astype(np.int32)
            arrays |= {f"{name}.rows": rows, f"{name}.values": np.ascontiguousarray(value[rows])}
        else:
            arrays[name] = np.ascontiguousarray(value)
    return arrays


def _archive(files: dict[str, bytes]) -> bytes:
    """Return files as a .tar.zst that depends on nothing but them: no time, no owner."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return zstandard.ZstdCompressor(level=_LEVEL).compress(buffer.getvalue())


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode()
