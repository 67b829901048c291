// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int hf_output_flush(void)
{
	/* What failed before the last piece shows as the stream's error alone. */
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	fprintf(stderr, "holdfast: cannot write: %s\n", strerror(errno));
	return -1;
}
