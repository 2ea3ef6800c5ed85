"""Stopline's worker: makes the `task_stop` calls that the ledger asks for."""
