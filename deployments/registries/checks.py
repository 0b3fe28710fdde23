"""What a log-in to a registry may consist of.

Each check returns the valid text. It raises ValueError with a sentence for people and the remedy.
"""

MAX_PASSWORD = 16384
"""Long enough for the key of a service account as JSON, which some registries take."""


def checked_username(text: str) -> str:
    # A log-in is sent as `username:password`.
    if ":" in text or not text.isprintable():
        raise ValueError(
            "A username has neither a colon nor control characters: give it without the password."
        )
    return text


def checked_password(text: str) -> str:
    if not text.strip():
        raise ValueError("Give a password or a token that is not blank.")
    return text
