"""Ways to damage the content of a file: its bytes, its text, or what its format is made of.

An edit is a function `(random, content) -> content`. Those of a format keep the rest of the file right (checksums of archives,
lengths, the syntax of JSON), so that the damage reaches the code behind the first check. `EDITS` lists them by suffix.
"""

import contextlib
import csv
import io
import itertools
import json
import re
import sqlite3
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import h5py
import numpy as np
import onnx
import torch
import yaml

Edit = Callable[[Random, bytes], bytes]

NUMBERS = (0, 1, -1, 2, 7, 127, 255, 256, 32767, 65535, 10**6, 2**31 - 1, -(2**31), 2**32 - 1, 2**40, 2**63 - 1, -(2**63))
OTHER_FILES = ("/etc/passwd", "/dev/zero", "/proc/self/mem")
"""What damage may name in place of a file; a refusal names it then."""
TOKENS = (
    *OTHER_FILES, "", " ", "nan", "-nan", "inf", "-inf", "1e999", "-1e308", "1e-320", "-0", "0x10", "1_000", "1,5", "٣",
    "9" * 400, "9" * 5000, "null", "true", "[]", "{}", "x", "a\nb", "a\rb", "a\tb", '"', "'", '""', "\0", "\u2028", "\x1b[2J",
    "\ufeff", "x" * 3000, "x" * 140_000, "../../../../etc/passwd", "..", ".", "/", "~", "${oc.env:HOME}", "*", "?",
    *(str(number) for number in NUMBERS),
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, "", "x", "a\nb", [], {}, [[]], [None], {"": None}, [1, 2, 3], "nan", "../..", "\ud800", 0.5, -0.0, 1e308,
    float("nan"), float("inf"), 10**30, 10**400, ["x"] * 1000, {"_target_": "os.system"}, {"_target_": []}, *NUMBERS,
)  # fmt: skip


def flip_bits(random: Random, content: bytes) -> bytes:
    """One to eight bits, anywhere."""
    damaged = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8))):
        damaged[_place(random, content)] ^= 1 << random.randrange(8)
    return bytes(damaged)


def set_bytes(random: Random, content: bytes) -> bytes:
    """Up to 16 bytes in a row."""
    start, count = _place(random, content), random.choice((1, 2, 4, 16))
    filling = random.choice((b"\0", b"\xff", b"\x80", None))
    return content[:start] + (filling * count if filling else random.randbytes(count)) + content[start + count :]


def truncate(random: Random, content: bytes) -> bytes:
    """The end is missing, a little or a lot of it."""
    return content[: random.choice((_place(random, content), max(0, len(content) - random.randrange(1, 64))))]


def repeat_block(random: Random, content: bytes) -> bytes:
    """A block stands there several times."""
    start, end = _block(random, content)
    return content[:end] + content[start:end] * random.choice((1, 1, 3, 50)) + content[end:]


def remove_block(random: Random, content: bytes) -> bytes:
    """A block is missing."""
    start, end = _block(random, content)
    return content[:start] + content[end:]


def insert_block(random: Random, content: bytes) -> bytes:
    """Bytes too many: random ones, or a block from elsewhere in the file."""
    start, end = _block(random, content)
    block = random.choice((random.randbytes(end - start), content[start:end]))
    place = _place(random, content)
    return content[:place] + block + content[place:]


def move_block(random: Random, content: bytes) -> bytes:
    """A block is written over another one."""
    start, end = _block(random, content)
    place = _place(random, content)
    return content[:place] + content[start:end] + content[place + end - start :]


def set_integer(random: Random, content: bytes) -> bytes:
    """A whole number of 1 to 8 bytes, of either byte order, becomes 0, negative, or huge; mostly one near the start."""
    kind = random.choice(("<b", "<h", ">h", "<i", ">i", "<q", ">q"))
    size = struct.calcsize(kind)
    if len(content) < size:
        return content
    start = random.randrange(min(len(content), random.choice((64, 512, len(content)))) - size + 1)
    number = random.choice(NUMBERS) & (2 ** (8 * size) - 1)
    return content[:start] + int(number).to_bytes(size, "little" if kind[0] == "<" else "big") + content[start + size :]


