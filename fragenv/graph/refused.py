"""Why a node cannot be imported, before it is known which file and node that is."""

from __future__ import annotations


class RefusedError(Exception):
    """Raised by the builder; importers turn it into a ``ModelError`` with file, node, operator."""
