#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11 6.1/9
# time limit: 420
"""daemon/exec's steps on VFs, by real drivers: igb with its VFs, netdevsim. Rows of tests/tables/vf-attributes.md."""
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import inside  # noqa: E402
from devices import (HOLD, IGB, PCI, Pf, Tool, bind, driver, link, netdev, netdevsim, no_netdevsims,  # noqa: E402
                     override, read, rename, write)
from vt import run, test, wait_for  # noqa: E402

GUEST = "52:54:00:aa:00:01"
OTHER = "52:54:00:aa:00:02"
NONE = "00:00:00:00:00:00"
MTU_OF_8021AD = 0x88A8


def mac_value(mac):
    return int(mac.replace(":", ""), 16)


def vlan(vid, qos=0, proto=0):
    return vid | qos << 12 | proto << 16


def rate(most, least=0):
    return least << 32 | most


VFS = 4


class Igb(Pf):
    """The igb with VFS VFs and its link up, as a test expects it; a test that leaves it so costs the next one nothing.
    probe: with igbvf bound to the VFs, which then tell the PF of MACs of their own invention."""

    def __init__(self, probe=False):
        super().__init__(IGB)
        self.probe = probe

    def __enter__(self):
        if driver(IGB) != "igb":
            bind(IGB, "igb")
            write(f"{self.dir}/driver_override", "\n")
            self.back()
        run("modprobe", "-a", "igbvf", "vfio-pci")
        run("ip", "link", "set", "dev", self.dev, "nomaster", "up")
        if not self.as_made():
            self.make(VFS, self.probe)
        self.has_carrier()
        return self

    def has_carrier(self):
        """It is lost for a moment where VFs are made."""
        wait_for("igb's carrier", lambda: read(f"{self.dir}/net/{self.dev}/carrier") == "1")
        wait_for("a rate to be taken", lambda: run("ip", "link", "set", "dev", self.dev, "vf", "0", "max_tx_rate", "0",
                                                   check=False).returncode == 0)

    def as_made(self):
        """Nothing is left of the test before."""
        return (self.numvfs() == VFS and self.autoprobe() == self.probe and
                self.whole(VFS, "igbvf" if self.probe else "") and
                all(v["address"] == NONE or self.probe for v in self.vfs()) and
                all(v["vlan_list"] == [{}] and v["spoofchk"] and not v["trust"] and
                    v["rate"] == {"max_tx": 0, "min_tx": 0} for v in self.vfs()) and
                not any(override(self.vf_addr(i)) for i in range(VFS)) and
                not (self.probe and any("UP" in link(netdev(self.vf_addr(i)))["flags"] for i in range(VFS))))

    def __exit__(self, *_):
        pass


def probed():
    return Igb(True)


class Sim:
    def __enter__(self):
        no_netdevsims()
        return netdevsim(1)

    def __exit__(self, *_):
        no_netdevsims()


def vf_fields(pf, i):
    out = {"dev": pf.addr, "vf": i}
    if pf.bus == "pci":
        out["vf_addr"] = pf.vf_addr(i)
    return out


def shown(pf, i):
    """All that the driver tells of a VF, and of the others, which nothing may change."""
    return json.dumps(pf.vf(i), sort_keys=True), json.dumps([v for v in pf.vfs() if v["vf"] != i], sort_keys=True)


def there_and_back(device, attr, value, has, i=3):
    """Probe; begun and killed before it acted; done twice; undone twice: as before. Changed since: theirs."""
    with device() as pf, Tool() as x:
        what = dict(vf_fields(pf, i), attr=attr, value=value)
        before = shown(pf, i)
        prev = x.step("probe", "vf-attr", **what)["prev"]
        assert prev != value, "the test would change nothing"
        x.step("undo", "vf-attr", prev=prev, **what)
        assert shown(pf, i) == before
        for _ in range(2):
            x.step("do", "vf-attr", **what)
            assert has(pf.vf(i)), pf.vf(i)
            assert shown(pf, i)[1] == before[1]
        # Never recorded what it was: nothing to put back.
        x.step("undo", "vf-attr", **what)
        assert has(pf.vf(i)), pf.vf(i)
        for _ in range(2):
            x.step("undo", "vf-attr", prev=prev, **what)
            assert shown(pf, i) == before


