"""Downloads have an end, whatever the server does; JSON in which a name comes twice is refused as fast as it is read."""

import contextlib
import hashlib
import json
import os
import socket
import threading
import time
import tracemalloc

import pytest
from small_runs import run_once

from gpt2.config import read_toml
from gpt2.errors import DataError
from gpt2.files import download, parse_object, read_json
from gpt2.run.folder import load_model
from gpt2.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer, load_tokenizer
from tinygrad2.files import private_folder

CONTENT = b"what is to be had" * 10
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT)


def drip(head, content):
    """The head at once, and the content a byte at a time."""

    def serve(connection):
        connection.sendall(head)
        for byte in content:
            connection.sendall(bytes([byte]))
            time.sleep(0.1)

    return serve


def endless(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(bytes(1 << 16))


def redirect(connection):
    time.sleep(0.2)
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /again%d\r\nContent-Length: 0\r\n\r\n" % time.monotonic_ns())


SERVERS = {
    "drips": (drip(HEAD, CONTENT), "not all of it came within 0.5 seconds"),
    "drips its headers": (drip(b"", HEAD + CONTENT), "not all of it came within 0.5 seconds"),
    "drips chunks": (
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 100),
        "not all of it came within 0.5 seconds",
    ),
    "redirects": (redirect, "not all of it came within 0.5 seconds"),
    "says nothing": (lambda _: time.sleep(1.5), "not all of it came within 0.5 seconds|timed out"),
    "has no end": (endless, "has more than the 170 bytes"),
    "hangs up": (lambda connection: connection.sendall(HEAD + CONTENT[:50]), "is not the file it should be|IncompleteRead"),
    "lies": (lambda connection: connection.sendall(HEAD + CONTENT[::-1]), "is not the file it should be"),
    "refuses": (lambda connection: connection.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n"), "Not Found"),
    "talks nonsense": (lambda connection: connection.sendall(b"\0\xff\r\n" * 10), "cannot be downloaded"),
    "is elsewhere": (
        lambda connection: connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://[x\r\n\r\n"),
        "cannot be downloaded",
    ),
    "is good": (lambda connection: connection.sendall(HEAD + CONTENT), None),
}


@contextlib.contextmanager
def server(answer):
    """A server on this machine that answers every request so."""

    def serve(connection):
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 16)
            answer(connection)

    def listen(listening):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=[listening.accept()[0]], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=listen, args=[listening], daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/x"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(("answer", "refused"), SERVERS.values(), ids=SERVERS)
def test_a_download_ends_whatever_the_server_does(tmp_path, answer, refused):
    path, sha256 = tmp_path / "x", hashlib.sha256(CONTENT).hexdigest()
    tracemalloc.start()
    start = time.perf_counter()
    with server(answer) as url:
        try:
            if refused is None:
                download(url, path, sha256, len(CONTENT), 0.5)
                assert path.read_bytes() == CONTENT
            else:
                with pytest.raises(DataError, match=refused) as error:
                    download(url, path, sha256, len(CONTENT), 0.5)
                assert "\n" not in str(error.value)
                assert not path.exists()
            assert time.perf_counter() - start < 1.4
            assert tracemalloc.get_traced_memory()[1] < 4e6
        finally:
            tracemalloc.stop()


def test_the_cache_folder_that_a_download_makes_is_one_that_the_cache_of_ids_uses(tmp_path):
    """Also for who shares the files that he makes with a group."""
    before = os.umask(0o002)
    try:
        with server(SERVERS["is good"][0]) as url:
            download(url, tmp_path / "cache" / "corpora" / "x", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    finally:
        os.umask(before)
    private_folder(tmp_path / "cache" / "ids")


def test_what_is_given_up_is_not_read_any_further(tmp_path):
    with server(drip(HEAD, CONTENT)) as url:
        with pytest.raises(DataError):
            download(url, tmp_path / "x", "", len(CONTENT), 0.3)
        for _ in range(20):
            if url not in [thread.name for thread in threading.enumerate()]:
                return
            time.sleep(0.05)
    pytest.fail("the download goes on")


def test_a_name_that_comes_twice_among_many_is_found_at_once():
    names = ", ".join(f'"{i}": 0' for i in range(100_000))
    start = time.perf_counter()
    with pytest.raises(ValueError, match="'99999' comes twice"):
        parse_object(f'{{{names}, "99999": 0}}')
    assert time.perf_counter() - start < 2
    with pytest.raises(ValueError, match="comes twice") as error:
        parse_object(json.dumps({"n" * 10**6: 0})[:-1] + ', "' + "n" * 10**6 + '": 0}')
    assert len(str(error.value)) < 100


# -- files of programs that begin every text with a byte-order mark

BOM = b"\xef\xbb\xbf"


def marked(path):
    path.write_bytes(BOM + path.read_bytes())


def test_json_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.json").write_bytes(BOM + b'{"a": 1}')
    assert read_json(tmp_path / "a.json") == parse_object(BOM + b'{"a": 1}') == {"a": 1}


def test_toml_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.toml").write_bytes(BOM + b"steps = 3\n")
    assert read_toml(tmp_path / "a.toml") == {"steps": 3}


def test_tokenizers_with_a_byte_order_mark(tmp_path):
    bpe = BPETokenizer.train("low lower lowest", 260)
    for tokenizer in (bpe, CharTokenizer("abc"), ByteTokenizer()):
        tokenizer.save(tmp_path / "t.json")
        marked(tmp_path / "t.json")
        assert load_tokenizer(tmp_path / "t.json").sha256 == tokenizer.sha256
    bpe.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    for name in ("vocab.json", "merges.txt"):
        marked(tmp_path / name)
        assert BPETokenizer.from_pretrained(tmp_path).sha256 == bpe.sha256


def test_a_run_and_a_hugging_face_folder_with_byte_order_marks(tmp_path, text):
    settings = {"tie_embeddings": True, "head_bias": False, "init": "gpt2"}
    run, _, _ = run_once(tmp_path / "run", text[:3000], model=settings, tokenizer="byte", steps=2)
    model, _ = run.load_model()
    marked(run.config)
    assert load_model(run.folder)[0].config == model.config
    model.save_pretrained(tmp_path / "hf")
    BPETokenizer.train("", 257).save_pretrained(tmp_path / "hf")
    for name in ("config.json", "tokenizer.json"):
        marked(tmp_path / "hf" / name)
    assert load_model(tmp_path / "hf")[0].config.vocab_size == 257
