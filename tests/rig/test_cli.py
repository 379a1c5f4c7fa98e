#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vnicctl's tour of a real igb: each word of `nic show` is what iproute2 and sysfs say, before and after vnicd makes its
VFs, while others use them, and when the PF's driver goes.
"""
# time limit: 300
import glob
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import inside  # noqa: E402
from vt import run, test, wait_for  # noqa: E402

PF = "0000:01:00.0"
DEV = f"/sys/bus/pci/devices/{PF}"
IGB = "/sys/bus/pci/drivers/igb"
CONF = "/etc/vnicd/vnicd.conf.d/rig.conf"
ZERO = "00:00:00:00:00:00"
_bed = {}


def put(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read().strip()


def netdev():
    """What the PF's interface is called now."""
    return os.path.basename(next(iter(glob.glob(f"{DEV}/net/*")), "")) or None


def ctl(*words, code=0):
    p = subprocess.run(["vnicctl", *words], text=True, capture_output=True, timeout=100, check=False)
    assert p.returncode == code, f"vnicctl {' '.join(words)}: {p.returncode}: {p.stdout}{p.stderr}"
    return p.stdout + p.stderr


def nic(name=PF):
    return json.loads(ctl("-j", "nic", "show", name))["nics"][0]


def ready(what, n, limit):
    """Until vnicd says that all VFs are there."""
    try:
        wait_for(what, lambda: nic()["vfs_ready"] and len(nic()["vfs"]) == n, limit, 0.2)
    except AssertionError as e:
        now = {k: v for k, v in nic().items() if k.startswith(("vfs_", "sriov_"))}
        log = run("journalctl", "-u", "vnicd.service", "-n", "6", "-o", "cat", check=False).stdout
        raise AssertionError(f"{e}: {now} {log}") from None


def configure(vfs):
    """A bridge over the PF, a class that prefers VFs; vfs None: no [nic] section."""
    section = "" if vfs is None else f"[nic {netdev()}]\nvfs={vfs}\n"
    put(CONF, f"{section}[segment lan]\nbridge=br0\nuplink={netdev()}\n"
              "[class gold]\nsegment=lan\npaths=sriov,software\n")


def bed():
    if _bed:
        return
    _bed["before"] = vf_facts()
    assert netdev(), f"{PF} has no interface"
    run("ip", "link", "add", "br0", "type", "bridge")
    run("ip", "link", "set", "br0", "up")
    run("ip", "link", "set", netdev(), "up", "master", "br0")
    os.makedirs(os.path.dirname(CONF), exist_ok=True)
    configure(None)
    run("systemctl", "start", "vnicd-datapath.service", "vnicd.service")
    wait_for("vnicd", lambda: subprocess.run(["vnicctl", "-j", "status"], capture_output=True, check=False
                                             ).returncode == 0, 30)


def ip_vfs():
    """iproute2's word of the VFs, by index."""
    link = json.loads(run("ip", "-j", "-d", "link", "show", netdev()))[0]
    return {v["vf"]: v for v in link.get("vfinfo_list", [])}


def vf_facts():
    return (read(f"{DEV}/sriov_numvfs"), read(f"{DEV}/sriov_drivers_autoprobe"), ip_vfs())


def base(link):
    return os.path.basename(os.readlink(link)) if os.path.islink(link) else ""


