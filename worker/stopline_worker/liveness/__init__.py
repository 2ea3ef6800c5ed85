"""Whether a process does its work, and what it says of itself."""
