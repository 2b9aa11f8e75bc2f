import sys
from types import ModuleType

import pytest

from preftune.lazy import lazily


@pytest.fixture
def package(monkeypatch):
    """Make a package with a module `home`, which holds `thing`, and a room `room`."""
    made = {name: ModuleType(name) for name in ("pack", "pack.home", "pack.room")}
    made["pack"].__path__ = []
    made["pack.home"].thing = object()
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
    return made


def test_a_name_is_bound_on_first_use(package):
    space = {}
    bind, _ = lazily("pack", space, {"thing": "home"})
    assert space == {}
    assert bind("thing") is package["pack.home"].thing
    assert space == {"thing": package["pack.home"].thing}


def test_a_room_is_a_name_itself(package):
    space = {}
    bind, _ = lazily("pack", space, {}, ("room",))
    assert bind("room") is package["pack.room"]
    assert space == {"room": package["pack.room"]}


def test_another_name_is_an_attribute_error():
    bind, _ = lazily("pack", {}, {"thing": "home"})
    with pytest.raises(AttributeError, match=r"^module 'pack' has no attribute 'thin'$"):
        bind("thin")


def test_names_are_listed_before_they_are_bound():
    _, names = lazily("pack", {"__doc__": ""}, {"thing": "home"}, ("room",))
    assert names() == ["__doc__", "room", "thing"]
