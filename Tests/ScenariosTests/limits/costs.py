"""What providers bill for calls of models: the price book, from docs/rules.md, chapter Provider costs."""

from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction


@dataclass(frozen=True)
class Tokens:
    input: int
    cached: int
    output: int

    @property
    def total(self):
        return Fraction(self.input + self.output)

    def data(self):
        cached = {"cached_input_tokens": self.cached} if self.cached else {}
        return {"input_tokens": self.input, **cached, "output_tokens": self.output}

    def with_output(self, output):
        return replace(self, output=output)


@dataclass(frozen=True)
class Price:
    """What a token of each class costs from an instant on, in calls with more input than `above`."""
    provider: str
    model: str
    start: datetime
    amounts: dict
    above: int = 0

    def fits(self, model):
        return model == self.model or self.model.endswith("*") and model.startswith(self.model[:-1])

    def cost(self, tokens):
        counts = {"input": tokens.input - tokens.cached, "cached_input": tokens.cached, "output": tokens.output}
        return sum((count * Fraction(self.amounts[name]) for name, count in counts.items()), Fraction(0))


class PriceBook:
    """Each price here has all classes, and none of a provider `*` competes with one of a provider's own."""

    def __init__(self):
        self.prices = []

    def cost(self, data, tokens, instant):
        """By the price in force that is the model's own, or else the longest pattern's."""
        known = [price for price in self.prices
                 if price.start <= instant and price.fits(data["model"])
                 and price.provider in (data.get("provider"), "*")
                 and (not price.above or tokens.input > price.above)]
        return max(known, key=lambda price: (price.model == data["model"], len(price.model), price.above,
                                             price.start)).cost(tokens)

    def costs(self, data, tokens, start, end):
        """All that it may come to at the moments from the start to the end, both included."""
        starts = {price.start for price in self.prices if start < price.start <= end}
        return {self.cost(data, tokens, instant) for instant in {start, *starts}}
