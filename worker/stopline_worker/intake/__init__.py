"""Celery at the edge: what takes messages off the queues."""
