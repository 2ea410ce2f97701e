"""The Weisfeiler-Lehman subtree kernel: the similarity that learning has to beat.

Shervashidze et al., "Weisfeiler-Lehman Graph Kernels", JMLR 12 (2011). Every operator starts with
its label; in each round its new label is the old one with the sorted labels of its neighbours,
those before and those after it apart. Two graphs are alike as far as they hold the same labels of
all rounds.
"""

from __future__ import annotations

from collections import Counter
from math import log2, sqrt

from fragenv.graph.operators import Operator
from fragenv.patterns.pattern import label
from fragenv.patterns.similarity.typed import TypedGraph

ROUNDS = 2

Histogram = Counter[str]


def octave_label(op: Operator) -> str:
    """The operator's label with its channels, rounded to powers of two."""
    return f"{label(op)} {round(log2(op.nest.c))}>{round(log2(op.nest.k))}"


def histogram(graph: TypedGraph, rounds: int = ROUNDS, channels: bool = False) -> Histogram:
    """How often each label occurs, those of all rounds together."""
    current = [octave_label(op) if channels else label(op) for op in graph.operators]
    counts = Counter(current)
    for number in range(1, rounds + 1):
        before: list[list[str]] = [[] for _ in current]
        after: list[list[str]] = [[] for _ in current]
        for (src, dst), slots in graph.slots.items():
            before[dst].append(f"{current[src]}@{slots}")
            after[src].append(f"{current[dst]}@{slots}")
        current = [
            f"{number}({text}|{';'.join(sorted(b))}|{';'.join(sorted(a))})"
            for text, b, a in zip(current, before, after, strict=True)
        ]
        counts.update(current)
    return counts


def kernel(a: Histogram, b: Histogram) -> int:
    """The inner product of two histograms."""
    return sum(count * b[text] for text, count in a.items())


def kernel_distance(a: Histogram, b: Histogram) -> float:
    """The distance that the kernel induces."""
    return sqrt(kernel(a, a) + kernel(b, b) - 2 * kernel(a, b))


def cosine_distance(a: Histogram, b: Histogram) -> float:
    """One minus the normalised kernel, the form in which it is most often used."""
    return 1 - kernel(a, b) / sqrt(kernel(a, a) * kernel(b, b))


def count_distance(a: Histogram, b: Histogram) -> int:
    """Labels that only one of the two holds, counted."""
    return sum(abs(a[text] - b[text]) for text in a.keys() | b.keys())
