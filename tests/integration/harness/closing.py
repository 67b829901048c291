# SPDX-License-Identifier: GPL-2.0-or-later
"""What is entered with "with" and closed at its end, also where its start fails."""

from __future__ import annotations

from typing import Self


class Closing:
    """For those with open() and close(); close() copes with an open() that failed anywhere."""

    def open(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
