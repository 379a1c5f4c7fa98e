#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11
# time limit: 300
"""vnic.ko and its uplink: ntnic (tests/kmod), a NIC with four receive queues and rules that sort by MAC, whose other end is
eth0 in the namespace "out". Frames go through drivers in user space."""
import errno
import os
import re
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import inside  # noqa: E402
import vnicdev  # noqa: E402
from net import Wire  # noqa: E402
from vnicdev import VNIC, add, delete, driver, policy, read, stats, uplink_stats, write  # noqa: E402
from vt import framed, run, test, wait_for  # noqa: E402

bed = {}
MAC = "52:54:00:00:50:%02x"
NIC = "/sys/module/ntnic/parameters"
ETH_P_ALL = 3
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33


def plain(mac):
    return mac.replace(":", "")


def setup():
    if bed:
        return
    run("modprobe", "-a", "vhost_vdpa", "vnic", "ntnic")
    bed["kmsg"] = vnicdev.Kmsg()
    run("ip", "netns", "add", "out")
    run("ip", "link", "set", "nt1", "netns", "out", "name", "eth0")
    for at, dev in (((), "nt0"), (("ip", "netns", "exec", "out"), "eth0")):
        run(*at, "sh", "-c", f"echo 1 >/proc/sys/net/ipv6/conf/{dev}/disable_ipv6; ip link set {dev} up")
    wait_for("the link", lambda: read("/sys/class/net/nt0/carrier") == "1")
    vnicdev.uplink("nt0")


checked = framed(test, setup, lambda: bed["kmsg"].clean())


def frames(d, name):
    """What has come to a device, as hex."""
    got = []
    while frame := d(f"recv {name} 50")["frame"]:
        got.append(frame)
    return got


# ---- what the netdev does ----

@checked("an uplink that is renamed leaves no link of its old name anywhere")
def _renamed():
    def links(name):
        return [p for p in (f"{VNIC}/devices/{name}", f"/sys/class/mdev_bus/{name}") if os.path.lexists(p)]
    run("ip", "link", "add", "t0", "type", "dummy")
    vnicdev.uplink("t0")
    assert len(links("t0")) == 2, links("t0")
    for old, new in (("t0", "t1"), ("t1", "t2")):
        run("ip", "link", "set", old, "name", new)
        assert not links(old) and len(links(new)) == 2, (links(old), links(new))
        assert os.path.isdir(f"/sys/class/mdev_bus/{new}/mdev_supported_types")
    # Its old name is free for another one.
    run("ip", "link", "add", "t0", "type", "dummy")
    vnicdev.uplink("t0")
    assert len(links("t0")) == 2, links("t0")
    for name in ("t0", "t2"):
        vnicdev.no_uplink(name)
        assert not links(name), links(name)
        run("ip", "link", "del", name)


@checked("a frame that the NIC refuses at first is sent once, counted once, and seen once by packet sockets")
def _busy():
    add("b", "vnic/nt0", "mac", MAC % 1)
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    tap.bind(("nt0", ETH_P_ALL))
    tap.setblocking(False)
    with driver() as d:
        d(f"open b {vnicdev.node('b')}")
        d("up b")
        d("packet o out/eth0")
        before = uplink_stats("nt0")
        write(f"{NIC}/busy", "3")
        try:
            d("stream b o n=600 min=60 max=1514")
        finally:
            write(f"{NIC}/busy", "0")
        after = uplink_stats("nt0")
    seen = 0
    while True:
        try:
            data, where = tap.recvfrom(2048)
        except BlockingIOError:
            break
        seen += where[2] == PACKET_OUTGOING and data[12:14] == b"\x88\xb5"
    tap.close()
    assert after["busy"] - before["busy"] > 100, after
    assert after["to_wire"] - before["to_wire"] == 600 and seen == 600, (seen, before, after)
    delete("b")


