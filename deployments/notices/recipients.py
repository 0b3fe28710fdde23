"""Who gets which facts: rules and defaults against facts, and the recipients that they lead to."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db.models import Q

from accounts.models import User
from accounts.services import mail_address_of
from deployments.models import NoticeRecipient, NoticeRule
from deployments.notices.facts import Fact
from deployments.notices.kinds import DEFAULT_KINDS, Channel
from orgs.models import Membership, Role

Members = dict[int, Role]
"""The roles of an organization's active members, by the users' ids."""

Target = tuple[int | None, int | None]
"""A person by the user's id, or the address of a rule by the rule's id."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A fact for a recipient, at once or with the digest of this hour."""

    fact: Fact
    target: Target
    digest_hour: int | None


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that may apply to an organization's facts, and its members."""

    rules: Sequence[NoticeRule]
    members: Members
    with_own: frozenset[int]
    """The people with a rule for their own deployments, which replaces the default."""

    def wanting(self, fact: Fact) -> list[Wanted]:
        """Return the fact for each recipient who wants it, at once if one of the rules says so."""
        found: dict[Target, int | None] = {}
        if fact.owner in self.members and fact.owner not in self.with_own and _usual(fact):
            found[fact.owner, None] = None
        for rule in self.rules:
            if not (rule.enabled and self._concerns(rule, fact)):
                continue
            for target in self._targets(rule):
                soonest = rule.digest_hour is None or found.get(target, 0) is None
                found[target] = None if soonest else rule.digest_hour
        return [Wanted(fact, target, hour) for target, hour in found.items()]

    def _concerns(self, rule: NoticeRule, fact: Fact) -> bool:
        if fact.kind not in rule.kinds or not rule.labels.items() <= fact.labels.items():
            return False
        if not _waited_enough(rule, fact):
            return False
        if rule.user_id is None:
            return True
        own = rule.organization_id is None
        return rule.user_id in self.members and (not own or fact.owner == rule.user_id)

    def _targets(self, rule: NoticeRule) -> Iterable[Target]:
        if rule.channel != Channel.MAIL:
            return [(None, rule.pk)]
        if rule.user_id is not None:
            return [(rule.user_id, None)]
        return [(pk, None) for pk, role in self.members.items() if role.rank >= Role.ADMIN.rank]


def _usual(fact: Fact) -> bool:
    """Return whether a person without a rule gets the fact about an own deployment."""
    return fact.kind in DEFAULT_KINDS and _waited_enough(NoticeRule(), fact)


def _waited_enough(rule: NoticeRule, fact: Fact) -> bool:
    # One that still waits is reported by each rule at the moment of that rule.
    if fact.limit_minutes is not None:
        return fact.limit_minutes == rule.wait_minutes
    return fact.waited_s is None or fact.waited_s >= 60 * rule.wait_minutes


def rules_of(organization: int) -> Rules:
    """Return the rules that apply to facts of this organization at present."""
    rows = Membership.objects.filter(organization=organization, user__is_active=True)
    members = {pk: Role(role) for pk, role in rows.order_by().values_list("user", "role")}
    rules = NoticeRule.objects.filter(
        Q(organization=organization) | Q(organization=None, user__in=members)
    )
    with_own = {rule.user_id for rule in rules if rule.user_id and rule.organization_id is None}
    return Rules(list(rules), members, frozenset(pk for pk in with_own if pk))


def recipients_of(targets: Collection[Target]) -> dict[Target, NoticeRecipient]:
    """Return the recipients that can be reached at present, and add those that are missing."""
    people = User.objects.in_bulk({user for user, _ in targets if user})
    reachable = {
        (user, rule)
        for user, rule in targets
        if rule or (settings.MAIL_IS_SENT and user in people and mail_address_of(people[user]))
    }
    found = _existing(reachable)
    missing = [NoticeRecipient(user_id=u, rule_id=r) for u, r in reachable - found.keys()]
    if missing:
        NoticeRecipient.objects.bulk_create(missing, ignore_conflicts=True)
        found = _existing(reachable)
    return {
        target: recipient
        for target, recipient in found.items()
        if not (target[0] and is_stopped(recipient, mail_address_of(people[target[0]])))
    }


def is_stopped(recipient: NoticeRecipient, address: str) -> bool:
    """Return whether no mail is sent to the person: by the person's wish, or the mail server's."""
    refused = bool(recipient.refused_address) and recipient.refused_address == address
    return recipient.unsubscribed_at is not None or refused


def _existing(targets: Collection[Target]) -> dict[Target, NoticeRecipient]:
    rows = NoticeRecipient.objects.filter(
        Q(user__in=[user for user, _ in targets if user])
        | Q(rule__in=[rule for _, rule in targets if rule])
    )
    return {(row.user_id, row.rule_id): row for row in rows}


def next_digest(hour: int, now: datetime) -> datetime:
    """Return the next time at which this hour of the day begins, in UTC."""
    today = now.astimezone(UTC).replace(hour=hour, minute=0, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)