def refused(device, attr, value, error, says):
    """The driver's own refusal, in its words where it has some; nothing is changed by the try."""
    with device() as pf, Tool() as x:
        before = pf.vfs()
        x.step("do", "vf-attr", error, says, **vf_fields(pf, 3), attr=attr, value=value)
        assert pf.vfs() == before, pf.vfs()


ATTRS = {
    # name of the row: attr, value, what ip-link tells then
    "mac": ("mac", mac_value(GUEST), lambda v: v["address"] == GUEST),
    "vlan": ("vlan", vlan(12), lambda v: v["vlan_list"] == [{"vlan": 12}]),
    "vlan-qos": ("vlan", vlan(12, 3), lambda v: v["vlan_list"] == [{"vlan": 12, "qos": 3}]),
    "8021ad": ("vlan", vlan(12, 0, MTU_OF_8021AD),
               lambda v: v["vlan_list"] == [{"vlan": 12, "protocol": "802.1ad"}]),
    "max-rate": ("rate", rate(100), lambda v: v["rate"] == {"max_tx": 100, "min_tx": 0}),
    "min-rate": ("rate", rate(200, 100), lambda v: v["rate"] == {"max_tx": 200, "min_tx": 100}),
    "spoofchk": ("spoofchk", None, None),
    "trust": ("trust", 1, lambda v: v["trust"]),
    "state": ("state", 1, lambda v: v["link_state"] == "enable"),
    "query-rss": ("query_rss", 1, lambda v: v["query_rss_en"]),
}


def spoofchk(device, value):
    there_and_back(device, "spoofchk", value, lambda v: v["spoofchk"] == bool(value))


for row in ("mac", "vlan", "vlan-qos", "max-rate", "trust"):
    test(f"igb-{row}")(lambda row=row: there_and_back(Igb, *ATTRS[row]))
test("igb-spoofchk")(lambda: spoofchk(Igb, 0))
for row in [r for r in ATTRS if r != "spoofchk"]:
    test(f"netdevsim-{row}")(lambda row=row: there_and_back(Sim, *ATTRS[row]))
test("netdevsim-spoofchk")(lambda: spoofchk(Sim, 1))
for row, error, says in (("8021ad", "EPROTONOSUPPORT", "Protocol not supported"),
                         ("min-rate", "EINVAL", "min_tx_rate?"), ("state", "EOPNOTSUPP", "Operation not supported"),
                         ("query-rss", "EOPNOTSUPP", "does not tell")):
    test(f"igb-refuses-{row}")(lambda row=row, error=error, says=says: refused(Igb, *ATTRS[row][:2], error, says))




# Making VFs.

def state(pf):
    return pf.numvfs(), pf.autoprobe()


@test("igb-autoprobe")
def igb_autoprobe():
    with Igb() as pf, Tool() as x:
        for value, was in ((1, 0), (0, 1)):
            pf.set_autoprobe(was)
            step = {"dev": IGB, "value": value}
            assert x.step("probe", "nic-autoprobe", **step)["prev"] == was
            x.step("undo", "nic-autoprobe", prev=was, **step)
            assert pf.autoprobe() == was
            for _ in range(2):
                x.step("do", "nic-autoprobe", **step)
                assert pf.autoprobe() == value
            for _ in range(2):
                x.step("undo", "nic-autoprobe", prev=was, **step)
                assert pf.autoprobe() == was
            x.step("do", "nic-autoprobe", **step)
            write(f"{pf.dir}/sriov_drivers_autoprobe", str(was))
            x.step("undo", "nic-autoprobe", prev=was, **step)
            assert pf.autoprobe() == was and pf.numvfs() == VFS


