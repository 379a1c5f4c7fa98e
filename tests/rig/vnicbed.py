# SPDX-License-Identifier: GPL-2.0-or-later
"""Where vnic.ko's scenarios inside of the host VM play: a bridge with an uplink (veth) that the outside is behind, a
software port, and two devices as netdevs of namespaces; and TCP between any two of them."""
import contextlib
import glob
import hashlib
import json
import os
import socket
import subprocess
import threading

import vnicdev
from devices import IGB
from net import enter_ns
from vnicdev import add, read, write
from vt import framed, run, test, wait_for

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


checked = framed(test, setup, lambda: bed["kmsg"].clean())


def matrix(who):
    for a in who:
        for b, address in who.items():
            if a != b:
                ping(a, address)


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


def iperf3(src, dst, address, back=False, port=[5300]):
    """iperf3 from namespace to namespace, or with back from dst to src; what it says at its end."""
    port[0] += 1
    server = subprocess.Popen(["ip", "netns", "exec", dst, "iperf3", "-s", "-1", "-p", str(port[0])], stdout=subprocess.DEVNULL)
    try:
        wait_for("iperf3", lambda: ns(dst, "ss", "-Hltn", f"sport = :{port[0]}").strip())
        out = ns(src, "iperf3", "-J", "-c", address, "-p", str(port[0]), "-n", "12M", *(["-R"] if back else []))
        server.wait(10)
    finally:
        server.kill()
        server.wait()
    return json.loads(out)["end"]


def bad_checksums(name):
    """How many TCP segments this namespace's stack has found to have a wrong one."""
    names, values = [line.split() for line in ns(name, "cat", "/proc/net/snmp").splitlines() if line.startswith("Tcp:")]
    return int(values[names.index("InCsumErrors")])


def mac_of(name):
    dev = "eth0" if name else "br0"
    return bytes.fromhex(ns(name, "cat", f"/sys/class/net/{dev}/address").strip().replace(":", ""))


def send_raw(name, dev, frame):
    """A frame out of a packet socket: nobody vouches for its checksums."""
    def send():
        enter_ns(name)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
            s.bind((dev, 0))
            s.send(frame)
    t = threading.Thread(target=send)
    t.start()
    t.join(10)


# ---- a NIC that is slow with what it was given ----

WIRE = "outside"  # the other end of the card's
PCI = f"/sys/bus/pci/devices/{IGB}"


def card():
    """The igb's netdev, up and with a link."""
    run("ip", "link", "set", WIRE, "up")
    wait_for("the card", lambda: glob.glob(f"{PCI}/net/*"), 20)
    run("udevadm", "settle")
    name = os.path.basename(glob.glob(f"{PCI}/net/*")[0])
    run("ip", "link", "set", name, "up")
    wait_for("its link", lambda: read(f"/sys/class/net/{name}/carrier") == "1", 20)
    return name


@contextlib.contextmanager
def late(netdev, driver):
    """While the driver in user space runs, that of the NIC does not: whatever the NIC was given it still has when the former
    looks, until that sleeps. By priority and not by a clock, so that it is so on a busy machine too."""
    write(f"/sys/class/net/{netdev}/threaded", "1")
    polls = [int(p.split("/")[2]) for p in glob.glob("/proc/[0-9]*/comm") if read(p).startswith(f"napi/{netdev}-")]
    assert polls, f"{netdev} has no threads"
    for pid in (*polls, driver.p.pid):
        os.sched_setaffinity(pid, {0})
    os.sched_setscheduler(driver.p.pid, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        if driver.alive():
            os.sched_setscheduler(driver.p.pid, os.SCHED_OTHER, os.sched_param(0))
        write(f"/sys/class/net/{netdev}/threaded", "0")
