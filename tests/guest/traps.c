/* SPDX-License-Identifier: MIT */
#include "lib.h"
void guest_main(unsigned cpu) {}
