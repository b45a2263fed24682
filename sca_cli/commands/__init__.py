"""The verbs, one file each: `run` does the work on records, `command` is its shell."""
