"""The engine: claims requests, makes their calls, settles them. It knows no Celery."""
