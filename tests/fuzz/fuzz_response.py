"""Feeds a connection with bytes that are nearly a response, guided by coverage, until it is stopped or fails.

    pip install atheris
    python tests/fuzz/fuzz_response.py -max_total_time=300

Options are those of libFuzzer. What one input means: its last bytes say where it is cut, and whether HEAD was
asked for; the rest is what the server sends. What is held: there is one response, the one that the C parser
finds by itself, or one failure; no hang, no other exception; and a connection with more on it than the
response is not used again. An input that breaks this is written to a file `crash-...`, and tried again with
its name as argument.
"""

import itertools
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))
with atheris.instrument_imports(include=["perfload.load.http"]):
    from tests.load.http.verdict import CHUNKED, EMPTY, INTERIM, SIZED, UNTIL_END, check

SEEDS = [SIZED, CHUNKED, INTERIM, UNTIL_END, EMPTY, SIZED + CHUNKED, INTERIM * 3]
WORDS = [
    *(
        "HTTP/1.1 200 OK\\x0d\\x0a",
        "HTTP/1.0 ",
        "HTTP/1.1 100 C\\x0d\\x0a\\x0d\\x0a",
        "\\x0d\\x0a",
        "\\x0d\\x0a\\x0d\\x0a",
    ),
    *(
        "Content-Length: ",
        "Transfer-Encoding: chunked\\x0d\\x0a",
        "Connection: close\\x0d\\x0a",
        "keep-alive",
        "upgrade",
    ),
    *("Trailer: ", "0\\x0d\\x0a\\x0d\\x0a", "ffffffffffffffff\\x0d\\x0a", ";a=b", "204", "304", "101"),
]
MAX_CUTS = 4


def try_one(data: bytes) -> None:
    """Hold one input against the parser."""
    sent, said = data[: len(data) - MAX_CUTS], data[len(data) - MAX_CUTS :]
    edges = [0, *sorted(place * len(sent) // 256 for place in said), len(sent)]
    pieces = [sent[start:end] for start, end in itertools.pairwise(edges) if end > start]
    check(pieces, is_head_request=sum(said) % 4 == 3)


def main() -> None:
    """Fuzz from the seeds, in a folder that is thrown away, unless another corpus is given."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = folder / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(SEEDS):
            (corpus / f"{number}-get").write_bytes(seed + bytes([0, 64, 128, 192]))
            (corpus / f"{number}-head").write_bytes(seed + bytes([0, 64, 128, 195]))
        words = folder / "words"
        words.write_text("".join(f'"{word}"\n' for word in WORDS))
        given = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
        arguments = [*sys.argv, f"-dict={words}", *([] if given else [str(corpus)])]
        atheris.Setup(arguments, try_one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