def same_as_ip():
    """What vnicctl says of each VF is what iproute2 and sysfs say. Returns what differs."""
    theirs, ours = ip_vfs(), nic()["vfs"]
    if sorted(theirs) != [v["index"] for v in ours]:
        return [f"VFs {sorted(theirs)}, not {[v['index'] for v in ours]}"]
    bad = []
    for v in ours:
        t, dev = theirs[v["index"]], os.path.realpath(f"{DEV}/virtfn{v['index']}")
        rate = t.get("rate", {})
        want = {"mac": t["address"], "spoofchk": t["spoofchk"], "trust": t["trust"],
                "vlan": t.get("vlan_list", [{}])[0].get("vlan", 0), "qos": t.get("vlan_list", [{}])[0].get("qos", 0),
                "max_tx_rate": rate.get("max_tx", 0), "min_tx_rate": rate.get("min_tx", 0),
                "address": os.path.basename(dev), "driver": base(f"{dev}/driver"),
                "iommu_group": int(base(f"{dev}/iommu_group") or -1)}
        override = read(f"{dev}/driver_override")
        want["driver_override"] = "" if override == "(null)" else override
        bad += [f"VF {v['index']}: {k} is {v.get(k)!r}, not {w!r}" for k, w in want.items() if v.get(k) != w]
    return bad


def agree(what):
    try:
        wait_for(what, lambda: not same_as_ip(), 10)
    except AssertionError as e:
        raise AssertionError(f"{e}: {same_as_ip()}") from None


def show(*words):
    """For the person who reads this run."""
    for line in ctl(*words).splitlines():
        print(f"# {line}", flush=True)


def bind(vf, driver):
    """As an administrator does it: to this driver, or with "" to none."""
    dev = os.path.realpath(f"{DEV}/virtfn{vf}")
    if os.path.islink(f"{dev}/driver"):
        put(f"{dev}/driver/unbind", os.path.basename(dev))
    put(f"{dev}/driver_override", driver or "\n")
    if driver:
        put("/sys/bus/pci/drivers_probe", os.path.basename(dev))


def vf_is(index, **want):
    def there():
        v = nic()["vfs"][index]
        return all(v.get(k) == w for k, w in want.items())
    try:
        wait_for(f"VF {index} with {want}", there, 10, 0.1)
    except AssertionError as e:
        raise AssertionError(f"{e}: {nic()['vfs'][index]}") from None


@test("an igb without VFs, as iproute2 and ethtool say it is")
def _():
    bed()
    n = nic(netdev())
    want = {"name": netdev(), "address": PF, "driver": "igb", "segment": "lan", "master": "br0",
            "sriov_totalvfs": int(read(f"{DEV}/sriov_totalvfs")), "sriov_numvfs": 0, "vfs_wanted": -1, "vfs": [],
            "vfs_taken": 0, "vfs_free": 0, "drained": False, "vfs_reason": "",
            "autoprobe": read(f"{DEV}/sriov_drivers_autoprobe") == "1"}
    assert {k: n[k] for k in want} == want, n
    features = run("ethtool", "-k", netdev()) if os.path.exists("/usr/sbin/ethtool") else ""
    for line in features.splitlines():
        name, _, state = line.strip().partition(": ")
        if name == "l2-fwd-offload":
            assert n["l2_fwd_offload"] == state.replace(" [requested on]", ""), (n, line)
    assert "it has no VFs: write vfs=N" in ctl("--dry-run", "port", "add", "class", "gold")
    show("nic")


@test("VFs made by [nic] vfs=7 are each what iproute2 and sysfs say")
def _():
    bed()
    configure(7)
    ctl("reload")
    ready("7 VFs", 7, 30)
    n = nic()
    want = {"sriov_numvfs": 7, "vfs_wanted": 7, "vfs_taken": 0, "vfs_free": 7, "vfs_reason": ""}
    assert {k: n[k] for k in want} == want, n
    agree("vnicctl and ip to agree")
    show("nic", "show", netdev())
    show("status")
    assert json.loads(ctl("-j", "status"))["status"]["nic_vfs"] == [
        {"name": netdev(), "address": PF, "vfs": 7, "taken": 0, "free": 7}]
    text = ctl("--dry-run", "port", "add", "class", "gold")
    assert f"sriov: VF 0 of {netdev()}" in text, text


