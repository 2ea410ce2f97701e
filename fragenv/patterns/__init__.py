"""Patterns: what repeats in a dataflow graph and is worth a circuit."""
