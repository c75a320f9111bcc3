#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Generates the A64 decoder from spec/a64.def, whose head explains the format.

usage: gen-a64.py DEF HEADER SOURCE     writes the two generated files
       gen-a64.py DEF --list            prints NAME MASK VALUE CLASS FEATURE for each pattern
"""
import dataclasses
import pathlib
import re
import sys

CLASSES = ("int", "branch", "system", "ldst", "fp", "simd", "crypto")
TOKEN = re.compile(r"^(?:(?P<bits>[01x]+)|(?P<name>[A-Za-z_][A-Za-z_0-9]*)(?::(?P<width>\d+))?)$")
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


class SpecError(Exception):
    pass


@dataclasses.dataclass
class Pattern:
    name: str
    line: int
    mask: int = 0
    value: int = 0
    fields: dict = dataclasses.field(default_factory=dict)  # name -> [(lsb, width), ...]
    imm: str = ""
    undef: str = ""
    klass: str = ""
    feat: str = "base"

    def overlaps(self, other):
        common = self.mask & other.mask
        return self.value & common == other.value & common

    def within(self, other):
        """Every word of this pattern is one of the other's, and not the other way round."""
        return (self.mask & other.mask == other.mask and self.mask != other.mask
                and self.value & other.mask == other.value)

    def expression(self, name):
        """C for the value of a field; parts of a repeated field are put together."""
        parts, shift = [], 0
        for lsb, width in reversed(self.fields[name]):
            parts.append(f"(w >> {lsb} & {(1 << width) - 1:#x}u)" + (f" << {shift}" if shift else ""))
            shift += width
        return " | ".join(reversed(parts))

    def used(self):
        """Fields that the attributes' expressions name."""
        words = set(IDENTIFIER.findall(self.imm + " " + self.undef))
        return [name for name in self.fields if name in words]


def parse_pattern(number, text):
    body, _, attributes = text.partition(";")
    tokens = body.split()
    pattern = Pattern(tokens[0], number)
    at = 32
    for token in tokens[1:]:
        match = TOKEN.match(token)
        if not match:
            raise SpecError(f"line {number}: bad token '{token}'")
        if match["bits"]:
            for bit in match["bits"]:
                at -= 1
                if bit != "x":
                    pattern.mask |= 1 << at
                    pattern.value |= int(bit) << at
        else:
            width = int(match["width"] or 1)
            at -= width
            pattern.fields.setdefault(match["name"], []).append((at, width))
    if at:
        raise SpecError(f"line {number}: {pattern.name} has {32 - at} bits, not 32")
    for attribute in attributes.split():
        key, _, value = attribute.partition("=")
        if key not in ("imm", "undef", "class", "feat") or not value:
            raise SpecError(f"line {number}: bad attribute '{attribute}'")
        setattr(pattern, "klass" if key == "class" else key, value)
    return pattern


