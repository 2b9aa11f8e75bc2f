import uuid
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_state_dir(tmp_path_factory, monkeypatch):
    """Keep the ledger of each test to itself; the folder is made only when something is written."""
    monkeypatch.setenv("PREFTUNE_STATE_DIR", str(tmp_path_factory.getbasetemp() / f"state-{uuid.uuid4().hex}"))


@pytest.fixture
def real_data():
    """Return the folder of real preference data beside a development checkout; skip where it is absent."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data is not beside this checkout")
    return folder
