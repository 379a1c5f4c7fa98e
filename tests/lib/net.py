# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's side of a test network, for use inside tests/lib/sandbox: bridges, veth pairs into
namespaces ("outside"), raw frames. Nothing here works on the machine's own network."""
import ctypes
import json
import os
import re
import select
import socket
import struct
import time

from vt import run, wait_for

ETH_P_ALL = 3
_SOL_PACKET, _PACKET_AUXDATA, _PACKET_OUTGOING = 263, 8, 4
_VLAN_VALID = 0x10
STREAM_TYPE = 0x88B5


def ip(*args, ns=None):
    """Run ip(8); with ns, in that namespace."""
    return run("ip", *(("-n", ns) if ns else ()), *args)


def links(ns=None):
    """All interfaces by name, as `ip -j -d link` tells them."""
    out = run("ip", *(("-n", ns) if ns else ()), "-j", "-d", "link")
    return {x["ifname"]: x for x in json.loads(out or "[]")}


def quiet(dev, ns=None):
    """No IPv6 on it: nothing then sends frames there by itself."""
    argv = ["sh", "-c", f"echo 1 >/proc/sys/net/ipv6/conf/{dev}/disable_ipv6"]
    run(*(["ip", "netns", "exec", ns] if ns else []), *argv)


def wait_link(dev, up=True, ns=None, timeout=10.0):
    """Until an interface is there and has (or has not) its carrier."""
    wait_for(f"{dev} {'up' if up else 'down'}",
             lambda: dev in links(ns) and ("LOWER_UP" in links(ns)[dev]["flags"]) == up, timeout)


class Bridge:
    """A bridge of the sandbox, without spanning tree and IPv6. Multicast snooping is off: what is
    tested is our part, not when the bridge forgets a group."""

    def __init__(self, name="br0", address=None, mac=None):
        self.name = name
        ip("link", "add", name, *(("address", mac) if mac else ()), "type", "bridge", "stp_state", "0",
           "forward_delay", "0", "mcast_snooping", "0")
        quiet(name)
        ip("link", "set", name, "up")
        if address:
            ip("addr", "add", address, "dev", name)
        self._outside = []

    @property
    def mac(self):
        return links()[self.name]["address"]

    def add(self, dev):
        ip("link", "set", dev, "master", self.name, "up")

    def ports(self):
        return sorted(n for n, x in links().items() if x.get("master") == self.name)

    def fdb(self):
        return json.loads(run("bridge", "-j", "fdb", "show", "br", self.name) or "[]")

    def tap(self, name):
        """A persistent tap of ours as a port; made before somebody attaches to it."""
        ip("tuntap", "add", "dev", name, "mode", "tap", "vnet_hdr")
        quiet(name)
        self.add(name)
        return name

    def outside(self, name="out", address=None):
        """A namespace behind this bridge."""
        o = Outside(name, self, address)
        self._outside.append(o)
        return o

    def close(self):
        for o in self._outside:
            o.close()
        ip("link", "del", self.name)


class Outside:
    """A network namespace behind a bridge: what a machine outside would be. Its interface is eth0."""

    def __init__(self, name, bridge, address=None):
        self.name = name
        self.host_dev = f"v-{name}"
        ip("netns", "add", name)
        ip("link", "add", self.host_dev, "type", "veth", "peer", "name", "eth0", "netns", name)
        quiet(self.host_dev)
        quiet("eth0", ns=name)
        ip("link", "set", "lo", "up", ns=name)
        ip("link", "set", "eth0", "up", ns=name)
        bridge.add(self.host_dev)
        if address:
            ip("addr", "add", address, "dev", "eth0", ns=name)
        wait_link(self.host_dev)

    @property
    def mac(self):
        return links(self.name)["eth0"]["address"]

    def argv(self, *argv):
        return ["ip", "netns", "exec", self.name, *argv]

    def run(self, *argv, **kw):
        return run(*self.argv(*argv), **kw)

    def wire(self):
        return Wire("eth0", self.name)

    def close(self):
        ip("link", "del", self.host_dev)
        ip("netns", "del", self.name)


