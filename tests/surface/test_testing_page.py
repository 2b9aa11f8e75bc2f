"""The page on testing, done as it says."""

import re
from pathlib import Path

import pytest

from preftune.recipes.sample import write_sample

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
SCRIPT = """
import preftune as pt

with pt.Client() as client:
    file = client.files.upload("pairs.jsonl")
    job = client.fine_tuning.create(model="Qwen/Qwen3-8B", training_file=file.id, training_method="dpo")
    assert [row.step for row in client.fine_tuning.stream_metrics(job)] == [1, 2]
"""

pytest_plugins = ["pytester"]


@pytest.mark.slow
def test_the_tests_of_the_page_pass_as_they_stand(pytester):
    write_sample(pytester.path)[0].rename(pytester.path / "pairs.jsonl")
    (pytester.path / "train.py").write_text(SCRIPT, encoding="utf-8")
    pytester.makepyfile("\n\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)))
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-W", "error", "--strict-markers")
    result.assert_outcomes(passed=PAGE.count("def test_"))


def test_every_fixture_of_the_page_is_there_and_the_other_way_round(pytestconfig):
    source = (Path(__file__).parents[2] / "src" / "preftune" / "pytest_plugin.py").read_text(encoding="utf-8")
    fixtures = set(re.findall(r"^def (preftune_\w+)\(", source, re.MULTILINE))
    assert set(re.findall(r"^\| `(preftune_\w+)` \|", PAGE, re.MULTILINE)) == fixtures
