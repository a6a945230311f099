"""Options that nothing could start or serve with are refused before anything is started."""

from __future__ import annotations

import pytest

from guideway.core.errors import SpecError
from guideway.core.spec.gateway import Cache, Gateway, Masking, Telemetry
from guideway.gateway.soundness import check_options

BAD = {
    "a cache of no kind": (Gateway(cache=Cache(store="ftp://x")), {}, "gateway.cache.store"),
    "traces to no URL": (Gateway(telemetry=Telemetry(traces="collector")), {}, "traces"),
    "names without Presidio": (Gateway(masking=Masking(entities={"name": "mask"})), {}, "Presidio"),
    "names that the release demands": (Gateway(), {"address": "block"}, "Presidio"),
    "an address with blanks": (Gateway(host="not a host"), {}, "no address to listen on"),
    "one port for two": (Gateway(port=8080, admin=8080), {}, "cannot serve both"),
    "Presidio that is not installed": (Gateway(masking=Masking(presidio=True)), {}, r"guideway\[presidio\]"),
}


@pytest.mark.parametrize(("options", "release", "words"), BAD.values(), ids=BAD)
def test_what_cannot_be_meant_is_one_line_that_says_what_to_do(options, release, words):
    with pytest.raises(SpecError, match=words):
        check_options(options, release)


@pytest.mark.parametrize("store", ["memory", "off", "redis://127.0.0.1:6379/0", "memcached://127.0.0.1"])
def test_what_can_be_meant_passes(store):
    check_options(
        Gateway(cache=Cache(store=store), telemetry=Telemetry(traces="http://127.0.0.1:4318")), {"ip": "mask"}
    )


def test_a_password_in_the_address_of_a_cache_is_not_told():
    with pytest.raises(SpecError) as caught:
        check_options(Gateway(cache=Cache(store="rediss://me:hunter2@host:x/0")))
    assert "hunter2" not in str(caught.value)
