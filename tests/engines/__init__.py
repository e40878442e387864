"""Every engine against one conformance suite, with real databases and files."""

import pytest

pytest.register_assert_rewrite("tests.engines.conformance", "tests.engines.mysql_own")
