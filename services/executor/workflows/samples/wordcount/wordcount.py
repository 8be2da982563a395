"""Counts the words of a text: the small program that the sample workflow builds, tests and runs."""

import collections
import os
import re


def words(text):
    """The words of a text in lower case, without punctuation."""
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower())


def count(text):
    """(word, number) pairs, the most frequent first, equal ones in alphabetical order."""
    counted = collections.Counter(words(text))
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))


if __name__ == "__main__":
    for word, number in count(os.environ.get("TEXT", "")):
        print(f"{number:4} {word}")
