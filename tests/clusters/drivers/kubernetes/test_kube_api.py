"""The fake behaves like a real API server as far as the driver relies on it."""

import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import urllib3
from kubernetes.client import ApiClient, ApiException, Configuration, CoreV1Api
from kubernetes.watch import Watch

from tests.support.docker_engine import wait_until
from tests.support.kube_api import Account, KubeCluster, Node
from tests.support.kube_api.rbac import Rule

Json = dict[str, Any]

PODS = "/api/v1/namespaces/team/pods"
VERBS = frozenset({"get", "list", "watch", "create", "patch", "delete"})
STRATEGIC = "application/strategic-merge-patch+json"


class Client:
    def __init__(self, kube: KubeCluster) -> None:
        self.kube = kube
        self._pool = urllib3.PoolManager()

    def ask(self, method: str, path: str, body: Json | None = None, token: str = "t") -> Any:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": STRATEGIC}
        return self._pool.request(
            method, self.kube.url + path, body=json.dumps(body or {}), headers=headers,
            preload_content=False, retries=False,
        )  # fmt: skip

    def json(self, method: str, path: str, body: Json | None = None) -> Json:
        answer: Json = json.loads(self.ask(method, path, body).read())
        return answer

    def events(self, query: str) -> list[Json]:
        answer = self.ask("GET", f"{PODS}?watch=true&{query}")
        assert answer.status == 200
        return [json.loads(line) for line in answer.read().splitlines()]

    def status(self, method: str, path: str, body: Json | None = None) -> tuple[int, str]:
        answer = self.json(method, path, body)
        assert (answer["kind"], answer["status"]) == ("Status", "Failure")
        return answer["code"], answer["reason"]


@pytest.fixture
def kube() -> Iterator[KubeCluster]:
    with KubeCluster(Node("node-1")) as cluster:
        everything = Rule(VERBS, frozenset({"pods", "pods/log"}), frozenset(), "team")
        cluster.accounts.append(Account("tester", "t", (everything,)))
        cluster.pullable.add("tools:1")
        yield cluster


@pytest.fixture
def client(kube: KubeCluster) -> Client:
    return Client(kube)


def pod(
    name: str, *args: str, labels: Json | None = None, finalizers: tuple[str, ...] = ()
) -> Json:
    amounts = {"cpu": "100m", "memory": "64Mi"}
    container = {"name": "main", "image": "tools:1", "args": list(args) or ["sleep", "60"],
                 "resources": {"limits": amounts, "requests": amounts}}  # fmt: skip
    metadata: Json = {"name": name, "labels": labels or {}}
    if finalizers:
        metadata["finalizers"] = list(finalizers)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {"containers": [container], "restartPolicy": "Never"}}  # fmt: skip


def until_running(client: Client, name: str) -> None:
    wait_until(
        lambda: client.json("GET", f"{PODS}/{name}")["status"]["phase"] == "Running", "it runs"
    )


# --- Versions, lists and watches ------------------------------------------------------------------


def test_each_change_has_a_later_version_and_an_event(client: Client) -> None:
    start = client.json("GET", PODS)["metadata"]["resourceVersion"]
    client.json("POST", PODS, pod("a", "true"))
    wait_until(lambda: client.json("GET", f"{PODS}/a")["status"]["phase"] == "Succeeded", "its end")

    events = client.events(f"resourceVersion={start}&timeoutSeconds=0")

    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert [event["type"] for event in events][:2] == ["ADDED", "MODIFIED"]
    assert versions == sorted(set(versions))


def test_a_patch_that_changes_nothing_makes_no_version(client: Client) -> None:
    client.json("POST", PODS, pod("a"))
    until_running(client, "a")
    change = {"metadata": {"annotations": {"k": "v"}}}
    first = client.json("PATCH", f"{PODS}/a", change)

    again = client.json("PATCH", f"{PODS}/a", change)

    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_selectors_filter_lists_and_watches(client: Client) -> None:
    client.json("POST", PODS, pod("a", labels={"app": "x", "run": "1"}))
    client.json("POST", PODS, pod("b", labels={"app": "x"}))
    client.json("POST", PODS, pod("c", labels={"app": "y", "run": "2"}))

    listed = client.json("GET", f"{PODS}?labelSelector=app=x,run")["items"]
    watched = client.events("labelSelector=app=x,run&resourceVersion=100&timeoutSeconds=0")

    assert [item["metadata"]["name"] for item in listed] == ["a"]
    assert {event["object"]["metadata"]["name"] for event in watched} == {"a"}


