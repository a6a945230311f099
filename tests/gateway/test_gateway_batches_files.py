"""Files: what is taken, what is refused, who sees them, and that their names and sizes do no harm."""

from __future__ import annotations

import json
import os

import openai
import pytest
from batches_rig import batch_client, batch_service, begin, ended, gateway_port, line, reached
from gateway_rig import wait_for

__all__ = ["batch_client", "batch_service", "gateway_port"]

ODD = bytes(range(256)) * 700 + b"\r\n--boundary\r\n--\n"


def form(*parts: bytes, boundary: bytes = b"xyz", end: bytes = b"--\r\n") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + end


def field(name: str, value: bytes) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value


def file_part(data: bytes = b"{}", name: bytes = b"a.jsonl") -> bytes:
    return b'Content-Disposition: form-data; name="file"; filename="' + name + b'"\r\n\r\n' + data


PURPOSE = field("purpose", b"batch")


def post(service, body: bytes, kind: str = "multipart/form-data; boundary=xyz"):
    head = "POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-a\r\n"
    return service.raw(f"{head}Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def test_a_file_comes_back_byte_by_byte(batch_client):
    made = batch_client.files.create(file=("naïve 名.jsonl", ODD), purpose="batch")
    assert (made.bytes, made.purpose, made.status, made.object) == (len(ODD), "batch", "processed", "file")
    assert made.filename == "naïve 名.jsonl"
    assert made.expires_at - made.created_at == 30 * 86_400
    assert batch_client.files.retrieve(made.id) == made
    assert batch_client.files.content(made.id).content == ODD
    assert batch_client.files.delete(made.id).deleted
    for attempt in (batch_client.files.retrieve, batch_client.files.content, batch_client.files.delete):
        with pytest.raises(openai.NotFoundError):
            attempt(made.id)


def test_files_are_listed_page_by_page(batch_client):
    made = [batch_client.files.create(file=(f"{n}", b"{}"), purpose="batch").id for n in range(5)]
    assert [one.id for one in batch_client.files.list(limit=2)] == made[::-1]
    assert [one.id for one in batch_client.files.list(order="asc", limit=2)] == made
    assert [one.id for one in batch_client.files.list(purpose="batch_output")] == []
    for wrong in ({"limit": 0}, {"limit": 20_000}, {"order": "up"}):
        with pytest.raises(openai.BadRequestError):
            batch_client.files.list(**wrong)


def test_a_file_may_be_kept_for_a_shorter_time(batch_client):
    short = {"anchor": "created_at", "seconds": 3600}
    made = batch_client.files.create(file=("a", b"{}"), purpose="batch", expires_after=short)
    assert made.expires_at - made.created_at == 3600


@pytest.mark.parametrize("purpose", ["user_data", "fine-tune", "assistants"])
def test_files_for_other_purposes_are_refused(batch_client, purpose):
    with pytest.raises(openai.BadRequestError, match="purpose must be 'batch'") as caught:
        batch_client.files.create(file=("a", b"{}"), purpose=purpose)
    assert caught.value.body["param"] == "purpose"


def test_the_purpose_may_come_after_the_file(batch_service):
    assert post(batch_service, form(file_part(), PURPOSE)).status == 200
    assert post(batch_service, form(PURPOSE, file_part())).status == 200


def test_a_file_that_a_batch_reads_is_not_deleted(batch_client, gateway_port):
    gateway_port.hold.add("*")
    batch = begin(batch_client, line(1))
    reached(batch_client, batch.id, "in_progress")
    with pytest.raises(openai.ConflictError):
        batch_client.files.delete(batch.input_file_id)
    gateway_port.hold.clear()
    ended(batch_client, batch.id)
    assert batch_client.files.delete(batch.input_file_id).deleted


@pytest.mark.catalogue("B11", "B12")
@pytest.mark.parametrize("name", [b"../../../tmp/evil", b"/etc/passwd", b"..%2f..%2fx", b"a\\b", b"\xe2\x80\xae.x"])
def test_the_name_of_a_file_is_never_a_path(batch_service, name):
    reply = post(batch_service, form(PURPOSE, file_part(b"{}", name)))
    if reply.status == 200:
        assert batch_service.shelf("files") == [reply.json()["id"]]
    else:
        assert (reply.status, batch_service.shelf("files")) == (400, [])
    assert batch_service.shelf("parts") == []


@pytest.mark.catalogue("B11", "B12")
@pytest.mark.parametrize(
    "id", ["..%2f..%2fbatches.db", "%2e%2e", "..%5cbatches.db", "%00", "file-", "%2fetc%2fpasswd", "%ff", "../x"]
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_id_is_never_a_path(batch_service, id, method):
    for end in ("", "/content"):
        head = f"{method} /v1/files/{id}{end} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-a\r\n\r\n"
        assert batch_service.raw(head).status in {404, 405}
    assert (batch_service.folder / "batches" / "batches.db").exists()


@pytest.mark.catalogue("B26")
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (form(PURPOSE, file_part()), "multipart/form-data"),
        (form(PURPOSE, file_part()), "multipart/form-data; boundary=" + "x" * 200),
        (form(PURPOSE, file_part()), "application/json"),
        (form(PURPOSE, file_part()), "multipart/form-data; boundary=other"),
        (b"p" * 300_000 + b"\r\n" + form(PURPOSE, file_part()), "multipart/form-data; boundary=xyz"),
        (b"\r\n" * 150_000, "multipart/form-data; boundary=xyz"),
        (form(PURPOSE, file_part(), end=b""), "multipart/form-data; boundary=xyz"),
        (form(PURPOSE, file_part())[:-12], "multipart/form-data; boundary=xyz"),
        (form(PURPOSE, file_part(b"{}", b"a\0b")), "multipart/form-data; boundary=xyz"),
        (form(PURPOSE, file_part(b"{}", b"\xff\xfe")), "multipart/form-data; boundary=xyz"),
        (form(PURPOSE, file_part(b"{}", b"n" * 300)), "multipart/form-data; boundary=xyz"),
        (form(PURPOSE, b"X: " + b"h" * 100_000 + b"\r\n" + file_part()), "multipart/form-data; boundary=xyz"),
        (form(PURPOSE, b"X: y\r\n" * 100 + file_part()), "multipart/form-data; boundary=xyz"),
        (form(PURPOSE, b"\r\nno header"), "multipart/form-data; boundary=xyz"),
        (form(*[field(f"f{n}", b"") for n in range(40)]), "multipart/form-data; boundary=xyz"),
        (form(field("purpose", b"batch" * 1000), file_part()), "multipart/form-data; boundary=xyz"),
        (form(PURPOSE, PURPOSE, file_part()), "multipart/form-data; boundary=xyz"),
        (form(PURPOSE, file_part(), file_part()), "multipart/form-data; boundary=xyz"),
        (form(PURPOSE, field("file", b"{}")), "multipart/form-data; boundary=xyz"),
        (form(PURPOSE), "multipart/form-data; boundary=xyz"),
        (b"", "multipart/form-data; boundary=xyz"),
    ],
)
def test_hostile_forms_are_refused_and_leave_nothing(batch_service, body, kind):
    reply = post(batch_service, body, kind)
    assert reply.status == 400
    assert json.loads(reply.body)["error"]["type"] == "invalid_request_error"
    assert batch_service.shelf("files") + batch_service.shelf("parts") == []
    assert str(batch_service.folder).encode() not in reply.body


