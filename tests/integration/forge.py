"""Writes snapshot files into a local restic repository directly, in the repository's own format.

Creating a snapshot with `restic backup` costs half a second of key derivation; comparing our retention with restic's
over thousands of snapshots needs them by the dozen per example. The format is that of restic's design document,
"Repository Layout" and "Keys, Encryption and MAC": nonce, AES-256-CTR ciphertext, Poly1305-AES tag.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

PASSWORD = "forged"


def _tables() -> tuple[bytes, list[int]]:
    """Compute the AES S-box and doubling in GF(2^8)."""
    double = [(value << 1) ^ (0x11B if value & 0x80 else 0) for value in range(256)]
    power, logarithm, value = [0] * 255, [0] * 256, 1
    for exponent in range(255):
        power[exponent], logarithm[value] = value, exponent
        value ^= double[value]
    box = bytearray(256)
    for byte in range(256):
        inverse = power[(255 - logarithm[byte]) % 255] if byte else 0
        mixed = inverse
        for shift in range(1, 5):
            mixed ^= ((inverse << shift) | (inverse >> (8 - shift))) & 0xFF
        box[byte] = mixed ^ 0x63
    return bytes(box), double


SBOX, DOUBLE = _tables()


class Aes:
    """AES block encryption with a 16 or 32 byte key (FIPS 197)."""

    def __init__(self, key: bytes) -> None:
        words = [list(key[index : index + 4]) for index in range(0, len(key), 4)]
        count, constant = len(words), 1
        for index in range(count, 4 * (count + 7)):
            word = list(words[-1])
            if index % count == 0:
                word = [SBOX[byte] for byte in (*word[1:], word[0])]
                word[0] ^= constant
                constant = DOUBLE[constant]
            elif count > 6 and index % count == 4:
                word = [SBOX[byte] for byte in word]
            words.append([left ^ right for left, right in zip(words[index - count], word, strict=True)])
        flat = [byte for word in words for byte in word]
        self._rounds = [flat[index : index + 16] for index in range(0, len(flat), 16)]

    def block(self, data: bytes) -> bytes:
        """Encrypt one block."""
        state = [left ^ right for left, right in zip(data, self._rounds[0], strict=True)]
        for number, key in enumerate(self._rounds[1:], 2):
            state = [SBOX[state[(index + 4 * (index % 4)) % 16]] for index in range(16)]
            if number < len(self._rounds):
                state = [byte for column in range(4) for byte in _mix(state[4 * column : 4 * column + 4])]
            state = [left ^ right for left, right in zip(state, key, strict=True)]
        return bytes(state)


def _mix(column: list[int]) -> list[int]:
    every = column[0] ^ column[1] ^ column[2] ^ column[3]
    return [column[at] ^ every ^ DOUBLE[column[at] ^ column[(at + 1) % 4]] for at in range(4)]


def _poly1305(r: bytes, s: bytes, message: bytes) -> bytes:
    factor = int.from_bytes(r, "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total, prime = 0, (1 << 130) - 5
    for index in range(0, len(message), 16):
        total = (total + int.from_bytes(message[index : index + 16] + b"\x01", "little")) * factor % prime
    return ((total + int.from_bytes(s, "little")) % (1 << 128)).to_bytes(16, "little")


def seal(encrypt: bytes, mac_k: bytes, mac_r: bytes, plain: bytes) -> bytes:
    """Encrypt and authenticate as restic does."""
    nonce, cipher = secrets.token_bytes(16), Aes(encrypt)
    start = int.from_bytes(nonce, "big")
    blocks = (len(plain) + 15) // 16
    stream = b"".join(cipher.block(((start + at) % (1 << 128)).to_bytes(16, "big")) for at in range(blocks))
    body = bytes(left ^ right for left, right in zip(plain, stream, strict=False))
    return nonce + body + _poly1305(mac_r, Aes(mac_k).block(nonce), body)


@dataclass
class Forge:
    """One local repository whose snapshots are written by us. `restic` is the binary that reads it."""

    restic: str
    path: Path
    cache: Path
    encrypt: bytes = b""
    mac_k: bytes = b""
    mac_r: bytes = b""

    def call(self, *argv: str, zone: str = "UTC") -> str:
        """Run restic on the repository; return stdout."""
        env = {
            "PATH": os.environ["PATH"],
            "RESTIC_REPOSITORY": str(self.path),
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_CACHE_DIR": str(self.cache),
            "TZ": zone,
        }
        done = subprocess.run([self.restic, *argv], env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create(self) -> None:
        """Make the repository with restic, then replace its key by one that opens in no time."""
        self.call("init")
        master = json.loads(self.call("cat", "masterkey"))
        self.encrypt = base64.b64decode(master["encrypt"])
        self.mac_k, self.mac_r = (base64.b64decode(master["mac"][part]) for part in ("k", "r"))
        (slow,) = (self.path / "keys").iterdir()
        salt = secrets.token_bytes(64)
        user = hashlib.scrypt(PASSWORD.encode(), salt=salt, n=1024, r=1, p=1, dklen=64)
        fast: dict[str, Any] = json.loads(slow.read_text()) | {
            "N": 1024,
            "r": 1,
            "p": 1,
            "salt": base64.b64encode(salt).decode(),
            "data": base64.b64encode(seal(user[:32], user[32:48], user[48:], json.dumps(master).encode())).decode(),
        }
        slow.unlink()
        self._store("keys", json.dumps(fast).encode())

    def snapshots(self, times: Iterable[datetime]) -> dict[str, datetime]:
        """Replace all snapshots by one for each time; return ID → time."""
        for old in (self.path / "snapshots").iterdir():
            old.unlink()
        return {self._snapshot(time): time for time in times}

    def _snapshot(self, time: datetime) -> str:
        body = {"time": time.isoformat(), "tree": "0" * 64, "paths": ["/x"], "hostname": "h", "username": "u"}
        return self._store("snapshots", seal(self.encrypt, self.mac_k, self.mac_r, json.dumps(body).encode()))

    def _store(self, kind: str, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        (self.path / kind / name).write_bytes(data)
        return name
