"""The page of a deployment's logs."""

from typing import Any

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from clusters.models import Cluster, SimulatedContainer
from deployments.choices import Status
from deployments.logs.models import RunOutput
from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.ui.data.logs import as_text
from tests.fixtures.deployments import Bring, Submit


def look(console: Client, deployment: Deployment, **query: Any) -> tuple[str, Any]:
    response = console.get(reverse("logs", args=[deployment.pk]), query)
    assert response.status_code == 200
    return response.content.decode(), response.context


def launched(deployment: Deployment, output: str) -> Run:
    """Give the deployment's run a container with this output."""
    now = timezone.now()
    deployment.runs.update(launched_at=now)
    run = deployment.runs.get()
    SimulatedContainer.objects.create(
        cluster=Cluster.objects.get(), run_id=run.pk, started_at=now, output=output
    )
    return run


def test_it_shows_the_output_of_a_running_deployment_and_refreshes(
    console: Client, bring: Bring
) -> None:
    deployment = bring(Status.RUNNING)
    launched(deployment, "epoch 1\nepoch <2>\n")

    page, context = look(console, deployment)

    assert "epoch 1\nepoch &lt;2&gt;" in page
    assert context["refresh_s"] == 3


def test_it_shows_the_last_lines(console: Client, bring: Bring) -> None:
    deployment = bring(Status.RUNNING)
    launched(deployment, "".join(f"line {n}.\n" for n in range(1500)))

    assert "line 1300." in look(console, deployment)[0]
    assert "line 1299." not in look(console, deployment)[0]
    assert "line 500." in look(console, deployment, tail=1000)[0]


def test_it_shows_the_kept_output_of_an_ended_deployment(console: Client, bring: Bring) -> None:
    deployment = bring(Status.FAILED)
    now = timezone.now()
    deployment.runs.update(launched_at=now, ended_at=now)
    RunOutput.objects.create(run=deployment.runs.get(), text=b"Traceback: no such file\n")

    page, context = look(console, deployment)
    own_page = console.get(
        reverse("admin:deployments_deployment_change", args=[deployment.pk])
    ).content.decode()

    assert "Traceback: no such file" in page
    assert context["refresh_s"] is None
    assert "Traceback: no such file" in own_page


def test_a_run_that_does_not_exist_is_named(
    console: Client, submit: Submit, forge: Cluster
) -> None:
    page, context = look(console, submit(), run="12345")

    assert "12345" in context["output"].trouble
    assert context["output"].trouble in page


def test_output_that_is_to_come_is_announced(
    console: Client, submit: Submit, forge: Cluster
) -> None:
    page, context = look(console, submit())

    assert "No output yet. It appears here once a run has started." in page
    assert context["refresh_s"] is not None


def test_terminal_control_sequences_are_left_out() -> None:
    raw = b"\x1b[31mred\x1b[0m\r\n50%\r100%\x07 caf\xc3\xa9 \xff\n"

    assert as_text(raw) == "red\n50%\n100% café \ufffd\n"