def test_a_list_is_paginated_at_one_version(client: Client) -> None:
    for name in "abc":
        client.json("POST", PODS, pod(name))

    first = client.json("GET", f"{PODS}?limit=2")
    rest = client.json("GET", f"{PODS}?limit=2&continue={first['metadata']['continue']}")

    assert [i["metadata"]["name"] for i in first["items"] + rest["items"]] == ["a", "b", "c"]
    assert "continue" not in rest["metadata"]
    assert first["metadata"]["resourceVersion"] == rest["metadata"]["resourceVersion"]


def test_after_a_compaction_old_versions_are_gone(client: Client, kube: KubeCluster) -> None:
    for name in "abc":
        client.json("POST", PODS, pod(name))
    page = client.json("GET", f"{PODS}?limit=2")["metadata"]["continue"]

    kube.store.compact()

    (event,) = client.events("resourceVersion=100&timeoutSeconds=5")
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    assert client.status("GET", f"{PODS}?limit=2&continue={page}") == (410, "Expired")


def test_a_watch_ends_in_time_with_a_requested_bookmark(client: Client) -> None:
    began = time.monotonic()

    (event,) = client.events("resourceVersion=100&timeoutSeconds=1&allowWatchBookmarks=true")

    assert event["type"] == "BOOKMARK"
    assert 0.9 < time.monotonic() - began < 3


# --- Refusals -------------------------------------------------------------------------------------


def test_refusals_have_kubernetes_reasons(client: Client) -> None:
    client.json("POST", PODS, pod("a"))
    broken = pod("B_")
    many = pod("b")
    many["spec"]["containers"][0]["resources"]["requests"] = {"cpu": "200m"}
    odd = pod("b")
    odd["spec"]["containers"][0]["resources"]["limits"] = {"cpu": "much"}

    assert client.status("POST", PODS, pod("a")) == (409, "AlreadyExists")
    assert client.status("POST", PODS, broken) == (422, "Invalid")
    assert client.status("POST", PODS, many) == (422, "Invalid")
    assert client.status("POST", PODS, odd) == (400, "BadRequest")
    assert client.status("GET", f"{PODS}/none") == (404, "NotFound")
    assert client.status("GET", "/api/v1/namespaces/other/pods") == (403, "Forbidden")
    assert client.status("GET", "/api/v1/nodes") == (403, "Forbidden")
    assert client.ask("GET", PODS, token="x").status == 401


def test_the_spec_of_a_pod_cannot_change(client: Client) -> None:
    client.json("POST", PODS, pod("a"))

    change = {"spec": {"containers": [{"name": "main", "image": "other:1"}]}}

    assert client.status("PATCH", f"{PODS}/a", change) == (422, "Invalid")


def test_a_deletion_of_another_pod_of_that_name_is_a_conflict(client: Client) -> None:
    client.json("POST", PODS, pod("a"))

    assert client.status("DELETE", f"{PODS}/a", {"preconditions": {"uid": "x"}})[0] == 409


# --- Deletion -------------------------------------------------------------------------------------


def test_a_deletion_grants_the_grace_and_a_second_one_can_shorten_it(client: Client) -> None:
    client.json("POST", PODS, pod("a", "sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"))
    until_running(client, "a")

    first = client.json("DELETE", f"{PODS}/a", {"gracePeriodSeconds": 60})["metadata"]
    longer = client.json("DELETE", f"{PODS}/a", {"gracePeriodSeconds": 90})["metadata"]
    shorter = client.json("DELETE", f"{PODS}/a", {"gracePeriodSeconds": 20})["metadata"]

    assert first["deletionGracePeriodSeconds"] == longer["deletionGracePeriodSeconds"] == 60
    assert shorter["deletionGracePeriodSeconds"] == 20
    ends = [datetime.fromisoformat(meta["deletionTimestamp"]) for meta in (first, shorter)]
    assert (ends[0] - ends[1]).total_seconds() == 40


