/* SPDX-License-Identifier: MIT */
/*
 * The vector instructions, a line each: name, mnemonic, operands, encoding (mandatory prefix, map,
 * opcode), W, length, opcode extension.
 *
 * Operands, destination first: x an xmm register, X one or memory, y and Y ymm, d and D a 32-bit
 * general register, q and Q a 64-bit one, m memory only, i an 8-bit immediate. The assembler does
 * not look at them: they are for the reader and for the test.
 * Length: 0 for 128 bits, 1 for 256, 2 for both: there the x stand for y too, see X64_YMM.
 */
#ifndef PV_ENGINE_JIT_X64_VEX_OPS_H
#define PV_ENGINE_JIT_X64_VEX_OPS_H

/* The same for packed and scalar, single and double. */
#define X64_VEX_FLOAT4(V, NAME, name, op)                                                          \
    V(NAME##PS, "v" name "ps", "xxX", 0, 1, op, 0, 2, 0)                                           \
    V(NAME##PD, "v" name "pd", "xxX", 1, 1, op, 0, 2, 0)                                           \
    V(NAME##SS, "v" name "ss", "xxX", 2, 1, op, 0, 0, 0)                                           \
    V(NAME##SD, "v" name "sd", "xxX", 3, 1, op, 0, 0, 0)
/* Fused multiply-add in one of the three operand orders; the opcode is the packed one's. */
#define X64_VEX_FMA4(V, NAME, name, op)                                                            \
    V(NAME##PS, "v" name "ps", "xxX", 1, 2, op, 0, 2, 0)                                           \
    V(NAME##PD, "v" name "pd", "xxX", 1, 2, op, 1, 2, 0)                                           \
    V(NAME##SS, "v" name "ss", "xxX", 1, 2, (op) + 1, 0, 0, 0)                                     \
    V(NAME##SD, "v" name "sd", "xxX", 1, 2, (op) + 1, 1, 0, 0)
#define X64_VEX_FMA(V, NAME, name, op)                                                             \
    X64_VEX_FMA4(V, NAME##132, name "132", op)                                                     \
    X64_VEX_FMA4(V, NAME##213, name "213", (op) + 0x10)                                            \
    X64_VEX_FMA4(V, NAME##231, name "231", (op) + 0x20)
/* 66 0F: nearly all of SSE2's integer instructions; 66 0F 38: those of SSSE3 and later */
#define X64_VEX_INT(V, NAME, name, op)   V(NAME, name, "xxX", 1, 1, op, 0, 2, 0)
#define X64_VEX_INT38(V, NAME, name, op) V(NAME, name, "xxX", 1, 2, op, 0, 2, 0)
#define X64_VEX_EXTEND(V, NAME, name, op)                                                          \
    V(NAME, name, "xX", 1, 2, op, 0, 0, 0)                                                         \
    V(NAME##_Y, name, "yX", 1, 2, op, 0, 1, 0)

#define X64_VEX_MOVES(V)                                                                           \
    V(VMOVAPS_LOAD, "vmovaps", "xm", 0, 1, 0x28, 0, 2, 0)                                          \
    V(VMOVAPS_STORE, "vmovaps", "mx", 0, 1, 0x29, 0, 2, 0)                                         \
    V(VMOVUPS_LOAD, "vmovups", "xm", 0, 1, 0x10, 0, 2, 0)                                          \
    V(VMOVUPS_STORE, "vmovups", "mx", 0, 1, 0x11, 0, 2, 0)                                         \
    V(VMOVDQA_LOAD, "vmovdqa", "xm", 1, 1, 0x6f, 0, 2, 0)                                          \
    V(VMOVDQA_STORE, "vmovdqa", "mx", 1, 1, 0x7f, 0, 2, 0)                                         \
    V(VMOVDQU_LOAD, "vmovdqu", "xm", 2, 1, 0x6f, 0, 2, 0)                                          \
    V(VMOVDQU_STORE, "vmovdqu", "mx", 2, 1, 0x7f, 0, 2, 0)                                         \
    V(VMOVD_FROM, "vmovd", "xD", 1, 1, 0x6e, 0, 0, 0)                                              \
    V(VMOVD_TO, "vmovd", "Dx", 1, 1, 0x7e, 0, 0, 0)                                                \
    V(VMOVQ_FROM, "vmovq", "xq", 1, 1, 0x6e, 1, 0, 0)                                              \
    V(VMOVQ_TO, "vmovq", "qx", 1, 1, 0x7e, 1, 0, 0)                                                \
    V(VMOVQ_LOAD, "vmovq", "xm", 2, 1, 0x7e, 0, 0, 0)                                              \
    V(VMOVQ_STORE, "vmovq", "mx", 1, 1, 0xd6, 0, 0, 0)                                             \
    V(VMOVSS_LOAD, "vmovss", "xm", 2, 1, 0x10, 0, 0, 0)                                            \
    V(VMOVSS_STORE, "vmovss", "mx", 2, 1, 0x11, 0, 0, 0)                                           \
    V(VMOVSD_LOAD, "vmovsd", "xm", 3, 1, 0x10, 0, 0, 0)                                            \
    V(VMOVSD_STORE, "vmovsd", "mx", 3, 1, 0x11, 0, 0, 0)                                           \
    V(VMOVLHPS, "vmovlhps", "xxx", 0, 1, 0x16, 0, 0, 0)                                            \
    V(VMOVHLPS, "vmovhlps", "xxx", 0, 1, 0x12, 0, 0, 0)                                            \
    V(VMOVHPD_LOAD, "vmovhpd", "xxm", 1, 1, 0x16, 0, 0, 0)                                         \
    V(VMOVHPD_STORE, "vmovhpd", "mx", 1, 1, 0x17, 0, 0, 0)                                         \
    V(VMOVLPD_LOAD, "vmovlpd", "xxm", 1, 1, 0x12, 0, 0, 0)                                         \
    V(VMOVLPD_STORE, "vmovlpd", "mx", 1, 1, 0x13, 0, 0, 0)                                         \
    V(VMOVDDUP, "vmovddup", "xX", 3, 1, 0x12, 0, 2, 0)                                             \
    V(VMOVSLDUP, "vmovsldup", "xX", 2, 1, 0x12, 0, 2, 0)                                           \
    V(VMOVSHDUP, "vmovshdup", "xX", 2, 1, 0x16, 0, 2, 0)                                           \
    V(VPINSRB, "vpinsrb", "xxDi", 1, 3, 0x20, 0, 0, 0)                                             \
    V(VPINSRW, "vpinsrw", "xxDi", 1, 1, 0xc4, 0, 0, 0)                                             \
    V(VPINSRD, "vpinsrd", "xxDi", 1, 3, 0x22, 0, 0, 0)                                             \
    V(VPINSRQ, "vpinsrq", "xxQi", 1, 3, 0x22, 1, 0, 0)                                             \
    V(VPEXTRB, "vpextrb", "Dxi", 1, 3, 0x14, 0, 0, 0)                                              \
    V(VPEXTRW, "vpextrw", "dxi", 1, 1, 0xc5, 0, 0, 0)                                              \
    V(VPEXTRW_STORE, "vpextrw", "mxi", 1, 3, 0x15, 0, 0, 0)                                        \
    V(VPEXTRD, "vpextrd", "Dxi", 1, 3, 0x16, 0, 0, 0)                                              \
    V(VPEXTRQ, "vpextrq", "Qxi", 1, 3, 0x16, 1, 0, 0)                                              \
    V(VINSERTPS, "vinsertps", "xxXi", 1, 3, 0x21, 0, 0, 0)                                         \
    V(VMOVMSKPS, "vmovmskps", "dx", 0, 1, 0x50, 0, 2, 0)                                           \
    V(VMOVMSKPD, "vmovmskpd", "dx", 1, 1, 0x50, 0, 2, 0)                                           \
    V(VPMOVMSKB, "vpmovmskb", "dx", 1, 1, 0xd7, 0, 2, 0)                                           \
    V(VBROADCASTSS, "vbroadcastss", "xX", 1, 2, 0x18, 0, 0, 0)                                     \
    V(VPBROADCASTB, "vpbroadcastb", "xX", 1, 2, 0x78, 0, 0, 0)                                     \
    V(VPBROADCASTW, "vpbroadcastw", "xX", 1, 2, 0x79, 0, 0, 0)                                     \
    V(VPBROADCASTD, "vpbroadcastd", "xX", 1, 2, 0x58, 0, 0, 0)                                     \
    V(VPBROADCASTQ, "vpbroadcastq", "xX", 1, 2, 0x59, 0, 0, 0)                                     \
    V(VINSERTI128, "vinserti128", "yyXi", 1, 3, 0x38, 0, 1, 0)                                     \
    V(VEXTRACTI128, "vextracti128", "Xyi", 1, 3, 0x39, 0, 1, 0)                                    \
    V(VPERMQ, "vpermq", "yYi", 1, 3, 0x00, 1, 1, 0)                                                \
    V(VLDMXCSR, "vldmxcsr", "m", 0, 1, 0xae, 0, 0, 2)                                              \
    V(VSTMXCSR, "vstmxcsr", "m", 0, 1, 0xae, 0, 0, 3)

#define X64_VEX_FLOATS(V)                                                                          \
    X64_VEX_FLOAT4(V, VADD, "add", 0x58)                                                           \
    X64_VEX_FLOAT4(V, VMUL, "mul", 0x59)                                                           \
    X64_VEX_FLOAT4(V, VSUB, "sub", 0x5c)                                                           \
    X64_VEX_FLOAT4(V, VMIN, "min", 0x5d)                                                           \
    X64_VEX_FLOAT4(V, VDIV, "div", 0x5e)                                                           \
    X64_VEX_FLOAT4(V, VMAX, "max", 0x5f)                                                           \
    V(VSQRTPS, "vsqrtps", "xX", 0, 1, 0x51, 0, 2, 0)                                               \
    V(VSQRTPD, "vsqrtpd", "xX", 1, 1, 0x51, 0, 2, 0)                                               \
    V(VSQRTSS, "vsqrtss", "xxX", 2, 1, 0x51, 0, 0, 0)                                              \
    V(VSQRTSD, "vsqrtsd", "xxX", 3, 1, 0x51, 0, 0, 0)                                              \
    V(VANDPS, "vandps", "xxX", 0, 1, 0x54, 0, 2, 0)                                                \
    V(VANDNPS, "vandnps", "xxX", 0, 1, 0x55, 0, 2, 0)                                              \
    V(VORPS, "vorps", "xxX", 0, 1, 0x56, 0, 2, 0)                                                  \
    V(VXORPS, "vxorps", "xxX", 0, 1, 0x57, 0, 2, 0)                                                \
    V(VCMPPS, "vcmpps", "xxXi", 0, 1, 0xc2, 0, 2, 0)                                               \
    V(VCMPPD, "vcmppd", "xxXi", 1, 1, 0xc2, 0, 2, 0)                                               \
    V(VCMPSS, "vcmpss", "xxXi", 2, 1, 0xc2, 0, 0, 0)                                               \
    V(VCMPSD, "vcmpsd", "xxXi", 3, 1, 0xc2, 0, 0, 0)                                               \
    V(VUCOMISS, "vucomiss", "xX", 0, 1, 0x2e, 0, 0, 0)                                             \
    V(VUCOMISD, "vucomisd", "xX", 1, 1, 0x2e, 0, 0, 0)                                             \
    V(VCOMISS, "vcomiss", "xX", 0, 1, 0x2f, 0, 0, 0)                                               \
    V(VCOMISD, "vcomisd", "xX", 1, 1, 0x2f, 0, 0, 0)                                               \
    V(VROUNDPS, "vroundps", "xXi", 1, 3, 0x08, 0, 2, 0)                                            \
    V(VROUNDPD, "vroundpd", "xXi", 1, 3, 0x09, 0, 2, 0)                                            \
    V(VROUNDSS, "vroundss", "xxXi", 1, 3, 0x0a, 0, 0, 0)                                           \
    V(VROUNDSD, "vroundsd", "xxXi", 1, 3, 0x0b, 0, 0, 0)                                           \
    V(VSHUFPS, "vshufps", "xxXi", 0, 1, 0xc6, 0, 2, 0)                                             \
    V(VSHUFPD, "vshufpd", "xxXi", 1, 1, 0xc6, 0, 2, 0)                                             \
    V(VUNPCKLPS, "vunpcklps", "xxX", 0, 1, 0x14, 0, 2, 0)                                          \
    V(VUNPCKHPS, "vunpckhps", "xxX", 0, 1, 0x15, 0, 2, 0)                                          \
    V(VHADDPS, "vhaddps", "xxX", 3, 1, 0x7c, 0, 2, 0)                                              \
    V(VHADDPD, "vhaddpd", "xxX", 1, 1, 0x7c, 0, 2, 0)                                              \
    V(VCVTSI2SS_D, "vcvtsi2ssl", "xxD", 2, 1, 0x2a, 0, 0, 0)                                       \
    V(VCVTSI2SS_Q, "vcvtsi2ssq", "xxQ", 2, 1, 0x2a, 1, 0, 0)                                       \
    V(VCVTSI2SD_D, "vcvtsi2sdl", "xxD", 3, 1, 0x2a, 0, 0, 0)                                       \
    V(VCVTSI2SD_Q, "vcvtsi2sdq", "xxQ", 3, 1, 0x2a, 1, 0, 0)                                       \
    V(VCVTTSS2SI_D, "vcvttss2si", "dX", 2, 1, 0x2c, 0, 0, 0)                                       \
    V(VCVTTSS2SI_Q, "vcvttss2si", "qX", 2, 1, 0x2c, 1, 0, 0)                                       \
    V(VCVTTSD2SI_D, "vcvttsd2si", "dX", 3, 1, 0x2c, 0, 0, 0)                                       \
    V(VCVTTSD2SI_Q, "vcvttsd2si", "qX", 3, 1, 0x2c, 1, 0, 0)                                       \
    V(VCVTSS2SI_D, "vcvtss2si", "dX", 2, 1, 0x2d, 0, 0, 0)                                         \
    V(VCVTSS2SI_Q, "vcvtss2si", "qX", 2, 1, 0x2d, 1, 0, 0)                                         \
    V(VCVTSD2SI_D, "vcvtsd2si", "dX", 3, 1, 0x2d, 0, 0, 0)                                         \
    V(VCVTSD2SI_Q, "vcvtsd2si", "qX", 3, 1, 0x2d, 1, 0, 0)                                         \
    V(VCVTSS2SD, "vcvtss2sd", "xxX", 2, 1, 0x5a, 0, 0, 0)                                          \
    V(VCVTSD2SS, "vcvtsd2ss", "xxX", 3, 1, 0x5a, 0, 0, 0)                                          \
    V(VCVTPS2PD, "vcvtps2pd", "xX", 0, 1, 0x5a, 0, 0, 0)                                           \
    V(VCVTPD2PS, "vcvtpd2ps", "xx", 1, 1, 0x5a, 0, 0, 0)                                           \
    V(VCVTDQ2PS, "vcvtdq2ps", "xX", 0, 1, 0x5b, 0, 2, 0)                                           \
    V(VCVTPS2DQ, "vcvtps2dq", "xX", 1, 1, 0x5b, 0, 2, 0)                                           \
    V(VCVTTPS2DQ, "vcvttps2dq", "xX", 2, 1, 0x5b, 0, 2, 0)                                         \
    V(VCVTDQ2PD, "vcvtdq2pd", "xX", 2, 1, 0xe6, 0, 0, 0)                                           \
    V(VCVTTPD2DQ, "vcvttpd2dq", "xx", 1, 1, 0xe6, 0, 0, 0)                                         \
    V(VCVTPH2PS, "vcvtph2ps", "xX", 1, 2, 0x13, 0, 0, 0)                                           \
    V(VCVTPS2PH, "vcvtps2ph", "Xxi", 1, 3, 0x1d, 0, 0, 0)                                          \
    X64_VEX_FMA(V, VFMADD, "fmadd", 0x98)                                                          \
    X64_VEX_FMA(V, VFMSUB, "fmsub", 0x9a)                                                          \
    X64_VEX_FMA(V, VFNMADD, "fnmadd", 0x9c)                                                        \
    X64_VEX_FMA(V, VFNMSUB, "fnmsub", 0x9e)

#define X64_VEX_INTEGERS(V)                                                                        \
    X64_VEX_INT(V, VPADDB, "vpaddb", 0xfc)                                                         \
    X64_VEX_INT(V, VPADDW, "vpaddw", 0xfd)                                                         \
    X64_VEX_INT(V, VPADDD, "vpaddd", 0xfe)                                                         \
    X64_VEX_INT(V, VPADDQ, "vpaddq", 0xd4)                                                         \
    X64_VEX_INT(V, VPSUBB, "vpsubb", 0xf8)                                                         \
    X64_VEX_INT(V, VPSUBW, "vpsubw", 0xf9)                                                         \
    X64_VEX_INT(V, VPSUBD, "vpsubd", 0xfa)                                                         \
    X64_VEX_INT(V, VPSUBQ, "vpsubq", 0xfb)                                                         \
    X64_VEX_INT(V, VPADDSB, "vpaddsb", 0xec)                                                       \
    X64_VEX_INT(V, VPADDSW, "vpaddsw", 0xed)                                                       \
    X64_VEX_INT(V, VPADDUSB, "vpaddusb", 0xdc)                                                     \
    X64_VEX_INT(V, VPADDUSW, "vpaddusw", 0xdd)                                                     \
    X64_VEX_INT(V, VPSUBSB, "vpsubsb", 0xe8)                                                       \
    X64_VEX_INT(V, VPSUBSW, "vpsubsw", 0xe9)                                                       \
    X64_VEX_INT(V, VPSUBUSB, "vpsubusb", 0xd8)                                                     \
    X64_VEX_INT(V, VPSUBUSW, "vpsubusw", 0xd9)                                                     \
    X64_VEX_INT(V, VPMULLW, "vpmullw", 0xd5)                                                       \
    X64_VEX_INT(V, VPMULHW, "vpmulhw", 0xe5)                                                       \
    X64_VEX_INT(V, VPMULHUW, "vpmulhuw", 0xe4)                                                     \
    X64_VEX_INT(V, VPMULUDQ, "vpmuludq", 0xf4)                                                     \
    X64_VEX_INT(V, VPMADDWD, "vpmaddwd", 0xf5)                                                     \
    X64_VEX_INT(V, VPSADBW, "vpsadbw", 0xf6)                                                       \
    X64_VEX_INT(V, VPAVGB, "vpavgb", 0xe0)                                                         \
    X64_VEX_INT(V, VPAVGW, "vpavgw", 0xe3)                                                         \
    X64_VEX_INT(V, VPMINUB, "vpminub", 0xda)                                                       \
    X64_VEX_INT(V, VPMAXUB, "vpmaxub", 0xde)                                                       \
    X64_VEX_INT(V, VPMINSW, "vpminsw", 0xea)                                                       \
    X64_VEX_INT(V, VPMAXSW, "vpmaxsw", 0xee)                                                       \
    X64_VEX_INT(V, VPCMPEQB, "vpcmpeqb", 0x74)                                                     \
    X64_VEX_INT(V, VPCMPEQW, "vpcmpeqw", 0x75)                                                     \
    X64_VEX_INT(V, VPCMPEQD, "vpcmpeqd", 0x76)                                                     \
    X64_VEX_INT(V, VPCMPGTB, "vpcmpgtb", 0x64)                                                     \
    X64_VEX_INT(V, VPCMPGTW, "vpcmpgtw", 0x65)                                                     \
    X64_VEX_INT(V, VPCMPGTD, "vpcmpgtd", 0x66)                                                     \
    X64_VEX_INT(V, VPAND, "vpand", 0xdb)                                                           \
    X64_VEX_INT(V, VPANDN, "vpandn", 0xdf)                                                         \
    X64_VEX_INT(V, VPOR, "vpor", 0xeb)                                                             \
    X64_VEX_INT(V, VPXOR, "vpxor", 0xef)                                                           \
    X64_VEX_INT(V, VPUNPCKLBW, "vpunpcklbw", 0x60)                                                 \
    X64_VEX_INT(V, VPUNPCKLWD, "vpunpcklwd", 0x61)                                                 \
    X64_VEX_INT(V, VPUNPCKLDQ, "vpunpckldq", 0x62)                                                 \
    X64_VEX_INT(V, VPUNPCKLQDQ, "vpunpcklqdq", 0x6c)                                               \
    X64_VEX_INT(V, VPUNPCKHBW, "vpunpckhbw", 0x68)                                                 \
    X64_VEX_INT(V, VPUNPCKHWD, "vpunpckhwd", 0x69)                                                 \
    X64_VEX_INT(V, VPUNPCKHDQ, "vpunpckhdq", 0x6a)                                                 \
    X64_VEX_INT(V, VPUNPCKHQDQ, "vpunpckhqdq", 0x6d)                                               \
    X64_VEX_INT(V, VPACKSSWB, "vpacksswb", 0x63)                                                   \
    X64_VEX_INT(V, VPACKSSDW, "vpackssdw", 0x6b)                                                   \
    X64_VEX_INT(V, VPACKUSWB, "vpackuswb", 0x67)                                                   \
    V(VPSLLW, "vpsllw", "xxX", 1, 1, 0xf1, 0, 0, 0)                                                \
    V(VPSLLD, "vpslld", "xxX", 1, 1, 0xf2, 0, 0, 0)                                                \
    V(VPSLLQ, "vpsllq", "xxX", 1, 1, 0xf3, 0, 0, 0)                                                \
    V(VPSRLW, "vpsrlw", "xxX", 1, 1, 0xd1, 0, 0, 0)                                                \
    V(VPSRLD, "vpsrld", "xxX", 1, 1, 0xd2, 0, 0, 0)                                                \
    V(VPSRLQ, "vpsrlq", "xxX", 1, 1, 0xd3, 0, 0, 0)                                                \
    V(VPSRAW, "vpsraw", "xxX", 1, 1, 0xe1, 0, 0, 0)                                                \
    V(VPSRAD, "vpsrad", "xxX", 1, 1, 0xe2, 0, 0, 0)                                                \
    V(VPSRLW_IMM, "vpsrlw", "xxi", 1, 1, 0x71, 0, 2, 2)                                            \
    V(VPSRAW_IMM, "vpsraw", "xxi", 1, 1, 0x71, 0, 2, 4)                                            \
    V(VPSLLW_IMM, "vpsllw", "xxi", 1, 1, 0x71, 0, 2, 6)                                            \
    V(VPSRLD_IMM, "vpsrld", "xxi", 1, 1, 0x72, 0, 2, 2)                                            \
    V(VPSRAD_IMM, "vpsrad", "xxi", 1, 1, 0x72, 0, 2, 4)                                            \
    V(VPSLLD_IMM, "vpslld", "xxi", 1, 1, 0x72, 0, 2, 6)                                            \
    V(VPSRLQ_IMM, "vpsrlq", "xxi", 1, 1, 0x73, 0, 2, 2)                                            \
    V(VPSLLQ_IMM, "vpsllq", "xxi", 1, 1, 0x73, 0, 2, 6)                                            \
    V(VPSRLDQ, "vpsrldq", "xxi", 1, 1, 0x73, 0, 2, 3)                                              \
    V(VPSLLDQ, "vpslldq", "xxi", 1, 1, 0x73, 0, 2, 7)                                              \
    V(VPSRLVD, "vpsrlvd", "xxX", 1, 2, 0x45, 0, 2, 0)                                              \
    V(VPSRLVQ, "vpsrlvq", "xxX", 1, 2, 0x45, 1, 2, 0)                                              \
    V(VPSRAVD, "vpsravd", "xxX", 1, 2, 0x46, 0, 2, 0)                                              \
    V(VPSLLVD, "vpsllvd", "xxX", 1, 2, 0x47, 0, 2, 0)                                              \
    V(VPSLLVQ, "vpsllvq", "xxX", 1, 2, 0x47, 1, 2, 0)                                              \
    V(VPSHUFD, "vpshufd", "xXi", 1, 1, 0x70, 0, 2, 0)                                              \
    V(VPSHUFHW, "vpshufhw", "xXi", 2, 1, 0x70, 0, 2, 0)                                            \
    V(VPSHUFLW, "vpshuflw", "xXi", 3, 1, 0x70, 0, 2, 0)                                            \
    X64_VEX_INT38(V, VPSHUFB, "vpshufb", 0x00)                                                     \
    X64_VEX_INT38(V, VPHADDW, "vphaddw", 0x01)                                                     \
    X64_VEX_INT38(V, VPHADDD, "vphaddd", 0x02)                                                     \
    X64_VEX_INT38(V, VPMADDUBSW, "vpmaddubsw", 0x04)                                               \
    X64_VEX_INT38(V, VPSIGNB, "vpsignb", 0x08)                                                     \
    X64_VEX_INT38(V, VPSIGNW, "vpsignw", 0x09)                                                     \
    X64_VEX_INT38(V, VPSIGND, "vpsignd", 0x0a)                                                     \
    X64_VEX_INT38(V, VPMULHRSW, "vpmulhrsw", 0x0b)                                                 \
    V(VPABSB, "vpabsb", "xX", 1, 2, 0x1c, 0, 2, 0)                                                 \
    V(VPABSW, "vpabsw", "xX", 1, 2, 0x1d, 0, 2, 0)                                                 \
    V(VPABSD, "vpabsd", "xX", 1, 2, 0x1e, 0, 2, 0)                                                 \
    X64_VEX_INT38(V, VPMULDQ, "vpmuldq", 0x28)                                                     \
    X64_VEX_INT38(V, VPCMPEQQ, "vpcmpeqq", 0x29)                                                   \
    X64_VEX_INT38(V, VPACKUSDW, "vpackusdw", 0x2b)                                                 \
    X64_VEX_INT38(V, VPCMPGTQ, "vpcmpgtq", 0x37)                                                   \
    X64_VEX_INT38(V, VPMINSB, "vpminsb", 0x38)                                                     \
    X64_VEX_INT38(V, VPMINSD, "vpminsd", 0x39)                                                     \
    X64_VEX_INT38(V, VPMINUW, "vpminuw", 0x3a)                                                     \
    X64_VEX_INT38(V, VPMINUD, "vpminud", 0x3b)                                                     \
    X64_VEX_INT38(V, VPMAXSB, "vpmaxsb", 0x3c)                                                     \
    X64_VEX_INT38(V, VPMAXSD, "vpmaxsd", 0x3d)                                                     \
    X64_VEX_INT38(V, VPMAXUW, "vpmaxuw", 0x3e)                                                     \
    X64_VEX_INT38(V, VPMAXUD, "vpmaxud", 0x3f)                                                     \
    X64_VEX_INT38(V, VPMULLD, "vpmulld", 0x40)                                                     \
    V(VPHMINPOSUW, "vphminposuw", "xX", 1, 2, 0x41, 0, 0, 0)                                       \
    V(VPTEST, "vptest", "xX", 1, 2, 0x17, 0, 2, 0)                                                 \
    X64_VEX_EXTEND(V, VPMOVSXBW, "vpmovsxbw", 0x20)                                                \
    X64_VEX_EXTEND(V, VPMOVSXBD, "vpmovsxbd", 0x21)                                                \
    X64_VEX_EXTEND(V, VPMOVSXBQ, "vpmovsxbq", 0x22)                                                \
    X64_VEX_EXTEND(V, VPMOVSXWD, "vpmovsxwd", 0x23)                                                \
    X64_VEX_EXTEND(V, VPMOVSXWQ, "vpmovsxwq", 0x24)                                                \
    X64_VEX_EXTEND(V, VPMOVSXDQ, "vpmovsxdq", 0x25)                                                \
    X64_VEX_EXTEND(V, VPMOVZXBW, "vpmovzxbw", 0x30)                                                \
    X64_VEX_EXTEND(V, VPMOVZXBD, "vpmovzxbd", 0x31)                                                \
    X64_VEX_EXTEND(V, VPMOVZXBQ, "vpmovzxbq", 0x32)                                                \
    X64_VEX_EXTEND(V, VPMOVZXWD, "vpmovzxwd", 0x33)                                                \
    X64_VEX_EXTEND(V, VPMOVZXWQ, "vpmovzxwq", 0x34)                                                \
    X64_VEX_EXTEND(V, VPMOVZXDQ, "vpmovzxdq", 0x35)                                                \
    V(VPALIGNR, "vpalignr", "xxXi", 1, 3, 0x0f, 0, 2, 0)                                           \
    V(VPBLENDW, "vpblendw", "xxXi", 1, 3, 0x0e, 0, 2, 0)                                           \
    V(VPBLENDD, "vpblendd", "xxXi", 1, 3, 0x02, 0, 2, 0)                                           \
    V(VPCLMULQDQ, "vpclmulqdq", "xxXi", 1, 3, 0x44, 0, 0, 0)                                       \
    V(VAESIMC, "vaesimc", "xX", 1, 2, 0xdb, 0, 0, 0)                                               \
    V(VAESENC, "vaesenc", "xxX", 1, 2, 0xdc, 0, 0, 0)                                              \
    V(VAESENCLAST, "vaesenclast", "xxX", 1, 2, 0xdd, 0, 0, 0)                                      \
    V(VAESDEC, "vaesdec", "xxX", 1, 2, 0xde, 0, 0, 0)                                              \
    V(VAESDECLAST, "vaesdeclast", "xxX", 1, 2, 0xdf, 0, 0, 0)                                      \
    V(VAESKEYGENASSIST, "vaeskeygenassist", "xXi", 1, 3, 0xdf, 0, 0, 0)

/* The fourth operand is a register, in an immediate. */
#define X64_VEX_BLENDS(V)                                                                          \
    V(VBLENDVPS, "vblendvps", "xxXx", 1, 3, 0x4a, 0, 2, 0)                                         \
    V(VBLENDVPD, "vblendvpd", "xxXx", 1, 3, 0x4b, 0, 2, 0)                                         \
    V(VPBLENDVB, "vpblendvb", "xxXx", 1, 3, 0x4c, 0, 2, 0)

#define X64_VEX_OPS(V) X64_VEX_MOVES(V) X64_VEX_FLOATS(V) X64_VEX_INTEGERS(V) X64_VEX_BLENDS(V)

#endif
