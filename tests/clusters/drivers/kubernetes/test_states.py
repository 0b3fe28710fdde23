"""The meaning of Pods' statuses, as real clusters report them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clusters.drivers.base import Cause, Observation, Phase
from clusters.drivers.kubernetes import pods, states

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def at(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def seen(
    state: dict[str, Any] | None = None,
    *,
    meta: dict[str, Any] | None = None,
    node: str = "node-1",
    grace: int = 10,
    conditions: tuple[dict[str, Any], ...] = (),
    **status: Any,
) -> Observation:
    metadata = {"name": "run-7-x", "labels": {pods.RUN: "7"}, "creationTimestamp": at(-900)}
    if state is not None:
        status["containerStatuses"] = [{"name": pods.CONTAINER, "state": state}]
    pod = {
        "metadata": metadata | (meta or {}),
        "spec": {"terminationGracePeriodSeconds": grace} | ({"nodeName": node} if node else {}),
        "status": {"phase": "Pending", "conditions": list(conditions), **status},
    }
    return states.observation(pod, NOW)


def terminated(code: int, reason: str = "Error", at_s: float = -5, **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": at(-60),
                           "finishedAt": at(at_s), **more}}  # fmt: skip


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def deleted(ends_s: float, grace: int, *, by_hypervisor: bool = False) -> dict[str, Any]:
    meta: dict[str, Any] = {"deletionTimestamp": at(ends_s), "deletionGracePeriodSeconds": grace}
    return meta | ({"annotations": {pods.STOPPED: "true"}} if by_hypervisor else {})


def disrupted(
    reason: str, message: str = "why", *, since_s: float | None = None
) -> tuple[dict[str, Any]]:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
    return (condition if since_s is None else condition | {"lastTransitionTime": at(since_s)},)


def unschedulable(since_s: float) -> tuple[dict[str, Any]]:
    return ({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
             "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
             "lastTransitionTime": at(since_s)},)  # fmt: skip


# --- Before it runs -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [None, waiting("ContainerCreating"), waiting("PodInitializing")])
def test_a_container_that_is_being_created_is_preparing(state: dict[str, Any] | None) -> None:
    observed = seen(state)

    assert (observed.run_id, observed.phase, observed.cause) == (7, Phase.PREPARING, None)


def test_a_pod_without_a_node_is_preparing_with_the_reason() -> None:
    observed = seen(node="", conditions=unschedulable(since_s=-30))

    assert (observed.phase, observed.cause) == (Phase.PREPARING, None)
    assert "3 Insufficient nvidia.com/gpu." in observed.message


def test_a_pod_without_a_node_for_ten_minutes_is_over_capacity() -> None:
    observed = seen(node="", conditions=unschedulable(since_s=-600))

    assert (observed.phase, observed.cause) == (Phase.EXITED, Cause.OVER_CAPACITY)
    assert "request less" in observed.message


@pytest.mark.parametrize(
    ("reason", "message", "cause"),
    [
        ("ErrImagePull", 'failed to resolve reference "x/y:1": x/y:1: not found',
         Cause.IMAGE_NOT_FOUND),
        ("ImagePullBackOff", 'Back-off pulling image "x": ErrImagePull: manifest unknown',
         Cause.IMAGE_NOT_FOUND),
        ("ErrImageNeverPull", 'Container image "x" is not present: image not found',
         Cause.IMAGE_NOT_FOUND),
        ("ErrImagePull", "pull access denied, repository does not exist or may require login",
         Cause.IMAGE_NOT_PULLABLE),
        ("ErrImagePull", "failed to authorize: 401 Unauthorized", Cause.IMAGE_NOT_PULLABLE),
        ("InvalidImageName", 'couldn\'t parse image name "X": repository name must be lowercase',
         Cause.INVALID_SPEC),
        ("CreateContainerConfigError", "container has runAsNonRoot and image will run as root",
         Cause.INVALID_SPEC),
        ("CreateContainerError", "failed to generate container spec: no command specified",
         Cause.COMMAND_NOT_FOUND),
        ("RunContainerError", 'exec: "nosuch": executable file not found in $PATH: unknown',
         Cause.COMMAND_NOT_FOUND),
    ],
)  # fmt: skip
def test_a_failure_that_cannot_pass_is_reported_at_once(
    reason: str, message: str, cause: Cause
) -> None:
    observed = seen(waiting(reason, message), startTime=at(-1))

    assert (observed.phase, observed.cause) == (Phase.EXITED, cause)
    assert observed.exit_code is None


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ImagePullBackOff", 'Back-off pulling image "x"'),
        ("ErrImagePull", "dial tcp 10.0.0.1:443: i/o timeout"),
        ("ErrImagePull", "429 Too Many Requests: toomanyrequests"),
        ("CreateContainerError", "context deadline exceeded"),
    ],
)
def test_a_failure_that_may_pass_is_left_to_kubernetes_for_five_minutes(
    reason: str, message: str
) -> None:
    soon = seen(waiting(reason, message), startTime=at(-299))
    late = seen(waiting(reason, message), startTime=at(-300))

    assert (soon.phase, soon.cause) == (Phase.PREPARING, None)
    assert message in soon.message
    assert late.phase is Phase.EXITED
    assert late.cause in (Cause.IMAGE_NOT_PULLABLE, Cause.ENGINE_FAILED)


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("OutOfcpu", Cause.NODE_REFUSED),
        ("OutOfnvidia.com/gpu", Cause.NODE_REFUSED),
        ("UnexpectedAdmissionError", Cause.NODE_REFUSED),
        ("", Cause.ENGINE_FAILED),
        ("NodeShutdown", Cause.ENGINE_EVICTED),
        ("Preempting", Cause.ENGINE_EVICTED),
    ],
)
def test_a_pod_that_its_node_rejected_is_the_engine_s_failure(reason: str, cause: Cause) -> None:
    observed = seen(phase="Failed", reason=reason, message="no capacity")

    assert (observed.phase, observed.cause) == (Phase.EXITED, cause)
    assert cause.is_engines


def test_a_node_that_became_silent_before_the_start_is_reported() -> None:
    observed = seen(meta=deleted(-61, 10))

    assert (observed.phase, observed.cause) == (Phase.PREPARING, Cause.NODE_LOST)
    assert "node-1" in observed.message


# --- While it runs --------------------------------------------------------------------------------


def test_a_running_container_has_its_start_time() -> None:
    observed = seen({"running": {"startedAt": at(-60)}}, phase="Running")

    assert (observed.phase, observed.cause) == (Phase.RUNNING, None)
    assert observed.started_at == NOW - timedelta(seconds=60)


def test_a_container_that_was_asked_to_stop_runs_until_it_has_ended() -> None:
    observed = seen({"running": {}}, phase="Running", meta=deleted(8, 10, by_hypervisor=True))

    assert (observed.phase, observed.cause) == (Phase.RUNNING, None)


@pytest.mark.parametrize(
    ("meta", "status"),
    [
        (deleted(-61, 10), {"phase": "Running"}),
        ({}, {"phase": "Unknown"}),
        ({}, {"phase": "Running", "reason": "NodeLost"}),
    ],
)
def test_a_container_on_a_silent_node_keeps_its_resources_with_a_warning(
    meta: dict[str, Any], status: dict[str, Any]
) -> None:
    observed = seen({"running": {}}, meta=meta, **status)

    assert (observed.phase, observed.cause) == (Phase.RUNNING, Cause.NODE_LOST)
    assert "node-1" in observed.message


def conditions(ready: str, containers: str) -> tuple[dict[str, Any], ...]:
    return (
        {"type": "Ready", "status": ready, "lastTransitionTime": at(-1)},
        {"type": "ContainersReady", "status": containers, "lastTransitionTime": at(-60)},
    )


def test_a_container_that_may_not_run_as_root_has_run_as_as_the_remedy() -> None:
    why = "container has runAsNonRoot and image will run as root"

    observed = seen(waiting("CreateContainerConfigError", why), startTime=at(-1))

    assert observed.cause is Cause.INVALID_SPEC
    assert "set `run_as`" in observed.message


def test_a_pod_that_was_marked_because_its_node_is_not_ready_is_reported_at_once() -> None:
    observed = seen({"running": {}}, phase="Running", conditions=conditions("False", "True"))

    assert (observed.phase, observed.cause) == (Phase.RUNNING, Cause.NODE_LOST)
    assert "node-1" in observed.message


@pytest.mark.parametrize(
    ("ready", "containers"), [("True", "True"), ("False", "False"), ("True", "False")]
)
def test_readiness_that_the_node_itself_reports_is_not_silence(ready: str, containers: str) -> None:
    observed = seen({"running": {}}, phase="Running", conditions=conditions(ready, containers))

    assert (observed.phase, observed.cause) == (Phase.RUNNING, None)


def test_an_injected_readiness_gate_is_not_silence() -> None:
    pod = {
        "metadata": {"labels": {pods.RUN: "7"}},
        "spec": {"nodeName": "n", "readinessGates": [{"conditionType": "example.org/up"}]},
        "status": {
            "phase": "Running",
            "conditions": list(conditions("False", "True")),
            "containerStatuses": [{"name": pods.CONTAINER, "state": {"running": {}}}],
        },
    }

    assert states.observation(pod, NOW).cause is None


# --- How it ended ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), [(0, "Completed"), (3, "Error"), (143, "Error")])
def test_an_exit_of_the_container_s_own_has_no_cause(code: int, reason: str) -> None:
    observed = seen(terminated(code, reason), phase="Succeeded")

    assert (observed.phase, observed.exit_code, observed.cause) == (Phase.EXITED, code, None)
    assert observed.exited_at == NOW - timedelta(seconds=5)


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        (terminated(137, "OOMKilled"), Cause.OUT_OF_MEMORY),
        (terminated(0, "OOMKilled"), None),
        (terminated(137), Cause.KILLED),
        (terminated(127), Cause.COMMAND_NOT_FOUND),
        (terminated(128, "StartError", message='exec: "x": executable file not found in $PATH'),
         Cause.COMMAND_NOT_FOUND),
        (terminated(127, "ContainerCannotRun", message='exec: "/x": no such file or directory'),
         Cause.COMMAND_NOT_FOUND),
        (terminated(128, "StartError", message="container init was OOM-killed (limit too low?)"),
         Cause.OUT_OF_MEMORY),
        (terminated(128, "StartError", message="nvidia-container-cli: initialization error"),
         Cause.ENGINE_FAILED),
        (terminated(137, "ContainerStatusUnknown"), Cause.NODE_LOST),
    ],
)  # fmt: skip
def test_each_kind_of_ending_has_its_cause(state: dict[str, Any], cause: Cause | None) -> None:
    assert seen(state, phase="Failed").cause is cause


def test_a_process_killed_for_its_memory_is_mentioned_if_the_container_went_on() -> None:
    observed = seen(terminated(0, "OOMKilled"), phase="Succeeded")

    assert observed.message.startswith("One of its processes was killed")
    assert seen(terminated(0, "Completed"), phase="Succeeded").message == ""


def test_a_container_that_outlived_its_grace_was_killed() -> None:
    observed = seen(terminated(137), phase="Failed", meta=deleted(-4, 10, by_hypervisor=True))

    assert observed.cause is Cause.KILLED
    assert "grace" in observed.message


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("EvictionByEvictionAPI", Cause.ENGINE_EVICTED),
        ("PreemptionByScheduler", Cause.ENGINE_EVICTED),
        ("TerminationByKubelet", Cause.ENGINE_EVICTED),
        ("DeletionByTaintManager", Cause.NODE_LOST),
        ("DeletionByPodGC", Cause.NODE_LOST),
    ],
)
@pytest.mark.parametrize("code", [0, 143, 137])
def test_an_eviction_by_kubernetes_is_not_taken_for_a_stop(
    reason: str, cause: Cause, code: int
) -> None:
    observed = seen(terminated(code), phase="Failed", meta=deleted(-5, 10),
                    conditions=disrupted(reason))  # fmt: skip

    assert (observed.phase, observed.cause) == (Phase.EXITED, cause)
    assert cause.is_engines


def test_pressure_on_the_node_is_an_eviction_even_without_a_container() -> None:
    message = "The node was low on resource: memory. Threshold quantity: 100Mi"
    observed = seen(phase="Failed", reason="Evicted", message=message)

    assert (observed.phase, observed.cause) == (Phase.EXITED, Cause.ENGINE_EVICTED)
    assert "low on resource: memory" in observed.message


@pytest.mark.parametrize(
    "message",
    [
        "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
        'Container main exceeded its local ephemeral storage limit "1Gi". ',
        'Usage of EmptyDir volume "x" exceeds the limit "1Gi". ',
    ],
)
@pytest.mark.parametrize("code", [0, 137])
def test_exceeding_the_storage_limit_is_the_deployment_s_own_failure(
    message: str, code: int
) -> None:
    observed = seen(terminated(code), phase="Failed", reason="Evicted", message=message)

    assert observed.cause is Cause.OUT_OF_STORAGE
    assert "set a larger `ephemeral_storage_mib`" in observed.message
    assert message.strip() in observed.message


@pytest.mark.parametrize(
    "own",
    [
        "Container main was using 5Gi, which exceeds its request of 0.",
        "Container main was using 5Gi, request is 0, has larger consumption of ephemeral-storage.",
    ],
)
def test_pressure_on_the_disk_of_a_node_is_an_eviction(own: str) -> None:
    message = f"The node was low on resource: ephemeral-storage. {own}"

    observed = seen(terminated(137), phase="Failed", reason="Evicted", message=message)

    assert observed.cause is Cause.ENGINE_EVICTED


def test_a_pod_that_another_client_deleted_did_not_fail() -> None:
    observed = seen(terminated(143), phase="Failed", meta=deleted(-5, 10))

    assert observed.cause is Cause.ENGINE_EVICTED


def test_a_container_that_ended_before_the_deletion_ended_of_its_own_accord() -> None:
    meta = deleted(ends_s=-1, grace=0)

    observed = seen(terminated(3, at_s=-30), phase="Failed", meta=meta)

    assert (observed.exit_code, observed.cause) == (3, None)


@pytest.mark.parametrize(
    ("grace", "confirmed_s", "ended_s", "cause"),
    [
        # Either the server counts back, and the container ended with the request or after it,
        (10, -30, -30, Cause.ENGINE_EVICTED),
        (10, -30, -25, Cause.ENGINE_EVICTED),
        # or it does not, and this is when the node confirmed an ending some seconds before.
        (10, -30, -31, Cause.ENGINE_EVICTED),
        (10, -30, -50, Cause.ENGINE_EVICTED),
        (10, -30, -51, None),
        (60, -30, -90, Cause.ENGINE_EVICTED),
        (60, -30, -91, None),
    ],
)
@pytest.mark.parametrize("code", [0, 143])
def test_a_confirmed_deletion_counts_as_the_cause_if_it_may_be(
    grace: int, confirmed_s: float, ended_s: float, code: int, cause: Cause | None
) -> None:
    observed = seen(terminated(code, at_s=ended_s), phase="Failed", grace=grace,
                    meta=deleted(confirmed_s, 0))  # fmt: skip

    assert (observed.exit_code, observed.cause) == (code, cause)


@pytest.mark.parametrize(
    ("ended_s", "cause"),
    [(-42, None), (-41, Cause.ENGINE_EVICTED), (-39, Cause.ENGINE_EVICTED)],
)
def test_the_time_of_a_deletion_s_request_follows_from_its_grace(
    ended_s: float, cause: Cause | None
) -> None:
    observed = seen(terminated(0, at_s=ended_s), phase="Running", meta=deleted(-30, 10))

    assert observed.cause is cause


@pytest.mark.parametrize(
    ("ended_s", "cause"),
    [(-102, None), (-101, Cause.ENGINE_EVICTED), (-31, Cause.ENGINE_EVICTED)],
)
@pytest.mark.parametrize(
    ("meta", "conditions"),
    [
        (deleted(-30, 0), disrupted("EvictionByEvictionAPI", since_s=-100)),
        (deleted(-100, 0), disrupted("EvictionByEvictionAPI", since_s=-100)),
        (deleted(-30, 0) | {"annotations": {pods.DELETION_REQUESTED: at(-100)}}, ()),
    ],
    ids=["moved on", "counted back", "recorded"],
)
def test_a_recorded_time_takes_precedence_over_the_deletion_s_own(
    meta: dict[str, Any],
    conditions: tuple[dict[str, Any], ...],
    ended_s: float,
    cause: Cause | None,
) -> None:
    observed = seen(terminated(0, at_s=ended_s), phase="Succeeded", meta=meta,
                    conditions=conditions)  # fmt: skip

    assert observed.cause is cause


@pytest.mark.parametrize("recorded", [False, True])
def test_a_drain_after_a_deletion_does_not_hide_the_deletion(recorded: bool) -> None:
    annotation = {"annotations": {pods.DELETION_REQUESTED: at(-104)}} if recorded else {}
    observed = seen(terminated(0, at_s=-103), phase="Succeeded", meta=deleted(-102, 0) | annotation,
                    conditions=disrupted("EvictionByEvictionAPI", since_s=-100))  # fmt: skip

    assert observed.cause is Cause.ENGINE_EVICTED


def test_an_invalid_annotation_is_ignored() -> None:
    meta = deleted(-30, 0) | {"annotations": {pods.DELETION_REQUESTED: "yesterday"}}

    assert seen(terminated(0, at_s=-31), meta=meta).cause is Cause.ENGINE_EVICTED
    assert seen(terminated(0, at_s=-51), meta=meta).cause is None


@pytest.mark.parametrize(
    "status", [{"reason": "Evicted"}, {"reason": "NodeShutdown", "message": "node is down"}, {}]
)
def test_a_pod_that_its_node_evicted_stays_evicted_after_a_later_deletion(
    status: dict[str, Any],
) -> None:
    observed = seen(
        terminated(137, at_s=-600), phase="Failed", meta=deleted(-30, 0),
        conditions=disrupted("TerminationByKubelet", since_s=-599), **status,
    )  # fmt: skip

    assert observed.cause is Cause.ENGINE_EVICTED


def test_a_pod_that_was_stopped_before_it_had_a_node_is_gone() -> None:
    observed = seen(node="", meta=deleted(0, 0, by_hypervisor=True))

    assert (observed.phase, observed.exit_code, observed.cause) == (Phase.EXITED, None, None)


def test_a_pod_that_was_stopped_during_its_pull_ends_when_its_node_confirms() -> None:
    state = waiting("ContainerCreating")

    assert seen(state, meta=deleted(5, 10, by_hypervisor=True)).phase is Phase.PREPARING
    assert seen(state, meta=deleted(-5, 0, by_hypervisor=True)).phase is Phase.EXITED
    assert seen(state, phase="Failed", meta=deleted(-5, 0, by_hypervisor=True)).cause is None


def test_only_the_deployment_s_container_counts() -> None:
    pod = {
        "metadata": {"labels": {pods.RUN: "7"}},
        "spec": {"nodeName": "n"},
        "status": {
            "phase": "Running",
            "containerStatuses": [
                {"name": "istio-proxy", "state": {"running": {}}},
                {"name": pods.CONTAINER, "state": terminated(0, "Completed")},
            ],
        },
    }

    observed = states.observation(pod, NOW)

    assert (observed.phase, observed.exit_code) == (Phase.EXITED, 0)
