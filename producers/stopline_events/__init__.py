"""Events in, decisions out: CloudEvents, and what is read from streams (`stopline bridge`)."""
