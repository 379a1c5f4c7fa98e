#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""daemon/sys's view of the kernel, and its records, against the kernel of a sandbox."""
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from net import Bridge, ip, links  # noqa: E402
from systoolbed import MAC, Tool, index, scenario  # noqa: E402
from vt import main, run, test  # noqa: E402

KEY = "11111111-2222-3333-4444-555555555555/" + MAC


class Rtnl(Tool):
    """Follows links; .links is the picture that the events draw."""

    def __init__(self, rcvbuf=0):
        super().__init__("rtnl", str(rcvbuf))
        self.links, self.lost, self.synced = {}, 0, 0

    def feed(self, e):
        if e["event"] == "link":
            self.links[e["ifindex"]] = e
        elif e["event"] == "gone":
            del self.links[e["ifindex"]]
        else:
            setattr(self, e["event"], getattr(self, e["event"]) + 1)
        return True

    def until_links(self, what, fn):
        while not fn(self):
            self.until(what, self.feed)


def kernel_links():
    return {x["ifindex"]: x["ifname"] for x in links().values()}


@scenario("rtnetlink: what is there, comes, changes, is renamed and goes")
def events():
    Bridge("br0")
    with Rtnl() as t:
        t.until_links("first dump", lambda t: t.synced == 1)
        assert {i: e["name"] for i, e in t.links.items()} == kernel_links()
        assert t.links[index("br0")]["kind"] == "bridge" and t.links[1]["kind"] == "loopback"
        ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
        run("ip", "tuntap", "add", "dev", "t0", "mode", "tap")
        ip("link", "set", "t0", "master", "br0", "mtu", "1400")
        t.until_links("tap in bridge", lambda t: any(
            e["name"] == "t0" and e["kind"] == "tap" and e["master"] == index("br0") and e["mtu"] == 1400
            for e in t.links.values()))
        # Leaving a bridge is told with a deletion of family AF_BRIDGE: the link is still there.
        i = index("t0")
        ip("link", "set", "t0", "nomaster")
        ip("link", "set", "t0", "name", "t1")
        t.until_links("renamed", lambda t: t.links[i]["name"] == "t1" and t.links[i]["master"] == 0)
        assert t.links[index("v0")]["kind"] == "veth" and t.links[index("v0")]["lower"] == index("v1")
        ip("link", "del", "t1")
        t.until_links("deleted", lambda t: i not in t.links)
        assert t.synced == 1 and t.lost == 0


@scenario("rtnetlink: two links that swap their names")
def swap():
    ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
    with Rtnl() as t:
        t.until_links("first dump", lambda t: t.synced == 1)
        for a, b in (("v0", "tmp"), ("v1", "v0"), ("tmp", "v1")):
            ip("link", "set", a, "name", b)
        t.until_links("swapped", lambda t: {i: e["name"] for i, e in t.links.items()} == kernel_links())


@scenario("rtnetlink: a link that moves to another namespace is gone, and back with it")
def netns_move():
    ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
    ip("netns", "add", "other")
    try:
        with Rtnl() as t:
            t.until_links("first dump", lambda t: t.synced == 1)
            i, j = index("v0"), index("v1")
            ip("link", "set", "v1", "netns", "other")
            t.until_links("moved", lambda t: j not in t.links)
            # v1's number means nothing here any more.
            ip("link", "set", "v0", "mtu", "1400")
            t.until_links("peer away", lambda t: t.links[i]["mtu"] == 1400 and t.links[i]["lower"] == 0)
            ip("-n", "other", "link", "set", "v1", "netns", "1")
            t.until_links("back", lambda t: any(e["name"] == "v1" for e in t.links.values()))
    finally:
        ip("netns", "del", "other")


@scenario("rtnetlink: notifications lost to a full buffer end in a resync")
def enobufs():
    Bridge("br0")
    ip("link", "add", "gone0", "type", "bridge")
    with Rtnl(1) as t:  # the kernel makes it its minimum
        t.until_links("first dump", lambda t: t.synced == 1)
        t.p.send_signal(signal.SIGSTOP)
        ip("link", "del", "gone0")
        for n in range(40):
            ip("link", "add", f"b{n}", "type", "bridge")
        for n in range(0, 40, 2):
            ip("link", "del", f"b{n}")
        t.p.send_signal(signal.SIGCONT)
        t.until_links("resync", lambda t: t.lost > 0 and t.synced > 1 and
                      {i: e["name"] for i, e in t.links.items()} == kernel_links())


@scenario("rtnetlink: dumps that changes cut into are repeated until one is whole")
def storm():
    stop = threading.Event()

    def churn():
        n = 0
        while not stop.is_set():
            n += 1
            ip("link", "add", f"c{n}", "type", "bridge")
            ip("link", "del", f"c{n}")

    for n in range(100):
        ip("link", "add", f"b{n}", "type", "bridge")
    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(3):
            with Rtnl() as t:
                t.until_links("first dump", lambda t: t.synced == 1)
                assert sum(e["name"].startswith("b") for e in t.links.values()) == 100
    finally:
        stop.set()
        thread.join()


@scenario("watch: the inventory follows, and says that udevd does not run here")
def watch():
    Bridge("br0")
    with Tool("watch") as t:
        e = t.until("note", lambda e: e["event"] == "note")
        assert "udevd" in e["text"] and e["level"] == 6, e
        t.until("synced", lambda e: e["event"] == "synced")
        ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
        t.until("v0", lambda e: e["event"] == "changed" and e["name"] == "v0" and e["kind"] == "veth")
        ip("link", "del", "v0")
        t.until("v0 gone", lambda e: e["event"] == "removed" and e["name"] == "v0")


@test("record that finds no room fails, and the old one stands")
def record_enospc():
    os.makedirs("/run/small")
    run("mount", "-t", "tmpfs", "-o", "size=32k", "small", "/run/small")
    try:
        with Tool("records", "/run/small/ports", "/run/small/shared") as t:
            assert t.ask(f"put {KEY} 3")["r"] == 0
            a = t.ask(f"put {KEY} 1000")
            assert a["error"] == "ENOSPC" and "No space" in a["message"], a
            assert os.listdir("/run/small/ports") == [KEY.replace("/", "-") + ".json"]
            assert t.ask("load") == {"port": KEY, "steps": 3}
            assert t.next()["r"] == 0
            assert t.ask(f"erase {KEY}")["r"] == 0 and t.ask(f"erase {KEY}")["r"] == 0
    finally:
        run("umount", "/run/small")


@test("record of a killed writer leaves the old one and no rubbish")
def record_leftover():
    with Tool("records", "/run/r-ports", "/run/r-shared") as t:
        assert t.ask(f"put {KEY} 3")["r"] == 0
        name = KEY.replace("/", "-") + ".json"
        with open(f"/run/r-ports/.{name}.tmp", "w", encoding="ascii") as f:
            f.write('{"version":1,"bo')
        assert t.ask("load")["port"] == KEY
        assert t.next()["r"] == 0
        assert os.listdir("/run/r-ports") == [name]


main()
