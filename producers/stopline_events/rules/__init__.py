"""Rules: what to do about events, as expressions in a file."""
