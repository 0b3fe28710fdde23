import pytest

from clusters.resources import cores, parse_cpu, parse_ram_mib


@pytest.mark.parametrize(
    ("given", "milli"),
    [(1, 1000), (0.5, 500), (0.001, 1), ("2", 2000), ("500m", 500), ("1.25", 1250), (0.1, 100)],
)
def test_cpu_is_read_as_cores_or_as_a_quantity(given: object, milli: int) -> None:
    assert parse_cpu(given) == milli


@pytest.mark.parametrize(
    "given", [0, -1, "", "m", "1.5m", 0.0005, True, None, [], "8Gi", "NaN", "inf", 1e300, "1e400m"]
)
def test_a_wrong_cpu_is_refused_with_what_is_accepted(given: object) -> None:
    with pytest.raises(ValueError, match="CPU"):
        parse_cpu(given)


@pytest.mark.parametrize(
    ("given", "mib"),
    [(8192, 8192), ("8Gi", 8192), ("512Mi", 512), ("0.5Gi", 512), ("1G", 954), ("1Ki", 1)],
)
def test_ram_is_read_as_mib_or_as_a_quantity_rounded_up(given: object, mib: int) -> None:
    assert parse_ram_mib(given) == mib


@pytest.mark.parametrize(
    "given", [0, -5, 1.5, "8192", "8gb", "", "Gi", True, None, {}, "9999999999Ti", "-1Gi"]
)
def test_a_wrong_ram_is_refused_with_what_is_accepted(given: object) -> None:
    with pytest.raises(ValueError, match="RAM"):
        parse_ram_mib(given)


def test_whole_cores_are_shown_as_integers() -> None:
    assert (cores(2000), cores(500)) == (2, 0.5)
    assert isinstance(cores(2000), int)
