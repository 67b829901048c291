# SPDX-License-Identifier: GPL-2.0-or-later
"""holdfast check: it passes where everything is right, and each thing that is wrong is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.left import Said, holdfast
from harness.programs import builddir, plugin_dir, program

CRIU_DIR = Path("/etc/criu")
HOOKS = Path("/etc/containers/oci/hooks.d")
MORE_HOOKS = Path("/usr/share/containers/oci/hooks.d")
CONFS = ("default", "crun", "runc")
GOOD = "tcp-close\nnetwork-lock skip\nskip-in-flight\n"
NOBODY = 65534
CHECKS = [
    "permissions", "kernel", "tcp-repair", "pidfd", "sock-diag", "nftables", "bridge", "barrier",
    "holdfast.conf", "criu", "libcriu", "criu-files", "options-criu", "options-crun",
    "options-runc", "plugin", "hooks",
]  # fmt: skip


@dataclass(frozen=True)
class Finding:
    result: str
    text: str


@dataclass
class Host:
    """A machine where everything is right, until a test changes something."""

    work: Path
    env: dict[str, str | None] = field(default_factory=dict)
    wrapper: list[object] = field(default_factory=list)
    user: int | None = None

    def good(self) -> str:
        return f"{GOOD}libdir {plugin_dir()}\n"

    def conf(self, name: str, text: str | None) -> None:
        path = CRIU_DIR / f"{name}.conf"
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)

    def hook(self, text: str, directory: Path = HOOKS, name: str = "holdfast.json") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)

    def instead(self, path: str, other: Path) -> None:
        """Has the command find another file at a path, and nobody else."""
        real = os.path.realpath(path)
        script = f'mount --bind {other} {real} && exec "$@"'
        self.wrapper += ["unshare", "--mount", "sh", "-c", script, "sh"]

    def hide(self, path: str) -> None:
        nothing = self.work / "nothing"
        nothing.touch(mode=0o644)
        self.instead(path, nothing)

    def criu(self, script: str) -> None:
        """Another criu."""
        path = self.work / "criu"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        self.instead(shutil.which("criu") or "", path)

    def check(self, *args: str) -> Said:
        return holdfast("check", *args, env=self.env, wrapper=self.wrapper, user=self.user)

    def findings(self, *args: str) -> dict[str, Finding]:
        """What is said, the same as lines and as JSON."""
        said, lines = self.check("--json", *args), self.check(*args)
        failed = [one for one in said.json["checks"] if one["result"] == "FAIL"]
        assert said.json["failed"] == len(failed)
        assert (said.err, lines.err) == ("", "")
        assert said.rc == lines.rc == (1 if failed else 0)
        found = {
            one["name"]: Finding(one["result"], one["text"]) for one in said.json["checks"]
        }
        assert list(found) == CHECKS
        for line, (name, one) in zip(lines.lines, found.items(), strict=False):
            assert line == f"{one.result}  {name:13}  {one.text}"
        count = f"{len(failed)} check{'s' if len(failed) > 1 else ''} failed"
        assert lines.lines[len(CHECKS) :] == [count if failed else "nothing failed"]
        return found

    def fails(self, *names: str) -> dict[str, Finding]:
        """These, and no others."""
        found = self.findings()
        assert {name for name, one in found.items() if one.result == "FAIL"} == set(names), found
        return found


def files_of(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.glob("*") if path.is_file()}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    program_of_hook = tmp_path / "holdfast-hook"
    program_of_hook.touch(mode=0o755)
    configuration = tmp_path / "holdfast.conf"
    configuration.write_text("mode = on\n")
    host.env = {"HOME": str(home), "HOLDFAST_CONF": str(configuration), "HOLDFAST": None}
    host.env |= {"CRIU_CONFIG_FILE": None, "CRIU_LIBS_DIR": None}
    before = {path: files_of(path) for path in (CRIU_DIR, HOOKS, MORE_HOOKS)}
    try:
        for name in CONFS:
            host.conf(name, host.good())
        host.hook(json.dumps({"version": "1.0.0", "hook": {"path": str(program_of_hook)}}))
        yield host
    finally:
        for directory, files in before.items():
            for path in directory.glob("*"):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            for path, content in files.items():
                path.write_bytes(content)


def test_all_is_well(host: Host) -> None:
    leftovers = set(Path("/tmp").glob("holdfast-check*"))
    spaces = subprocess.run(["lsns", "-t", "net"], capture_output=True, text=True).stdout
    found = host.findings()
    assert {one.result for one in found.values()} == {"PASS"}, found
    version = host.check("--json").json["version"]
    assert found["plugin"].text == (
        f"CRIU loads {plugin_dir()}/holdfast_plugin.so, version {version}"
    )
    assert found["criu"].text.startswith(f"{shutil.which('criu')}, version ")
    assert found["kernel"].text == f"Linux {os.uname().release}"
    assert found["bridge"].text == "a lock holds the packets of bridges, too"
    assert found["criu-files"].text == "CRIU takes all of its 3 configuration files"
    # Nothing is left of what was tried.
    assert set(Path("/tmp").glob("holdfast-check*")) == leftovers
    assert subprocess.run(["lsns", "-t", "net"], capture_output=True, text=True).stdout == spaces
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
    assert "holdfast" not in tables


# ---- the options in force


@dataclass(frozen=True)
class Case:
    files: Mapping[str, str | None]  # of /etc/criu; "+": the plugin's directory follows
    results: Mapping[str, tuple[str, str]]  # of the check, and what it says
    args: Sequence[str] = ()


OFF = "holdfast is not switched on: add the lines tcp-close and network-lock skip to "
BOTH = "tcp-established contradicts tcp-close: remove it from "
NO_LOCK = "the lock is to be holdfast's: add the line network-lock skip"
WAITS = "CRIU refuses a dump while a connection waits to be accepted: add the line skip-in-flight"
OTHER_LOCK = "the lock is to be holdfast's: network-lock must be skip"

CASES = {
    "crun-empty": Case(
        {"default": "libdir +\n", "crun": ""},
        {"options-crun": ("FAIL", f"{OFF}/etc/criu/crun.conf"), "options-criu": ("WARN", OFF)},
    ),
    "runc-empty": Case(
        {"default": "libdir +\n", "runc": ""},
        {"options-runc": ("FAIL", f"{OFF}/etc/criu/runc.conf"), "options-criu": ("WARN", OFF)},
    ),
    "runc-missing": Case(
        {"default": None, "runc": None},
        {"options-runc": ("FAIL", f"{OFF}/etc/criu/runc.conf"), "options-criu": ("WARN", OFF)},
    ),
    "crun-reads-runc": Case({"crun": None}, {"options-crun": ("PASS", "(/etc/criu/runc.conf)")}),
    "neither": Case(
        {"default": "", "crun": None, "runc": None},
        {"options-crun": ("FAIL", f"{OFF}/etc/criu/crun.conf"),
         "options-runc": ("FAIL", f"{OFF}/etc/criu/runc.conf"), "options-criu": ("WARN", OFF),
         "plugin": ("SKIP", "holdfast is not switched on for any that are checked")},
    ),
    "criu-empty": Case(
        {"default": ""}, {"options-criu": ("WARN", f"{OFF}/etc/criu/default.conf")}
    ),
    "criu-empty-asked": Case(
        {"default": ""}, {"options-criu": ("FAIL", f"{OFF}/etc/criu/default.conf"),
                          "options-crun": ("SKIP", "not asked for"),
                          "options-runc": ("SKIP", "not asked for"),
                          "libcriu": ("SKIP", "not asked for"),
                          "plugin": ("SKIP", "not switched on")}, ["criu"],
    ),
    "runc-not-asked": Case({"runc": ""}, {"options-runc": ("SKIP", "not asked for"),
                                          "options-criu": ("SKIP", "not asked for")}, ["crun"]),
    # The requests of the runtimes say no to these, so that default.conf is not enough.
    "only-default": Case(
        {"crun": "libdir +\n", "runc": "tcp-close\nnetwork-lock skip\nlibdir +\n"},
        {"options-crun": ("FAIL", "/etc/criu/crun.conf: add the line tcp-close"),
         "options-runc": ("WARN", f"/etc/criu/runc.conf: {WAITS}")},
    ),
    "default-counts-for-runc": Case(
        {"runc": "skip-in-flight\n"}, {"options-runc": ("PASS", "(/etc/criu/default.conf)")}
    ),
    "established-too": Case(
        {"crun": f"{GOOD}tcp-established\nlibdir +\n"},
        {"options-crun": ("FAIL", f"/etc/criu/crun.conf: {BOTH}/etc/criu/crun.conf, line 4")},
    ),
    "established-in-default": Case(
        {"default": f"{GOOD}tcp-established\nlibdir +\n"},
        {"options-criu": ("FAIL", f"{BOTH}/etc/criu/default.conf, line 4")},
    ),
    "established": Case(
        {"crun": "tcp-established\nlibdir=+\n"},
        {"options-crun": ("PASS", "itself (tcp-established in /etc/criu/crun.conf)")},
    ),
    "no-lock-option": Case(
        {"default": "libdir +\n", "runc": "tcp-close\nskip-in-flight\n"},
        {"options-runc": ("FAIL", f"/etc/criu/runc.conf: {NO_LOCK}"),
         "options-criu": ("WARN", OFF)},
    ),
    "other-lock": Case(
        {"crun": f"{GOOD}network-lock=nftables # why\nlibdir +\n"},
        {"options-crun": ("FAIL", f"/etc/criu/crun.conf: {OTHER_LOCK}")},
    ),
    "lock-of-default": Case(
        {"crun": "tcp-close\nskip-in-flight\n"},
        {"options-crun": ("PASS", "(/etc/criu/crun.conf)")},
    ),
    "no-skip-in-flight": Case(
        {"default": "tcp-close\nnetwork-lock skip\nlibdir +\n"},
        {"options-criu": ("WARN", f"/etc/criu/default.conf: {WAITS}")},
    ),
    "taken-back": Case(
        {"crun": f"{GOOD}libdir +\nno-tcp-close\n"},
        {"options-crun": ("FAIL", "/etc/criu/crun.conf: add the line tcp-close")},
    ),
    "comments": Case(
        {"crun": f"# tcp-established\n  {GOOD}  # all\nlibdir \"+\"   # where\n"},
        {"options-crun": ("PASS", "(/etc/criu/crun.conf)")},
    ),
    "refused": Case(
        {"crun": f"{GOOD}nonsense 1\nlibdir +\n"},
        {"criu-files": ("FAIL", "CRIU refuses /etc/criu/crun.conf: "
                                "criu: unrecognized option '--nonsense'")},
    ),
    "flag-with-value": Case(
        {"default": f"{GOOD}libdir +\nauto-dedup=yes\n"},
        {"criu-files": ("FAIL", "CRIU refuses /etc/criu/default.conf: "
                                "criu: option '--auto-dedup' doesn't allow an argument")},
    ),
    "no-plugin": Case(
        {"crun": f"{GOOD}libdir /var/empty\n"},
        {"plugin": ("FAIL", "no /var/empty/holdfast_plugin.so, where crun looks for it (libdir "
                            "is set in: /etc/criu/crun.conf): install it there, or correct")},
    ),
    "libdir-of-default": Case(
        {"default": f"{GOOD}libdir /var/empty\n", "crun": f"{GOOD}libdir +\n"},
        {"plugin": ("FAIL", "where criu looks for it (libdir is set in: /etc/criu/default.conf)")},
    ),
    "libdir-of-default-counts": Case({"crun": GOOD, "runc": GOOD}, {}),
    "no-libdir": Case(
        {"default": GOOD, "crun": GOOD, "runc": GOOD},
        {"plugin": ("FAIL", "no /usr/lib/criu/holdfast_plugin.so, where criu looks for it "
                            "(libdir is set in: no file): install it there")},
    ),
    "odd-bytes": Case(
        {"runc": f"{GOOD}libdir /\x1b[31m\xe9\n"}, {"plugin": ("FAIL", "no /?[31m??/holdfast_")}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_options(host: Host, name: str) -> None:
    case = CASES[name]
    for conf, text in case.files.items():
        host.conf(conf, text and text.replace("+", str(plugin_dir())))
    found = host.findings(*case.args)
    for check, (result, text) in case.results.items():
        assert found[check].result == result, found[check]
        assert text in found[check].text
    others = set(CHECKS) - set(case.results)
    assert {found[check].result for check in others} == {"PASS"}, found


def test_other_places(host: Host) -> None:
    """What CRIU reads besides: in HOME, and by the environment."""
    own = Path(str(host.env["HOME"])) / ".criu/default.conf"
    own.parent.mkdir()
    own.write_text("no-tcp-close\n")
    found = host.fails("options-criu")
    assert "add the line tcp-close" in found["options-criu"].text
    assert found["criu-files"].text == "CRIU takes all of its 4 configuration files"
    named = host.work / "more.conf"
    named.write_text("tcp-close\n")
    host.env["CRIU_CONFIG_FILE"] = str(named)
    assert host.fails()["options-criu"].text.endswith(f"({named})")
    named.write_text("libdir /var/empty\n")
    own.unlink()
    host.conf("crun", GOOD)
    assert "where criu looks for it" in host.fails("plugin")["plugin"].text
    host.env["CRIU_CONFIG_FILE"] = str(host.work / "missing")
    host.fails()
    for name in CONFS:
        host.conf(name, GOOD)
    host.env["CRIU_LIBS_DIR"] = str(plugin_dir())
    host.fails()


def test_file_cannot_be_read(host: Host) -> None:
    (CRIU_DIR / "runc.conf").unlink()
    (CRIU_DIR / "runc.conf").mkdir()
    found = host.fails("options-runc", "criu-files")
    assert found["options-runc"].text == "cannot read /etc/criu/runc.conf: Is a directory"


SAYS = {
    "tcp_close": "Will drop all TCP connections on restore",
    "tcp_established": "Will dump/restore TCP connections",
    "skip_in_flight": "Will skip in-flight TCP connections",
}
# Each is read by CRIU and by us.
TEXTS = [
    "", "tcp-close", "tcp-close\n", "  tcp-close  # why\n", "\ttcp-close\t#why\n",
    "# tcp-close\n", "tcp-close\nno-tcp-close\n", "no-tcp-close\ntcp-close\n",
    "tcp-close false\n", "tcp-established\ntcp-close\nskip-in-flight\n",
    "tcp-established # tcp-close\nno-skip-in-flight\n", "skip-in-flight # x\n\n\n",
    "verbosity 4 # tcp-close\nlog-file \"tcp-close\"\n", "libdir /a\nlibdir /b\n",
    "libdir=/a # b\n", "libdir /a#b\n", "libdir=/a#b\n", "libdir \"/a b\" # c\n",
    "libdir   /a   # b\n", "libdir\t/a\n", "libdir \"/a\\\"b\"\n", "libdir \"\"\nlibdir /a\n",
]  # fmt: skip


def test_as_criu_reads(host: Host) -> None:
    """CRIU's log says what it made of the same files."""
    conf, images = host.work / "a.conf", host.work / "images"
    images.mkdir()
    for text in TEXTS:
        conf.write_text(f"{text}\n")
        host.conf("default", conf.read_text())
        command = ["criu", "pre-dump", "--config", conf, "-t", "2147483647", "-D", images]
        done = subprocess.run([*command, "-v4", "-o", "-"], capture_output=True, text=True)
        log = done.stdout + done.stderr
        on = {name for name, says in SAYS.items() if says in log}
        options = host.findings("criu")["options-criu"].text
        if "tcp_close" in on and "tcp_established" in on:
            assert BOTH in options, text
        elif "tcp_close" in on:
            assert NO_LOCK in options, text
        elif "tcp_established" in on:
            assert "CRIU restores connections itself" in options, text
        elif "skip_in_flight" in on:
            assert options.endswith("default.conf: add the lines tcp-close and network-lock skip")
        else:
            assert OFF in options, text
        if "libdir" in text:
            # It tells which directory is not there; ours is told where some option is set.
            (line,) = [line for line in log.splitlines() if "Unable to open directory" in line]
            libdir = line.partition("Unable to open directory ")[2].rpartition(": No such")[0]
            host.conf("default", f"{GOOD}{conf.read_text()}")
            plugin = host.findings("criu")["plugin"]
            assert plugin.text.startswith(f"no {libdir}/holdfast_plugin.so, "), text


