# SPDX-License-Identifier: MIT
# Runs in the guest before the programs: a C program of 5,000 lines and 20 packages, on a file system
# in memory, so that the disk is no part of what is compared.
set -e
mount -t tmpfs none /mnt
cd /mnt
i=0
while [ $i -lt 500 ]; do
    cat >> big.c <<C
struct item$i { int key; long weight; struct item$i *next; };
long sum$i(struct item$i *p, int limit)
{
    long total = 0;
    for (; p; p = p->next)
        if (p->key < limit)
            total += p->weight * (p->key ^ $i) + (total >> 3);
    return total % 1000003;
}

C
    i=$((i + 1))
done
i=0
while [ $i -lt 20 ]; do
    mkdir -p p$i/DEBIAN p$i/usr/share/bench$i
    printf '%s\n' "Package: bench$i" 'Version: 1' 'Architecture: all' \
        'Maintainer: nobody <nobody@localhost>' 'Description: files to install' > p$i/DEBIAN/control
    printf '#!/bin/sh\nset -e\ngrep -q . /usr/share/bench%s/1\n' $i > p$i/DEBIAN/postinst
    chmod 755 p$i/DEBIAN/postinst
    j=0
    while [ $j -lt 50 ]; do
        echo "file $j of package $i" > p$i/usr/share/bench$i/$j
        j=$((j + 1))
    done
    dpkg-deb -Zxz --build p$i bench$i.deb > /dev/null
    i=$((i + 1))
done
cat > work.py <<P
import json, re
words = {}
for i in range(60000):
    words[f"key{i % 5000}"] = words.get(f"key{i % 5000}", 0) + i
text = json.dumps(words)
assert json.loads(text) == words
found = sum(int(n) for n in re.findall(r"\d+", text))
queens = 0
def place(row, columns, up, down):
    global queens
    if row == 8:
        queens += 1
    for c in range(8):
        if not (columns >> c & 1 or up >> row + c & 1 or down >> row - c + 8 & 1):
            place(row + 1, columns | 1 << c, up | 1 << row + c, down | 1 << row - c + 8)
place(0, 0, 0, 0)
print(found, queens, sorted(words, key=lambda w: words[w])[0])
P
cat > work.js <<J
let sum = 0, points = [];
for (let i = 0; i < 30000000; i++)
    sum = (sum + i * 7) % 1000003;
for (let i = 0; i < 300000; i++)
    points.push({x: i * 0.5, name: "p" + i % 100});
points.sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : b.x - a.x);
console.log(sum, points[1000].x);
J
