"""The key ``gateway`` of ``guideway.yaml``: where clients connect, and what an environment grants and demands."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from guideway.core.privacy import Action, Entity
from guideway.core.spec.part import Part, Positive, Share

Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0.0)]
Money = Annotated[float, Meta(ge=0.0)]


class Tls(Part, frozen=True):
    """TLS on the data port: files in PEM, or a certificate of our own making for development."""

    certificate: str = ""
    key: str = ""
    development: bool = False


class Limits(Part, frozen=True):
    """What one key may use; 0 is no limit. Money is in the currency of ``gateway.price``."""

    requests_per_minute: Count = 0
    requests_per_day: Count = 0
    tokens_per_minute: Count = 0
    tokens_per_day: Count = 0
    money_per_minute: Money = 0.0
    money_per_day: Money = 0.0


class Price(Part, frozen=True):
    """What a million tokens cost, for limits and reports."""

    input: Money = 0.0
    output: Money = 0.0


class Admission(Part, frozen=True):
    """How many requests run at once, per replica; how many may wait, per worker; and how long, in seconds."""

    concurrent: Positive = 64
    queue: Count = 256
    wait: Seconds = 5.0


class Masking(Part, frozen=True):
    """What is done with personal data in prompts and answers. ``output`` looks at what the model says of its own."""

    entities: dict[Entity, Action] = msgspec.field(default_factory=dict)
    output: bool = True
    presidio: bool = False


class Cache(Part, frozen=True):
    """Where answers are kept: ``memory``, ``off``, or a URL with redis://, rediss:// or memcached://.

    ``seconds`` is how long; ``megabytes`` bounds the embedded store of each worker.
    """

    store: str = "memory"
    seconds: Positive = 3600
    megabytes: Positive = 16


class Routing(Part, frozen=True):
    """How a replica is chosen and watched. ``retries`` is the share of requests that may be tried again.

    ``affinity`` is the number of prompt bytes whose equality leads to the same replica; 0: none.
    ``probe`` is the number of seconds between two questions to a replica; 0: none are asked.
    """

    retries: Share = 0.2
    affinity: Count = 1024
    probe: Seconds = 2.0
    timeout: Annotated[float, Meta(gt=0.0)] = 600.0


class Batches(Part, frozen=True):
    """Files and batches: how many lines run at once, how large a file may be, how long results are kept."""

    concurrent: Positive = 4
    megabytes: Positive = 200
    days: Positive = 30


class Explanations(Part, frozen=True):
    """``POST /v1/explain`` for operators: how many a key may ask for in a minute, and how many may wait in all."""

    per_minute: Positive = 6
    queue: Positive = 8


class Telemetry(Part, frozen=True):
    """What is told: ``prompts`` puts masked prompts into the log; ``traces`` is the URL of an OTLP collector."""

    requests: bool = True
    prompts: bool = False
    traces: str = ""
    sample: Share = 0.01


class Gateway(Part, frozen=True):
    """Where clients connect, and what this environment grants and demands. Port 0 takes a free one and keeps it.

    ``admin`` is the port of the admin plane on the loopback address; 0: only its Unix socket. ``connections`` bounds
    those of clients, per worker; a lower limit of open files bounds them more. ``lame_duck`` is the number of seconds
    for which a gateway that was told to stop says that it is not healthy and yet serves. ``corrections`` is a file of
    rules that put answers right without a new release.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    workers: Positive = 1
    admin: Annotated[int, Meta(ge=0, le=65535)] = 0
    connections: Positive = 8192
    lame_duck: Annotated[float, Meta(ge=0.0, le=240.0)] = 0.0
    body_megabytes: Positive = 4
    tls: Tls = Tls()
    limits: Limits = Limits()
    price: Price = Price()
    admission: Admission = Admission()
    masking: Masking = Masking()
    cache: Cache = Cache()
    routing: Routing = Routing()
    batches: Batches = Batches()
    explain: Explanations | None = None
    corrections: str = ""
    telemetry: Telemetry = Telemetry()
