# SPDX-License-Identifier: MIT
"""A screen for windows: Xvfb, whose framebuffer is a file, and a hand on its keyboard and mouse."""

import ctypes
import os
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import guest
from guest import Failure

CLIENT_MESSAGE = 33


class ClientMessage(ctypes.Structure):
    """XClientMessageEvent, with the padding of XEvent."""

    _fields_ = [("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("send_event", ctypes.c_int),
                ("display", ctypes.c_void_p), ("window", ctypes.c_ulong),
                ("message_type", ctypes.c_ulong), ("format", ctypes.c_int),
                ("data", ctypes.c_long * 5), ("padding", ctypes.c_long * 24)]


def library(name):
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        guest.skip(f"{name}: {error}")


class Screen:
    """A screen of so many pixels, which programs started meanwhile find in DISPLAY."""

    def __init__(self, width, height):
        if not shutil.which("Xvfb"):
            guest.skip("Xvfb is not installed")
        self.x11, self.xtst = library("libX11.so.6"), library("libXtst.so.6")
        for function in ("XOpenDisplay", "XDefaultRootWindow", "XInternAtom"):
            getattr(self.x11, function).restype = ctypes.c_void_p
        self.size = f"{width}x{height}x24"

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="pearvisor-screen-")
        reader, writer = os.pipe()
        self.server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writer), "-screen", "0", self.size, "-fbdir",
             self.folder.name, "-nolisten", "tcp", "-noreset"],
            pass_fds=[writer], stderr=subprocess.DEVNULL)
        os.close(writer)
        with os.fdopen(reader) as numbers:
            number = numbers.readline().strip()
        if not number:
            self.__exit__()
            guest.skip("Xvfb does not start")
        self.before = {name: os.environ.get(name) for name in ("DISPLAY", "SDL_VIDEODRIVER")}
        os.environ.update(DISPLAY=f":{number}", SDL_VIDEODRIVER="x11")
        self.display = ctypes.c_void_p(self.x11.XOpenDisplay(f":{number}".encode()))
        if not self.display:
            raise Failure("the X server is there")
        self.root = ctypes.c_ulong(self.x11.XDefaultRootWindow(self.display))
        return self

    def __exit__(self, *exc):
        for name, value in getattr(self, "before", {}).items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self.server.terminate()
        self.server.wait()
        self.folder.cleanup()

    def window(self):
        """The topmost window's number, or None."""
        root, parent, count = ctypes.c_ulong(), ctypes.c_ulong(), ctypes.c_uint()
        children = ctypes.POINTER(ctypes.c_ulong)()
        self.x11.XQueryTree(self.display, self.root, ctypes.byref(root), ctypes.byref(parent),
                            ctypes.byref(children), ctypes.byref(count))
        if not count.value:
            return None
        number = children[count.value - 1]
        self.x11.XFree(children)
        return ctypes.c_ulong(number)

    def pixels(self, width, height):
        """The top left of the screen, as B, G, R, 0. The file is of XWD's format (XWDFile.h)."""
        data = (Path(self.folder.name) / "Xvfb_screen0").read_bytes()
        header = struct.unpack(">25I", data[:100])
        start, line = header[0] + 12 * header[19], header[12]
        if header[11] != 32:
            raise Failure("the screen has 32 bits a pixel")
        rows = bytearray()
        for y in range(height):
            rows += data[start + y * line:start + y * line + 4 * width]
        rows[3::4] = bytes(width * height)
        return bytes(rows)

    def move(self, window, x, y):
        self.x11.XMoveWindow(self.display, window, x, y)
        self.x11.XSync(self.display, 0)

    def resize(self, window, width, height):
        self.x11.XResizeWindow(self.display, window, width, height)
        self.x11.XSync(self.display, 0)

    def point(self, x, y):
        self.xtst.XTestFakeMotionEvent(self.display, -1, x, y, ctypes.c_ulong(0))
        self.x11.XSync(self.display, 0)

    def key(self, code):
        """Presses and releases the key with X's number."""
        for down in (1, 0):
            self.xtst.XTestFakeKeyEvent(self.display, code, down, ctypes.c_ulong(0))
        self.x11.XSync(self.display, 0)

    def close(self, window):
        """As a window manager does when the window's button is pressed."""
        atom = [self.x11.XInternAtom(self.display, name, 0)
                for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW")]
        event = ClientMessage(type=CLIENT_MESSAGE, window=window, message_type=atom[0], format=32)
        event.data[0] = atom[1]
        self.x11.XSendEvent(self.display, window, 0, ctypes.c_long(0), ctypes.byref(event))
        self.x11.XSync(self.display, 0)
