# SPDX-License-Identifier: GPL-2.0-or-later
"""What vnicd says of nics and their VFs, beside what the kernel says by sysfs, ip, devlink, ethtool and vdpa: the two in
one form, and how they differ."""
import json
import os
import re
import time

from rawbus import Bus
from vt import run

ATTRS = ("mac", "vlan", "qos", "vlan_proto", "max_tx_rate", "min_tx_rate", "spoofchk", "trust", "link_state", "query_rss")


def text(*path, otherwise=""):
    try:
        with open(os.path.join("/sys", *path), encoding="utf-8") as f:
            return f.read().strip()
    except OSError:
        return otherwise


def write(value, *path):
    with open(os.path.join("/sys", *path), "w", encoding="utf-8") as f:
        f.write(value)


def link_base(*path):
    try:
        return os.path.basename(os.readlink(os.path.join("/sys", *path)))
    except OSError:
        return ""


def listed(*path):
    try:
        return sorted(os.listdir(os.path.join("/sys", *path)))
    except OSError:
        return []


def said(where):
    """vnicd's word of a nic, by its interface's name or its address."""
    return json.loads(run("vnicctl", "-j", "nic", "show", where))["nics"][0]


def device_of(address):
    for bus in ("pci", "netdevsim"):
        if os.path.isdir(f"/sys/bus/{bus}/devices/{address}"):
            return bus, f"bus/{bus}/devices/{address}"
    raise AssertionError(f"no device {address}")


def representors(bus, address):
    """Names of netdevs by VF, of a card in switchdev mode."""
    out = run("devlink", "-j", "port", check=False)
    ports = json.loads(out.stdout)["port"] if out.returncode == 0 and out.stdout.strip() else {}
    return {p["vfnum"]: p.get("netdev", "") for name, p in ports.items()
            if name.startswith(f"{bus}/{address}/") and p.get("flavour") == "pcivf"}


def eswitch_mode(bus, address):
    out = run("devlink", "-j", "dev", "eswitch", "show", f"{bus}/{address}", check=False)
    return json.loads(out.stdout)["dev"][f"{bus}/{address}"]["mode"] if out.returncode == 0 else "none"


def netdev(device):
    """The device's own netdev: those of other ports and of representors came later."""
    names = [n for n in listed(device, "net")
             if not re.match(r"(c\d+)?pf", text(device, "net", n, "phys_port_name"))]
    return min(names, key=lambda n: int(text(device, "net", n, "ifindex")), default="")


def ip_attrs(info):
    """One of vfinfo_list, in vnicd's words."""
    vlan = (info.get("vlan_list") or [{}])[0]
    a = {"mac": info["address"], "vlan": vlan.get("vlan", 0), "qos": vlan.get("qos", 0),
         "vlan_proto": vlan.get("protocol", "802.1Q"), "max_tx_rate": info["rate"]["max_tx"],
         "min_tx_rate": info["rate"]["min_tx"], "link_state": info["link_state"]}
    for ours, theirs in (("spoofchk", "spoofchk"), ("trust", "trust"), ("query_rss", "query_rss_en")):
        if theirs in info:
            a[ours] = info[theirs]
    return a


def kernel_vf(device, index, info):
    vf = {"index": index, "address": link_base(device, f"virtfn{index}"), "driver": "", "driver_override": "",
          "iommu_group": -1, "group_shared": False, "numa_node": -1, "netdev": ""}
    if vf["address"]:
        fn = f"{device}/virtfn{index}"
        override = text(fn, "driver_override")
        group = link_base(fn, "iommu_group")
        vf.update(driver=link_base(fn, "driver"), driver_override="" if override == "(null)" else override,
                  iommu_group=int(group) if group else -1, numa_node=int(text(fn, "numa_node", otherwise="-1")),
                  netdev=(listed(fn, "net") or [""])[0],
                  group_shared=bool(group) and len(listed(fn, "iommu_group/devices")) > 1)
    return {**vf, **(ip_attrs(info) if info else {})}


ABSENT = {"l2_fwd_offload": "absent", "ntuple": "absent", "channels_max": 0, "channels": 0}


def ethtool(name):
    features = {}
    for line in run("ethtool", "-k", name, check=False).stdout.splitlines()[1:]:
        key, _, value = line.strip().partition(": ")
        features[key] = value.replace(" [requested on]", "").replace(" [requested off]", "")
    combined = re.findall(r"^Combined:\s+(\d+)", run("ethtool", "-l", name, check=False).stdout, re.M) or ["0", "0"]
    return {"l2_fwd_offload": features.get("l2-fwd-offload", "absent"), "ntuple": features.get("ntuple-filters", "absent"),
            "channels_max": int(combined[0]), "channels": int(combined[1])}


def kernel(address, whole=True):
    """What the kernel says of the PF at @address, in the form of said(); not @whole: without its switch and features,
    which takes half the time."""
    bus, device = device_of(address)
    name = netdev(device)
    link = json.loads(run("ip", "-j", "-d", "link", "show", "dev", name))[0] if name else {}
    infos = {i["vf"]: i for i in link.get("vfinfo_list", [])}
    standins = representors(bus, address) if whole else None
    n = int(text(device, "sriov_numvfs", otherwise="0"))
    nic = {"ifindex": link.get("ifindex", 0), "name": name, "bus": bus, "address": address,
           "mac": link.get("address", "00:00:00:00:00:00"), "mtu": link.get("mtu", 0), "up": "UP" in link.get("flags", []),
           "carrier": "LOWER_UP" in link.get("flags", []), "master": link.get("master", ""),
           "driver": link_base(device, "driver"), "sriov_numvfs": n,
           "numa_node": int(text(device, "numa_node", otherwise="-1")),
           "vfs": [kernel_vf(device, i, infos.get(i)) for i in range(n)]}
    if bus == "pci":
        nic["sriov_totalvfs"] = int(text(device, "sriov_totalvfs"))
        nic["autoprobe"] = text(device, "sriov_drivers_autoprobe") == "1"
    if whole:
        nic["eswitch_mode"] = eswitch_mode(bus, address)
        nic.update(ethtool(name) if name else ABSENT)
        for vf in nic["vfs"]:
            vf["representor"] = standins.get(vf["index"], "")
    return nic


