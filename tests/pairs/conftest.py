import json
from pathlib import Path

import pytest


@pytest.fixture
def write_rows(tmp_path):
    """Return a function that writes rows as JSONL and returns the path."""

    def write(*rows, name="pairs.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def write_bytes(tmp_path):
    """Return a function that writes bytes and returns the path."""

    def write(content: bytes, name="pairs.jsonl") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write
