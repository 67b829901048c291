/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_CLI_JSON_H
#define HF_CLI_JSON_H

/* yajl, with the name before the value. */
#include <stdbool.h>
#include <stdint.h>
#include <yajl/yajl_gen.h>

/* A string: a key of a map, or an element of an array. */
void hf_json_text(yajl_gen gen, const char *text);

void hf_json_string(yajl_gen gen, const char *name, const char *value);
void hf_json_number(yajl_gen gen, const char *name, uint64_t value);
void hf_json_bool(yajl_gen gen, const char *name, bool value);

/* For output to come. NULL where memory is short, after a line on the standard error. */
yajl_gen hf_json_begin(void);

/* Writes it all to the standard output and frees it. Returns 0, or -1 where it cannot be written.
 */
int hf_json_end(yajl_gen gen);

#endif
