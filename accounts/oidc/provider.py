"""The conversation with the provider: authorization code with PKCE, state and nonce.

Authlib makes the requests and checks the state, the nonce, the signature, the audience and the
times of the ID token. Here is what it leaves open: that the issuer is the one in the settings, in
the metadata and in the response, and that only a key pair can have signed the token.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import structlog
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.django_client import OAuth
from django.conf import settings
from django.http import HttpRequest, HttpResponseRedirect
from joserfc.errors import JoseError
from requests import RequestException

from hypervisor.base.errors import Forbidden, Unavailable

log = structlog.get_logger(__name__)

Claims = Mapping[str, Any]

_TIMEOUT_S = 10
_KEY_PAIRS = frozenset(
    f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)
) | {"EdDSA"}
_SUBJECT = re.compile(r"[ -~]{1,255}")
_ALGORITHMS = "id_token_signing_alg_values_supported"
_OPENED = "oidc_id_token"


def is_configured() -> bool:
    """Return whether people can sign in through a provider."""
    return bool(settings.OIDC_ISSUER)


def begin(request: HttpRequest, callback: str) -> HttpResponseRedirect:
    """Lead to the provider, which leads back to the callback, an absolute address.

    Raises Unavailable if the provider does not answer, Forbidden if it is another one.
    """
    with _refusals():
        answer: HttpResponseRedirect = _client().authorize_redirect(request, callback)
        return answer


def finish(request: HttpRequest) -> Claims:
    """Return what the provider claims about the person who came back from it.

    Raises Forbidden if the response is not valid, or if the provider has refused, and Unavailable
    if the provider does not answer.
    """
    with _refusals():
        client = _client()
        sender = request.GET.get("iss", settings.OIDC_ISSUER)
        if not _is_same(sender, settings.OIDC_ISSUER):
            raise _refusal("another provider has answered")
        # Authlib would show the reason of a refusal, whoever has written it into the address.
        if not client.framework.get_state_data(request.session, request.GET.get("state")):
            raise _refusal("it answers nothing that this browser has asked")
        token = client.authorize_access_token(request)
        if "userinfo" not in token:
            raise _refusal("the response has no ID token")
        if not _SUBJECT.fullmatch(token["userinfo"]["sub"]):
            raise _refusal("its name of the subject is not valid")
        request.session[_OPENED] = token["id_token"]
        return {**_further(client, token), **token["userinfo"]}


def end_address(request: HttpRequest, afterwards: str) -> str:
    """Return the address at which the session at the provider ends, empty if there is none."""
    id_token = request.session.get(_OPENED)
    if not id_token or not is_configured():
        return ""
    try:
        with _refusals():
            client = _client()
            if "end_session_endpoint" not in client.server_metadata:
                return ""
            return str(
                client.create_logout_url(
                    post_logout_redirect_uri=afterwards,
                    id_token_hint=id_token,
                    client_id=settings.OIDC_CLIENT_ID,
                )["url"]
            )
    except (Forbidden, Unavailable):
        return ""


def _client() -> Any:
    client = _registered(
        settings.OIDC_ISSUER,
        settings.OIDC_CLIENT_ID,
        settings.OIDC_CLIENT_SECRET,
        settings.OIDC_SCOPES,
    )
    metadata = client.load_server_metadata()
    if not _is_same(metadata.get("issuer", ""), settings.OIDC_ISSUER):
        raise _refusal(f"its metadata names the issuer {metadata.get('issuer')}")
    offered = metadata.get(_ALGORITHMS) or ["RS256"]
    metadata[_ALGORITHMS] = [name for name in offered if name in _KEY_PAIRS]
    return client


@lru_cache(maxsize=4)
def _registered(issuer: str, client_id: str, client_secret: str, scopes: str) -> Any:
    return OAuth().register(
        "provider",
        client_id=client_id,
        client_secret=client_secret or None,
        server_metadata_url=f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={
            "scope": scopes,
            "code_challenge_method": "S256",
            "default_timeout": _TIMEOUT_S,
            **({} if client_secret else {"token_endpoint_auth_method": "none"}),
        },
    )


def _further(client: Any, token: Mapping[str, Any]) -> Claims:
    """Return the claims that the provider has only at its userinfo endpoint."""
    if "userinfo_endpoint" not in client.server_metadata:
        return {}
    found: Claims = client.userinfo(token=token)
    if found.get("sub") != token["userinfo"]["sub"]:
        raise _refusal("its userinfo is about somebody else")
    return found


def _is_same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")


def _refusal(reason: str) -> Forbidden:
    log.warning("oidc_refused", reason=reason)
    return Forbidden(
        f"The sign-in with {settings.OIDC_NAME} was not accepted: {reason}. Try again, or ask an"
        " operator of this service.",
        code="oidc_refused",
    )


@contextmanager
def _refusals() -> Iterator[None]:
    """Raise what goes wrong within the block as refusals."""
    try:
        yield
    except RequestException as error:
        log.warning("oidc_unavailable", error=str(error))
        raise Unavailable(
            f"{settings.OIDC_NAME} does not answer at present. Try again later.",
            code="oidc_unavailable",
        ) from error
    except AuthlibBaseError as error:
        raise _refusal(str(error.description or error.error)) from error
    except (JoseError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _refusal(f"the response is not valid ({type(error).__name__})") from error
