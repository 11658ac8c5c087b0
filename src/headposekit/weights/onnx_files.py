"""Exported networks: ONNX and torch.export files, and the reading of the former without trust.

They take pictures (N, S, S, 3) uint8 RGB and give `pose`, (N, 3) in degrees; a network that says how sure it is also gives
`spread`, (N, 3), of the angles, and `rotation_spread`, (N, 1), in degrees. What a file is stands as JSON under the key
`headposekit` of its metadata, as in a checkpoint.
"""

import contextlib
import io
import json
import logging
import math
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headposekit.errors import InputError, import_optional, refusing
from headposekit.models.fold import random_pictures
from headposekit.models.network import PoseNetwork, count_parameters
from headposekit.safe_files import MAX_BYTES, check_file, parse_json, read_file
from headposekit.types import Batch, PoseOutput
from headposekit.weights.checkpoint import CARD_VERSION, build_crop

KEY = "headposekit"
EXTRA_FILE = "headposekit.json"
DOMAINS = ("", "ai.onnx")
"""Operators that ONNX itself defines: all that our files are made of."""
OPERATORS = """
    Abs Add And ArgMax ArgMin Atan AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv Cos
    DequantizeLinear Div Einsum Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gelu Gemm
    GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity
    InstanceNormalization IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max MaxPool Mean Min Mish
    Mod Mul Neg Not Or PRelu Pad Pow QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign
    Split Sqrt Squeeze Sub Sum Swish Tanh ThresholdedRelu Tile Transpose Trilu Unsqueeze Where Xor
"""
"""What the networks of this suite and most others come out as: no loops, no branches, nothing random, no text."""
MAX_NODES = 20_000
MAX_VALUES = 2**25
"""In what an operator gives for one picture."""
MAX_PRODUCTS = 2**38
"""Multiplications for one picture; a ResNet-152 at 224 pixels has 2**33."""
TOLERANCE = 1e-3
"""Degrees within which a network in another form has to agree with itself."""


