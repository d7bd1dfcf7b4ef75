"""Holds what webhook endpoints are told against the document. Arguments: the document, then bodies as they are sent.
Prints the faults; exits 1 if any."""

import json
import sys

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from check_document import BASE, absolute


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        document = yaml.safe_load(file)
    dialect = "https://json-schema.org/draft/2020-12/schema"
    registry = Registry().with_resource(BASE, Resource.from_contents({**document, "$schema": dialect}))
    faults = []
    for text in sys.argv[2:]:
        body = json.loads(text)
        content = document["webhooks"][body["type"]]["post"]["requestBody"]["content"]["application/json"]
        validator = Draft202012Validator(absolute(content["schema"]), registry=registry)
        faults += [f"{text}: {error.message}" for error in validator.iter_errors(body)]
    print("\n".join(faults) if faults else "valid")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
