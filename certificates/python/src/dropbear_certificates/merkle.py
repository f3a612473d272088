"""RFC 9162 trees with SHA-256 (SPEC.md section 4)."""

from __future__ import annotations

from typing import Optional

from .digest import sha256


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return sha256(b"\x00" + data)


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right)


def root_of_path(leaf: bytes, index: int, size: int, path: bytes) -> Optional[bytes]:
    """The root that ``path`` leads to from the hash of leaf ``index`` of ``size``; None if it does not fit.

    RFC 9162 section 2.1.3.2.
    """
    if index >= size:
        return None
    fn, sn, root = index, size - 1, leaf
    for start in range(0, len(path), 32):
        node = path[start : start + 32]
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            root = node_hash(node, root)
            while fn and not fn & 1:
                fn >>= 1
                sn >>= 1
        else:
            root = node_hash(root, node)
        fn >>= 1
        sn >>= 1
    return root if sn == 0 else None