# ---- the plugin


def test_broken_plugin(host: Host) -> None:
    libdir = host.work / "libdir"
    libdir.mkdir()
    host.conf("crun", f"{GOOD}libdir {libdir}\n")
    plugin = libdir / "holdfast_plugin.so"
    good = (plugin_dir() / "holdfast_plugin.so").read_bytes()

    plugin.write_bytes(b"nothing of the sort")
    text = host.fails("plugin")["plugin"].text
    assert text.startswith(f"CRIU does not load {plugin}: ") and "Unable to load" in text

    # It imports what CRIU does not have.
    plugin.write_bytes(good.replace(b"criu_get_image_dir\0", b"criu_got_image_dir\0"))
    text = host.fails("plugin")["plugin"].text
    assert text.endswith("undefined symbol: criu_got_image_dir")

    # Another that is broken takes ours along, whichever CRIU comes to first.
    plugin.write_bytes(good)
    host.fails()
    for number in range(8):
        (libdir / f"{number}.so").write_bytes(b"nothing of the sort")
    text = host.fails("plugin")["plugin"].text
    assert text.startswith(f"CRIU does not load {plugin}: Error (criu/plugin.c:")
    for number in range(8):
        (libdir / f"{number}.so").unlink()

    shutil.copy(builddir() / "tests/programs/.libs/count_plugin.so", plugin)
    text = host.fails("plugin")["plugin"].text
    assert text == f"CRIU does not load {plugin}: no reason told"


