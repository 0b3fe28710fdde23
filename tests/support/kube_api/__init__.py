"""A fake Kubernetes API server, with a scheduler, kubelets and a node controller behind it.

It is a real HTTP server that behaves as the driver relies on: Status responses with their reasons
(400, 401, 403, 404, 409, 410, 422, 429), RBAC evaluated from Role and ClusterRole manifests,
resource versions that grow with every real change, consistent and paginated lists, watches with
label selectors, time limits, bookmarks and `410 Gone` after a compaction, lists and watches of
nodes and of the Pods of all namespaces, required node affinity, taints, strategic merge patches,
optimistic preconditions, scheduling gates, Secrets of variables and the garbage collection of those
whose owner is gone, graceful deletion, finalizers, quotas, LimitRanges, events, Pod defaults,
validation of the fields that the driver sets, and logs with `tailLines` and `follow`. Its kubelets
run a container's `args` as a real process on this machine, limited in memory, with SIGTERM, the
grace and SIGKILL, so that exit codes, outputs and endings are those of the process.

It does not support: kinds other than Pods, their events, Secrets, nodes, namespaces, quotas and the
version; images (a `pullable` one is simply there, with an empty entrypoint); namespaces and
networks of Linux; CPU limits; GPUs beyond their number; several containers in a Pod; Pod priority;
pulls that succeed on a retry; server-side apply; admission webhooks; encodings other than JSON. The
delays after which Kubernetes gives a node up (40 s) and deletes its Pods (300 s) are zero.
"""

from tests.support.kube_api.cluster import KubeCluster
from tests.support.kube_api.nodes import Node
from tests.support.kube_api.rbac import Account, Rule

__all__ = ["Account", "KubeCluster", "Node", "Rule"]
