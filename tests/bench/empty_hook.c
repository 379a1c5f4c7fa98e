// SPDX-License-Identifier: GPL-2.0-or-later
/* The hook that does nothing: what a hook call costs at least. */
int main(void)
{
	return 0;
}