def made(device, n):
    """Made by a child, whole in the end; repeated, undone, repeated; changed since: theirs."""
    with device() as pf, Tool() as x:
        pf.set_numvfs(0)
        step = {"dev": pf.addr, "value": n}
        assert x.step("probe", "nic-numvfs", **step)["prev"] == 0
        x.step("slow undo", "nic-numvfs", prev=0, **step)
        assert pf.numvfs() == 0
        x.step("slow do", "nic-numvfs", **step)
        if pf.bus == "pci":
            pf.is_whole(n, "igbvf" if pf.probe else "")
        assert pf.numvfs() == n and len(pf.vfs()) == n
        before = pf.vfs()
        x.step("slow do", "nic-numvfs", **step)
        assert pf.vfs() == before
        for _ in range(2):
            x.step("slow undo", "nic-numvfs", prev=0, **step)
            assert pf.numvfs() == 0 and not pf.vfs()
        pf.set_numvfs(1)
        x.step("slow undo", "nic-numvfs", prev=0, **step)
        assert pf.numvfs() == 1


@test("igb-numvfs")
def igb_numvfs():
    made(Igb, 7)


@test("igb-numvfs-with-drivers")
def igb_numvfs_with_drivers():
    made(probed, 2)


@test("netdevsim-numvfs")
def netdevsim_numvfs():
    made(Sim, 4)


@test("numvfs-refused")
def numvfs_refused():
    with Igb() as pf, Tool() as x:
        x.step("slow do", "nic-numvfs", "EBUSY", "did not make", dev=IGB, value=3)
        assert pf.numvfs() == VFS
        pf.set_numvfs(0)
        x.step("slow do", "nic-numvfs", "ERANGE", "", dev=IGB, value=8)
        assert pf.numvfs() == 0


@test("numvfs-changed-before-it-acts")
def numvfs_changed():
    with Igb() as pf, Tool() as x:
        pf.set_numvfs(0)
        step = {"dev": IGB, "value": 7}
        assert x.step("probe", "nic-numvfs", **step)["prev"] == 0
        pf.set_numvfs(3)
        x.step("slow do", "nic-numvfs", "EBUSY", "has 3 VFs which vnicd did not make", **step)
        x.step("slow undo", "nic-numvfs", prev=0, **step)
        assert pf.numvfs() == 3


@test("numvfs-child-killed")
def numvfs_child_killed():
    """The write goes on in the kernel; the job has failed, and its undo finds what there is."""
    with Igb() as pf, Tool() as x:
        step = {"dev": IGB, "value": 7}
        for after in (0, 0.1):
            pf.set_numvfs(0)
            x.tell("slow do", "nic-numvfs", **step)
            child = wait_for("the child", x.children, every=0.001)[0]
            time.sleep(after)
            os.kill(child, signal.SIGKILL)
            a = x.answer()
            assert a["error"] in ("EIO", ""), a
            x.step("slow undo", "nic-numvfs", prev=0, **step)
            assert pf.numvfs() == 0 and not pf.vfs()


# A VF's driver.

def vf_state(pf, i):
    a = pf.vf_addr(i)
    return driver(a), override(a)


def bound(device, i, wanted, prepare=None):
    """Bound to a driver and back: its driver and its override as before, each time it is done or undone again."""
    with device() as pf, Tool() as x:
        what = dict(vf_fields(pf, i), driver=wanted)
        if prepare:
            prepare(pf.vf_addr(i))
        before = vf_state(pf, i), [vf_state(pf, k) for k in range(VFS) if k != i]
        a = x.step("probe", "vf-driver", **what)
        prev = {"prev_driver": a["prev-driver"], "prev_override": a["prev-override"]}
        assert (prev["prev_driver"], prev["prev_override"]) == before[0], a
        x.step("slow undo", "vf-driver", **prev, **what)
        assert vf_state(pf, i) == before[0]
        for _ in range(2):
            x.step("slow do", "vf-driver", **what)
            assert driver(pf.vf_addr(i)) == wanted, vf_state(pf, i)
        for _ in range(2):
            x.step("slow undo", "vf-driver", **prev, **what)
            assert (vf_state(pf, i), [vf_state(pf, k) for k in range(VFS) if k != i]) == before, vf_state(pf, i)
        # Killed with our override written, at no driver.
        write(f"{PCI}/devices/{pf.vf_addr(i)}/driver_override", wanted or "\n")
        if driver(pf.vf_addr(i)):
            write(f"{PCI}/devices/{pf.vf_addr(i)}/driver/unbind", pf.vf_addr(i))
        x.step("slow undo", "vf-driver", **prev, **what)
        assert vf_state(pf, i) == before[0], vf_state(pf, i)
        if prepare:
            bind(pf.vf_addr(i), "")


