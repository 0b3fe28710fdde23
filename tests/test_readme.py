"""The documents' tables agree with the code, and their links have targets."""

import re
from pathlib import Path

import pytest

from hypervisor import env
from hypervisor.standalone import overview
from hypervisor.standalone.bootstrap import ROOT
from scheduling.planner.policy import Policy

README = (ROOT / "README.md").read_text()
APPS = ("accounts", "orgs", "clusters", "deployments", "scheduling", "hypervisor", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def row(setting: env.Setting) -> str:
    default = "(required)" if setting.default is None else f"`{setting.default}`"
    return f"| `{setting.name}` | {'' if setting.default == '' else default} | {setting.meaning} |"


def test_the_settings_table_lists_exactly_the_settings() -> None:
    section = README.split("## Settings")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]

    assert rows == [row(setting) for setting in env.SETTINGS]


def test_the_policy_page_lists_each_threshold_with_its_default() -> None:
    page = (ROOT / "docs" / "scheduling.md").read_text()
    rows = re.findall(r"^\| `(SCHEDULER_\w+)` \| `?(\w+)`? \| [0-9, ]+ \|", page, re.M)

    expected = {(each.setting, str(each.default)) for each in Policy.thresholds()}
    assert set(rows) == expected


def test_the_commands_table_lists_the_commands_in_the_order_of_the_help() -> None:
    section = README.split("## Commands")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    names = [name for cell in rows[1:] for name in re.findall(r"`([a-z_]+)", cell)]

    assert names == [entry.name for group in overview.GROUPS.values() for entry in group]


def test_every_file_and_name_in_contributing_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    sources = [path for app in APPS for path in (ROOT / app).rglob("*.py")]
    code = set(re.findall(r"\w+", " ".join(path.read_text() for path in sources)))

    paths = re.findall(r"`([a-z]\w*/[\w./]*)`", text)
    names = re.findall(r"`(_?[A-Z]\w+|_[a-z]\w+)`", text)

    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [name for name in names if name not in code] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_linked_page_and_section_exists(page: Path) -> None:
    links = re.findall(r"\]\(([^):]+)\)", page.read_text())

    assert [link for link in links if not exists(page, link)] == []


def exists(page: Path, link: str) -> bool:
    path, _, section = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not section or section in sections(target.read_text()))


def sections(text: str) -> list[str]:
    """Return the headings' anchors, built as GitHub builds them."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def test_decisions_are_numbered_without_gaps_and_titles_repeat_the_number() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))

    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        assert page.read_text().startswith(f"# {int(page.name[:4])}. ")
