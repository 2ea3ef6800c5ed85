"""`python -P -m stopline_worker worker …`: Celery's command line on this app.

Celery's own `-A` puts the current directory before everything else while it imports the app; this
way nothing is imported from there.
"""

from __future__ import annotations

import sys

from stopline.logs import configure_logging

configure_logging()  # before Celery warns of anything in lines of its own

from stopline_worker.app import app  # noqa: E402  # see above

if __name__ == "__main__":
    sys.exit(app.start(sys.argv[1:]))
