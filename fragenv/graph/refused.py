"""Why a node cannot be imported, before it is known which file and node that is."""

from __future__ import annotations


def unsupported(operator: str) -> str:
    """What to say of an operator that no handler knows."""
    if "convtranspose" in operator.lower().replace("_", ""):
        return "transposed convolutions are not supported; use a convolution after upsampling"
    if operator == "DynamicQuantizeLinear":
        return "it computes scales at run time; quantise statically, with calibration data"
    return "this operator is not supported; replace it or cut the model before it"


class RefusedError(Exception):
    """Raised by the builder; importers turn it into a ``ModelError`` with file, node, operator."""
