import importlib
import subprocess
import sys

import pytest

from preftune import pairs


def test_every_name_is_what_its_module_defines():
    for name, home in pairs._HOMES.items():
        assert getattr(pairs, name) is getattr(importlib.import_module(f"preftune.pairs.{home}"), name)
    assert set(pairs.__all__) <= set(dir(pairs))


def test_a_misspelt_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'preftune\.pairs' has no attribute 'chekc'$"):
        _ = pairs.chekc


def test_no_module_of_the_room_has_the_name_of_a_function():
    assert set(pairs._HOMES.values()).isdisjoint(pairs.__all__)


def test_what_scans_a_part_of_a_file_imports_nothing_that_only_the_whole_needs():
    heavy = ("pydantic", "httpx", "rich", "numpy", "preftune.pairs.formats.table", "preftune.pairs.formats.judged")
    code = f"import sys; from preftune.pairs import scan; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
