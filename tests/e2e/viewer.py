# SPDX-License-Identifier: MIT
"""A VNC viewer on a unix socket (RFB 3.8, RFC 6143) that takes whole pictures."""

import socket
import struct

import guest
from guest import Failure

RAW, ZRLE, DESKTOP_SIZE = 0, 16, -223


class Viewer:
    """Takes pictures raw; understands the desktop-size pseudo-encoding."""

    def __init__(self, path, encodings=(RAW, DESKTOP_SIZE)):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60 * guest.PATIENCE)
        self.socket.connect(str(path))
        if self.hear(12) != b"RFB 003.008\n":
            raise Failure("the server speaks RFB 3.8")
        self.tell(b"RFB 003.008\n")
        if self.hear(2) != b"\1\1":
            raise Failure("no password is asked for")
        self.tell(b"\1")
        if self.hear(4) != bytes(4):
            raise Failure("the viewer is let in")
        self.tell(b"\1")
        self.width, self.height, name = struct.unpack(">HH16xI", self.hear(24))
        self.hear(name)
        self.tell(struct.pack(f">BxH{len(encodings)}i", 2, len(encodings), *encodings))

    def hear(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise Failure("the server does not hang up")
            data += part
        return data

    def tell(self, data):
        self.socket.sendall(data)

    def key(self, keysym, down):
        self.tell(struct.pack(">BBxxI", 4, down, keysym))

    def picture(self):
        """Asks for the whole picture, until it has all of it in one size."""
        pixels, left = None, None
        while left is None or left > 0:
            if left is None:
                pixels = bytearray(4 * self.width * self.height)
                left = self.width * self.height
                self.tell(struct.pack(">BBHHHH", 3, 0, 0, 0, self.width, self.height))
            else:
                self.tell(struct.pack(">BBHHHH", 3, 1, 0, 0, self.width, self.height))
            kind, count = struct.unpack(">BxH", self.hear(4))
            if kind != 0:
                raise Failure(f"an update, not message {kind}")
            for _ in range(count):
                x, y, width, height, encoding = struct.unpack(">HHHHi", self.hear(12))
                if encoding == DESKTOP_SIZE:
                    self.width, self.height, left = width, height, None
                    continue
                data = self.hear(4 * width * height)
                if left is None:
                    continue
                for row in range(height):
                    at = 4 * ((y + row) * self.width + x)
                    pixels[at:at + 4 * width] = data[4 * width * row:4 * width * (row + 1)]
                left -= width * height
        pixels[3::4] = bytes(self.width * self.height)
        return self.width, self.height, bytes(pixels)
