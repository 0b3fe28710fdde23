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