def enter_ns(ns):
    """Move the calling thread into a network namespace, for good: for threads of their own."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{ns}", "rb") as there:
        if libc.setns(there.fileno(), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), f"setns to {ns}")


def _socket_in(ns, proto):
    """An AF_PACKET socket of another network namespace, made without leaving ours for longer."""
    if not ns:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(proto))
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as back, open(f"/run/netns/{ns}", "rb") as there:
        if libc.setns(there.fileno(), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), f"setns to {ns}")
        try:
            return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(proto))
        finally:
            if libc.setns(back.fileno(), 0x40000000) != 0:
                os._exit(99)


class Wire:
    """Raw frames on an interface: send(), expect(), expect_none(). It listens from its making on; the
    frames that this host itself sends there are left out."""

    def __init__(self, dev, ns=None, proto=ETH_P_ALL, outgoing=False):
        self.dev = dev
        self.outgoing = outgoing
        self._s = _socket_in(ns, proto)
        self._s.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        self._s.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        self._s.bind((dev, proto))
        index = socket.if_nametoindex(dev) if not ns else self._s.getsockname() and _ifindex(dev, ns)
        self._s.setsockopt(_SOL_PACKET, 1, struct.pack("iHH8s", index, 1, 0, b""))  # promiscuous

    def send(self, frame):
        self._s.send(frame)

    def receive(self, timeout):
        """The next frame, with its VLAN tag in place, or None."""
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            if not select.select([self._s], [], [], max(0.0, left))[0]:
                return None
            frame, aux, _, addr = self._s.recvmsg(70000, 256)
            if addr[2] == _PACKET_OUTGOING and not self.outgoing:
                continue
            for level, kind, data in aux:
                if level == _SOL_PACKET and kind == _PACKET_AUXDATA:
                    status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", data[:20])
                    if status & _VLAN_VALID:
                        frame = frame[:12] + struct.pack("!HH", 0x8100, tci) + frame[12:]
            return frame

    def expect(self, what, match, timeout=5.0):
        """The first frame for which match(frame) holds; `match` may also be bytes it must contain."""
        want = match if callable(match) else lambda f: match in f
        end = time.monotonic() + timeout
        seen = 0
        while (f := self.receive(max(0.0, end - time.monotonic()))) is not None:
            if want(f):
                return f
            seen += 1
        raise AssertionError(f"{self.dev}: no {what} within {timeout:g} s ({seen} other frames)")

    def expect_none(self, what, match, within=1.0):
        """Fails if a matching frame comes within that time."""
        want = match if callable(match) else lambda f: match in f
        end = time.monotonic() + within
        while (f := self.receive(max(0.0, end - time.monotonic()))) is not None:
            if want(f):
                raise AssertionError(f"{self.dev}: {what} came: {f[:64].hex()}")

    def drain(self):
        while self.receive(0.0) is not None:
            pass

    def close(self):
        self._s.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def _ifindex(dev, ns):
    return links(ns)[dev]["ifindex"]


def mac_bytes(mac):
    return bytes(int(x, 16) for x in mac.split(":"))


def eth(dst, src, payload, ethertype=STREAM_TYPE, vlan=None):
    """An Ethernet frame, padded to 60 bytes; with a VLAN tag if one is given."""
    tag = struct.pack("!HH", 0x8100, vlan) if vlan else b""
    return (mac_bytes(dst) + mac_bytes(src) + tag + struct.pack("!H", ethertype) + payload).ljust(60, b"\0")


def checksum(data):
    """The internet checksum (RFC 1071)."""
    s = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return ~s & 0xFFFF


def udp(src, dst, sport, dport, payload):
    """An IPv4 packet with UDP in it, checksums right."""
    s, d = socket.inet_aton(src), socket.inet_aton(dst)
    n = 8 + len(payload)
    pseudo = s + d + struct.pack("!BBH", 0, 17, n)
    head = struct.pack("!HHHH", sport, dport, n, 0)
    c = checksum(pseudo + head + payload) or 0xFFFF
    body = struct.pack("!HHHH", sport, dport, n, c) + payload
    hdr = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + n, 0, 0, 64, 17, 0, s, d)
    return hdr[:10] + struct.pack("!H", checksum(hdr)) + hdr[12:] + body


def judged(text):
    """The figures that `wire count` or `wire stream` printed, as a dict of integers."""
    return {k: int(v) for k, v in re.findall(r"(\w+)=(-?\d+)", text)}
