"""Why a schedule cannot be emitted."""

from __future__ import annotations

from fragenv.errors import FragenvError


class EmitError(FragenvError):
    """The schedule needs something that the hardware library does not have."""

    def __init__(self, message: str, node: str = "", operator: str = "") -> None:
        where = f"node '{node}' ({operator}): " if node else ""
        super().__init__(f"{where}{message}")
