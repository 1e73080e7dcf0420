import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_table_of_oddities_names_is_there():
    text = (ROOT / "docs" / "raw-data.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) > 30
    assert sorted(named - there) == []
    rows = [line for line in text.splitlines() if line.startswith("|") and line.count("|") == 4]
    assert all("`test_" in row for row in rows[2:])


def test_the_readme_leads_to_it():
    assert "docs/raw-data.md" in (ROOT / "README.md").read_text(encoding="utf-8")
