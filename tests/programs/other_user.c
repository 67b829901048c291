// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A module for LD_PRELOAD: a program that refuses to run as root takes itself for another user.
 * CRIU dumps tasks of another user than its own only with CAP_SYS_RESOURCE (it asks for their
 * limits), which not every machine gives to tests.
 */
#include <unistd.h>

#define OTHER_USER 999

uid_t getuid(void)
{
	return OTHER_USER;
}

uid_t geteuid(void)
{
	return OTHER_USER;
}
