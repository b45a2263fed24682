"""The verbs. `command` reads the options; the work on records is in `run` or in `shared`. `env` is a folder."""
