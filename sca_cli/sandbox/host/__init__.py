"""Code that runs outside the jail: it starts jails, forks sessions and decides the verdict."""