@checked("where the netdev has gone, what a guest sends is taken and dropped, after a reset too, and not while suspended")
def _gone():
    run("ip", "link", "add", "t0", "type", "dummy")
    run("ip", "link", "set", "t0", "up")
    vnicdev.uplink("t0")
    add("c", "vnic/t0", "mac", MAC % 2)

    def dropped():
        return stats("c")["tx"]["drop_uplink"]
    with driver() as d:
        d(f"open c {vnicdev.node('c')}")
        d("up c num=256")
        run("ip", "link", "del", "t0")
        wait_for("no link", lambda: d("config c")["status"] & 1 == 0)
        for how in ("as it runs", "suspended", "anew"):
            before = dropped()
            if how == "suspended":
                d("suspend c")
            elif how == "anew":
                d("reset c")
                d("up c num=256")
            for _ in range(100):
                d("send c " + "ff" * 6 + plain(MAC % 2) + "88b5" + "00" * 50)
            if how == "suspended":
                time.sleep(0.2)
                assert dropped() == before
                d("resume c")
            wait_for(f"100 frames {how}", lambda n=before: dropped() == n + 100, 5)
        d("reset c")
    wait_for("the uplink's end", lambda: not os.path.exists(f"{VNIC}/devices/t0"), 10)


@checked("no device has the MAC of its uplink or of the uplink's bridge, by no door; nor do they take one of a device's")
def _host_mac():
    own, other = read("/sys/class/net/nt0/address"), MAC % 0xfd
    run("ip", "link", "add", "br0", "address", MAC % 0xfe, "type", "bridge")
    run("ip", "link", "set", "nt0", "master", "br0")
    try:
        for mac in (own, MAC % 0xfe):
            p = run("vdpa", "dev", "add", "name", "h", "mgmtdev", "vnic/nt0", "mac", mac, check=False)
            assert p.returncode != 0 and "in use" in p.stderr, p.stderr
        add("h", "vnic/nt0", "mac", MAC % 0x30)
        for mac in (own, MAC % 0xfe):
            vnicdev.refuses(f"{vnicdev.BUS}/devices/h/vnic/mac", mac, errno.EADDRINUSE)
            assert run("vdpa", "dev", "set", "name", "h", "mac", mac, check=False).returncode != 0
        with driver() as d:
            d(f"open h {vnicdev.node('h')}")
            d("up h ctrl")
            policy("h", allow="mac")
            assert d(f"ctrl h 1 1 {plain(own)}")["ack"] == 1
            assert d(f"ctrl h 1 1 {plain(MAC % 0x31)}")["ack"] == 0
            for dev, now in (("nt0", own), ("br0", MAC % 0xfe)):
                for mac in (MAC % 0x30, MAC % 0x31):
                    p = run("ip", "link", "set", dev, "address", mac, check=False)
                    assert p.returncode != 0 and "vDPA device h has that MAC" in p.stderr, p.stderr
                    assert read(f"/sys/class/net/{dev}/address") == now
            # Another they may have, and the one that nobody has any more.
            run("ip", "link", "set", "nt0", "address", other)
            assert d(f"ctrl h 1 1 {plain(MAC % 0x30)}")["ack"] == 0
            run("ip", "link", "set", "nt0", "address", MAC % 0x31)
            run("ip", "link", "set", "nt0", "address", own)
        delete("h")
    finally:
        run("ip", "link", "del", "br0")


@checked("what is announced for a device reaches the wire and its neighbour, and not itself")
def _announce():
    for i in (0, 1):
        add(f"e{i}", "vnic/nt0", "mac", MAC % (0x10 + i))
    with driver() as d:
        for i in (0, 1):
            d(f"open e{i} {vnicdev.node(f'e{i}')}")
            d(f"up e{i}")
        d("packet o out/eth0")
        for who in ("e0", "e1", "o"):
            d(f"drain {who}")
        run("ip", "-n", "out", "link", "set", "eth0", "down")
        wait_for("no link", lambda: d("config e0")["status"] & 1 == 0)
        run("ip", "-n", "out", "link", "set", "eth0", "up")
        wait_for("link", lambda: d("config e0")["status"] & 1)
        rarp = [f"{'ff' * 6}{plain(MAC % (0x10 + i))}8035" for i in (0, 1)]
        got = {who: [f[:28] for f in frames(d, who)] for who in ("e0", "e1")}
        assert rarp[1] in got["e0"] and rarp[0] in got["e1"], got
        assert rarp[0] not in got["e0"] and rarp[1] not in got["e1"], got
    delete("e0", "e1")


