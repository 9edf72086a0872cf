"""Where Python bodies run, and how they are stopped."""
