# SPDX-License-Identifier: MIT
"""What the guest is given: its configuration files, and the script of the second stage."""

import os
import shutil

from .filesystem import LABEL

HOSTNAME = "pearvisor"

# Runs as init of the guest, once. Lines that start with PV-SETUP are read by build.py.
SECOND_STAGE = r"""#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true
export LC_ALL=C.UTF-8 HOME=/root SYSTEMD_OFFLINE=1 DPKG_ROOT= RUNLEVEL=1
if [ "$1" != again ]; then
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -p /dev/pts
    mount -t devpts devpts /dev/pts
    # A file that is deleted while open would keep the root from becoming read-only at the end.
    cp -a /.pearvisor-setup /run/setup
    exec /bin/sh /run/setup/second-stage again
fi
exec </dev/null

fail() {
    echo "PV-SETUP failed: $*"
    sync
    poweroff -f -f
    sleep 60
}

# Services are for the first boot, not for now.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d

echo "PV-SETUP preparing"
while read -r name script; do
    DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE=$name DPKG_MAINTSCRIPT_ARCH=arm64 \
        DPKG_RUNNING_VERSION=1.21 "$script" install || fail "preinst of $name"
done </run/setup/preinst

set -- --force-unsafe-io --force-confold --status-fd 3
# Scripts rely on these without saying so, because they are essential.
dpkg "$@" --force-depends --configure $(cat /run/setup/early) 3>&1 || fail "early packages"
for deb in /run/setup/deferred/*.deb; do
    [ -e "$deb" ] || continue
    dpkg "$@" --force-depends --unpack "$deb" 3>&1 || fail "unpacking $deb"
done
dpkg "$@" --configure -a 3>&1 || fail "configuring packages"
dpkg --audit | grep . && fail "dpkg --audit found the lines above"

echo "PV-SETUP finishing"
rm -f /usr/sbin/policy-rc.d
passwd -d root >/dev/null || fail "passwd"
depmod -a "$(cat /run/setup/kernel)" || fail "depmod"
for unit in systemd-networkd systemd-resolved; do
    systemctl enable $unit >/dev/null 2>&1 || fail "systemctl enable $unit"
done
systemctl disable apt-daily.timer apt-daily-upgrade.timer \
    e2scrub_all.timer e2scrub_reap.service >/dev/null 2>&1
# The image is booted more than once: what must differ between guests is made at their first boot.
rm -f /etc/ssh/ssh_host_*_key* /var/lib/systemd/random-seed /var/lib/dbus/machine-id
: >/etc/machine-id
rm -rf /.pearvisor-setup /var/log/*.log /var/log/apt/* /var/cache/debconf/*-old /var/lib/dpkg/*-old
rm -rf /tmp/* /var/tmp/*
# What the first boot would update after a change of /usr, the packages' scripts just did.
touch -r /usr /etc/.updated /var/.updated
sync
cd /
umount /dev/pts
mount -o remount,ro / || fail "the root file system stays busy"
echo "PV-SETUP done"
poweroff -f -f
sleep 60
"""

