#!/usr/bin/python3 -B
# SPDX-License-Identifier: GPL-2.0-or-later
"""The inventory on real drivers: what vnicd says of nics, VFs, their users, switchdev, vDPA and mdev, against what sysfs,
ip, devlink, ethtool and vdpa say, after each thing that happens to them. In host VMs."""
# rig: 6.12/11 6.1/9
# time limit: 420
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import inside  # noqa: E402
import nicview  # noqa: E402
from devices import Pf  # noqa: E402
from nicview import agree, link_base, listed, said, text, vdpa_agree, write  # noqa: E402
from vt import TOP, run, test, wait_for  # noqa: E402

PF = "0000:01:00.0"  # igb
VFS = 7
SIM = "netdevsim7"
VIRTIO = "0000:02:00.0"
ATTRS = [("mac", "mac 52:54:00:12:34:56", {"mac": "52:54:00:12:34:56"}),
         ("vlan", "vlan 12", {"vlan": 12}),
         ("vlan with qos", "vlan 12 qos 3", {"vlan": 12, "qos": 3}),
         ("vlan of 802.1ad", "vlan 12 proto 802.1ad", {"vlan": 12, "vlan_proto": "802.1ad"}),
         ("max_tx_rate", "max_tx_rate 400", {"max_tx_rate": 400}),
         ("min_tx_rate", "max_tx_rate 400 min_tx_rate 100", {"max_tx_rate": 400, "min_tx_rate": 100}),
         ("spoofchk", "spoofchk {not}", {"spoofchk": None}),
         ("trust", "trust {not}", {"trust": None}),
         ("state", "state disable", {"link_state": "disable"}),
         ("query_rss", "query_rss {not}", {"query_rss": None})]


def pci(address=PF):
    return f"bus/pci/devices/{address}"


def numvfs(n, address=PF):
    write("0", pci(address), "sriov_numvfs")
    if n:
        write(str(n), pci(address), "sriov_numvfs")


def vf_addr(i):
    return link_base(pci(), f"virtfn{i}")


def vf_netdev(i):
    return wait_for(f"the netdev of VF {i}", lambda: (listed(pci(vf_addr(i)), "net") or [""])[0])


def autoprobe(on):
    """The kernel tells nobody of it."""
    write("1" if on else "0", pci(), "sriov_drivers_autoprobe")
    run("systemctl", "reload", "vnicd")


def with_vfs():
    """The PF has all of its VFs, whatever a test before has left."""
    autoprobe(True)
    if text(pci(), "sriov_numvfs") != str(VFS):
        numvfs(VFS)
    run("ip", "link", "set", pf_netdev(), "up")
    agree(PF)
    Pf(PF).hear_vfs()
    nic = agree(PF)
    assert all(v["mac"] != "00:00:00:00:00:00" for v in nic["vfs"]), nic["vfs"]
    return nic


def pf_netdev():
    return wait_for("the PF's netdev", lambda: nicview.netdev(pci()))


def bind(address, driver, module=None):
    """Bind a function to @driver, or with "" to none."""
    if link_base(pci(address), "driver"):
        write(address, pci(address), "driver/unbind")
    write((driver or "") + "\n", pci(address), "driver_override")
    if driver:
        run("modprobe", module or driver)
        write(address, "bus/pci/drivers_probe")
        assert link_base(pci(address), "driver") == driver


def user(i):
    vf = said(PF)["vfs"][i]
    return vf["user"], vf["user_name"]


def has_user(i, what, name=None):
    wait_for(f"VF {i} to be of {what} {name}, is of {user(i)}",
             lambda: user(i)[0] == what and name in (None, user(i)[1]))
    agree(PF, whole=False)


@test("a_pf_without_vfs")
def _():
    run("systemctl", "start", "vnicd")
    numvfs(0)
    run("ip", "link", "set", pf_netdev(), "up")
    nic = agree(PF)
    assert nic["kind"] == "physical" and nic["driver"] == "igb" and nic["sriov_totalvfs"] == VFS, nic


