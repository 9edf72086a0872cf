"""Execute a notebook in a real kernel and print what its cells showed: text and Markdown.

Usage: `python notebooks/execute.py notebooks/quickstart.ipynb [--save]`. With `--save` the outputs are written back.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def shown(output: nbformat.NotebookNode) -> str:
    """Return one output as text; Markdown is preferred, an image is only named."""
    match output.output_type:
        case "stream":
            return str(output.text)
        case "error":
            return f"{output.ename}: {output.evalue}"
    data = output.get("data", {})
    for kind in ("text/markdown", "text/plain"):
        if kind in data:
            return str(data[kind])
    return f"[{', '.join(data)}]"


def execute(path: Path, *, save: bool) -> int:
    """Run all cells in the notebook's folder and print their outputs.

    Returns:
        0, or 1 where a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}})
    failed = 0
    try:
        client.execute()
    except CellExecutionError as error:
        print(error, file=sys.stderr)
        failed = 1
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text = shown(output).strip()
            if text:
                print(text, end="\n\n")
    if save:
        nbformat.write(notebook, path)
    return failed


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--save"]
    if len(arguments) != 1:
        sys.exit(__doc__)
    sys.exit(execute(Path(arguments[0]), save="--save" in sys.argv))
