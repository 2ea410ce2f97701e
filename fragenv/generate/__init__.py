"""Generation: networks that are made for a chip instead of fitted to it.

* ``architecture``: a cell as a typed directed acyclic graph; ``canonical`` says which cells are the
  same function, ``nb201`` and ``dense`` convert from and to two search spaces.
* ``skeleton``: a cell repeated into a whole network, as a module, ONNX file or dataflow graph.
* ``generator``: what every generative system promises; ``systems`` is the list of them, one file
  each; ``evaluate`` measures any of them.
* ``learned``: what systems share that train a network, on architectures as tensors
  (``vocabulary``); ``corpora``: what there is to learn from; ``mmd``: how far sets of graphs are
  apart.
* ``latency``: how long a cell's network takes; ``zero_cost``, ``counts`` and ``table``: what can be
  said of it without training.
"""