@test("vfs_made_behind_our_back")
def _():
    numvfs(VFS)
    nic = agree(PF)
    assert len(nic["vfs"]) == VFS and all(v["driver"] == "igbvf" and v["netdev"] and v["iommu_group"] >= 0
                                          for v in nic["vfs"]), nic
    assert [v["user"] for v in nic["vfs"]] == ["free"] * VFS, nic


@test("vfs_made_without_drivers")
def _():
    write("0", pci(), "sriov_drivers_autoprobe")
    numvfs(3)
    nic = agree(PF)
    assert [(v["driver"], v["netdev"]) for v in nic["vfs"]] == [("", "")] * 3 and not nic["autoprobe"], nic
    write("1", pci(), "sriov_drivers_autoprobe")
    numvfs(VFS)
    assert agree(PF)["autoprobe"]


@test("numvfs_changes_again_and_again")
def _():
    for n in (0, 2, 7, 1, 5, 0, 7):
        numvfs(n)
    assert len(agree(PF)["vfs"]) == 7


def try_attrs(address, name, index):
    """Each attribute set by ip(8): what was refused with its reason; what was taken is what vnicd says."""
    out = {}
    for what, words, want in ATTRS:
        before = agree(address, whole=False)["vfs"][index]
        turned = {k: not before.get(k, False) for k, v in want.items() if v is None}
        want = {**want, **turned}
        words = words.replace("{not}", "on" if True in turned.values() else "off")
        p = subprocess.run(["ip", "link", "set", name, "vf", str(index), *words.split()], capture_output=True, text=True,
                           check=False)
        if p.returncode:
            out[what] = p.stderr.strip().splitlines()[0].removeprefix("RTNETLINK answers: ")
            agree(address, whole=False)
            continue
        after = agree(address, whole=False)["vfs"][index]
        assert {k: after.get(k) for k in want} == want, f"{what}: {after}"
        out[what] = "yes"
        undo = {"mac": f"mac {before['mac']}", "spoofchk": "spoofchk " + "off on".split()[before.get("spoofchk", 0)],
                "trust": "trust " + "off on".split()[before.get("trust", 0)], "state": "state auto",
                "query_rss": "query_rss " + "off on".split()[before.get("query_rss", 0)]}.get(
                    what, "vlan 0" if what.startswith("vlan") else "max_tx_rate 0 min_tx_rate 0")
        if what == "max_tx_rate":
            undo = "max_tx_rate 0"
        run("ip", "link", "set", name, "vf", str(index), *undo.split())
        agree(address, whole=False)
    return out


_supported = {}


@test("every_attribute_of_igb")
def _():
    with_vfs()
    _supported["igb"] = got = try_attrs(PF, pf_netdev(), 2)
    assert [k for k, v in got.items() if v == "yes"] == \
        ["mac", "vlan", "vlan with qos", "max_tx_rate", "spoofchk", "trust"], got


@test("a_vf_that_is_up_in_a_bridge_and_under_a_vlan")
def _():
    with_vfs()
    name = vf_netdev(1)
    run("ip", "link", "set", name, "up")
    has_user(1, "netdev", f"{name} is up")
    run("ip", "link", "add", "brinv", "type", "bridge")
    run("ip", "link", "set", name, "master", "brinv")
    has_user(1, "netdev", "in bridge brinv")
    run("ip", "link", "set", "brinv", "name", "brinv2")
    has_user(1, "netdev", "in bridge brinv2")
    run("ip", "link", "del", "brinv2")
    run("ip", "link", "set", name, "down")
    has_user(1, "free")
    run("ip", "link", "add", "link", name, "name", "vinv", "type", "vlan", "id", "5")
    has_user(1, "netdev", "vinv is on it")
    run("ip", "link", "del", "vinv")
    has_user(1, "free")


