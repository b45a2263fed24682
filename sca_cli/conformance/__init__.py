"""Check that an environment plugin keeps its promises: `sca env test`."""
