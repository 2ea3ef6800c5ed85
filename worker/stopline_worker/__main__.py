"""`python -P -m stopline_worker worker …`: Celery's command line on this app.

Celery's own `-A` puts the current directory before everything else while it imports the app; this
way nothing is imported from there.
"""

import sys

from stopline_worker.app import app

sys.exit(app.start(sys.argv[1:]))
