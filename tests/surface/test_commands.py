import json
import re
from pathlib import Path

import pytest

from preftune import cli

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
SHAPES = dict(re.findall(r"^\| (`[a-z]+`(?:, `[a-z]+`)*) \| (.+) \|$", PAGE, re.MULTILINE))


def test_every_command_is_on_the_page_and_nothing_else():
    assert re.findall(r"^\| `preftune ([a-z]+)", PAGE, re.MULTILINE) == list(cli._COMMANDS)


@pytest.mark.parametrize(
    "name", ["checkpoints", "diagnose", "download", "events", "explain", "jobs", "metrics", "models", "report", "show"]
)
def test_json_has_the_shape_that_the_page_tells(
    name, capsys, preftune_environment, preftune_job, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    job = [] if name in ("explain", "jobs", "models") else [preftune_job.id]
    with pytest.raises(SystemExit, match="0"):
        cli.main([name, *job, "--json"])
    told = json.loads(capsys.readouterr().out)
    shape = next(text for names, text in SHAPES.items() if f"`{name}`" in names)
    named = re.findall(r"`(\w+)`(?=:|$|; )", shape.partition("; of one model")[0])
    assert [*told] == ["version", *named[: len(told) - 1]]
    assert told["version"] == 1
