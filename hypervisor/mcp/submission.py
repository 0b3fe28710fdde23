"""A submission in two steps: a dry run, then the submission with the dry run's confirmation.

A confirmation is for one caller and exactly these arguments. It is also the key by which the
submission is done at most once, so an agent may repeat the second step.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django.core.signing import BadSignature, SignatureExpired, TimestampSigner
from django.utils.crypto import get_random_string

from hypervisor.mcp.rest import Rest
from hypervisor.mcp.results import Refused, bounded

VALID_S = 15 * 60

_NEXT = (
    "Nothing has been submitted. If this outcome is wanted, call submit_deployment again within"
    f" {VALID_S // 60} minutes with the same arguments and this confirmation."
)


def submit(rest: Rest, user: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dry run with a confirmation; with a valid `confirmation`, submit the deployment.

    Raises Refused.
    """
    spec = {name: value for name, value in arguments.items() if name != "confirmation"}
    signer = _signer(user, spec)
    if "confirmation" not in arguments:
        dry_run = rest.call("submit_deployment", {"dry_run": True}, body=spec)
        return {
            "submitted": False,
            "deployment": None,
            "dry_run": bounded(dry_run),
            "confirmation": signer.sign(get_random_string(8)),
            "next": _NEXT,
        }
    given = str(arguments["confirmation"])
    _check(signer, given)
    made = rest.call("submit_deployment", {}, body=spec, key=f"mcp:{given}")
    return {
        "submitted": True,
        "deployment": made,
        "dry_run": None,
        "confirmation": None,
        "next": f"Follow it with explain_deployment and the id {made['id']}.",
    }


def _signer(user: int, spec: Mapping[str, Any]) -> TimestampSigner:
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    return TimestampSigner(salt=f"{__name__}:{user}:{digest}")


def _check(signer: TimestampSigner, confirmation: str) -> None:
    try:
        signer.unsign(confirmation, max_age=VALID_S)
    except SignatureExpired:
        raise Refused(
            "confirmation: It has expired. If it may have been used, look for the deployment with"
            " list_deployments first. Then repeat the dry run: leave out `confirmation`."
        ) from None
    except BadSignature:
        raise Refused(
            "confirmation: It is not from a dry run of yours with exactly these arguments. Leave it"
            " out for a dry run, then repeat the call with the same arguments and the new one."
        ) from None
