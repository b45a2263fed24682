"""Checks that any environment plugin must pass: `sca env test`."""