class PictureNetwork(nn.Module):
    """What is exported: pictures to angles.

    Attributes:
        example: two pictures, for tracing; of one, exporters would take the number for fixed.
        output_names: `pose`, and the spreads where there are some.
    """

    def __init__(self, network: PoseNetwork) -> None:
        super().__init__()
        self.network, self.input_size = network.eval(), network.input_size
        self.example = torch.zeros(2, self.input_size, self.input_size, 3, dtype=torch.uint8)
        with torch.no_grad():
            self.output_names = ["pose", "spread", "rotation_spread"][: len(self(self.example))]
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(N, S, S, 3) uint8 RGB to pose (N, 3), and the spreads (N, 3) and (N, 1) where there are some."""
        output = self.network({"image": image.permute(0, 3, 1, 2)})
        if output.spread is None or output.rotation_spread is None:
            return (output.pose,)
        return output.pose, output.spread, output.rotation_spread.unsqueeze(-1)


def in_onnx_runtime(network: PoseNetwork) -> "OnnxNetwork":
    """A network on the CPU in ONNX Runtime, for this process only; compared before it is used.

    torch's older exporter writes it, in half a second where the one that writes files takes five to ten. It follows one
    example, so a network whose way depends on numbers or on the size of the batch fails the comparison. InputError where it
    cannot be translated, or gives other angles then.
    """
    name, buffer = type(network).__name__, io.BytesIO()
    # The exporter's C++ prints the graph where it fails.
    silent = mock.patch.object(torch._C, "_jit_onnx_log", create=True)
    with refusing(name, "cannot run in ONNX Runtime", "it runs in PyTorch"), _quiet(), torch.no_grad(), silent:
        pictures = PictureNetwork(network)
        torch.onnx.export(
            pictures,
            (pictures.example,),
            buffer,  # type: ignore[arg-type]  # the older exporter writes to files in memory as well
            dynamo=False,
            opset_version=18,
            input_names=["image"],
            output_names=pictures.output_names,
            dynamic_axes={name: {0: "N"} for name in ("image", *pictures.output_names)},
        )
        num_nodes = len(_import("onnx").load_from_string(buffer.getvalue()).graph.node)
        if num_nodes > MAX_NODES // 4:  # ONNX Runtime prepares a graph in more than proportional time
            raise InputError(f"{name}: too many operators ({num_nodes:,}) for ONNX Runtime")
        card = {"input": {"size": pictures.input_size}, "params": count_parameters(network)}
        runtime = OnnxNetwork(buffer.getvalue(), name, card=card)
        for count in (1, 3):
            batch = random_pictures(count, pictures.input_size)
            difference = float((runtime(batch).pose - network(batch).pose).abs().max())
            if not difference <= TOLERANCE:  # so written, NaN is refused as well
                raise InputError(f"{name}: other angles in ONNX Runtime, by {difference:.3g} degrees")
        return runtime


def onnx_bytes(network: PoseNetwork, card: dict[str, Any]) -> bytes:
    """The content of an ONNX file that says `card` of itself; InputError where the exporter cannot translate the network."""
    for package in ("onnx", "onnxscript"):
        _import(package)
    with refusing("format=onnx", "cannot express this network", "give format=torch_export"), _quiet():
        pictures = PictureNetwork(network)
        program = torch.onnx.export(
            pictures,
            (pictures.example,),
            dynamo=True,
            verbose=False,
            input_names=["image"],
            output_names=pictures.output_names,
            dynamic_shapes=({0: torch.export.Dim("N")},),
        )
    assert program is not None
    return with_card(program.model_proto.SerializeToString(), card)


def with_card(content: bytes, card: dict[str, Any]) -> bytes:
    """An ONNX file that says this of itself, and nothing else."""
    model = _import("onnx").load_from_string(content)
    del model.metadata_props[:]
    model.metadata_props.add(key=KEY, value=json.dumps(card, allow_nan=False))
    model.producer_name = KEY
    described: bytes = model.SerializeToString()
    return described


def torch_export_bytes(network: PoseNetwork, card: dict[str, Any]) -> bytes:
    """The content of a .pt2 file for `torch.export.load`, the card an extra file; InputError where it cannot be made."""
    buffer = io.BytesIO()
    with refusing("format=torch_export", "cannot follow this network", "give format=onnx"), _quiet():
        pictures = PictureNetwork(network)
        program = torch.export.export(pictures, (pictures.example,), dynamic_shapes=({0: torch.export.Dim("N")},))
        torch.export.save(program, buffer, extra_files={EXTRA_FILE: json.dumps(card, allow_nan=False)})
    return buffer.getvalue()


def int8_bytes(content: bytes, card: dict[str, Any], pictures: NDArray[np.uint8], folder: Path) -> bytes:
    """The same network with its convolutions in whole numbers of eight bits.

    Args:
        content: of an ONNX file of ours.
        card: what the new file says of itself.
        pictures: (n, S, S, 3), faces whose activations set the ranges.
        folder: for the quantiser's files, removed again; InputError where they have no room: ONNX Runtime cuts them short then.
    """
    for package in ("onnx", "onnxruntime"):
        _import(package)
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Faces(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
        """One face at a time."""

        inputs = iter([{"image": picture[None]} for picture in pictures])

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            """The next input, or None."""
            return next(self.inputs, None)

    remedy = "check the room left, also in the system's temporary folder, or leave int8=true out"
    with (
        refusing(folder, "the eight-bit form cannot be made there", remedy),
        tempfile.TemporaryDirectory(prefix="int8.", dir=folder) as own,
        _quiet(),
    ):
        before, after = Path(own) / "float.onnx", Path(own) / "int8.onnx"
        before.write_bytes(content)
        quantize_static(before, after, Faces(), QuantFormat.QDQ, op_types_to_quantize=["Conv"], per_channel=True)
        return with_card(after.read_bytes(), card)


class OnnxNetwork(PoseNetwork):
    """A network in ONNX Runtime, to be tested like any other.

    Args:
        content: of a file of ours; InputError where onnxruntime cannot run it.
        path: its name, for messages.
        threads: of ONNX Runtime; None for as many as torch has.
        card: what it says of itself; None for what the file says.
    """

    def __init__(
        self, content: bytes, path: str | Path, threads: int | None = None, card: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.path = path
        runtime = _import("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.log_severity_level = 4  # what fails is raised
        with refusing(path, "onnxruntime cannot run it", "export it again"):
            self.session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            self.card = card or parse_json(self.session.get_modelmeta().custom_metadata_map[KEY], path)
            self.input_size = int(self.card["input"]["size"])
            self.num_parameters = int(self.card["params"])
            if [(given.name, given.type) for given in self.session.get_inputs()] != [("image", "tensor(uint8)")]:
                raise ValueError("its input is not `image` of eight bits")
            self.estimate(np.zeros((2, self.input_size, self.input_size, 3), dtype=np.uint8))

    def estimate(self, pictures: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
        """(N, S, S, 3) RGB to pose (N, 3), and spreads (N, 3) and (N, 1) if any; InputError where the file gives others.

        Files of earlier versions have no spread of the rotation.
        """
        outputs: Sequence[NDArray[np.float32]] = self.session.run(None, {"image": pictures})
        shapes = [(len(pictures), 3), (len(pictures), 3), (len(pictures), 1)]
        if not outputs or [output.shape for output in outputs] != shapes[: len(outputs)]:
            raise InputError(
                f"{self.path}: its outputs are not `pose` (N, 3) and perhaps `spread` (N, 3) and `rotation_spread` (N, 1); "
                "export it again"
            )
        if any(output.dtype != np.float32 for output in outputs):
            raise InputError(f"{self.path}: its outputs are not 32-bit floating-point numbers; export it again")
        return outputs

    def forward(self, batch: Batch) -> PoseOutput:
        """A batch of B crops to their poses."""
        image = batch["image"]
        outputs = self.estimate(np.ascontiguousarray(image.permute(0, 2, 3, 1).cpu().numpy()))
        pose, *spreads = (torch.from_numpy(output).to(image.device) for output in outputs)
        if not spreads:
            return PoseOutput(pose)
        return PoseOutput(pose, spreads[0], spreads[1].squeeze(-1) if len(spreads) > 1 else spreads[0].norm(dim=-1))


def load_onnx(path: str | Path) -> tuple[OnnxNetwork, dict[str, Any]]:
    """Open an exported file without trusting it: no operators but ONNX's own, no other files, no configuration but ours.

    Returns:
        the network, and what the file says of itself.

    Raises:
        InputError: missing, cut short, not ours, or of another format.
    """
    check_file(path, MAX_BYTES, "exported network")
    onnx = _import("onnx")
    with refusing(path, "not a readable ONNX file, or cut short", "export it again"):
        model = onnx.load_from_string(read_file(path))
        model.DiscardUnknownFields()  # which onnxruntime might know
        card = _card_of(path, model)
        fault = _fault_of_graph(model)
        if fault is None:
            onnx.checker.check_model(model)
            fault = _fault_of_sizes(model, card["input"]["size"])
    if fault is not None:
        raise InputError(f"{path}: {fault}; refused")
    return OnnxNetwork(model.SerializeToString(), path), card


def _card_of(path: str | Path, model: Any) -> dict[str, Any]:
    with refusing(path, "an ONNX file, but not one of export.py", f"its `{KEY}` metadata are needed"):
        card = parse_json({prop.key: prop.value for prop in model.metadata_props}[KEY], path)
        if card["format"] != CARD_VERSION:
            raise InputError(f"export format {card['format']!r:.40}, this version reads {CARD_VERSION}; export it again")
        if build_crop(card["crop"]).size != card["input"]["size"] or not isinstance(card["model"], dict):
            raise InputError("its crop and its input have different sizes; export it again")
        return dict(card)


def _fault_of_graph(model: Any) -> str | None:
    """What is wrong with a graph that reads other files, loops, branches or is not ONNX's own."""
    onnx = _import("onnx")
    graph, kinds = model.graph, onnx.AttributeProto
    foreign = {node.domain[:80] for node in graph.node} - set(DOMAINS)
    if foreign or model.functions:
        return f"holds operators that are not ONNX's own ({min(foreign, default='functions')})"
    if model.training_info or graph.sparse_initializer:
        return "holds training steps or sparse tensors, which ours never do"
    if unknown := sorted({node.op_type[:80] for node in graph.node} - set(OPERATORS.split())):
        return f"uses the operator {unknown[0]}, which is not among those that are run here"
    if len(graph.node) > MAX_NODES:
        return f"has {len(graph.node):,} operators, more than {MAX_NODES:,}"
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    allowed = (kinds.FLOAT, kinds.INT, kinds.STRING, kinds.TENSOR, kinds.FLOATS, kinds.INTS, kinds.STRINGS)
    for attribute in attributes:
        held = (attribute.g, attribute.graphs, attribute.sparse_tensor, attribute.sparse_tensors, attribute.tensors)
        if attribute.type not in allowed or any(part.ByteSize() if hasattr(part, "ByteSize") else part for part in held):
            return f"has a graph or a sparse tensor inside an operator ({attribute.name[:80]})"
    tensors = [*graph.initializer, *(attribute.t for attribute in attributes if attribute.HasField("t"))]
    if any(tensor.data_location != onnx.TensorProto.DEFAULT or tensor.external_data for tensor in tensors):
        return "keeps its weights in other files, which ours never do"
    return None


