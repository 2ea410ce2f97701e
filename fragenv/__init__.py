"""Schedule neural networks on chips that are too small for them.

Importing the package registers the environments with Gymnasium.
"""

from fragenv.env.registry import register_all

register_all()
