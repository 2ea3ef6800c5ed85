"""The ledger: the Redis records of stop requests, and the scripts that change them."""

from stopline.ledger.executors import AsyncLedger, Ledger

__all__ = ["AsyncLedger", "Ledger"]
