"""How a gateway is stopped."""

from __future__ import annotations

import msgspec
import pytest

from guideway.core.launch import Process
from guideway.core.route import GatewaySettings
from guideway.core.spec.gateway import Gateway
from guideway.fleet import gateways
from guideway.store.home import Home


@pytest.mark.parametrize("lame_duck", [0.0, 7.0])
def test_a_gateway_that_is_stopped_has_its_lame_ducks_time_besides(tmp_path, monkeypatch, lame_duck):
    home = Home.of(tmp_path)
    folder = home.environment("dev")
    folder.mkdir(parents=True)
    settings = GatewaySettings("127.0.0.1", 0, 1, "r", "k", Gateway(lame_duck=lame_duck))
    (folder / "gateway.json").write_bytes(msgspec.json.encode(settings))
    ended = []
    monkeypatch.setattr(gateways, "terminate", lambda *asked: ended.append(asked))
    one = gateways.Gateways(home)
    one._processes["dev"] = Process(12, "then")
    one.stop("dev")
    assert ended == [(12, "then", gateways.DRAIN + lame_duck)]
