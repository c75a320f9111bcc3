# SPDX-License-Identifier: MIT
"""A root tree that dpkg takes for one it unpacked itself.

`dpkg --unpack` of a hundred packages inside the guest costs minutes on an emulated CPU, so this
does on the host what dpkg would have done up to the state "unpacked": the files, the database under
var/lib/dpkg (status, the list of files, maintainer scripts, trigger interests) and apt's notes.
No maintainer script runs here; the guest runs preinst and postinst (setup.py). deb(5),
deb-control(5), deb-triggers(5) and dpkg's doc/triggers.txt define the formats.
"""

import hashlib
import io
import subprocess
import tarfile

from . import BuildError
from .archive import parse_stanzas
from .kernels import unpack


class Rootfs:
    def __init__(self, tree):
        self.tree = tree
        self.info = tree / "var/lib/dpkg/info"
        self.status = []
        self.triggers = {}
        self.newest = 0  # time of the newest file in the packages

    def begin(self):
        """The merged-/usr links must be there before any package: Debian 12 ships none."""
        self.tree.mkdir()
        for name in ("bin", "sbin", "lib"):
            (self.tree / "usr" / name).mkdir(parents=True)
            (self.tree / name).symlink_to(f"usr/{name}")
        for folder in (self.info, self.info.parent / "updates", self.info.parent / "triggers",
                       self.info.parent / "parts", self.info.parent / "alternatives"):
            folder.mkdir(parents=True)
        (self.info / "format").write_text("1\n")

    def add(self, package):
        """Brings one package to the state "unpacked"."""
        control = self._control(package)
        fields = next(parse_stanzas(control["control"].decode()))
        unpack(package, self.tree)
        same = fields.get("Multi-Arch") == "same"
        qualified = f"{package.name}:{package.arch}" if same else package.name
        for name, body in control.items():
            if name == "control":
                continue
            target = self.info / f"{qualified}.{name}"
            target.write_bytes(body)
            if name in ("preinst", "postinst", "prerm", "postrm", "config"):
                target.chmod(0o755)
        (self.info / f"{qualified}.list").write_text(self._list(package))
        self._add_status(control, fields)
        self._add_triggers(control.get("triggers", b"").decode(), qualified)

    @staticmethod
    def _control(package):
        out = subprocess.run(["dpkg-deb", "--ctrl-tarfile", package.path], check=True,
                             capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(out)) as tar:
            return {m.name.removeprefix("./"): tar.extractfile(m).read()
                    for m in tar.getmembers() if m.isfile()}

    def _list(self, package):
        reader = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package.path],
                                  stdout=subprocess.PIPE)
        with tarfile.open(fileobj=reader.stdout, mode="r|") as tar:
            names = []
            for member in tar:
                names.append(member.name.removeprefix("."))
                self.newest = max(self.newest, int(member.mtime))
        reader.stdout.close()
        if reader.wait() != 0:
            raise BuildError(f"cannot list {package.path.name}")
        return "".join(f"{name or '/.'}\n" for name in names)

    def _add_status(self, control, fields):
        sums = dict(reversed(line.split(None, 1)) for line in
                    control.get("md5sums", b"").decode().splitlines() if line)
        conffiles = []
        for path in control.get("conffiles", b"").decode().splitlines():
            if not path.startswith("/"):
                continue  # remove-on-upgrade: nothing of it is installed
            digest = sums.get(path[1:]) or self._md5(path)
            if digest:
                conffiles.append(f" {path} {digest}")
        text = control["control"].decode().rstrip("\n")
        head, _, rest = text.partition("\n")
        if not head.startswith("Package:"):
            raise BuildError(f"the control file of {fields.get('Package')} starts with '{head}'")
        text = f"{head}\nStatus: install ok unpacked\n{rest}\n"
        if conffiles:
            text += "Conffiles:\n" + "\n".join(conffiles) + "\n"
        self.status.append(text)

    def _md5(self, path):
        target = self.tree / path[1:]
        if not target.is_file():
            return None
        return hashlib.md5(target.read_bytes(), usedforsecurity=False).hexdigest()

    def _add_triggers(self, text, qualified):
        for line in text.splitlines():
            words = line.split("#")[0].split()
            if len(words) != 2 or not words[0].startswith("interest"):
                continue
            suffix = "/noawait" if words[0].endswith("-noawait") else ""
            if words[1].startswith("/"):
                self.triggers.setdefault("File", []).append(f"{words[1]} {qualified}{suffix}")
            else:
                self.triggers.setdefault(words[1], []).append(f"{qualified}{suffix}")

    def finish(self, requested, packages):
        """Writes the database."""
        dpkg = self.info.parent
        (dpkg / "status").write_text("\n".join(self.status))
        (dpkg / "available").write_text("")
        for name, lines in self.triggers.items():
            (dpkg / "triggers" / name).write_text("\n".join(lines) + "\n")
        apt = self.tree / "var/lib/apt"
        apt.mkdir(parents=True, exist_ok=True)
        (apt / "extended_states").write_text("\n".join(
            f"Package: {p.name}\nArchitecture: {p.arch}\nAuto-Installed: 1\n"
            for p in packages if p.name not in requested))
