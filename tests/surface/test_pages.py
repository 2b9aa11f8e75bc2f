"""The pages that are made from the code are what the code makes."""

import importlib.util
import re
from pathlib import Path

import pytest

from preftune.pairs.formats.table import LAYOUTS
from preftune.pairs.rules.catalog import RULES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def make_pages():
    """Return docs/make_pages.py as a module."""
    spec = importlib.util.spec_from_file_location("make_pages", DOCS / "make_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(make_pages):
    return make_pages.pages()


@pytest.mark.parametrize("name", ["rules.md", "formats.md", "command-help.md"])
def test_each_page_is_what_the_code_makes(pages, name):
    assert (DOCS / name).read_text(encoding="utf-8") == pages[name], "run: python docs/make_pages.py"


def test_each_figure_is_what_the_code_draws_and_stands_in_the_page(make_pages):
    drawn = make_pages.figures()
    kept = {f"figures/{path.name}": path.read_text(encoding="utf-8") for path in (DOCS / "figures").iterdir()}
    assert kept == drawn, "run: python docs/make_pages.py"
    shown = re.findall(r"!\[[^]]+\]\((figures/[^)]+)\)", (DOCS / "losses.md").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(drawn)


def test_every_rule_has_its_row_and_its_section_with_what_it_says(pages):
    page = pages["rules.md"]
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert list(sections) == [rule.id for rule in RULES]
    for rule in RULES:
        assert f"| [{rule.id}](#{rule.id}) | {rule.finds} | {rule.sees} |\n" in page
        assert re.search(r"^- \*\*(error|warning|info)\*\*: .+\. \*.+\.\*", sections[rule.id], re.MULTILINE)


def test_every_layout_has_its_row_and_an_example(pages):
    page = pages["formats.md"]
    assert re.findall(r"^## (\S+)$", page, re.MULTILINE) == [layout.name for layout in LAYOUTS]
    assert re.findall(r"^\| \[([^]]+)\]", page, re.MULTILINE) == [layout.name for layout in LAYOUTS]
    assert page.count("```json\n{") == len(LAYOUTS)


def test_main_writes_the_pages(make_pages, pages, tmp_path, monkeypatch):
    monkeypatch.setattr(make_pages, "HERE", tmp_path)
    for name in ("rules.head.md", "formats.head.md"):
        (tmp_path / name).write_text((DOCS / name).read_text(encoding="utf-8"), encoding="utf-8")
    make_pages.main()
    written = {path.name: path.read_bytes() for path in tmp_path.glob("*.md") if ".head." not in path.name}
    assert written == {name: page.encode() for name, page in pages.items()}
    drawn = {f"figures/{path.name}": path.read_text(encoding="utf-8") for path in (tmp_path / "figures").iterdir()}
    assert drawn == make_pages.figures()
