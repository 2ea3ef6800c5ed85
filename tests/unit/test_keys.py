"""Keys, and how commands are written."""

from __future__ import annotations

from stopline.contract import Lane, Target
from stopline.ledger import keys


def test_all_keys_of_the_ledger_share_one_hash_tag() -> None:
    made = [
        keys.record("r"),
        keys.target(Target("u", "t")),
        keys.due(Lane.BULK),
        keys.batch("b"),
        keys.batch_places("b", "1"),
        keys.message("m"),
        keys.DEAD,
        keys.IDEMPOTENCY,
    ]
    assert all(key.startswith("{stopline}:") for key in made)


def test_digests_of_targets_differ() -> None:
    digests = {keys.target_digest(f"u/{n}") for n in range(10_000)}
    assert len(digests) == 10_000
    assert {len(one) for one in digests} == {22}
