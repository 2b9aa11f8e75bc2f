import pytest

from preftune.pairs.formats.table import LAYOUTS


@pytest.fixture
def layouts():
    """Return the layouts by their names."""
    return {layout.name: layout for layout in LAYOUTS}
