#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11
# time limit: 900
"""Guests of QEMU and libvirt on vnic.ko's devices, by vhost-vdpa: ping, TCP, multiqueue, MAC, a trunk, restart, death."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from scenario import Failed, main, start, test, wait_for  # noqa: E402
from vt import framed  # noqa: E402
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
        ip link add br12 link br0 type vlan id 12; ip link set br12 up; ip addr add 10.12.0.254/24 dev br12
        ip -n out link add v12 link eth0 type vlan id 12; ip -n out link set v12 up; ip -n out addr add 10.12.0.200/24 dev v12
        echo u0 >/sys/bus/vnic/new_uplink""")
    for i, pairs in ((1, 1), (2, 2)):
        h.sh(f"vdpa dev add name d{i} mgmtdev vnic/u0 mac {MAC % i} max_vqp {pairs}")
        bed[f"node{i}"] = "/dev/" + h.sh(f"basename /sys/bus/vdpa/devices/d{i}/vhost-vdpa-*")
    bed["pinned"] = memory()["pinned"]
    return h


def serve(*ports):
    """An iperf3 server outside, at each of these ports, that stays."""
    for port in ports:
        host().sh(f"ip netns exec out iperf3 -s -D -p {port}")
        wait_for("iperf3", lambda p=port: host().run(["sh", "-c", f"ip netns exec out ss -ltn | grep -q :{p}"])[0] == 0, 10)


def stats(i):
    """A device's counters: {"tx_frames": …}."""
    return {k: int(v) for k, v in (line.split() for line in host().sh(f"cat /sys/bus/vdpa/devices/d{i}/vnic/stats").splitlines())}


def inside(code):
    """What a line of Python in the host VM, with vnicdev, says."""
    return json.loads(host().sh(f"cd /root/tests/rig && PYTHONPATH=../lib /usr/bin/python3 -B -c 'import json, vnicdev; "
                                f"print(json.dumps({code}))'"))


def queues(i):
    """Frames by queue."""
    return inside(f'[vnicdev.queue_frames("d{i}", n) for n in range({2 * i})]')


def memory():
    return inside("vnicdev.memory()")


def guest(i):
    h = host()
    if f"g{i}" not in bed:
        bed[f"g{i}"] = nested.Guest(h, f"g{i}", vdpa(MAC % i, bed[f"node{i}"], 2 if i == 2 else None),
                                    vcpus=i).define()
    g = bed[f"g{i}"]
    if g.state() != "running":
        g.start()
        g.ip(f"10.30.0.{i}/24")
    return g


checked = framed(test, host, lambda: vnicdev.vm_clean(host()))


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
    serve(5201)
    for more, side in (("", "tx"), ("-R", "rx")):
        before = stats(1)
        out = json.loads(a.sh(f"iperf3 -J -c {OUT} -n 8M {more}", 60))["end"]
        n = {k: v - before[f"{side}_{k}"] for k, v in ((k, stats(1)[f"{side}_{k}"]) for k in ("bytes", "frames"))}
        print(f"# {side}: {out['sum_received']['bits_per_second'] / 1e6:.0f} Mbit/s, {n['bytes'] / n['frames']:.0f} bytes a frame, "
              f"{out['sum_sent'].get('retransmits')} sent again")
        assert n["bytes"] >= 8 << 20 and n["bytes"] / n["frames"] > 1600, f"{side}: not segmented by others: {n}"
    for read in (a.sh, lambda c: host().sh(f"ip netns exec out {c}")):
        names, values = [line.split() for line in read("cat /proc/net/snmp").splitlines() if line.startswith("Tcp:")]
        assert values[names.index("InCsumErrors")] == "0", values


