"""Words that are quoted come back as they were from the readers that they are for."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sshjobs import quoting

pytestmark = pytest.mark.quick

#: What means something to sh, to ssh_config or to printf, one by one and together.
ODD = [
    "",
    "'",
    '"',
    "\\",
    "#",
    " ",
    "\t",
    "%",
    "$HOME",
    "`id`",
    "a b",
    "it's",
    "~",
    "*",
]
ODD += ["-n", "a;b", "a\nb", "\udcff", "é", "a#b", "#a", "a=b", "%d%%", "'\\''", "x\\"]

texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]))


def read_words_of_sh(line: str) -> list[bytes]:
    """Return the words that sh makes of a line."""
    program = f"printf '%s\\0' {line}\n".encode(*quoting.FS_CODEC)
    done = subprocess.run(["sh"], input=program, capture_output=True, check=True)
    return done.stdout.split(b"\0")[:-1]


def test_words_come_back_from_sh_as_they_were() -> None:
    words = [word.encode(*quoting.FS_CODEC) for word in ODD]
    for line in (
        quoting.join_words(ODD),
        " ".join(map(quoting.quote_text, ODD)),
        b" ".join(map(quoting.quote, words)).decode(*quoting.FS_CODEC),
    ):
        assert read_words_of_sh(line) == words


@given(st.lists(texts, max_size=5))
@settings(max_examples=50, deadline=None)
def test_a_joined_line_is_split_into_its_words(words: list[str]) -> None:
    assert shlex.split(quoting.join_words(words)) == words


@pytest.mark.parametrize("word", ["a", "A-Z_0.9", "user@host:/a,b", "k=v", "+%:"])
def test_a_word_that_means_itself_is_shown_as_it_is(word: str) -> None:
    assert quoting.quote_if_needed(word) == word
    assert quoting.quote_text(word) == f"'{word}'"
    assert quoting.quote_for_config(word) == word


@pytest.mark.parametrize("word", [*ODD[1:11], "é", "\udcff", "", "a\u00a0b"])
def test_a_word_that_may_mean_more_is_in_quotes(word: str) -> None:
    if word != "%":
        assert quoting.quote_if_needed(word)[0] == "'"


@pytest.mark.skipif(not shutil.which("ssh"), reason="asks ssh")
@pytest.mark.parametrize(
    "word", ["/a b", "/a'b", '/a"b', "/a\\b", "/a#b", "/a\tb", "/a"]
)
def test_ssh_reads_a_word_of_its_configuration_as_it_was(word: str) -> None:
    path = quoting.quote_for_config(quoting.escape_percent(f"{word}%d"))
    argv = ["ssh", "-F", "/dev/null", "-G", "-o", f"UserKnownHostsFile={path}", "h"]
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in out.splitlines() if "userknownhostsfile" in line)
    assert line == f"userknownhostsfile {word}%d"  # -G shows it expanded (9.2)


def test_a_percent_sign_begins_no_token_of_ssh() -> None:
    assert quoting.escape_percent("a%hb%%") == "a%%hb%%%%"


@pytest.mark.parametrize("word", ODD)
def test_an_escaped_word_has_no_byte_but_those_that_are_allowed(word: str) -> None:
    for allowed in (quoting.WORD_BYTES, quoting.TEXT_BYTES):
        escaped = quoting.escape_word(allowed, word)
        assert not escaped.translate(None, allowed + b"%")
        head, *pieces = escaped.split(b"%")
        data = head + b"".join(
            bytes([int(piece[:2], 16)]) + piece[2:] for piece in pieces
        )
        assert data.decode(*quoting.FS_CODEC) == word


@pytest.mark.parametrize("data", [b"", b"-", b"-n", b"%s", b"\\n", b"a\0b", b"\\055"])
def test_printf_prints_the_bytes_of_its_format(data: bytes) -> None:
    program = b"printf " + quoting.quote(quoting.build_printf_format(data))
    done = subprocess.run(["sh"], input=program, capture_output=True, check=True)
    assert done.stdout == data


# Each branch, by what comes out.


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", b"''"),
        (b"plain", b"'plain'"),
        (b"a b\n$x`\\\xff", b"'a b\n$x`\\\xff'"),
        (b"it's", b"'it'\\''s'"),
        (b"''", b"''\\'''\\'''"),
    ],
)
def test_a_word_of_sh_stands_in_single_quotes(data: bytes, word: bytes) -> None:
    assert quoting.quote(data) == word


@pytest.mark.parametrize(
    ("text", "word"),
    [("it's é", "'it'\\''s é'"), ("\udcff", "'\udcff'"), ("", "''")],
)
def test_a_text_is_quoted_as_its_bytes_are(text: str, word: str) -> None:
    assert quoting.quote_text(text) == word


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", b"%s"),
        (b"plain", b"plain"),
        (b"100%", b"100%%"),
        (b"a\\n", b"a\\\\n"),
        (b"\0a\0", b"\\000a\\000"),
        (b"-x-", b"\\055x-"),
        (b"-", b"\\055"),
        (b"\\0", b"\\\\0"),
    ],
)
def test_a_format_prints_its_bytes(data: bytes, text: bytes) -> None:
    assert quoting.build_printf_format(data) == text


def test_a_word_holds_what_is_printed_but_a_space_and_a_percent_sign() -> None:
    assert quoting.WORD_BYTES == (
        b"!\"#$&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`"
        b"abcdefghijklmnopqrstuvwxyz{|}~"
    )
    assert quoting.TEXT_BYTES == b" " + quoting.WORD_BYTES


@pytest.mark.parametrize(
    ("allowed", "text", "word"),
    [
        (quoting.WORD_BYTES, "", b""),
        (quoting.WORD_BYTES, "plain~!", b"plain~!"),
        (quoting.WORD_BYTES, "a b%\n", b"a%20b%25%0A"),
        (quoting.TEXT_BYTES, "a b%\n", b"a b%25%0A"),
        (quoting.WORD_BYTES, "é\udcff\x7f\0", b"%C3%A9%FF%7F%00"),
    ],
)
def test_all_that_is_not_allowed_travels_as_two_digits(
    allowed: bytes, text: str, word: bytes
) -> None:
    assert quoting.escape_word(allowed, text) == word


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "''"),
        ("a-b", "a-b"),
        ("~", "'~'"),
        ("a b", "'a b'"),
        ("it's", "'it'\\''s'"),
    ],
)
def test_a_word_is_quoted_where_it_has_to_be(text: str, word: str) -> None:
    assert quoting.quote_if_needed(text) == word
    assert quoting.join_words([text, "x"]) == f"{word} x"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", '""'),
        ("a", "a"),
        ("a b", '"a b"'),
        ("a\tb", '"a\tb"'),
        ("a'b", '"a\'b"'),
        ('a"b', '"a\\"b"'),
        ("a\\b", '"a\\\\b"'),
        ("a#b", '"a#b"'),
    ],
)
def test_a_word_of_ssh_config_is_quoted_where_it_has_to_be(
    text: str, word: str
) -> None:
    assert quoting.quote_for_config(text) == word


@pytest.mark.parametrize(
    ("path", "word"),
    [(b"", b'""'), (b"a *?", b'"a *?"'), (b'a"b', b'"a\\"b"'), (b"a\\", b'"a\\\\"')],
)
def test_a_path_of_an_sftp_batch_stands_in_quotes(path: bytes, word: bytes) -> None:
    assert quoting.quote_for_sftp(path) == word


@pytest.mark.parametrize(
    ("name", "is_directory", "rule"),
    [
        (b"a\\ b", False, b"/a\\ b"),
        (b"a\\*", False, b"/a\\\\\\*"),
        (b"a?[b]", False, b"/a\\?\\[b]"),
        (b"a\\", True, b"/a\\\\/***"),
    ],
)
def test_a_rule_of_rsync_means_one_name(
    name: bytes, is_directory: bool, rule: bytes
) -> None:
    assert quoting.quote_for_rsync_rule(name, is_directory) == rule
