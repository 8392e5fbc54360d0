"""Nodes of both versions in one cluster: the random worlds of `tests.protocol`, in which some speak
version 1 only and some are the very code of 0.1.0, and any of them is upgraded on the way."""

from random import Random

import pytest

from replicator.config import PROTOCOL_VERSION
from replicator.core.known import KnownSet
from replicator.protocol.conversation import Conversation
from replicator.protocol.messages import SINCE, Message
from replicator.protocol.pulls import Pulls
from tests.protocol.talk import Talk, closing
from tests.protocol.test_messages import GOLDEN
from tests.protocol.test_random_conversations import Story, check_converged, play
from tests.protocol.world import Party
from tests.upgrades.aside import EarlierConversation, package

SEEDS = range(30)

LATER = [message for message, _ in GOLDEN if type(message) in SINCE]


class MixedStory(Story):
    """One seed's world of several versions.

    Attributes:
        upgrades: how many parties were upgraded.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.dice = Random(f"{seed} versions")
        self.upgrades = 0
        for party in self.world.parties:
            self.dice.choice([be_earlier, be_earlier, speak_version_1, be_of_now])(party)
        self.upgrading = self.dice.choice([0.0, 0.01, 0.05])

    def act(self) -> None:
        if self.dice.random() < self.upgrading:
            self.restart(self.dice.choice(self.members))
        super().act()

    def restart(self, party: Party) -> None:
        """Stop a node in good order; what starts on its store may be of another version."""
        for link in list(self.world.links):
            if party in (link[0].party, link[1].party):
                self.world.cut(link)
        while party.sides:
            self.world.step()
        self.upgrades += party.conversation is EarlierConversation
        self.dice.choice([be_of_now, be_of_now, speak_version_1])(party)


def be_earlier(party: Party) -> None:
    """Version 0.1.0, whose code knows of nothing later."""
    party.versions = (1, 1)
    party.conversation = EarlierConversation  # type: ignore[assignment]
    party.pulls = package().make_pulls(party.settings.reask_timeout)


def speak_version_1(party: Party) -> None:
    party.versions = (1, 1)
    party.conversation = Conversation
    party.pulls = Pulls(party.settings.reask_timeout)


def be_of_now(party: Party) -> None:
    speak_version_1(party)
    party.versions = (1, PROTOCOL_VERSION)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_converge(seed: int) -> None:
    check_converged(play(seed, MixedStory))


def test_the_seeds_reach_what_they_are_meant_to_reach() -> None:
    stories = [play(seed, MixedStory) for seed in SEEDS[:20]]
    assert all(isinstance(story, MixedStory) for story in stories)
    upgrades = sum(story.upgrades for story in stories if isinstance(story, MixedStory))
    assert upgrades > 5
    rounds = [
        report
        for story in stories
        for party in story.world.parties
        if party.conversation is EarlierConversation
        for report in party.reports
        if report.kind == "round"
    ]
    assert len(rounds) > 20 and any(report.full for report in rounds)


@pytest.mark.parametrize("message", LATER, ids=lambda message: type(message).__name__)
def test_a_later_message_in_a_conversation_of_version_1_ends_it(message: Message) -> None:
    talk = Talk(KnownSet())
    talk.greeted(versions=(1, 1))
    assert talk.conversation.version == 1
    end = closing(talk.hears(message))
    assert (end.code, end.by_peer) == ("protocol", False)
    assert "later protocol version" in end.reason
