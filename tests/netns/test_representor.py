#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A VF's representor in a bridge that filters VLANs: exec's steps, against the kernel of a sandbox. The representors
are veths, and a folder in the place of sysfs says whose they are; tests/rig/test_switchdev.py has those of a driver."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from net import ip, links  # noqa: E402
from representor import register  # noqa: E402
from vt import TOP, main, run  # noqa: E402


class World:
    name, pf, sysfs = "representor", "0000:03:00.0", "/run/sysfs"
    tool = os.path.join(os.environ.get("VNIC_BUILD") or os.path.join(TOP, "build/check"), "tests/unit/systool")
    rep, vf, other, nic = "rep3", 3, "rep13", "nic3"

    def make(self):
        for name, port_name in ((self.nic, "p0"), (self.rep, "pf0vf3"), (self.other, "c1pf0vf13")):
            ip("link", "add", name, "type", "veth", "peer", "name", "x" + name)
            at = f"{self.sysfs}/bus/pci/devices/{self.pf}/net/{name}"
            os.makedirs(at)
            for file, text in (("ifindex", links()[name]["ifindex"]), ("phys_port_name", port_name)):
                with open(f"{at}/{file}", "w", encoding="ascii") as f:
                    f.write(f"{text}\n")

    def lose(self):
        run("rm", "-rf", f"{self.sysfs}/bus/pci/devices/{self.pf}")

    def settle(self):
        pass

    def clean(self):
        for name in (self.nic, self.rep, self.other):
            ip("link", "del", name)
        run("rm", "-rf", self.sysfs)


register(World())
main()
