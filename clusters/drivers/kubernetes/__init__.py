"""Kubernetes: one Pod a run, in the namespace that the connection names.

`driver` has the verbs, `api` makes the calls over `transport`, `access` reads the credentials,
`errors` names refusals; `pods` writes what is sent, `states`, `failures` and `deletions` read what
comes back, `events` asks what a start waits for; `probing` and `capacity` look at a cluster before
it is connected, `form` and `options` connect it. docs/operating.md lists every call with the right
that it needs.
"""

from clusters.drivers.kinds import Kind

KIND = Kind(
    title="Kubernetes",
    driver="clusters.drivers.kubernetes.driver.KubernetesDriver",
    form="clusters.drivers.kubernetes.form.KubernetesForm",
    options="clusters.drivers.kubernetes.options.KubernetesOptions",
    chooses_devices=True,
    has_fixed_capacity=False,
    can_watch=True,
)
