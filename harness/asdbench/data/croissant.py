"""A dataset's card as Croissant 1.1 (JSON-LD of MLCommons) with the properties of its responsible-AI extension 1.0.

The specifications are http://mlcommons.org/croissant/1.1 and http://mlcommons.org/croissant/RAI/1.0. What a card does not
state, for example creators and a date of publication, is left out rather than invented.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from asdbench.core.labels import ANOMALY, NORMAL
from asdbench.data.dataset import Card, Remote

CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context of the specification's first appendix."""
LICENCES: Mapping[str, str] = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC0 1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-SA 4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC BY-NC-SA 4.0": "https://creativecommons.org/licenses/by-nc-sa/4.0/",
}
"""Licences that an address names as exactly as the card does."""
Node = dict[str, Any]


def croissant_of(card: Card) -> Node:
    """Return the Croissant description of a dataset under its current options, ready to encode as JSON."""
    described: Node = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": card.name,
        "description": _description(card),
        "license": LICENCES.get(card.licence, {"@type": "sc:CreativeWork", "name": card.licence}),
        "citeAs": card.citation,
        "url": card.homepage,
        "keywords": ["anomaly detection", card.modality],
        "distribution": [_file(remote) for remote in _unique(card) if remote.md5],
        "recordSet": [_columns(card), _labels(card), *_counts(card)],
        **_responsible(card),
    }
    return {name: value for name, value in described.items() if value not in ("", [])}


def _description(card: Card) -> str:
    items = sum(count.items for count in card.expected)
    counted = f"; {items:,} items under the described options" if items else ""
    return f"{card.title}; {card.task} on {card.modality}{counted}"


def _reading(card: Card) -> list[str]:
    """Return how items are read, as far as it is known without the data."""
    if not card.item_shape or not all(card.item_shape):
        return []
    rate = f" at {card.sample_rate} Hz" if card.sample_rate else ""
    return [f"asdbench reads an item as an array of shape {list(card.item_shape)}{rate}"]


def _unique(card: Card) -> Iterator[Remote]:
    """Yield the files to download, each once."""
    yield from {remote.url: remote for remote in card.remotes}.values()


def _file(remote: Remote) -> Node:
    kind, packed = mimetypes.guess_type(remote.file)
    return {
        "@type": "cr:FileObject",
        "@id": f"{quote(remote.part)}/{quote(remote.file)}",
        "name": remote.file,
        "description": f"part {remote.part} of the release",
        "contentUrl": remote.url,
        "encodingFormat": f"application/{packed}" if packed else kind or "application/octet-stream",
        "md5": remote.md5,
    }


def _columns(card: Card) -> Node:
    """Return the record set of the public columns."""
    # A field needs a source, and a release holds these values in names of files and folders, which only the dataset's code
    # reads. So the columns are described by records of their own, and their values by the record set of the counts.
    known = {*card.claims, *card.runtime_columns}
    fields = {
        "name": "name of the column",
        "description": "its meaning",
        "known": "when a method may know it: in training, or of test items too",
    }
    rows = [
        {"name": name, "description": meaning, "known": "always" if name in known else "in training"}
        for name, meaning in card.columns.items()
    ]
    return _record_set("columns", "The public columns of an item.", fields=fields, rows=rows)


def _labels(card: Card) -> Node:
    """Return the record set of the classes."""
    rows = [{"name": name} for name in card.targets or (NORMAL, ANOMALY)]
    found = _record_set("labels", "The classes of items.", fields={"name": "name of the class"}, rows=rows)
    return found | {"dataType": "sc:Enumeration", "key": {"@id": "labels/name"}}


def _counts(card: Card) -> Iterator[Node]:
    """Yield the record set of the official counts, if there are any; its fields are public columns, label and items."""
    columns = dict.fromkeys(name for count in card.expected for name in count.columns)
    fields = {name: card.columns.get(name, name) for name in columns}
    rows: list[dict[str, str | int]] = [
        {
            **{name: count.columns.get(name, "") for name in columns},
            "label": count.label or "",
            "items": count.items,
        }
        for count in card.expected
    ]
    if rows:
        fields |= {"label": "counts items with this label alone; empty: all", "items": "number of items"}
        yield _record_set("counts", "Official number of items in each group.", fields=fields, rows=rows)


def _responsible(card: Card) -> Node:
    """Return what the card states of the data's use, origin and limits."""
    unchecked = [
        f"{remote.file} ({remote.url}) belongs to the release, but its checksum is not known, so it is no FileObject here"
        for remote in _unique(card)
        if not remote.md5
    ]
    inner = [f"official SHA-256 of {source}: {digest}" for source, digest in card.contents.items()]
    use = (
        f"benchmarking anomaly detection on {card.modality}: training on normal items, scoring of test items"
    )
    if card.targets:
        use = f"benchmarking classification of {card.modality} into {', '.join(card.targets)}"
    origin = "see the publication in citeAs"
    if card.generated:
        origin = "generated by asdbench on the user's machine, from models and a seed; no recordings"
    return {
        "rai:dataUseCases": [use],
        "rai:dataCollection": origin,
        "rai:dataPreprocessingProtocol": _reading(card),
        "rai:dataLimitations": [*card.known_leaks, *card.notes, *unchecked, *inner],
    }


def _record_set(
    name: str, meaning: str, *, fields: Mapping[str, str], rows: Sequence[Mapping[str, str | int]]
) -> Node:
    """Return a record set that holds its records.

    Args:
        name: Its name.
        meaning: What it describes.
        fields: Name of each field -> its meaning.
        rows: The records, by names of fields.
    """
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": meaning,
        "field": [
            {
                "@type": "cr:Field",
                "@id": _id(name, field),
                "name": field,
                "description": meant,
                "dataType": _kind(name, field),
            }
            for field, meant in fields.items()
        ],
        "data": [{_id(name, field): value for field, value in row.items()} for row in rows],
    }


def _kind(record_set: str, field: str) -> str | list[str]:
    if (record_set, field) == ("counts", "items"):
        return "sc:Integer"
    return ["sc:Text", "cr:Label"] if (record_set, field) == ("counts", "label") else "sc:Text"


def _id(record_set: str, field: str) -> str:
    # A column of the user's own table may have any name, and an identifier is part of an address.
    return f"{record_set}/{quote(field, safe='')}"
