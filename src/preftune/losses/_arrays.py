"""One source for NumPy, PyTorch, JAX and CuPy arrays: the namespace, the widest float, and the checks on arguments."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

Array = Any  # any array of the array API standard


def namespace(*arrays: Array) -> Any:
    """Return the array namespace that the arrays share."""
    return array_api_compat.array_namespace(*arrays)


def widest(xp: Any, array: Array) -> Any:
    """Return the widest float dtype that the library has enabled where the array lives."""
    available = xp.__array_namespace_info__().dtypes(kind="real floating", device=array_api_compat.device(array))
    return available.get("float64", xp.float32)


def pair_arrays(**arguments: Array | None) -> dict[str, Array | None]:
    """Return the arguments as (B,) arrays of the widest float, on one namespace; those that are None stay None.

    Raises ValueError, naming the argument, for a wrong shape, an empty batch or a dtype that is not a number.
    """
    given = {name: _as_array(value) for name, value in arguments.items() if value is not None}
    first = next(iter(given.values()))
    xp = namespace(*given.values())
    for name, array in given.items():
        if array.ndim != 1:
            raise ValueError(f"{name}: expected shape (B,), found {tuple(array.shape)}; give one number a pair")
        if array.shape[0] == 0:
            raise ValueError(f"{name}: expected at least one pair, found an empty array")
        if array.shape != first.shape:
            raise ValueError(
                f"{name}: expected {first.shape[0]} pairs like {next(iter(given))}, found {array.shape[0]}"
            )
        if not xp.isdtype(array.dtype, ("real floating", "integral")):
            raise ValueError(f"{name}: expected real numbers, found dtype {array.dtype}")
    dtype = widest(xp, first)
    wide = {name: xp.astype(array, dtype, copy=False) for name, array in given.items()}
    return {name: wide.get(name) for name in arguments}


def first_index(xp: Any, condition: Array) -> int | None:
    """Return the index of the first true entry of a (B,) array, or None."""
    return int(xp.argmax(xp.astype(condition, xp.int32))) if bool(xp.any(condition)) else None


def number(scalar: Array) -> float:
    """Return a scalar array as a float, without the gradient that it may carry."""
    return float(scalar.detach() if array_api_compat.is_torch_array(scalar) else scalar)


def _as_array(value: Any) -> Array:
    return value if array_api_compat.is_array_api_obj(value) else np.asarray(value)