def empty_or_odd(random: Random, content: bytes) -> bytes:
    """Nothing of the file, or something quite different."""
    return random.choice((b"", b"\0" * 512, content[::-1], random.randbytes(300), b"\xff\xfe" + content, content * 3))


BYTES: tuple[Edit, ...] = (
    *(flip_bits, flip_bits, set_bytes, set_bytes, truncate, repeat_block, remove_block, insert_block, move_block),
    *(set_integer, set_integer, set_integer, empty_or_odd),
)


def edit_text(random: Random, content: bytes) -> bytes:
    """A token or a line is another one, missing, or there twice; or the text is encoded otherwise."""
    text = content.decode("utf-8", errors="replace")
    kind = random.randrange(8)
    if kind == 0:
        return text.encode(random.choice(("utf-16", "utf-8-sig", "utf-7", "cp037")), errors="replace")
    if kind == 1:
        return text.replace("\n", random.choice(("\r", "\r\n", "\0", "", "\n\n", "\x0b"))).encode()
    parts = re.split(r"(\n)" if kind < 4 else r"([\s,;:=\[\]{}\"]+)", text)
    place = random.randrange(len(parts))
    parts[place] = random.choice((random.choice(TOKENS), random.choice(TOKENS), "", parts[place] * 2, random.choice(parts)))
    return "".join(parts).encode()


def edit_csv(random: Random, content: bytes) -> bytes:
    """A cell, a row or a column is another one, missing, or there twice."""
    rows = list(csv.reader(io.StringIO(content.decode("utf-8", errors="replace"))))
    row = random.choice(rows) if random.random() < 0.7 else rows[0]
    place = random.randrange(max(len(row), 1))
    kind = random.randrange(8)
    if kind < 3 and row:
        row[place] = random.choice(TOKENS)
    elif kind == 3:
        row.insert(place, random.choice(TOKENS))
    elif kind == 4:
        del row[place : place + random.choice((1, 3, 99))]
    elif kind == 5:
        rows.insert(random.randrange(len(rows) + 1), list(random.choice(rows)))
    elif kind == 6:
        for each in rows:
            each[place : place + 1] = random.choice(([], each[place : place + 1] * 2))
    else:
        rows = random.choice((rows[:1], rows[1:], rows[::-1], [[]] + rows, rows * 40))
    text = io.StringIO()
    csv.writer(text, quoting=random.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))).writerows(rows)
    return text.getvalue().encode("utf-8", errors="surrogatepass")


