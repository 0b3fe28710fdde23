"""People, organizations and clusters beyond the cast, for tests that need many or need others."""

from typing import TYPE_CHECKING, Any

import factory
from factory.django import DjangoModelFactory

from accounts.models import User
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster
from orgs.models import Membership, Organization, Role

PASSWORD = "four horses, nine carts"

if TYPE_CHECKING:
    Base = Any
else:
    Base = DjangoModelFactory


class UserFactory(Base):
    """A person who logs in with PASSWORD."""

    class Meta:
        model = User
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"user-{n}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.org")
    password = factory.django.Password(PASSWORD)


class OrganizationFactory(Base):
    class Meta:
        model = Organization

    name = factory.Sequence(lambda n: f"Organization {n}")


class MembershipFactory(Base):
    class Meta:
        model = Membership

    organization = factory.SubFactory(OrganizationFactory)
    user = factory.SubFactory(UserFactory)
    role = Role.DEVELOPER


def make_cluster(
    organization: Organization, name: str, *, cpu_milli: int = 1, ram_mib: int = 1, gpu: int = 0
) -> Cluster:
    """Create a cluster of one node, as small as possible unless given otherwise."""
    capacity = Capacity(cpu_milli, ram_mib, gpu)
    return cluster_services.create(
        actor="system:test", organization=organization, name=name, capacity=capacity
    )
