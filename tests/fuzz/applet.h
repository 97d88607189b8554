// SPDX-License-Identifier: Apache-2.0
// Opens an applet's device by the words of its command line.
#pragma once

#include "applets/applet.h"

// The words end with NULL; the device must open.
struct device *fuzz_applet_open(const struct applet *applet, ...) __attribute__((sentinel));
void fuzz_applet_close(const struct applet *applet, struct device *device);