def edit_tree(random: Random, tree: Any) -> Any:
    """A tree of plain containers in which one node is another value, missing, there twice, or nested deeply."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    walk(tree)
    if not places or random.random() < 0.03:
        return random.choice(VALUES)
    node, key = random.choice(places)
    kind = random.randrange(10)
    if kind < 5:
        node[key] = random.choice(VALUES)
    elif kind == 5:
        del node[key]
    elif kind == 6:
        for _ in range(random.choice((1, 30, 900))):
            node[key] = random.choice(([node[key]], {"x": node[key]}))
    elif kind == 7:
        other, place = random.choice(places)
        with contextlib.suppress(LookupError):
            node[key] = other[place] if isinstance(other[place], (str, int, float, type(None))) else str(other[place])
    elif kind == 8 and isinstance(node, dict):
        node[random.choice((f"{key} ", f"{key}_", "", "_target_", "__class__"))] = node.pop(key)
    elif isinstance(node[key], (int, float)) and not isinstance(node[key], bool):
        node[key] = random.choice((-node[key], node[key] * 10**9, node[key] + 0.5, str(node[key]), [node[key]]))
    else:
        node[key] = str(node[key])
    return tree


def edit_json(random: Random, content: bytes) -> bytes:
    """The tree of a JSON file is another one, or nested deeper than a parser goes."""
    if random.random() < 0.05:
        return random.choice(
            (b"[" * 100_000, b'{"a":' * 100_000, b"9" * 100_000, b'"' + b"x" * 10**6 + b'"', b"[" + b"1," * 10**5)
        )
    return json.dumps(edit_tree(random, json.loads(content))).encode("utf-8", errors="surrogatepass")


def edit_yaml(random: Random, content: bytes) -> bytes:
    """The tree of a YAML file is another one, or grows by its aliases."""
    if random.random() < 0.05:
        names = "abcdefgh"
        laughs = "".join(f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in itertools.pairwise(names))
        return ("a: &a [x]\n" + laughs).encode() + random.choice((b"", content))
    return yaml.safe_dump(edit_tree(random, yaml.safe_load(content))).encode()


def edit_zip(random: Random, content: bytes) -> bytes:
    """A member of an archive is damaged, missing or there twice, and the archive is whole."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    place = random.randrange(len(members))
    name, member = members[place]
    kind = random.randrange(10)
    if random.random() < 0.01:
        return _bomb(members, place)
    if kind < 7:
        edits = (edit_npy,) if name.endswith(".npy") and random.random() < 0.6 else BYTES
        members[place] = name, random.choice(edits)(random, member)
    elif kind == 7:
        del members[place]
    elif kind == 8:
        members.append((random.choice((name, f"{name}x", "../x", "a/" + name, "")), random.choice(members)[1]))
    else:
        members[place] = random.choice((name.upper(), "x.npy", name.removesuffix(".npy"))), member
    out = io.BytesIO()
    method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with _quiet_zip(out, method) as archive:
        for name, member in members:
            archive.writestr(name, member)
    return out.getvalue()


