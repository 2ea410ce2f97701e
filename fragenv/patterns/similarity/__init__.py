"""Similarity: which patterns are alike without being isomorphic.

* ``typed``: a pattern as a small graph whose nodes carry loop bounds; ``generate`` makes random
  ones, ``corpus`` takes them from networks.
* ``edit_distance``: what similarity means, exactly; ``wl`` and ``encoder`` (with ``training`` and
  ``weights``) are two estimates of it that need no search.
* ``propose``: which of many pairs to try to merge first.
"""
