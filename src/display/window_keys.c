/* SPDX-License-Identifier: MIT */
/*
 * SDL's scan codes are those of USB keyboards (HID Usage Tables, page 7), which name the key's
 * place whatever the host's layout; guests want places too, by Linux's numbers. So the guest's
 * layout is what counts, as with a keyboard plugged into it.
 */
#include "display/window_impl.h"

#include "base/util.h"

static const uint8_t keys[] = {
    0,   0,   0,   0,   30,  48,  46,  32,  18,  33,  34,  35,  23,  36,  37,  38,  /* a to l */
    50,  49,  24,  25,  16,  19,  31,  20,  22,  47,  17,  45,  21,  44,  2,   3,   /* m to 2 */
    4,   5,   6,   7,   8,   9,   10,  11,  28,  1,   14,  15,  57,  12,  13,  26,  /* 3 to [ */
    27,  43,  43,  39,  40,  41,  51,  52,  53,  58,  59,  60,  61,  62,  63,  64,  /* ] to F6 */
    65,  66,  67,  68,  87,  88,  99,  70,  119, 110, 102, 104, 111, 107, 109, 106, /* to right */
    105, 108, 103, 69,  98,  55,  74,  78,  96,  79,  80,  81,  75,  76,  77,  71,  /* to 7 */
    72,  73,  82,  83,  86,  127, 116, 117, 183, 184, 185, 186, 187, 188, 189, 190, /* to F20 */
    191, 192, 193, 194, 134, 138, 130, 132, 128, 129, 131, 137, 133, 135, 136, 113, /* to mute */
    115, 114, 0,   0,   0,   121, 0,   89,  93,  124, 92,  94,  95,  0,   0,   0,   /* Japanese */
    122, 123, 90,  91,  85,                                                         /* Korean */
};

static const uint8_t modifiers[] = {29, 42, 56, 125, 97, 54, 100, 126};

uint16_t window_key_of_scancode(SDL_Scancode scancode)
{
    const unsigned code = scancode, first = SDL_SCANCODE_LCTRL;
    if (code < PV_ARRAY_SIZE(keys))
        return keys[code];
    return code >= first && code - first < PV_ARRAY_SIZE(modifiers) ? modifiers[code - first] : 0;
}
