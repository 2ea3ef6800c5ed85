"""What all documents share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """What all documents share: unknown fields are errors, and nothing changes once built."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def to_json(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        return self.model_dump(mode="json")


class Recorded(Document):
    """A document from the ledger, which a newer version may have written: it may hold more."""

    model_config = ConfigDict(extra="ignore", frozen=True)
