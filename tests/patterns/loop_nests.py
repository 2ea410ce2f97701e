"""Loop nests as a user writes them."""

from __future__ import annotations

from fragenv.patterns.trace import maximum


def fully_connected(x, w, y):
    for k in range(len(y)):
        total = 0
        for c in range(len(x)):
            total += w[k, c] * x[c]
        y[k] = total


def convolution(x, w, y):
    channels, rows, columns = y.shape
    for k in range(channels):
        for p in range(rows):
            for q in range(columns):
                total = 0
                for c in range(x.shape[0]):
                    for r in range(w.shape[2]):
                        for s in range(w.shape[3]):
                            total += w[k, c, r, s] * x[c, p + r, q + s]
                y[k, p, q] = total


def layer_with_bias_and_relu(x, w, b, y):
    for k in range(len(y)):
        total = b[k]
        for c in range(len(x)):
            total += w[k, c] * x[c]
        y[k] = maximum(total, 0)


def two_layers(x, w, v, y):
    hidden = []
    for k in range(w.shape[0]):
        total = 0
        for c in range(len(x)):
            total += w[k, c] * x[c]
        hidden.append(maximum(total, 0))
    for k in range(len(y)):
        total = 0
        for c, h in enumerate(hidden):
            total += v[k, c] * h
        y[k] = total


def padded(x, w, y):
    """A window that is cut at the borders: conditions on loop counters are allowed."""
    for p in range(len(y)):
        total = 0
        for r in range(len(w)):
            if 0 <= p + r - 1 < len(x):
                total += w[r] * x[p + r - 1]
        y[p] = total


def mixed(x, y, z):
    """Repeats nothing but a product."""
    y[0] = x[0] * x[1] - x[2]
    y[1] = x[2] * x[3] + z
