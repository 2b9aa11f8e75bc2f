"""Why a request is refused, as a value that any handler can raise."""

from __future__ import annotations

_SHOWN = 60  # characters of a value in a message


class Refused(Exception):  # noqa: N818 - never leaves the room: it becomes an answer
    """Why a request is refused: a status, a sentence, and the field it is about."""

    def __init__(self, message: str, *, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message, self.param, self.status = message, param, status


def shown(value: object) -> str:
    """Return a value as a message shows it."""
    words = repr(value)
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}…"
