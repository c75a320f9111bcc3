# SPDX-License-Identifier: MIT
"""Debian packages for a foreign architecture, through the host's apt.

apt runs with a private configuration: its own architecture, lists, cache and an empty dpkg status,
so that nothing of the host's package state is read or written. What it takes from the host is how
to reach the archive: the URIs of its Debian sources and its Acquire settings (proxies and such).
apt checks signatures and hashes while fetching; every package is hashed again when it is used, so
that a cache damaged since then is noticed.
"""

import email.utils
import fcntl
import hashlib
import os
import re
import subprocess
from pathlib import Path

from . import BuildError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITES = {"12": "bookworm", "13": "trixie"}
DEBIAN_SUITE = re.compile(
    r"(bullseye|bookworm|trixie|forky|sid|oldstable|stable|testing|unstable)(-updates|-security)?$")


def host_sources():
    """The host's own (archive URI, security archive URI); either may be None."""
    out = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"],
        check=True, capture_output=True, text=True).stdout
    main = security = None
    for line in out.splitlines():
        uri, _, suite = line.partition(" ")
        match = DEBIAN_SUITE.match(suite)
        if not match:
            continue
        if match[2] == "-security":
            security = security or uri
        else:
            main = main or uri
    return main, security


def parse_stanzas(text):
    """Yields each stanza of a Debian control file as a dict of its fields."""
    for block in re.split(r"\n\s*\n", text):
        fields, name = {}, None
        for line in block.splitlines():
            if line[:1] in (" ", "\t") and name:
                fields[name] += "\n" + line
            elif ":" in line:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if fields:
            yield fields


class Package:
    """One package file in the cache, checked against the archive's index."""

    def __init__(self, name, version, arch, path, sha256):
        self.name, self.version, self.arch = name, version, arch
        self.path, self.sha256 = path, sha256

    def verify(self):
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        if digest != self.sha256:
            self.path.unlink()
            raise BuildError(f"{self.path.name} in the cache was damaged and has been removed; "
                             "build again to fetch it anew")


