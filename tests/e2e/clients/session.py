"""The README's session, through a client that is generated from the OpenAPI document.

Takes the URL of the service and a new username, and writes the fields that a rename has changed.
"""

import json
import sys
import time

from api_client import AuthenticatedClient, Client
from api_client.api.authentication import log_in, register
from api_client.api.clusters import create_cluster
from api_client.api.deployments import (
    explain_deployment,
    get_deployment,
    list_deployment_events,
    list_deployments,
    stop_deployment,
    submit_deployment,
    update_deployment,
)
from api_client.api.organizations import create_organization
from api_client.models import (
    Cluster,
    ClusterRequest,
    CredentialsRequest,
    Deployment,
    DeploymentChange,
    DeploymentPage,
    DeploymentRequest,
    DeploymentStatus,
    DryRun,
    DryRunOutcome,
    EventPage,
    Explanation,
    Organization,
    OrganizationRequest,
    RegistrationRequest,
    TokenPair,
    User,
)

PASSWORD = "correct horse battery"


class Session:
    """A user of a service, with one organization and one cluster."""

    def __init__(self, url: str, username: str) -> None:
        stranger = Client(base_url=url)
        registration = RegistrationRequest(username=username, password=PASSWORD)
        user = register.sync(client=stranger, body=registration)
        assert isinstance(user, User), user
        credentials = CredentialsRequest(username=username, password=PASSWORD)
        tokens = log_in.sync(client=stranger, body=credentials)
        assert isinstance(tokens, TokenPair), tokens
        self.api = AuthenticatedClient(base_url=url, token=tokens.access_token)
        name = OrganizationRequest(name="Analytical Engines")
        organization = create_organization.sync(client=self.api, body=name)
        assert isinstance(organization, Organization), organization
        rack = ClusterRequest(name="rack-1", cpu=8, ram_mib="32Gi", gpu=1)
        cluster = create_cluster.sync(client=self.api, body=rack)
        assert isinstance(cluster, Cluster), cluster
        assert (cluster.available.cpu, cluster.available.ram_mib) == (8, 32768)

    def submit(self, spec: DeploymentRequest) -> Deployment:
        created = submit_deployment.sync(client=self.api, body=spec)
        assert isinstance(created, Deployment), created
        return created

    def get(self, pk: int) -> Deployment:
        found = get_deployment.sync(pk, client=self.api)
        assert isinstance(found, Deployment), found
        return found

    def wait_for(self, pk: int, status: DeploymentStatus) -> None:
        deadline = time.monotonic() + 60
        while (deployment := self.get(pk)).status != status:
            assert time.monotonic() < deadline, deployment
            time.sleep(0.2)

    def rename(self, pk: int) -> dict[str, object]:
        """Rename a deployment by a PATCH; return what has changed."""
        before = self.get(pk).to_dict()
        change = DeploymentChange(name="renamed")
        after = update_deployment.sync(pk, client=self.api, body=change)
        assert isinstance(after, Deployment), after
        return {key: value for key, value in after.to_dict().items() if value != before[key]}


def main(url: str, username: str) -> None:
    session = Session(url, username)
    training = session.submit(
        DeploymentRequest(
            name="training", image="ml/train:1", cpu=4, ram_mib="16Gi", gpu=1, priority=20
        )
    )
    session.wait_for(training.id, DeploymentStatus.RUNNING)

    fraud_check = DeploymentRequest(
        name="fraud-check", image="ml/serve:1", cpu=2, ram_mib="8Gi", gpu=1, priority=90
    )
    forecast = submit_deployment.sync(client=session.api, body=fraud_check, dry_run=True)
    assert isinstance(forecast, DryRun), forecast
    assert forecast.outcome == DryRunOutcome.PREEMPT
    assert [eviction.deployment for eviction in forecast.evictions] == [training.id]
    urgent = session.submit(fraud_check)
    session.wait_for(urgent.id, DeploymentStatus.RUNNING)

    explanation = explain_deployment.sync(training.id, client=session.api)
    assert isinstance(explanation, Explanation), explanation
    assert (explanation.position, explanation.clusters[0].missing.gpu) == (1, 1)
    events = list_deployment_events.sync(training.id, client=session.api)
    assert isinstance(events, EventPage), events
    assert "evicted" in {event.kind for event in events.results}
    changed = session.rename(training.id)

    stopped = stop_deployment.sync(urgent.id, client=session.api)
    assert isinstance(stopped, Deployment), stopped
    session.wait_for(training.id, DeploymentStatus.RUNNING)
    page = list_deployments.sync(client=session.api, status=[DeploymentStatus.RUNNING])
    assert isinstance(page, DeploymentPage), page
    assert [deployment.id for deployment in page.results] == [training.id]
    sys.stdout.write(json.dumps(changed))


if __name__ == "__main__":
    main(*sys.argv[1:])
