"""What runs outside the jail: starts jails, forks sessions and decides the verdict."""
