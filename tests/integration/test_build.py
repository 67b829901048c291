# SPDX-License-Identifier: GPL-2.0-or-later
"""configure says what is missing, in one sentence; what is installed lies where it should."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from harness.proc import Done, run
from harness.programs import TOP, builddir

Configure = Callable[..., Done]

# What a test changes must be looked for again.
FORGET = re.compile(r"(pkg_cv_|ac_cv_(env_PKG|path_(ac_pt_)?P|header_criu))")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The compiler's and the system's properties, found out once."""
    if not (TOP / "configure").exists():
        pytest.fail(f"{TOP}/configure is missing: run autogen.sh", pytrace=False)
    where = tmp_path_factory.mktemp("configure")
    run([TOP / "configure", "-C"], cwd=where).check()
    lines = (where / "config.cache").read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not FORGET.match(line))


@pytest.fixture
def configure(tmp_path: Path, cache: str) -> Configure:
    (tmp_path / "config.cache").write_text(cache)

    def start(*args: str, **env: str) -> Done:
        return run([TOP / "configure", "-C", *args], cwd=tmp_path, env={**os.environ, **env})

    return start


def without(directories: Iterable[str], where: Path, *names: str) -> str:
    """A directory with everything that is in these, but for some names."""
    where.mkdir()
    for directory in directories:
        for entry in Path(directory).iterdir() if Path(directory).is_dir() else ():
            if entry.name not in names and not (where / entry.name).exists():
                (where / entry.name).symlink_to(entry)
    return str(where)


def refused(done: Done, sentence: str) -> None:
    assert done.rc != 0, done.output
    errors = [line for line in done.output.splitlines() if "error:" in line]
    assert errors == [f"configure: error: {sentence}"], done.output


# ---- what is missing


@pytest.mark.parametrize("name", ["protoc", "protoc-gen-c"])
def test_no_protobuf_compiler(tmp_path: Path, configure: Configure, name: str) -> None:
    path = without(os.environ["PATH"].split(":"), tmp_path / "bin", name)
    refused(
        configure(PATH=path),
        "protoc with its C plugin is missing:"
        " install protobuf-c-compiler and protobuf-compiler",
    )


@pytest.mark.parametrize(
    "module, version, package",
    [
        ("libmnl", "1.0.4", "libmnl-dev"),
        ("libnftnl", "1.2.0", "libnftnl-dev"),
        ("libprotobuf-c", "1.4.0", "libprotobuf-c-dev"),
        ("libarchive", "3.6.0", "libarchive-dev"),
        ("yajl", "2.1.0", "libyajl-dev"),
        ("libcap", "2.25", "libcap-dev"),
    ],
)
def test_no_library(
    tmp_path: Path, configure: Configure, module: str, version: str, package: str
) -> None:
    listed = run(["pkg-config", "--variable=pc_path", "pkg-config"]).check().output.strip()
    libdir = without(listed.split(":"), tmp_path / "pc", f"{module}.pc")
    refused(
        configure(PKG_CONFIG_LIBDIR=libdir, PKG_CONFIG_PATH=""),
        f"{module} {version} or later is missing: install its development files ({package})",
    )


def headers(where: Path, text: str) -> str:
    (where / "include" / "criu").mkdir(parents=True)
    (where / "include" / "criu" / "criu-plugin.h").write_text(text)
    return f"--with-criu-headers={where / 'include'}"


def test_no_criu_headers(tmp_path: Path, configure: Configure) -> None:
    refused(
        configure(headers(tmp_path, "#error\n")),
        "criu/criu-plugin.h is missing: install CRIU's development files (libcriu-dev)",
    )


def test_criu_without_the_hook(tmp_path: Path, configure: Configure) -> None:
    """CRIU 4.0's header: the same but for the last hook."""
    lines = Path("/usr/include/criu/criu-plugin.h").read_text().splitlines(keepends=True)
    old = [line for line in lines if "CHECKPOINT_DEVICES" not in line]
    assert len(old) < len(lines)
    refused(
        configure(headers(tmp_path, "".join(old))),
        "this criu-plugin.h has no CHECKPOINT_DEVICES hook:"
        " holdfast needs the headers of CRIU 4.1 or later",
    )


