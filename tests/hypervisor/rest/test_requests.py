"""Malformed requests to every route: each gets a clear response, and none is half understood."""

import json
from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Organization
from tests.fixtures.deployments import Bring
from tests.fixtures.people import ClientFor
from tests.support.answers import ids as ids_of
from tests.support.answers import refusal
from tests.support.factories import PASSWORD, UserFactory
from tests.support.routes import ROUTES, filled_in

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
OPEN = {"/docs", "/openapi.json", "/healthz", "/readyz", "/metrics"}
JOB: dict[str, Any] = {"name": "job", "image": "busybox", "cpu": 1, "ram_mib": 64}
FORMS = [("POST", "/token"), ("POST", "/token/refresh")]

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(alice: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    client = client_for(alice)
    client.raise_request_exception = False
    return client


def post(client: APIClient, body: Any, path: str = "/deployments", kind: str = JSON) -> Any:
    return client.generic("POST", path, body, kind)


def with_field(name: str, raw: str) -> str:
    """Return a submission with this JSON as the value of one field."""
    fields = {key: json.dumps(value) for key, value in JOB.items()} | {name: raw}
    return "{" + ",".join(f'"{key}":{value}' for key, value in fields.items()) + "}"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_of_a_token_is_case_insensitive(scheme: str) -> None:
    user = UserFactory()
    pair = APIClient().post("/token", {"username": user.username, "password": PASSWORD}).json()

    answer = APIClient().get("/me", HTTP_AUTHORIZATION=f"{scheme}  {pair['access_token']}")

    assert answer.json()["username"] == user.username


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        (r'{"\ud800": 1}', r"\ud800"),
        (with_field("name", r'"\ud800"'), "name"),
        (with_field("restart_policy", r'"\udfff"'), "restart_policy"),
        (with_field("env", r'{"A": {"\ud800": "x"}}'), r"env.A.\ud800"),
        (with_field("env", r'{"\ud800": "x"}'), r"env.\ud800"),
        (with_field("command", r'["\ud800"]'), "command.0"),
        (with_field("name", r'"\u0000"'), "name"),
        (r'{"\u0000": 1}', "\0"),
        (with_field("env", r'{"A": "\u0000"}'), "env.A"),
        (with_field("cpu", "NaN"), "cpu"),
        (with_field("cpu", "-Infinity"), "cpu"),
        (with_field("cpu", "1e999"), "cpu"),
        (with_field("priority", "1e999"), "priority"),
        (with_field("cpu", "9" * 5000), "cpu"),
        (with_field("priority", "-" + "9" * 5000), "priority"),
        (with_field("cpu", "0." + "3" * 5000), "cpu"),
        (with_field("priority", '"' + "9" * 5000 + '"'), "priority"),
        (with_field("priority", '"1_0"'), "priority"),
        (with_field("priority", '"٣"'), "priority"),
        (with_field("gpu", '" 1"'), "gpu"),
        (with_field("max_restarts", '"+1"'), "max_restarts"),
        (with_field("organization", '"1_0"'), "organization"),
        ('{"name": "a", "name": "b"}', "name"),
        (with_field("env", '{"A": "x", "A": "y"}'), "env.A"),
        ('{"deployments": [{"cpu": 1, "cpu": 2}]}', "deployments.0.cpu"),
        ("[" * 100_000, None),
        ("[" * 900 + "]" * 900, None),
        (with_field("restart_policy", "[" * 33 + "]" * 33), None),
        ("NaN", None),
        ('"\\ud800"', None),
        (b'{"name": "\xff"}', None),
        ("{}".encode("utf-16"), None),
        ("{broken", None),
        ('{"name": "job"', None),
        ("[]", None),
        ("null", None),
    ],
)  # fmt: skip
def test_an_ambiguous_body_is_refused(api: APIClient, body: str | bytes, attr: str | None) -> None:
    answer = post(api, body)

    assert answer.status_code == 400, answer.data
    assert {error["attr"] for error in answer.json()["errors"]} == {attr}
    assert not Deployment.objects.exists()


@pytest.mark.parametrize("key", [None, "a key"])
@pytest.mark.parametrize(
    "path", sorted({p for m, p in ROUTES if m == "POST" and "{" not in p and p not in OPEN})
)
def test_no_route_fails_for_a_strange_body(api: APIClient, path: str, key: str | None) -> None:
    headers = {"Idempotency-Key": key} if key else {}
    bodies: list[Any] = [r'{"\ud800": 1}', "[" * 100_000, '{"a": 1, "a": 2}', "9" * 5000, b"\xff"]
    for body in bodies:
        assert api.generic("POST", path, body, JSON, headers=headers).status_code == 400


