"""The worst case for a tracer: nothing but Python lines. Run by name, so that the suite does not collect it."""

import measured


def test_letters():
    assert measured.write_file("abcx" * 100_000) == 1_300_000
