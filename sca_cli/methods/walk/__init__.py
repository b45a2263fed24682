"""Method `walk`: make tasks of writes that an exploration without a model found to work."""
