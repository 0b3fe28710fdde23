"""Kubernetes: one Pod per run, in the namespace that the connection names.

`driver` has the verbs, `api` makes the calls over `transport`, `access` reads the credentials, and
`errors` translates refusals. `pods` and `pod_secrets` write manifests, `states`, `failures` and
`deletions` read the status of Pods, and `events` explains delayed starts. `supply` reports the
nodes: it is `following` Nodes and Pods, which `nodes`, `taints` and `selector` read. `probing` and
`capacity` examine a cluster before `form` or `options` connects it. docs/operating.md lists every
call with the right it needs.
"""

from clusters.drivers.kinds import Kind

KIND = Kind(
    title="Kubernetes",
    driver="clusters.drivers.kubernetes.driver.KubernetesDriver",
    form="clusters.drivers.kubernetes.form.KubernetesForm",
    options="clusters.drivers.kubernetes.options.KubernetesOptions",
    chooses_devices=True,
    has_fixed_capacity=False,
    reports_nodes=True,
    has_namespaces=True,
    can_watch=True,
)
