"""Valid documents with a few things done to them: bytes changed, parts cut, repeated or moved, words put in."""

from hypothesis import strategies as st

_PLACES = 2**16
_NUM_KINDS = 10


def mutated(target):
    """A strategy: one of a target's documents after up to six mutations, or now and then any bytes."""
    number = st.integers(0, _PLACES - 1)
    step = st.tuples(st.integers(0, _NUM_KINDS - 1), number, number, number)
    changed = st.builds(
        lambda document, steps: after(document, steps, target),
        st.sampled_from(target.documents),
        st.lists(step, max_size=6),
    )
    return st.one_of(changed, changed, changed, changed, changed, changed, st.binary(max_size=400))


def after(data, steps, target):
    """The document after these mutations."""
    for step in steps:
        data = _step(data, step, target)[: target.max_bytes]
    return data


def _step(data, step, target):
    kind, place, extent, value = step
    start = place * (len(data) + 1) // _PLACES
    end = min(len(data), start + extent % 97)
    token = target.tokens[value % len(target.tokens)]
    other = target.documents[value % len(target.documents)]
    if target.joint and 3 <= kind <= 7:  # so that what comes of it is still a document, only another one
        start, end = _after_joint(data, start, target.joint), _after_joint(data, end, target.joint)
    match kind:
        case 0:  # one byte
            return data[:start] + bytes([value % 256]) + data[start + 1 :]
        case 1:  # one bit
            return data[:start] + bytes(byte ^ 1 << value % 8 for byte in data[start : start + 1]) + data[start + 1 :]
        case 2:
            return data[:start]
        case 3:
            return data[:start] + data[end:]
        case 4:  # once more, or very often
            return data[:end] + data[start:end] * (value % 5 if extent % 10 else value % 500) + data[end:]
        case 5:
            return data[:start] + token + data[start:]
        case 6:
            return data[:start] + token * (extent % 3000) + data[start:]
        case 7:
            return data[:start] + token + data[end:]
        case 8:
            return data[:start] + other[extent * (len(other) + 1) // _PLACES :]
        case _:
            return data[end:] + data[start:end] + data[:start]


def _after_joint(data, place, joint):
    found = data.find(joint, place)
    return place if found < 0 else found + len(joint)
