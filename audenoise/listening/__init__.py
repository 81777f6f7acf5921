"""Listening tests without a server: a page that is one file, and what its answers come to.

`make_trial` cuts and levels what is heard, `write_page` makes the page, `read_answers` and `score_answers`
sum up what listeners have downloaded from it.
"""

from .answers import Answers, read_answers
from .levels import loudness_lufs
from .pages import ABX, MUSHRA, write_page
from .scoring import Result, save_picture, score_answers, table
from .stimuli import ANCHOR, Condition, Trial, common_names, make_trial, read_conditions

__all__ = [
    "ABX",
    "ANCHOR",
    "MUSHRA",
    "Answers",
    "Condition",
    "Result",
    "Trial",
    "common_names",
    "loudness_lufs",
    "make_trial",
    "read_answers",
    "read_conditions",
    "save_picture",
    "score_answers",
    "table",
    "write_page",
]
