#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""pearvisord over TCP: by TLS with a token, and not otherwise; clients that are slow or vanish."""

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import guest
from api import DAEMON, Daemon
from guest import Failure

TOKEN = "0123456789abcdef" * 2
SLOW = 200  # more than it has connections for, from one address or from all


def make_files(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                    folder / "key.pem", "-out", folder / "certificate.pem"],
                   check=True, capture_output=True)
    (folder / "token").write_text(TOKEN + "\n")
    (folder / "short").write_text("secret\n")
    for name in ("key.pem", "token", "short"):
        (folder / name).chmod(0o600)


def options(folder, port, **changed):
    files = {"listen": f"127.0.0.1:{port}", "tls-certificate": folder / "certificate.pem",
             "tls-key": folder / "key.pem", "token": folder / "token", **changed}
    return [f"--{key}={value}" for key, value in files.items() if value]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Remote:
    def __init__(self, folder, port):
        self.port = port
        self.context = ssl.create_default_context(cafile=folder / "certificate.pem")

    def ask(self, method, path, body=None, token=TOKEN, scheme="Bearer"):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context,
                                                 timeout=30 * guest.PATIENCE)
        headers = {} if token is None else {"Authorization": f"{scheme} {token}"}
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def wait(self):
        """Until it has noticed that others have gone."""
        deadline = time.monotonic() + 60 * guest.PATIENCE
        while True:
            try:
                return self.expect(200, "GET", "/v1/vms")
            except OSError:
                if time.monotonic() > deadline:
                    raise Failure("it does not answer after others have gone") from None
                time.sleep(0.1)

    def expect(self, status, *request, **how):
        answer = self.ask(*request, **how)
        if answer[0] != status:
            raise Failure(f"{request} {how}: {answer}, expected {status}")
        return answer[1]


def only_with_token(remote, daemon):
    remote.expect(200, "GET", "/v1/version")
    for token in (None, "", "x", TOKEN[:-1], TOKEN + "0", TOKEN[:-1] + "0", TOKEN.upper()):
        remote.expect(401, "GET", "/v1/version", token=token)
        remote.expect(401, "GET", "/v1/nothing", token=token)
        remote.expect(401, "POST", "/v1/vms", '{"name": "x"}', token=token)
    remote.expect(401, "GET", "/v1/version", scheme="Basic")
    if daemon.states():
        raise Failure("a request without the token made a VM")
    remote.expect(404, "GET", "/v1/nothing")
    remote.expect(413, "POST", "/v1/vms", "{" + " " * 300000)


def not_without_tls(remote):
    with socket.create_connection(("127.0.0.1", remote.port), 30 * guest.PATIENCE) as plain:
        plain.sendall(b"GET /v1/version HTTP/1.1\r\nHost: x\r\n"
                      b"Authorization: Bearer " + TOKEN.encode() + b"\r\n\r\n")
        try:
            answer = plain.recv(4096)
        except ConnectionError:
            answer = b""
    if b"HTTP/" in answer:
        raise Failure("it speaks without TLS")


def slow_clients(remote, daemon):
    """Who takes all connections and says nothing harms only who comes that way; and then nobody."""
    slow = []
    for i in range(SLOW):
        client = socket.create_connection(("127.0.0.1", remote.port), 30 * guest.PATIENCE)
        client.sendall(b"\x16\x03\x01" if i % 2 else b"")
        slow.append(client)
    daemon.ask("GET", "/v1/vms")
    for client in slow:
        client.close()
    remote.wait()
    for _ in range(20):  # these vanish behind their handshake, or within a request
        client = remote.context.wrap_socket(socket.create_connection(("127.0.0.1", remote.port)),
                                            server_hostname="127.0.0.1")
        client.sendall(b"POST /v1/vms HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n")
        client.close()
    remote.wait()


def bad_options(folder, environment):
    (folder / "open").write_text(TOKEN)
    (folder / "open").chmod(0o644)
    port = free_port()
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    for status, expected, words in (
            (1, "others may read it", options(folder, port, token=folder / "open")),
            (1, "32 to 512 characters", options(folder, port, token=folder / "short")),
            (1, "No such file", options(folder, port, token=folder / "none")),
            (1, "--listen needs", options(folder, port, token=None)),
            (1, "--listen needs", options(folder, port, **{"tls-key": None})),
            (1, "not a certificate", options(folder, port, **{"tls-certificate":
                                                              folder / "token"})),
            (1, "use ADDRESS:PORT", options(folder, port, listen="here")),
            (1, "use ADDRESS:PORT", options(folder, port, listen="127.0.0.1:")),
            (1, "in use", options(folder, port, listen=f"127.0.0.1:{taken.getsockname()[1]}")),
            (2, "go with --listen", options(folder, port, listen=None))):
        done = subprocess.run([DAEMON, "--socket", folder / "other.sock", *words], text=True,
                              env=environment, capture_output=True, timeout=30 * guest.PATIENCE)
        if done.returncode != status or expected not in done.stderr or \
                done.stderr.count("\n") != 1:
            raise Failure(f"{words}: {done.returncode}, {done.stderr!r}")
    taken.close()


def main(start):
    if not shutil.which("openssl"):
        guest.skip("openssl, which makes the test's certificate, is not installed")
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        make_files(folder)
        bad_options(folder, {**os.environ, "PEARVISOR_HOME": home})
        remote = Remote(folder, free_port())
        daemon = Daemon(home)
        daemon.start(*options(folder, remote.port))
        try:
            only_with_token(remote, daemon)
            not_without_tls(remote)
            slow_clients(remote, daemon)
            daemon.end()
        finally:
            if daemon.process.poll() is None:
                daemon.kill()


if __name__ == "__main__":
    sys.exit(guest.main(main))
