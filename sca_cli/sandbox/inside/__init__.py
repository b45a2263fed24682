"""Code that runs inside the jail: the zygote, programs, worlds and their confinement."""
