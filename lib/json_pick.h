/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_JSON_PICK_H
#define HF_LIB_JSON_PICK_H

/*
 * Picks members out of a JSON text that somebody else wrote. A table says which, of what type, and
 * which must be there:
 *
 *   static const struct hf_pick picks[] = {
 *           {.path = {"id"}, .type = HF_PICK_STRING, .required = true, .take = take_id},
 *           {.path = {"linux", "namespaces", HF_PICK_EACH, "type"}, .type = HF_PICK_STRING, ...},
 *   };
 *
 * The text is one object, in UTF-8, nested not too deeply, with nothing but white space after it.
 * Of what is in the table each member is there once at most, has its type, and as a string no NUL
 * and not too many bytes; null counts as not there. Whatever else there is must be JSON only.
 * Errors name the member and hold nothing else of the text.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/error.h"

#define HF_PICK_LEVELS 4    /* of a path */
#define HF_PICK_EACH   "[]" /* in a path: any element of an array */
#define HF_PICK_MAX    32   /* rows of a table */
#define HF_PICK_DEPTH  64   /* of the text */

enum hf_pick_type { HF_PICK_OBJECT, HF_PICK_ARRAY, HF_PICK_STRING, HF_PICK_NUMBER, HF_PICK_BOOL };

struct hf_pick {
	const char *path[HF_PICK_LEVELS]; /* from the outermost object inwards */
	enum hf_pick_type type;
	bool required; /* in the object or element that it is a member of */
	size_t max;    /* bytes of a string */
	/*
	 * Called with a string, or what else is no object or array as it is written, without an
	 * end; for an object or an array, whose members came before, when it ends. NULL: only the
	 * type matters. Returns 0 or a negative errno with a text, which gets the member's name in
	 * front.
	 */
	int (*take)(void *to, const char *text, size_t len, struct hf_error *err);
};

/* Returns 0, -EBADMSG for a bad text, -E2BIG for one that is nested too deeply, or what take()
 * returned. */
int hf_json_pick(const char *text, size_t len, const struct hf_pick *picks, size_t n, void *to,
	struct hf_error *err);

#endif
