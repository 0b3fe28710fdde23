"""A webhook receives and verifies what happens to a deployment, from the real processes."""

from itertools import takewhile

from benchmarks.service import Service, wait_until
from tests.support.receiver import receiving
from tests.support.service import User


def test_a_receiver_verifies_the_life_of_a_deployment(service: Service) -> None:
    with receiving() as receiver, User.newcomer(service.url, "wanda", patience_s=60) as ada:
        ada.post("/organizations", name="Engines")
        ada.post("/clusters", name="rack", cpu=8, ram_mib=8192, gpu=1)
        webhook = ada.post(
            "/webhooks", url=receiver.url, kinds=["submitted", "placed", "running", "stopped"]
        )
        first = ada.deploy("training")
        ada.wait_for(first, "running")
        service.kill("events")
        ada.post(f"/deployments/{first}/stop")
        ada.post(f"/webhooks/{webhook['id']}/test")
        messages = (receiver.next().verified(webhook["secret"]) for _ in range(20))
        kinds = [message["type"] for message in takewhile(_is_not_last, messages)]

        position = ada.get("/events?after=0")["after"]
        path = f"/webhooks/{webhook['id']}"
        wait_until(lambda: ada.get(path)["position"] >= position, "all events are done with")
        deliveries = ada.get(f"{path}/deliveries")["results"]

    life = [kind.removeprefix("deployment.") for kind in dict.fromkeys(kinds) if kind != "ping"]
    assert life == ["submitted", "placed", "running"]
    assert [(row["kind"], row["status"]) for row in deliveries] == [("ping", "delivered")]


def _is_not_last(message: object) -> bool:
    return isinstance(message, dict) and message["type"] != "deployment.stopped"
