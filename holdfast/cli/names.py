"""Names for servers that were given none: two words that are easy to say and to type."""

from __future__ import annotations

import secrets
from collections.abc import Collection

_FIRST = (
    "amber brave brisk calm clear clever coral cosy deep eager early fair fast firm fleet fond free fresh "
    "gentle glad golden good grand green happy hardy humble ideal jolly keen kind light lively loyal lucky "
    "lunar merry mild misty neat noble quick quiet rapid ready rosy royal sharp silver sleek smart snowy solar "
    "solid steady still sunny swift tidal tidy true vivid warm wise witty young "
)
_SECOND = (
    "badger barnacle beacon beaver bison brook canyon cedar cliff cobra comet coral cove crane creek current "
    "delta dolphin dune eagle egret falcon fern finch fjord gannet glacier grove gull harbor hawk heron island "
    "kelp lagoon lark lynx maple marlin meadow meteor moose oak ocean orca osprey otter owl pelican pine "
    "plover puffin quartz raven reef ridge river robin salmon seal shell shore skipper sparrow spruce stork "
    "swan tern tide trout tuna walrus wave whale willow wren "
)
_TRIES = 20


def name_new(taken: Collection[str]) -> str:
    """A name that is not taken; after some tries, one with digits."""
    for _ in range(_TRIES):
        name = f"{secrets.choice(_FIRST.split())}-{secrets.choice(_SECOND.split())}"
        if name not in taken:
            return name
    return f"{name}-{secrets.token_hex(2)}"