def differences(ours, theirs):
    """Lines that say where vnicd's word is another than the kernel's."""
    out = [f"{k}: vnicd {ours.get(k)!r}, kernel {v!r}" for k, v in theirs.items() if k != "vfs" and ours.get(k) != v]
    if not ours.get("vfs_ready"):
        out.append("its VFs are not complete")
    if len(ours["vfs"]) != len(theirs["vfs"]):
        return out + [f"vnicd has {len(ours['vfs'])} VFs, the kernel {len(theirs['vfs'])}"]
    for a, b in zip(ours["vfs"], theirs["vfs"]):
        out += [f"VF {b['index']} {k}: vnicd {a.get(k)!r}, kernel {v!r}" for k, v in b.items() if a.get(k) != v]
        out += [f"VF {b['index']} {k}: vnicd {a[k]!r}, the kernel does not say" for k in ATTRS if k in a and k not in b]
    return out


def agree(address, whole=True, timeout=15.0):
    """Wait until vnicd says of the PF what the kernel says; return that. @whole as for kernel()."""
    end = time.monotonic() + timeout
    while True:
        try:
            theirs = kernel(address, whole)
            ours = said(address if not theirs["name"] else theirs["name"])
            wrong = differences(ours, theirs)
        except AssertionError as e:
            wrong = [str(e)]
        if not wrong:
            return ours
        if time.monotonic() > end:
            raise AssertionError(f"after {timeout:g} s, of {address}: " + "; ".join(wrong[:8]))
        time.sleep(0.1)


# Of virtio-net and all virtio devices (include/uapi/linux/virtio_{net,config}.h), in vdpa(8)'s words
FEATURES = {"CSUM": 0, "GUEST_CSUM": 1, "CTRL_GUEST_OFFLOADS": 2, "MTU": 3, "MAC": 5, "GUEST_TSO4": 7, "GUEST_TSO6": 8,
            "GUEST_ECN": 9, "GUEST_UFO": 10, "HOST_TSO4": 11, "HOST_TSO6": 12, "HOST_ECN": 13, "HOST_UFO": 14,
            "MRG_RXBUF": 15, "STATUS": 16, "CTRL_VQ": 17, "CTRL_RX": 18, "CTRL_VLAN": 19, "CTRL_RX_EXTRA": 20,
            "GUEST_ANNOUNCE": 21, "MQ": 22, "CTRL_MAC_ADDR": 23, "NOTIFY_ON_EMPTY": 24, "ANY_LAYOUT": 27,
            "RING_INDIRECT_DESC": 28, "RING_EVENT_IDX": 29, "VERSION_1": 32, "ACCESS_PLATFORM": 33, "RING_PACKED": 34}


def vdpa_said():
    mgmtdevs, devices = Bus().call("ListVdpa")
    return {m["name"]: m for m in mgmtdevs}, {d["name"]: d for d in devices}


def vdpa_kernel():
    mgmtdevs, devices = {}, {}
    out = run("vdpa", "-j", "mgmtdev", "show", check=False).stdout.strip()
    for name, m in (json.loads(out)["mgmtdev"] if out else {}).items():
        mgmtdevs[name] = {"name": name, "net": "net" in m["supported_classes"], "max_vqp": m["max_supported_vqs"] // 2,
                          "known": sum(1 << FEATURES[f] for f in m["dev_features"] if f in FEATURES)}
    out = run("vdpa", "-j", "dev", "show", check=False).stdout.strip()
    for name, d in (json.loads(out)["dev"] if out else {}).items():
        node = [n for n in listed("bus/vdpa/devices", name) if n.startswith("vhost-vdpa-")]
        devices[name] = {"name": name, "mgmtdev": d["mgmtdev"], "vendor_id": d["vendor_id"], "max_vqs": d["max_vqs"],
                         "device_id": {"network": 1, "net": 1, "block": 2}[d["type"]],
                         "driver": link_base("bus/vdpa/devices", name, "driver"), "node": (node or [""])[0],
                         "left": False}
    return mgmtdevs, devices


def vdpa_agree(timeout=10.0):
    """Wait until vnicd says of vDPA what vdpa(8) says; return both lists."""
    end = time.monotonic() + timeout
    while True:
        (ours, our_devs), (theirs, devs) = vdpa_said(), vdpa_kernel()
        known = sum(1 << bit for bit in FEATURES.values())
        wrong = [] if ours.keys() == theirs.keys() else [f"vnicd has {sorted(ours)}, the kernel {sorted(theirs)}"]
        for name, m in theirs.items():
            o = ours.get(name, {"features": 0})
            wrong += [f"{name} {k}: vnicd {o.get(k)!r}, kernel {v!r}" for k, v in m.items()
                      if k != "known" and o.get(k) != v]
            if o["features"] & known != m["known"]:
                wrong.append(f"{name} features: vnicd {o['features']:#x}, kernel {m['known']:#x}")
        if our_devs != devs:
            wrong.append(f"vnicd has {our_devs}, the kernel {devs}")
        if not wrong:
            return ours, our_devs
        if time.monotonic() > end:
            raise AssertionError(f"after {timeout:g} s: " + "; ".join(wrong[:8]))
        time.sleep(0.1)
