"""What the README and the user's guide promise for a service that has just been started."""

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.service import Service, wait_until
from hypervisor.standalone.bootstrap import ROOT
from tests.support.pages import paste
from tests.support.service import User

BROWSER = {"Accept": "text/html"}
GPU_CLUSTER = {"name": "rack-1", "cpu": 8, "ram_mib": "32Gi", "gpu": 1}


@pytest.fixture(scope="module")
def alice(service: Service) -> Iterator[User]:
    with User.newcomer(service.url, "alice") as client:
        client.post("/organizations", name="Acme")
        client.post("/clusters", **GPU_CLUSTER)
        yield client


def test_up_prints_one_address_and_one_way_in(service: Service) -> None:
    url = f"http://localhost:{service.port}"
    password = (service.home / "admin-password").read_text().strip()

    assert re.findall(r"http://\S+", service.output) == [url]
    assert f"Sign in  as admin with the password {password} " in service.output


def test_the_docs_and_the_admin_are_served_with_their_files(service: Service) -> None:
    for path in ("/docs", "/account/sign-in/"):
        with urllib.request.urlopen(service.url + path) as answer:
            page = answer.read().decode()
        assets = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
        assert assets
        for asset in assets:
            with urllib.request.urlopen(service.url + asset) as answer:
                assert answer.status == 200


def test_a_deployment_that_fits_runs(alice: User) -> None:
    deployment = alice.deploy("small")

    alice.wait_for(deployment, "running")


def test_a_higher_deployment_preempts_and_both_explain_why(alice: User) -> None:
    training = alice.deploy("training", gpu=1, priority=20)
    alice.wait_for(training, "running")

    urgent = alice.deploy("urgent", gpu=1, priority=90)

    alice.wait_for(urgent, "running")
    victim = alice.get(f"/deployments/{training}")
    assert (victim["status"], victim["preemptions"]) == ("pending", 1)
    kinds = [event["kind"] for event in alice.get(f"/deployments/{training}/events")["results"]]
    assert "evicted" in kinds or "preempted" in kinds
    explanation = alice.get(f"/deployments/{training}/explain")
    assert explanation["position"] == 1
    assert "GPU" in explanation["reason"]


def test_the_victim_runs_again_when_its_capacity_is_free(alice: User) -> None:
    waiting = alice.deploy("patient", gpu=1, priority=10)
    running = [d for d in alice.get("/deployments?status=running")["results"] if d["gpu"]]

    for deployment in running:
        alice.post(f"/deployments/{deployment['id']}/stop")

    victim = alice.get("/deployments?name=training")["results"][0]["id"]
    alice.wait_for(victim, "running")
    assert alice.status(waiting) == "pending"


def test_other_terminals_reach_the_running_service(service: Service, alice: User) -> None:
    deployment = alice.deploy("explained")
    alice.wait_for(deployment, "running")

    for command in (("explain", str(deployment)), ("verify",)):
        status, output = service.run(*command)
        assert status == 0, output


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_readmes_session_can_be_pasted(service: Service) -> None:
    readme = (ROOT / "README.md").read_text()
    session = readme.split("## A first session")[1].split("```sh\n")[1].split("```")[0]
    session = session.replace("http://localhost:8000", service.url)

    done = subprocess.run(
        ["sh", "-eu"], input=session, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr
    forecast, status, events, explanation = done.stdout.splitlines()[-5:-1]
    assert json.loads(forecast)["outcome"] == "preempt"
    assert status == "pending"
    assert len(json.loads(events)["results"]) >= 3
    assert "GPU" in json.loads(explanation)["reason"]


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_guides_session_can_be_pasted_and_prints_what_it_shows(
    service: Service, tmp_path: Path
) -> None:
    paste("guide.md", service, tmp_path)


def test_what_up_prints_leads_to_the_demo(service: Service) -> None:
    printed = re.search(r"Open +(\S+)\n +Sign in +as (\S+) with the password (\S+)", service.output)
    assert printed, service.output
    address, name, password = printed.groups()

    with httpx.Client(base_url=address, follow_redirects=True, headers=BROWSER) as browser:
        page = _submit(browser, browser.get("/"), username=name, password=password)
        assert page.url.path == "/my/start/"
        page = _submit(browser, page)
        assert "being filled" in page.text
        wait_until(
            lambda: "Three organizations share" in browser.get(page.url).text, "the demo runs"
        )

    status, output = service.run("demo", "--password")
    assert status == 0, output


def _submit(browser: httpx.Client, page: httpx.Response, **given: str) -> httpx.Response:
    """Submit the form in the page's main part as a browser does."""
    form = page.text.partition("<main")[2].partition("</form>")[0]
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form))
    return browser.post(page.url, data=hidden | given)