@checked("a guest with two queue pairs and two CPUs sends and receives over each pair at once")
def _queues():
    b = guest(2)
    wait_for("both pairs", lambda: host().sh("cat /sys/bus/vdpa/devices/d2/vnic/pairs") == "2", 10)
    before = queues(2)
    for cpu in (1, 2):
        serve(5300 + cpu)
        b.bg(f"taskset {cpu} iperf3 -c {OUT} -p {5300 + cpu} -n 4M && taskset {cpu} iperf3 -c {OUT} -p {5300 + cpu} -n 4M -R",
             f"/tmp/cpu{cpu}")
    for cpu in (1, 2):
        status, out = b.bg_wait(f"/tmp/cpu{cpu}", 90)
        assert status == 0, out
    n = [b - a for a, b in zip(before, queues(2))]
    print(f"# frames received by queue {n[::2]}, sent {n[1::2]}")
    assert min(n) > 50, n


@checked("its MAC is what the host allows: with another it reaches nobody")
def _mac():
    b = guest(2)
    status, _ = b.run("ip link set eth0 address 52:54:00:00:30:99")
    host().sh("ip netns exec out ip neigh flush all")
    if status == 0:
        # QEMU may answer for the device; what counts is what it lets pass.
        assert not b.reaches(OUT, 2), "frames go out with a MAC that was not allowed"
        b.sh(f"ip link set eth0 address {MAC % 2}")
    b.ping(OUT)


@checked("a trunk: a guest that may tag reaches a VLAN's stations and those of none, and no longer when it may not")
def _trunk():
    h, a = host(), guest(1)
    a.sh("vconfig add eth0 12; ip link set eth0.12 up; ip addr add 10.12.0.1/24 dev eth0.12")
    assert not a.reaches("10.12.0.200", 2), "a tag passes that nobody allowed"
    policy = "/sys/bus/vdpa/devices/d1/vnic"
    h.sh(f"echo 12-13 >{policy}/vlans; echo vlan >{policy}/allow")
    # A filter that was denied before is asked for again.
    a.sh("vconfig rem eth0.12; vconfig add eth0 12; ip link set eth0.12 up; ip addr add 10.12.0.1/24 dev eth0.12")
    for address in ("10.12.0.200", "10.12.0.254", OUT, HOST):
        a.ping(address)
    h.sh("ip netns exec out ping -c 2 -i 0.2 -W 2 -s 1400 10.12.0.1; ping -c 2 -i 0.2 -W 2 10.12.0.1")
    h.sh(f"echo >{policy}/allow")
    assert not a.reaches("10.12.0.200", 2), "a tag passes that is allowed no more"
    a.ping(OUT)
    a.sh("vconfig rem eth0.12")
    h.sh(f"echo >{policy}/vlans")


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


@checked("a guest that is killed under traffic, twice, leaves its device free, no page pinned and no memory behind")
def _killed():
    h, b, before = host(), guest(2), None
    for n in range(2):
        a = guest(1)
        serve(5400 + n)
        a.bg(f"iperf3 -c {OUT} -p {5400 + n} -t 60")
        h.sh("ip netns exec out ping -i 0.005 -q -s 1400 10.30.0.1 >/dev/null 2>&1 &")
        frames = stats(1)
        wait_for("traffic both ways", lambda f=frames: all(stats(1)[k] > f[k] + 200 for k in ("tx_frames", "rx_frames")), 20, 0.2)
        h.sh(f"kill -9 {a.pid()}")
        wait_for("its device to be free", lambda: h.sh("cat /sys/bus/vdpa/devices/d1/vnic/status").startswith("0x00"), 10)
        b.ping(OUT)
        wait_for("its end", lambda g=a: g.state() == "shut off", 20, 0.3)
        h.sh("ip netns pids out | xargs kill")
        wait_for("the outside's silence", lambda: not h.sh("ip netns pids out"), 10)
        # Caches that grow once have grown with the first.
        now = memory()
        before = before or now
    print("# " + ", ".join(f"{k}: {before[k]} -> {now[k]}" for k in before))
    assert not vnicdev.grown(before, now), vnicdev.grown(before, now)
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
    assert memory()["pinned"] == bed["pinned"], "pages are pinned"


__all__ = ["Failed"]
main()
