# SPDX-License-Identifier: GPL-2.0-or-later
"""A vhost-user front end with a guest's memory and rings, for tests: it can behave, and it can misbehave in
any way that a test spells out. Written from the vhost-user specification, on its own."""
import mmap
import os
import select
import socket
import struct
import time

GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE, SET_LOG_BASE, SET_LOG_FD = range(1, 8)
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = range(8, 12)
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = range(12, 15)
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE = range(15, 19)
SEND_RARP, NET_SET_MTU = 19, 20
GET_INFLIGHT_FD, SET_INFLIGHT_FD, RESET_DEVICE = 31, 32, 34
GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG, SET_STATUS, GET_STATUS = 36, 37, 38, 39, 40

VERSION, REPLY, NEED_REPLY = 1, 4, 8
F_LOG_ALL, F_PROTOCOL, F_VERSION_1, F_MRG_RXBUF, F_MQ = 1 << 26, 1 << 30, 1 << 32, 1 << 15, 1 << 22
P_MQ, P_LOG, P_RARP, P_REPLY_ACK, P_MTU, P_RESET, P_SLOTS, P_STATUS = (1 << b for b in (0, 1, 2, 3, 4, 13, 15, 16))
NOFD = 0x100
UVA = 0x7F0000000000
HDR = 12  # virtio_net_hdr_v1
MEM = 4 << 20
RING, BUFS, BUF = 256, 0x100000, 2048
DESC_WRITE = 2


def u64(v):
    return struct.pack("<Q", v)


def state(index, num):
    return struct.pack("<II", index, num)


def region(gpa, size, uva=None, offset=0):
    return struct.pack("<QQQQ", gpa, size, UVA + gpa if uva is None else uva, offset)


def table(*regions):
    return struct.pack("<II", len(regions), 0) + b"".join(regions)


def addr(index, desc, avail, used, flags=0, log=0):
    return struct.pack("<IIQQQQ", index, flags, desc, used, avail, log)


def memfd(size, name="guest"):
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    return fd


def eventfd():
    return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)


