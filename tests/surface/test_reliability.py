import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+) \| `(tests/[\w/]+\.py)`, `(test_\w+)` \|$", PAGE, re.MULTILINE)


def test_every_section_lists_its_promises_with_a_test_each():
    tables = {
        section.partition("\n")[0]: re.findall(r"^\| (?!promise \|)", section, re.MULTILINE)
        for section in PAGE.split("\n## ")[1:]
    }
    assert [title for title, rows in tables.items() if not rows] == []
    assert sum(map(len, tables.values())) == len(ROWS)


@pytest.mark.parametrize(("promise", "file", "test"), ROWS, ids=[test for _, _, test in ROWS])
def test_every_promise_has_its_test(promise, file, test):
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^(def {test}\(|{test} = )", text, re.MULTILINE), f"{promise}: {file} has no {test}"