def tcp_segment(dst, src, seq, data, ident, df=True, tags=""):
    def csum(b):
        b += b"\0" * (len(b) & 1)
        s = sum(struct.unpack(f"!{len(b) // 2}H", b))
        while s >> 16:
            s = (s & 0xffff) + (s >> 16)
        return ~s & 0xffff
    a, b = socket.inet_aton("10.50.0.1"), socket.inet_aton("10.50.0.2")
    tcp = struct.pack("!HHIIBBHHH", 1000, 2000, seq, 1, 5 << 4, 0x10, 1000, 0, 0)
    tcp = tcp[:16] + struct.pack("!H", csum(a + b + struct.pack("!BBH", 0, 6, len(tcp) + len(data)) + tcp + data)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + len(data), ident, 0x4000 if df else 0, 64, 6, 0, a, b)
    ip = ip[:10] + struct.pack("!H", csum(ip)) + ip[12:]
    return bytes.fromhex(plain(dst) + plain(src) + tags) + b"\x08\0" + ip + tcp + data


@checked("what GRO has put together stays whole for a guest that takes it, also where all segments had the same IP id")
def _gro():
    wire = Wire("eth0", "out")
    add("f", "vnic/nt0", "mac", MAC % 0x20)
    write("/sys/class/net/nt0/gro_flush_timeout", "100000000")
    try:
        with driver() as d:
            d(f"open f {vnicdev.node('f')}")
            d("up f want=0x83")  # CSUM, GUEST_CSUM, GUEST_TSO4
            for same in (False, True):
                before = stats("f")["rx"]
                for i in range(8):
                    wire.send(tcp_segment(MAC % 0x20, MAC % 0xee, 1 + 1000 * i, bytes([i]) * 1000, 0 if same else 100 + i))
                wait_for("8,000 bytes", lambda b=before: stats("f")["rx"]["bytes"] - b["bytes"] >= 8000, 5)
                time.sleep(0.2)
                n = stats("f")["rx"]["frames"] - before["frames"]
                assert n < 4, f"{n} frames where ids are {'the same' if same else 'ascending'}"
    finally:
        write("/sys/class/net/nt0/gro_flush_timeout", "0")
    delete("f")


