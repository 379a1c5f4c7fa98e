#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Two guests over vnicd-datapath alone, the host at its uplink: tests/tables/guests.md, a test a row.
Each row boots its two guests anew, as drivers negotiate once."""
# time limit: 600
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import traffic  # noqa: E402
from datapath import Datapath, find  # noqa: E402
from guest import Guest, start_all, vhost_user  # noqa: E402
from net import Bridge  # noqa: E402
from vt import main, table, test, wait_for  # noqa: E402

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
IP_A, IP_B, IP_HOST = "10.9.0.1", "10.9.0.2", "10.9.0.254"
NO_OFFLOADS = {k: "off" for k in ("csum", "guest_csum", "gso", "host_tso4", "host_tso6", "host_ufo", "host_ecn",
                                  "guest_tso4", "guest_tso6", "guest_ufo", "guest_ecn")}
# What a row's column "NIC" may say; several with " + ".
PROPS = {"default": {}, "no offloads": NO_OFFLOADS, "mrg_rxbuf off": {"mrg_rxbuf": "off"},
         "indirect off": {"indirect_desc": "off"}, "event_idx off": {"event_idx": "off"},
         "legacy": {"disable-modern": "on", "disable-legacy": "off"}, "ring 1024": {"rx_queue_size": 1024,
                                                                                   "tx_queue_size": 1024},
         "ring 256": {"rx_queue_size": 256, "tx_queue_size": 256}, "queues 2": {}}
bed = {}


def props(words):
    out = {}
    for w in words.split(" + "):
        out.update(PROPS[w])
    return out


class Pair:
    """Two guests with the NICs of a row, behind one vnicd-datapath, on a bridge with an address."""

    def __init__(self, row):
        find("vnicd-datapath")
        if "br" not in bed:
            bed["br"] = Bridge("br0", f"{IP_HOST}/24")
        self.dp = Datapath([{"name": "a", "mac": A}, {"name": "b", "mac": B}], uplink="tap=dp0")
        nics = {}
        for n, mac, col in (("a", A, "NIC of a"), ("b", B, "NIC of b")):
            queues = 2 if "queues 2" in row[col] else 1
            nics[n] = vhost_user(mac, self.dp.socket(n), queues, props=props(row[col]))
        # Without mergeable buffers each receive buffer is of 64 KiB: 16 MiB a ring.
        self.a = Guest("a", [nics["a"]], 96 if "hotplugged" in row["traffic"] else 144, cpus=nics["a"].queues, hotplug="hotplugged" in row["traffic"])
        self.b = Guest("b", [nics["b"]], 144, cpus=nics["b"].queues)

    def __enter__(self):
        self.dp.start()
        bed["br"].add("dp0")
        start_all(self.a, self.b)
        self.a.ip(f"{IP_A}/24")
        self.b.ip(f"{IP_B}/24")
        return self

    def __exit__(self, kind, *exc):
        self.a.kill()
        self.b.kill()
        self.dp.__exit__(kind, *exc)


def everything(p):
    """What two guests do with a network, its payloads compared."""
    for g, to in ((p.a, IP_B), (p.b, IP_HOST)):
        g.ping(to)
        g.ping(to, size=1400)
        g.ping(to, size=20000)
    traffic.file_between(p.a, p.b, IP_B)
    traffic.file_between(p.b, p.a, IP_A)
    traffic.file_to_host(p.a, IP_HOST)
    traffic.file_from_host(p.a, IP_A)
    p.dp.alive()


def iperf(p, *options):
    """iperf3 from a to b; (Mbit/s received, lost %)."""
    p.b.sh("iperf3 -s -D -1 -I /tmp/iperf.pid; "
           "until grep -q ':1451 0*:0000 0A' /proc/net/tcp /proc/net/tcp6; do usleep 10000; done")
    end = json.loads(p.a.sh(f"iperf3 -J -c {IP_B} {' '.join(options)}", 40))["end"]
    if "sum_received" in end:
        return end["sum_received"]["bits_per_second"] / 1e6, end.get("sum", {}).get("lost_percent", 0.0)
    return end["sum"]["bits_per_second"] / 1e6, end["sum"]["lost_percent"]


def row_test(row):
    with Pair(row) as p:
        what = row["traffic"]
        if "all" in what:
            everything(p)
        if "multiqueue" in what:
            for g in (p.a, p.b):
                if g.nics[0].queues > 1:
                    g.sh("ethtool -L eth0 combined 2")
            mbits, _ = iperf(p, "-t 2 -P 4")
            assert mbits > 1, f"{mbits:.1f} Mbit/s"
            # Both queues of a guest that has two sent frames; the other's two sending ones are received by two.
            stats = p.a.sh("ethtool -S eth0")
            busy = [l for l in stats.splitlines() if "queue" in l and "packets" in l and l.split()[-1] != "0"]
            want = 4 if p.b.nics[0].queues > 1 else 3
            assert len(busy) >= want, f"only these were used: {busy}"
            p.a.sh("ethtool -L eth0 combined 1")
            traffic.file_between(p.a, p.b, IP_B)
        if "iperf3" in what:
            mbits, _ = iperf(p, "-t 2")
            assert mbits > 1, f"TCP at {mbits:.1f} Mbit/s"
            # What a guest without CPU time loses itself is not told from what we lose: numbered frames are.
            mbits, lost = iperf(p, "-u -b 10M -l 1400 -t 2")
            assert mbits > 1, f"UDP at {mbits:.1f} Mbit/s, {lost:.1f} % lost"
        if "numbered" in what:
            r = traffic.Stream(p.a, p.b, B, rate=250, seconds=4, length=1000).finish()
            assert r["got"] >= 0.99 * r["sent"] > 500 and not (r["torn"] or r["doubled"] or r["late"]), r
        if "driver" in what:
            for _ in range(3):
                p.a.sh("d=$(basename $(readlink /sys/class/net/eth0/device)); cd /sys/bus/virtio/drivers/virtio_net;"
                       "echo $d >unbind; echo $d >bind")
                p.a.ip(f"{IP_A}/24")
                p.a.ping(IP_B)
            traffic.file_between(p.a, p.b, IP_B)
        if "reset" in what:
            p.a.qemu.agent.close()
            p.a.qmp("set-action", reboot="reset")  # for once it shall not end QEMU
            p.a.qmp("system_reset")
            time.sleep(0.5)
            p.a.wait()
            p.a.ip(f"{IP_A}/24")
            everything(p)
        if "pause" in what:
            traffic.echo_server(p.a)
            e = traffic.Echo(IP_A).start()
            for _ in range(3):
                p.a.qmp("stop")
                time.sleep(0.3)
                p.a.qmp("cont")
                e.alive()
            e.stop()
        if "link" in what:
            p.a.qmp("set_link", name="net0", up=False)
            wait_for("the guest to see its link down", lambda: p.a.sh("cat /sys/class/net/eth0/carrier") == "0")
            assert not p.b.reaches(IP_A, 2), "a guest answers although its link is down"
            p.a.qmp("set_link", name="net0", up=True)
            wait_for("the guest to see its link up", lambda: p.a.sh("cat /sys/class/net/eth0/carrier") == "1")
            p.a.ping(IP_B)
        if "gone" in what:
            # A guest that dies leaves its port to the next one, and the others in peace.
            p.b.kill()
            p.a.ping(IP_HOST)
            p.b = Guest("b", p.b.nics).start()
            p.b.ip(f"{IP_B}/24")
            traffic.file_between(p.a, p.b, IP_B)
        if "memory" in what:
            traffic.echo_server(p.a)
            e = traffic.Echo(IP_A).start()
            p.a.qmp("object-add", qom_type="memory-backend-memfd", id="more", size=128 << 20, share=True)
            p.a.qmp("device_add", driver="pc-dimm", id="dimm", memdev="more")
            before = int(p.a.sh("sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo"))
            p.a.sh("cd /sys/devices/system/memory; for m in memory*; do grep -q offline $m/state && "
                   "echo online >$m/state; done; true")
            after = int(p.a.sh("sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo"))
            assert after > before, "the guest did not take the new memory"
            e.alive()
            # Larger than what the guest had: buffers come to lie in the new memory.
            traffic.file_between(p.b, p.a, IP_A, size=24 << 20)
            e.stop()


for _row in table("guests"):
    if "not tested here" not in _row["traffic"]:
        test(_row["test"])(lambda row=_row: row_test(row))

main()