def test_another_server_dates_a_shortened_deletion_from_the_present(
    client: Client, kube: KubeCluster
) -> None:
    kube.store.counts_back = False
    kube.confirms_after_s = 1.1
    client.json("POST", PODS, pod("a", finalizers=("x.org/seen",)))
    until_running(client, "a")
    first = client.json("DELETE", f"{PODS}/a", {"gracePeriodSeconds": 60})["metadata"]

    def meta() -> Json:
        found: Json = client.json("GET", f"{PODS}/a")["metadata"]
        return found

    wait_until(lambda: meta()["deletionGracePeriodSeconds"] == 0, "its node has confirmed")
    asked = datetime.fromisoformat(first["deletionTimestamp"]) - timedelta(seconds=60)
    assert datetime.fromisoformat(meta()["deletionTimestamp"]) > asked


def test_a_deleted_pod_without_a_finalizer_is_gone_once_it_has_ended(client: Client) -> None:
    client.json("POST", PODS, pod("a"))
    until_running(client, "a")

    client.json("DELETE", f"{PODS}/a", {"gracePeriodSeconds": 5})

    wait_until(lambda: client.ask("GET", f"{PODS}/a").status == 404, "it is gone")
    last = client.events("resourceVersion=100&timeoutSeconds=0")[-1]
    assert last["type"] == "DELETED"
    assert (
        last["object"]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 143
    )


def test_a_finalizer_keeps_a_pod_until_it_is_removed(client: Client) -> None:
    client.json("POST", PODS, pod("a", finalizers=("x.org/seen", "x.org/other")))
    until_running(client, "a")
    client.json("DELETE", f"{PODS}/a", {"gracePeriodSeconds": 5})

    def grace() -> object:
        return client.json("GET", f"{PODS}/a")["metadata"]["deletionGracePeriodSeconds"]

    wait_until(lambda: grace() == 0, "its node has confirmed")
    ended = client.json("GET", f"{PODS}/a")["status"]["phase"]
    for finalizer in ("x.org/seen", "x.org/other"):
        assert client.ask("GET", f"{PODS}/a").status == 200
        take = {"metadata": {"$deleteFromPrimitiveList/finalizers": [finalizer]}}
        client.json("PATCH", f"{PODS}/a", take)

    assert ended == "Failed"
    assert client.ask("GET", f"{PODS}/a").status == 404


def test_a_pod_that_has_ended_or_has_no_node_needs_no_grace(
    client: Client, kube: KubeCluster
) -> None:
    client.json("POST", PODS, pod("a", "true", finalizers=("x.org/seen",)))
    wait_until(lambda: client.json("GET", f"{PODS}/a")["status"]["phase"] == "Succeeded", "its end")
    kube.nodes[0].unschedulable = True
    client.json("POST", PODS, pod("b", finalizers=("x.org/seen",)))

    for name in "ab":
        meta = client.json("DELETE", f"{PODS}/{name}", {"gracePeriodSeconds": 60})["metadata"]
        assert meta["deletionGracePeriodSeconds"] == 0


# --- The scheduler --------------------------------------------------------------------------------


def bound_to(name: str, node: str, **requests: str) -> Json:
    made = pod(name)
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    made["spec"]["affinity"] = {"nodeAffinity": required}
    made["spec"]["containers"][0]["resources"] = {"requests": requests, "limits": requests}
    return made


def scheduling(client: Client, name: str) -> Json:
    """Wait until the scheduler has decided on the Pod; return its condition."""

    def found() -> list[Json]:
        conditions = client.json("GET", f"{PODS}/{name}")["status"].get("conditions", [])
        return [c for c in conditions if c["type"] == "PodScheduled"]

    wait_until(found, "a decision of the scheduler")
    return found()[0]


def test_a_pod_that_fits_on_no_node_is_unschedulable_for_each_node_s_reasons(
    client: Client, kube: KubeCluster
) -> None:
    kube.nodes[0].gpu = 1
    kube.nodes.append(Node("node-2", gpu=1))
    wanted = {"nvidia.com/gpu": "2", "cpu": "1", "memory": "1Mi"}
    body = pod("a")
    body["spec"]["containers"][0]["resources"] = {"requests": wanted, "limits": wanted}

    client.json("POST", PODS, body)

    condition = scheduling(client, "a")
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    assert condition["message"].startswith("0/2 nodes are available: 2 Insufficient nvidia.com/gpu")


