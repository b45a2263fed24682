"""Check that the jail works on this machine: probe its layers one by one, and run corpora of hostile programs in it.

All code uses the same `Sandbox` and `Session` as the other commands. `layers` runs harmless probes with one correct
result each. `corpus` runs programs that try to get out of the jail, to survive it, or to force a verdict. `host`
watches what they could reach. `world` is the environment in which they run. This package exports no names, because the
world's process loads it too and needs none of them.
"""
