"""Let `python -m flownb` be the command line."""

from __future__ import annotations

from flownb.cli.commands import main

if __name__ == "__main__":
    main()
