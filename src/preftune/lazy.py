"""Names that a package binds on first use (PEP 562), so that importing it costs nothing."""

TYPE_CHECKING = False  # importing typing costs more than this whole file
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def lazily(
    package: str, space: "dict[str, Any]", homes: "Mapping[str, str]", rooms: "tuple[str, ...]" = ()
) -> "tuple[Callable[[str], Any], Callable[[], list[str]]]":
    """Return `__getattr__` and `__dir__` of a package whose namespace is `space`.

    `homes` says in which module each name stands; `rooms` are packages that are names themselves.
    """

    def bind(name: str) -> "Any":
        from importlib import import_module  # noqa: PLC0415 - first use only

        if name in homes:
            value = getattr(import_module(f"{package}.{homes[name]}"), name)
        elif name in rooms:
            value = import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        space[name] = value
        return value

    return bind, lambda: sorted({*space, *homes, *rooms})
