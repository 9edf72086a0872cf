"""The notebook's side: magics, the live view, a checkpoint's card, and how a cell waits."""
