"""Reads dataset and model files (safetensors) with the standard library alone."""
import array
import json
import struct

CODES = {"U8": "B", "I8": "b", "I16": "h", "U16": "H", "I32": "i", "U32": "I", "I64": "q", "U64": "Q", "F32": "f", "F64": "d"}


class TensorFile:
    """metadata: dict of strings; file["name"]: array.array; shapes["name"]: list."""

    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        self.metadata = header.pop("__metadata__", {})
        self.shapes = {name: entry["shape"] for name, entry in header.items()}
        self.tensors = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            values = array.array(CODES[entry["dtype"]]) if entry["dtype"] in CODES else array.array("B")
            values.frombytes(data[8 + length + begin : 8 + length + end])
            self.tensors[name] = values

    def __getitem__(self, name):
        return self.tensors[name]

    def __contains__(self, name):
        return name in self.tensors

    def texts(self, offsets_name, text_name):
        """The strings of a text column."""
        offsets, text = self[offsets_name], self[text_name].tobytes()
        return [text[a : b - 1].decode("utf-8") for a, b in zip(offsets, offsets[1:])]
