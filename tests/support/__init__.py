"""Helpers of the tests: a ledger whose clock the test moves, and processes."""