@test("a VF's attributes that somebody sets are seen at once")
def _():
    bed()
    d = netdev()
    for words in (("2", "mac", "52:54:00:00:00:12"), ("2", "vlan", "12", "qos", "3"), ("3", "trust", "on"),
                  ("4", "spoofchk", "off"), ("5", "max_tx_rate", "100")):
        run("ip", "link", "set", d, "vf", *words)
        agree(f"it to follow: vf {' '.join(words)}")
    v = nic()["vfs"]
    assert (v[2]["mac"], v[2]["vlan"], v[2]["qos"]) == ("52:54:00:00:00:12", 12, 3), v[2]
    assert (v[3]["trust"], v[4]["spoofchk"]) == (True, False), v
    for words in (("2", "mac", ZERO), ("2", "vlan", "0"), ("3", "trust", "off"), ("4", "spoofchk", "on"),
                  ("5", "max_tx_rate", "0")):
        run("ip", "link", "set", d, "vf", *words)
    agree("it to follow back")


@test("who has a VF: the host, a network namespace, a driver for user space")
def _():
    bed()
    bind(1, "igbvf")
    vf_is(1, driver="igbvf", user="free")
    dev = wait_for("the VF's interface", lambda: nic()["vfs"][1]["netdev"])
    assert os.path.isdir(f"{DEV}/virtfn1/net/{dev}"), dev
    run("ip", "link", "set", dev, "up")
    vf_is(1, user="netdev")
    run("ip", "netns", "add", "box")
    run("ip", "link", "set", dev, "netns", "box")
    vf_is(1, user="netns", netdev="")
    bind(6, "vfio-pci")
    vf_is(6, user="driver", user_name="vfio-pci")
    assert (nic()["vfs_taken"], nic()["vfs_free"]) == (2, 5), nic()
    show("nic", "show", netdev())
    agree("vnicctl and ip to agree")
    run("ip", "netns", "del", "box")
    for vf in (1, 6):
        bind(vf, "")
        vf_is(vf, user="free", driver="", driver_override="")


@test("a drained nic gives no VF, also after a restart of vnicd")
def _():
    bed()
    assert "is drained" not in ctl("nic")
    ctl("nic", "drain", netdev())
    assert nic()["drained"] and f"{netdev()} is drained" in ctl("nic")
    text = ctl("--dry-run", "port", "add", "class", "gold")
    assert f"not {netdev()}: it is drained" in text and "path software" in text, text
    run("systemctl", "restart", "vnicd.service")
    assert nic()["drained"] and len(nic()["vfs"]) == 7, nic()
    ctl("nic", "undrain", PF)
    assert not nic()["drained"]
    assert f"sriov: VF 0 of {netdev()}" in ctl("--dry-run", "port", "add", "class", "gold")


@test("a PF without its driver, and its VFs anew when that is back")
def _():
    bed()
    name = netdev()
    put(f"{IGB}/unbind", PF)
    wait_for("a nic without an interface", lambda: nic()["ifindex"] == 0)
    n = nic()
    assert (n["name"], n["driver"], n["sriov_numvfs"], n["vfs"]) == ("", "", 0, []), n
    show("nic", "show", PF)
    show("nic")
    put(f"{IGB}/bind", PF)
    wait_for(f"its interface, with the name that udev gives it: {name}", lambda: netdev() == name)
    run("ip", "link", "set", name, "up", "master", "br0")
    ready("its VFs anew", 7, 40)
    agree("vnicctl and ip to agree")


@test("what the configuration no longer wants is put back as it was")
def _():
    bed()
    configure(None)
    ctl("reload")
    wait_for("no VFs", lambda: nic()["sriov_numvfs"] == 0 and not nic()["vfs"], 30, 0.2)
    assert vf_facts() == _bed["before"], (vf_facts(), _bed["before"])
    run("systemctl", "stop", "vnicd.service", "vnicd-datapath.service")
    assert vf_facts() == _bed["before"]
    os.unlink(CONF)
    run("ip", "link", "del", "br0")


if __name__ == "__main__":
    inside.main(__file__, limit=240)
