#!/usr/bin/env python3
"""Writes prompts.txt, by the rules of LENS's paper and program (describe.h) written down a second time: 50 sets of words, each in all
modes. test_describe.c holds describe_write_prompt against it, to the byte.

Records are separated by a byte 1, fields by a byte 2, words of a list by a byte 3: mode, tags, attributes, captions, question, ocr,
prompt.
"""

import pathlib
import random

WORDS = ["cat", "a big, red dog", "犬", "with “quotes\"", "x-y", "naïve", "line\nbreak", "-", "one two three", "👑"]
QUESTIONS = ["What is it?", "色は何ですか", "How many\tthings?", "Is it a \"cat\" or a dog?", "?"]


def paper(tags, attributes, captions, question, ocr):
    written = f' OCR: this is an image with written "{ocr}" on it.' if ocr else ""
    return (
        f"Tags: {', '.join(tags)} Attributes: {', '.join(attributes)} Captions: {', '.join(captions)}.{written} "
        f"Question: {question} \n Short Answer:"
    )


def asked(lists, question):
    return lists + "\nQuestion:" + question + "\nShort Answer:"


def listed(title, words):
    return title + ":\n-" + "\n-".join(words)


def prompt(mode, tags, attributes, captions, question, ocr):
    if mode == "paper":
        return paper(tags, attributes, captions, question, ocr)
    if mode == "all":
        return asked("\n".join([listed("Tags", tags), listed("Attributes", attributes), listed("Captions", captions)]), question)
    if mode == "vision":
        return asked("Tag: " + ",".join(tags) + "\nAttributes: " + ",".join(attributes), question)
    if mode == "vqa":
        return asked("Image:\nCaptions:" + ".".join(captions), question)
    caption = captions[0] if captions else ""
    lists = "Image:\nCaption:" + caption + "\nAttributes:" + ",".join(attributes) + "\nTags:" + ",".join(tags)
    return lists + "\nQuestion: Is the image hateful or not-hateful?\nShort Answer:"


def main():
    draw = random.Random(0)
    records = []
    for number in range(50):
        lists = [draw.choices(WORDS, k=draw.randint(0 if number % 5 == 0 else 1, 5)) for _ in range(3)]
        question, ocr = draw.choice(QUESTIONS), draw.choice(["", "SALE 50 %", "猫"])
        for mode in ("paper", "all", "vision", "vqa", "hm"):
            words = ["\3".join(words) for words in lists]
            records.append("\2".join([mode, *words, question, ocr, prompt(mode, *lists, question, ocr)]))
    pathlib.Path(__file__).with_name("prompts.txt").write_text("\1".join(records), encoding="utf-8", newline="")


main()