class Client:
    """One connection. Rings lie at 0x10000 * (index + 1), buffers of 2 KiB from 1 MiB on."""

    def __init__(self, path, timeout=5.0):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(path)
        self.adopt(sock)

    def adopt(self, sock):
        """Go on over a socket that is connected already."""
        self.sock = sock
        self.features = 0
        self.fds = []
        self.mem = None
        self.memfd = -1
        self.kick, self.call = {}, {}
        self.taken = {}  # used entries of each ring seen so far

    # bytes

    def send(self, request, body=b"", fds=(), flags=VERSION, size=None):
        head = struct.pack("<III", request, flags, len(body) if size is None else size)
        self.raw(head + body, fds)

    def raw(self, data, fds=()):
        if fds:
            n = socket.send_fds(self.sock, [data], list(fds))
        else:
            n = self.sock.send(data)
        assert n == len(data), "a short write on a test's socket"

    def reply(self):
        head = self._exactly(12)
        request, flags, size = struct.unpack("<III", head)
        assert flags & REPLY, f"not a reply: flags {flags:#x}"
        return request, self._exactly(size)

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise ConnectionResetError("the back end closed the connection")
            data += more
        return data

    def ask(self, request, body=b"", fds=()):
        """A request that has a reply; its u64."""
        self.send(request, body, fds)
        got, answer = self.reply()
        assert got == request, f"asked {request}, answered {got}"
        return struct.unpack("<Q", answer)[0]

    def do(self, request, body=b"", fds=()):
        """A request, with REPLY_ACK: returns once the back end has done it."""
        self.send(request, body, fds, VERSION | NEED_REPLY)
        got, answer = self.reply()
        assert got == request and struct.unpack("<Q", answer)[0] == 0, f"{request} failed"

    def dropped(self, timeout=5.0):
        """Does the back end close the connection (within timeout)? Replies before that are skipped."""
        end = time.monotonic() + timeout
        p = select.poll()
        p.register(self.sock, select.POLLIN)
        while time.monotonic() < end:
            if not p.poll(max(0.0, end - time.monotonic()) * 1000):
                break
            try:
                if not self.sock.recv(65536):
                    return True
            except ConnectionError:
                return True
        return False

    def close(self):
        self.sock.close()
        if self.mem:
            self.words.release()
            self.mem.close()
            self.mem = None
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def keep(self, fd):
        self.fds.append(fd)
        return fd

    # a device's life

    def negotiate(self, features=F_VERSION_1 | F_MRG_RXBUF, proto=P_REPLY_ACK | P_LOG | P_MQ | P_STATUS | P_RARP):
        offered = self.ask(GET_FEATURES)
        assert not features & ~offered, f"{features & ~offered:#x} is not offered"
        can = self.ask(GET_PROTOCOL_FEATURES)
        assert not proto & ~can, f"protocol features {proto & ~can:#x} are not offered"
        self.send(SET_PROTOCOL_FEATURES, u64(proto))
        self.send(SET_OWNER)
        self.features = features
        self.do(SET_FEATURES, u64(features))
        return self

    def memory(self, size=MEM):
        self.memfd = self.keep(memfd(size))
        self.mem = mmap.mmap(self.memfd, size)
        self.words = memoryview(self.mem).cast("H")
        self.do(SET_MEM_TABLE, table(region(0, size)), [self.memfd])
        return self

    def parts(self, i):
        base = 0x10000 * (i + 1)
        return base, base + 0x4000, base + 0x8000  # descriptors, available, used

    def ring_addr(self, i, flags=0):
        d, a, u = self.parts(i)
        return addr(i, UVA + d, UVA + a, UVA + u, flags, u)

    def prepare(self, i, size=RING, base=0):
        """A ring, all but its kick."""
        self.do(SET_VRING_NUM, state(i, size))
        self.do(SET_VRING_BASE, state(i, base))
        self.do(SET_VRING_ADDR, self.ring_addr(i))
        self.call[i] = self.keep(eventfd())
        self.do(SET_VRING_CALL, u64(i), [self.call[i]])

    def start_ring(self, i):
        self.kick[i] = self.keep(eventfd())
        self.do(SET_VRING_KICK, u64(i), [self.kick[i]])

    def start(self, rings=2, base=0):
        for i in range(rings):
            self.prepare(i, base=base)
            self.taken[i] = base
        for i in range(0, rings, 2):
            self.post(i)
        for i in range(rings):
            self.start_ring(i)
        for i in range(rings):
            self.do(SET_VRING_ENABLE, state(i, 1))
        return self

    def run(self):
        return self.negotiate().memory().start()

    def stop_ring(self, i):
        self.send(GET_VRING_BASE, state(i, 0))
        got, body = self.reply()
        assert got == GET_VRING_BASE
        index, base = struct.unpack("<II", body)
        assert index == i
        return base

    # frames

    def _u16(self, at, v=None):
        # One load or store of 16 bits. struct.pack_into() clears the field first, and the other side sees it.
        if v is not None:
            self.words[at // 2] = v & 0xFFFF
        return self.words[at // 2]

    def buf(self, i, n):
        return BUFS + (i * RING + n) * BUF

    def post(self, i):
        """All buffers of a receive ring to the back end."""
        d, a, _ = self.parts(i)
        for n in range(RING):
            struct.pack_into("<QIHH", self.mem, d + 16 * n, self.buf(i, n), BUF, DESC_WRITE, 0)
            self._u16(a + 4 + 2 * n, n)
        self._u16(a + 2, self.taken.get(i, 0) + RING)

    def transmit(self, frame, i=1):
        self.transmit_all([frame], i)

    def transmit_all(self, frames, i=1):
        """All at once: the back end sees none of them before it sees the last."""
        d, a, _ = self.parts(i)
        at = self._u16(a + 2)
        for frame in frames:
            n = at % RING
            buf = self.buf(i, n)
            self.mem[buf:buf + HDR + len(frame)] = bytes(HDR) + frame
            struct.pack_into("<QIHH", self.mem, d + 16 * n, buf, HDR + len(frame), 0, 0)
            self._u16(a + 4 + 2 * n, n)
            at += 1
        self._u16(a + 2, at)
        os.eventfd_write(self.kick[i], 1)

    def room(self, i=1, n=1):
        """May n more frames be sent?"""
        _, a, u = self.parts(i)
        return ((self._u16(a + 2) - self._u16(u + 2)) & 0xFFFF) + n <= RING

    def completed(self, i=1):
        """Has the back end completed all that was sent?"""
        _, a, u = self.parts(i)
        return self._u16(a + 2) == self._u16(u + 2)

    def used_index(self, i=1):
        """How many the back end has completed, modulo 65536."""
        return self._u16(self.parts(i)[2] + 2)

    def more(self, i=0):
        """Is there a frame that received() would give?"""
        return self._u16(self.parts(i)[2] + 2) != self.taken[i] & 0xFFFF

    def received(self, i=0):
        """The next frame that came in on ring i, or None."""
        d, a, u = self.parts(i)
        if self._u16(u + 2) == self.taken[i] & 0xFFFF:
            return None
        n = self.taken[i] % RING
        head, size = struct.unpack_from("<II", self.mem, u + 4 + 8 * n)
        frame = bytes(self.mem[self.buf(i, head) + HDR:self.buf(i, head) + size])
        self.taken[i] += 1
        at = self._u16(a + 2)
        self._u16(a + 4 + 2 * (at % RING), head)
        self._u16(a + 2, at + 1)
        os.eventfd_write(self.kick[i], 1)
        return frame

    def wait_frame(self, want, timeout=5.0, i=0):
        """Until this frame comes; others are dropped."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            f = self.received(i)
            if f == want:
                return
            if f is None:
                time.sleep(0.001)
        raise AssertionError(f"the frame did not come within {timeout:g} s")


def frame(dst, src, payload):
    """An Ethernet frame of an experimental type."""
    mac = lambda m: bytes.fromhex(m.replace(":", ""))
    return (mac(dst) + mac(src) + b"\x88\xb5" + payload).ljust(60, b"\0")