def test_versions_differ(host: Host) -> None:
    libdir = host.work / "libdir"
    libdir.mkdir()
    host.conf("runc", f"{GOOD}libdir {libdir}\n")
    version = host.check("--json").json["version"]
    other = "9" + version[1:]
    plugin = libdir / "holdfast_plugin.so"
    content = (plugin_dir() / "holdfast_plugin.so").read_bytes()
    assert content.count(version.encode())
    plugin.write_bytes(content.replace(version.encode(), other.encode()))
    assert host.fails("plugin")["plugin"].text == (
        f"{plugin} is of version {other}, this command of version {version}:"
        " install both from one build"
    )


# ---- what is installed


def test_criu_missing(host: Host) -> None:
    host.hide(shutil.which("criu") or "")
    found = host.fails("criu")
    assert found["criu"].text == "not installed: install CRIU 4.2 or later"
    assert {found[name].result for name in ("criu-files", "options-criu", "plugin")} == {"SKIP"}


@pytest.mark.parametrize(
    "version, old_kernel, works",
    [
        ("4.2", False, True), ("4.10.1", False, True), ("5.0", False, True),
        ("4.1.1", False, False), ("3.17.1", False, False), ("4.1", True, True),
        ("4.0", True, False),
    ],
)  # fmt: skip
def test_criu_version(host: Host, version: str, old_kernel: bool, works: bool) -> None:
    real = host.work / "real-criu"
    shutil.copy(shutil.which("criu") or "", real)
    host.criu(f'[ "$2" != --version ] && exec {real} "$@"\necho Version: {version}')
    if old_kernel:
        host.wrapper += ["setarch", "--uname-2.6"]
    found = host.fails(*([] if works else ["criu"]), *(["kernel"] if old_kernel else []))
    assert f"version {version}" in found["criu"].text
    if not works:
        assert found["criu"].text.endswith(f"{'4.1' if old_kernel else '4.2'} or later")
    if old_kernel:
        assert found["kernel"].text.endswith(": holdfast needs 5.6 or later")


