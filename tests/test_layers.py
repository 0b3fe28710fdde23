"""No tunnels under the layers: what lint-imports cannot see, because it is not an import."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings

LEFT_TO_RIGHT = ("accounts", "orgs", "clusters", "deployments", "scheduling")


def names_of_right_ones(app: str) -> set[str]:
    """Return the names by which a model of the app reaches rows of an app further right."""
    right = LEFT_TO_RIGHT[LEFT_TO_RIGHT.index(app) + 1 :]
    return {
        str(relation.get_accessor_name() if hasattr(relation, "get_accessor_name") else "")
        for model in apps.get_app_config(app).get_models()
        for relation in model._meta.related_objects
        if relation.related_model._meta.app_label in right and not relation.hidden
    }


def sources(app: str) -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted(Path(settings.BASE_DIR, app).rglob("*.py")):
        if "migrations" not in path.parts:
            yield path, ast.parse(path.read_text())


def uses(tree: ast.AST, names: set[str]) -> Iterator[tuple[int, str]]:
    """Yield where a name is read as an attribute, or leads a lookup such as `runs__ended_at`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in names:
            yield node.lineno, node.attr
        texts = [node.value] if isinstance(node, ast.Constant) else []
        texts += [node.arg] if isinstance(node, ast.keyword) else []
        for text in texts:
            if isinstance(text, str) and text.split("__")[0] in names and "__" in text:
                yield getattr(node, "lineno", 0), text


@pytest.mark.parametrize("app", LEFT_TO_RIGHT)
def test_an_app_reads_no_reverse_relation_of_an_app_further_right(app: str) -> None:
    names = names_of_right_ones(app)

    found = [
        f"{path}:{line} {name}" for path, tree in sources(app) for line, name in uses(tree, names)
    ]

    assert found == []


@pytest.mark.parametrize("app", LEFT_TO_RIGHT)
def test_an_app_does_not_name_the_address_of_a_page(app: str) -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, tree in sources(app)
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name) and node.id in ("reverse", "reverse_lazy"))
        or (isinstance(node, ast.Constant) and str(node.value).startswith("admin:"))
    ]

    assert found == []


def test_the_names_that_are_looked_for_are_those_of_the_models() -> None:
    assert {"deployments", "runs"} <= names_of_right_ones("clusters")
    assert {"clusters", "deployments"} <= names_of_right_ones("orgs")
