#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who reaches whom where the segment is a bridge of Open vSwitch's: the matrix of tests/tables/reach-ovs.md."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from daemon import Vnicd  # noqa: E402
from guest import Guest, start_all, vhost_user  # noqa: E402
from net import Wire  # noqa: E402
from ovs import Ovs  # noqa: E402
from reach import MAC, VLAN, Matrix  # noqa: E402
from vt import main, test, wait_for  # noqa: E402

UUID = "11111111-2222-3333-4444-555555555555"
bed = {}


class Alive:
    @staticmethod
    def alive():
        assert bed["v"].keeper.running() and bed["v"].daemon.running() and bed["v"].workers()


def build():
    ovs = Ovs().start()
    br = ovs.bridge("br0")
    out = br.outside("out")
    v = Vnicd().start()
    v.wait_connected()
    bed.update(ovs=ovs, br=br, v=v)
    guests = {}
    for name, mac in MAC.items():
        args = ["vlan", str(VLAN[name])] if name in VLAN else []
        port = v.ctl("port", "add", "uuid", UUID, "mac", mac, "class", "gold", "name", name, *args)["ports"][0]
        guests[name] = Guest(name, [vhost_user(mac, f"/run/vnicd/sock/gold/{port['name']}.sock")])
    assert br.has("vn0-lan")
    start_all(*guests.values())
    for mac in MAC.values():
        wait_for("the guest's driver", lambda m=mac: v.ports()[m]["state"] in ("connected", "running"))
    return {"dp": Alive, "guests": guests, "host": lambda: Wire("br0"), "outside": out.wire,
            "mac": {"host": br.mac, "outside": out.mac}}


matrix = Matrix("reach-ovs", build)


@test("reach-ovs-end: the ports deleted, the tap is out of the bridge and gone")
def end():
    matrix.setup()
    v, br = bed["v"], bed["br"]
    for g in matrix.bed["guests"].values():
        g.kill()
    for mac in MAC.values():
        v.ctl("port", "del", f"{UUID}/{mac}")
    wait_for("the tap to be gone", lambda: not br.has("vn0-lan"))
    v.stop()


main()
