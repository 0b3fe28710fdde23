"""The simulated engine with images that take time to pull, as an example of a complete driver.

Tests register it with one line, like a driver of the product. See CONTRIBUTING.md.
"""

from clusters.drivers.kinds import Kind

_HERE = "tests.support.simulated_slow"

KIND = Kind(
    title="Simulated, slow",
    driver=f"{_HERE}.driver.SlowDriver",
    form=f"{_HERE}.form.SlowForm",
    options=f"{_HERE}.options.SlowOptions",
    chooses_devices=True,
    has_fixed_capacity=False,
    can_watch=False,
)
