"""Which Redis there is, and the embedded one."""
