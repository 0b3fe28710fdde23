"""What a service raises when it refuses; one handler turns these into HTTP answers."""

from typing import ClassVar


class DomainError(Exception):
    """A refusal: `detail` names the remedy, `attr` the field at fault, `code` is for programs."""

    default_code: ClassVar[str] = "error"

    def __init__(self, detail: str, *, attr: str | None = None, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.attr = attr
        self.code = code or self.default_code


class Invalid(DomainError):
    """The request is wrong, whatever the state: 400."""

    default_code = "invalid"


class Forbidden(DomainError):
    """A member asks for more than the role allows: 403."""

    default_code = "permission_denied"


class NotFound(DomainError):
    """It does not exist, or not for this person: 404."""

    default_code = "not_found"


class Conflict(DomainError):
    """The state forbids it: 409."""

    default_code = "conflict"


class Unauthorized(DomainError):
    """Nobody knows who is calling: 401."""

    default_code = "authentication_failed"


class Busy(DomainError):
    """Too much of it at once: 429, again after `retry_after_s` seconds."""

    default_code = "busy"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Unavailable(DomainError):
    """A server that the answer needs is away or busy: 503, again after `retry_after_s` seconds."""

    default_code = "unavailable"

    def __init__(
        self,
        detail: str,
        *,
        attr: str | None = None,
        code: str | None = None,
        retry_after_s: int = 5,
    ) -> None:
        super().__init__(detail, attr=attr, code=code)
        self.retry_after_s = retry_after_s
