# SPDX-License-Identifier: GPL-2.0-or-later
"""What a host looks like, to prove that it looks so again: compare snapshot() before and after."""
import difflib
import json
import os
import stat
import time

from vt import run

_OURS = ("vnicd", "vnicd-datapath", "vnicd-libvirt", "vnicd-hook", "qemu-system-x86")


def _links():
    for x in json.loads(run("ip", "-j", "-d", "link") or "[]"):
        info = x.get("linkinfo", {})
        flags = ",".join(sorted(f for f in x["flags"] if f in ("UP", "PROMISC", "ALLMULTI")))
        yield (f"link {x['ifname']}", f"{info.get('info_kind', x['link_type'])} master={x.get('master', '-')} "
               f"mtu={x['mtu']} {x.get('address', '')} {flags} promiscuity={x.get('promiscuity', 0)}")
        port = {k: v for k, v in info.get("info_slave_data", {}).items()
                if isinstance(v, bool) or k in ("priority", "cost", "state")}
        if port:
            yield f"bridge port {x['ifname']}", json.dumps(port, sort_keys=True)
        data = info.get("info_data", {})
        if info.get("info_kind") == "bridge":
            keep = ("vlan_filtering", "stp_state", "forward_delay", "mcast_snooping", "ageing_time",
                    "vlan_default_pvid", "vlan_protocol", "nf_call_iptables")
            yield f"bridge {x['ifname']}", json.dumps({k: data.get(k) for k in keep}, sort_keys=True)


def _fdb():
    """Entries that somebody set; those that a bridge learned come and go, and so do the groups that the kernel listens
    to for an interface's own addresses, which it gets late (a bridge's link-local one with its first port)."""
    for e in json.loads(run("bridge", "-j", "fdb", "show") or "[]"):
        if int(e["mac"][:2], 16) & 1:
            continue
        if e.get("state") in ("permanent", "static") or "static" in e.get("flags", []):
            yield f"fdb {e['ifname']} {e['mac']} vlan {e.get('vlan', '-')} {e.get('master', 'self')}", e.get("state", "")


def _addresses():
    for x in json.loads(run("ip", "-j", "addr") or "[]"):
        for a in x.get("addr_info", []):
            # Link-local ones come by themselves with any interface.
            if a.get("scope") != "link":
                yield f"address {x['ifname']} {a['local']}/{a['prefixlen']}", a.get("scope", "")


def _files(top):
    for d, dirs, files in os.walk(top):
        for f in dirs + files:
            path = os.path.join(d, f)
            try:
                st = os.lstat(path)
            except OSError:
                continue
            kind = {stat.S_IFSOCK: "socket", stat.S_IFDIR: "folder", stat.S_IFREG: "file",
                    stat.S_IFLNK: "link", stat.S_IFIFO: "fifo"}.get(stat.S_IFMT(st.st_mode), "other")
            yield f"file {path}", f"{kind} {stat.S_IMODE(st.st_mode):04o}"


def processes():
    """(pid, command) of our programs and QEMUs in this sandbox; zombies left out."""
    out = []
    for p in os.listdir("/proc"):
        if not p.isdigit():
            continue
        try:
            with open(f"/proc/{p}/stat", encoding="ascii", errors="replace") as f:
                text = f.read()
        except OSError:
            continue
        name, state = text.split("(", 1)[1].rsplit(")", 1)[0], text.rsplit(")", 1)[1].split()[0]
        try:
            # A worker is its keeper's file run again as /proc/self/exe, and may be called so.
            name = os.path.basename(os.readlink(f"/proc/{p}/exe").removesuffix(" (deleted)"))
        except OSError:
            pass
        if state != "Z" and name.startswith(_OURS):
            out.append((int(p), name))
    return sorted(out)


def descriptors(pid):
    """What a process has open, counted by kind; sockets, memory and files in words, numbers cut off."""
    kinds = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            to = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        kind = to.split(":[")[0].split(" (deleted)")[0]
        kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


def snapshot(libvirt=None, run_dir="/run/vnicd", with_processes=True):
    """A dict of everything that vnicd could leave behind. `libvirt`: a Libvirtd that runs, for its domains,
    networks and pools."""
    s = {}
    for part in (_links(), _fdb(), _addresses(), _files(run_dir)):
        s.update(part)
    if with_processes:
        found = [name for _, name in processes()]
        # A vnicd's helper comes with the first request for libvirt and ends with its vnicd: until then it may be there.
        for name in found if "vnicd" not in found else [n for n in found if n != "vnicd-libvirt"]:
            s[f"processes {name}"] = s.get(f"processes {name}", 0) + 1
    if libvirt:
        for kind, argv in (("domain", ("list", "--all", "--name")), ("network", ("net-list", "--all", "--name"))):
            for name in libvirt.virsh(*argv).split():
                s[f"libvirt {kind} {name}"] = "there"
    return s


def difference(before, after):
    """Lines "- was" and "+ is", empty where nothing differs."""
    text = [[f"{k}: {v}" for k, v in sorted(s.items())] for s in (before, after)]
    return [x for x in difflib.unified_diff(*text, n=0, lineterm="") if not x.startswith(("---", "+++", "@@"))]


def same_again(before, timeout=10.0, **kw):
    """Wait until the host reads as `before`; fails with what differs. Keywords as for snapshot()."""
    end = time.monotonic() + timeout
    while d := difference(before, snapshot(**kw)):
        if time.monotonic() > end:
            raise AssertionError("the host does not read as before:\n" + "\n".join(d[:40]))
        time.sleep(0.1)
