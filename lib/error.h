/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_LIB_ERROR_H
#define HF_LIB_ERROR_H

/*
 * Errors that carry one sentence for a person.
 *
 * Contract
 *  - A function that can fail takes a `struct hf_error *` as its last argument and returns 0 (or
 *    another value >= 0) on success, a negative errno on failure.
 *  - On failure the error object says what went wrong; on success it is left alone.
 *  - The message is a fixed buffer inside the object: making an error never allocates, so it works
 *    when memory is short, and there is nothing to free. A message that does not fit is cut.
 *  - Callers may pass NULL when they do not want the text.
 *  - Nothing in lib/ or sys/ prints or exits: the code runs inside CRIU's process.
 */
struct hf_error {
	int code;       /* negative errno, 0 while nothing has failed */
	char text[480]; /* one line, no newline at the end */
};

#define HF_ERROR_INIT {0, ""}

/* Sets the error. `code` is a negative errno. Returns `code`, so: return hf_error_set(...). */
int hf_error_set(struct hf_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* As hf_error_set(), with ": " and strerror(-code) after the message. */
int hf_error_sys(struct hf_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Puts "context: " before the message on the way up. `code` is what the failing function returned;
 * it is returned again, so: return hf_error_context(err, ret, ...).
 */
int hf_error_context(struct hf_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