def test_a_bound_pod_waits_for_its_node_although_another_is_free(
    client: Client, kube: KubeCluster
) -> None:
    kube.nodes.append(Node("node-2", cpu="500m"))

    client.json("POST", PODS, bound_to("a", "node-2", cpu="1", memory="1Mi"))
    client.json("POST", PODS, bound_to("b", "node-1", cpu="1", memory="64Mi"))

    refused = scheduling(client, "a")["message"]
    assert "1 Insufficient cpu" in refused
    assert "1 node(s) didn't satisfy plugin(s) [NodeAffinity]" in refused
    assert scheduling(client, "b")["status"] == "True"
    assert client.json("GET", f"{PODS}/b")["spec"]["nodeName"] == "node-1"


def test_a_node_has_room_for_a_number_of_pods(client: Client, kube: KubeCluster) -> None:
    kube.nodes[0].pods = 0

    client.json("POST", PODS, bound_to("a", "node-1", cpu="1", memory="1Mi"))

    assert "1 Too many pods" in scheduling(client, "a")["message"]


# --- Logs -----------------------------------------------------------------------------------------


def test_logs_are_refused_before_a_container_has_started(client: Client, kube: KubeCluster) -> None:
    kube.pulling = True
    client.json("POST", PODS, pod("a"))

    assert client.status("GET", f"{PODS}/a/log") == (400, "BadRequest")
    assert client.status("GET", f"{PODS}/none/log") == (404, "NotFound")


def test_a_node_accepts_pods_only_up_to_its_capacity(client: Client) -> None:
    large = pod("a")
    amounts = {"cpu": "100m", "memory": "10Gi"}
    large["spec"]["containers"][0]["resources"] = {"limits": amounts, "requests": amounts}
    client.json("POST", PODS, large)
    until_running(client, "a")
    large["metadata"]["name"] = "b"

    client.json("POST", PODS, large)

    def why() -> str:
        conditions = client.json("GET", f"{PODS}/b")["status"].get("conditions", ())
        return " ".join(c.get("message", "") for c in conditions)

    wait_until(lambda: "Insufficient memory" in why(), "why it waits")


# --- The official client --------------------------------------------------------------------------


def test_the_official_client_reads_all_responses(kube: KubeCluster) -> None:
    everything = Rule(
        VERBS, frozenset({"nodes", "namespaces", "resourcequotas"}), frozenset(), None
    )
    kube.accounts[0] = Account("tester", "t", (*kube.accounts[0].rules, everything))
    kube.quotas["team"] = {"limits.cpu": "4"}
    configuration = Configuration(host=kube.url)
    configuration.api_key["authorization"] = "Bearer t"
    with ApiClient(configuration) as api_client:
        core = CoreV1Api(api_client)
        core.create_namespaced_pod("team", pod("a", "echo", "said"))
        seen = []
        for event in Watch().stream(
            core.list_namespaced_pod, "team", resource_version="100", timeout_seconds=10
        ):
            seen.append((event["type"], event["object"].status.phase))
            if event["object"].status.phase == "Succeeded":
                break

        (listed,) = core.list_namespaced_pod("team").items
        terminated = listed.status.container_statuses[0].state.terminated
        deleted = core.delete_namespaced_pod("a", "team", grace_period_seconds=5)

        assert seen[0] == ("ADDED", "Pending")
        assert seen[-1] == ("MODIFIED", "Succeeded")
        assert (terminated.exit_code, terminated.reason) == (0, "Completed")
        assert terminated.finished_at >= terminated.started_at
        assert deleted.metadata.deletion_grace_period_seconds == 0
        assert core.list_node().items[0].status.allocatable["cpu"] == "8"
        assert core.list_namespaced_resource_quota("team").items[0].spec.hard == kube.quotas["team"]
        assert core.read_namespace("team").metadata.uid == kube.namespaces["team"]
        with pytest.raises(ApiException) as refused:
            core.read_namespaced_pod("a", "team")
        assert json.loads(refused.value.body)["reason"] == "NotFound"
