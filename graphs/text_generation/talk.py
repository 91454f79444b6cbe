"""Talk with the model of a server, a line at a time.

    python graphs/text_generation/talk.py localhost:9000

Reads messages from standard input until it ends.
"""

from __future__ import annotations

import sys
from typing import Final

from ovms_mp_clients import Client, ClientError

GRAPH: Final = "text_generation"
PROMPT: Final = "> "


def talk(address: str) -> None:
    """One conversation: each answer is printed as it comes."""
    with Client(address) as client, client.stream(GRAPH) as stream:
        print(PROMPT, end="", flush=True)
        for line in sys.stdin:
            stream.send({"message": [line.strip()]})
            for result in stream:
                (piece,) = result.outputs["answer"]
                print(bytes(piece).decode(), end="", flush=True)
                if not piece:
                    break
            print(f"\n{PROMPT}", end="", flush=True)


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    if len(arguments) != 1:
        print("usage: talk.py ADDRESS", file=sys.stderr)
        return 2
    try:
        talk(arguments[0])
    except ClientError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