@checked("segments of one IP id come one by one with that id: where they may be fragmented, and behind a second tag")
def _ids():
    # GRO puts those together whose id does not matter, as DF says; and those behind tags, where what vnic.ko sees is no IP.
    wire = Wire("eth0", "out")
    dst, src = MAC % 0x21, MAC % 0xee
    add("i", "vnic/nt0", "mac", dst)
    policy("i", vlans="5", allow="vlan")
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    tap.bind(("nt0", ETH_P_ALL))
    tap.settimeout(0.2)

    def put_together():
        seen = 0
        while True:
            try:
                seen += tap.recv(1 << 16)[6:12] == bytes.fromhex(plain(src))
            except TimeoutError:
                return seen
    write("/sys/class/net/nt0/gro_flush_timeout", "100000000")
    try:
        with driver() as d:
            d(f"open i {vnicdev.node('i')}")
            d("up i want=0x83")  # CSUM, GUEST_CSUM, GUEST_TSO4; who has no CTRL_VLAN has all VLANs that it may
            for df, tags, step in ((False, "", 0), (True, "8100000581000007", 0), (True, "8100000581000007", 1)):
                for i in range(8):
                    wire.send(tcp_segment(dst, src, 1 + 1000 * i, bytes([i]) * 1000, 0x1234 + step * i, df, tags))
                n = put_together()
                assert n < 4 if tags else n == 8, f"{n} frames of the NIC's"
                ip = 28 + len(tags)
                if step:
                    got = frames(d, "i")
                    assert len(got) < 4, f"{len(got)} frames where ids are ascending"
                    continue
                got = [(f[24:ip - 4], f[ip + 8:ip + 12], len(f) // 2, f[-2:]) for f in frames(d, "i") if f[12:24] == plain(src)]
                assert got == [(tags, "1234", 1054 + len(tags) // 2, f"{i:02x}") for i in range(8)], got
    finally:
        write("/sys/class/net/nt0/gro_flush_timeout", "0")
        tap.close()
    delete("i")


# ---- what a guest asks for ----

@checked("a guest that cannot choose has all VLANs that it may: of a few the NIC is told, for thousands it is promiscuous")
def _trunk():
    add("t", "vnic/nt0", "mac", MAC % 0x36)

    def promiscuous():
        return bool(int(read("/sys/class/net/nt0/flags"), 16) & 0x100)
    with driver() as d:
        d(f"open t {vnicdev.node('t')}")
        d("packet o out/eth0")
        for vlans, whole in (("5-10", False), ("1-4094", True)):
            policy("t", vlans=vlans, allow="vlan")
            d("up t")
            wait_for("the NIC to be told", lambda w=whole: promiscuous() == w, 3)
            d("drain t")
            for vid in (7, 4094):
                d(f"send o {plain(MAC % 0x36)}{plain(MAC % 0x3f)}8100{vid:04x}88b5{'00' * 50}")
            time.sleep(0.2)
            got = [int(f[28:32], 16) for f in frames(d, "t") if f[24:28] == "8100"]
            assert got == ([7, 4094] if whole else [7]), (vlans, got)
            d("reset t")
        wait_for("the NIC to be as before", lambda: not promiscuous(), 3)
    delete("t")


@checked("a guest that asks without end has the NIC told ten times a second, all its commands done, and the last in force")
def _asks():
    def groups():
        return [w for w in run("ip", "maddr", "show", "dev", "nt0").split() if w.startswith("01:00:5e:7f:")]
    add("g", "vnic/nt0", "mac", MAC % 0x38)
    policy("g", allow="mac multicast")
    with driver() as d:
        d(f"open g {vnicdev.node('g')}")
        d("up g ctrl")
        before, began = uplink_stats("nt0")["told"], time.monotonic()
        for n in range(400):
            assert d(f"ctrl g 1 0 0000000001000000{'01005e7f%04x' % n}")["ack"] == 0
            if not n % 20:
                assert d(f"ctrl g 1 1 {plain(MAC % (0x38 + n // 20 % 2))}")["ack"] == 0
        wait_for("the last group alone", lambda: groups() == ["01:00:5e:7f:01:8f"], 3)
        took = time.monotonic() - began
        told = uplink_stats("nt0")["told"] - before
        print(f"# 420 commands in {took:.2f} s, the NIC told {told} times")
        assert 0 < told <= 10 * took + 2, (told, took)
        # 100 in a tenth of a second, a partial one at either end.
        assert took > 0.2, took
    delete("g")


@checked("a guest may ask for less than it would get: no broadcasts, no multicasts, no unicasts; and for all as it is allowed")
def _extra():
    add("x", "vnic/nt0", "mac", MAC % 0x3a)
    dst = {"unicast": plain(MAC % 0x3a), "multicast": "01005e010203", "broadcast": "ff" * 6, "unknown": "0250ba0bab01"}
    alluni, nomulti, nouni, nobcast = 2, 3, 4, 5
    with driver() as d:
        d(f"open x {vnicdev.node('x')}")
        d("up x ctrl want=0x100000")  # CTRL_RX_EXTRA
        d("packet o out/eth0")

        def heard():
            d("drain x")
            for what in dst.values():
                d(f"send o {what}{plain(MAC % 0x3f)}88b5{'00' * 50}")
            time.sleep(0.1)
            got = {f[:12] for f in frames(d, "x")}
            return {name for name, what in dst.items() if what in got}
        everything = {"unicast", "multicast", "broadcast"}
        assert heard() == everything, heard()
        for cmd, without in ((nomulti, "multicast"), (nouni, "unicast"), (nobcast, "broadcast")):
            assert d(f"ctrl x 0 {cmd} 01")["ack"] == 0
            assert heard() == everything - {without}, (without, heard())
            assert d(f"ctrl x 0 {cmd} 00")["ack"] == 0
        assert heard() == everything, heard()
        assert d(f"ctrl x 0 {alluni} 01")["ack"] == 1
        policy("x", allow="promisc")
        assert d(f"ctrl x 0 {alluni} 01")["ack"] == 0
        assert heard() == everything | {"unknown"}, heard()
        policy("x", allow="")
        assert heard() == everything, heard()
    delete("x")


# ---- queues ----

def rules():
    """The NIC's rules: {MAC: (place, queue, VLAN or None)}."""
    found = {}
    for place, text, queue in re.findall(r"Filter: (\d+)(.*?)Action: Direct to queue (\d+)", run("ethtool", "-n", "nt0"), re.S):
        mac = re.search(r"Dest MAC addr: ([0-9A-Fa-f:]+)", text).group(1).lower()
        vlan = re.search(r"VLAN: 0x([0-9a-fA-F]+)", text)
        found[mac] = (int(place), int(queue), int(vlan.group(1), 16) if vlan else None)
    return found


def queue(name):
    return read(f"{vnicdev.BUS}/devices/{name}/vnic/queue")


def steered(d, name, mac):
    """Frames for a device come by its queue alone; which one."""
    def counts():
        return [int(x) for x in re.findall(r"rx_queue_\d+_packets: (\d+)", run("ethtool", "-S", "nt0"))]
    own = int(wait_for(f"a queue for {name}", lambda: queue(name) if queue(name).isdigit() else None, 3))
    assert rules()[mac][1] == own, (own, rules())
    before = counts()
    d(f"stream o {name} n=100 min=60 max=1514")
    grown = [b - a for a, b in zip(before, counts())]
    assert grown[own] == sum(grown) == 100, (own, grown)
    return own


@checked("each device's frames come by a queue of the NIC of their own, by rules that go with it, and nobody else's rule goes")
def _steered():
    macs = {f"s{i}": MAC % (0x40 + i) for i in range(3)}
    foreign = "02:00:00:00:00:99"
    run("ethtool", "-N", "nt0", "flow-type", "ether", "dst", foreign, "action", "3")
    for name, mac in macs.items():
        add(name, "vnic/nt0", "mac", mac)
    policy("s2", vlan=12)
    policy("s0", allow="mac")
    assert queue("s0") == "any: the device does not run" and set(rules()) == {foreign}
    with driver() as d:
        d("packet o out/eth0")
        for name in macs:
            d(f"open {name} {vnicdev.node(name)}")
            d(f"up {name} ctrl")
        used = {name: steered(d, name, macs[name]) for name in ("s0", "s1")}
        wait_for("the third rule", lambda: macs["s2"] in rules(), 3)
        assert rules()[macs["s2"]][2] == 12 and rules()[macs["s0"]][2] is None, rules()
        used["s2"] = int(queue("s2"))
        assert len(set(used.values())) == 3, used
        # Another MAC, the same queue.
        other = MAC % 0x48
        assert d(f"ctrl s0 1 1 {plain(other)}")["ack"] == 0
        wait_for("the other rule alone", lambda: other in rules() and macs["s0"] not in rules(), 3)
        assert int(queue("s0")) == used["s0"] == rules()[other][1]
        assert d(f"ctrl s0 1 1 {plain(macs['s0'])}")["ack"] == 0
        wait_for("its first rule", lambda: macs["s0"] in rules(), 3)
        d("reset s1")
        wait_for("no rule", lambda: macs["s1"] not in rules(), 3)
        d("up s1 ctrl")
        assert steered(d, "s1", macs["s1"]) == used["s1"]
        # The NIC loses its rules, as some do when they go down.
        write(f"{NIC}/forget", "Y")
        run("ip", "link", "set", "nt0", "down")
        assert not rules()
        run("ip", "link", "set", "nt0", "up")
        write(f"{NIC}/forget", "N")
        wait_for("all of them again", lambda: set(rules()) == set(macs.values()), 3)
        wait_for("the link", lambda: read("/sys/class/net/nt0/carrier") == "1")
        assert {name: int(queue(name)) for name in macs} == used
        run("ethtool", "-K", "nt0", "ntuple", "off")
        wait_for("no steering", lambda: queue("s0").startswith("any: ntuple-filters are off"), 3)
        d("stream o s0 n=100")
        run("ethtool", "-K", "nt0", "ntuple", "on")
        assert {name: steered(d, name, macs[name]) for name in ("s0", "s1")} == {n: used[n] for n in ("s0", "s1")}
        run("ethtool", "-N", "nt0", "flow-type", "ether", "dst", foreign, "action", "3")
    delete("s1")
    assert macs["s1"] not in rules() and foreign in rules(), rules()
    delete("s0", "s2")
    assert set(rules()) == {foreign}, rules()
    run("ethtool", "-N", "nt0", "delete", str(rules()[foreign][0]))


@checked("a NIC that has no room, takes no VLAN or wants to be told a place: the device works, and says how it stands")
def _refused():
    macs = {f"r{i}": MAC % (0x60 + i) for i in range(2)}
    foreign = "02:00:00:00:00:98"
    for name, mac in macs.items():
        add(name, "vnic/nt0", "mac", mac)
    try:
        with driver() as d:
            d("packet o out/eth0")
            for name in macs:
                d(f"open {name} {vnicdev.node(name)}")
            write(f"{NIC}/rules", "1")
            for name in macs:
                d(f"up {name}")
                wait_for("a queue or a reason", lambda n=name: "run" not in queue(n), 3)
            assert queue("r0").isdigit() and queue("r1") == "any: the NIC has no room for another rule", queue("r1")
            for name in macs:
                d(f"stream o {name} n=100")
                d(f"stream {name} o n=100")
            d("reset r0")
            steered(d, "r1", macs["r1"])
            d("reset r1")
            wait_for("no rule", lambda: not rules(), 3)
            # Who is told its place: the last free one, others' stay.
            write(f"{NIC}/rules", "8")
            write(f"{NIC}/special", "N")
            run("ethtool", "-N", "nt0", "flow-type", "ether", "dst", foreign, "action", "3", "loc", "7")
            policy("r0", vlan=12)
            write(f"{NIC}/vlans", "N")
            for name in macs:
                d(f"up {name}")
            wait_for("both rules", lambda: len(rules()) == 3, 3)
            places = {mac: rules()[mac][0] for mac in rules()}
            assert sorted(places.values()) == [5, 6, 7] and places[foreign] == 7, places
            assert rules()[macs["r0"]][2] is None, rules()
            steered(d, "r1", macs["r1"])
            # An administrator takes ours and puts one of his own there.
            run("ethtool", "-N", "nt0", "delete", str(places[macs["r1"]]))
            run("ethtool", "-N", "nt0", "flow-type", "ether", "dst", "02:00:00:00:00:97", "action", "0", "loc",
                str(places[macs["r1"]]))
        delete(*macs)
        assert set(rules()) == {foreign, "02:00:00:00:00:97"}, rules()
        for place, _, _ in rules().values():
            run("ethtool", "-N", "nt0", "delete", str(place))
        # With several queue pairs the NIC spreads their frames.
        add("m", "vnic/nt0", "mac", MAC % 0x66, "max_vqp", "2")
        with driver() as d:
            d(f"open m {vnicdev.node('m')}")
            d("up m pairs=2")
            d("packet o out/eth0")
            wait_for("its reason", lambda: queue("m").startswith("any: several queue pairs"), 3)
            assert not rules()
            d("stream o m n=100")
        delete("m")
    finally:
        for place, _, _ in rules().values():
            run("ethtool", "-N", "nt0", "delete", str(place))
        for key, value in (("rules", "8"), ("special", "Y"), ("vlans", "Y")):
            write(f"{NIC}/{key}", value)


@checked("all is given back, and the modules unload")
def _end():
    # A device that is there still: its rule goes with the uplink.
    add("z", "vnic/nt0", "mac", MAC % 0x70)
    with driver() as d:
        d(f"open z {vnicdev.node('z')}")
        d("up z")
        wait_for("its rule", rules, 3)
        run("ip", "link", "set", "nt0", "netns", "out")
        wait_for("no link", lambda: d("config z")["status"] & 1 == 0)
        left = run("ip", "netns", "exec", "out", "ethtool", "-n", "nt0")
        assert "Filter:" not in left, left
    wait_for("the uplink's end", lambda: not os.path.exists(f"{VNIC}/devices/nt0"), 10)
    run("modprobe", "-r", "vnic")
    run("modprobe", "-r", "ntnic")


inside.main(__file__, limit=280)
