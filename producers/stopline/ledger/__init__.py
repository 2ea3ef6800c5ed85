"""The ledger: the Redis records of stop requests, and the scripts that change them."""

from stopline.ledger.executors import AsyncLedger, Ledger, connect, connect_async

__all__ = ["AsyncLedger", "Ledger", "connect", "connect_async"]
