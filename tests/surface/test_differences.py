import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "differences.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+) \| `(tests/[\w/]+\.py)`, `(test_\w+)` \|$", PAGE, re.MULTILINE)
LISTED = re.findall(r"^\| (?!hosted \|)", PAGE, re.MULTILINE)


def test_every_difference_has_a_test_and_every_test_a_difference():
    assert len(LISTED) == len(ROWS)
    tests = set(re.findall(r"^def (test_\w+)", (ROOT / "tests/local/test_differences.py").read_text(), re.MULTILINE))
    assert tests == {test for _, _, test in ROWS}


@pytest.mark.parametrize(("difference", "file", "test"), ROWS, ids=[test for _, _, test in ROWS])
def test_every_difference_is_held_by_the_test_that_it_names(difference, file, test):
    assert f"\ndef {test}(" in (ROOT / file).read_text(encoding="utf-8"), difference