@test("igb-driver-vfio-and-none")
def driver_vfio_none():
    bound(Igb, 2, "vfio-pci")


@test("igb-driver-vfio-and-igbvf")
def driver_vfio_igbvf():
    bound(probed, 2, "vfio-pci")


@test("igb-driver-override-of-others")
def driver_override_kept():
    """Somebody bound it by an override, with autoprobe off: it is bound so again, and the override is kept."""
    bound(Igb, 2, "vfio-pci", lambda a: bind(a, "igbvf"))


@test("driver-of-others-stays")
def driver_of_others():
    with Igb() as pf, Tool() as x:
        what = dict(vf_fields(pf, 2), driver="vfio-pci")
        x.step("slow do", "vf-driver", **what)
        bind(pf.vf_addr(2), "igbvf")
        x.step("slow undo", "vf-driver", prev_driver="", prev_override="", **what)
        assert vf_state(pf, 2) == ("igbvf", "igbvf")
        bind(pf.vf_addr(2), "")


@test("driver-unloaded-meanwhile")
def driver_unloaded():
    with Igb() as pf, Tool() as x:
        what = dict(vf_fields(pf, 2), driver="vfio-pci")
        x.step("slow do", "vf-driver", **what)
        run("modprobe", "-r", "igbvf")
        x.step("slow undo", "vf-driver", prev_driver="igbvf", prev_override="", **what)
        assert vf_state(pf, 2) == ("", "")


@test("driver-not-loaded")
def driver_not_loaded():
    with Igb() as pf, Tool() as x:
        before = [vf_state(pf, i) for i in range(VFS)]
        x.step("slow do", "vf-driver", "ENOENT", "'modprobe nosuch'", driver="nosuch", **vf_fields(pf, 2))
        assert [vf_state(pf, i) for i in range(VFS)] == before


@test("driver-does-not-take-it")
def driver_does_not_take_it():
    """virtio-pci has no business with an igb's VF: said, and put back."""
    with Igb() as pf, Tool() as x:
        what = dict(vf_fields(pf, 2), driver="e1000e" if os.path.isdir(f"{PCI}/drivers/e1000e") else "virtio-pci")
        x.step("slow do", "vf-driver", "ENXIO", "did not take it", **what)
        x.step("slow undo", "vf-driver", prev_driver="", prev_override="", **what)
        assert vf_state(pf, 2) == ("", "")


@test("driver-held-in-bridge")
def driver_in_bridge():
    with probed() as pf, Tool() as x:
        a = pf.vf_addr(2)
        what = dict(vf_fields(pf, 2), driver="vfio-pci")
        run("ip", "link", "add", "br9", "type", "bridge")
        try:
            run("ip", "link", "set", "dev", netdev(a), "master", "br9")
            x.step("slow do", "vf-driver", "EBUSY", "is in a bridge", **what)
            run("ip", "link", "set", "dev", netdev(a), "nomaster", "up")
            x.step("slow do", "vf-driver", "EBUSY", "it is up", **what)
            assert vf_state(pf, 2) == ("igbvf", "")
        finally:
            run("ip", "link", "set", "dev", netdev(a), "nomaster", "down")
            run("ip", "link", "del", "br9")


@test("driver-netdev-in-netns")
def driver_in_netns():
    with probed() as pf, Tool() as x:
        a, name = pf.vf_addr(2), netdev(pf.vf_addr(2))
        run("ip", "netns", "add", "other")
        try:
            run("ip", "link", "set", "dev", name, "netns", "other")
            x.step("slow do", "vf-driver", "EBUSY", "another network namespace", driver="vfio-pci", **vf_fields(pf, 2))
            assert "prev" not in x.step("probe", "vf-netdev-mac", **vf_fields(pf, 2))
            assert vf_state(pf, 2) == ("igbvf", "")
        finally:
            run("ip", "-n", "other", "link", "set", "dev", name, "netns", "1")
            run("ip", "netns", "del", "other")
        wait_for("its interface back", lambda: netdev(a))


