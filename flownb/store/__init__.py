"""What is kept of a run on disk: its journal, its state file, the answers to its questions, and where they lie."""
