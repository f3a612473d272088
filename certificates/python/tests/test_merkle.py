"""Paths against the recursive definition of RFC 9162 section 2.1."""

from __future__ import annotations

from typing import List, Sequence

from dropbear_certificates.merkle import leaf_hash, node_hash, root_of_path


def split(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1


def root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    middle = split(len(leaves))
    return node_hash(root(leaves[:middle]), root(leaves[middle:]))


def path(index: int, leaves: Sequence[bytes]) -> List[bytes]:
    if len(leaves) == 1:
        return []
    middle = split(len(leaves))
    if index < middle:
        return [*path(index, leaves[:middle]), root(leaves[middle:])]
    return [*path(index - middle, leaves[middle:]), root(leaves[:middle])]


def test_every_leaf_of_every_tree_up_to_40() -> None:
    leaves = [leaf_hash(bytes([number])) for number in range(40)]
    for size in range(1, 41):
        for index in range(size):
            nodes = path(index, leaves[:size])
            assert root_of_path(leaves[index], index, size, b"".join(nodes)) == root(leaves[:size])
            assert root_of_path(leaves[index], index, size, b"".join([*nodes, leaves[0]])) is None
            if nodes:
                assert root_of_path(leaves[index], index, size, b"".join(nodes[:-1])) is None
        assert root_of_path(leaves[0], size, size, b"") is None


def test_trees_beyond_32_bits() -> None:
    size = 2**53 - 1
    assert root_of_path(bytes(32), 2**32, size, bytes(32 * 53)) is not None
    assert root_of_path(bytes(32), 2**32, size, bytes(32 * 52)) is None


def test_an_empty_tree_has_no_leaf() -> None:
    assert root_of_path(bytes(32), 0, 0, b"") is None
