"""The errors with which a service refuses a call; one handler turns them into HTTP responses."""

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
    """The request is wrong in any state (400)."""

    default_code = "invalid"


class Forbidden(DomainError):
    """The member's role does not allow the request (403)."""

    default_code = "permission_denied"


class NotFound(DomainError):
    """The object does not exist, or the caller may not see it (404)."""

    default_code = "not_found"


class Conflict(DomainError):
    """The present state forbids the request (409)."""

    default_code = "conflict"


class Gone(DomainError):
    """What the request continues from no longer exists (410)."""

    default_code = "gone"


class Unauthorized(DomainError):
    """The caller is not authenticated (401)."""

    default_code = "authentication_failed"


class Busy(DomainError):
    """Too many such requests at once (429); the caller may retry after `retry_after_s` seconds."""

    default_code = "busy"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Unavailable(DomainError):
    """A server that the response depends on is down or busy (503); the caller may retry after
    `retry_after_s` seconds.
    """

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
