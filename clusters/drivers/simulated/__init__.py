"""An engine that runs nothing and needs no connection: its containers are rows in the database."""

from clusters.drivers.kinds import Kind

KIND = Kind(
    title="Simulated",
    driver="clusters.drivers.simulated.driver.SimulatedDriver",
    chooses_devices=True,
    has_fixed_capacity=False,
    has_several_nodes=True,
    can_watch=False,
    digests="clusters.drivers.simulated.digests.read",
)
