#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Live migration between two stand-alone vnicd-datapaths that are joined by a bridge: the rows of
tests/tables/migrate.md."""
# time limit: 420
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import traffic  # noqa: E402
from datapath import Datapath, find  # noqa: E402
from guest import Guest, start_all, vhost_user  # noqa: E402
from net import Bridge, Wire, judged, mac_bytes  # noqa: E402
from vt import main, test, wait_for  # noqa: E402

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
IP_A, IP_B, IP_OUT = "10.9.0.1", "10.9.0.2", "10.9.0.9"
bed = {}


def setup():
    """Two datapaths; guest a on the first, b on the second, a namespace outside."""
    if not bed:
        find("vnicd-datapath")
        br = Bridge("br0", "10.9.0.254/24")
        out = br.outside("out", f"{IP_OUT}/24")
        dps = []
        for i in (0, 1):
            ports = [{"name": "a", "mac": A}] + ([{"name": "b", "mac": B}] if i else [])
            dps.append(Datapath(ports, uplink=f"tap=dp{i}", where=f"/run/datapath{i}").start())
            br.add(f"dp{i}")
        a = Guest("a", [vhost_user(A, dps[0].socket("a"))])
        b = Guest("b", [vhost_user(B, dps[1].socket("b"))])
        start_all(a, b)
        a.ip(f"{IP_A}/24")
        b.ip(f"{IP_B}/24")
        a.ping(IP_B)
        traffic.echo_server(a)
        bed.update(br=br, out=out, dps=dps, a=a, b=b, at=0)
    return bed["a"], bed["b"], bed["out"]


def move(cancel=False, **kw):
    """Migrate a to the other datapath, or begin to."""
    to = bed["dps"][1 - bed["at"]]
    r = bed["a"].migrate([vhost_user(A, to.socket("a"))], cancel=cancel, **kw)
    if not cancel:
        bed["at"] = 1 - bed["at"]
    for d in bed["dps"]:
        d.alive()
    return r


@test("migrate-ten-times")
def ten_times():
    a, b, _ = setup()
    echoes = [traffic.Echo(IP_A).start(), traffic.Echo(IP_A, ns="out").start()]
    # Guest to guest, across both datapaths or within one, as a moves.
    b.bg("wire count eth0 150 5", "/tmp/c")
    b.sh("until grep -q listening /tmp/c; do usleep 10000; done")
    a.bg(f"wire stream eth0 {B} 100 140 300 5", "/tmp/s")
    downtimes = []
    for i in range(1, 11):
        if i in (3, 7):
            assert move(cancel=True)["status"] == "cancelled"
        else:
            downtimes.append(move()["downtime"])
        for e in echoes:
            e.alive()
    for e in echoes:
        e.stop()
    a.sh("killall wire")
    b.sh("sleep 0.5; killall wire")
    r = judged(b.bg_wait("/tmp/c")[1])
    print(f"# downtimes {downtimes} ms, slowest echo {max(e.worst() for e in echoes) * 1000:.0f} ms, "
          f"{sum(e.bytes for e in echoes) / 1e6:.1f} MB, stream {r}")
    assert r["got"] > 100 and not r["torn"] and not r["doubled"], r


@test("migrate-announced")
def announced():
    a, _, out = setup()
    a.sh("ip neigh flush all; true")
    with out.wire() as w:
        move()
        w.expect("announcement of the guest's MAC", lambda f: f[6:12] == mac_bytes(A), 5)
    out.run("ping", "-c", "1", "-w", "3", IP_A)


@test("migrate-mac-follows")
def mac_follows():
    a, b, out = setup()
    if bed["at"] == 1:
        move()
    # b is a neighbour of the port that a left: its frames for a must leave by the uplink.
    b.ping(IP_A)
    with Wire("dp1", outgoing=True) as w:
        b.bg(f"ping -c 5 -i 0.2 {IP_A}", "/tmp/p")
        w.expect("frame from b for a at the uplink",
                 lambda f: f[:6] == mac_bytes(A) and f[6:12] == mac_bytes(B))
        assert b.bg_wait("/tmp/p")[0] == 0
    move()
    b.ping(IP_A)
    with Wire("dp1", outgoing=True) as w:
        w.drain()
        b.ping(IP_A)
        w.expect_none("a frame between two ports of one datapath",
                      lambda f: f[:6] == mac_bytes(A) and f[6:12] == mac_bytes(B), 0.3)


@test("migrate-dirty-log")
def dirty_log():
    a, b, _ = setup()
    for size in (6 << 20, 12 << 20):
        b.sh(f"head -c {size} /dev/urandom >/tmp/f")
        want = b.sh("sha256sum </tmp/f", 30)
        a.sh("rm -f /tmp/got; [ -p /tmp/hold ] || mkfifo /tmp/hold")
        a.bg("nc -l -p 5000 <>/tmp/hold >/tmp/got", "/tmp/in")
        traffic.wait_port(a, 5000)
        b.bg(f"nc -w 5 {IP_A} 5000 </tmp/f", "/tmp/out")
        time.sleep(0.05)
        move(bandwidth=24 << 20)
        b.bg_wait("/tmp/out")
        a.bg_wait("/tmp/in")
        wait_for("the whole file", lambda: a.sh("stat -c %s /tmp/got") == str(size), 20)
        got = a.sh("sha256sum </tmp/got", 30)
        assert got == want, "what arrived while memory was copied is not what was sent"


@test("migrate-end: nothing is left")
def end():
    setup()
    bed["a"].kill()
    bed["b"].kill()
    for d in bed["dps"]:
        d.alive()
        d.stop()


main()
