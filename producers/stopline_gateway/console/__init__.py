"""The console: pages for operators, in the gateway."""
