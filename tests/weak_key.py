"""A repository whose key opens at once.

Every start of restic derives the key from the password anew, and restic makes that cost half a second of CPU on the
machine that made the repository: against thieves, and of no use to tests that start it thousands of times. The same
master key is locked up here again, under the same password, with the cheapest derivation. Nothing else of the
repository differs. The format is that of restic's design document, "Repository Layout" and "Keys, Encryption and MAC":
nonce, AES-256-CTR ciphertext, Poly1305-AES tag.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHEAPEST = {"N": 2, "r": 1, "p": 1}


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


def _counted(key: bytes, nonce: bytes, data: bytes) -> bytes:
    """AES-CTR, which is its own inverse."""
    cipher, start = Aes(key), int.from_bytes(nonce, "big")
    blocks = (len(data) + 15) // 16
    stream = b"".join(cipher.block(((start + at) % (1 << 128)).to_bytes(16, "big")) for at in range(blocks))
    return bytes(left ^ right for left, right in zip(data, stream, strict=False))


@dataclass(frozen=True)
class Key:
    """One of restic's keys: the master key, or the one that a password gives."""

    encrypt: bytes
    mac_k: bytes
    mac_r: bytes

    @classmethod
    def derived(cls, password: str, salt: bytes, n: int, r: int, p: int) -> Key:
        """The key that opens a key file."""
        key = hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, dklen=64, maxmem=1 << 30)
        return cls(key[:32], key[32:48], key[48:])

    def seal(self, plain: bytes) -> bytes:
        """Encrypt and authenticate as restic does."""
        nonce = secrets.token_bytes(16)
        body = _counted(self.encrypt, nonce, plain)
        return nonce + body + _poly1305(self.mac_r, Aes(self.mac_k).block(nonce), body)

    def unseal(self, data: bytes) -> bytes:
        """The inverse; a wrong key is an error."""
        nonce, body, tag = data[:16], data[16:-16], data[-16:]
        if _poly1305(self.mac_r, Aes(self.mac_k).block(nonce), body) != tag:
            raise AssertionError("the wrong key, or damaged data")
        return _counted(self.encrypt, nonce, body)


def weaken(repository: Path, password: str) -> Key:
    """Replace the only key file of a local repository by one that opens at once; return the master key."""
    (slow,) = (repository / "keys").iterdir()
    known: dict[str, Any] = json.loads(slow.read_bytes())
    salt = base64.b64decode(known["salt"])
    master = Key.derived(password, salt, known["N"], known["r"], known["p"]).unseal(base64.b64decode(known["data"]))
    cheap = Key.derived(password, salt, CHEAPEST["N"], CHEAPEST["r"], CHEAPEST["p"])
    data = json.dumps(known | CHEAPEST | {"data": base64.b64encode(cheap.seal(master)).decode()}).encode()
    weak = slow.with_name(hashlib.sha256(data).hexdigest())
    weak.write_bytes(data)
    weak.chmod(slow.stat().st_mode)
    slow.unlink()
    parts = json.loads(master)
    return Key(*(base64.b64decode(part) for part in (parts["encrypt"], parts["mac"]["k"], parts["mac"]["r"])))