@test("driver-child-hangs")
def driver_child_hangs():
    """Another has the device open by vfio: unbinding waits for it, our wait ends, and the loop is free."""
    with Igb() as pf, Tool() as x:
        what = dict(vf_fields(pf, 2), driver="vfio-pci")
        x.step("slow do", "vf-driver", **what)
        group = os.path.basename(os.readlink(f"{PCI}/devices/{pf.vf_addr(2)}/iommu_group"))
        user = subprocess.Popen(["/usr/bin/python3", "-c", HOLD, group, pf.vf_addr(2)], stdout=subprocess.PIPE)
        try:
            assert user.stdout.readline() == b"held\n"
            x.step("slow undo", "vf-driver", "ETIMEDOUT", "journalctl -k", deadline=500, prev_driver="",
                   prev_override="", **what)
            # It is free for others: a step on another VF is done meanwhile.
            x.step("do", "vf-attr", attr="trust", value=1, **vf_fields(pf, 1))
            x.step("undo", "vf-attr", attr="trust", value=1, prev=0, **vf_fields(pf, 1))
        finally:
            user.kill()
            user.wait()
        wait_for("the unbinding", lambda: driver(pf.vf_addr(2)) == "")
        x.step("slow undo", "vf-driver", deadline=60000, prev_driver="", prev_override="", **what)
        assert vf_state(pf, 2) == ("", "")
        wait_for("no child left", lambda: x.step("slow do", "nic-numvfs", dev=IGB, value=VFS) and not x.children())


@test("igb-reset")
def igb_reset():
    with Igb() as pf, Tool() as x:
        for i in range(2):
            if i:
                bind(pf.vf_addr(2), "vfio-pci")
            before = vf_state(pf, 2), pf.vfs()
            x.step("slow do", "vf-reset", **vf_fields(pf, 2))
            x.step("slow undo", "vf-reset", **vf_fields(pf, 2))
            assert (vf_state(pf, 2), pf.vfs()) == before
        bind(pf.vf_addr(2), "")


# MACs: the one that was given, the one that the VF's own interface has.

def effective(pf, i):
    return link(wait_for("the VF's interface", lambda: netdev(pf.vf_addr(i))))["address"]


def vfio_tenant(x, pf, i, mac):
    """All that a guest's VF goes through, in the order of its plan; then back."""
    f = vf_fields(pf, i)
    steps = [("vf-netdev-mac", {}), ("vf-driver", {"driver": "vfio-pci"}), ("vf-reset", {}),
             ("vf-attr", {"attr": "trust", "value": 1}), ("vf-attr", {"attr": "vlan", "value": vlan(12)}),
             ("vf-attr", {"attr": "mac", "value": mac_value(mac)})]
    done = []
    for kind, more in steps:
        a = x.step("probe", kind, **f, **more)
        prev = {"prev": a["prev"]} if "prev" in a else {}
        if kind == "vf-driver":
            prev = {"prev_driver": a["prev-driver"], "prev_override": a["prev-override"]}
        done.append((kind, {**f, **more}, prev))
        x.step("slow do" if kind in ("vf-driver", "vf-reset") else "do", kind, **f, **more)

    def back():
        for kind, what, prev in reversed(done):
            x.step("slow undo" if kind in ("vf-driver", "vf-reset") else "undo", kind, **what, **prev)
    return back


