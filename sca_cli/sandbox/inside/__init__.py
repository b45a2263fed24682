"""Code that runs inside the jail: the zygote, programs, worlds and their confinement.

An environment that must reach a server runs the same code without a jail; there `unjailed` replaces the confinement.
"""
