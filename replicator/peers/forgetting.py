"""Forgetting members of which nothing was heard for long, where the settings say so (R10).

Whoever is forgotten by mistake loses nothing: it takes a new origin and joins anew. But that costs
a full-state round, so it is not done lightly: wall clocks jump, and it may be this node that was
away.
"""

from replicator.core.members import Member
from replicator.peers.journal import Journal
from replicator.peers.membership import Membership


class Forgetting:
    """Forgets silent members of one node. For one trio thread.

    Args:
        after: seconds of silence; None forgets nobody.
    """

    def __init__(self, membership: Membership, journal: Journal, after: float | None) -> None:
        self._membership = membership
        self._journal = journal
        self._after = after

    def look(self, own: int) -> None:
        """Forget whom it is time to: who is silent by the wall clock, and was so for some
        heartbeats while this node ran; unless these are more than those who are heard of.

        Args:
            own: this node's origin.
        """
        if self._after is None:
            return
        membership = self._membership
        others = [one for one in membership.roster.members() if one.origin != own]
        silent = [one for one in others if self._is_silent(one, self._after)]
        alive = 1 + sum(membership.silence(one) < membership.silence_max for one in others)
        if len(silent) > alive:
            self._journal.failed(
                "members",
                f"nothing was heard of {len(silent)} members for {self._after:.0f} s, and only "
                f"{alive} are here: none is forgotten; `replicator forget` does it",
            )
            return
        for member in silent:
            membership.forget_member(member)

    def _is_silent(self, member: Member, after: float) -> bool:
        membership = self._membership
        least = membership.silence_max
        return membership.silence(member) >= max(after, least) and membership.quiet(member) >= least
