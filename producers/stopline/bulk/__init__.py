"""Files of stop requests, as one batch."""
