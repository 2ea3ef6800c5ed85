"""Where events are read from; each is a `Source` (port.py)."""