def _fault_of_sizes(model: Any, size: int) -> str | None:
    """What is wrong with a graph that takes too much memory or time for a picture of `size` pixels."""
    shapes, nodes = _inferred(model, (1, size, size, 3))
    products = 0
    for node in nodes:
        for name in filter(None, node.output):
            if name not in shapes:
                return f"the size of what its operator {node.op_type} gives cannot be told"
            if math.prod(shapes[name]) > MAX_VALUES:
                return f"its operator {node.op_type} gives {math.prod(shapes[name]):,} values, more than {MAX_VALUES:,}"
        # Each value of a convolution is a sum over its weights, of a matrix product one over a row.
        is_convolution = node.op_type == "Conv"
        summed = shapes.get(node.input[1], ())[1:] if is_convolution else shapes.get(next(iter(node.input), ""), ())[-1:]
        products += math.prod(shapes[node.output[0]]) * math.prod(summed)
    return f"takes {products:,} multiplications, more than {MAX_PRODUCTS:,}" if products > MAX_PRODUCTS else None


def _inferred(model: Any, shape: tuple[int, ...]) -> tuple[dict[str, tuple[int, ...]], Any]:
    """The shape of each value of a graph whose input has this one, as far as ONNX can tell, and its operators."""
    onnx = _import("onnx")
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    (image,) = fixed.graph.input
    del image.type.tensor_type.shape.dim[:]
    for side in shape:
        image.type.tensor_type.shape.dim.add(dim_value=side)
    for output in fixed.graph.output:
        output.type.tensor_type.ClearField("shape")
    _settle_batch(fixed.graph, image.name, shape)
    inferred = onnx.shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    return shapes, inferred.node


def _settle_batch(graph: Any, image: str, shape: tuple[int, ...]) -> None:
    """Replace, in place, what follows from the input's shape by constants: shape inference knows a `Range` by these only."""
    onnx = _import("onnx")
    known = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if math.prod(tensor.dims) <= 8}
    for node in list(graph.node):
        if node.op_type == "Shape" and list(node.input) == [image]:
            options = {attribute.name: attribute.i for attribute in node.attribute}
            value = np.array(shape, dtype=np.int64)[options.get("start", 0) : options.get("end")]
        elif node.op_type in ("Squeeze", "Unsqueeze", "Gather") and node.input and all(name in known for name in node.input):
            (value,) = onnx.reference.ReferenceEvaluator(node).run(None, {name: known[name] for name in node.input})
        else:
            continue
        known[node.output[0]] = np.asarray(value)
        graph.initializer.append(onnx.numpy_helper.from_array(known[node.output[0]], node.output[0]))
        graph.node.remove(node)


def _import(name: str) -> Any:
    """A package that only exported files need; imported late, for time."""
    return import_optional(name, f"{name} is not installed; pip install onnx onnxruntime onnxscript (or -r requirements.txt)")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """For a while nothing but errors is said: what exporters warn of is compared afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)
