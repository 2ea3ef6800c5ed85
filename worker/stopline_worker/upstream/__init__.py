"""The API: the call, its token, and what a reply means."""
