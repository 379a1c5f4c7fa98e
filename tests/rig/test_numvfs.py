#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
# rig: 6.12/11 6.1/9
# time limit: 600
"""VFs made by vnicd as its unit runs it, on a real driver: [nic] vfs=, reloads, others' doings, and kill -9 on the way.
The rows of tests/tables/rig-kill.md that begin with numvfs."""
import json
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import inside  # noqa: E402
from devices import HOLD, IGB, PCI, Pf, bind, driver, netdev, rename, write  # noqa: E402
from vt import run, test, wait_for  # noqa: E402

RECORD = f"/run/vnicd/shared/nic:{IGB}.json"
pf = Pf(IGB)


def configure(vfs=None, autoprobe=None, name=None):
    text = ""
    if vfs is not None:
        text = f"[nic {name or pf.dev}]\nvfs={vfs}\n"
        if name:
            text += f"address={IGB}\n"
        if autoprobe is not None:
            text += f"drivers-autoprobe={'yes' if autoprobe else 'no'}\n"
    with open("/etc/vnicd/vnicd.conf", "w", encoding="ascii") as f:
        f.write(text)


def reload(**conf):
    configure(**conf)
    run("systemctl", "reload", "vnicd")


def pid():
    return int(run("systemctl", "show", "-p", "MainPID", "--value", "vnicd"))


def nic():
    """What vnicctl says of the PF, or None while vnicd does not answer."""
    p = run("vnicctl", "-j", "nic", "show", pf.dev, check=False)
    return json.loads(p.stdout)["nics"][0] if p.returncode == 0 else None


def wait_nic(what, fn, timeout=40):
    last = []

    def look():
        n = nic()
        last[:] = [n and {k: n[k] for k in ("vfs_wanted", "vfs_ready", "vfs_reason", "sriov_numvfs")}]
        return n if n and fn(n) else None
    try:
        return wait_for(what, look, timeout, 0.1)
    except AssertionError as e:
        log = run("journalctl", "-u", "vnicd", "-n", "12", "--no-pager", "-o", "cat")
        raise AssertionError(f"{e}: {last}; {log}") from None


def ready(n):
    return wait_nic(f"{n} VFs, ready", lambda x: x["sriov_numvfs"] == n and x["vfs_ready"])


def whole(n, name=""):
    wait_for(f"{n} whole VFs by sysfs", lambda: pf.whole(n, name), 20)


def nothing_left():
    """numvfs and autoprobe read as before vnicd, and no record says otherwise."""
    wait_for("no VFs", lambda: pf.numvfs() == 0 and not pf.vfs(), 40, 0.1)
    wait_for("autoprobe as it was", lambda: pf.autoprobe() == 1, 10)
    wait_for("its record to go", lambda: not os.path.exists(RECORD), 10)


class Vnicd:
    """The unit, started with a configuration; at the end the section goes, and all must be as before."""

    def __init__(self, **conf):
        self.conf = conf

    def __enter__(self):
        run("systemctl", "stop", "vnicd")
        if driver(IGB) != "igb":
            bind(IGB, "igb")
        run("modprobe", "-a", "igbvf", "vfio-pci")
        pf.set_numvfs(0)
        pf.set_autoprobe(True)
        configure(**self.conf)
        run("systemctl", "start", "vnicd")
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            reload()
            nothing_left()


def kill():
    os.kill(pid(), signal.SIGKILL)


@test("VFs are made at start, without drivers of the host, and told of")
def _():
    with Vnicd(vfs=7):
        n = ready(7)
        whole(7)
        assert pf.autoprobe() == 0 and n["vfs_wanted"] == 7 and n["vfs_reason"] == "", n
        assert [v["address"] for v in n["vfs"]] == [pf.vf_addr(i) for i in range(7)], n["vfs"]
        assert len({v["iommu_group"] for v in n["vfs"]}) == 7 and n["vfs_free"] == 7, n
        # vnicd's end is not theirs.
        run("systemctl", "restart", "vnicd")
        ready(7)
        assert pf.autoprobe() == 0


@test("a reload with another number, and with drivers")
def _():
    with Vnicd(vfs=4):
        ready(4)
        reload(vfs=2)
        ready(2)
        reload(vfs=3, autoprobe=True)
        ready(3)
        reload(vfs=0)
        wait_nic("no VFs", lambda x: x["sriov_numvfs"] == 0 and x["vfs_ready"])


@test("drivers-autoprobe=yes: ready is with every interface there")
def _():
    with Vnicd(vfs=3, autoprobe=True):
        n = ready(3)
        assert all(v["netdev"] for v in n["vfs"]), n["vfs"]
        whole(3, "igbvf")


@test("a VF that is in use keeps all VFs: a process with vfio, then a bridge; then the reload applies")
def _():
    with Vnicd(vfs=3):
        ready(3)
        bind(pf.vf_addr(1), "vfio-pci")
        group = os.path.basename(os.readlink(f"{PCI}/devices/{pf.vf_addr(1)}/iommu_group"))
        user = subprocess.Popen(["/usr/bin/python3", "-c", HOLD, group, pf.vf_addr(1)], stdout=subprocess.PIPE)
        assert user.stdout.readline() == b"held\n"
        reload(vfs=2)
        wait_nic("the reason", lambda x: "keeps its 3 VFs" in x["vfs_reason"] and "vfio-pci" in x["vfs_reason"])
        assert pf.numvfs() == 3
        reload(vfs=3)
        user.kill()
        user.wait()
        bind(pf.vf_addr(1), "")
        ready(3)
        run("ip", "link", "add", "br9", "type", "bridge")
        try:
            run("ip", "link", "set", "dev", pf.dev, "up")
            bind(pf.vf_addr(0), "igbvf")
            wait_for("its interface", lambda: netdev(pf.vf_addr(0)))
            run("udevadm", "settle")
            run("ip", "link", "set", "dev", netdev(pf.vf_addr(0)), "master", "br9")
            reload(vfs=1)
            wait_nic("the reason", lambda x: "keeps its" in x["vfs_reason"] and "br9" in x["vfs_reason"])
        finally:
            run("ip", "link", "del", "br9")
        ready(1)


