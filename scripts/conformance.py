"""Print which of ONNX's node tests run on the chip, and why the others do not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fragenv.errors import FragenvError
from fragenv.serialize import write_bytes

TESTS = Path(__file__).parent.parent / "tests" / "conformance"


def main(
    output: Annotated[
        Path | None, typer.Option(help="Write the page to this file, such as docs/conformance.md.")
    ] = None,
) -> None:
    """Print the page docs/conformance.md: counts per operator, exclusions and reasons.

    The tests themselves run with: pytest tests/conformance. Exit status 2 where --output cannot
    be written.
    """
    sys.path.insert(0, str(TESTS))
    from page import page

    text = page()
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        write_bytes(output, text.encode())
    except FragenvError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
