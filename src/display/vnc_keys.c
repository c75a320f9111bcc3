/* SPDX-License-Identifier: MIT */
/*
 * Keys. Viewers say which symbol a key has (X11 keysyms) and the better ones also where it is on a
 * PC's keyboard (scan codes, set 1, as QEMU's extension has them). Guests want places, by Linux's
 * numbers, which are the scan codes themselves for the keys of the first PC. For symbols the
 * keyboard is taken to be a US one; Shift is a key that the viewer sends itself.
 */
#include "display/vnc_impl.h"

#include "base/util.h"

/* Of the printable ASCII characters from blank on. */
static const uint8_t ascii[96] = {
    57, 2,  40, 4,  5,  6,  8,  40, 10, 11, 9,  13, 51, 12, 52, 53,  /*   ! " # ... / */
    11, 2,  3,  4,  5,  6,  7,  8,  9,  10, 39, 39, 51, 13, 52, 53,  /* 0 to ? */
    3,  30, 48, 46, 32, 18, 33, 34, 35, 23, 36, 37, 38, 50, 49, 24,  /* @ to O */
    25, 16, 19, 31, 20, 22, 47, 17, 45, 21, 44, 26, 43, 27, 7,  12,  /* P to _ */
    41, 30, 48, 46, 32, 18, 33, 34, 35, 23, 36, 37, 38, 50, 49, 24,  /* ` to o */
    25, 16, 19, 31, 20, 22, 47, 17, 45, 21, 44, 26, 43, 27, 41, 111, /* p to DEL */
};

static const struct {
    uint16_t keysym, key;
} named[] = {
    {0xff08, 14},  {0xff09, 15},  {0xff0d, 28},  {0xff13, 119}, {0xff14, 70},  {0xff15, 99},
    {0xff1b, 1},   {0xff50, 102}, {0xff51, 105}, {0xff52, 103}, {0xff53, 106}, {0xff54, 108},
    {0xff55, 104}, {0xff56, 109}, {0xff57, 107}, {0xff61, 99},  {0xff63, 110}, {0xff67, 127},
    {0xff7f, 69},  {0xff8d, 96},  {0xff95, 71},  {0xff96, 75},  {0xff97, 72},  {0xff98, 77},
    {0xff99, 80},  {0xff9a, 73},  {0xff9b, 81},  {0xff9c, 79},  {0xff9d, 76},  {0xff9e, 82},
    {0xff9f, 83},  {0xffaa, 55},  {0xffab, 78},  {0xffad, 74},  {0xffae, 83},  {0xffaf, 98},
    {0xffb0, 82},  {0xffb1, 79},  {0xffb2, 80},  {0xffb3, 81},  {0xffb4, 75},  {0xffb5, 76},
    {0xffb6, 77},  {0xffb7, 71},  {0xffb8, 72},  {0xffb9, 73},  {0xffe1, 42},  {0xffe2, 54},
    {0xffe3, 29},  {0xffe4, 97},  {0xffe5, 58},  {0xffe7, 125}, {0xffe8, 126}, {0xffe9, 56},
    {0xffea, 100}, {0xffeb, 125}, {0xffec, 126}, {0xffff, 111}, {0xfe03, 100}, {0xfe20, 15},
};

uint16_t vnc_key_of_keysym(uint32_t keysym)
{
    enum { F1 = 0xffbe, F10 = 0xffc7, F11 = 0xffc8, F12 = 0xffc9 };
    if (keysym >= ' ' && keysym < 0x80)
        return ascii[keysym - ' '];
    if (keysym >= F1 && keysym <= F10)
        return (uint16_t)(59 + keysym - F1);
    if (keysym == F11 || keysym == F12)
        return (uint16_t)(87 + keysym - F11);
    for (size_t i = 0; i < PV_ARRAY_SIZE(named); i++)
        if (named[i].keysym == keysym)
            return named[i].key;
    return 0;
}

/* Behind the prefix 0xe0, which viewers turn into bit 7. */
static const struct {
    uint8_t code, key;
} extended[] = {
    {0x1c, 96},  {0x1d, 97},  {0x35, 98},  {0x37, 99},  {0x38, 100}, {0x46, 119}, {0x47, 102},
    {0x48, 103}, {0x49, 104}, {0x4b, 105}, {0x4d, 106}, {0x4f, 107}, {0x50, 108}, {0x51, 109},
    {0x52, 110}, {0x53, 111}, {0x5b, 125}, {0x5c, 126}, {0x5d, 127},
};

uint16_t vnc_key_of_scancode(uint32_t scancode)
{
    if (scancode >> 8 == 0xe0)
        scancode = (scancode & 0x7f) | 0x80;
    if (scancode < 0x59)
        return (uint16_t)scancode;
    for (size_t i = 0; i < PV_ARRAY_SIZE(extended); i++)
        if ((extended[i].code | 0x80u) == scancode)
            return extended[i].key;
    return 0;
}