@pytest.mark.catalogue("B26")
def test_three_megabytes_in_tiny_chunks_are_taken(batch_service):
    data = form(PURPOSE, file_part(b"x" * 3_000_000))
    chunks = b"".join(b"6\r\n%b\r\n" % data[at : at + 6] for at in range(0, len(data) - len(data) % 6, 6))
    rest = data[len(data) - len(data) % 6 :]
    head = "POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-a\r\nTransfer-Encoding: chunked\r\n"
    head += "Content-Type: multipart/form-data; boundary=xyz\r\n\r\n"
    before = batch_service.memory()
    reply = batch_service.raw(
        head.encode() + chunks + (b"%x\r\n%b\r\n" % (len(rest), rest) if rest else b"") + b"0\r\n\r\n"
    )
    assert (reply.status, reply.json()["bytes"]) == (200, 3_000_000)
    assert batch_service.memory() - before < 20_000_000


def test_a_client_that_leaves_in_the_middle_leaves_nothing(batch_service):
    from gateway_rig import Client

    head = "POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-a\r\nContent-Length: 900000\r\n"
    with Client(batch_service.worker.port) as client:
        client.send(head + "Content-Type: multipart/form-data; boundary=xyz\r\n\r\n")
        client.send(form(PURPOSE, file_part(b"x" * 300_000))[:-9])
        wait_for(lambda: batch_service.shelf("parts"), what="the upload having begun")
    wait_for(lambda: not batch_service.shelf("parts"), what="the upload being gone")
    assert batch_service.shelf("files") == []