# ---- what is installed


def variable(build: Path, name: str) -> str:
    """The value of a variable of the Makefile."""
    code = f"hf-print:;@echo '$({name})'"
    done = run(["make", "-s", "--no-print-directory", "-C", build, f"--eval={code}", "hf-print"])
    return done.check().output.strip()


def test_install(tmp_path: Path) -> None:
    build = builddir()
    run(["make", "-C", build, "install", f"DESTDIR={tmp_path}"], timeout=300).check()
    man = variable(build, "mandir")
    expected = {
        f"{variable(build, 'plugindir')}/holdfast_plugin.so": 0o755,
        f"{variable(build, 'sbindir')}/holdfast": 0o755,
        f"{variable(build, 'pkglibexecdir')}/holdfast-hook": 0o755,
        f"{variable(build, 'hooksdir')}/holdfast.json": 0o644,
        f"{variable(build, 'sysconfdir')}/holdfast.conf": 0o644,
        f"{man}/man8/holdfast.8": 0o644,
        f"{man}/man8/holdfast-hook.8": 0o644,
        f"{man}/man5/holdfast.conf.5": 0o644,
    }
    found = {
        f"/{path.relative_to(tmp_path)}": path.stat().st_mode & 0o777
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert {name: found.get(name) for name in expected} == expected, found
    # The hook is where its file says, for all that the containers' engines know of (oci-hooks(5)).
    hook = json.loads((tmp_path / variable(build, "hooksdir")[1:] / "holdfast.json").read_text())
    assert hook["hook"]["path"] in expected and hook["version"] == "1.0.0"
    assert hook["when"] == {"always": True}
    assert hook["stages"] == ["createRuntime", "poststop"]
    # Nothing of the tests, and no libtool library.
    assert not [name for name in found if "/hf-" in name or name.endswith((".a", ".la"))], found
    run(["make", "-C", build, "uninstall", f"DESTDIR={tmp_path}"]).check()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_plugin_directory(tmp_path: Path, configure: Configure) -> None:
    configure("--prefix=/opt/hf", "--libdir=/opt/hf/lib/multi").check()
    assert variable(tmp_path, "plugindir") == "/opt/hf/lib/multi/criu"
    configure("--prefix=/opt/hf", "--with-plugindir=/opt/criu/plugins").check()
    assert variable(tmp_path, "plugindir") == "/opt/criu/plugins"
    plan = run(["make", "-n", "-C", tmp_path, "install", "DESTDIR=/there"]).check().output
    assert "/there/opt/criu/plugins" in plan


def test_hooks_directory(tmp_path: Path, configure: Configure) -> None:
    configure("--prefix=/opt/hf").check()
    assert variable(tmp_path, "hooksdir") == "/opt/hf/share/containers/oci/hooks.d"
    configure("--prefix=/opt/hf", "--with-hooksdir=/etc/hooks").check()
    assert variable(tmp_path, "hooksdir") == "/etc/hooks"
    run(["make", "-C", tmp_path, "hooks/holdfast.json"]).check()
    hook = json.loads((tmp_path / "hooks" / "holdfast.json").read_text())
    assert hook["hook"]["path"] == "/opt/hf/libexec/holdfast/holdfast-hook"


def test_a_tarball_has_everything(tmp_path: Path) -> None:
    """What git knows is what a tarball brings, but for what serves the project alone."""
    if not (TOP / ".git").exists():
        pytest.skip("no git repository")
    known = set(run(["git", "-C", TOP, "ls-files"]).check().output.splitlines())
    own = {".gitignore", ".ci/run"}
    run(["make", "-C", builddir(), "distdir", f"distdir={tmp_path}/dist"], timeout=120).check()
    missing = [name for name in sorted(known - own) if not (tmp_path / "dist" / name).exists()]
    assert not missing
    shutil.rmtree(tmp_path / "dist")