def test_criu_says_nonsense(host: Host) -> None:
    host.criu("echo; echo segmentation fault >&2; exit 3")
    found = host.fails("criu", "criu-files", "plugin")
    assert found["criu"].text.endswith(" does not tell its version, but: segmentation fault")
    assert found["criu-files"].text.endswith("default.conf: segmentation fault")


def test_libcriu(host: Host) -> None:
    library = next(Path("/usr/lib").glob("**/libcriu.so.2"))
    host.hide(str(library))
    text = host.fails("libcriu")["libcriu"].text
    assert text.startswith("crun cannot make checkpoints without it: install libcriu2 (")
    host.wrapper = []
    host.instead(str(library), builddir() / "tests/programs/.libs/fault.so")
    text = host.fails("libcriu")["libcriu"].text
    assert text.startswith("too old, crun does not read /etc/criu/crun.conf with it")


def test_runtimes_missing(host: Host) -> None:
    for name in ("crun", "runc"):
        host.hide(shutil.which(name) or "")
        host.conf(name, None)
    found = host.fails()
    assert found["options-crun"] == Finding("SKIP", "crun is not installed")
    assert found["options-runc"] == Finding("SKIP", "runc is not installed")
    assert found["libcriu"].result == "SKIP"
    assert host.findings("runc")["options-runc"] == Finding("FAIL", "runc is not installed")


