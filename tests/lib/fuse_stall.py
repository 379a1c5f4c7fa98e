# SPDX-License-Identifier: GPL-2.0-or-later
"""A FUSE file system whose files can be opened and then nothing: who asks for their attributes, or closes
them, waits until the server has ended. Spoken to the kernel by hand, so that nothing has to be installed.
And a socket whose close waits."""
import ctypes
import os
import signal
import socket
import struct

from vt import wait_for

INIT, LOOKUP, GETATTR, OPEN = 26, 1, 3, 14


def _attr(node):
    mode = 0o40755 if node == 1 else 0o100666
    return struct.pack("<6Q3I7I", node, 1 << 22, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def _answer(op, node):
    if op == INIT:
        return struct.pack("<IIIIHHIIHHI7I", 7, 31, 65536, 0, 16, 12, 65536, 1, 0, 0, 0, *[0] * 7)
    if op == LOOKUP:
        return struct.pack("<QQQQII", 2, 1, 0, 0, 0, 0) + _attr(2)
    if op == GETATTR and node == 1:
        return struct.pack("<QII", 0, 0, 0) + _attr(1)
    if op == OPEN:
        return struct.pack("<QII", 0, 0, 0)
    return None


def _serve(dev):
    while True:
        data = os.read(dev, 1 << 20)
        op, unique, node = struct.unpack_from("<IQQ", data, 4)
        body = _answer(op, node)
        if body is not None:
            os.write(dev, struct.pack("<IiQ", 16 + len(body), 0, unique) + body)


class Stall:
    """Mounted at where; open() as many files as are wanted, each anew. end(): all who wait go on."""

    def __init__(self, where="/run/stall"):
        os.makedirs(where, exist_ok=True)
        self.where = where
        libc = ctypes.CDLL(None, use_errno=True)
        dev = os.open("/dev/fuse", os.O_RDWR)
        opts = f"fd={dev},rootmode=40000,user_id=0,group_id=0"
        if libc.mount(b"stall", where.encode(), b"fuse", 0, opts.encode()) != 0:
            raise OSError(ctypes.get_errno(), f"mount of FUSE at {where}: {os.strerror(ctypes.get_errno())}")
        self.pid = os.fork()
        if self.pid == 0:
            try:
                libc.prctl(1, signal.SIGKILL)
                os.closerange(3, dev)
                os.closerange(dev + 1, 4096)
                _serve(dev)
            finally:
                os._exit(1)
        os.close(dev)
        self.libc = libc
        self.fds = []

    def open(self, flags=os.O_RDWR):
        """A descriptor, closed by end()."""
        self.fds.append(os.open(f"{self.where}/file", flags))
        return self.fds[-1]

    def end(self):
        """The kernel answers for a server that is gone."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
            for fd in self.fds:
                try:
                    os.close(fd)
                except OSError:
                    pass  # what the flush came to; it is closed
            wait_for("the end of the mount", lambda: self.libc.umount2(self.where.encode(), 2) == 0)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.end()


def lingering():
    """The only descriptor of a TCP socket whose close waits for 30 s: the other end never reads."""
    at = socket.create_server(("127.0.0.1", 0))
    s = socket.create_connection(at.getsockname())
    peer, _ = at.accept()
    at.close()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
    s.setblocking(False)
    try:
        while True:
            s.send(bytes(65536))
    except BlockingIOError:
        pass
    return s, peer