class Archive:
    """The arm64 half of a Debian suite."""

    def __init__(self, release, cache, mirror=None, offline=False, say=lambda text: None):
        if release not in SUITES:
            raise BuildError(f"Debian release '{release}' is not known; "
                             f"known are {', '.join(sorted(SUITES))}")
        self.release, self.suite = release, SUITES[release]
        self.base = cache / "apt" / self.suite
        self.offline = offline
        self._index = None
        self._configure(mirror, say)

    def _configure(self, mirror, say):
        main, security = host_sources()
        main = mirror or main
        if not main:
            raise BuildError("the host's apt has no Debian source to take the mirror's address "
                             "from; name one with --mirror URI")
        self.main, self.security = main, security
        if not KEYRING.exists():
            raise BuildError(f"{KEYRING} is missing; install debian-archive-keyring")
        for folder in ("lists/partial", "cache/archives/partial", "parts"):
            (self.base / folder).mkdir(parents=True, exist_ok=True)
        (self.base / "status").touch()
        self._lock(say)
        sources = [f"deb [signed-by={KEYRING}] {main} {self.suite} main",
                   f"deb [signed-by={KEYRING}] {main} {self.suite}-updates main"]
        if security:
            sources.append(f"deb [signed-by={KEYRING}] {security} {self.suite}-security main")
        (self.base / "sources.list").write_text("\n".join(sources) + "\n")

        acquire = subprocess.run(["apt-config", "dump", "Acquire"], check=True,
                                 capture_output=True, text=True).stdout
        kept = [line for line in acquire.splitlines()
                if re.match(r"Acquire::(http|https|ftp|Retries|Check-|ForceIP)", line)]
        (self.base / "apt.conf").write_text("\n".join([
            'Dir::Etc::Main "/dev/null";',
            f'Dir::Etc::Parts "{self.base}/parts";',
            f'Dir::Etc::SourceList "{self.base}/sources.list";',
            f'Dir::Etc::SourceParts "{self.base}/parts";',
            'Dir::Etc::Preferences "/dev/null";',
            f'Dir::Etc::PreferencesParts "{self.base}/parts";',
            f'Dir::State "{self.base}";',
            f'Dir::State::Lists "{self.base}/lists";',
            f'Dir::State::Status "{self.base}/status";',
            f'Dir::State::extended_states "{self.base}/extended_states";',
            f'Dir::Cache "{self.base}/cache";',
            'APT::Architecture "arm64";',
            'APT::Architectures { "arm64"; };',
            'APT::Sandbox::User "root";',
            'APT::Install-Recommends "false";',
            'Acquire::Languages "none";',
            'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";',
            *kept]) + "\n")

    def _lock(self, say):
        """Held until this process ends: apt's own locks make a second builder fail, this one waits."""
        self._lock_file = open(self.base / "builder.lock", "w", encoding="ascii")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another build of Debian {self.release} to end")
            fcntl.flock(self._lock_file, fcntl.LOCK_EX)

    def _run(self, *command):
        env = dict(os.environ, APT_CONFIG=str(self.base / "apt.conf"), LC_ALL="C.UTF-8")
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            lines = [line for line in (done.stderr + done.stdout).splitlines()
                     if line.startswith("E: ")]
            raise BuildError(f"{command[0]}: " + (lines[0][3:] if lines else done.stderr.strip()))
        return done.stdout

    def update(self):
        """Fetches the indexes; in offline mode, those of an earlier run are used."""
        have = any((self.base / "lists").glob("*InRelease"))
        if self.offline and have:
            return
        self._run("apt-get", "update", "-qq", "--error-on=any")

    def date(self):
        """When the newest of the suite's indexes was made, in seconds since 1970."""
        newest = 0
        for path in (self.base / "lists").glob("*InRelease"):
            match = re.search(r"^Date: (.*)$", path.read_text(errors="replace"), re.MULTILINE)
            if match:
                stamp = email.utils.parsedate_to_datetime(match[1].replace("UTC", "+0000"))
                newest = max(newest, int(stamp.timestamp()))
        return newest

    def index(self):
        """Every version of every package: {(name, version): fields}."""
        if self._index is None:
            self._index = {(f["Package"], f["Version"]): f
                           for f in parse_stanzas(self._run("apt-cache", "dumpavail"))}
        return self._index

    def essential(self):
        return sorted({f["Package"] for f in self.index().values()
                       if f.get("Essential") == "yes"})

    def depends(self, name):
        """The names a package depends on directly, alternatives left out."""
        fields = next((f for (n, _), f in self.index().items() if n == name), None)
        if fields is None:
            raise BuildError(f"there is no package '{name}' in Debian {self.release}")
        return [re.split(r"[\s(:|]", d.strip())[0] for d in fields.get("Depends", "").split(",")]

    def resolve(self, names):
        """The closure of `names` under Depends, as [(name, version, arch)] in apt's order."""
        out = self._run("apt-get", "--simulate", "install", *names)
        return re.findall(r"^Inst (\S+) \((\S+) .*\[(\w+)\]\)", out, re.MULTILINE)

    def download(self, names, resolve=True):
        """Fetches packages (with what they depend on, if `resolve`) and returns them checked."""
        if resolve:
            chosen = self.resolve(names)
            self._run("apt-get", "install", "--download-only", "-y", "-qq", *names)
            folder = self.base / "cache/archives"
        else:
            folder = self.base / "cache/single"
            folder.mkdir(exist_ok=True)
            chosen = []
            for name in names:
                version = self._run("apt-cache", "show", "--no-all-versions", name)
                fields = next(parse_stanzas(version))
                chosen.append((name, fields["Version"], fields["Architecture"]))
        packages = []
        for name, version, arch in chosen:
            fields = self.index().get((name, version))
            if fields is None:
                raise BuildError(f"{name} {version} is not in the archive's index")
            path = folder / f"{name}_{version.replace(':', '%3a')}_{arch}.deb"
            if not resolve and not path.exists():
                self._download_single(name, version, folder)
            packages.append(Package(name, version, arch, path, fields["SHA256"]))
        for package in packages:
            package.verify()
        return packages

    def _download_single(self, name, version, folder):
        env = dict(os.environ, APT_CONFIG=str(self.base / "apt.conf"), LC_ALL="C.UTF-8")
        done = subprocess.run(["apt-get", "download", "-qq", f"{name}={version}"], env=env,
                              cwd=folder, capture_output=True, text=True)
        if done.returncode != 0:
            raise BuildError(f"cannot fetch {name} {version}: {done.stderr.strip()}")

    def kernel_package(self):
        """The package that holds the suite's stock kernel image (not the metapackage)."""
        for name in self.depends("linux-image-arm64"):
            if name.startswith("linux-image-"):
                return name
        raise BuildError("linux-image-arm64 names no kernel package")