# ---- hooks


def test_hooks(host: Host) -> None:
    assert str(HOOKS / "holdfast.json") in host.fails()["hooks"].text
    good = (HOOKS / "holdfast.json").read_text()
    (HOOKS / "holdfast.json").unlink()
    host.hook('{"version": "1.0.0", "hook": {"path": "/usr/bin/true"}}', name="other.json")
    text = host.fails("hooks")["hooks"].text
    assert text.startswith(f"no file in {MORE_HOOKS} or {HOOKS} names holdfast-hook: install")

    # A file in /etc stands for one of the same name in /usr/share.
    host.hook(good, MORE_HOOKS, "hf.json")
    assert str(MORE_HOOKS / "hf.json") in host.fails()["hooks"].text
    host.hook('{"version": "1.0.0", "hook": {"path": "/usr/bin/true"}}', HOOKS, "hf.json")
    host.fails("hooks")
    host.hook('{"hook": {"path": "/nowhere/holdfast-hook"}}', HOOKS, "hf.json")
    text = host.fails("hooks")["hooks"].text
    assert text.startswith(f"{HOOKS}/hf.json names /nowhere/holdfast-hook, which cannot be run")
    (host.work / "holdfast-hook").chmod(0o644)
    host.hook(good, HOOKS, "hf.json")
    assert "which cannot be run" in host.fails("hooks")["hooks"].text
    for name in ("hf.json", "other.json"):
        (HOOKS / name).unlink()
    (MORE_HOOKS / "hf.json").unlink()
    for bad in ("", "{", "[]", '{"hook": []}', '{"hook": {"path": 1}}'):
        host.hook(bad)
        text = host.fails("hooks")["hooks"].text
        assert text == f"{HOOKS}/holdfast.json is no description of a hook"


