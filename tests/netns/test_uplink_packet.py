#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vnicd-datapath with a netdev as its uplink (packet=NETDEV): what the other end of a veth pair sees, what
the host does not, and what becomes of it while the netdev goes, comes and changes its name."""
import json
import os
import socket
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from control_client import Control, Managed, Refused, listener, port  # noqa: E402
from datapath import Datapath  # noqa: E402
from guest import die_with_me  # noqa: E402
from manager import Manager  # noqa: E402
from net import Wire, checksum, eth, ip, links, mac_bytes, quiet, udp  # noqa: E402
from numbered import A, OUT, deaths  # noqa: E402
from vhost_client import F_MRG_RXBUF, F_VERSION_1, HDR, RING, Client, frame  # noqa: E402
from vt import TOP, main, run, test, wait_for  # noqa: E402

KEY = f"11111111-2222-3333-4444-555555555555/{A}"
B = "52:54:00:00:00:0b"
F_CSUM, F_HOST_TSO4 = 1 << 0, 1 << 11


class Pair:
    """A veth pair: `dev` is the uplink, `far` the outside."""

    def __init__(self, dev="up0", far="far0"):
        self.dev, self.far = dev, far
        ip("link", "add", dev, "type", "veth", "peer", "name", far)
        for d in (dev, far):
            quiet(d)
            ip("link", "set", d, "arp", "off", "up")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for d in (self.dev, self.far):
            if d in links():
                ip("link", "del", d)


def uplink_state(dp):
    with open(dp.stats_file, encoding="utf-8") as f:
        return json.load(f)["segments"][0].get("uplink_state")


def both_ways(guest, wire, n):
    out, back = frame(OUT, A, b"out %06d" % n), frame(A, OUT, b"in  %06d" % n)
    guest.transmit(out)
    wire.expect("the guest's frame", lambda f: f == out)
    wire.send(back)
    guest.wait_frame(back)


def tcp(src, dst, sport, dport, payload, partial):
    """An IPv4 packet with a TCP segment; partial: only the pseudo-header is summed, as for a device that does the rest."""
    s, d = socket.inet_aton(src), socket.inet_aton(dst)
    n = 20 + len(payload)
    pseudo = s + d + struct.pack("!BBH", 0, 6, n & 0xFFFF)
    head = struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 0x50, 0x10, 1000, 0, 0)
    c = (~checksum(pseudo) if partial else checksum(pseudo + head + payload)) & 0xFFFF
    hdr = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + n, 0, 0, 64, 6, 0, s, d)
    return hdr[:10] + struct.pack("!H", checksum(hdr)) + hdr[12:] + head[:16] + struct.pack("!H", c) + head[18:] + payload


def right_sum(f):
    """Is the TCP checksum of an untagged IPv4 frame right?"""
    size = struct.unpack_from("!H", f, 16)[0]
    seg = f[34:14 + size]
    return checksum(f[26:34] + struct.pack("!BBH", 0, 6, len(seg)) + seg) == 0


@test("packet uplink: frames both ways, with the VLAN's tag; what the host sends there is none of it")
def plain():
    with Pair() as pair, Datapath([{"name": "a", "mac": A}, {"name": "b", "mac": B, "vlan": 7}],
                                  uplink="packet=" + pair.dev) as dp:
        with Client(dp.socket("a")) as a, Client(dp.socket("b")) as b, Wire(pair.far) as w, Wire(pair.dev) as host:
            a.run()
            b.run()
            wait_for("the state of the uplink", lambda: uplink_state(dp) == "up")
            for n in range(200):
                both_ways(a, w, n)
            # The tag of a VLAN's port is put on and taken off.
            b.transmit(frame(OUT, B, b"tagged"))
            w.expect("a tagged frame", eth(OUT, B, b"tagged", vlan=7)[:30])
            w.send(eth(B, OUT, b"for the VLAN".ljust(50), vlan=7))
            b.wait_frame(eth(B, OUT, b"for the VLAN".ljust(50)))
            w.send(eth("ff:ff:ff:ff:ff:ff", OUT, b"to all of it".ljust(50), vlan=7))
            b.wait_frame(eth("ff:ff:ff:ff:ff:ff", OUT, b"to all of it".ljust(50)))
            # What this host sends on the netdev is its own affair, and what the guest sent came back to nobody.
            while a.received():
                pass
            host.send(frame(A, OUT, b"from the host's stack"))
            both_ways(a, w, 999)
            assert a.received() is None, "a frame that the host sent came in"


@test("packet uplink: sums and segmentation that are left to the device are done for whoever needs them")
def offloads():
    want = F_VERSION_1 | F_MRG_RXBUF | F_CSUM | F_HOST_TSO4
    with Pair() as pair, Datapath([{"name": "a", "mac": A}], uplink="packet=" + pair.dev) as dp:
        with Client(dp.socket("a")) as a, Wire(pair.far) as w:
            a.negotiate(want).memory().start()

            def send(body, gso_size=0):
                f = mac_bytes(OUT) + mac_bytes(A) + b"\x08\x00" + body
                d, av, _ = a.parts(1)
                at = a._u16(av + 2)
                buf = a.buf(1, at % RING)
                a.mem[buf:buf + HDR + len(f)] = struct.pack("<BBHHHHH", 1, 1 if gso_size else 0, 54, gso_size,
                                                            34, 16, 0) + f
                struct.pack_into("<QIHH", a.mem, d + 16 * (at % RING), buf, HDR + len(f), 0, 0)
                a._u16(av + 4 + 2 * (at % RING), at % RING)
                a._u16(av + 2, at + 1)
                os.eventfd_write(a.kick[1], 1)

            # A far end that has no offloads: the kernel finishes both before it.
            for k in ("tx", "rx"):
                os.system(f"ethtool -K {pair.dev} {k} off tso off gso off >/dev/null 2>&1")
            send(tcp("10.0.0.1", "10.0.0.2", 1, 2, b"left to the device", True))
            f = w.expect("the segment", b"left to the device")
            assert right_sum(f), f"its sum is not finished: {f.hex()}"
            data = bytes(i % 251 for i in range(1500))
            send(tcp("10.0.0.1", "10.0.0.2", 3, 4, data, True), 500)
            got = b""
            for _ in range(3):
                f = w.expect("a segment", lambda f: f[12:14] == b"\x08\x00" and f[34:38] == struct.pack("!HH", 3, 4))
                assert right_sum(f) and len(f) == 54 + 500, f"a segment of {len(f)} bytes, {f.hex()}"
                got += f[54:]
            assert got == data, "the segments do not make what was sent"


@test("packet uplink: TCP of the host comes to a guest without offloads in whole segments, with right sums")
def from_host():
    with Pair() as pair, Datapath([{"name": "a", "mac": A}], uplink="packet=" + pair.dev) as dp:
        with Client(dp.socket("a")) as a:
            a.negotiate(F_VERSION_1 | F_MRG_RXBUF).memory().start()
            ip("addr", "add", "10.9.0.1/24", "dev", pair.far)
            ip("neigh", "add", "10.9.0.2", "lladdr", A, "dev", pair.far, "nud", "permanent")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.bind(("10.9.0.1", 700))
                s.sendto(b"summed by nobody yet", ("10.9.0.2", 800))
            seen = []
            wait_for("the datagram", lambda: [seen.append(f) for f in iter(a.received, None)] is not None and
                     any(b"summed by nobody yet" in f for f in seen))
            f = next(f for f in seen if b"summed by nobody yet" in f)
            want = udp("10.9.0.1", "10.9.0.2", 700, 800, b"summed by nobody yet")
            assert f[34:34 + 8 + 20] == want[20:], f"its sum is not finished: {f.hex()}"


@test("packet uplink: the netdev set down, renamed, removed and made again: the port goes on, and it is said")
def comes_and_goes():
    with Pair() as pair, Datapath([{"name": "a", "mac": A}, {"name": "b", "mac": B}], uplink="packet=up0") as dp:
        with Client(dp.socket("a")) as a, Client(dp.socket("b")) as b:
            a.run()
            b.run()
            workers = dp.workers()
            with Wire("far0") as w:
                both_ways(a, w, 1)
                ip("link", "set", "up0", "down")
                wait_for("it to be said", lambda: uplink_state(dp) == "down")
                a.transmit(frame(OUT, A, b"to nowhere"))
                a.transmit(frame(B, A, b"to a neighbour"))
                b.wait_frame(frame(B, A, b"to a neighbour"))
                ip("link", "set", "up0", "name", "other0")
                ip("link", "set", "other0", "up")
                wait_for("it to be up", lambda: uplink_state(dp) == "up")
                both_ways(a, w, 2)
            ip("link", "del", "other0")
            wait_for("it to be said", lambda: uplink_state(dp) == "gone")
            a.transmit(frame(OUT, A, b"to nowhere"))
            a.transmit(frame(B, A, b"to a neighbour again"))
            b.wait_frame(frame(B, A, b"to a neighbour again"))
            Pair()
            wait_for("it to be back", lambda: uplink_state(dp) == "up")
            with Wire("far0") as w:
                both_ways(a, w, 3)
            assert dp.workers() == workers, "the worker was replaced"
        ip("link", "del", "up0")


@test("packet uplink: guests behind it ping a host outside and each other, and are pinged")
def pings():
    ip("netns", "add", "out")
    with Pair() as pair, Datapath([{"name": "a", "mac": A}, {"name": "b", "mac": B}],
                                  uplink="packet=" + pair.dev) as dp:
        ip("link", "set", pair.far, "netns", "out", "arp", "on")
        ip("addr", "add", "10.9.0.200/24", "dev", pair.far, ns="out")
        ip("link", "set", pair.far, "up", ns="out")
        with subprocess.Popen([sys.executable, "-B", f"{TOP}/tests/lib/echo_guests.py",
                               f"{dp.socket('a')},{A},10.9.0.1", f"{dp.socket('b')},{B},10.9.0.2",
                               "--ping", "10.9.0.1", "10.9.0.200", "--ping", "10.9.0.2", "10.9.0.1"],
                              stdout=subprocess.PIPE, text=True, preexec_fn=die_with_me) as guests:
            try:
                said = [guests.stdout.readline().strip() for _ in range(3)]
                assert said == ["10.9.0.1 10.9.0.200 ok", "10.9.0.2 10.9.0.1 ok", "serving"], said
                run("ip", "netns", "exec", "out", "ping", "-i", "0.1", "-c", "3", "-W", "2", "10.9.0.1")
            finally:
                guests.kill()
    ip("netns", "del", "out")


@test("packet uplink: a worker's death under traffic doubles none and loses a burst at most")
def killed():
    with Pair() as pair, Datapath([{"name": "a", "mac": A}], uplink="packet=" + pair.dev) as dp:
        with Client(dp.socket("a")) as a, Wire(pair.far) as w:
            a.run()
            deaths(dp, a, w)


def bound(dev, vnet=True, aux=True):
    """A packet socket as base/packet.c makes it."""
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    s.setsockopt(263, 15, int(vnet))  # PACKET_VNET_HDR
    s.setsockopt(263, 8, int(aux))  # PACKET_AUXDATA
    s.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
    if dev:
        s.bind((dev, 3))
    return s


@test("packet uplink: outlives the keeper in the descriptor store; another socket of the same netdev changes nothing")
def restarted():
    fields = {"name": "q0", "tap": "up0", "mtu": 1500, "cores": []}
    os.makedirs("/run/vnicd", exist_ok=True)
    manager = Manager()
    try:
        manager.start()
        with Pair() as pair:
            with Control() as c, bound(pair.dev) as s:
                c.hello()
                c.ask("segment-set", [s.fileno()], **fields)
                with listener("/run/a") as a:
                    c.ask("port-set", [a.fileno()], **{**port(KEY), "segment": "q0"})
            with Client("/run/a") as a, Wire(pair.far) as w:
                a.run()
                both_ways(a, w, 1)
                for n in range(3):
                    manager.crash()
                    both_ways(a, w, 2 + n)
                with Control() as c:
                    told = c.hello()[0]["segments"]
                    assert told[0]["uplink"] == "packet" and told[0]["has_tap"], told
                    # As vnicd does when it comes back: no frame twice, none lost.
                    for n in range(20):
                        frames = [frame(A, OUT, b"in %d %d" % (n, k)) for k in range(30)]
                        for f in frames[:15]:
                            w.send(f)
                        with bound(pair.dev) as s:
                            c.ask("segment-set", [s.fileno()], **fields)
                        for f in frames[15:]:
                            w.send(f)
                        got = []
                        wait_for("them all", lambda: [got.append(f) for f in iter(a.received, None)] is not None and
                                 len(got) >= 30, 5, 0.002)
                        assert got == frames, f"{len(got)} came of 30"
            ip("link", "del", pair.dev)
            with Control() as c:
                told = c.hello()[0]["segments"]
                assert not told[0]["has_tap"], f"a netdev that was deleted counts as one: {told}"
    finally:
        manager.end()


@test("packet uplink: passed over the control socket; what is none is refused")
def managed():
    with Pair() as pair, Managed() as dp, Control() as c:
        c.hello()
        fields = {"name": "q0", "tap": "up0", "mtu": 1500, "cores": []}

        for bad in (bound(pair.dev, vnet=False), bound(pair.dev, aux=False), bound(None), listener("/run/x")):
            with bad:
                try:
                    c.ask("segment-set", [bad.fileno()], **fields)
                    raise AssertionError("it was taken")
                except Refused as e:
                    assert e.code == "InvalidArgument" and "packet socket" in e.message, e
        with bound(pair.dev) as s:
            c.ask("segment-set", [s.fileno()], **fields)
        s = listener("/run/a")
        c.ask("port-set", [s.fileno()], **{**port(KEY), "segment": "q0"})
        s.close()
        with Client("/run/a") as a, Wire(pair.far) as w:
            a.run()
            both_ways(a, w, 1)
        c.close()
        with Control() as again:
            hello = again.hello()
            assert hello[0]["segments"][0]["uplink"] == "packet" and hello[0]["segments"][0]["has_tap"], hello
            assert len(dp.workers()) == 1


if __name__ == "__main__":
    main()