@test("a_vf_moved_to_a_container")
def _():
    with_vfs()
    name = vf_netdev(3)
    run("ip", "netns", "add", "inv")
    run("ip", "link", "set", name, "netns", "inv")
    has_user(3, "netns")
    run("ip", "netns", "exec", "inv", "ip", "link", "set", name, "netns", "1")
    has_user(3, "free")
    run("ip", "link", "set", name, "netns", "inv")
    has_user(3, "netns")
    # As a container that ends: the kernel puts it back.
    run("ip", "netns", "del", "inv")
    has_user(3, "free")


@test("a_vf_bound_to_vfio")
def _():
    with_vfs()
    bind(vf_addr(4), "vfio-pci")
    has_user(4, "driver", "vfio-pci")
    assert said(PF)["vfs"][4]["driver_override"] == "vfio-pci"
    bind(vf_addr(4), "")
    has_user(4, "free")
    assert said(PF)["vfs"][4]["driver"] == ""
    write(vf_addr(4), "bus/pci/drivers_probe")
    has_user(4, "free")
    assert said(PF)["vfs"][4]["driver"] == "igbvf"


@test("a_vf_that_takes_another_mac")
def _():
    with_vfs()
    name = vf_netdev(5)
    run("ip", "link", "set", name, "address", "02:00:00:00:05:05")
    wait_for("vnicd's word of it", lambda: said(PF)["vfs"][5]["mac"] == "02:00:00:00:05:05")
    agree(PF)


@test("the_pf_renamed")
def _():
    with_vfs()
    old = pf_netdev()
    ifindex = said(PF)["ifindex"]
    run("ip", "link", "set", old, "down")
    run("ip", "link", "set", old, "name", "uplinv")
    run("ip", "link", "set", "uplinv", "up")
    nic = agree(PF)
    assert (nic["name"], nic["ifindex"], len(nic["vfs"])) == ("uplinv", ifindex, VFS)
    run("ip", "link", "set", "uplinv", "down")
    run("ip", "link", "set", "uplinv", "name", old)
    run("ip", "link", "set", old, "up")
    agree(PF)


@test("the_pfs_driver_unbound")
def _():
    with_vfs()
    write(PF, "bus/pci/drivers/igb/unbind")
    nic = agree(PF)
    assert (nic["ifindex"], nic["driver"], nic["sriov_numvfs"], nic["vfs"]) == (0, "", 0, []), nic
    write(PF, "bus/pci/drivers/igb/bind")
    run("ip", "link", "set", Pf(PF).back(), "up")
    nic = agree(PF)
    assert nic["driver"] == "igb" and nic["sriov_numvfs"] == 0, nic
    numvfs(VFS)
    agree(PF)


@test("the_pf_removed_from_the_bus")
def _():
    numvfs(0)
    write("1", pci(), "remove")
    wait_for("it to be gone", lambda: run("vnicctl", "nic", "show", PF, check=False).returncode)
    write("1", "bus/pci/rescan")
    run("ip", "link", "set", Pf(PF).back(), "up")
    agree(PF)
    numvfs(VFS)
    agree(PF)


def storm():
    """More notifications than any socket holds."""
    run("ip", "link", "add", "storm", "type", "dummy")
    lines = "".join(f"link set storm mtu {1400 + i % 100}\n" for i in range(6000))
    run("ip", "-batch", "-", stdin=lines, timeout=120)
    run("ip", "link", "del", "storm")


