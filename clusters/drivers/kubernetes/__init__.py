"""Kubernetes: one Pod a run, in the namespace that the connection names.

`driver` has the verbs, `api` makes the calls over `transport`, `access` reads the credentials,
`errors` names refusals; `pods` writes what is sent, `states`, `failures` and `deletions` read what
comes back, `events` asks what a start waits for; `probing` and `capacity` look at a cluster before
it is connected. docs/operating.md lists every call with the right that it needs.
"""

from clusters.drivers.kubernetes.driver import KubernetesDriver

__all__ = ["KubernetesDriver"]