def test_a_request_that_no_worker_vouches_for_is_refused(batch_service):
    own = "x-guideway-key: k\r\nx-guideway-models:\r\nx-request-id: r\r\n"
    for headers in ("", own, f"x-guideway-owner: a\r\nx-guideway-owner: b\r\n{own}", f"x-guideway-owner:\r\n{own}"):
        reply = batch_service.raw(f"GET /v1/files HTTP/1.1\r\nHost: x\r\n{headers}\r\n", to="service")
        assert (reply.status, reply.json()["error"]["code"]) == (401, "invalid_api_key")
    assert batch_service.socket.stat().st_mode & 0o777 == 0o600
    assert (batch_service.folder / "batches").stat().st_mode & 0o777 == 0o700


def test_unknown_paths_and_methods_are_told_in_the_shape_of_openai(batch_service):
    for method, path, status in (("GET", "/v1/nothing", 404), ("PUT", "/v1/files", 405), ("GET", "/v1/files/", 404)):
        reply = batch_service.raw(f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-a\r\n\r\n")
        assert reply.status == status
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
        if status == 405:
            assert reply.headers["allow"] == "GET, HEAD, POST"


def test_the_largest_file_is_streamed_and_a_larger_one_is_refused(loop, tmp_path, gateway_port):
    from batches_rig import Running

    service = Running(loop, tmp_path, gateway_port, megabytes=64).start()
    try:
        client = service.client()
        source = tmp_path / "large"
        with source.open("wb") as file:
            for _ in range(64):
                file.write(os.urandom(1024 * 1024))
        before = service.memory()
        with source.open("rb") as file:
            made = client.files.create(file=("large", file), purpose="batch")
        with client.files.with_streaming_response.content(made.id) as response:
            response.stream_to_file(tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == source.read_bytes()
        assert service.memory() - before < 20_000_000
        with source.open("ab") as file:
            file.write(b"x")
        with source.open("rb") as file, pytest.raises(openai.APIStatusError) as caught:
            client.files.create(file=("larger", file), purpose="batch")
        assert caught.value.status_code == 413
        assert (service.shelf("files"), service.shelf("parts")) == ([made.id], [])
    finally:
        service.close()


@pytest.mark.catalogue("A28")
def test_a_full_disk_is_told_and_leaves_nothing_half(loop, tmp_path, gateway_port):
    from batches_rig import Running

    service = Running(loop, tmp_path, gateway_port).start("prlimit", "--fsize=2000000")
    try:
        client = service.client()
        small = client.files.create(file=("small", b"x" * 1000), purpose="batch")
        with pytest.raises(openai.APIStatusError) as caught:
            client.files.create(file=("large", b"x" * 3_000_000), purpose="batch")
        assert (caught.value.status_code, caught.value.body["code"]) == (507, "insufficient_storage")
        assert (service.shelf("files"), service.shelf("parts")) == ([small.id], [])
        assert [one.id for one in client.files.list()] == [small.id]
    finally:
        service.close()


def test_files_whose_time_is_over_are_removed_but_not_those_that_a_batch_reads(
    batch_service, batch_client, gateway_port
):
    gateway_port.hold.add("*")
    batch = begin(batch_client, line(1))
    old = batch_client.files.create(file=("old", b"{}"), purpose="batch")
    young = batch_client.files.create(file=("young", b"{}"), purpose="batch")
    reached(batch_client, batch.id, "in_progress")
    batch_service.kill()
    age(batch_service, old.id, batch.input_file_id)
    gateway_port.hold.clear()
    batch_service.start()
    wait_for(lambda: old.id not in batch_service.shelf("files"), what="the old file being gone")
    done = ended(batch_client, batch.id)
    assert done.status == "completed"
    left = [young.id, batch.input_file_id, done.output_file_id]
    assert batch_service.shelf("files") == sorted(left)


def age(service, *ids):
    from msgspec.structs import replace

    from guideway.store import batches as rows
    from guideway.store.database import Database

    with Database(service.folder / "batches" / "batches.db") as database:
        for id in ids:
            rows.put_file(database, replace(rows.file(database, "tenant-a", id), expires=1.0))
