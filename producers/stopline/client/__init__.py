"""What a client can do, and the two clients that do it."""
