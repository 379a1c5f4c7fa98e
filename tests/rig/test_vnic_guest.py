#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11
# time limit: 500
"""Guests of QEMU and libvirt on vnic.ko's devices, by vhost-vdpa: ping, TCP, multiqueue, MAC, restart, death."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scenario import Failed, main, start, test, wait_for  # noqa: E402
import nested  # noqa: E402
import traffic  # noqa: E402
import vnicdev  # noqa: E402

MAC = "52:54:00:00:30:%02x"
OUT, HOST = "10.30.0.200", "10.30.0.254"
bed = {}


def vdpa(mac, dev, queues=None):
    """A NIC on a vDPA device."""
    driver = f"<driver queues='{queues}'/>" if queues else ""
    return (f"<interface type='vdpa'><mac address='{mac}'/><source dev='{dev}'/><model type='virtio'/>{driver}"
            "</interface>")


def host():
    """br0 with u0, which "out" is behind; vnic.ko's devices d1 and d2 on u0, d2 with two pairs."""
    if "host" in bed:
        return bed["host"]
    h = bed["host"] = start()
    h.sh("""set -e
        modprobe -a vhost_vdpa vnic; dmesg -C
        ip netns add out; ip link add u0 type veth peer name eth0 netns out; ip -n out link set eth0 up
        ip -n out addr add 10.30.0.200/24 dev eth0; ip -n out link set lo up
        ip link add br0 type bridge forward_delay 0 mcast_snooping 0; ip link set br0 up; ip link set u0 master br0 up
        ip addr add 10.30.0.254/24 dev br0
        echo u0 >/sys/bus/vnic/new_uplink""")
    for i, pairs in ((1, 1), (2, 2)):
        h.sh(f"vdpa dev add name d{i} mgmtdev vnic/u0 mac {MAC % i} max_vqp {pairs}")
        bed[f"node{i}"] = "/dev/" + h.sh(f"basename /sys/bus/vdpa/devices/d{i}/vhost-vdpa-*")
    return h


def guest(i):
    h = host()
    if f"g{i}" not in bed:
        bed[f"g{i}"] = nested.Guest(h, f"g{i}", vdpa(MAC % i, bed[f"node{i}"], 2 if i == 2 else None),
                                    vcpus=1).define()
    g = bed[f"g{i}"]
    if g.state() != "running":
        g.start()
        g.ip(f"10.30.0.{i}/24")
    return g


def checked(name):
    """A test after which the host's kernel has found nothing wrong."""
    def register(fn):
        def wrapped():
            try:
                fn()
            finally:
                vnicdev.complain(vnicdev.trouble(host().sh("dmesg -c").splitlines()))
        return test(name)(wrapped)
    return register


@checked("a guest by vhost-vdpa reaches the outside, the host and a guest on the same uplink, and they it")
def _ping():
    a, b = guest(1), guest(2)
    for g, others in ((a, (OUT, HOST, "10.30.0.2")), (b, (OUT, HOST, "10.30.0.1"))):
        for address in others:
            g.ping(address)
    for i in (1, 2):
        host().sh(f"ping -c 2 -i 0.2 -W 2 10.30.0.{i}; ip netns exec out ping -c 2 -i 0.2 -W 2 -s 1400 10.30.0.{i}")


@checked("its files arrive whole by TCP, between guests and to and from the outside")
def _tcp():
    a, b = guest(1), guest(2)
    traffic.file_between(a, b, "10.30.0.2", size=2 << 20, port=5101)
    traffic.file_between(b, a, "10.30.0.1", size=2 << 20, port=5102)
    host().sh("ip netns exec out iperf3 -s -D")
    wait_for("iperf3", lambda: host().run(["sh", "-c", "ip netns exec out ss -ltn | grep -q 5201"])[0] == 0, 10)
    for more in ("", "-R"):
        out = a.sh(f"iperf3 -c {OUT} -n 8M {more}", 60)
        assert "receiver" in out, out
    stats = dict(line.split() for line in host().sh("cat /sys/bus/vdpa/devices/d1/vnic/stats").splitlines())
    assert int(stats["tx_bytes"]) / int(stats["tx_frames"]) > 1000, stats


@checked("a guest with two queue pairs uses them, and its MAC is what the host allows")
def _queues():
    b = guest(2)
    assert host().sh("cat /sys/bus/vdpa/devices/d2/vnic/pairs") in ("1", "2")
    status, out = b.run("ip link set eth0 address 52:54:00:00:30:99")
    host().sh("ip netns exec out ip neigh flush all")
    if status == 0:
        # QEMU may answer for the device; what counts is what it lets pass.
        assert not b.reaches(OUT, 2), "frames go out with a MAC that was not allowed"
        b.sh(f"ip link set eth0 address {MAC % 2}")
    b.ping(OUT)


@checked("stopped and continued, rebooted, and with its driver bound anew a guest works as before")
def _again():
    a = guest(1)
    a.virsh("suspend")
    time.sleep(0.5)
    a.virsh("resume")
    a.ping(OUT)
    a.sh("d=$(basename $(readlink /sys/class/net/eth0/device)); cd /sys/bus/virtio/drivers/virtio_net; "
         "echo $d >unbind; echo $d >bind")
    a.ip("10.30.0.1/24").ping(OUT)
    a.virsh("reset")
    a.wait()
    a.ip("10.30.0.1/24").ping(OUT)


@checked("a guest that is killed under traffic leaves its device free, and its neighbour speaks on")
def _killed():
    h, a, b = host(), guest(1), guest(2)
    a.bg(f"ping -i 0.02 -c 200 -s 1400 {OUT}")
    b.bg("ping -i 0.05 -c 60 10.30.0.1")
    h.sh("ip netns exec out ping -q -i 0.02 -c 40 10.30.0.1 || true")
    h.sh(f"kill -9 {a.pid()}")
    wait_for("its device to be free", lambda: h.sh("cat /sys/bus/vdpa/devices/d1/vnic/status").startswith("0x00"), 10)
    b.ping(OUT)
    wait_for("its end", lambda: a.state() == "shut off", 20, 0.3)
    # The next one finds it as new.
    guest(1).ping(OUT)


@checked("when all guests are gone the module unloads")
def _end():
    h = host()
    for i in (1, 2):
        if f"g{i}" in bed:
            bed[f"g{i}"].destroy().undefine()
    h.sh("vdpa dev del d1; vdpa dev del d2; echo u0 >/sys/bus/vnic/del_uplink; modprobe -r vnic; [ ! -e /sys/bus/vnic ]")
    h.sh(f"ping -c 2 -i 0.2 -W 2 {OUT}")


__all__ = ["Failed"]
main()
