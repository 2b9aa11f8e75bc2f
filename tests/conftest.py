from pathlib import Path

import pytest


@pytest.fixture
def real_data():
    """Return the folder of real preference data beside a development checkout; skip where it is absent."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data is not beside this checkout")
    return folder
