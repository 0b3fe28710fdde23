"""Authorization by the rules of Role and ClusterRole manifests."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.kube_api import status


@dataclass(frozen=True, slots=True)
class Rule:
    """A granted right; `namespace` None grants it in all namespaces and outside them."""

    verbs: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str]
    namespace: str | None

    def allows(self, request: "Attributes") -> bool:
        return (
            request.verb in self.verbs
            and request.resource in self.resources
            and (not self.names or request.name in self.names)
            and self.namespace in (None, request.namespace)
        )


@dataclass(frozen=True, slots=True)
class Attributes:
    """A request as RBAC sees it; `resource` includes the subresource, as in `pods/log`."""

    verb: str
    resource: str
    namespace: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Account:
    """A service account: its bearer token and the rules that apply to it."""

    name: str
    token: str
    rules: tuple[Rule, ...]

    @classmethod
    def of(cls, name: str, token: str, documents: Iterable[Mapping[str, Any]]) -> "Account":
        """Return an account to which all Roles and ClusterRoles in the documents are bound."""
        rules = []
        for document in documents:
            if document["kind"] not in ("Role", "ClusterRole"):
                continue
            namespace = (
                document["metadata"].get("namespace") if document["kind"] == "Role" else None
            )
            rules += [
                Rule(
                    frozenset(rule["verbs"]),
                    frozenset(rule["resources"]),
                    frozenset(rule.get("resourceNames", ())),
                    namespace,
                )
                for rule in document["rules"]
            ]
        return cls(name, token, tuple(rules))

    def allows(self, request: Attributes) -> bool:
        return any(rule.allows(request) for rule in self.rules)

    def check(self, request: Attributes) -> None:
        """Raise ApiError 403 unless a rule allows it."""
        if self.allows(request):
            return
        named = f' "{request.name}"' if request.name else ""
        where = f' in the namespace "{request.namespace}"' if request.namespace else (
            " at the cluster scope"
        )  # fmt: skip
        resource = request.resource.split("/")[0]
        raise status.forbidden(
            f'{resource}{named} is forbidden: User "{self.name}" cannot {request.verb} resource'
            f' "{request.resource}" in API group ""{where}'
        )
