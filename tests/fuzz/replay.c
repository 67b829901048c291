// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs a fuzz target over every file given, without libFuzzer: replay FILE... */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The whole file, in memory of exactly its size, so that a sanitizer sees a read past the end. */
static uint8_t *load(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	long end = -1;

	if (!file)
		return NULL;
	if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) >= 0 &&
		fseek(file, 0, SEEK_SET) == 0)
		data = malloc(end > 0 ? (size_t)end : 1);
	if (data && fread(data, 1, (size_t)end, file) != (size_t)end) {
		free(data);
		data = NULL;
	}
	fclose(file);
	*size = (size_t)end;
	return data;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: replay FILE...\n");
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		size_t size;
		uint8_t *data;

		/* Told before, so that the last line names the file that ended it. */
		printf("%s\n", argv[i]);
		fflush(stdout);
		errno = 0;
		data = load(argv[i], &size);
		if (!data) {
			fprintf(stderr, "replay: cannot read %s: %s\n", argv[i],
				errno ? strerror(errno) : "the file became shorter");
			return 1;
		}
		LLVMFuzzerTestOneInput(data, size);
		free(data);
	}
	printf("%d files\n", argc - 1);
	return 0;
}
