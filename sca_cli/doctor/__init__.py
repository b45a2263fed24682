"""Whether the jail holds on this machine: its layers probed one by one, and corpora of hostile programs run in it.

Everything goes through the same `Sandbox` and `Session` that every other command uses. `layers` asks harmless
questions that each have one right answer; `corpus` runs programs that try to get out, to stay or to win; `host`
watches what they could reach; `world` is the environment they are run in. Names are imported from the modules,
because the world's process loads this package too and needs none of them.
"""