@test("mac-of-the-vf-itself")
def mac_of_the_vf():
    """igb tells the MAC that its VF has invented as if it had been given; put back it is none, and the VF has its own."""
    with probed() as pf, Tool() as x:
        own = effective(pf, 1)
        run("ip", "link", "set", "dev", netdev(pf.vf_addr(1)), "address", own)
        wait_for("the PF to be told", lambda: pf.vf(1)["address"] == own)
        a = x.step("probe", "vf-attr", attr="mac", value=mac_value(GUEST), **vf_fields(pf, 1))
        assert a["prev"] == 0, a
        back = vfio_tenant(x, pf, 1, GUEST)
        assert pf.vf(1)["address"] == GUEST and pf.vf(1)["vlan_list"] == [{"vlan": 12}] and pf.vf(1)["trust"]
        back()
        assert vf_state(pf, 1) == ("igbvf", "")
        assert effective(pf, 1) == own
        wait_for("the PF to be told", lambda: pf.vf(1)["address"] == own)
        # Not given: it may still change it.
        run("ip", "link", "set", "dev", netdev(pf.vf_addr(1)), "address", OTHER)
        wait_for("the PF to be told", lambda: pf.vf(1)["address"] == OTHER)


@test("mac-given-before")
def mac_given_before():
    """An administrator's MAC, and the interface with it: both as before, and still not the VF's to change."""
    with probed() as pf, Tool() as x:
        pf.set_vf(1, "mac", OTHER)
        bind(pf.vf_addr(1), "igbvf")
        write(f"{PCI}/devices/{pf.vf_addr(1)}/driver_override", "\n")
        assert effective(pf, 1) == OTHER
        a = x.step("probe", "vf-attr", attr="mac", value=mac_value(GUEST), **vf_fields(pf, 1))
        assert a["prev"] == mac_value(OTHER), a
        back = vfio_tenant(x, pf, 1, GUEST)
        assert pf.vf(1)["address"] == GUEST
        back()
        assert effective(pf, 1) == OTHER and pf.vf(1)["address"] == OTHER
        run("ip", "link", "set", "dev", netdev(pf.vf_addr(1)), "address", GUEST, check=False)
        assert pf.vf(1)["address"] == OTHER
        pf.set_numvfs(0)


@test("netdev-mac-restored")
def netdev_mac():
    """The interface was called by a MAC that the PF does not know of."""
    with probed() as pf, Tool() as x:
        run("ip", "link", "set", "dev", netdev(pf.vf_addr(1)), "address", OTHER)
        assert effective(pf, 1) == OTHER
        back = vfio_tenant(x, pf, 1, GUEST)
        back()
        assert effective(pf, 1) == OTHER
        x.step("undo", "vf-netdev-mac", prev=mac_value(OTHER), **vf_fields(pf, 1))
        assert effective(pf, 1) == OTHER


@test("mac-that-the-guest-changed")
def mac_guest_changed():
    """A trusted VF may take another MAC, and igb tells that one: it is ours to put back all the same."""
    with Igb() as pf, Tool() as x:
        f = vf_fields(pf, 1)
        x.step("do", "vf-attr", attr="trust", value=1, **f)
        x.step("do", "vf-attr", attr="mac", value=mac_value(GUEST), **f)
        bind(pf.vf_addr(1), "igbvf")
        run("ip", "link", "set", "dev", wait_for("its interface", lambda: netdev(pf.vf_addr(1))), "address", OTHER)
        wait_for("the PF to be told", lambda: pf.vf(1)["address"] == OTHER)
        bind(pf.vf_addr(1), "vfio-pci")
        x.step("undo", "vf-attr", attr="mac", value=mac_value(GUEST), prev=0, **f)
        assert pf.vf(1)["address"] == NONE, pf.vf(1)
        x.step("undo", "vf-attr", attr="trust", value=1, prev=0, **f)
        bind(pf.vf_addr(1), "")


@test("attr-set-by-others-since")
def attr_of_others():
    with Igb() as pf, Tool() as x:
        f = vf_fields(pf, 3)
        for attr, ours, words, has in (("vlan", vlan(12), ("vlan", "13"), lambda v: v["vlan_list"] == [{"vlan": 13}]),
                                       ("mac", mac_value(GUEST), ("mac", OTHER), lambda v: v["address"] == OTHER),
                                       ("rate", rate(100), ("max_tx_rate", "50"), lambda v: v["rate"]["max_tx"] == 50)):
            x.step("do", "vf-attr", attr=attr, value=ours, **f)
            pf.set_vf(3, *words)
            x.step("undo", "vf-attr", attr=attr, value=ours, prev=0, **f)
            assert has(pf.vf(3)), pf.vf(3)
        pf.set_vf(3, "vlan", "0", "mac", NONE, "max_tx_rate", "0")


