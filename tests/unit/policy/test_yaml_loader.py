"""The strict loader: places, types, and a clear word for everything that it refuses."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.errors import PolicyInvalid
from orchestrator.policy.yaml_loader import MAX_DEPTH, Document, load_file, load_text
from tests.places import let_others_in


def read(text: str, **environ: str) -> Document:
    return load_text(text, "f.yml", environ)


def told(text: str, **environ: str) -> list[str]:
    return [str(problem) for problem in read(text, **environ).problems]


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("OFF", "OFF"),
        ("y", "y"),
        ("22:30", "22:30"),
        ("1:30:00", "1:30:00"),
        ("2024-01-31", "2024-01-31"),
        ("2024-01-31T10:00:00Z", "2024-01-31T10:00:00Z"),
        ("12", 12),
        ("-3", -3),
        ("0", 0),
        ("010", "010"),
        ("0x1f", "0x1f"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("9" * 5000, "9" * 5000),
        ("1.5", 1.5),
        ("1e5", "1e5"),
        (".5", ".5"),
        (".inf", ".inf"),
        ("1.2.3", "1.2.3"),
        ("~", None),
        ("null", None),
        ("", None),
        ("=", "="),
        ("30%", "30%"),
        ("'12'", "12"),
        ('"true"', "true"),
        ('""', ""),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(plain: str, value: object) -> None:
    document = read(f"key: {plain}\n")
    assert document.problems == []
    assert document.data == {"key": value}
    assert type(document.data["key"]) is type(value)


def test_every_key_and_entry_has_its_place() -> None:
    document = read("a: 1\nñandú:\n  b: {c: x, d: [1, {e: f}]}\n  g:\n    - h\n")
    assert document.places == {
        ("a",): (1, 1),
        ("ñandú",): (2, 1),
        ("ñandú", "b"): (3, 3),
        ("ñandú", "b", "c"): (3, 7),
        ("ñandú", "b", "d"): (3, 13),
        ("ñandú", "b", "d", 0): (3, 17),
        ("ñandú", "b", "d", 1): (3, 20),
        ("ñandú", "b", "d", 1, "e"): (3, 21),
        ("ñandú", "g"): (4, 3),
        ("ñandú", "g", 0): (5, 7),
    }


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("a: 1\na: 2\n", ["f.yml:2:1: a: duplicate key, first on line 1\nHINT: keep one of them"]),
        (
            "a: {b: 1, b: {x: [1, 2]}, c: 3, c: 4}\n",
            [
                "f.yml:1:11: a.b: duplicate key, first on line 1\nHINT: keep one of them",
                "f.yml:1:33: a.c: duplicate key, first on line 1\nHINT: keep one of them",
            ],
        ),
        (
            "a: &x [1]\nb: *x\n",
            [
                (
                    "f.yml:1:4: a: anchors (&name) are not supported\n"
                    "HINT: write it out; text that begins with & needs quotes"
                ),
                'f.yml:2:4: b: aliases (*name) are not supported\nHINT: write it out; a pattern needs quotes: "*.log"',
            ],
        ),
        (
            "a: [*.log]\n",
            [
                (
                    "f.yml:1:6: not valid YAML: did not find expected alphabetic or numeric character\n"
                    'HINT: text that begins with * needs quotes: "*.log"'
                )
            ],
        ),
        (
            "a: !!python/object:os.system x\n",
            [
                (
                    "f.yml:1:4: a: tags (tag:yaml.org,2002:python/object:os.syste) are not supported\n"
                    "HINT: text that begins with ! needs quotes"
                )
            ],
        ),
        ("a: !x y\n", ["f.yml:1:4: a: tags (!x) are not supported\nHINT: text that begins with ! needs quotes"]),
        ("a:\n\tb: 1\n", ["f.yml:2:1: a tab in the indentation\nHINT: indent with spaces"]),
        ("a: b\n\tc\n", ["f.yml:2:1: a tab in the indentation\nHINT: indent with spaces"]),
        (
            "a: 1\n  \t# x\nb: {\n\tc: 1}\n",
            [f"f.yml:{place}: a tab in the indentation\nHINT: indent with spaces" for place in ("2:3", "4:1")],
        ),
        (
            "at: @daily\n",
            [
                (
                    "f.yml:1:5: not valid YAML: found character that cannot start any token\n"
                    "HINT: text that begins with @, ` or % needs quotes"
                )
            ],
        ),
        (
            "a: b: c\n",
            [
                (
                    "f.yml:1:5: not valid YAML: mapping values are not allowed in this context\n"
                    "HINT: text that holds `: ` needs quotes; or is the indentation wrong?"
                )
            ],
        ),
        ("a: 'x\nb: 1\n", ["f.yml:1:4: not valid YAML: found unexpected end of stream\nHINT: close the quotes"]),
        (
            "a: {b: ${X}}\n",
            [
                (
                    "f.yml:1:9: not valid YAML: did not find expected ',' or '}'\n"
                    "HINT: close each { and [; inside them ${NAME} needs quotes"
                )
            ],
        ),
        (
            "a: 1\n---\nb: 2\n",
            ["f.yml:2:1: more than one document\nHINT: remove everything from this `---` on"],
        ),
        (
            "%YAML 1.1\n---\na: 1\n",
            ["f.yml:1:1: directives (%YAML, %TAG) are not supported\nHINT: remove the line"],
        ),
        ("", ["f.yml:1:1: the file is empty\nHINT: resguardo init writes a starter"]),
        ("# nothing\n", ["f.yml:2:1: the file is empty\nHINT: resguardo init writes a starter"]),
        ("---\n...\n", ["f.yml:1:1: the file is empty\nHINT: resguardo init writes a starter"]),
        (
            "? [a, b]\n: 1\n",
            ["f.yml:1:3: a key must be plain text\nHINT: is a quote missing around {…} or […]?"],
        ),
        ('a: "x\\0"\n', ["f.yml:1:4: a: holds a NUL or bytes that are not UTF-8\nHINT: remove them"]),
        (
            'a: "\\q"\n',
            [
                (
                    "f.yml:1:5: not valid YAML: found unknown escape character\n"
                    "HINT: inside double quotes write \\\\ for a backslash, or use single quotes"
                )
            ],
        ),
        (
            "a:\n  b: 1\n c: 2\n",
            [
                (
                    "f.yml:3:2: not valid YAML: did not find expected key\n"
                    "HINT: check the indentation of this line and the one before"
                )
            ],
        ),
    ],
)
def test_what_is_refused_and_how(text: str, problems: list[str]) -> None:
    assert told(text) == problems


def test_tabs_inside_text_are_text() -> None:
    document = read("a: |\n  x\n  \ty\nb: 'p\n\tq'\nc: x\ty\n")
    assert document.problems == []
    assert document.data == {"a": "x\n\ty\n", "b": "p q", "c": "x\ty"}


def test_nesting_is_capped() -> None:
    assert read("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)).problems == []
    hint = "no policy needs this; is a bracket missing?"
    assert told("[" * 100_000) == [f"f.yml:1:33: nested more than 32 deep\nHINT: {hint}"]
    block = "".join(f"{' ' * depth}k:\n" for depth in range(400))
    (problem,) = told(block)
    assert problem == f"f.yml:33:33: nested more than 32 deep\nHINT: {hint}"


def test_a_bomb_of_aliases_costs_nothing() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    began = time.process_time()
    document = read("\n".join(lines) + "\n")
    assert time.process_time() - began < 2
    assert sum("aliases" in problem.message for problem in document.problems) == 110


class TestInterpolation:
    def test_it_comes_before_typing_where_the_scalar_is_plain(self) -> None:
        document = read("a: ${N:-2}\nb: '${N:-2}'\nc: ${M}\nd: \"${M}\"\ne: ${T}\n", M="3", T="true")
        assert document.problems == []
        assert document.data == {"a": 2, "b": "2", "c": 3, "d": "3", "e": True}
        assert ("a",) in document.interpolated

    def test_two_dollars_are_one(self) -> None:
        assert read("a: $$x\nb: $${N}\nc: x$$\n").data == {"a": "$x", "b": "${N}", "c": "x$"}

    def test_a_value_is_text_and_never_yaml(self) -> None:
        value = "{a: 1}\n- b: &x *y ${OTHER} $$ # "
        assert read("a: ${V}\n", V=value).data == {"a": value}

    def test_defaults(self) -> None:
        document = read("a: ${E:-x y}\nb: ${E:-}\nc: pre-${E:-mid}-post\nd: ${E}\n", E="")
        assert document.data == {"a": "x y", "b": None, "c": "pre-mid-post", "d": None}

    def test_keys_too(self) -> None:
        assert read("${K}: 1\n", K="5").data == {"5": 1}

    def test_what_cannot_be_filled_in(self) -> None:
        hint = "write $$ for a dollar sign, ${NAME} for a variable; a default holds no braces"
        assert told("a: ${NO}\nb: [x, '$y', \"${1}\", '${A:-${B}}']\n") == [
            "f.yml:1:4: a: the environment variable NO is not set\nHINT: set it, or give a default: ${NO:-value}",
            f"f.yml:2:8: b[1]: a `$` that begins no ${{NAME}}\nHINT: {hint}",
            f"f.yml:2:14: b[2]: a `$` that begins no ${{NAME}}\nHINT: {hint}",
            f"f.yml:2:22: b[3]: a `$` that begins no ${{NAME}}\nHINT: {hint}",
        ]

    def test_bytes_that_are_no_text(self) -> None:
        raw = os.fsdecode(b"\xff")
        assert told("a: ${V}\n", V=raw) == ["f.yml:1:4: a: holds a NUL or bytes that are not UTF-8\nHINT: remove them"]


class TestFiles:
    def refuse(self, path: Path | str) -> str:
        with pytest.raises(PolicyInvalid) as caught:
            load_file(str(path), "f.yml", {})
        return str(caught.value)

    def test_missing(self, tmp_path: Path) -> None:
        assert self.refuse(tmp_path / "none") == "f.yml:1:1: no such file\nHINT: correct its name, or restore it"

    def test_directory(self, tmp_path: Path) -> None:
        assert self.refuse(tmp_path) == "f.yml:1:1: is a directory\nHINT: name the file itself"

    def test_fifo_is_refused_at_once(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        assert self.refuse(tmp_path / "fifo") == "f.yml:1:1: is not a regular file\nHINT: name the file itself"

    def test_device(self) -> None:
        assert self.refuse("/dev/zero") == "f.yml:1:1: is not a regular file\nHINT: name the file itself"

    def test_loop_of_links(self, tmp_path: Path) -> None:
        (tmp_path / "loop").symlink_to("loop")
        message = "cannot be read: too many levels of symbolic links"
        assert self.refuse(tmp_path / "loop") == f"f.yml:1:1: {message}\nHINT: check its owner and mode"

    def test_nul_in_the_name(self) -> None:
        hint = "it holds a NUL or bytes that are not UTF-8"
        assert self.refuse("a\0b") == f"f.yml:1:1: no file can have this name\nHINT: {hint}"

    def test_not_utf8(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes("a: 1\r\nb: ñ".encode() + b"\xf1\n")
        assert self.refuse(tmp_path / "f") == "f.yml:2:5: not UTF-8: byte 0xf1\nHINT: save the file as UTF-8"

    def test_utf16(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes("a: 1\n".encode("utf-16"))
        assert self.refuse(tmp_path / "f") == "f.yml:1:1: not UTF-8: byte 0xff\nHINT: save the file as UTF-8"

    def test_byte_order_mark(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"\xef\xbb\xbfa: 1\n")
        hint = "save the file as UTF-8 without BOM"
        assert self.refuse(tmp_path / "f") == f"f.yml:1:1: begins with a byte order mark\nHINT: {hint}"

    @pytest.mark.parametrize("character", ["\0", "\x07", "\x1b", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe"])
    def test_hidden_characters(self, tmp_path: Path, character: str) -> None:
        (tmp_path / "f").write_bytes(f"a: 1\nb: x{character}\n".encode())
        assert self.refuse(tmp_path / "f").startswith(
            f"f.yml:2:5: a character that cannot be seen: U+{ord(character):04X}\nHINT: "
        )

    def test_too_large(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"# " + b"x" * (1 << 20))
        hint = "a policy is a few hundred lines; is this the right file?"
        assert self.refuse(tmp_path / "f") == f"f.yml:1:1: larger than 1 MiB\nHINT: {hint}"

    @pytest.mark.skipif(os.geteuid() != 0, reason="impossible here: only root can become somebody else")
    def test_unreadable(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("a: 1\n")
        (tmp_path / "f").chmod(0)
        let_others_in(tmp_path)
        os.seteuid(65534)
        try:
            text = self.refuse(tmp_path / "f")
        finally:
            os.seteuid(0)
        assert text == "f.yml:1:1: cannot be read: permission denied\nHINT: check its owner and mode"


def test_all_problems_of_a_file_are_told_at_once() -> None:
    assert len(told("a: *x\na: 1\nb: ${NO}\nc: !t 1\nd: &e 2\n")) == 5


@given(st.text(max_size=200))
def test_any_text_gives_data_or_problems(text: str) -> None:
    document = load_text(text, "f.yml", {})
    assert document.data is not None or document.problems
    for problem in document.problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.hint


YAMLISH = st.lists(st.sampled_from([*list("ab:-[]{}#&*!|>'\"%@`,?\n\t $01~"), "${A}", ": ", "- ", "\n  "]), max_size=60)


@given(YAMLISH)
def test_any_yaml_like_text_gives_data_or_problems(pieces: list[str]) -> None:
    document = load_text("".join(pieces), "f.yml", {"A": "x"})
    assert document.data is not None or document.problems


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.text(
        st.characters(
            codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\u2028\u2029\ufeff\ufffe\uffff"
        ),
        max_size=30,
    )
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(TREES, st.booleans())
def test_what_a_dumper_writes_is_read_back(tree: object, flow: bool) -> None:
    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    text = yaml.dump({"k": tree}, Dumper=Plain, default_flow_style=flow, allow_unicode=True).replace("$", "$$")
    document = load_text(text, "f.yml", {})
    assert document.problems == []
    assert document.data == {"k": tree}
