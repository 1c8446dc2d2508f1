"""What PostgreSQL can hold of a text."""


def storable(text: str) -> str:
    """Return the text without NULs, and with `?` for half a surrogate pair: both are refused."""
    return text.replace("\x00", "").encode(errors="replace").decode()
