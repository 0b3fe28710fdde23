"""Image references: a malformed one is refused at every entry point."""

import re
from string import ascii_lowercase, ascii_uppercase, digits, hexdigits

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from deployments.images import check_reference
from deployments.models import Deployment
from hypervisor.base.errors import Invalid
from tests.fixtures.deployments import Submit
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal

SHA = "0123456789abcdef" * 4

GOOD = [
    "busybox", "busybox:1", "ml/train:1", "simulated/missing", "library/a.b", "a__b/c--d.e_f",
    "localhost/x", "localhost:5000/x", "localhost:5000", "registry.example.org/team/train:v1.2",
    "registry.example.org:5000/a/b/c", "REGISTRY.example.org/x", "127.0.0.1:80/x", "[::1]/x",
    "[2001:db8::1]:5000/a/b:tag", "xn--n3h.com/x", f"busybox@sha256:{SHA}", "a:" + "t" * 128,
    f"r.io/a:1@sha256:{SHA}", f"x@sha384:{'a' * 96}", f"x@sha512:{'0' * 128}", "x:_1", "x:LATEST",
    f"{SHA}:1", f"library/{SHA}", "a/b/c/d", "0", "r.io/" + "a" * 250, "a" * 237, f"{SHA}0",
]  # fmt: skip
BAD = [
    "", " ", "busybox ", " busybox", "bus box", "busybox\n",
    "Busybox", "busyBox:1", "Library/busybox",
    "registry.example.org/Team/train", "LOCALHOST/x", ":tag", "busybox:", "busybox::1", "a:b:c",
    "busybox:-1", "busybox:.1", "busybox:t@g", "busybox:ü", "a:" + "t" * 129, "/busybox",
    "busybox/", "a//b", "http://r.io/x", "https://r.io/x:1", "docker://x", "r.io:port/x", "r.io:/x",
    "r.io:99999/x", "r.io:0/x", "-r.io/x", "r-.io/x", "r..io/x", ".r.io/x", "[::1/x", "::1/x",
    "[::1]", "[gggg::1]/x", "[::1]x/y", "a___b", "a..b", "a._b", "-a", "a-", "_a", "a_", ".a", "a.",
    "a/-b", "a@", "a@sha256", "a@sha256:", "a@sha256:abc", f"a@{SHA}", f"@sha256:{SHA}",
    f"a@sha256:{SHA.upper()}", f"a@sha256:{SHA}0", f"a@md5:{'a' * 32}", f"a@sha512:{SHA}", SHA,
    f"a@sha256:{SHA}:tag", f"a@sha256:{SHA}@sha256:{SHA}", "büsybox", "busybox\0",
    "../etc", "a/../b",
    "$(id)", "a;b", "a\\b", "a?b", "*", "a" * 238, "r.io/" + "a" * 251, "٣", "a:٣",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_a_well_formed_reference_is_accepted(text: str) -> None:
    check_reference(text)


@pytest.mark.parametrize("text", BAD)
def test_a_malformed_reference_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$"):
        check_reference(text)


# The grammar again, in one expression as in the distribution project.
_HOST = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_PART = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:((?:{_HOST}(?:\.{_HOST})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?)/)?"
    rf"({_PART}(?:/{_PART})*)(?::([\w][\w.-]{{0,127}}))?"
    r"(?:@([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)


def grammatical(text: str) -> bool:
    """Parse like the engines: `Foo/bar` is a repository, and `a.b_c/d` is on a registry."""
    match = _REFERENCE.fullmatch(text)
    if not match or re.fullmatch("[a-f0-9]{64}", text):
        return False
    registry, repository, _tag, digest = match.groups()
    first, slash, _rest = repository.partition("/")
    if not registry and slash and "." in first:
        return False
    if registry and registry != "localhost" and not set(registry) & set(".:["):
        return registry == registry.lower()
    return not digest or bool(re.fullmatch("sha256:[a-f0-9]{64}", digest))


@given(st.text("aB0._-/:@[]", max_size=14))
def test_the_check_agrees_with_the_grammar_on_any_text(text: str) -> None:
    try:
        check_reference(text)
        accepted = True
    except ValueError:
        accepted = False
    assert accepted == (grammatical(text) and ":0/" not in text and ":00" not in text.split("/")[0])


_words = st.text(ascii_lowercase + digits, min_size=1, max_size=6)
_parts = st.builds(
    lambda words, between: "".join(w + b for w, b in zip(words, between, strict=False)) + words[-1],
    st.lists(_words, min_size=1, max_size=3),
    st.lists(st.sampled_from([".", "_", "__", "-", "---"]), min_size=2, max_size=2),
)
_hosts = st.lists(
    st.text(ascii_lowercase + ascii_uppercase + digits, min_size=1, max_size=6),
    min_size=2, max_size=4,
).map(".".join)  # fmt: skip
_registries = st.builds(
    lambda host, port: f"{host}:{port}" if port else host,
    _hosts | st.sampled_from(["localhost", "[::1]", "[2001:db8::7]"]),
    st.none() | st.integers(1, 65535),
)
_references = st.builds(
    lambda registry, parts, tag, digest: "".join(
        [
            f"{registry}/" if registry else "",
            "/".join(parts if registry else [parts[0].replace(".", "-"), *parts[1:]]),
            f":{tag}" if tag else "",
            f"@sha256:{digest}" if digest else "",
        ]
    ),
    st.none() | _registries,
    st.lists(_parts, min_size=1, max_size=3),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    st.none() | st.text(set(hexdigits.lower()), min_size=64, max_size=64),
)


@given(_references)
def test_every_text_that_the_grammar_produces_is_accepted(text: str) -> None:
    check_reference(text)


@given(_references, st.sampled_from(" \t\n\0é\\;$?*(,"), st.data())
def test_one_foreign_character_anywhere_makes_it_malformed(
    text: str, foreign: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(text)))
    with pytest.raises(ValueError, match=r"\.$"):
        check_reference(text[:at] + foreign + text[at:])


