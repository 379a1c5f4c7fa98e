# SPDX-License-Identifier: GPL-2.0-or-later
"""Who reaches whom: a matrix of tests/tables, a test a row. All frames of a sender go in one run, made once; each test
then judges its row. Where the guests' network comes from is the caller's."""
import time

from net import eth, mac_bytes
from vt import table, test

MAC = {"guest": "52:54:00:00:00:0a", "guest2": "52:54:00:00:00:0b",
       "vguest": "52:54:00:00:00:0c", "vguest2": "52:54:00:00:00:0d"}
VLAN = {"vguest": 12, "vguest2": 12}
TAGS = {"outside12": ("outside", 12), "guest-tagging": ("guest", 12)}  # who tags by itself: (it is, the tag)
TO = {"broadcast": "ff:ff:ff:ff:ff:ff", "multicast": "01:00:5e:01:02:03", "unknown": "52:54:00:ee:ee:01"}
COPIES = 3


class Matrix:
    """rows: of the table of that name. build() returns the bed: dp (with alive()), guests by name, host and outside
    (functions that make a Wire), mac (of those two)."""

    def __init__(self, name, build):
        self.rows, self.build, self.bed, self.runs = table(name), build, {}, {}
        for i, row in enumerate(self.rows):
            test(row["test"])(lambda i=i, row=row: self.judge(i, row))
        test(f"{name}-no-echo: no frame comes back to the guest that sent it")(self.no_echo)
        test(f"{name}-spoofed-source: a frame with another's source MAC goes nowhere")(self.spoofed)

    def setup(self):
        if self.bed:
            return
        bed = self.build()
        for g in bed["guests"].values():
            # What a guest's own stack says must not mix with the frames that are counted.
            g.sh("echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6; ip link set eth0 up promisc on")
        out = bed["mac"]["outside"]
        bed["mac"] = {**MAC, **bed["mac"], "outside12": out, "guest-tagging": MAC["guest"]}
        self.bed = bed

    def frames_of(self, frm):
        """What a sender sends: (frame on its wire, row, copy)."""
        mac = self.bed["mac"]
        for i, row in enumerate(self.rows):
            if row["from"] == frm:
                dst = mac[row["to"]] if row["kind"] == "unicast" else TO[row["kind"]]
                for copy in range(COPIES):
                    yield eth(dst, mac[frm], payload(frm, i, copy), vlan=TAGS[frm][1] if frm in TAGS else None)

    def run_of(self, frm):
        """Send all frames of a sender once; {receiver: [frames that arrived]}."""
        self.setup()
        if frm in self.runs:
            return self.runs[frm]
        bed, guests = self.bed, self.bed["guests"]
        for g in guests.values():
            g.bg("wire wait eth0 '' 60 100000", "/tmp/reach")
            g.sh("until grep -q listening /tmp/reach; do usleep 10000; done")
        with bed["host"]() as host, bed["outside"]() as outside:
            frames = list(self.frames_of(frm))
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
        self.runs[frm] = got
        return got

    def judge(self, i, row):
        got = [f for f in self.run_of(row["from"])[row["to"]] if f"reach:{row['from']}:{i}:".encode() in f]
        mac = self.bed["mac"]
        dst = mac[row["to"]] if row["kind"] == "unicast" else TO[row["kind"]]
        want = []
        if row["arrives"] != "no":
            vlan = 12 if row["arrives"] == "tagged" else None
            want = [eth(dst, mac[row["from"]], payload(row["from"], i, c), vlan=vlan) for c in range(COPIES)]
        if sorted(got) != sorted(want):
            raise AssertionError(f"{len(want)} frames should arrive, {len(got)} did: "
                                 + ", ".join(f[:40].hex() for f in got[:4]))

    def no_echo(self):
        for frm in MAC:
            if frm not in {r["from"] for r in self.rows}:
                continue
            back = [f for f in self.run_of(frm)[frm] if f[6:12] == mac_bytes(MAC[frm])]
            assert not back, f"{frm} got its own {back[0][:40].hex()}"

    def spoofed(self):
        self.setup()
        with self.bed["host"]() as host, self.bed["outside"]() as outside:
            self.bed["guests"]["guest"].sh("wire send eth0 "
                                           + eth(TO["broadcast"], MAC["guest2"], b"spoofed-frame").hex())
            outside.expect_none("a spoofed frame", b"spoofed-frame")
            host.expect_none("a spoofed frame", b"spoofed-frame", 0.2)


def payload(frm, row, copy):
    """Names the row and the copy; the rest is a pattern, so that a damaged frame is not taken for it."""
    head = f"reach:{frm}:{row}:{copy}:".encode()
    return head + bytes((len(head) * 31 + i * 7 + copy) & 255 for i in range(70 - len(head)))
