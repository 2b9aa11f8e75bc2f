"""What the documents say is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
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


@pytest.mark.slow
def test_the_python_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = (ROOT / "src/preftune/recipes/demo_data/train.jsonl").read_text(encoding="utf-8").splitlines()[:48]
    (tmp_path / "pairs.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})  # noqa: S102 - our own page
    said = capsys.readouterr().out
    assert said.startswith("pairs.jsonl: 48 pairs, ")
    assert "The hosted side would take this file.\n" in said
    assert "On training rows, loss went from 0.693" in said
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