def watchdog(on):
    """A process that stands still is not killed for it."""
    drop_in = "/run/systemd/system/vnicd.service.d/rig.conf"
    os.makedirs(os.path.dirname(drop_in), exist_ok=True)
    with open(drop_in, "w", encoding="utf-8") as f:
        f.write("" if on else "[Service]\nWatchdogSec=0\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "vnicd")


@test("events_that_were_lost")
def _():
    with_vfs()
    watchdog(False)
    pid = run("systemctl", "show", "-P", "MainPID", "vnicd").strip()
    since = time.strftime("%H:%M:%S")
    run("kill", "-STOP", pid)
    try:
        numvfs(4)
        name = vf_netdev(2)
        run("ip", "link", "set", pf_netdev(), "vf", "1", "vlan", "77")
        run("ip", "link", "set", name, "up")
        storm()
    finally:
        run("kill", "-CONT", pid)
    nic = agree(PF)
    assert nic["vfs"][1]["vlan"] == 77 and nic["vfs"][2]["user"] == "netdev", nic["vfs"]
    log = run("journalctl", "-u", "vnicd", "--since", since, "--no-pager")
    assert "notifications were lost" in log, log[-600:]
    assert run("systemctl", "show", "-P", "MainPID", "vnicd").strip() == pid
    run("ip", "link", "set", name, "down")
    watchdog(True)


@test("a_start_finds_the_same")
def _():
    with_vfs()
    autoprobe(False)
    before = agree(PF)
    run("systemctl", "restart", "vnicd")
    after = agree(PF)
    assert before == after, (before, after)
    autoprobe(True)
    agree(PF)


@test("netdevsim_has_vfs")
def _():
    run("modprobe", "netdevsim")
    write("7 1", "bus/netdevsim/new_device")
    nic = agree(SIM)
    assert nic["driver"] == "netdevsim" and nic["eswitch_mode"] == "legacy", nic
    write("3", "bus/netdevsim/devices", SIM, "sriov_numvfs")
    # No event tells of that.
    run("systemctl", "reload", "vnicd")
    run("ip", "link", "set", nic["name"], "up")
    nic = agree(SIM)
    assert [v["address"] for v in nic["vfs"]] == [""] * 3


@test("every_attribute_of_netdevsim")
def _():
    _supported["netdevsim"] = got = try_attrs(SIM, said(SIM)["name"], 1)
    assert [k for k, v in got.items() if v != "yes"] == [], got


@test("switchdev_and_representors")
def _():
    run("devlink", "dev", "eswitch", "set", f"netdevsim/{SIM}", "mode", "switchdev")
    nic = agree(SIM)
    assert nic["eswitch_mode"] == "switchdev" and all(v["representor"] for v in nic["vfs"]), nic
    # A representor is no uplink, and its renaming is followed.
    representor = nic["vfs"][2]["representor"]
    assert run("vnicctl", "nic", "show", representor, check=False).returncode
    run("ip", "link", "set", representor, "name", "repinv")
    assert agree(SIM)["vfs"][2]["representor"] == "repinv"
    run("devlink", "dev", "eswitch", "set", f"netdevsim/{SIM}", "mode", "legacy")
    nic = agree(SIM)
    assert nic["eswitch_mode"] == "legacy" and not any(v["representor"] for v in nic["vfs"]), nic


@test("features_and_queues_follow")
def _():
    name = said(SIM)["name"]
    for value in ("on", "off"):
        p = run("ethtool", "-K", name, "hw-tc-offload", value, check=False)
        agree(SIM)
    p = run("ethtool", "-L", pf_netdev(), "combined", "1", check=False)
    assert p.returncode == 0, p.stderr
    assert agree(PF)["channels"] == 1
    run("ethtool", "-L", pf_netdev(), "combined", "2")
    assert agree(PF)["channels"] == 2


@test("netdevsim_goes")
def _():
    write("7", "bus/netdevsim/del_device")
    wait_for("it to be gone", lambda: run("vnicctl", "nic", "show", SIM, check=False).returncode)


@test("a_vdpa_simulator")
def _():
    vdpa_agree()
    run("modprobe", "vdpa_sim_net")
    mgmtdevs, devices = vdpa_agree()
    assert mgmtdevs["vdpasim_net"]["net"] and not devices, mgmtdevs
    run("modprobe", "vhost_vdpa")
    run("vdpa", "dev", "add", "name", "vinv0", "mgmtdev", "vdpasim_net")
    mgmtdevs, devices = vdpa_agree()
    assert devices["vinv0"]["driver"] == "vhost_vdpa" and devices["vinv0"]["node"].startswith("vhost-vdpa-"), devices
    write("vinv0", "bus/vdpa/drivers/vhost_vdpa/unbind")
    assert vdpa_agree()[1]["vinv0"]["driver"] == ""
    run("vdpa", "dev", "del", "vinv0")
    assert not vdpa_agree()[1]
    run("modprobe", "-r", "vdpa_sim_net")
    assert "vdpasim_net" not in vdpa_agree()[0]


@test("a_virtio_function_as_vdpa")
def _():
    bind(VIRTIO, "vp-vdpa", "vp_vdpa")
    mgmtdevs, _devices = vdpa_agree()
    name = f"pci/{VIRTIO}"
    assert mgmtdevs[name]["net"] and mgmtdevs[name]["features"] >> 32 & 1, mgmtdevs
    run("vdpa", "dev", "add", "name", "vinv1", "mgmtdev", name)
    assert vdpa_agree()[1]["vinv1"]["mgmtdev"] == name
    run("vdpa", "dev", "del", "vinv1")
    bind(VIRTIO, "")
    assert name not in vdpa_agree()[0]
    write(VIRTIO, "bus/pci/drivers_probe")
    wait_for("its netdev", lambda: [d for d in listed(pci(VIRTIO)) if d.startswith("virtio")])


@test("mdev_types")
def _():
    def types():
        return {t["type"]: t["available"] for t in nicview.Bus().call("ListMdevTypes")[0]}

    def really():
        where = "class/mdev_bus/mtty/mdev_supported_types"
        return {t: int(text(where, t, "available_instances")) for t in listed(where)}

    run("modprobe", "mtty")
    assert really(), "mtty has no types"
    wait_for("its types", lambda: types() == really())
    one = sorted(really())[0]
    uuid = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
    write(uuid, "class/mdev_bus/mtty/mdev_supported_types", one, "create")
    wait_for(f"one less: {types()}, {really()}", lambda: types() == really())
    write("1", "bus/mdev/devices", uuid, "remove")
    wait_for(f"one more: {types()}, {really()}", lambda: types() == really())
    run("modprobe", "-r", "mtty")
    wait_for("no types", lambda: not types())


@test("memory_and_descriptors_stay")
def _():
    pid = run("systemctl", "show", "-P", "MainPID", "vnicd").strip()

    def fds():
        return len(os.listdir(f"/proc/{pid}/fd"))

    # What a child of the moment takes comes and goes; what leaks stays.
    before = min(fds() for _ in range(20) if time.sleep(0.1) is None)
    for n in (0, 7) * 3:
        numvfs(n)
    agree(PF)
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        rss = int(next(line for line in f if line.startswith("VmRSS")).split()[1])
    assert rss < 32 << 10, f"{rss} KiB"
    wait_for(f"its descriptors to be {before} again", lambda: fds() <= before)
    numvfs(0)
    agree(PF)


def readme_table():
    """As it stands in README.md, from the line that heads it."""
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as f:
        lines = f.read().splitlines()
    at = next((i for i, line in enumerate(lines) if line.startswith("| VF attribute |")), None)
    assert at is not None, "README.md has no table of VF attributes"
    return lines[at + 2:at + 2 + len(ATTRS)]


@test("the_readmes_table_of_drivers")
def _():
    rows = [f"| `{what}` | " + " | ".join(v if (v := _supported[d][what]) == "yes" else f"no: {v}"
                                          for d in ("igb", "netdevsim")) + " |" for what, _, _ in ATTRS]
    assert readme_table() == rows, "it should be:\n" + "\n".join(rows)


inside.main(__file__, limit=400)
