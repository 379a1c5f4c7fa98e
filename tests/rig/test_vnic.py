#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11
# time limit: 900
"""vnic.ko in a host: its uplinks and devices, who reaches whom, offloads, queues, policy, what happens to uplinks and
under traffic, SUSPEND. Frames go through virtio_vdpa netdevs in namespaces and through a driver in user space."""
import errno
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import inside  # noqa: E402
import vnicdev  # noqa: E402
from devices import IGB  # noqa: E402
from net import enter_ns  # noqa: E402
from vnicdev import BUS, VNIC, add, delete, driver, policy, read, refuses, stats, write  # noqa: E402
from vt import SLOW, run, test, wait_for  # noqa: E402

bed = {}
MAC = "52:54:00:00:30:%02x"


def ns(name, *argv, **kw):
    """Run a command in a namespace, or with None in the host."""
    return run(*(("ip", "netns", "exec", name) if name else ()), *argv, **kw)


def ping(name, address, count=2, size=56):
    ns(name, "ping", "-q", "-i", "0.2", "-c", str(count), "-s", str(size), "-W", "2", address, timeout=30)


def reaches(name, address):
    return ns(name, "ping", "-q", "-c", "1", "-W", "1", address, check=False).returncode == 0


def station(name, dev, address, vlan=None):
    """A namespace with `dev` as its eth0, with an address."""
    if not os.path.exists(f"/run/netns/{name}"):
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
    run("ip", "link", "set", dev, "down")
    run("ip", "link", "set", dev, "netns", name, "name", "eth0")
    ns(name, "sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6")
    run("ip", "-n", name, "link", "set", "eth0", "up")
    run("ip", "-n", name, "addr", "add", address, "dev", "eth0")
    if vlan:
        run("ip", "-n", name, "link", "add", "v12", "link", "eth0", "type", "vlan", "id", "12")
        run("ip", "-n", name, "link", "set", "v12", "up")
        run("ip", "-n", name, "addr", "add", vlan, "dev", "v12")


