"""A terminal: asks, shows how a run goes, and says what came of it."""