def _bomb(members: list[tuple[str, bytes]], place: int) -> bytes:
    """An archive in which one member unpacks to 1.5 GB of zeros."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number, (name, member) in enumerate(members):
            if number != place:
                archive.writestr(name, member)
                continue
            with archive.open(name, "w", force_zip64=True) as file:
                np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (1500, 125_000)})
                for _ in range(1500):
                    file.write(bytes(10**6))
    return out.getvalue()


def edit_npy(random: Random, content: bytes) -> bytes:
    """The header of an array says another shape, type or order, or is no header; the numbers stay."""
    if not content.startswith(b"\x93NUMPY\x01"):
        return random.choice(BYTES)(random, content)
    (length,) = struct.unpack_from("<H", content, 8)
    header, numbers = content[10 : 10 + length].decode("latin-1").strip(), content[10 + length :]
    kind = random.randrange(9)
    if kind < 3:
        sides = [str(random.choice((0, 1, 2, 3, 68, -1, 10**5, 2**31, 2**62, 10**30))) for _ in range(random.randrange(1, 5))]
        header = re.sub(r"'shape': \([^)]*\)", f"'shape': ({', '.join(sides)},)", header)
    elif kind < 6:
        kinds = ("'|O'", "'<c16'", "'<U100000000'", "'<M8[ns]'", "'|V0'", "[('a', '<f8')]", "'<f2'", "'>f8'", "'|b1'", "'|S0'")
        descr = random.choice(
            (*kinds, "'<i8'", "'<U3'", "'<m8'", "None", "''", "[('x', '|O')]", "('<f8', (3, 10**9))", "'<f16'")
        )
        header = re.sub(r"'descr': ('[^']*'|\[.*?\])", f"'descr': {descr}", header)
    elif kind == 6:
        header = header.replace("'fortran_order': False", f"'fortran_order': {random.choice(('True', '7', 'None'))}")
    elif kind == 7:
        header = random.choice(
            ("(" * 3000, "{}", "[]", "{'shape': (3,)}", "__import__('os')", "-" * 9000, "{'a':" * 900, "\0", "é" * 99)
        )
    else:
        header = edit_text(random, header.encode()).decode("latin-1")[:60_000]
    version = random.choice((b"\x01\x00",) * 6 + (b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    size = struct.pack("<H" if version[0] in (1, 9) else "<I", random.choice((len(header),) * 9 + (65535,)))
    return b"\x93NUMPY" + version + size + header.encode("latin-1", errors="replace") + numbers


def edit_mat(random: Random, content: bytes) -> bytes:
    """An element of a MATLAB file, packed or not, is damaged, mostly in its headers, and packed again."""
    elements, place = [], 128
    while place + 8 <= len(content):
        kind, size = struct.unpack_from("<II", content, place)
        elements.append((kind, content[place + 8 : place + 8 + size]))
        place += 8 + size
    number = random.randrange(len(elements))
    kind, element = elements[number]
    is_packed = kind == 15
    if is_packed:
        element = zlib.decompress(element)
    if random.random() < 0.6 and len(element) > 8:
        start = 4 * random.randrange(min(len(element), random.choice((64, 96, 200, len(element)))) // 4)
        value = random.choice((*range(19), *NUMBERS)) & 0xFFFFFFFF
        element = element[:start] + struct.pack("<I", value) + element[start + 4 :]
    else:
        element = random.choice(BYTES)(random, element)
    if is_packed:
        element = zlib.compress(element)
    elements[number] = kind, element
    if random.random() < 0.1:
        elements.append(random.choice(elements))
    return content[:128] + b"".join(struct.pack("<II", kind, len(element)) + element for kind, element in elements)


def edit_png(random: Random, content: bytes) -> bytes:
    """A chunk of a PNG picture is damaged, missing or there twice, and its checksum is right."""
    chunks, place = [], 8
    while place + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, place)
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    number = random.randrange(len(chunks)) if random.random() < 0.6 else 0
    name, chunk = chunks[number]
    kind = random.randrange(8)
    if kind < 5 and chunk:
        chunks[number] = name, random.choice((set_integer, random.choice(BYTES)))(random, chunk)
    elif kind == 5:
        del chunks[number]
    elif kind == 6:
        chunks.insert(random.randrange(len(chunks)), chunks[number])
    else:
        chunks[number] = random.choice((b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"acTL", b"fdAT", b"IDAT", b"zTXt")), chunk
    framed = (
        struct.pack(">I", len(chunk)) + name + chunk + struct.pack(">I", zlib.crc32(name + chunk)) for name, chunk in chunks
    )
    return content[:8] + b"".join(framed)


def edit_jpeg(random: Random, content: bytes) -> bytes:
    """A segment of a JPEG picture says another size, number of components or table, is missing, or there twice."""
    starts = [found.start() for found in re.finditer(rb"\xff[\xc0-\xc4\xda-\xdd\xe0-\xef]", content)]
    if not starts:
        return random.choice(BYTES)(random, content)
    start = random.choice(starts)
    size = int.from_bytes(content[start + 2 : start + 4], "big") + 2
    kind = random.randrange(4)
    if kind == 0:
        return content[:start] + content[start + size :]
    if kind == 1:
        return content[: start + size] + content[start:]
    place = start + random.randrange(2, max(3, min(size, 20)))
    number = random.choice((0, 1, 255, 65535, 65500, 32768, random.randrange(65536)))
    return content[:place] + number.to_bytes(2, "big") + content[place + 2 :]


def edit_sqlite(random: Random, content: bytes) -> bytes:
    """A database in which a cell, a column, a row or a table is another one, missing, there twice, or without end."""
    with contextlib.closing(sqlite3.connect(":memory:")) as base:
        base.deserialize(content)
        tables = [row[0] for row in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = random.choice(tables)
        column = random.choice([row[1] for row in base.execute(f"PRAGMA table_info({table})")])
        kind = random.randrange(9)
        if kind < 4:
            values = (
                None,
                "x",
                "a\nb",
                "",
                b"\0\xff",
                1e308,
                -1.5,
                "9" * 999,
                "/dev/zero",
                "../x.jpg",
                "\0",
                2**63 - 1,
                -(2**63),
                0,
            )
            value = random.choice((*values, float("inf"), "x" * 10**6))
            base.execute(f"CREATE TABLE other AS SELECT * FROM {table}")  # without its keys and types
            base.execute(f"UPDATE other SET {column} = ? WHERE rowid = ?", (value, random.choice((1, 2))))
            base.execute(f"DROP TABLE {table}")
            base.execute(f"ALTER TABLE other RENAME TO {table}")
        elif kind == 4:
            base.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO {random.choice(('other', 'YAW', 'x'))}_")
        elif kind == 5:
            base.execute(f"DROP TABLE {table}")
        elif kind == 6:
            base.execute(f"CREATE TABLE other AS SELECT * FROM {table} UNION ALL SELECT * FROM {table}")
            base.execute(f"DROP TABLE {table}")
            base.execute(f"ALTER TABLE other RENAME TO {table}")
        elif kind == 7:
            base.execute(f"DELETE FROM {table} WHERE rowid >= {random.choice((0, 1, 2))}")
        else:
            columns = ", ".join(f"n AS {row[1]}" for row in base.execute(f"PRAGMA table_info({table})"))
            base.execute(f"DROP TABLE {table}")
            endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r)"
            base.execute(f"CREATE VIEW {table} AS {endless} SELECT {columns} FROM r")
        base.commit()
        return base.serialize()


def edit_checkpoint(random: Random, content: bytes) -> bytes:
    """A checkpoint with another description, or with tensors of another kind, shape or number."""
    file = torch.load(io.BytesIO(content), weights_only=True)
    state = file.get("state_dict", file)
    if random.random() < 0.6 and "headpose" in file:
        file["headpose"] = edit_tree(random, file["headpose"])
    elif random.random() < 0.15:
        file = edit_tree(random, dict(file))
    else:
        key = random.choice(list(state))
        kind = random.randrange(4)
        if kind == 0:
            del state[key]
        elif kind == 1:
            state[random.choice(("model.x", "x", "", 7, None))] = state[key]
        else:
            state[key] = _odd_tensor(random, state[key])
    out = io.BytesIO()
    torch.save(file, out, _use_new_zipfile_serialization=content.startswith(b"PK") or random.random() < 0.2)
    return out.getvalue()


def _odd_tensor(random: Random, tensor: Any) -> Any:
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: tensor.to(torch.complex64),
        lambda: tensor.float().to_sparse(),
        lambda: tensor.to("meta"),
        lambda: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8),
        lambda: tensor.bool(),
        lambda: tensor.to(random.choice((torch.int64, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn))),
        lambda: torch.zeros(1).expand(random.choice((10**9, 10**12))),
        lambda: tensor.flatten()[:0],
        lambda: tensor[None],
        lambda: tensor.float() * float("nan"),
        lambda: tensor.float() * 1e38,
        lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
        lambda: torch.nn.Parameter(tensor.float()),
        lambda: random.choice((None, "x", [], {}, 7, [tensor])),
    )
    return random.choice(kinds)()


def edit_onnx(random: Random, content: bytes) -> bytes:
    """A network with other nodes, attributes, tensors, inputs, outputs or description, or with a loop."""
    model = onnx.load_from_string(content)
    graph = model.graph
    node = random.choice(graph.node)
    tensor = random.choice(graph.initializer)
    kind = random.randrange(16)
    if kind == 0:
        others = (
            "Loop",
            "If",
            "Scan",
            "Relu",
            "Reshape",
            "Expand",
            "Tile",
            "ConstantOfShape",
            "Range",
            "Resize",
            "Pad",
            "Einsum",
        )
        node.op_type = random.choice((*others, "NonZero", "Gather", "Nothing", "SequenceEmpty", "Where", "Optional", ""))
    elif kind == 1:
        node.domain = random.choice(("com.microsoft", "evil", "ai.onnx.ml", "ai.onnx"))
    elif kind == 2 and node.attribute:
        attribute = random.choice(node.attribute)
        attribute.i = random.choice(NUMBERS)
        if attribute.ints:
            attribute.ints[random.randrange(len(attribute.ints))] = random.choice(NUMBERS)
        attribute.type = random.choice((attribute.type, attribute.type, random.randrange(15)))
    elif kind == 3:
        tensor.dims[:] = [random.choice((0, 1, 3, -1, 10**5, 2**40)) for _ in range(random.randrange(5))]
    elif kind == 4:
        tensor.data_type = random.randrange(25)
    elif kind == 5:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=random.choice(("../x", "/etc/passwd", "x", "given.onnx")))
    elif kind == 6:
        names = [name for each in graph.node for name in (*each.input, *each.output)]
        place = random.choice((node.input, node.output))
        if place:
            place[random.randrange(len(place))] = random.choice((*names, ""))
    elif kind == 7:
        value = random.choice((*graph.output, *graph.input))
        for dim in value.type.tensor_type.shape.dim:
            dim.dim_value = random.choice((0, 1, 2, 3, 10**6, 2**40))
    elif kind == 8:
        random.choice((*graph.output, *graph.input)).type.tensor_type.elem_type = random.randrange(20)
    elif kind == 9:
        graph.output.add().CopyFrom(random.choice(graph.output))
        graph.output[-1].name = random.choice((node.output[0], "other", "spread", "pose"))
    elif kind == 10:
        del random.choice((graph.node, graph.initializer, graph.output, graph.input))[0]
    elif kind in (11, 12):
        for entry in model.metadata_props:
            if random.random() < 0.9:
                entry.value = json.dumps(edit_tree(random, json.loads(entry.value)))
            else:
                entry.value = edit_text(random, entry.value.encode()).decode("utf-8", errors="replace")
    elif kind == 13:
        model.ir_version = random.choice(NUMBERS[:12])
        model.opset_import[0].version = random.choice((0, 1, 7, 13, 20, 99, 2**31 - 1))
    elif kind == 14:
        _add_constant(random, model, node)
    else:
        _add_loop(random, model)
    return bytes(model.SerializeToString())


def _add_constant(random: Random, model: Any, node: Any) -> None:
    """A node's constant, which lies in another file or is huge, in place of one of its inputs."""
    value = onnx.helper.make_tensor("constant", onnx.TensorProto.FLOAT, [1], [1.0])
    if random.random() < 0.5:
        value.ClearField("float_data")
        value.data_location = onnx.TensorProto.EXTERNAL
        value.external_data.add(key="location", value=random.choice(("x", "../x", "/etc/passwd")))
        made = onnx.helper.make_node("Constant", [], ["made"], value=value)
    else:
        shape = onnx.helper.make_tensor("shape", onnx.TensorProto.INT64, [2], [random.choice((10**5, 2**31)), 10**5])
        model.graph.initializer.append(shape)
        made = onnx.helper.make_node("ConstantOfShape", ["shape"], ["made"])
    model.graph.node.insert(0, made)
    if node.input:
        node.input[random.randrange(len(node.input))] = "made"


