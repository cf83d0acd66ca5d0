"""Word lists for advertising text: what says nothing about a topic, and where the lookup lemmatiser misleads."""

from __future__ import annotations

__all__ = ["IRREGULAR_PLURALS", "LEMMAS", "STOP_WORDS"]

# The usual English function words (spaCy's list, written out so that a spaCy release cannot change a vocabulary),
# less those that carry meaning in advertising: back pain, front door, full mattress, top, bottom, side table,
# moving company, call center, name necklace, show tickets, car part, first aid, empty, serious.
_FUNCTION_WORDS = """
a about above across after afterwards again against all almost alone along already also although always am among
amongst an and another any anyhow anyone anything anyway anywhere are around as at be became because become becomes
becoming been before beforehand behind being below beside besides between beyond both but by can cannot could did do
does doing done down due during each eight either eleven else elsewhere enough even ever every everyone everything
everywhere except few fifteen fifty five for former formerly forty four from further get give go had has have he hence
her here hereafter hereby herein hereupon hers herself him himself his how however hundred i if in indeed into is it
its itself just keep last latter latterly least less made make many may me meanwhile might mine more moreover most
mostly much must my myself namely neither never nevertheless next nine no nobody none noone nor not nothing now nowhere
of off often on once one only onto or other others otherwise our ours ourselves out over own per perhaps please put
quite rather re really regarding same say see seem seemed seeming seems several she should since six sixty so some
somehow someone something sometime sometimes somewhere still such take ten than that the their them themselves then
thence there thereafter thereby therefore therein thereupon these they third this those though three through throughout
thru thus to together too toward towards twelve twenty two under unless until up upon us used using various very via
was we well were what whatever when whence whenever where whereafter whereas whereby wherein whereupon wherever whether
which while whither who whoever whole whom whose why will with within without would yet you your yours yourself
yourselves 's 'd 'll 'm 're 've n't
"""

# What is left of contractions once split (do nt, gon na), and words of asking: they say how one asks, not for what.
_QUERY_WORDS = """
nt ca wo sha ll ve im ive dont cant gon na gotta got ta wanna want wants wanted wanting need needs needed needing
tell let lets know like would could thank thanks hi hey hello ok okay yes yeah oh um uh kindly think going gets getting
gonna able exactly actually currently instead
thing things kind ones sure lot lots possible soon
"""

# Intent to buy: said of everything that is sold, so it joins campaigns that have nothing else in common.
_COMMERCIAL_WORDS = """
buy buys buying cheap cheaper cheapest best better good near nearby nearest online sale price prices pricing
affordable discount discounted
"""

STOP_WORDS = frozenset(f"{_FUNCTION_WORDS} {_QUERY_WORDS} {_COMMERCIAL_WORDS}".split())

#: Plurals that do not end in s; the lookup table knows their singulars.
IRREGULAR_PLURALS = frozenset({"children", "feet", "geese", "men", "mice", "teeth", "women"})

#: Corrections to the lookup table's plurals: wrong singulars, words that mean another thing in the plural, and a few
#: words of advertising that it lacks.
LEMMAS = {
    "aws": "aws",
    "calories": "calorie",
    "clothes": "clothes",
    "cms": "cms",
    "cookies": "cookie",
    "e-bikes": "e-bike",
    "e-books": "e-book",
    "glasses": "glasses",
    "goods": "goods",
    "iphones": "iphone",
    "leaves": "leaf",
    "mens": "man",
    "movies": "movie",
    "pants": "pants",
    "scissors": "scissors",
    "shorts": "shorts",
    "softwares": "software",
    "sunglasses": "sunglasses",
    "t-shirts": "t-shirt",
    "taxes": "tax",
    "tshirt": "t-shirt",
    "tshirts": "t-shirt",
    "vegas": "vegas",
    "womens": "woman",
    "x-rays": "x-ray",
}