def test_a_body_with_many_unusual_characters_and_levels_is_accepted(api: APIClient) -> None:
    env = {"GREETING": "\U0001f600 ٣ \ufeff", "TOKEN": {"secret": "é"}}
    body = json.dumps(JOB | {"env": env})

    for text in (body, json.dumps(JOB | {"env": env}, ensure_ascii=False), "\ufeff" + body):
        answer = post(api, text.encode())
        assert answer.status_code == 201
        assert answer.json()["env"]["GREETING"] == env["GREETING"]
    assert post(api, body, kind=f"{JSON}; charset=utf-16").status_code == 201


def test_the_size_of_a_json_body_is_limited_with_and_without_a_key(
    api: APIClient, settings: Settings
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000

    assert post(api, with_field("name", f'"{"x" * 1000}"')).status_code == 413


@pytest.mark.parametrize("path", ["/token", "/token/refresh", "/register"])
def test_before_a_log_in_the_limit_of_a_body_is_smaller(path: str) -> None:
    assert post(APIClient(), f'{{"username": "{"x" * 2**18}"}}', path).status_code == 413


def test_the_response_to_thousands_of_faults_names_only_the_first_ones(api: APIClient) -> None:
    answer = post(api, "[" + ",".join(['{"a": 1, "a": 2}'] * 5000) + "]")

    assert answer.status_code == 400
    assert len(answer.json()["errors"]) == 20


@pytest.mark.parametrize("kind", ["", "text/plain", FORM, "json", "application/vnd.api+json"])
def test_another_content_type_is_refused_with_the_remedy(api: APIClient, kind: str) -> None:
    answer = post(api, json.dumps(JOB), kind=kind)

    assert answer.status_code == 415
    assert "application/json" in answer.json()["errors"][0]["detail"]


@pytest.mark.parametrize("path", [path for _method, path in FORMS])
@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ("username=a&refresh_token=b" + "".join(f"&a{n}=" for n in range(1001)), None),
        ("username=a&username=b&refresh_token=a&refresh_token=b", "username"),
        ("username=%ff&refresh_token=%ff", "username"),
    ],
)
def test_an_ambiguous_form_is_refused(path: str, body: str, attr: str | None) -> None:
    answer = post(APIClient(raise_request_exception=False), body, path, FORM)

    assert answer.status_code == 400
    assert attr in {error["attr"] for error in answer.json()["errors"]}


def test_an_ambiguous_multipart_form_is_refused() -> None:
    def part(name: str, more: str = "") -> str:
        return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\nx\r\n'

    for parts in (
        [part(f"a{n}") for n in range(1001)],
        [part(f"a{n}", '; filename="f"') for n in range(101)],
        [part("username"), part("username"), part("password")],
    ):
        client = APIClient(raise_request_exception=False)
        body = "".join(parts) + "--b--\r\n"
        assert post(client, body, "/token", "multipart/form-data; boundary=b").status_code == 400


@pytest.mark.parametrize(("method", "path"), [r for r in ROUTES if r[1] not in OPEN])
def test_every_call_refuses_an_unknown_parameter_by_name(
    api: APIClient, ids: dict[str, int], method: str, path: str
) -> None:
    answer = api.generic(method, f"{filled_in(path, ids)}?dryrun=true", "{}", JSON)

    error = refusal(answer, 400)
    assert (error["code"], error["attr"]) == ("unknown_parameter", "dryrun")


@pytest.mark.parametrize(("method", "path"), [r for r in ROUTES if r[1] not in OPEN])
def test_every_call_survives_a_thousand_parameters(
    api: APIClient, ids: dict[str, int], method: str, path: str
) -> None:
    query = "&".join(f"p{n}=1" for n in range(1001))

    assert api.generic(method, f"{filled_in(path, ids)}?{query}", "{}", JSON).status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [r for r in ROUTES if r[1] not in OPEN and r[0] in ("GET", "DELETE")]
    + [("POST", f"/deployments/{{pk}}/{verb}") for verb in ("cancel", "stop", "start", "hold")]
    + [("POST", f"/clusters/{{pk}}/{verb}") for verb in ("cordon", "drain")],
)
def test_a_body_is_refused_by_a_call_that_takes_none(
    api: APIClient, ids: dict[str, int], method: str, path: str
) -> None:
    answer = api.generic(method, filled_in(path, ids), '{"dry_run": true}', JSON)

    assert "takes no body" in refusal(answer, 400)["detail"]
    assert Deployment.objects.get().status == Status.RUNNING