def _add_loop(random: Random, model: Any) -> None:
    """A loop without end, or one that gathers without end, behind the network."""
    make, kinds = onnx.helper, onnx.TensorProto
    body = make.make_graph(
        [make.make_node("Identity", ["go"], ["on"]), make.make_node("Identity", ["state"], ["next"])],
        "body",
        [make.make_tensor_value_info("i", kinds.INT64, []), make.make_tensor_value_info("go", kinds.BOOL, [])]
        + [make.make_tensor_value_info("state", kinds.FLOAT, None)],
        [make.make_tensor_value_info("on", kinds.BOOL, []), make.make_tensor_value_info("next", kinds.FLOAT, None)],
    )
    model.graph.initializer.append(make.make_tensor("always", kinds.BOOL, [], [True]))
    model.graph.initializer.append(make.make_tensor("count", kinds.INT64, [], [random.choice((2**62, 10**9))]))
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == "pose":
                node.output[place] = "before"
    model.graph.node.append(make.make_node("Loop", ["count", "always", "before"], ["pose"], body=body))


def edit_h5(random: Random, content: bytes) -> bytes:
    """A file of weights in which an array is of another kind or shape, missing, linked, or not in the file."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name = random.choice(names)
        array = file[name][()]
        del file[name]
        kind = random.randrange(12)
        if kind == 0:
            file[name] = random.choice((np.array(b"x"), "text", np.zeros(3, complex), np.zeros(2, [("a", "f4")]), np.zeros(0)))
        elif kind == 1:
            file.create_dataset(
                name, shape=random.choice(((10**6, 10**6), (2**40,), (30_000, 30_000))), dtype="f4", chunks=True
            )
        elif kind == 2:
            file.create_dataset(name, data=np.zeros((3000, 3000), "f4"), compression="gzip", chunks=(3000, 3000))
        elif kind == 3:
            file[name] = h5py.SoftLink(random.choice((f"/{name}", "/nothing", "/")))
        elif kind == 4:
            file[name] = h5py.ExternalLink(random.choice(("/etc/passwd", "x.h5", "/dev/zero")), "/x")
        elif kind == 5:
            file.create_dataset(
                name, shape=(array.size,), dtype="f4", external=[(random.choice(("/etc/passwd", "/dev/zero")), 0, 2**40)]
            )
        elif kind == 6:
            file[name] = random.choice(
                (array.T, array[None], array.astype("f8"), array.astype("i2"), array * np.nan, array[..., :0])
            )
        elif kind == 7:
            file.create_group(name)
        elif kind == 8:
            file[f"{name}{random.choice(('x', '/y', ' '))}"] = array
        elif kind == 9:
            file.create_dataset(
                name, shape=(3,), dtype=random.choice((h5py.string_dtype(), h5py.ref_dtype, h5py.vlen_dtype("f4")))
            )
        elif kind == 10:
            file[name] = array
            file.attrs["layer_names"] = random.choice((np.zeros(0), "x", h5py.Empty("f4")))
        else:
            group = file[name.split("/")[0]]
            group["loop"] = file["/"]  # a folder that holds itself
            file[name] = array
    return buffer.getvalue()


def edit_safetensors(random: Random, content: bytes) -> bytes:
    """A .safetensors file whose header, of the right length, says something else."""
    (length,) = struct.unpack_from("<Q", content)
    header = edit_json(random, content[8 : 8 + length])
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


EDITS: dict[str, tuple[Edit, ...]] = {
    ".mat": (edit_mat,),
    ".npz": (edit_zip,),
    ".npy": (edit_npy,),
    ".csv": (edit_csv, edit_csv, edit_text),
    ".txt": (edit_text,),
    ".pts": (edit_text,),
    ".cal": (edit_text,),
    ".json": (edit_json, edit_json, edit_text),
    ".yaml": (edit_yaml, edit_yaml, edit_text),
    ".png": (edit_png,),
    ".jpg": (edit_jpeg,),
    ".sqlite": (edit_sqlite,),
    ".ckpt": (edit_checkpoint, edit_checkpoint, edit_zip),
    ".pkl": (edit_checkpoint, edit_checkpoint),
    ".onnx": (edit_onnx,),
    ".h5": (edit_h5,),
    ".safetensors": (edit_safetensors,),
}


def damage(random: Random, content: bytes, suffix: str) -> tuple[bytes, str]:
    """Damaged content, and the names of the edits: three in five are of the format, the others of bytes."""
    names: list[str] = []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if not content:
            break
        edits = EDITS.get(suffix.lower(), ())
        edit = random.choice(edits if edits and not names and random.random() < 0.6 else BYTES)
        try:
            content = edit(random, content)
        except Exception:  # of a file that cannot be taken apart, or with a value that the format cannot hold
            edit = flip_bits
            content = edit(random, content)
        names.append(edit.__name__)
    return content, " ".join(names)


def _place(random: Random, content: bytes) -> int:
    """A byte; as often one of the first 256 as one of all."""
    return random.randrange(max(1, min(len(content), random.choice((256, len(content))))))


def _block(random: Random, content: bytes) -> tuple[int, int]:
    start = _place(random, content)
    return start, min(len(content), start + random.choice((1, 2, 4, 8, 64, 1024)))


@contextlib.contextmanager
def _quiet_zip(out: io.BytesIO, method: int) -> Any:
    """An archive to write, without warnings of a name that is there twice."""
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "w", method) as archive:
        yield archive
