"""Every block of the guide is run, page by page, in the order of the page, against the local server."""

import io
import json
import re
import shlex
from importlib.resources import files
from pathlib import Path

import pytest

import preftune as pt
from preftune.cli import main

ROOT = Path(__file__).parents[2]
PAGES = ["quickstart", "prepare-data", "choose-knobs", "sft-then-dpo", "read-a-run", "download"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NOT_RUN = ("pip install ", "preftune serve ", "export ")  # the fixture has done what they do
pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path, monkeypatch, preftune_environment):
    """Return a folder with the files that the guide names, on a machine that has asked for two jobs."""
    monkeypatch.chdir(tmp_path)
    data = files("preftune.recipes.demo_data")
    for name, source in (("pairs", "train"), ("heldout", "heldout")):
        lines = (data / f"{source}.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / f"{name}.jsonl").write_text("".join(lines[:120]))
    pt.convert("pairs.jsonl", "trl.jsonl", target="trl")
    with pt.Client() as client:
        file = client.files.wait(client.files.upload("pairs.jsonl"))
        fields = {"model": "m", "training_file": file.id, "training_method": "dpo"}
        jobs = [client.fine_tuning.create(**fields, learning_rate=rate) for rate in (1e-5, 1e-4)]
        return {f"ft-{number}": client.fine_tuning.wait(job).id for number, job in enumerate(jobs, 1)}


def commands(text):
    """Return the commands of a console block."""
    return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]


def test_the_commands_of_the_readme_run(place, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # submit asks
    for kind, text in BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")):
        for line in commands(text) if kind == "console" else ():
            perform(line, place, capsys)


def test_no_page_has_a_block_that_nothing_runs():
    elsewhere = {
        "testing",
        "losses",
        "rules",
        "formats",
        "command-help",
    }  # by tests of their own, or made from the code
    pages = {path.stem for path in (ROOT / "docs").glob("*.md") if BLOCK.search(path.read_text(encoding="utf-8"))}
    assert pages == {*PAGES} | elsewhere


def perform(line, place, capsys):
    """Run one command of a console block."""
    if not line.startswith(NOT_RUN):
        first, *arguments = shlex.split(line, comments=True)
        with pytest.raises(SystemExit) as end:
            main([place.get(each, each) for each in arguments])
        assert (first, end.value.code) == ("preftune", 0), f"{line}\n{capsys.readouterr().err}"


@pytest.mark.parametrize("name", PAGES)
def test_every_block_of_a_page_runs(name, place, capsys):
    space = {"__name__": "guide"}
    found = BLOCK.findall((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"))
    assert {kind for kind, _ in found} <= {"console", "python", "toml", "json", "text"}
    for kind, text in found:
        if kind == "python":
            exec(compile(text, name, "exec"), space)  # noqa: S102 - the guide is our own
        elif kind == "toml":
            Path("job.toml").write_text(text)
        elif kind == "json":
            Path("shown.jsonl").write_text(json.dumps(json.loads(text)) + "\n")
            pt.check("shown.jsonl").raise_for_errors()
        elif kind == "console":
            for line in commands(text):
                perform(line, place, capsys)
        capsys.readouterr()


def test_every_page_of_tasks_is_run():
    listed = re.search(
        r":caption: Tasks\n:maxdepth: 1\n\n(.*?)```", (ROOT / "docs" / "index.md").read_text(), re.DOTALL
    )
    assert {*listed[1].split(), "quickstart"} == {*PAGES, "testing"}  # whose blocks are run by its own test


def test_every_page_is_in_the_table_of_contents():
    pages = {path.stem for path in (ROOT / "docs").glob("*.md") if not path.name.endswith(".head.md")} | {"api"}
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = {line for block in re.findall(r"```\{toctree\}\n(.*?)```", index, re.DOTALL) for line in block.split()}
    assert pages - {"index"} == {name for name in listed if name in pages}


def test_links_to_files_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", BLOCK.sub("", text)):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_public_name_is_in_the_reference():
    page = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8")
    rooms = {"errors", "losses"}  # whole, by automodule
    names = [f"preftune.{name}" for name in pt.__all__ if name not in rooms | {"pairs", "runs"}]
    names += [f"preftune.pairs.{name}" for name in pt.pairs.__all__ if name not in ("check", "convert")]
    runs = set(pt.runs.__all__) - {"By", "Method", "diagnose"}  # two names of types; one that stands above
    names += [f"preftune.runs.{name}" for name in runs]
    shown = re.findall(r"^\.\. auto\w+:: (.+)$", page, re.MULTILINE)
    assert sorted(set(names) - set(shown)) == []
    assert {f"preftune.{room}" for room in rooms} <= set(shown)
