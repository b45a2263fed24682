"""Method `compose`: build programs from calls that worked in an exploration or in a verified task."""
