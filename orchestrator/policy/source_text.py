"""Reading a policy file's text: regular, UTF-8, not too large, without characters that hide."""

from __future__ import annotations

import os
import re
import stat

from orchestrator.model.errors import PolicyInvalid, Problem

MAX_BYTES = 1 << 20
BOM = "\ufeff"
# What YAML 1.2 does not call printable, and the line breaks that only some programs take for such.
_HIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def read_text(path: str, shown: str, missing: str = "") -> str:
    """Return the file's text. missing: what to do when it is not there.

    Raises PolicyInvalid: missing, unreadable, no regular file, too large, no UTF-8.
    """
    raw = _read_bytes(path, shown, missing)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = _place(raw[: error.start].decode("utf-8"))
        hint = "save the file as UTF-8"
        raise _invalid(shown, f"not UTF-8: byte 0x{raw[error.start]:02x}", hint, line, column) from None
    if text.startswith(BOM):
        raise _invalid(shown, "begins with a byte order mark", "save the file as UTF-8 without BOM")
    if hidden := _HIDDEN.search(text):
        line, column = _place(text[: hidden.start()])
        hint = 'remove it, or write it inside double quotes as an escape such as "\\u0085"'
        raise _invalid(shown, f"a character that cannot be seen: U+{ord(hidden[0]):04X}", hint, line, column)
    return text


def _read_bytes(path: str, shown: str, hint: str) -> bytes:
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise _invalid(shown, "no such file", hint or "correct its name, or restore it") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _invalid(shown, f"cannot be read: {reason}", "check its owner and mode") from None
    except ValueError:
        raise _invalid(shown, "no file can have this name", "it holds a NUL or bytes that are not UTF-8") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise _invalid(shown, f"is {kind}", "name the file itself")
    with os.fdopen(descriptor, "rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise _invalid(
            shown, f"larger than {MAX_BYTES >> 20} MiB", "a policy is a few hundred lines; is this the right file?"
        )
    return raw


def _place(before: str) -> tuple[int, int]:
    """Return the line and column, from 1, of what follows this text."""
    lines = re.split(r"\r\n|\r|\n", before)
    return len(lines), len(lines[-1]) + 1


def _invalid(shown: str, message: str, hint: str, line: int = 1, column: int = 1) -> PolicyInvalid:
    return PolicyInvalid([Problem(shown, line, column, "", message, hint)])
