"""Validates an OpenAPI document, and every example in it against its schema. Prints the faults; exits 1 if any."""

import sys

import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource

BASE = "urn:document"


def absolute(node):
    """The node with references that can be followed from outside the document."""
    if isinstance(node, dict):
        return {
            name: BASE + value if name == "$ref" and value.startswith("#") else absolute(value)
            for name, value in node.items()
        }
    if isinstance(node, list):
        return [absolute(element) for element in node]
    return node


def examples(node, place=""):
    """Each example beside a schema: where it is, the schema, the value."""
    if isinstance(node, dict):
        if isinstance(node.get("schema"), dict):
            if "example" in node:
                yield place, node["schema"], node["example"]
            for name, example in (node.get("examples") or {}).items():
                yield f"{place}/{name}", node["schema"], example["value"]
        for name, value in node.items():
            yield from examples(value, f"{place}/{name}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from examples(value, f"{place}/{index}")


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        document = yaml.safe_load(file)
    faults = [f"{list(error.absolute_path)}: {error.message}" for error in OpenAPIV31SpecValidator(document).iter_errors()]
    dialect = "https://json-schema.org/draft/2020-12/schema"
    resource = Resource.from_contents({**document, "$schema": dialect})
    registry = Registry().with_resource(BASE, resource)
    count = 0
    for place, schema, value in examples(document):
        count += 1
        validator = Draft202012Validator(absolute(schema), registry=registry)
        faults += [f"example {place}: {error.message}" for error in validator.iter_errors(value)]
    if count == 0:
        faults.append("the document has no examples")
    print("\n".join(faults) if faults else f"valid, with {count} examples")
    return 1 if faults else 0


sys.exit(main())
