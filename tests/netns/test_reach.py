#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who reaches whom: the matrix of tests/tables/reach.md, a test a row. All frames of a sender go in one
run, made once; each test then judges its row."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from datapath import Datapath, find  # noqa: E402
from guest import Guest, start_all, vhost_user  # noqa: E402
from net import Bridge, Wire, eth, mac_bytes  # noqa: E402
from vt import main, table, test  # noqa: E402

MAC = {"guest": "52:54:00:00:00:0a", "guest2": "52:54:00:00:00:0b",
       "vguest": "52:54:00:00:00:0c", "vguest2": "52:54:00:00:00:0d"}
VLAN = {"vguest": 12, "vguest2": 12}
TAGS = {"outside12": ("outside", 12), "guest-tagging": ("guest", 12)}  # who tags by itself: (it is, the tag)
TO = {"broadcast": "ff:ff:ff:ff:ff:ff", "multicast": "01:00:5e:01:02:03", "unknown": "52:54:00:ee:ee:01"}
COPIES = 3
ROWS = table("reach")
bed, runs = {}, {}


def setup():
    if bed:
        return
    find("vnicd-datapath")
    br = Bridge("br0", mac="52:54:00:00:00:fe")
    out = br.outside("out")
    ports = [{"name": n, "mac": m, **({"vlan": VLAN[n]} if n in VLAN else {})} for n, m in MAC.items()]
    dp = Datapath(ports, uplink="tap=dp0").start()
    br.add("dp0")
    guests = {n: Guest(n, [vhost_user(m, dp.socket(n))]) for n, m in MAC.items()}
    start_all(*guests.values())
    for g in guests.values():
        # What a guest's own stack says must not mix with the frames that are counted.
        g.sh("echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6; ip link set eth0 up promisc on")
    bed.update(br=br, out=out, dp=dp, guests=guests,
               mac={**MAC, "host": br.mac, "outside": out.mac, "outside12": out.mac,
                    "guest-tagging": MAC["guest"]})


def payload(frm, row, copy):
    """Names the row and the copy; the rest is a pattern, so that a damaged frame is not taken for it."""
    head = f"reach:{frm}:{row}:{copy}:".encode()
    return head + bytes((len(head) * 31 + i * 7 + copy) & 255 for i in range(70 - len(head)))


def frames_of(frm):
    """What a sender sends: (frame on its wire, row, copy)."""
    for i, row in enumerate(ROWS):
        if row["from"] == frm:
            dst = bed["mac"][row["to"]] if row["kind"] == "unicast" else TO[row["kind"]]
            for copy in range(COPIES):
                yield eth(dst, bed["mac"][frm], payload(frm, i, copy),
                          vlan=TAGS[frm][1] if frm in TAGS else None)


def run_of(frm):
    """Send all frames of a sender once; {receiver: [frames that arrived]}."""
    setup()
    if frm in runs:
        return runs[frm]
    guests = bed["guests"]
    for g in guests.values():
        g.bg("wire wait eth0 '' 60 100000", "/tmp/reach")
        g.sh("until grep -q listening /tmp/reach; do usleep 10000; done")
    with Wire("br0") as host, bed["out"].wire() as outside:
        frames = list(frames_of(frm))
        who = TAGS[frm][0] if frm in TAGS else frm
        if who in guests:
            guests[who].sh("set -e\n" + "\n".join(f"wire send eth0 {f.hex()}" for f in frames), 30)
        else:
            wire = host if who == "host" else outside
            for f in frames:
                wire.send(f)
                time.sleep(0.005)
        got = {"host": [], "outside": []}
        for name, wire in (("host", host), ("outside", outside)):
            while (f := wire.receive(0.7)) is not None:
                got[name].append(f)
    for n, g in guests.items():
        text = g.sh("killall wire; cat /tmp/reach; rm /tmp/reach")
        got[n] = [bytes.fromhex(x) for x in text.split() if x != "listening"]
    bed["dp"].alive()
    runs[frm] = got
    return got


def judge(i, row):
    got = [f for f in run_of(row["from"])[row["to"]] if f"reach:{row['from']}:{i}:".encode() in f]
    dst = bed["mac"][row["to"]] if row["kind"] == "unicast" else TO[row["kind"]]
    want = []
    if row["arrives"] != "no":
        vlan = 12 if row["arrives"] == "tagged" else None
        want = [eth(dst, bed["mac"][row["from"]], payload(row["from"], i, c), vlan=vlan)
                for c in range(COPIES)]
    if sorted(got) != sorted(want):
        raise AssertionError(f"{len(want)} frames should arrive, {len(got)} did: "
                             + ", ".join(f[:40].hex() for f in got[:4]))


for _i, _row in enumerate(ROWS):
    test(_row["test"])(lambda i=_i, row=_row: judge(i, row))


@test("reach-no-echo: no frame comes back to the guest that sent it")
def no_echo():
    for frm in MAC:
        if frm not in {r["from"] for r in ROWS}:
            continue
        back = [f for f in run_of(frm)[frm] if f[6:12] == mac_bytes(MAC[frm])]
        assert not back, f"{frm} got its own {back[0][:40].hex()}"


@test("reach-spoofed-source: a frame with another's source MAC goes nowhere")
def spoofed():
    setup()
    with Wire("br0") as host, bed["out"].wire() as outside:
        bed["guests"]["guest"].sh("wire send eth0 "
                                  + eth(TO["broadcast"], MAC["guest2"], b"spoofed-frame").hex())
        outside.expect_none("a spoofed frame", b"spoofed-frame")
        host.expect_none("a spoofed frame", b"spoofed-frame", 0.2)


@test("reach-orderly-end: vnicd-datapath ends on SIGTERM and leaves no socket")
def orderly_end():
    setup()
    for g in bed["guests"].values():
        g.kill()
    bed["dp"].alive()
    bed["dp"].stop()


main()
