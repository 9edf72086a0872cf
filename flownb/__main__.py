"""Let `python -m flownb` be the command line."""

from __future__ import annotations

from flownb.cli import main

if __name__ == "__main__":
    main()
