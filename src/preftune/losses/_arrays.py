"""One source for NumPy, PyTorch, JAX and CuPy arrays: the namespace, the widest float, and the checks on arguments."""

from __future__ import annotations

from collections.abc import Mapping
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

    Lists become arrays of the library that the other arguments are of. Raises ValueError, naming the argument, for a
    wrong shape, an empty batch, a dtype that is not a number, or arrays of two libraries.
    """
    some = {name: value for name, value in arguments.items() if value is not None}
    given = {name: value if _is_array(value) else _listed(name, value) for name, value in some.items()}
    first = next(iter(given.values()))
    for name, array in given.items():
        if array.ndim != 1:
            raise ValueError(f"{name}: expected shape (B,), found {tuple(array.shape)}; give one number a pair")
        if array.shape[0] == 0:
            raise ValueError(f"{name}: expected at least one pair, found an empty array")
        if array.shape != first.shape:
            raise ValueError(
                f"{name}: expected {first.shape[0]} pairs like {next(iter(given))}, found {array.shape[0]}"
            )
        if not namespace(array).isdtype(array.dtype, ("real floating", "integral")):
            raise ValueError(f"{name}: expected real numbers, found dtype {array.dtype}")
    like = of_one_library({name: array for name, array in given.items() if _is_array(some[name])} or given)
    return {name: _widened(given[name], like) if name in given else None for name in arguments}


def needed_arrays(**arguments: Array | None) -> dict[str, Array]:
    """Return the arguments as `pair_arrays` does; raise ValueError, naming the argument, for one that is None."""
    for name, value in arguments.items():
        if value is None:
            raise ValueError(f"{name}: needed, found None; give one number a pair")
    return pair_arrays(**arguments)


_LEAST = {  # argument: the smallest value of a pair, in words, and what to do below it
    "chosen_lengths": (1, "scored token", "drop the pair, or look for an empty or cut-away answer"),
    "rejected_lengths": (1, "scored token", "drop the pair, or look for an empty or cut-away answer"),
    "weights": (0, "as a weight", "swap the sides of a pair to turn its preference round"),
}


def refuse_below(arrays: Mapping[str, Array | None]) -> None:
    """Raise ValueError, naming argument and pair, for a length below 1, a weight below 0, or one that is NaN."""
    for name, (least, what, hint) in _LEAST.items():
        array = arrays.get(name)
        pair = None if array is None else first_index(namespace(array), ~(array >= least))  # NaN too
        if array is not None and pair is not None:
            found = f"{number(array[pair]):g}"
            raise ValueError(f"{name}[{pair}]: expected at least {least} {what}, found {found}; {hint}")


def first_index(xp: Any, condition: Array) -> int | None:
    """Return the index of the first true entry of a (B,) array, or None."""
    return int(xp.argmax(xp.astype(condition, xp.int32))) if bool(xp.any(condition)) else None


def number(scalar: Array) -> float:
    """Return a scalar array as a float, without the gradient that it may carry."""
    return float(without_graph(scalar))


def without_graph(value: Any) -> Any:
    """Return an array without the gradient that it may carry: the same numbers in the same place."""
    return value.detach() if array_api_compat.is_torch_array(value) else value


def _is_array(value: Any) -> bool:
    return bool(array_api_compat.is_array_api_obj(value))


def _listed(name: str, values: Any) -> Array:
    """Return a list as an array."""
    try:
        return np.asarray(values)
    except ValueError:
        found = "found lists of several lengths; give one number a pair"
        raise ValueError(f"{name}: expected shape (B,), {found}") from None


def of_one_library(arrays: dict[str, Array]) -> Array:
    """Return the first of the arrays; raise ValueError for one that is none, and where they are of two libraries."""
    known, like = next(iter(arrays.items()))
    for name, array in arrays.items():
        if not _is_array(array):
            found = f"found {type(array).__name__}; numpy.asarray makes one of it"
            raise ValueError(f"{name}: expected an array, {found}")
        if namespace(array) is not namespace(like):
            found = f"found {type(array).__module__}.{type(array).__name__}; convert one of them"
            raise ValueError(f"{name}: expected an array of the library that {known} is of, {found}")
    return like


def _widened(array: Array, like: Array) -> Array:
    """Return an array as the widest float of the library, and on the device, that another one is of."""
    xp = namespace(like)
    if namespace(array) is xp:
        return xp.astype(array, widest(xp, like), copy=False)
    return xp.asarray(array.tolist(), dtype=widest(xp, like), device=array_api_compat.device(like))
