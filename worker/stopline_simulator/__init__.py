"""A real HTTP server that behaves like the upstream, with scripted faults."""
