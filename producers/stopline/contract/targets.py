"""A target: what a stop request is to stop."""

from __future__ import annotations

from typing import NamedTuple, Self


def join(user_id: str, task_id: str, sub_user_id: str | None) -> str:
    """`user_id/task_id[/sub_user_id]`; ids have no slash, so it is unambiguous."""
    if sub_user_id is None:
        return f"{user_id}/{task_id}"
    return f"{user_id}/{task_id}/{sub_user_id}"


class Target(NamedTuple):
    """The task of a user, and of one of that user's sub-users where the API wants one.

    `task_id` is the upstream task, never a Celery task.
    """

    user_id: str
    task_id: str
    sub_user_id: str | None = None

    def __str__(self) -> str:
        """As `join` has it."""
        return join(*self)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The target that `str()` gave this text of."""
        return cls(*text.split("/"))
