"""One agent for every network and chip: what it is trained on, and how."""
