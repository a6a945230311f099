"""A whole configuration of nginx (1.22 or newer, as everybody has it) in front of several gateways."""

from __future__ import annotations

from collections.abc import Sequence

from guideway.core.route import Endpoint
from guideway.core.spec.gateway import Gateway
from guideway.gateway.front.plan import (
    CIPHERS,
    CONNECT_SECONDS,
    IDLE_SECONDS,
    MEGABYTE,
    Front,
    Plan,
    address,
    error,
    plan,
)


def write(gateways: Sequence[Endpoint], front: Front, options: Gateway) -> str:
    """The configuration, as text.

    Raises:
        SpecError: something cannot be meant.
    """
    made = plan(gateways, front, options)
    return f"""\
# Guideway: nginx in front of {len(made.gateways)} gateways. Check it with: nginx -t -c FILE
worker_processes auto;
worker_rlimit_nofile 65536;
# a reload lets the answers under way end, but not for ever
worker_shutdown_timeout {made.seconds + 60}s;

events {{
    worker_connections 8192;
}}

http {{
{_http(made)}

{_upstream(made)}

    server {{
{_server(made)}

{_proxy(made)}

{_locations(made)}
    }}
}}
"""


def _http(made: Plan) -> str:
    return f"""\
    default_type application/json;
    server_tokens off;
    access_log off;
    keepalive_timeout 75s;
    keepalive_requests 100000;
    reset_timedout_connection on;
    client_header_timeout 30s;
    client_body_timeout 60s;
    send_timeout {made.seconds}s;
    large_client_header_buffers 4 32k;
    client_max_body_size {made.body // MEGABYTE}m;
    # a request waits in memory: prompts are never written to a disk
    client_body_buffer_size {made.body // MEGABYTE}m;"""


def _upstream(made: Plan) -> str:
    """The free nginx asks nobody how they are: a gateway that refuses connections is left alone for a second."""
    servers = [f"        server {address(one)} max_fails=3 fail_timeout=1s;" for one in made.gateways]
    lines = ["    upstream gateways {", "        zone gateways 256k;", "        least_conn;", *servers]
    lines += [
        "        keepalive 256;",
        "        keepalive_requests 100000;",
        f"        keepalive_timeout {IDLE_SECONDS}s;",
    ]
    return "\n".join([*lines, "    }"])


def _server(made: Plan) -> str:
    front = made.front
    hosts = [f"[{made.bind_host}]" if ":" in made.bind_host else made.bind_host] if made.bind_host else ["", "[::]"]
    tls = " ssl" if front.certificate else ""
    lines = [f"listen {host}{':' if host else ''}{made.bind_port}{tls};" for host in hosts]
    if front.certificate:
        lines += [
            f"ssl_certificate {front.certificate};",
            f"ssl_certificate_key {front.key or front.certificate};",
            "ssl_protocols TLSv1.2 TLSv1.3;",
            f"ssl_ciphers {CIPHERS};",
            "ssl_session_cache shared:guideway:10m;",
            "ssl_session_tickets off;",
        ]
    lines += ["# a path is judged as it came", "merge_slashes off;"]
    return "\n".join(f"        {line}" for line in lines)


def _proxy(made: Plan) -> str:
    lines = [
        "proxy_http_version 1.1;",
        'proxy_set_header Connection "";',
        "proxy_set_header Host $host;",
        "# events are passed on as they come, and no answer is written to a disk",
        "proxy_buffering off;",
        "proxy_max_temp_file_size 0;",
        "proxy_buffer_size 16k;",
        "proxy_buffers 4 16k;",
        "proxy_socket_keepalive on;",
        "# a client that leaves frees the model server at once",
        "proxy_ignore_client_abort off;",
        f"proxy_connect_timeout {CONNECT_SECONDS}s;",
        "# the longest pause in an answer: longer than the gateways wait, so that their error is the one that is told",
        f"proxy_read_timeout {made.seconds}s;",
        f"proxy_send_timeout {made.seconds}s;",
        "# a POST goes to another gateway only when no connection could be made: nothing is ever sent twice",
        "proxy_next_upstream error timeout;",
        f"proxy_next_upstream_tries {min(len(made.gateways), 3)};",
        "proxy_next_upstream_timeout 6s;",
        "# what a model server says in its headers steers nothing here",
        "proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset;",
    ]
    if made.front.ca:
        lines += [
            "proxy_ssl_verify on;",
            f"proxy_ssl_trusted_certificate {made.front.ca};",
            f"proxy_ssl_name {made.front.name or made.gateways[0].host};",
            "proxy_ssl_server_name on;",
            "proxy_ssl_protocols TLSv1.2 TLSv1.3;",
            f"proxy_ssl_ciphers {CIPHERS};",
        ]
    return "\n".join(f"        {line}" for line in lines)


def _locations(made: Plan) -> str:
    """Only what clients call; a path that is more than letters and slashes is in disguise."""
    scheme = "https" if made.front.ca else "http"
    upload = f"client_max_body_size {made.upload // MEGABYTE}m; proxy_request_buffering off; "
    lines = [
        r'if ($request_uri ~ "^[^?]*(//|/\.\.?(/|\?|$)|[%;\x5c])") { return 404; }',
        'if ($http_upgrade != "") { return 400; }',
        f"location = /healthz {{ proxy_pass {scheme}://gateways; }}",
        f"location = /v1/files {{ {upload}proxy_pass {scheme}://gateways; }}",
        f"location = /v2 {{ proxy_pass {scheme}://gateways; }}",
        f"location /v1/ {{ proxy_pass {scheme}://gateways; }}",
        f"location /v2/ {{ proxy_pass {scheme}://gateways; }}",
        "location = /v1 { return 404; }",
        "location / { return 404; }",
        *_errors(),
    ]
    return "\n".join(f"        {line}" for line in lines)


def _errors() -> list[str]:
    """Answers of nginx itself; those of gateways and models pass as they are."""
    said = [
        ("404", 404, "there is no such path", "not_found", ""),
        ("413", 413, "the body is too large", "body_too_large", ""),
        ("502 503", 502, "no gateway has answered; try again", "no_gateway", "add_header Retry-After 1 always; "),
        ("504", 504, "the gateway did not answer in time", "gateway_timeout", ""),
    ]
    lines = []
    for statuses, status, message, code, more in said:
        text = error(status, message, code)
        lines.append(f"error_page {statuses} @said{status};")
        lines.append(f"location @said{status} {{ {more}return {status} '{text}'; }}")
    return lines