def test_nobody_reads_hooks(host: Host) -> None:
    (HOOKS / "holdfast.json").unlink()
    host.hide(shutil.which("podman") or "")
    assert host.fails()["hooks"] == Finding("SKIP", "neither podman nor CRI-O is installed")


# ---- the machine, and our own configuration


@pytest.mark.parametrize(
    "lacks, check, words",
    [
        (["tcp_repair"], "tcp-repair", "this kernel has no TCP_REPAIR"),
        (["pidfd_getfd"], "pidfd", "holdfast needs pidfd_getfd"),
        (["sock_diag"], "sock-diag", "holdfast needs sock_diag"),
        (["nftables"], "nftables", "cannot take the lock"),
        (["membarrier"], None, ""),
        (["membarrier", "packet"], "barrier", "neither membarrier"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_kernel_lacks(host: Host, lacks: list[str], check: str | None, words: str) -> None:
    for lack in lacks:
        host.wrapper += [program("hf-deny"), lack]
    found = host.fails(*([check] if check else []))
    if check:
        assert words in found[check].text


@pytest.mark.parametrize("name", ["net_admin", "net_raw", "sys_admin", "sys_ptrace", "kill"])
def test_capabilities(host: Host, name: str) -> None:
    host.wrapper += ["setpriv", f"--bounding-set=-{name}", f"--inh-caps=-{name}"]
    permissions = host.findings()["permissions"]
    assert permissions == Finding("FAIL", f"missing capabilities: CAP_{name.upper()}")


def test_not_root(host: Host) -> None:
    host.user = NOBODY
    host.work.chmod(0o755)
    for parent in host.work.parents:
        if parent.stat().st_uid == 0 and parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(parent.stat().st_mode | 0o005)
    found = host.findings()
    assert found["permissions"].text == "checkpoints need root: run this as root"
    assert {found[name].result for name in ("tcp-repair", "nftables")} == {"FAIL"}


def test_user_namespace(host: Host) -> None:
    host.wrapper += ["unshare", "--user", "--map-root-user"]
    found = host.findings()
    assert found["permissions"].result == "FAIL"
    assert "this is a user namespace" in found["permissions"].text


def test_configuration(host: Host) -> None:
    conf = Path(str(host.env["HOLDFAST_CONF"]))
    conf.write_text("mode = on\nmoed = off\n")
    # The plugin reads it, too, and then CRIU fails.
    found = host.fails("holdfast.conf", "plugin")
    assert found["holdfast.conf"].text == f"{conf}:2: unknown key `moed`"
    assert found["plugin"].text.endswith('Failed in init(1) of "holdfast"')
    conf.write_text("mode = off\n")
    found = host.fails()
    assert found["holdfast.conf"].result == "WARN"
    assert found["holdfast.conf"].text.startswith("holdfast is switched off ")
    conf.write_text("")
    host.env["HOLDFAST"] = "off"
    assert host.fails()["holdfast.conf"].result == "WARN"


def test_wrong_use(host: Host) -> None:
    for args in (["--nonsense"], ["docker"], ["crun", "podman"], ["--json=1"]):
        said = host.check(*args)
        assert (said.rc, said.out) == (2, "")
        assert said.err == "usage: holdfast check [--json] [criu] [crun] [runc]\n"
