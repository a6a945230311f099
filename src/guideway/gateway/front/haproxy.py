"""A whole configuration of HAProxy (2.6 or newer) in front of several gateways."""

from __future__ import annotations

from collections.abc import Sequence

from guideway.core.errors import SpecError
from guideway.core.route import Endpoint
from guideway.core.spec.gateway import Gateway
from guideway.gateway.front.plan import CIPHERS, CONNECT_SECONDS, Front, Plan, address, error, plan


def write(gateways: Sequence[Endpoint], front: Front, options: Gateway) -> str:
    """The configuration, as text.

    Raises:
        SpecError: something cannot be meant.
    """
    if front.key and front.key not in {front.certificate, f"{front.certificate}.key"}:
        advice = f"put the key into {front.certificate}, or beside it as {front.certificate}.key"
        raise SpecError("HAProxy reads the key from the file of the certificate", where=front.key, try_this=advice)
    made = plan(gateways, front, options)
    return "\n\n".join((_global(made), _defaults(made), _frontend(made), _backend(made))) + "\n"


def _global(made: Plan) -> str:
    return f"""\
# Guideway: HAProxy in front of {len(made.gateways)} gateways. Check it with: haproxy -c -f FILE
global
    log stdout format raw local0 info
    # a reload lets the answers under way end, but not for ever
    hard-stop-after {made.seconds + 60}s
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-bind-ciphers {CIPHERS}
    ssl-default-server-options ssl-min-ver TLSv1.2
    ssl-default-server-ciphers {CIPHERS}"""


def _defaults(made: Plan) -> str:
    return f"""\
defaults
    mode http
    log global
    option httplog
    option dontlognull
    timeout connect {CONNECT_SECONDS}s
    # the head of a request must be there by then; an idle connection is kept as long as gateways keep theirs
    timeout http-request 30s
    timeout http-keep-alive 75s
    timeout queue 10s
    # the longest pause in an answer: longer than the gateways wait, so that their error is the one that is told
    timeout client {made.seconds}s
    timeout server {made.seconds}s
    # another gateway is asked only when no connection could be made: nothing is ever sent twice
    retries 2
    option redispatch 1
    retry-on conn-failure
    # a client that leaves frees the model server at once
    option abortonclose
    # names of headers that two readers could understand differently are refused
    option http-restrict-req-hdr-names reject
    default-server init-addr last,libc,none
{_errors()}"""


def _errors() -> str:
    said = [
        (400, "the request is not sound HTTP", "malformed_request"),
        (403, "this is not allowed", "forbidden"),
        (404, "there is no such path", "not_found"),
        (408, "the request did not arrive in time", "request_timeout"),
        (413, "the body is too large", "body_too_large"),
        (502, "the gateway failed before its answer was complete", "gateway"),
        (503, "no gateway is ready; try again", "no_gateway"),
        (504, "the gateway did not answer in time", "gateway_timeout"),
    ]
    lines = []
    for status, message, code in said:
        again = " hdr Retry-After 1" if status == 503 else ""
        text = error(status, message, code)
        lines.append(f"    http-error status {status} content-type application/json string '{text}'{again}")
    return "\n".join(lines)


def _frontend(made: Plan) -> str:
    tls = f" ssl crt {made.front.certificate} alpn http/1.1" if made.front.certificate else ""
    where = f"[{made.bind_host}]" if ":" in made.bind_host else made.bind_host
    return f"""\
frontend guideway
    bind {where}:{made.bind_port}{tls}
    # only what clients call: no path of the admin plane, and none in disguise
    http-request deny status 404 default-errorfiles unless {{ path /healthz /v2 }} or {{ path_beg /v1/ /v2/ }}
    acl disguised path_sub // /./ /../ \\\\ ; %
    acl disguised path_end /. /..
    http-request deny status 404 default-errorfiles if disguised
    http-request deny status 400 default-errorfiles if {{ req.hdr(upgrade) -m found }}
    acl upload path /v1/files
    http-request deny status 413 default-errorfiles if !upload {{ req.hdr_val(content-length) gt {made.body} }}
    http-request deny status 413 default-errorfiles if upload {{ req.hdr_val(content-length) gt {made.upload} }}
    default_backend gateways"""


def _backend(made: Plan) -> str:
    tls = ""
    if made.front.ca:
        name = made.front.name or made.gateways[0].host
        tls = f" ssl verify required ca-file {made.front.ca} sni str({name}) verifyhost {name} check-sni {name}"
    servers = [
        f"    server gateway{number} {address(one)} check inter 1s fall 2 rise 2{tls}"
        for number, one in enumerate(made.gateways, 1)
    ]
    return "\n".join(
        [
            "backend gateways",
            "    balance leastconn",
            "    http-reuse safe",
            "    option httpchk",
            "    http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host guideway",
            "    http-check expect status 200",
            *servers,
        ]
    )
