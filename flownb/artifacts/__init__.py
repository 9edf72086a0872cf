"""How any value is stored as data that cannot run code, and comes back as the same kind of object."""
