"""Validates an OpenAPI document and every example in it, asks for an example of each JSON body that is taken or
answered, and looks for what generators of clients stumble over. Prints the faults; exits 1 if any."""

import sys

import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource

BASE = "urn:document"
METHODS = ("get", "put", "post", "delete", "patch")
# The keywords of JSON Schema that hold a schema, a list of them, and a map of them.
ONE = ("items", "additionalProperties", "propertyNames", "not", "contains", "if", "then", "else")
LIST = ("allOf", "anyOf", "oneOf", "prefixItems")
MAP = ("properties", "patternProperties", "dependentSchemas")


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


def resolved(document, node):
    """What the node says, or what it refers to."""
    while "$ref" in node:
        target = document
        for name in node["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        node = target
    return node


def schema_examples(schema, place):
    """Each example within a schema: where it is, the schema it is of, the value."""
    if not isinstance(schema, dict):
        return
    values = [schema["example"]] if "example" in schema else []
    for value in values + schema.get("examples", []):
        yield place, schema, value
    for name in ONE:
        yield from schema_examples(schema.get(name), f"{place}/{name}")
    for name in LIST:
        for index, part in enumerate(schema.get(name, [])):
            yield from schema_examples(part, f"{place}/{name}/{index}")
    for name in MAP:
        for key, part in schema.get(name, {}).items():
            yield from schema_examples(part, f"{place}/{name}/{key}")


def examples(node, place=""):
    """Each example beside or within a schema of the document: where it is, the schema, the value."""
    if isinstance(node, dict):
        schema = node.get("schema")
        if isinstance(schema, dict):
            if "example" in node:
                yield place, schema, node["example"]
            for name, example in (node.get("examples") or {}).items():
                yield f"{place}/{name}", schema, example["value"]
            yield from schema_examples(schema, f"{place}/schema")
        for name, value in node.items():
            if name == "schemas":
                for key, part in value.items():
                    yield from schema_examples(part, f"{place}/schemas/{key}")
            elif name not in ("schema", "example", "examples"):
                yield from examples(value, f"{place}/{name}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from examples(value, f"{place}/{index}")


def bodies_without_example(document):
    """Where a JSON body that an operation takes or answers on success has an example neither beside nor on its schema."""
    for path, item in document["paths"].items():
        for method in METHODS:
            operation = item.get(method, {})
            bodies = {"request": operation.get("requestBody", {})}
            bodies |= {status: body for status, body in operation.get("responses", {}).items() if status.startswith("2")}
            for name, body in bodies.items():
                for media_type, content in resolved(document, body).get("content", {}).items():
                    is_json = media_type.endswith(("/json", "+json"))
                    holders = (content, resolved(document, content.get("schema", {})))
                    if is_json and not any({"example", "examples"} & holder.keys() for holder in holders):
                        yield f"{method} {path}: {name}, {media_type}"


def subschemas(node, place=""):
    """Each object of the document and where it is: schemas are among them, however deep."""
    if isinstance(node, dict):
        yield place, node
        for name, value in node.items():
            if name not in ("example", "examples"):
                yield from subschemas(value, f"{place}/{name}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from subschemas(value, f"{place}/{index}")


def what_generators_stumble_over(document):
    """Correct, and yet generators of clients make types of it that can't be used, or none."""
    for place, schema in subschemas(document):
        if "const" in schema and "type" not in schema:
            yield f"{place}: a const without its type"
        for name in ("anyOf", "oneOf"):
            if "properties" in schema and any(part.keys() == {"required"} for part in schema.get(name, [])):
                yield f"{place}: {name} of required members beside the properties"
        if "patternProperties" in schema:
            yield f"{place}: patternProperties, of which generators make nothing"
    operations = [item[method] for item in document["paths"].values() for method in METHODS if method in item]
    tags = {tag for operation in operations for tag in operation.get("tags", [])}
    for name, item in document["webhooks"].items():
        if "operationId" not in item["post"] or tags.intersection(item["post"]["tags"]):
            yield f"/webhooks/{name}: without a name and a tag of its own"


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
    faults += [f"{place} has no example" for place in bodies_without_example(document)]
    faults += what_generators_stumble_over(document)
    print("\n".join(faults) if faults else f"valid, with {count} examples")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
