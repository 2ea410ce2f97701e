"""Networks in: the zoo, export, quantisation, and loading whatever the user has.

Modules here need PyTorch, ONNX or scikit-learn and are imported by their own names; only
``load_graph``, which imports what its argument needs, is at hand from the start.
"""

from fragenv.models.load import load_graph

__all__ = ["load_graph"]
