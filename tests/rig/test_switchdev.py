#!/usr/bin/python3 -B
# SPDX-License-Identifier: GPL-2.0-or-later
"""Representors of a driver: exec's steps on those of a netdevsim in switchdev mode, on the kernels of the rig, and the same
on played ones (tests/netns/test_representor.py), since not every kernel that tests run on has bridges that filter VLANs.
The table is tests/tables/representor.md."""
# rig: 6.12/11 6.1/9
# time limit: 300
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = ["/root/tests/lib", os.path.join(HERE, "../lib")]
import inside  # noqa: E402
from devices import SYSTOOL, netdevsim, no_netdevsims, read  # noqa: E402
from net import quiet  # noqa: E402
from representor import register  # noqa: E402
from vt import run, wait_for  # noqa: E402


class World:
    name, pf, sysfs, tool = "switchdev", "netdevsim1", "/sys", SYSTOOL
    vf = 2

    def make(self):
        no_netdevsims()
        pf = netdevsim(1, 3)
        run("devlink", "dev", "eswitch", "set", "netdevsim/netdevsim1", "mode", "switchdev")

        def named(port):
            return [n for n in os.listdir(f"{pf.dir}/net") if read(f"{pf.dir}/net/{n}/phys_port_name") == port]
        self.rep, self.other, self.nic = (wait_for(p, lambda p=p: named(p))[0] for p in ("pf0vf2", "pf0vf0", "p1"))
        # udev gives new interfaces their MACs, IPv6 its groups.
        self.settle()
        for name in (self.rep, self.other, self.nic):
            quiet(name)

    def lose(self):
        """The driver's own removal takes its interfaces with it: what is left to see is that nothing is touched."""
        no_netdevsims()

    def settle(self):
        run("udevadm", "settle")

    def clean(self):
        no_netdevsims()


register(World())
if __name__ == "__main__":
    inside.main(__file__, ["tests/unit/systool"])
