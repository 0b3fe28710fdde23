"""A double of a Kubernetes API server, with a scheduler, kubelets and a node controller behind it.

A real HTTP server that keeps to what the driver relies on: Status answers with their reasons (400,
401, 403, 404, 409, 410, 422, 429), RBAC evaluated from Role and ClusterRole manifests, resource
versions that grow with every real change, consistent and paged lists, watches with label selectors,
time limits, bookmarks and `410 Gone` after a compaction, strategic merge patches, optimistic
preconditions, graceful deletion, finalizers, quotas, LimitRanges, events, Pod defaults and
validation of the fields that we set, and logs with `tailLines` and `follow`. Its kubelets run a
container's `args` as a real process of this machine, limited in memory, with SIGTERM, the grace and
SIGKILL, so exit codes, outputs and endings are those of the process.

What it does not do: other kinds than Pods, their events, nodes, namespaces, quotas and the version;
images (one that is `pullable` is simply there, and its entrypoint is empty); namespaces and
networks of Linux; CPU limits; GPUs beyond their number; several containers in a Pod; Pod priority;
retries of a pull that succeed later; server-side apply; admission webhooks; encodings other than
JSON. The times that Kubernetes takes before it gives a node up (40 s) and deletes its Pods (300 s)
are cut to nothing.
"""

from tests.support.kube_api.cluster import KubeCluster, Node
from tests.support.kube_api.rbac import Account, Rule

__all__ = ["Account", "KubeCluster", "Node", "Rule"]
