"""Names of operators as pictures show them."""

from __future__ import annotations


def short_name(name: str, most: int) -> str:
    """The end of a name, which tells operators apart, in at most ``most`` printable characters."""
    clean = "".join(c if c.isprintable() else "?" for c in name)
    return clean if len(clean) <= most else f"...{clean[3 - most :]}"
