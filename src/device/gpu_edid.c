/* SPDX-License-Identifier: MIT */
/* A monitor's description of itself (VESA Enhanced EDID 1.4, one block). */
#include "device/gpu_impl.h"

#include "base/util.h"

#include <string.h>

#define SIZE 128u

/* Blanking as CVT's reduced timing has it, near enough for a monitor that has no electrons. */
enum { H_BLANK = 160, H_FRONT = 48, H_SYNC = 32, V_BLANK = 30, V_FRONT = 3, V_SYNC = 5 };

#define REFRESH 60u
#define DPI     96u

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static uint32_t millimetres(uint32_t pixels)
{
    return pixels * 254 / (DPI * 10);
}

/* 3.10.2: sizes have 12 bits, so beyond 4095 pixels it says 4095; the guest has other ways. */
static void detailed_timing(uint8_t *at, uint32_t width, uint32_t height)
{
    const uint32_t w = PV_MIN(width, 4095u), h = PV_MIN(height, 4095u);
    const uint32_t clock = (w + H_BLANK) * (h + V_BLANK) / 10000 * REFRESH;
    const uint32_t mm_w = PV_MIN(millimetres(w), 4095u), mm_h = PV_MIN(millimetres(h), 4095u);
    put16(at, PV_MIN(clock, 65535u)); /* in 10 kHz */
    at[2] = (uint8_t)w;
    at[3] = H_BLANK;
    at[4] = (uint8_t)(w >> 8 << 4);
    at[5] = (uint8_t)h;
    at[6] = V_BLANK;
    at[7] = (uint8_t)(h >> 8 << 4);
    at[8] = H_FRONT;
    at[9] = H_SYNC;
    at[10] = V_FRONT << 4 | V_SYNC;
    at[12] = (uint8_t)mm_w;
    at[13] = (uint8_t)mm_h;
    at[14] = (uint8_t)(mm_w >> 8 << 4 | mm_h >> 8);
    at[17] = 0x1a; /* digital separate sync, horizontal positive */
}

/* 3.10.3: a descriptor of text, ended by a line feed and filled up with blanks. */
static void text(uint8_t *at, uint8_t tag, const char *string)
{
    size_t length = strlen(string);
    at[3] = tag;
    memset(at + 5, ' ', 13);
    memcpy(at + 5, string, length);
    at[5 + length] = '\n';
}

size_t gpu_edid_make(uint8_t edid[SIZE], unsigned head, uint32_t width, uint32_t height)
{
    static const uint8_t start[] = {
        0,    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, /* header */
        0x42, 0xd2, 1,    0,    0,    0,    0,    0, /* "PVR", product, serial number */
        0,    36,   1,    4,                         /* made in 2026, EDID 1.4 */
        0xa5, 0,    0,    120,  0x06, /* DisplayPort of 8 bits; size; gamma 2.2; sRGB, native mode
                                         first */
        0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54, /* sRGB's colours */
        0x21, 0x08, 0, /* 640x480, 800x600, 1024x768 at 60 Hz */
    };
    memset(edid, 0, SIZE);
    memcpy(edid, start, sizeof(start));
    edid[12] = (uint8_t)(head + 1);
    edid[21] = (uint8_t)PV_MIN(millimetres(width) / 10, 255u);
    edid[22] = (uint8_t)PV_MIN(millimetres(height) / 10, 255u);
    memset(edid + 38, 1, 16); /* no standard timings */
    detailed_timing(edid + 54, width, height);
    text(edid + 72, 0xfc, "PearVisor");
    edid[90 + 3] = 0x10; /* nothing */
    edid[108 + 3] = 0x10;
    uint8_t sum = 0;
    for (unsigned i = 0; i < SIZE - 1; i++)
        sum = (uint8_t)(sum + edid[i]);
    edid[SIZE - 1] = (uint8_t)-sum;
    return SIZE;
}
