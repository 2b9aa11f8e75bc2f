"""A key that shows itself to nobody, and no more than that: importing this costs nothing."""


class Secret:
    """Text that no repr, message or log line shows; `reveal()` gives it to the one place that sends it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('…')"

    def __reduce__(self) -> str:
        raise TypeError("a key is not pickled; make another client where it is needed")

    def __bool__(self) -> bool:
        return bool(self._text)
