"""Encrypt and decrypt values that must not be readable in the database or its backups.

The keys are `CREDENTIALS_KEYS`. Fernet is AES-128-CBC with an HMAC-SHA256, so a modified value is
rejected too.
"""

import hmac
from hashlib import sha256

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class CannotDecrypt(Exception):
    """None of the keys decrypts the value."""


def encrypt(text: str) -> bytes:
    """Return the text encrypted with the first key, as ASCII that fits into a JSON field."""
    return _keys().encrypt(text.encode())


def decrypt(token: bytes | memoryview | str) -> str:
    """Return the text that was encrypted with any of the keys. Raises CannotDecrypt."""
    try:
        return _keys().decrypt(_bytes(token)).decode()
    except InvalidToken as error:
        raise CannotDecrypt(
            "None of the keys in CREDENTIALS_KEYS decrypts this secret: add the key that it was"
            " encrypted with."
        ) from error


def rotate(token: bytes | memoryview | str) -> bytes:
    """Return the same secret encrypted with the first key. Raises CannotDecrypt."""
    return encrypt(decrypt(token))


def fingerprint(text: str) -> str:
    """Return a digest that tells whether texts are equal, and nothing else without the first key.

    It differs once the first key has changed.
    """
    return hmac.new(settings.CREDENTIALS_KEYS[0].encode(), text.encode(), sha256).hexdigest()


def _keys() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.CREDENTIALS_KEYS])


def _bytes(token: bytes | memoryview | str) -> bytes:
    return token.encode() if isinstance(token, str) else bytes(token)
