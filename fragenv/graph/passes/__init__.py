"""Graph passes: functions from a graph to a graph; the constructor verifies each result."""
