# SPDX-License-Identifier: MIT
"""Takes out of a configured tree what depends on when it was configured.

The second stage is a live system, with a clock and a disk that no other build has. What of these
got into files was found by building images twice and comparing (`pv-image-build compare`), and by
looking for the day of the build in what the second stage wrote. RULES has a row for each file, with
the reason; the times of all files are clamped. Everything else stays as the packages made it.
"""

SECONDS_A_DAY = 86400


def remove(tree, path, epoch):
    del tree[path]


def clamp_password_days(tree, path, epoch):
    """shadow(5): the third field is the day of the last change of the password."""
    lines = []
    for line in tree[path].body().split(b"\n"):
        fields = line.split(b":")
        if len(fields) == 9 and fields[2].isdigit():
            fields[2] = b"%d" % min(int(fields[2]), epoch // SECONDS_A_DAY)
        lines.append(b":".join(fields))
    tree[path].content = b"\n".join(lines)


RULES = [
    (b"/etc/shadow", clamp_password_days, "has the day of the build for each account"),
    (b"/etc/shadow-", clamp_password_days, "so does its backup"),
    (b"/var/cache/ldconfig/aux-cache", remove,
     "has inode numbers and change times of libraries; ldconfig does without"),
]


def normalise(tree, epoch):
    """Changes {path: Node} in place. Nothing is newer than what the image was made from."""
    for path, action, _ in RULES:
        if path in tree:
            action(tree, path, epoch)
    for node in tree.values():
        node.mtime = min(node.mtime, epoch)
