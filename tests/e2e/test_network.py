#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The guest reaches the host over NAT, and the host a port of the guest that is forwarded."""

import http.server
import socket
import sys
import threading
import time

import guest
from guest import Failure

ANSWER = b"answer-from-the-host\n"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *args):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch_forwarded(port, timeout):
    """What the guest's server on a forwarded port says; it may need a moment to listen."""
    deadline = time.monotonic() + timeout * guest.PATIENCE
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as connection:
                connection.settimeout(10)
                answer = connection.recv(100)
                if answer:
                    return answer
        except OSError:
            pass
        time.sleep(0.5)
    raise Failure("an answer on the forwarded port")


def network(start):
    folder = guest.guest_kernel("13")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = free_port()
    vm = start("--kernel", folder / "vmlinuz", "--initrd", folder / "test.img",
               "--append", "console=ttyAMA0 quiet panic=-1 pv.run=listen "
               f"pv.fetch=http://10.0.2.2:{server.server_port}/",
               "--net", f"user,forward=tcp:{port}:7777", "--memory", "512M")
    vm.expect("^PEARVISOR-NET-OK", 180)
    vm.expect("^answer-from-the-host", 60)
    vm.expect("^PEARVISOR-LISTENING", 30)
    answer = fetch_forwarded(port, 60)
    if answer != b"PEARVISOR-FORWARD-OK\n":
        raise Failure(f"the guest's greeting on the forwarded port, not {answer}")
    vm.expect("^PEARVISOR-TEST-END", 30)
    if vm.wait(30) != 0:
        raise Failure("exit status 0")
    server.shutdown()


sys.exit(guest.main(network))