FILES = {
    "etc/hostname": HOSTNAME + "\n",
    "etc/hosts": f"127.0.0.1\tlocalhost\n127.0.1.1\t{HOSTNAME}\n"
                 "::1\tlocalhost ip6-localhost ip6-loopback\n",
    "etc/fstab": f"LABEL={LABEL}\t/\text4\tdefaults,noatime\t0\t1\n",
    "etc/apt/apt.conf.d/90pearvisor":
        "// Translated descriptions double what apt-get update has to read.\n"
        'Acquire::Languages "none";\n',
    "etc/default/locale": "LANG=C.UTF-8\n",
    "etc/systemd/network/80-pearvisor.network":
        "[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n",
    "etc/systemd/system/systemd-udev-trigger.service.d/pearvisor.conf":
        "# Most of the 800 events of a cold start are for built-in modules and virtual terminals.\n"
        "# On an emulated CPU they take half of the time to the login.\n"
        "[Service]\nExecStart=\n"
        "ExecStart=-udevadm trigger --type=devices --action=add --subsystem-nomatch=module "
        "--subsystem-nomatch=tty --subsystem-nomatch=vc --subsystem-nomatch=workqueue\n"
        "ExecStart=-udevadm trigger --type=devices --action=add --subsystem-match=tty "
        "--sysname-match=ttyA* --sysname-match=ttyS* --sysname-match=hvc*\n",
    "etc/systemd/system/dev-ttyAMA0.device.d/pearvisor.conf":
        "# The login on the console waits for udev, which on an emulated CPU of a busy host can take\n"
        "# longer than the usual 90 seconds.\n"
        "[Unit]\nJobRunningTimeoutSec=30min\n",
    "etc/systemd/system/ssh.service.d/pearvisor.conf":
        "# Each guest makes its own host keys at its first boot.\n[Service]\nExecStartPre=\n"
        "ExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n",
}

AGENT = "usr/sbin/pearvisor-agent"
AGENT_UNIT = """[Unit]
Description=PearVisor's guest agent
Documentation=man:pearvisor(1)

[Service]
ExecStart=/usr/sbin/pearvisor-agent
Restart=on-failure
RestartSec=5
KillMode=process

[Install]
WantedBy=multi-user.target
"""


def sources(suite, main, security):
    stanza = ("Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\n"
              "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n")
    text = stanza.format(uri=main, suites=f"{suite} {suite}-updates")
    if security:
        text += "\n" + stanza.format(uri=security, suites=f"{suite}-security")
    return text


def write_configuration(tree, archive, authorized_keys):
    for name, text in FILES.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    path = tree / "etc/apt/sources.list.d/debian.sources"
    path.write_text(sources(archive.suite, archive.main, archive.security))
    if authorized_keys:
        folder = tree / "root/.ssh"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "authorized_keys").write_text(authorized_keys)
        (folder / "authorized_keys").chmod(0o600)


def install_agent(tree, program):
    """Puts the guest agent in, enabled."""
    target = tree / AGENT
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(program.read_bytes())
    target.chmod(0o755)
    units = tree / "etc/systemd/system"
    (units / "multi-user.target.wants").mkdir(parents=True, exist_ok=True)
    (units / "pearvisor-agent.service").write_text(AGENT_UNIT)
    (units / "multi-user.target.wants/pearvisor-agent.service").symlink_to(
        "/etc/systemd/system/pearvisor-agent.service")


def write_second_stage(tree, packages, deferred, kernel_version):
    """Puts the script and what it reads into the tree; the script removes it all."""
    folder = tree / ".pearvisor-setup"
    (folder / "deferred").mkdir(parents=True)
    script = folder / "second-stage"
    script.write_text(SECOND_STAGE)
    script.chmod(0o755)
    lines = []
    for package in packages:
        for name in (package.name, f"{package.name}:{package.arch}"):
            preinst = tree / "var/lib/dpkg/info" / f"{name}.preinst"
            if preinst.exists():
                lines.append(f"{package.name} /var/lib/dpkg/info/{name}.preinst\n")
    lines.sort(key=lambda line: not line.startswith("base-passwd "))
    (folder / "preinst").write_text("".join(lines))
    early = ["base-passwd", "libc6", "mawk", "base-files", "perl-base", "debconf"]
    names = {p.name for p in packages}
    (folder / "early").write_text(" ".join(n for n in early if n in names) + "\n")
    (folder / "kernel").write_text(kernel_version + "\n")
    for package in deferred:
        shutil.copy(package.path, folder / "deferred")
    # mawk's postinst makes this link, and scripts that run before it need awk.
    awk = tree / "usr/bin/awk"
    if not os.path.lexists(awk):
        awk.symlink_to("mawk")
