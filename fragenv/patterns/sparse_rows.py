"""The rows of a linear program as a sparse matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import csr_array


def matrix_of(rows: Sequence[Mapping[int, float]], columns: int) -> csr_array:
    """(rows, ``columns``) coefficients; a row holds those that are not 0 by their columns."""
    values = [value for row in rows for value in row.values()]
    numbers = [number for row in rows for number in row]
    starts = np.cumsum([0, *map(len, rows)])
    return csr_array((values, numbers, starts), (len(rows), columns))
