"""The benchmark: schedulers on instances, at equal calls of ``apply`` or at equal seconds."""
