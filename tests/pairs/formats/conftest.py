import pytest

from preftune.pairs.formats import LAYOUTS


@pytest.fixture
def layouts():
    """Return the layouts by their names."""
    return {layout.name: layout for layout in LAYOUTS}
