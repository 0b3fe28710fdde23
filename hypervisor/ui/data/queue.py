"""What the pages of the queue call its groups."""

from scheduling.insight.organization_queue import Group

TITLES = {
    Group.COMPETING: "Competing",
    Group.HELD: "On hold",
    Group.BACKOFF: "In back-off",
    Group.DEPENDENCY: "Waiting for others",
    Group.ARRAY: "Beyond an array's limit",
    Group.PLACED: "On a cluster",
}

EMPTY = {
    Group.COMPETING: "No deployment is competing for capacity.",
    Group.HELD: "No deployment is on hold.",
    Group.BACKOFF: "No deployment is in back-off.",
    Group.DEPENDENCY: "No deployment is waiting for another one.",
    Group.ARRAY: "No deployment is waiting because of its array's limit.",
    Group.PLACED: "No deployment is on a cluster.",
}
