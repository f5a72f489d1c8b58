#!/usr/bin/env python3
"""What a device may tell the coordinator, field by field: one that is added must be classified here.

usage: test_schema.py TRIBUTARY_PROTO

Every field of a message that travels from device to coordinator is one of
    public    the coordinator knows it already, or it is the same for whatever data the device has
    random    drawn by the device, independent of its data
    noised    a function of the noised vector, or of the masked one
    off       of the raw data: only with privacy.mode = off
Nothing else may leave a device (docs/privacy.md).
"""
import re
import sys

ALLOWED = {
    "Enrol": {"sign_key": "random", "software": "public", "next_key": "random",
              "next_sign_key": "random"},
    "Ready": {"population": "public", "generation": "public", "version": "public",
              "digest": "public", "spooled_update_id": "random", "spooled_round": "public",
              "software": "public", "is_busy": "public", "secagg_round": "public",
              "key_sequence": "public"},
    "KeysReply": {"sequence": "public", "code": "public"},
    "TaskReply": {"round_id": "public", "code": "public"},
    "SecaggStep": {"round_id": "public", "kind": "public", "size": "public"},
    "ModelGet": {"digest": "public", "offset": "public", "takes_runs": "public"},
    "Installed": {"generation": "public", "version": "public", "digest": "public",
                  "code": "public"},
    "UploadBegin": {"update_id": "random", "round_id": "public", "size": "public",
                    "digest": "noised", "base_digest": "public", "arch_digest": "public",
                    "weight": "off"},
    "UploadEnd": {"update_id": "random"},
}
# What the coordinator says, what both say only inside others, and what never is on the fleet port.
NOT_FROM_DEVICES = {"EnrolReply", "KeyStatement", "KeyLink", "Keys", "Pace", "Encoding", "SecaggPlan", "Fit", "Tally", "Hyper", "Task",
                    "RoundEnd", "SecaggOpen", "Metric", "Manifest", "NewVersion", "Credit", "Receipt",
                    "AdminRequest", "AdminField", "AdminRow", "AdminReply"}


def messages(text):
    """{message: {field: type}}, fields of a oneof among the others."""
    text = re.sub(r"//[^\n]*", "", text)
    found = {}
    for head in re.finditer(r"\bmessage\s+(\w+)\s*\{", text):
        depth, at = 1, head.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        body = text[head.end():at]
        fields = re.findall(r"(?:repeated\s+)?([\w.]+|map\s*<[^>]*>)\s+(\w+)\s*=\s*\d+", body)
        found[head[1]] = {name: kind for kind, name in fields}
    return found


def complaints(text):
    found = messages(text)
    for name in sorted(set(found) - set(ALLOWED) - NOT_FROM_DEVICES):
        yield f"message {name} is not classified"
    for name in sorted((set(ALLOWED) | NOT_FROM_DEVICES) - set(found)):
        yield f"message {name} is classified and does not exist"
    for name in sorted(set(ALLOWED) & set(found)):
        for field in sorted(set(found[name]) - set(ALLOWED[name])):
            yield f"{name}.{field} may leave a device and is not classified"
        for field in sorted(set(ALLOWED[name]) - set(found[name])):
            yield f"{name}.{field} is classified and does not exist"
        for field, kind in found[name].items():
            if kind in ("float", "double"):
                yield f"{name}.{field} is a real number: no measurement may leave a device"


def main():
    with open(sys.argv[1]) as file:
        text = file.read()
    planted = [
        ("message UploadEnd {", "message UploadEnd { double loss = 2;"),
        ("message UploadEnd {", "message UploadEnd { repeated uint64 rows = 2;"),
        ("message TaskReply {", "message TaskReply { oneof more { string note = 3; }"),
        ("message UploadEnd {", "message Report { uint64 rows = 1; } message UploadEnd {"),
        ("uint32 weight = 7;", ""),
    ]
    for old, new in planted:  # the check checked: each of these must be found
        if old not in text or not list(complaints(text.replace(old, new))):
            sys.exit(f"the check does not see: {new or 'no ' + old}")
    found = list(complaints(text))
    sys.exit("\n".join(found) if found else 0)


main()