@test("attr-another-value-wanted")
def attr_another_wanted():
    """What it has is ours still where a class asked for another value that was never set; else's is not."""
    with Igb() as pf, Tool() as x:
        f = vf_fields(pf, 3)
        x.step("do", "vf-attr", attr="rate", value=rate(100), **f)
        x.step("undo", "vf-attr", attr="rate", value=rate(50), old=rate(70), prev=0, **f)
        assert pf.vf(3)["rate"]["max_tx"] == 100, pf.vf(3)
        x.step("undo", "vf-attr", attr="rate", value=rate(50), old=rate(100), prev=0, **f)
        assert pf.vf(3)["rate"]["max_tx"] == 0, pf.vf(3)


@test("rate-without-carrier")
def rate_without_carrier():
    """igb refuses any rate then: said so, at the way in and at the way back."""
    with Igb() as pf, Tool() as x:
        f = vf_fields(pf, 3)
        x.step("do", "vf-attr", attr="rate", value=rate(100), **f)
        run("ip", "link", "set", "dev", pf.dev, "down")
        wait_for("no carrier", lambda: run("ip", "link", "set", "dev", pf.dev, "vf", "0", "max_tx_rate", "0",
                                           check=False).returncode != 0)
        x.step("do", "vf-attr", "EINVAL", "no carrier", attr="rate", value=rate(50), **f)
        x.step("undo", "vf-attr", "EINVAL", "no carrier", attr="rate", value=rate(100), prev=0, **f)
        run("ip", "link", "set", "dev", pf.dev, "up")
        pf.has_carrier()
        x.step("undo", "vf-attr", attr="rate", value=rate(100), prev=0, **f)
        assert pf.vf(3)["rate"]["max_tx"] == 0


# The card's own table of MACs.

def fdb(pf, mac):
    return [e for e in json.loads(run("bridge", "-j", "fdb", "show", "dev", pf.dev)) if e["mac"] == mac]


def fdb_entry(device):
    with device() as pf, Tool() as x:
        what = {"dev": pf.addr, "mac": GUEST}
        assert x.step("probe", "nic-fdb", **what)["prev"] == 0
        x.step("undo", "nic-fdb", prev=0, **what)
        for _ in range(2):
            x.step("do", "nic-fdb", **what)
            assert fdb(pf, GUEST) and fdb(pf, GUEST)[0]["flags"] == ["self"], fdb(pf, GUEST)
        for _ in range(2):
            x.step("undo", "nic-fdb", prev=0, **what)
            assert not fdb(pf, GUEST)
        run("bridge", "fdb", "add", OTHER, "dev", pf.dev, "self")
        assert x.step("probe", "nic-fdb", dev=pf.addr, mac=OTHER)["prev"] == 1
        x.step("do", "nic-fdb", dev=pf.addr, mac=OTHER)
        x.step("undo", "nic-fdb", dev=pf.addr, mac=OTHER, prev=1)
        assert fdb(pf, OTHER)
        run("bridge", "fdb", "del", OTHER, "dev", pf.dev, "self")


test("igb-fdb")(lambda: fdb_entry(Igb))
test("netdevsim-fdb")(lambda: fdb_entry(Sim))


@test("igb-fdb-full")
def fdb_full():
    with Igb() as pf, Tool() as x:
        macs = [f"52:54:00:bb:00:{n:02x}" for n in range(40)]
        done = []
        for mac in macs:
            x.tell("do", "nic-fdb", dev=IGB, mac=mac)
            a = x.answer()
            if a["error"]:
                break
            done.append(mac)
        assert a["error"] == "ENOMEM" and "table" in a["message"], a
        assert len(done) == 23 - VFS, len(done)
        for mac in done:
            x.step("undo", "nic-fdb", dev=IGB, mac=mac, prev=0)
        assert not any(fdb(pf, m) for m in macs)


# Who is meant.

