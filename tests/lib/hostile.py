# SPDX-License-Identifier: GPL-2.0-or-later
"""One vnicd-datapath with ports "a" and "b", which carry frames, and "bad", whose front end misbehaves: what the
tests of hostile front ends share."""
import os
import re

from datapath import Datapath
from vhost_client import Client, frame
from vt import main, test, wait_for

A, B, BAD = "52:54:00:00:00:0a", "52:54:00:00:00:0b", "52:54:00:00:00:66"
bed = {}


def setup():
    if not bed:
        dp = Datapath([{"name": "a", "mac": A}, {"name": "b", "mac": B}, {"name": "bad", "mac": BAD}]).start()
        bed["dp"] = dp
        bed["a"], bed["b"] = Client(dp.socket("a")).run(), Client(dp.socket("b")).run()
        bed["n"] = 0
    return bed["dp"]


def others_work():
    """A frame from a to b and one back, over the connections that were there all along."""
    a, b = bed["a"], bed["b"]
    bed["n"] += 1
    there, back = (frame(d, s, b"frame %d" % bed["n"]) for d, s in ((B, A), (A, B)))
    a.transmit(there)
    b.wait_frame(there)
    b.transmit(back)
    a.wait_frame(back)


def holdings(dp):
    """(descriptors, mappings) of the keeper and of its worker."""
    out = []
    for pid in [dp.keeper] + dp.workers():
        with open(f"/proc/{pid}/maps", encoding="ascii") as f:
            # The heap and what malloc maps may come and go; guests' memory and shared state have files.
            maps = sum(1 for line in f if "memfd:" in line)
        out.append((len(os.listdir(f"/proc/{pid}/fd")), maps))
    return out


def log_since(dp, at):
    with open(dp.log, encoding="utf-8", errors="replace") as f:
        f.seek(at)
        return f.read()


def survives(fn):
    """Run fn(dp); the others' traffic and what the processes hold must be as before."""
    dp = setup()
    others_work()
    before, workers = holdings(dp), dp.workers()
    fn(dp)
    dp.alive()
    others_work()
    assert dp.workers() == workers, "the worker was replaced"
    wait_for(f"descriptors and mappings as before: {before}", lambda: holdings(dp) == before, 5)


def hostile(name, reason):
    """A case: fn(client) misbehaves on port bad; it is dropped, and the log gives a reason like this."""
    def register(fn):
        def run():
            def case(dp):
                at = os.path.getsize(dp.log)
                with Client(dp.socket("bad")) as c:
                    fn(c)
                    assert c.dropped(), "the connection is still open"
                said = log_since(dp, at)
                assert re.search(rf"port bad: process \d+ is disconnected: .*(?:{reason})", said), \
                    f"no such reason in the log: {said}"
            survives(case)
        test(f"hostile vhost-user: {name}")(run)
        return fn
    return register


def ready(c, **kw):
    """Negotiated, with memory."""
    return c.negotiate(**kw).memory()


def end():
    """Of what setup() began: the next case finds nothing of what this process did to ports."""
    if bed:
        for who in ("a", "b"):
            bed[who].close()
        bed["dp"].kill()
        bed.clear()


def run_all():
    try:
        main()
    finally:
        end()