def load(path):
    patterns, klass, seen = [], "", {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.split("#", 1)[0].strip()
        if not line:
            continue
        if line.startswith("%class"):
            klass = line.split()[1]
            continue
        pattern = parse_pattern(number, line)
        pattern.klass = pattern.klass or klass
        if pattern.klass not in CLASSES:
            raise SpecError(f"line {number}: class '{pattern.klass}' is not one of {CLASSES}")
        if pattern.name in seen:
            raise SpecError(f"line {number}: {pattern.name} stands at line {seen[pattern.name]} too")
        seen[pattern.name] = number
        patterns.append(pattern)
    check_overlaps(patterns)
    return patterns


def check_overlaps(patterns):
    for i, a in enumerate(patterns):
        for b in patterns[i + 1:]:
            if a.overlaps(b) and not a.within(b) and not b.within(a) and not (a.undef or b.undef):
                raise SpecError(f"{a.name} (line {a.line}) and {b.name} (line {b.line}) overlap")


# ---- The decision tree ----

def split_bits(patterns, tested):
    """The bits that all patterns fix and that no switch has looked at: up to 8, the highest."""
    common = ~tested & 0xFFFFFFFF
    for pattern in patterns:
        common &= pattern.mask
    chosen, lsb = 0, 31
    while lsb >= 0 and bin(chosen).count("1") < 8:
        if common >> lsb & 1:
            chosen |= 1 << lsb
        elif chosen:
            break  # one run of bits makes the cheapest switch
        lsb -= 1
    return chosen


def most_fixed_bit(patterns, tested):
    best, best_count = None, 0
    for bit in range(31, -1, -1):
        if tested >> bit & 1:
            continue
        count = sum(1 for p in patterns if p.mask >> bit & 1)
        ones = sum(1 for p in patterns if p.mask >> bit & 1 and p.value >> bit & 1)
        if count > best_count and 0 < ones < count:
            best, best_count = bit, count
    return best


class Writer:
    def __init__(self):
        self.lines = []

    def emit(self, depth, text):
        self.lines.append("    " * depth + text)

    def leaf(self, depth, pattern, tested):
        rest = pattern.mask & ~tested & 0xFFFFFFFF
        tests = []
        if rest:
            tests.append(f"(w & {rest:#010x}u) == {pattern.value & rest:#010x}u")
        if pattern.undef:
            tests.append(f"!undef_{pattern.name}(w)")
        action = f"return use_{pattern.name}(w, insn);"
        self.emit(depth, (f"if ({' && '.join(tests)}) " if tests else "") + action)
        return bool(tests)

    def tree(self, depth, patterns, tested):
        """Writes code that returns, or falls out at its end when no pattern matches."""
        if len(patterns) <= 3:
            ordered = sorted(patterns, key=lambda p: -bin(p.mask).count("1"))
            for pattern in ordered:
                if not self.leaf(depth, pattern, tested):
                    return
            return
        bits = split_bits(patterns, tested)
        if bits:
            lsb = (bits & -bits).bit_length() - 1
            self.emit(depth, f"switch (w >> {lsb} & {bits >> lsb:#x}u) {{")
            groups = {}
            for pattern in patterns:
                groups.setdefault((pattern.value & bits) >> lsb, []).append(pattern)
            for key in sorted(groups):
                self.emit(depth, f"case {key:#x}:")
                self.tree(depth + 1, groups[key], tested | bits)
                self.emit(depth + 1, "break;")
            self.emit(depth, "}")
            return
        bit = most_fixed_bit(patterns, tested)
        if bit is None:
            ordered = sorted(patterns, key=lambda p: -bin(p.mask).count("1"))
            for pattern in ordered:
                if not self.leaf(depth, pattern, tested):
                    return
            return
        mark = 1 << bit
        self.emit(depth, f"if (w & {mark:#010x}u) {{")
        self.tree(depth + 1, [p for p in patterns if not p.mask & mark or p.value & mark],
                  tested | mark)
        self.emit(depth, "} else {")
        self.tree(depth + 1, [p for p in patterns if not p.mask & mark or not p.value & mark],
                  tested | mark)
        self.emit(depth, "}")


def locals_for(pattern, names):
    return "".join(f"    const uint32_t {name} = {pattern.expression(name)};\n" for name in names)


def header(patterns):
    out = ["/* Generated by tools/gen-a64.py from spec/a64.def. */",
           "#ifndef PV_A64_GEN_H", "#define PV_A64_GEN_H", "", "#include <stdint.h>", "",
           "/* X(name, class) for every operation, in the order of enum a64_op. */",
           "#define A64_OPS(X) \\"]
    out += [f"    X({p.name}, {p.klass}) \\" for p in patterns]
    out += ["", "enum a64_class {"]
    out += [f"    A64_CLASS_{name}," for name in CLASSES]
    out += ["};", "", "enum a64_op {", "    A64_UNDEFINED,"]
    out += [f"    A64_{p.name}," for p in patterns]
    out += ["    A64_OP_COUNT", "};", ""]
    for p in patterns:
        for name in p.fields:
            if name in ("Rd", "Rn"):
                continue
            out.append(f"static inline uint32_t a64_{p.name}_{name}(uint32_t w) "
                       f"{{ return {p.expression(name)}; }}")
    out += ["", "#endif", ""]
    return "\n".join(out)


def source(patterns):
    out = ["/* Generated by tools/gen-a64.py from spec/a64.def. */",
           '#include "engine/a64/decode_impl.h"', "",
           "/* Expressions are written tightly in the definition. */",
           '#pragma GCC diagnostic ignored "-Wparentheses"', ""]
    for p in patterns:
        used = set(p.used())
        if p.undef:
            words = set(IDENTIFIER.findall(p.undef))
            out.append(f"static inline bool undef_{p.name}(uint32_t w)\n{{\n"
                       + locals_for(p, [n for n in p.fields if n in words and n in used])
                       + f"    return {p.undef};\n}}\n")
        words = set(IDENTIFIER.findall(p.imm))
        body = f"static inline void use_{p.name}(uint32_t w, struct a64_insn *insn)\n{{\n"
        body += locals_for(p, [n for n in p.fields if n in words])
        body += f"    insn->op = A64_{p.name};\n"
        if p.imm:
            body += f"    insn->imm = (int64_t)({p.imm});\n"
        out.append(body + "}\n")
    writer = Writer()
    writer.tree(1, patterns, 0)
    out.append("void a64_decode_op(uint32_t w, struct a64_insn *insn)\n{\n"
               + "\n".join(writer.lines) + "\n}\n")
    out.append("const char *const a64_op_names[A64_OP_COUNT] = {\n    \"UNDEFINED\",")
    out += [f'    "{p.name}",' for p in patterns]
    out.append("};\n\nconst uint8_t a64_op_classes[A64_OP_COUNT] = {\n    A64_CLASS_system,")
    out += [f"    A64_CLASS_{p.klass}," for p in patterns]
    out.append("};\n")
    return "\n".join(out)


def main(argv):
    try:
        patterns = load(pathlib.Path(argv[1]))
    except SpecError as error:
        sys.stderr.write(f"{argv[1]}: {error}\n")
        return 1
    if argv[2] == "--list":
        for p in patterns:
            print(f"{p.name} {p.mask:08x} {p.value:08x} {p.klass} {p.feat}")
        return 0
    pathlib.Path(argv[2]).write_text(header(patterns), encoding="utf-8")
    pathlib.Path(argv[3]).write_text(source(patterns), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
