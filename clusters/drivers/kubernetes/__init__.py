"""Kubernetes: one Pod a run, in the namespace that the connection names.

`driver` has the verbs, `api` makes the calls, `pods` writes what is sent, `states` reads what comes
back, `capacity` counts, `access` reads the credentials, `errors` names refusals. The page
docs/operating.md lists every call with the right that it needs.
"""

from clusters.drivers.kubernetes.driver import KubernetesDriver

__all__ = ["KubernetesDriver"]
