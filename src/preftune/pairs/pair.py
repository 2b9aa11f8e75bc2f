"""One preference: a prompt, the answer that was preferred, the answer that was not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Message: TypeAlias = Mapping[str, Any]  # role, content and whatever else the file holds, untouched


@dataclass(frozen=True)
class PreferencePair:
    """A prompt (a list of messages), a chosen and a rejected answer (each one message of the assistant)."""

    prompt: Sequence[Message]
    chosen: Message
    rejected: Message
    tools: Sequence[Mapping[str, Any]] | None = None
    parallel_tool_calls: bool | None = None
    weight: float | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)  # what the source said beside the pair: id, scores, source

    @property
    def chosen_text(self) -> str:
        """Return the text of the chosen answer."""
        return message_text(self.chosen)

    @property
    def rejected_text(self) -> str:
        """Return the text of the rejected answer."""
        return message_text(self.rejected)


def message_text(message: Message) -> str:
    """Return the text of a message: its content, or the text parts of it joined, or nothing."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def shared_prefix(first: str, second: str) -> str:
    """Return the longest text that both texts begin with."""
    size = next((at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None)
    return first[: min(len(first), len(second)) if size is None else size]
