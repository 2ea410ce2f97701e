"""Patterns: what repeats in a dataflow graph and is worth a circuit.

* ``mine``: what one fragment may run; the scheduler's choices.
* ``discover`` and ``cover``: everything that repeats among operators, and the best disjoint choice.
* ``trace``, ``scalar`` and ``lanes``: the same for scalar operations of a layer or a loop nest.
* ``similarity``: which patterns are alike without being isomorphic.
"""
