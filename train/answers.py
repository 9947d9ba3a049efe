"""Measures a language model's answers about scenes: asked blind, with what the server sees, and with what is there.

    python scenes.py --seed 1 --count 640 --split style --size 160 --data DIR --out SCENES
    ../scripts/serve --with-llm                                                  # in another terminal
    python answers.py --scenes SCENES [--url http://127.0.0.1:8080] [--blocks 24]

All three prompts have the form of LENS's paper and end with the choices, to which llama.cpp's grammar holds answers.
`blind`: with empty lists; `seen`: POST /v1/ask; `told`: the scene's things as tags, their colours as attributes, and
its captions. A block is one question, asked in 10 scenes over which its answers take turns, so that little is gained
from its words alone.
"""

import argparse
import base64
import json
import sys
import urllib.request
from collections import defaultdict
from pathlib import Path

from scenes.focus import ROUND, TEMPLATES, place_in_round
from scenes.lexicon import NOUNS

WAYS = ("blind", "seen", "told")


def post(url: str, body: dict) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def prompt(question: dict, tags=(), attributes=(), captions=()) -> str:
    """As /v1/ask writes it in the mode `paper`."""
    seen = f"Tags: {', '.join(tags)} Attributes: {', '.join(attributes)} Captions: {', '.join(captions)}."
    return f"{seen} Question: {question['text']} Answer with one of: {', '.join(question['choices'])}. \n Short Answer:"


def write(url: str, text: str, choices: list[str]) -> str:
    grammar = "root ::= " + " | ".join(json.dumps(one) for one in choices)
    asked = {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 64, "grammar": grammar}
    answer = post(f"{url}/v1/chat/completions", asked)
    return answer["choices"][0]["message"]["content"].strip()


def told(line: dict) -> dict:
    nouns = dict.fromkeys(NOUNS[thing["noun"]].english[0] for thing in line["things"])
    colours = dict.fromkeys(thing["colour"] for thing in line["things"] if thing["colour"])
    captions = [one.rstrip(".") for one in line["captions"]["en"]]
    return {"tags": nouns, "attributes": colours, "captions": captions}


def answers(url: str, folder: Path, line: dict) -> dict[str, str]:
    question = line["question"]["en"]
    image = base64.b64encode((folder / line["file"]).read_bytes()).decode()
    asked = {"image": image, "question": question["text"], "choices": question["choices"], "max_tokens": 64}
    return {
        "blind": write(url, prompt(question), question["choices"]),
        "seen": post(f"{url}/v1/ask", asked)["answer"],
        "told": write(url, prompt(question, **told(line)), question["choices"]),
    }


def row(name: str, asked: list[tuple[dict, dict[str, str]]]) -> str:
    chance = sum(1 / len(question["choices"]) for question, _ in asked) / len(asked)
    right = [sum(given[way] == question["answer"] for question, given in asked) / len(asked) for way in WAYS]
    return f"| {name} | {len(asked)} | " + " | ".join(f"{100 * share:.1f} %" for share in (chance, *right)) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=Path, required=True, help="what scenes.py wrote, at least a round of 640")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="a limoe server that asks llama.cpp's")
    parser.add_argument(
        "--blocks",
        type=int,
        choices=range(8, ROUND + 1, 8),
        metavar="N",
        default=24,
        help="8, 16, … or 64, of 10 questions each (default 24)",
    )
    args = parser.parse_args()
    with open(args.scenes / "scenes.jsonl", encoding="utf-8") as lines:
        read = [json.loads(line) for line in lines]
    chosen = [line for line in read if place_in_round(line["index"])[0] < args.blocks]
    kinds = defaultdict(list)
    for n, line in enumerate(chosen, 1):
        question = line["question"]["en"]
        kinds[question["template"]].append((question, answers(args.url, args.scenes, line)))
        if n % 20 == 0:
            print(f"{n} of {len(chosen)}", file=sys.stderr, flush=True)
    print("| question | asked | chance | " + " | ".join(WAYS) + " |\n|---|---|---|---|---|---|")
    for template in TEMPLATES:
        print(row(template, kinds[template]))
    print(row("all", [one for kind in kinds.values() for one in kind]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