@pytest.fixture
def api(alice: User, forge: Cluster, client_for: ClientFor) -> APIClient:
    return client_for(alice)


@pytest.mark.parametrize("image", ["Busybox", "busybox:", " busybox", SHA, "a" * 238])
def test_every_entry_point_names_the_image(
    api: APIClient, submit: Submit, forge: Cluster, image: str
) -> None:
    deployment = submit()
    job = {"name": "job", "image": image, "cpu": 1, "ram_mib": 64}
    path = f"/deployments/{deployment.pk}"

    for answer, attr in (
        (api.post("/deployments", job), "image"),
        (api.post("/deployments?dry_run=true", job), "image"),
        (api.post("/deployments/bulk", {"deployments": [job]}), "deployments.0.image"),
        (api.patch(path, {"image": image}), "image"),
        (api.put(path, job), "image"),
    ):
        assert refusal(answer, 400)["attr"] == attr
    with pytest.raises(Invalid) as refused:
        submit(image=image)
    assert refused.value.attr == "image"
    assert Deployment.objects.get().image == "busybox"


def test_a_command_names_the_image(db: None) -> None:
    with pytest.raises(CommandError, match="--image: A repository's name is in lower case"):
        call_command("demo", "--image", "Busybox")


def test_a_stored_malformed_reference_can_be_read_and_other_fields_changed(
    api: APIClient, submit: Submit
) -> None:
    deployment = submit()
    Deployment.objects.filter(pk=deployment.pk).update(image="Old Image")
    path = f"/deployments/{deployment.pk}"

    shown = api.get(path).data
    changed = api.patch(path, {"priority": 60})
    sent_back = api.put(path, {**shown, "cpu": 2, "env": {}})

    assert (changed.status_code, sent_back.status_code) == (200, 200)
    assert sent_back.data["image"] == "Old Image"
    assert refusal(api.patch(path, {"image": "Other Image"}), 400)["attr"] == "image"
