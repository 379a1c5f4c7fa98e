# SPDX-License-Identifier: GPL-2.0-or-later
"""A D-Bus client by hand, for what libraries keep their users from: not reading, thousands of calls at once,
leaving in the middle, signals in the order in which they came."""
import collections
import itertools
import os
import socket
import struct
import time

SYSTEM_BUS = "/run/dbus/system_bus_socket"
CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
_ALIGN = {"y": 1, "b": 4, "n": 2, "q": 2, "i": 4, "u": 4, "x": 8, "t": 8, "d": 8, "s": 4, "o": 4, "g": 1,
          "a": 4, "(": 8, "{": 8, "v": 1}
_FIXED = {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d"}


class DBusError(Exception):
    def __init__(self, name, message):
        super().__init__(f"{name}: {message}")
        self.name, self.message = name, message

    @property
    def code(self):
        return self.name.removeprefix("org.vnicd1.Error.")


class V:
    """A variant: V("u", 5)"""
    def __init__(self, signature, value):
        self.signature, self.value = signature, value


def split(signature):
    """A signature's complete types."""
    out, i = [], 0
    while i < len(signature):
        start = i
        while signature[i] == "a":
            i += 1
        if signature[i] in "({":
            depth = 0
            while True:
                depth += signature[i] in "({"
                depth -= signature[i] in ")}"
                i += 1
                if depth == 0:
                    break
        else:
            i += 1
        out.append(signature[start:i])
    return out


def _pad(buf, n):
    buf.extend(b"\0" * (-len(buf) % n))


def _put(buf, t, v):
    _pad(buf, _ALIGN[t[0]])
    if t[0] in _FIXED:
        buf += struct.pack("<" + _FIXED[t[0]], v)
    elif t[0] in "so":
        b = v.encode()
        buf += struct.pack("<I", len(b)) + b + b"\0"
    elif t[0] == "g":
        buf += bytes([len(v)]) + v.encode() + b"\0"
    elif t[0] == "v":
        _put(buf, "g", v.signature)
        _put(buf, v.signature, v.value)
    elif t[0] == "a":
        at = len(buf)
        buf += b"\0\0\0\0"
        _pad(buf, _ALIGN[t[1]])
        start = len(buf)
        for item in v.items() if isinstance(v, dict) else v:
            _put(buf, t[1:], item)
        buf[at:at + 4] = struct.pack("<I", len(buf) - start)
    else:
        for inner, item in zip(split(t[1:-1]), v):
            _put(buf, inner, item)


class _Reader:
    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def get(self, t):
        self.at += -self.at % _ALIGN[t[0]]
        if t[0] in _FIXED:
            f = "<" + _FIXED[t[0]]
            v = struct.unpack_from(f, self.data, self.at)[0]
            self.at += struct.calcsize(f)
            return bool(v) if t[0] == "b" else v
        if t[0] in "so":
            n = self.get("u")
            v = self.data[self.at:self.at + n].decode()
            self.at += n + 1
            return v
        if t[0] == "g":
            n = self.get("y")
            v = self.data[self.at:self.at + n].decode()
            self.at += n + 1
            return v
        if t[0] == "v":
            return self.get(self.get("g"))
        if t[0] == "a":
            n = self.get("u")
            self.at += -self.at % _ALIGN[t[1]]
            end, items = self.at + n, []
            while self.at < end:
                items.append(self.get(t[1:]))
            return dict(items) if t[1] == "{" else items
        return tuple(self.get(inner) for inner in split(t[1:-1]))


Message = collections.namedtuple("Message", "type serial reply sender path interface member error body")


def encode(serial, dest, path, interface, member, signature="", args=(), flags=0):
    body = bytearray()
    for t, v in zip(split(signature), args):
        _put(body, t, v)
    fields = [(1, V("o", path)), (2, V("s", interface)), (3, V("s", member)), (6, V("s", dest))]
    if signature:
        fields.append((8, V("g", signature)))
    buf = bytearray(struct.pack("<cBBBII", b"l", CALL, flags, 1, len(body), serial))
    _put(buf, "a(yv)", fields)
    _pad(buf, 8)
    return bytes(buf + body)


class Bus:
    def __init__(self, address=SYSTEM_BUS, timeout=10.0):
        self.sock = socket.socket(socket.AF_UNIX)
        self.timeout = timeout
        self.sock.settimeout(timeout)
        self.sock.connect(address)
        self.serials = itertools.count(1)
        self.buf = bytearray()
        self.signals = collections.deque()
        self.replies = {}
        self.sock.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
        assert self.sock.recv(4096).startswith(b"OK"), "the bus refuses to authenticate us"
        self.sock.sendall(b"BEGIN\r\n")
        self.name = self.driver("Hello")[0]

    def close(self):
        self.sock.close()

    def driver(self, member, signature="", *args):
        return self.call(member, signature, *args, dest="org.freedesktop.DBus", path="/org/freedesktop/DBus",
                         interface="org.freedesktop.DBus")

    def send(self, member, signature="", *args, dest="org.vnicd1", path="/org/vnicd1",
             interface="org.vnicd1.Manager", flags=2):
        """Send a call without waiting for its answer (flags 2: start no service); its serial."""
        serial = next(self.serials)
        self.sock.settimeout(self.timeout)
        self.sock.sendall(encode(serial, dest, path, interface, member, signature, args, flags))
        return serial

    def _read(self):
        """One message off the socket."""
        while True:
            if len(self.buf) >= 16:
                _, kind, _, _, n, serial, m = struct.unpack_from("<cBBBIII", self.buf)
                head = 16 + m + (-m % 8)
                if len(self.buf) >= head + n:
                    break
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError("the bus hung up")
            self.buf += data
        raw = bytes(self.buf[:head + n])
        del self.buf[:head + n]
        fields = dict(_Reader(raw, 12).get("a(yv)"))
        r = _Reader(raw[head:])
        body = [r.get(t) for t in split(fields.get(8, ""))]
        return Message(kind, serial, fields.get(5), fields.get(7), fields.get(1), fields.get(2), fields.get(3),
                       fields.get(4), body)

    def pump(self, timeout=0.0):
        """Read what comes within timeout (at least once); False where nothing came."""
        self.sock.settimeout(max(timeout, 0.001))
        try:
            m = self._read()
        except (TimeoutError, socket.timeout):
            return False
        if m.type == SIGNAL:
            self.signals.append(m)
        elif m.reply is not None:
            self.replies[m.reply] = m
        return True

    def wait(self, serial, timeout=10.0):
        end = time.monotonic() + timeout
        while serial not in self.replies:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no answer to call {serial} within {timeout:g} s")
            self.pump(left)
        m = self.replies.pop(serial)
        if m.type == ERROR:
            raise DBusError(m.error, m.body[0] if m.body else "")
        return m.body

    def call(self, member, signature="", *args, timeout=10.0, **where):
        return self.wait(self.send(member, signature, *args, **where), timeout)

    def get_all(self, path="/org/vnicd1", interface="org.vnicd1.Manager"):
        return self.call("GetAll", "s", interface, path=path, interface="org.freedesktop.DBus.Properties")[0]

    def objects(self):
        return self.call("GetManagedObjects", interface="org.freedesktop.DBus.ObjectManager")[0]

    def introspect(self, path):
        return self.call("Introspect", path=path, interface="org.freedesktop.DBus.Introspectable")[0]

    def listen(self):
        self.driver("AddMatch", "s", "type='signal',sender='org.vnicd1'")

    def signal(self, want, timeout=5.0):
        """The next signal for which want(message) holds; those before it are dropped."""
        end = time.monotonic() + timeout
        while True:
            while self.signals:
                m = self.signals.popleft()
                if want(m):
                    return m
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("the signal waited for did not come")
            self.pump(left)
