#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who reaches whom over vnicd-datapath by itself and a Linux bridge: the matrix of tests/tables/reach.md."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from datapath import Datapath, find  # noqa: E402
from guest import Guest, start_all, vhost_user  # noqa: E402
from net import Bridge, Wire  # noqa: E402
from reach import MAC, VLAN, Matrix  # noqa: E402
from vt import main, test  # noqa: E402


def build():
    find("vnicd-datapath")
    br = Bridge("br0", mac="52:54:00:00:00:fe")
    out = br.outside("out")
    ports = [{"name": n, "mac": m, **({"vlan": VLAN[n]} if n in VLAN else {})} for n, m in MAC.items()]
    dp = Datapath(ports, uplink="tap=dp0").start()
    br.add("dp0")
    guests = {n: Guest(n, [vhost_user(m, dp.socket(n))]) for n, m in MAC.items()}
    start_all(*guests.values())
    return {"dp": dp, "guests": guests, "host": lambda: Wire("br0"), "outside": out.wire,
            "mac": {"host": br.mac, "outside": out.mac}}


matrix = Matrix("reach", build)


@test("reach-orderly-end: vnicd-datapath ends on SIGTERM and leaves no socket")
def orderly_end():
    matrix.setup()
    for g in matrix.bed["guests"].values():
        g.kill()
    matrix.bed["dp"].alive()
    matrix.bed["dp"].stop()


main()