@test("VFs that somebody else made are left as they are")
def _():
    with Vnicd():
        pf.set_numvfs(2)
        reload(vfs=4)
        wait_nic("the reason", lambda x: "which vnicd did not make" in x["vfs_reason"])
        assert pf.numvfs() == 2
        pf.set_numvfs(0)
        ready(4)


@test("numvfs-changed-behind-its-back")
def _():
    with Vnicd(vfs=4):
        ready(4)
        # To none: the configuration wants 4.
        write(f"{pf.dir}/sriov_numvfs", "0")
        ready(4)
        pf.set_numvfs(3)
        wait_nic("the reason", lambda x: x["sriov_numvfs"] == 3 and not x["vfs_ready"] and "vnicd" in x["vfs_reason"])
        time.sleep(1)
        assert pf.numvfs() == 3
        pf.set_numvfs(0)
        ready(4)


@test("numvfs-pf-unbound")
def _():
    with Vnicd(vfs=3, name="fast"):
        ready(3)
        write(f"{PCI}/drivers/igb/unbind", IGB)
        wait_for("the VFs to go", lambda: pf.numvfs() == 0)
        time.sleep(1)
        assert run("systemctl", "is-active", "vnicd").strip() == "active"
        write(f"{PCI}/drivers/igb/bind", IGB)
        pf.back()
        ready(3)


@test("numvfs-pf-renamed")
def _():
    with Vnicd(vfs=3, name="fast"):
        ready(3)
        name = pf.dev
        addresses = [pf.vf_addr(i) for i in range(3)]
        rename(name, "other0")
        try:
            ready(3)
            assert [pf.vf_addr(i) for i in range(3)] == addresses
        finally:
            rename("other0", name)
        ready(3)


@test("numvfs-hanging-driver")
def _():
    """Somebody writes 0 while a process has a VF open: the write waits for it in the kernel. vnicd does not."""
    with Vnicd(vfs=3):
        ready(3)
        bind(pf.vf_addr(1), "vfio-pci")
        group = os.path.basename(os.readlink(f"{PCI}/devices/{pf.vf_addr(1)}/iommu_group"))
        user = subprocess.Popen(["/usr/bin/python3", "-c", HOLD, group, pf.vf_addr(1)], stdout=subprocess.PIPE)
        assert user.stdout.readline() == b"held\n"
        writer = subprocess.Popen(["sh", "-c", f"echo 0 >{pf.dir}/sriov_numvfs"])
        try:
            wait_for("the write to hang", lambda: not os.path.exists(f"{pf.dir}/virtfn2") or
                     not os.path.exists(f"{pf.dir}/virtfn0"))
            time.sleep(0.5)
            assert writer.poll() is None
            for _ in range(3):
                start = time.monotonic()
                p = run("vnicctl", "-j", "status", check=False, timeout=30)
                assert p.returncode == 0 and time.monotonic() - start < 5, (p.returncode, time.monotonic() - start)
                time.sleep(0.3)
        finally:
            user.kill()
            user.wait()
            writer.wait(20)
        ready(3)


def killed(delays, act, then):
    """kill -9 of vnicd, each of @delays seconds after @act; systemd starts it again; @then must come out."""
    for delay in delays:
        act()
        time.sleep(delay)
        kill()
        then()


def spread(n, most):
    rng = random.Random(4)
    return [rng.uniform(0, most) for _ in range(n)]



@test("numvfs-kill-making")
def _():
    with Vnicd():
        def back():
            ready(3)
            whole(3)
            reload()
            nothing_left()
        killed(spread(4, 1.5), lambda: reload(vfs=3), back)


@test("numvfs-kill-undoing")
def _():
    with Vnicd():
        def act():
            reload(vfs=3)
            ready(3)
            reload()
        killed(spread(3, 1.2), act, nothing_left)


def steps():
    """{kind: state} by the record."""
    try:
        with open(RECORD, encoding="utf-8") as f:
            return {s["kind"]: s["state"] for s in json.load(f)["plan"]}
    except (OSError, ValueError):
        return {}


@test("numvfs-kill-at-begun")
def _():
    """The record says that it was about to act, and the child is on its way."""
    with Vnicd():
        reload(vfs=3)
        wait_for("its step to begin", lambda: steps().get("nic-numvfs") == "begun", every=0.001)
        kill()
        ready(3)
        whole(3)


@test("numvfs-kill-at-done")
def _():
    with Vnicd():
        reload(vfs=3)
        wait_for("its step to be done", lambda: steps().get("nic-numvfs") == "done", every=0.001)
        kill()
        ready(3)


@test("numvfs-kill-and-another-number")
def _():
    """Killed on the way, and the configuration says another number when it is back."""
    with Vnicd():
        reload(vfs=3)
        wait_for("its step to begin", lambda: steps().get("nic-numvfs") == "begun", every=0.001)
        configure(vfs=2)
        kill()
        ready(2)


if __name__ == "__main__":
    inside.main(__file__, limit=400)
