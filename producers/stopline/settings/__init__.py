"""The settings, and how an address or a secret is read."""