KINDS = (("vf-attr", {"attr": "vlan", "value": vlan(12)}), ("vf-driver", {"driver": "vfio-pci"}), ("vf-reset", {}))


@test("another-vf-at-that-index")
def another_vf():
    with Igb() as pf, Tool() as x:
        before = pf.vfs(), [vf_state(pf, i) for i in range(VFS)]
        f = {"dev": IGB, "vf": 2, "vf_addr": pf.vf_addr(3)}
        for kind, more in KINDS:
            x.step("do", kind, "ESTALE", f"VF 2 of {IGB} is {pf.vf_addr(2)} by now", **f, **more)
            if kind != "vf-reset":
                x.step("probe", kind, "ESTALE", **f, **more)
            x.step("undo", kind, prev=0, **f, **more)
        x.step("probe", "vf-netdev-mac", "ESTALE", **f)
        x.step("undo", "vf-netdev-mac", prev=1, **f)
        assert (pf.vfs(), [vf_state(pf, i) for i in range(VFS)]) == before


@test("vf-gone")
def vf_gone():
    with Igb() as pf, Tool() as x:
        f = vf_fields(pf, 3)
        pf.set_numvfs(2)
        for kind, more in KINDS:
            x.step("do", kind, "ENODEV", "has no VF 3 any more", **f, **more)
            x.step("undo", kind, prev=0, **f, **more)
        assert pf.numvfs() == 2


@test("pf-driver-unbound")
def pf_unbound():
    with Igb() as pf, Tool() as x:
        f = vf_fields(pf, 2)
        x.step("do", "vf-attr", attr="vlan", value=vlan(12), **f)
        write(f"{PCI}/drivers/igb/unbind", IGB)
        try:
            for kind, more in KINDS:
                x.step("do", kind, "ENODEV", **f, **more)
                x.step("undo", kind, prev=0, **f, **more)
            x.step("slow do", "nic-numvfs", "ENOENT", "no driver", dev=IGB, value=7)
            x.step("slow undo", "nic-numvfs", dev=IGB, value=7, prev=0)
            x.step("do", "nic-fdb", "ENODEV", "no interface", dev=IGB, mac=GUEST)
            x.step("undo", "nic-fdb", dev=IGB, mac=GUEST, prev=0)
        finally:
            write(f"{PCI}/drivers/igb/bind", IGB)
        pf.back()
        assert pf.numvfs() == 0


def gone(x, pf, f):
    for kind, more in KINDS:
        x.step("do", kind, "ENODEV", "there is no device", **f, **more)
        x.step("undo", kind, prev=0, **f, **more)
    for kind in ("nic-numvfs", "nic-autoprobe"):
        x.step("do", kind, "ENODEV", "there is no device", dev=pf.addr, value=1)
        x.step("undo", kind, dev=pf.addr, value=1, prev=0)
    x.step("do", "nic-fdb", "ENODEV", "there is no device", dev=pf.addr, mac=GUEST)
    x.step("undo", "nic-fdb", dev=pf.addr, mac=GUEST, prev=0)


@test("pf-gone")
def pf_gone():
    with Igb() as pf, Tool() as x:
        f = vf_fields(pf, 2)
        write(f"{pf.dir}/remove", "1")
        try:
            gone(x, pf, f)
        finally:
            write(f"{PCI}/rescan", "1")
        pf.back()


@test("pf-gone-netdevsim")
def sim_gone():
    with Sim() as pf, Tool() as x:
        no_netdevsims()
        gone(x, pf, {"dev": pf.addr, "vf": 2, "vf_addr": ""})


@test("pf-renamed")
def pf_renamed():
    """Names do not count: the address does."""
    with Igb() as pf, Tool() as x:
        name = pf.dev
        what = dict(vf_fields(pf, 2), attr="vlan", value=vlan(12))
        x.step("do", "vf-attr", **what)
        rename(name, "other0")
        try:
            x.step("undo", "vf-attr", prev=0, **what)
            assert pf.vf(2)["vlan_list"] == [{}]
        finally:
            rename("other0", name)


if __name__ == "__main__":
    inside.main(__file__, ["tests/unit/systool"], limit=400)