@pytest.mark.parametrize("body", ["", "{}"])
@pytest.mark.parametrize("verb", ["cancel", "stop", "hold", "release", "start", "checkpoint"])
def test_an_empty_object_counts_as_no_body(
    api: APIClient, ids: dict[str, int], verb: str, body: str
) -> None:
    answer = api.generic("POST", filled_in(f"/deployments/{{pk}}/{verb}", ids), body, JSON)

    assert answer.status_code in (200, 202, 204, 409)


@pytest.mark.parametrize("path", ["/token", "/register", "/deployments", "/join-organization"])
def test_an_unsupported_method_is_405_whatever_else_is_wrong(api: APIClient, path: str) -> None:
    assert api.generic("TRACE", f"{path}?dry_run=true", '{"a": 1}', JSON).status_code == 405


@pytest.mark.parametrize(
    ("query", "attr"),
    [
        ("dry_run=true&dry_run=false", "dry_run"), ("dry_run=false&dry_run=false", "dry_run"),
        ("dry_run=", "dry_run"), ("dry_run=yes", "dry_run"), ("dry_run=0", "dry_run"),
        ("dry_run=1", "dry_run"),
    ],
)  # fmt: skip
def test_an_ambiguous_submission_stores_nothing(api: APIClient, query: str, attr: str) -> None:
    answer = api.post(f"/deployments?{query}", JOB)

    assert refusal(answer, 400)["attr"] == attr
    assert not Deployment.objects.exists()


def test_a_flag_may_be_written_as_python_writes_it(api: APIClient) -> None:
    assert api.post("/deployments?dry_run=True", JOB).status_code == 200
    assert not Deployment.objects.exists()
    assert api.get("/webhooks?enabled=False").status_code == 200
    assert refusal(api.get("/webhooks?enabled=0"), 400)["attr"] == "enabled"


@pytest.mark.parametrize(
    ("query", "attr"),
    [
        ("limit=1&limit=2", "limit"), ("limit=" + "9" * 5000, "limit"), ("limit=%D9%A3", "limit"),
        ("ordering=id&ordering=name", "ordering"), ("ordering=", "ordering"), ("name=", "name"),
        ("status=", "status"), ("status=pending&status=", "status"),
        ("status=pending&status=asleep", "status"), ("name=%FF", "name"),
        ("name=%ED%A0%80", "name"), ("cluster=1_0", "cluster"), ("cluster=%D9%A3", "cluster"),
        ("cluster=%201", "cluster"), ("cluster=%2B1", "cluster"), ("cluster=1.0", "cluster"),
        ("cluster=" + "9" * 5000, "cluster"), ("priority_min=1_0", "priority_min"),
        ("priority_min=1&priority_min=2", "priority_min"), ("name=%00", "name"),
    ],
)  # fmt: skip
def test_a_list_refuses_an_ambiguous_parameter(api: APIClient, query: str, attr: str) -> None:
    assert refusal(api.get(f"/deployments?{query}"), 400)["attr"] == attr


@pytest.mark.parametrize(
    ("query", "attr"),
    [
        ("tail=1_0", "tail"), ("tail=%D9%A3", "tail"), ("tail=-1", "tail"), ("tail=1.0", "tail"),
        ("tail=%201", "tail"), ("tail=1&tail=2", "tail"), ("tail=", "tail"),
        ("follow=yes", "follow"), ("follow=", "follow"), ("follow=true&follow=false", "follow"),
        ("run=1e3", "run"), ("run=0", "run"), ("run=" + "9" * 5000, "run"),
    ],
)  # fmt: skip
def test_logs_refuse_an_ambiguous_parameter(
    api: APIClient, bring: Bring, query: str, attr: str
) -> None:
    deployment = bring(Status.RUNNING)

    assert refusal(api.get(f"/deployments/{deployment.pk}/logs?{query}"), 400)["attr"] == attr


def test_a_filter_with_several_values_matches_any_of_them(
    api: APIClient, bring: Bring, acme: Organization
) -> None:
    made = {status: bring(status, name=f"{status}-1").pk for status in Status}

    both = ids_of(api.get("/deployments?status=pending&status=running&ordering=id"))
    named = ids_of(api.get("/deployments?name=pend&name=FAIL&ordering=id"))

    assert both == [made[Status.PENDING], made[Status.RUNNING]]
    assert named == [made[Status.PENDING], made[Status.FAILED]]
    assert ids_of(api.get(f"/clusters?organization={acme.pk}&organization=0"))


@pytest.mark.parametrize("pk", ["٣", "1_0", "+1", "9" * 5000])
def test_an_id_in_a_path_consists_of_plain_digits(
    api: APIClient, acme: Organization, pk: str
) -> None:
    paths = [f"/deployments/{pk}", f"/organizations/{acme.pk}/members/{pk}"]

    assert [api.patch(path, {}).status_code for path in paths] == [404, 404]
