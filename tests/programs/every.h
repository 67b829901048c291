/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HF_TESTS_EVERY_H
#define HF_TESTS_EVERY_H

/*
 * Makes the N-th call go wrong, whichever function it is of: for a program that is linked with
 * -rdynamic, so that its functions are found before those of libc, also by the modules it loads and
 * their libraries.
 */
#include <stdbool.h>

enum hf_every_kind {
	HF_EVERY_FAIL = 1,  /* with the error that fits the function */
	HF_EVERY_EINTR = 2, /* a signal: only functions that wait, or move data */
	HF_EVERY_SHORT = 4, /* less is read or written than asked for */
};

/* In memory that the forked children share. */
struct hf_every {
	enum hf_every_kind kind;
	long at;          /* 0: never */
	bool and_later;   /* all later calls too */
	bool in_children; /* those of the children count, and not ours */
	long calls;
	bool fired;
	char function[24];  /* the first that went wrong */
	unsigned long from; /* and its caller, in the file that it belongs to */
};

/* From now on calls count, in this process or its children. The count goes on where it stood. */
void hf_every_arm(struct hf_every *every);
void hf_every_disarm(void);

/* For a function of ours that is called meanwhile. */
void hf_every_pause(bool on);

#endif
