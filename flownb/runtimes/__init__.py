"""How each type of node works."""
