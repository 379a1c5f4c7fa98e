# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenario tests: register functions with @test("name"), call main(). Prints TAP; a test fails by an
exception, skips by raising Skip("why")."""
import os
import subprocess
import sys
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_tests = []
# What time limits are multiplied by, where everything is slower than they are meant for.
SLOW = float(os.environ.get("VNIC_SLOW", "1"))


class Skip(Exception):
    pass


def test(name):
    def register(fn):
        _tests.append((name, fn))
        return fn
    return register


def framed(test, before, after):
    """`test`, of tests that begin with before(), and after which, however they end, comes after()."""
    def named(name):
        def register(fn):
            def wrapped():
                before()
                try:
                    fn()
                finally:
                    after()
            return test(name)(wrapped)
        return register
    return named


def run(*argv, check=True, timeout=60, stdin=None):
    """Run a command to its end; its stdout as text. A failure says the command and its stderr."""
    p = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout * SLOW)
    if check and p.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: exit {p.returncode}: {p.stderr.strip()}{p.stdout.strip()}")
    return p.stdout if check else p


def wait_for(what, fn, timeout=10.0, every=0.02):
    """Poll fn until it returns something true, and return that."""
    timeout *= SLOW
    end = time.monotonic() + timeout
    while True:
        r = fn()
        if r:
            return r
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:g} s in vain for: {what}")
        time.sleep(every)


def table(name):
    """The rows of tests/tables/NAME.md, as dicts by the table's headings; `…` are taken off."""
    rows, head = [], None
    with open(os.path.join(TOP, "tests/tables", f"{name}.md"), encoding="utf-8") as f:
        for line in f:
            if not line.startswith("|"):
                head = None
                continue
            cells = [c.strip().strip("`") for c in line.strip().strip("|").split("|")]
            if head is None:
                head = cells
            elif not all(set(c) <= set("-: ") for c in cells):
                rows.append(dict(zip(head, cells)))
    return rows


def main(names=None):
    """Run the registered tests (or those named on the command line) in order."""
    if sys.argv[1:] == ["--list"]:
        print(*(n for n, _ in _tests), sep="\n")
        return
    only = sys.argv[1:] if names is None else names
    bad = 0
    todo = [(n, f) for n, f in _tests if not only or n in only]
    print(f"1..{len(todo)}", flush=True)
    for i, (name, fn) in enumerate(todo, 1):
        try:
            fn()
            print(f"ok {i} - {name}", flush=True)
        except Skip as e:
            print(f"ok {i} - {name} # SKIP {e}", flush=True)
        except BaseException as e:  # noqa: a test must not end the run
            if isinstance(e, KeyboardInterrupt):
                raise
            bad += 1
            print(f"not ok {i} - {name}", flush=True)
            for line in traceback.format_exc().splitlines()[-8:]:
                print(f"# {line}", flush=True)
    sys.exit(1 if bad else 0)
