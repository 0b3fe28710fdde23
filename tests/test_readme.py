"""The README's tables say what the code says."""

import re

from hypervisor import env
from hypervisor.bootstrap import ROOT

README = (ROOT / "README.md").read_text()


def row(setting: env.Setting) -> str:
    default = "(required)" if setting.default is None else f"`{setting.default}`"
    return f"| `{setting.name}` | {'' if setting.default == '' else default} | {setting.meaning} |"


def test_the_settings_table_lists_exactly_the_settings() -> None:
    section = README.split("## Settings")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]

    assert rows == [row(setting) for setting in env.SETTINGS]


def test_every_document_that_is_linked_exists() -> None:
    links = re.findall(r"\]\(([^):]+)\)", README)

    assert [link for link in links if not (ROOT / link).exists()] == []


def test_each_decision_has_a_number_of_its_own_which_its_title_repeats() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))

    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        assert page.read_text().startswith(f"# {int(page.name[:4])}. ")
