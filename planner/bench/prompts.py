"""Prompts that no prefix cache can answer: random words from the first on, so many that the length is the asked one."""

from __future__ import annotations

import random
from collections.abc import Callable

# Common words of four letters: one token each in most vocabularies and the same number in one of letters or bytes, so
# that a length in words says the length in tokens.
_TEXT = """
acid army aunt babe baby back bait ball band bank barn base bath beam bean bear beef bell belt bike bill bird
bite boat body bolt bomb bond bone book boot bowl bull bush cafe cage cake calf camp card cave cell chef chin
chip city clay club coal coat code coin cook copy cord core corn crew crop crow cube curb cure dart data dawn
deal deck deer desk diet dirt dish dock doll dome door dose dove drum duck dune dusk dust duty echo edge exit
face fact fair fall fame fang farm feet file film fire fish fist flag flea flow foam fold folk food foot fork
fort fuel fund fuse game gate gift girl goal goat gold gown gulf hair hall hand harp hawk head heap herb herd
hero hill hint hole holy home hood hook hose host hour hull idea inch iron jail joke jury king kite knee knot
lace lake lamb lamp land lane lawn leaf lens limb lime line lion list loaf loan lock loop lord lung maid mall
mask mast maze meal menu mice mile milk mind mint mist mode mole monk moon moss moth myth nail name neck nest
node noon nose note oath oven pace pack page palm park part path peak pear pier pile pill pine pint pipe plan
play plot plow poem poet pole pond pony pool pork port pose post pump rack raft rail rain rank reef rice ride
ring road robe rock role roof room root rope ruin rule rush sack sail salt sand seal seat seed self ship shoe
shop silk sink site skin skip slab sled slot snow soap soil sole song sort soul soup spot star stem step suit
swan tail tank tape task taxi team tent tide tile time toad toll tomb tone tool tour town trap tray tree trip
tube tune turf unit vase veil vein vest view vine volt wage wall wand ward wave week whip wind wine wing wire
wish wolf wood wool word work yard yarn year yoke zone zoom
"""
WORDS = tuple(_TEXT.split())

# For servers that cannot be told to go on after an end: words to go on about. It comes last, to share no prefix.
REQUEST = "Repeat this list of words without an end."
FALLBACK_TOKENS_PER_WORD = 1.2  # with servers that count nothing; English text has about 1.3 tokens per word


class Prompts:
    """Random prompts of `words` words; with the system's randomness two runs share no prefix either."""

    def __init__(self, source: random.Random | None = None) -> None:
        self._random = source or random.SystemRandom()

    def of(self, words: int) -> str:
        """A new prompt."""
        return " ".join([*self._random.choices(WORDS, k=max(words, 1)), REQUEST])


def words_for(tokens: int, measured: Callable[[int], int | None]) -> int:
    """How many words make a prompt of `tokens` tokens, chat template included.

    `measured(words)` asks the server for the length of such a prompt (None: it does not count). Two lengths give
    tokens per word and the template's share; at least four words keep the prompts apart."""
    short = 16
    first, long = measured(short), max(64, min(tokens, 512) // 2)
    second = measured(long)
    if first is None or second is None or second <= first:
        return max(4, round(tokens / FALLBACK_TOKENS_PER_WORD))
    per_word = (second - first) / (long - short)
    return max(4, round((tokens - first) / per_word) + short)
