"""Helpers for tests of the Kubernetes driver: names, documented manifests, containers."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from django.conf import settings

from clusters.drivers.base import ContainerSpec
from tests.support.kube_api import Account, Rule

NAMESPACE = "mlops"


IMAGE = "tools:1"


Documents = list[dict[str, Any]]


def manifests() -> Documents:
    """Return the manifests in docs/operating.md that operators apply."""
    page = (Path(settings.BASE_DIR) / "docs" / "operating.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    return [d for block in blocks for d in yaml.safe_load_all(block) if "apiVersion" in d]


def account(documents: Documents | None = None) -> Account:
    name = f"system:serviceaccount:{NAMESPACE}:hypervisor"
    return Account.of(name, "a-token", manifests() if documents is None else documents)


def account_without_others_pods() -> Account:
    """Return the account without the right to list the Pods of all namespaces."""
    granted = account()
    pods = frozenset({"pods"})
    rules = [rule for rule in granted.rules if rule.namespace or rule.resources != pods]
    return Account(granted.name, granted.token, tuple(rules))


def uid(run_id: int) -> UUID:
    """Return the uid of the run's container in these tests."""
    return UUID(int=run_id, version=4)


def spec(
    run_id: int, *command: str, env: Mapping[str, str] | None = None, **rest: Any
) -> ContainerSpec:
    made = ContainerSpec(
        uid(run_id), IMAGE, command, env or {}, cpu_milli=500, ram_mib=256, gpu=0, run_id=run_id
    )
    return replace(made, **rest)


def without(granted: Account, verb: str, resource: str) -> tuple[Rule, ...]:
    """Return the rules without one verb on one resource."""
    rules = []
    for rule in granted.rules:
        for res in rule.resources:
            verbs = rule.verbs - {verb} if res == resource else rule.verbs
            rules.append(Rule(frozenset(verbs), frozenset([res]), rule.names, rule.namespace))
    return tuple(rules)


UNTIL_ASKED = ["sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done"]


STUBBORN = ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.02; done"]
