"""What the documents say is there."""

import json
import re
import tomllib
from pathlib import Path

import pytest

import preftune as pt

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
pytest_plugins = ["pytester"]
DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)", text) if "://" not in target]
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_page_that_the_code_cites_has_the_section():
    for file in (ROOT / "src").rglob("*.py"):
        text = " ".join(file.read_text(encoding="utf-8").split())
        for page, title in re.findall(r"Source: (docs/\w+\.md), ([A-Z][\w -]+)", text):
            headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
            assert any(heading.startswith(title) for heading in headings), (
                f"{file.name}: {page} has no section {title!r}"
            )


def test_the_rooms_of_the_plan_are_the_rooms():
    plan = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    source = ROOT / "src" / "preftune"
    rooms = {path.name for path in source.iterdir() if (path / "__init__.py").is_file()}
    assert rooms == set(re.findall(r"^  (\w+)/ ", plan, re.MULTILINE))


def _without_numbers(text):
    """Return a text without what differs from machine to machine: numbers, line breaks, which way a curve went."""
    return " ".join(re.sub(r"rose|fell", "moved", re.sub(r"[0-9.]+", "#", text)).split())


@pytest.mark.slow
def test_the_python_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = (ROOT / "src/preftune/recipes/demo_data/train.jsonl").read_text(encoding="utf-8")
    (tmp_path / "pairs.jsonl").write_text(rows, encoding="utf-8")
    block, _ = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})  # noqa: S102 - our own page
    said = capsys.readouterr().out
    assert said.startswith("pairs.jsonl: 300 pairs, ")
    assert "The hosted side would take this file.\n" in said
    (shown,) = re.findall(r"The last `print` says:\n\n```\n(.*?)```", README, re.DOTALL)
    assert _without_numbers(shown) in _without_numbers(said)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


def test_the_test_of_the_readme_passes(pytester, preftune_server):
    _, block = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    pytester.makepyfile(block)
    data = (ROOT / "src/preftune/recipes/demo_data/train.jsonl").read_text(encoding="utf-8")
    (pytester.path / "pairs.jsonl").write_text(data, encoding="utf-8")
    (pytester.path / "train.py").write_text(
        "import preftune as pt\n"
        "with pt.Client() as client:\n"
        "    file = client.files.upload('pairs.jsonl')\n"
        "    job = client.fine_tuning.create(model='m', training_file=file.id, training_method='dpo')\n"
        "    client.fine_tuning.wait(job)\n",
        encoding="utf-8",
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_the_findings_in_the_readme_are_those_that_check_makes(tmp_path):
    text = (ROOT / "src/preftune/recipes/demo_data/train.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()[:3]]
    rows.append(rows[0])
    rows[1] = rows[1] | {"preferred_output": []}
    rows[2] = rows[2] | {"non_preferred_output": rows[2]["preferred_output"]}
    (tmp_path / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    said = str(pt.check(tmp_path / "few.jsonl")).splitlines()
    (shown,) = re.findall(r"```text\n\$ preftune check few.jsonl\n(.*?)```", README, re.DOTALL)
    assert set(shown.splitlines()) - {"..."} <= set(said)


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120


def test_the_diagram_of_the_rooms_is_that_of_the_import_contract():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(one for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    plan = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    (drawn,) = re.findall(r"```\n( +__main__\n.*?)```", plan, re.DOTALL)
    shown = [re.split(" {3,}", line.strip())[0].split(" ┆ ") for line in drawn.splitlines()]
    assert shown == [layer.split(" | ") for layer in contract["layers"]]