def setup():
    """br0 with u0, which "out" is behind, and with a software port, "soft"; devices g1 and g2 on u0."""
    if bed:
        return
    run("modprobe", "-a", "vhost_vdpa", "virtio_vdpa", "vnic")
    bed["kmsg"] = vnicdev.Kmsg()
    vnicdev.veth("u0")
    run("ip", "-n", "out", "addr", "add", "10.20.0.200/24", "dev", "eth0")
    run("ip", "-n", "out", "link", "add", "v12", "link", "eth0", "type", "vlan", "id", "12")
    run("ip", "-n", "out", "link", "set", "v12", "up")
    run("ip", "-n", "out", "addr", "add", "10.12.0.200/24", "dev", "v12")
    run("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
    run("ip", "link", "set", "br0", "address", MAC % 0xfe, "up")
    run("ip", "link", "set", "u0", "master", "br0")
    run("ip", "addr", "add", "10.20.0.254/24", "dev", "br0")
    run("ip", "link", "add", "br12", "link", "br0", "type", "vlan", "id", "12")
    run("ip", "link", "set", "br12", "up")
    run("ip", "addr", "add", "10.12.0.254/24", "dev", "br12")
    run("ip", "link", "add", "s0", "type", "veth", "peer", "name", "s1")
    run("ip", "link", "set", "s0", "master", "br0", "up")
    station("soft", "s1", "10.20.0.50/24", "10.12.0.50/24")
    vnicdev.uplink("u0")
    for i in (1, 2):
        dev = add(f"g{i}", "vnic/u0", "mac", MAC % i, "max_vqp", "2", driver="virtio_vdpa")
        station(f"g{i}", dev, f"10.20.0.{i}/24")


WHO = {"g1": "10.20.0.1", "g2": "10.20.0.2", "soft": "10.20.0.50", None: "10.20.0.254", "out": "10.20.0.200"}


def checked(name):
    """A test after which the kernel has said nothing that troubles."""
    def register(fn):
        def wrapped():
            setup()
            try:
                fn()
            finally:
                bed["kmsg"].clean()
        return test(name)(wrapped)
    return register


# ---- doors ----

@checked("an uplink is taken once, is a management device of its own, and is given back")
def _uplinks():
    mgmt = json.loads(run("vdpa", "-j", "mgmtdev", "show"))["mgmtdev"]
    assert "vnic/u0" in mgmt and "net" in mgmt["vnic/u0"]["supported_classes"], mgmt
    have = mgmt["vnic/u0"]["dev_features"]
    missing = {"CSUM", "MRG_RXBUF", "CTRL_VQ", "MQ", "RING_PACKED", "EVENT_IDX", "MAC", "MTU"} - set(have)
    missing = {m for m in missing if not any(m in f for f in have)}
    assert not missing, f"{missing} of {have}"
    refuses(f"{VNIC}/new_uplink", "u0", errno.EEXIST)
    refuses(f"{VNIC}/new_uplink", "nothing", errno.ENODEV)
    refuses(f"{VNIC}/new_uplink", "lo")
    refuses(f"{VNIC}/new_uplink", "x" * 100)
    refuses(f"{VNIC}/del_uplink", "nothing")
    refuses(f"{VNIC}/del_uplink", "u0", errno.EBUSY)  # g1 and g2 are used
    run("ip", "link", "add", "t0", "type", "veth", "peer", "name", "t1")
    for _ in range(20):
        vnicdev.uplink("t0")
        run("vdpa", "dev", "add", "name", "t", "mgmtdev", "vnic/t0")
        vnicdev.no_uplink("t0")
        assert "t" not in vnicdev.devices()
    run("ip", "link", "del", "t0")


@checked("a device gets the MAC, MTU, queue pairs and features that it is made with, and says so")
def _attributes():
    run("vdpa", "dev", "add", "name", "a1", "mgmtdev", "vnic/u0", "mac", MAC % 0x41, "mtu", "1400", "max_vqp", "3")
    config = json.loads(run("vdpa", "-j", "dev", "config", "show", "a1"))["config"]["a1"]
    assert config["mac"] == MAC % 0x41 and config["mtu"] == 1400 and config["max_vq_pairs"] == 3, config
    show = json.loads(run("vdpa", "-j", "dev", "show", "a1"))["dev"]["a1"]
    assert show["mgmtdev"] == "vnic/u0" and show["max_vqs"] == 7, show
    run("vdpa", "dev", "add", "name", "a2", "mgmtdev", "vnic/u0")
    mac = json.loads(run("vdpa", "-j", "dev", "config", "show", "a2"))["config"]["a2"]["mac"]
    assert int(mac[:2], 16) & 3 == 2, mac
    for bad in (["name", "a1"], ["name", "a3", "max_vqp", "9"], ["name", "a3", "mac", "01:00:5e:00:00:01"],
                ["name", "a3", "mtu", "20"]):
        p = run("vdpa", "dev", "add", *bad, "mgmtdev", "vnic/u0", check=False)
        assert p.returncode != 0, f"{bad} is taken"
    for key, bad in (("vlan", "4095"), ("vlan", "x"), ("weight", "0"), ("weight", "1001"), ("vlans", "5000"), ("allow", "all"),
                     ("mac", "01:00:5e:00:00:01"), ("rate", "-1"), ("link", "2")):
        refuses(f"{BUS}/devices/a1/vnic/{key}", bad)
    policy("a1", vlan=12, vlans="13-15", allow="mac vlan", rate=1000000, weight=300)
    d = f"{BUS}/devices/a1/vnic"
    assert (read(f"{d}/vlan"), read(f"{d}/vlans"), read(f"{d}/allow"), read(f"{d}/weight")) == ("12", "13-15", "mac vlan", "300")
    run("vdpa", "dev", "vstats", "show", "g1", "qidx", "0")
    assert run("vdpa", "dev", "vstats", "show", "g1", "qidx", "77", check=False).returncode != 0
    delete("a1", "a2")


@checked("the mdev door makes the same device, and takes it back; so does vdpa's")
def _mdev():
    t = f"{VNIC}/devices/u0/mdev_supported_types/vnic-net"
    assert read(f"{t}/device_api") == "vdpa", read(f"{t}/device_api")
    free = int(read(f"{t}/available_instances"))
    a, b = str(uuid.uuid4()), str(uuid.uuid4())
    for u in (a, b):
        write(f"{t}/create", u)
    assert int(read(f"{t}/available_instances")) == free - 2
    assert {a, b} <= set(vnicdev.devices()), vnicdev.devices()
    refuses(f"{t}/create", a)
    refuses(f"{t}/create", "no uuid")
    node = vnicdev.bind(a, "vhost_vdpa")
    with driver() as d:
        d(f"open a {node}")
        d("up a")
        d("packet o out/eth0")
        d("stream a o n=200")
    delete(b)  # by the other door
    for u in (a, b):
        write(f"/sys/bus/mdev/devices/{u}/remove", "1")
    assert not {a, b} & set(vnicdev.devices())
    assert int(read(f"{t}/available_instances")) == free


@checked("a module that is in use does not unload")
def _unload():
    p = run("modprobe", "-r", "vnic", check=False)
    assert p.returncode != 0 and os.path.isdir("/sys/module/vnic"), p.stderr


# ---- who reaches whom ----

def matrix(who):
    for a in who:
        for b, address in who.items():
            if a != b:
                ping(a, address)


@checked("devices, a software port behind the bridge, the host and the outside reach each other")
def _matrix():
    matrix(WHO)


@checked("they do so in a VLAN: devices whose frames are tagged for them, and one that tags itself")
def _vlan():
    for i in (3, 4):
        node = add(f"v{i}", "vnic/u0", "mac", MAC % i, driver=None)
        assert not node
        policy(f"v{i}", vlan=12)
        station(f"v{i}", vnicdev.bind(f"v{i}", "virtio_vdpa"), f"10.12.0.{i}/24")
    add("v5", "vnic/u0", "mac", MAC % 5, driver=None)
    policy("v5", allow="vlan", vlans="12")
    station("v5", vnicdev.bind("v5", "virtio_vdpa"), "10.20.0.5/24", "10.12.0.5/24")
    matrix({"v3": "10.12.0.3", "v4": "10.12.0.4", "v5": "10.12.0.5", "soft": "10.12.0.50", None: "10.12.0.254",
            "out": "10.12.0.200"})
    matrix({"v5": "10.20.0.5", "g1": "10.20.0.1", "out": "10.20.0.200"})
    # One in a VLAN hears nothing of others, and a tag that is not allowed goes nowhere.
    ns("v3", "ip", "addr", "add", "10.20.0.3/24", "dev", "eth0")
    assert not reaches("v3", "10.20.0.1") and not reaches("g1", "10.20.0.3")
    ns("g1", "ip", "link", "add", "v12", "link", "eth0", "type", "vlan", "id", "12")
    ns("g1", "ip", "link", "set", "v12", "up")
    ns("g1", "ip", "addr", "add", "10.12.0.1/24", "dev", "v12")
    assert not reaches("g1", "10.12.0.200") and not reaches("out", "10.12.0.1")
    ns("g1", "ip", "link", "del", "v12")
    for n in ("v3", "v4", "v5"):
        delete(n)
        run("ip", "netns", "del", n)


@checked("large frames pass whole: 1,500 bytes, and 9,000 where the uplink has that MTU")
def _mtu():
    ping("g1", "10.20.0.200", size=1472)
    run("ip", "link", "set", "u0", "mtu", "9000")
    run("ip", "-n", "out", "link", "set", "eth0", "mtu", "9000")
    add("j", "vnic/u0", "mac", MAC % 6, "mtu", "9000", driver=None)
    station("j", vnicdev.bind("j", "virtio_vdpa"), "10.20.0.6/24")
    ns("j", "ip", "link", "set", "eth0", "mtu", "9000")
    ping("j", "10.20.0.200", size=8900)
    ping("out", "10.20.0.6", size=8900)
    delete("j")
    run("ip", "netns", "del", "j")
    for where in (("ip",), ("ip", "-n", "out")):
        run(*where, "link", "set", "u0" if where == ("ip",) else "eth0", "mtu", "1500")


# ---- TCP ----

def transfer(src, dst, address, size=3 << 20, port=[6000]):
    """A file by TCP from namespace to namespace; the receiver's hash must be the sender's."""
    port[0] += 1
    data = os.urandom(size)
    out, ready = {}, threading.Event()

    def serve():
        try:
            if dst:
                enter_ns(dst)
            with socket.create_server((address, port[0])) as s:
                s.settimeout(30)
                ready.set()
                c, _ = s.accept()
                h = hashlib.sha256()
                with c:
                    c.settimeout(30)
                    while more := c.recv(1 << 17):
                        h.update(more)
                out["hash"] = h.hexdigest()
        except Exception as e:  # noqa: said below
            out["error"] = e
            ready.set()

    def send():
        try:
            if src:
                enter_ns(src)
            ready.wait(10)
            with socket.create_connection((address, port[0]), timeout=30) as c:
                c.sendall(data)
        except Exception as e:  # noqa: said below
            out["error"] = e

    threads = [threading.Thread(target=t, daemon=True) for t in (serve, send)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert out.get("hash") == hashlib.sha256(data).hexdigest(), f"{src} to {dst}: {out}"


def offload(where, dev, on):
    word = "on" if on else "off"
    ns(where, "ethtool", "-K", dev, "tx", word, "tso", word, "gso", word, check=False)


@checked("TCP arrives whole with checksums and segments left to others, and with all done in the guest, or in the host")
def _tcp():
    for guest in (True, False):
        for uplink in (True, False):
            offload("g1", "eth0", guest)
            offload(None, "u0", uplink)
            offload("out", "eth0", uplink)
            for src, dst, address in (("g1", "out", WHO["out"]), ("out", "g1", WHO["g1"]), ("g1", "g2", WHO["g2"]),
                                      ("g1", None, WHO[None]), ("soft", "g1", WHO["g1"])):
                before = stats("g1")
                transfer(src, dst, address)
                after = stats("g1")
                side = "tx" if src == "g1" else "rx"
                frames = after[side]["frames"] - before[side]["frames"]
                if guest and uplink:
                    assert (3 << 20) / frames > 1600, f"{src} to {dst}: {frames} frames: not segmented by others"
    for where, dev in (("g1", "eth0"), (None, "u0"), ("out", "eth0")):
        offload(where, dev, True)


@checked("a guest that takes no large frames gets none, and everything all the same")
def _no_guest_offloads():
    ns("g2", "ethtool", "-K", "eth0", "gro-hw", "off", "lro", "off", check=False)
    add("n", "vnic/u0", "mac", MAC % 7, driver=None)
    node = vnicdev.bind("n", "vhost_vdpa")
    with driver() as d:
        d(f"open n {node}")
        d("up n")
        d("packet o out/eth0")
        # Frames as long as the wire's; nothing longer may come though the sender segments late.
        for layout in ("min=60 max=1514",):
            d(f"stream o n n=500 {layout}")
            d(f"stream n o n=500 {layout}")
    delete("n")
    transfer("out", "g2", WHO["g2"])


# ---- queues ----

@checked("with several queue pairs frames go over each of them, whole and in order within a flow")
def _queues():
    add("q", "vnic/u0", "mac", MAC % 8, "max_vqp", "4", driver=None)
    station("q", vnicdev.bind("q", "virtio_vdpa"), "10.20.0.8/24")
    ns("q", "ethtool", "-L", "eth0", "combined", "4")
    assert read(f"{BUS}/devices/q/vnic/pairs") == "4"
    for n in range(8):
        transfer("out", "q", "10.20.0.8", 1 << 18)
        transfer("q", "out", WHO["out"], 1 << 18)
    used = {s: 0 for s in ("rx", "tx")}
    for i in range(8):
        text = run("vdpa", "-j", "dev", "vstats", "show", "q", "qidx", str(i))
        frames = json.loads(text)["vstats"]["q"]
        frames = {k.replace("vendor_attr_", ""): v for k, v in frames.items()}
        value = next((v for k, v in frames.items() if k.strip() == "frames"), None)
        if value is None:
            value = next(frames[f"value_{k.split('_')[-1]}"] for k, v in frames.items() if v == "frames")
        used["tx" if i & 1 else "rx"] += int(value) > 0
    assert used["rx"] >= 2, used
    ns("q", "ethtool", "-L", "eth0", "combined", "1")
    assert read(f"{BUS}/devices/q/vnic/pairs") == "1"
    ping("q", WHO["out"])
    delete("q")
    run("ip", "netns", "del", "q")
    add("q", "vnic/u0", "mac", MAC % 8, "max_vqp", "8")
    with driver() as d:
        d(f"open q {vnicdev.node('q')}")
        d("packet o out/eth0")
        for how in ("", "packed event_idx", "layout=odd event_idx", "packed layout=indirect"):
            d(f"up q pairs=8 num=64 {how}")
            d("stream q o n=2000 min=60 max=1514 window=100")
            d("stream o q n=2000 min=60 max=1514 window=40")
            d("reset q")
    delete("q")


# ---- what a guest may ----

@checked("a guest's change of MAC is denied and told of, or carried out where the host allows it")
def _mac():
    d = f"{BUS}/devices/g1/vnic"
    before = int(read(f"{d}/denied"))
    asked = "52:54:00:00:31:01"
    p = ns("g1", "ip", "link", "set", "eth0", "address", asked, check=False)
    assert p.returncode != 0 and int(read(f"{d}/denied")) > before and read(f"{d}/mac_asked") == asked, p.stderr
    ping("g1", WHO["out"])
    policy("g1", allow="mac")
    ns("g1", "ip", "link", "set", "eth0", "address", asked)
    assert read(f"{d}/mac") == asked
    for n in ("out", "g2", "soft", None):
        ns(n, "ip", "neigh", "flush", "all")
    matrix(WHO)
    # Never a neighbour's, the host's, a group's.
    for other in (MAC % 2, read("/sys/class/net/u0/address"), MAC % 0xfe, "01:00:5e:00:00:01"):
        assert ns("g1", "ip", "link", "set", "eth0", "address", other, check=False).returncode != 0, other
    ns("g1", "ip", "link", "set", "eth0", "address", MAC % 1)
    policy("g1", allow="")
    for n in ("out", "g2", "soft", None):
        ns(n, "ip", "neigh", "flush", "all")
    ping("out", WHO["g1"])


@checked("a guest sends from its own MAC alone, hears others' frames not, and groups as it may")
def _isolation():
    for i in (0, 1):
        add(f"i{i}", "vnic/u0", "mac", MAC % (0x50 + i))
    with driver() as d:
        for i in (0, 1):
            d(f"open i{i} {vnicdev.node(f'i{i}')}")
            d(f"up i{i} ctrl")
        d("packet o out/eth0")
        d("drain i0"), d("drain i1"), d("drain o")
        foreign = "525400babdad"[:12]
        frame = f"{'ff' * 6}{foreign}88b5" + "00" * 50
        d(f"send i0 {frame}")
        time.sleep(0.1)
        got = [d("recv o 50")["frame"], d("recv i1 50")["frame"]]
        assert not any(foreign in g for g in got), got
        assert stats("i0")["tx"]["drop_spoof"] >= 1
        policy("i0", allow="spoof")
        d(f"send i0 {frame}")
        assert wait_for("it outside", lambda: foreign in d("recv o 50")["frame"], 3)
        # To another: not heard, unless allowed to be promiscuous and asked.
        d("drain i1")
        d(f"stream i0 o n=20 src={MAC % 0x50}")
        assert d("drain i1")["frames"] == 0
        assert d("ctrl i1 0 0 01")["ack"] == 1
        policy("i1", allow="promisc")
        assert d("ctrl i1 0 0 01")["ack"] == 0
        unknown = "0250ba0bab00"
        d(f"send o {unknown}{'52540000aabb'}88b5" + "00" * 50)
        assert wait_for("a frame for a station that nobody knows", lambda: unknown in d("recv i1 50")["frame"], 3)
        # Broadcast: all of the VLAN, once.
        d("drain i0"), d("drain i1")
        d(f"send o {'ff' * 6}{'52540000aabb'}88b5" + "11" * 50)
        for who in ("i0", "i1"):
            assert wait_for(f"the broadcast at {who}", lambda w=who: d(f"recv {w} 50")["frame"].endswith("11" * 50), 3)
            assert "11" * 50 not in d(f"recv {who} 50")["frame"]
    delete("i0", "i1")


@checked("a rate holds its device back and no other; link off takes the link")
def _rate():
    for i in (0, 1):
        add(f"r{i}", "vnic/u0", "mac", MAC % (0x60 + i))
    policy("r0", rate=20000000)
    with driver() as d:
        for i in (0, 1):
            d(f"open r{i} {vnicdev.node(f'r{i}')}")
            d(f"up r{i}")
        d("packet o out/eth0")
        slow = d("stream r0 o n=5000 size=1000 timeout=5000")["ns"] / 1e9
        fast = d("stream r1 o n=5000 size=1000")["ns"] / 1e9
        # 40 Mbit at 20 Mbit/s, the burst at its beginning left out.
        assert 1.5 <= slow <= 6, slow
        assert fast < slow, (fast, slow)
        policy("r1", link=0)
        assert d("config r1")["status"] & 1 == 0
        d("drain o")
        d("stream r1 o n=10 lossy timeout=200")
        assert d("drain o")["frames"] == 0
        policy("r1", link=1)
        assert d("config r1")["status"] & 1 == 1
        d("stream r1 o n=100")
    delete("r0", "r1")


# ---- state ----

@checked("SUSPEND and RESUME, or all anew from the state: no frame in flight is lost, doubled or out of order")
def _suspend():
    for i in (0, 1):
        add(f"x{i}", "vnic/u0", "mac", MAC % (0x70 + i))
    with driver() as d:
        for i in (0, 1):
            d(f"open x{i} {vnicdev.node(f'x{i}')}")
        d("packet o out/eth0")
        for how in ("", "packed event_idx", "layout=odd event_idx", "packed layout=indirect indirect"):
            for i in (0, 1):
                d(f"up x{i} num=128 {how}")
            for to in ("o", "x1"):
                # A rate makes frames wait in the ring; otherwise they are gone as soon as they were made available.
                policy("x0", rate=int(40000000 / SLOW) if to == "o" else 0)
                a = d(f"switch x0 {to} n=6000 rounds={15 if to == 'o' else 60} how=both side=from min=60 max=1514 timeout=3000")
                assert to != "o" or a["in_flight"] > 0, a
                print(f"# {how or 'split'} to {to}: {a['in_flight']} in flight at {a['rounds']} rounds, {a['longest_us']} us at most")
            # Who is suspended receives nothing meanwhile, and nothing twice.
            d("switch x0 x1 n=3000 rounds=30 how=both side=to lossy timeout=100")
            d("switch o x1 n=3000 rounds=30 how=both side=to lossy timeout=100")
            for i in (0, 1):
                d(f"reset x{i}")
    delete("x0", "x1")


@checked("after a reset under traffic the device writes not one byte to memory that was its guest's")
def _resets():
    for i in (0, 1):
        add(f"y{i}", "vnic/u0", "mac", MAC % (0x78 + i))
    with driver() as d:
        for i in (0, 1):
            d(f"open y{i} {vnicdev.node(f'y{i}')}")
        d("packet o out/eth0")
        for how in ("", "packed event_idx"):
            for i in (0, 1):
                d(f"up y{i} num=128 {how}")
            d("resets y0 o rounds=25")
            d("resets y0 y1 rounds=25")
            for i in (0, 1):
                d(f"reset y{i}")
    delete("y0", "y1")


@checked("a guest that is killed under traffic leaves nothing behind, ten times")
def _killed():
    add("k", "vnic/u0", "mac", MAC % 0x80)
    flood = subprocess.Popen(["ip", "netns", "exec", "out", "ping", "-q", "-f", "-c", "100000", WHO["g1"]],
                             stdout=subprocess.DEVNULL)
    before = None
    for n in range(12):
        if n == 2:
            before = vnicdev.memory()
        d = driver()
        d(f"open k {vnicdev.node('k')}")
        d("up k num=256")
        d("packet o out/eth0")
        d.tell("stream k o n=100000 size=1500 window=200")
        time.sleep(0.2)
        os.kill(d.p.pid, signal.SIGKILL)
        d.p.wait()
        wait_for("its device to be free", lambda: read(f"{BUS}/devices/k/vnic/status").startswith("0x00"), 5)
    grown = vnicdev.grown(before, vnicdev.memory())
    flood.terminate()
    flood.wait()
    assert not grown, grown
    delete("k")


# ---- what happens to uplinks ----

@checked("an uplink that is renamed keeps its devices under the new name")
def _renamed():
    run("ip", "link", "set", "u0", "name", "wire0")
    wait_for("its new name", lambda: os.path.isdir(f"{VNIC}/devices/wire0"), 3)
    assert "vnic/wire0" in json.loads(run("vdpa", "-j", "mgmtdev", "show"))["mgmtdev"]
    ping("g1", WHO["out"])
    run("vdpa", "dev", "add", "name", "w", "mgmtdev", "vnic/wire0")
    delete("w")
    run("ip", "link", "set", "wire0", "name", "u0")
    wait_for("its old name", lambda: os.path.isdir(f"{VNIC}/devices/u0"), 3)
    ping("g1", WHO["out"])


@checked("a guest sees its uplink's carrier")
def _carrier():
    def carrier():
        return ns("g1", "cat", "/sys/class/net/eth0/carrier").strip()
    assert carrier() == "1"
    run("ip", "-n", "out", "link", "set", "eth0", "down")
    wait_for("no carrier", lambda: carrier() == "0", 5)
    # Neighbours on this host need no wire.
    run("ip", "-n", "out", "link", "set", "eth0", "up")
    wait_for("carrier", lambda: carrier() == "1", 5)
    wait_for("the outside", lambda: reaches("g1", WHO["out"]), 10)


def made_and_used(name):
    """An uplink t0 with devices, one used by the kernel's driver, one by a process, one by nobody."""
    run("ip", "link", "add", "t0", "type", "veth", "peer", "name", "t1")
    run("ip", "link", "set", "t0", "up")
    run("ip", "link", "set", "t1", "up")
    vnicdev.uplink("t0")
    dev = add(f"{name}1", "vnic/t0", driver="virtio_vdpa")
    run("ip", "link", "set", dev, "up")
    add(f"{name}2", "vnic/t0")
    run("vdpa", "dev", "add", "name", f"{name}3", "mgmtdev", "vnic/t0")
    d = driver()
    d(f"open d {vnicdev.node(f'{name}2')}")
    d("up d")
    d("packet o t1")
    d("stream d o n=100")
    return d, dev


def gone_at_last(d, name):
    """The link is lost; frames go nowhere; the devices go once nobody uses them."""
    wait_for("no link", lambda: d("config d")["status"] & 1 == 0, 5)
    d("suspend d")
    d("resume d")
    d("reset d")
    d("up d")
    d("close d")
    d.__exit__()
    write(f"{BUS}/devices/{name}1/driver/unbind", f"{name}1")
    try:
        wait_for("the uplink's end", lambda: not os.path.exists(f"{VNIC}/devices/t0"), 10)
    except AssertionError as e:
        said = {n: read(f"{BUS}/devices/{n}/vnic/status") for n in vnicdev.devices() if n.startswith(name)}
        raise AssertionError(f"{e}: {said}") from e
    assert not any(n.startswith(name) for n in vnicdev.devices()), vnicdev.devices()


@checked("an uplink that is deleted takes the link of its devices, and them once nobody uses them")
def _deleted():
    for n in range(3):
        d, _ = made_and_used(f"t{n}_")
        d.tell("stream d o n=100000 lossy timeout=200")
        time.sleep(0.05)
        run("ip", "link", "del", "t0")
        d.answer()
        if n == 1:
            # Its name is taken as long as they are used.
            run("ip", "link", "add", "t0", "type", "dummy")
            refuses(f"{VNIC}/new_uplink", "t0", errno.EBUSY)
            run("ip", "link", "del", "t0")
        gone_at_last(d, f"t{n}_")


@checked("an uplink that moves to another namespace is let go")
def _moved():
    d, _ = made_and_used("m")
    run("ip", "netns", "add", "far")
    run("ip", "link", "set", "t0", "netns", "far")
    gone_at_last(d, "m")
    run("ip", "netns", "del", "far")
    run("ip", "link", "del", "t1", check=False)


@checked("a card whose driver is unbound under traffic, ten times, with devices on it")
def _unbound():
    pci = f"/sys/bus/pci/devices/{IGB}"
    wire = next(n for n in ("outside",) if os.path.exists(f"/sys/class/net/{n}"))
    run("ip", "link", "set", wire, "up")
    for n in range(10):
        card = wait_for("the card", lambda: next(iter(os.listdir(f"{pci}/net")), None) if os.path.isdir(f"{pci}/net") else None, 20)
        run("udevadm", "settle")
        card = os.listdir(f"{pci}/net")[0]
        run("ip", "link", "set", card, "up")
        wait_for("its link", lambda c=card: read(f"/sys/class/net/{c}/carrier") == "1", 20)
        vnicdev.uplink(card)
        add(f"c{n}", f"vnic/{card}")
        with driver() as d:
            d(f"open d {vnicdev.node(f'c{n}')}")
            d("up d num=256 packed" if n & 1 else "up d num=256")
            d(f"packet o {wire}")
            a = d("stream d o n=300 min=60 max=1514 window=100")
            a = d("stream o d n=300 min=60 max=1514 window=100")
            if not n:
                s = stats("c0")
                print(f"# on the card: {s['tx']['zerocopy']} frames without a copy, {s['tx']['copied']} copied")
                assert s["tx"]["zerocopy"] > 100 and s["tx"]["copied"] > 10, s
                # The NIC tells late of what it has sent.
                run("ethtool", "-C", card, "rx-usecs", "10000", check=False)
                a = d("switch d o n=4000 rounds=40 how=both side=from min=60 max=1514 timeout=3000")
                print(f"# on the card: {a['in_flight']} frames in flight at {a['rounds']} switches, {a['longest_us']} us at most")
                assert a["in_flight"] > 0, a
                run("ethtool", "-C", card, "rx-usecs", "3", check=False)
            d.tell("stream d o n=1000000 size=1500 lossy timeout=300 window=200")
            time.sleep(0.1)
            write(f"{pci}/driver/unbind", IGB)
            wait_for("no uplink", lambda c=card: not read(f"{VNIC}/devices/{c}/netdev") if os.path.exists(
                f"{VNIC}/devices/{c}") else True, 5)
            d.kill()
        wait_for("the uplink's end", lambda c=card: not os.path.exists(f"{VNIC}/devices/{c}"), 10)
        write("/sys/bus/pci/drivers/igb/bind", IGB)
    assert f"c{n}" not in vnicdev.devices()


@checked("1,000 devices are made and deleted under traffic from four sides; slab and pages are as before")
def _thousand():
    floods = [subprocess.Popen([*(("ip", "netns", "exec", n) if n else ()), "ping", "-q", "-i", "0.002", "-s", "1000", WHO[to]],
                               stdout=subprocess.DEVNULL) for n, to in (("out", "g1"), ("g1", "g2"), ("soft", "g2"), (None, "g1"))]
    before = None
    try:
        for n in range(1000):
            if n == 100:
                before = vnicdev.memory()
            name = f"d{n}"
            run("vdpa", "dev", "add", "name", name, "mgmtdev", "vnic/u0", "mac", f"52:54:00:40:{n >> 8:02x}:{n & 255:02x}")
            if n % 50 == 7:
                with driver() as d:
                    d(f"open d {vnicdev.bind(name, 'vhost_vdpa')}")
                    d("up d packed" if n & 1 else "up d")
                    d("packet o out/eth0")
                    d("stream o d n=50")
            delete(name)
        after = vnicdev.memory()
    finally:
        for p in floods:
            p.terminate()
            p.wait()
    print("# " + ", ".join(f"{k}: {before[k]} -> {after[k]}" for k in before), flush=True)
    assert not vnicdev.grown(before, after), vnicdev.grown(before, after)
    matrix(WHO)


@checked("all is given back, the module unloads and loads again")
def _end():
    for n in ("g1", "g2"):
        delete(n)
    vnicdev.no_uplink("u0")
    assert not vnicdev.unreferenced(), "\n".join(vnicdev.unreferenced())
    run("modprobe", "-r", "vnic")
    ping("soft", WHO["out"])
    run("modprobe", "vnic")
    vnicdev.uplink("u0")
    run("modprobe", "-r", "vnic")
    ping(None, WHO["out"])
    assert not os.path.exists(VNIC)


inside.main(__file__, limit=880)
