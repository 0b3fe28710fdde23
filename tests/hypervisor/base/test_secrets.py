import pytest
from cryptography.fernet import Fernet
from pytest_django import Settings

from clusters.models import Connection
from hypervisor.base.secrets import CannotDecrypt, decrypt, encrypt, fingerprint, rotate

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def test_an_encrypted_text_can_be_decrypted_and_reveals_nothing() -> None:
    token = encrypt("Lovelace's key: ü")

    assert decrypt(token) == decrypt(token.decode()) == "Lovelace's key: ü"
    assert b"Lovelace" not in token
    assert encrypt("Lovelace's key: ü") != token


def test_a_fingerprint_is_that_of_a_text_and_a_key(settings: Settings) -> None:
    settings.CREDENTIALS_KEYS = [OLD]
    first, same, other = fingerprint("secret"), fingerprint("secret"), fingerprint("secret!")
    settings.CREDENTIALS_KEYS = [NEW, OLD]

    assert first == same
    assert len({first, other, fingerprint("secret")}) == 3


def test_the_first_key_encrypts_and_all_keys_decrypt(settings: Settings) -> None:
    settings.CREDENTIALS_KEYS = [OLD]
    old = encrypt("secret")
    settings.CREDENTIALS_KEYS = [NEW, OLD]
    new = encrypt("secret")

    assert decrypt(old) == "secret"
    settings.CREDENTIALS_KEYS = [NEW]
    assert decrypt(new) == "secret"


def test_a_rotated_secret_no_longer_needs_the_old_key(settings: Settings) -> None:
    settings.CREDENTIALS_KEYS = [OLD]
    old = encrypt("secret")
    settings.CREDENTIALS_KEYS = [NEW, OLD]

    new = rotate(old)

    settings.CREDENTIALS_KEYS = [NEW]
    assert decrypt(new) == "secret"


def test_the_error_for_a_lost_key_has_the_remedy(settings: Settings) -> None:
    token = encrypt("secret")
    settings.CREDENTIALS_KEYS = [NEW]

    with pytest.raises(CannotDecrypt, match="add the key"):
        decrypt(token)


def test_a_changed_secret_is_refused() -> None:
    token = bytearray(encrypt("secret"))
    token[20] ^= 1

    with pytest.raises(CannotDecrypt):
        decrypt(bytes(token))


def test_a_connection_stores_its_credentials_encrypted() -> None:
    connection = Connection()
    connection.seal_credentials({"token": "abcdef"})

    assert b"abcdef" not in connection.credentials
    assert connection.open_credentials() == {"token": "abcdef"}
    assert Connection().open_credentials() == {}
