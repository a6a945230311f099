"""Names and versions of what is installed, as importlib.metadata tells them."""

from importlib import metadata

from guideway.kit.installed import name_and_version, normal_name, version_of


def test_every_version_is_the_one_that_the_standard_library_finds() -> None:
    everything = list(metadata.distributions())
    assert len(everything) > 20
    for one in everything:
        assert name_and_version(one) == (normal_name(one.metadata["Name"]), one.version)


def test_what_is_not_installed_has_no_version() -> None:
    assert version_of("no-such-distribution-anywhere") is None


def test_a_name_is_found_however_it_is_written() -> None:
    assert version_of("PyYAML") == version_of("pyyaml") == metadata.version("pyyaml")
