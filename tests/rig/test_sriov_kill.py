#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11 6.1/9
# time limit: 600
"""A guest with a VF while vnicd, libvirtd, QEMU or the host die, or others meddle: the rows of tests/tables/rig-kill.md
that begin with sriov."""
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_sriov as bed  # noqa: E402
from nested import hostdev  # noqa: E402
from scenario import main, test, wait_for  # noqa: E402
import vt  # noqa: E402

vt._tests.clear()  # those of test_sriov are its own


def web():
    """The guest, running with its VF."""
    if bed.web is None:
        bed.web = bed.guest().define()
    if bed.web.state() != "running":
        bed.web.start()
        bed.attached()
        dev, _ = bed.failover(bed.web)
        bed.web.ip("10.9.0.1/24", dev)
    bed.attached()
    bed.by_vf(bed.web)
    bed.web.ping(bed.OUTSIDE)
    return bed.web


def kill_vnicd():
    bed._host.sh("kill -9 $(systemctl show -p MainPID --value vnicd)")


def back():
    """vnicd is there again, with its datapath."""
    wait_for("vnicd", lambda: b'"datapath_connected":true' in bed._host.run(["vnicctl", "-j", "status"])[1], 40, 0.2)


def gone():
    """The guest has ended and all is as before."""
    wait_for("the port's end", lambda: bed.port() is None, timeout=40)
    try:
        wait_for("the host as before", lambda: bed.state() == bed._before, timeout=20)
    except AssertionError as e:
        raise AssertionError(f"{e}: {bed._before}: is {bed.state()}") from e


@test("sriov-kill-vnicd-attached")
def attached():
    g = web()
    address = bed.port()["device"]["vf_addr"]
    kill_vnicd()
    g.ping(bed.OUTSIDE)
    back()
    assert bed.attached()["vf_addr"] == address
    g.ping(bed.OUTSIDE)


@test("sriov-kill-vnicd-attaching")
def attaching():
    g = web()
    for _ in range(3):
        bed._host.sh("vnicctl port detach web", 60)
        bed._host.sh("(vnicctl port attach web >/dev/null 2>&1 &)")
        time.sleep(random.uniform(0, 1.5))
        kill_vnicd()
        back()
        bed._host.sh("vnicctl port attach web", 90)
        bed.attached()
    bed.by_vf(g)
    g.ping(bed.OUTSIDE)


@test("sriov-kill-vnicd-detaching")
def detaching():
    g = web()
    for _ in range(3):
        bed._host.sh("(vnicctl port detach web >/dev/null 2>&1 &)")
        time.sleep(random.uniform(0, 1.5))
        kill_vnicd()
        back()
        bed._host.sh("vnicctl port detach web", 90)
        assert bed.port()["path"] == "software", bed.port()
        g.ping(bed.OUTSIDE)
        bed._host.sh("vnicctl port attach web", 90)
        bed.attached()


@test("sriov-kill-libvirtd")
def libvirtd():
    g = web()
    bed._host.sh("kill -9 $(systemctl show -p MainPID --value libvirtd)")
    g.ping(bed.OUTSIDE)
    wait_for("libvirtd", lambda: bed._host.run(["virsh", "-q", "-c", "qemu:///system", "version"], 30)[0] == 0, 60, 1)
    bed.attached()
    bed._host.sh("vnicctl port detach web", 90)
    g.ping(bed.OUTSIDE)
    bed._host.sh("vnicctl port attach web", 90)
    bed.attached()


@test("sriov-kill-qemu")
def qemu():
    g = web()
    bed._host.sh(f"kill -9 {g.pid()}")
    wait_for("the domain's end", lambda: g.state() == "shut off", timeout=30)
    gone()


@test("sriov-kill-vnicd-and-qemu")
def both():
    g = web()
    bed._host.sh(f"systemctl stop vnicd; kill -9 {g.pid()}; sleep 1; systemctl start vnicd")
    wait_for("the domain's end", lambda: g.state() == "shut off", timeout=30)
    back()
    gone()


@test("sriov-taken-by-virsh")
def taken():
    g = web()
    address = bed.port()["device"]["vf_addr"]
    g.detach(hostdev(address, persistent="ua-web", alias="ua-vnic-web"))
    wait_for("vnicd to notice", lambda: bed.port()["device"]["held"], timeout=40)
    assert "somebody took its VF out" in bed.port()["device"]["reason"], bed.port()
    g.ping(bed.OUTSIDE)
    bed._host.sh("vnicctl port attach web", 90)
    bed.attached()


@test("sriov-reboot")
def reboot():
    web()
    h = bed._host
    h.sh("sync")  # what the test itself has written, as the configuration
    h.stop()
    h.boot()
    h.sh("ip netns add out; ip link set outside netns out; "
         f"ip -n out addr add {bed.OUTSIDE}/24 dev outside; ip -n out link set outside up; "
         f"pf=$(ls /sys/bus/pci/devices/{bed.PF}/net); ip link add br0 type bridge forward_delay 0; ip link set br0 up; "
         "ip link set $pf master br0 up; modprobe vfio-pci; systemctl start libvirtd vnicd", 90)
    h.pf = h.sh(f"ls /sys/bus/pci/devices/{bed.PF}/net").strip()
    back()
    wait_for("the VFs", lambda: bed.nic()["vfs_ready"] and len(bed.nic()["vfs"]) == bed.VFS, timeout=60)
    assert bed.port() is None
    macs = {v["mac"] for v in bed.nic()["vfs"]}
    assert bed.MAC % 1 not in macs, macs


if __name__ == "__main__":
    main()
