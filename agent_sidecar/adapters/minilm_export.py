"""all-MiniLM-L6-v2 as ONNX straight from its weights file, without torch.

Writes the plain graph of a BERT encoder, mean pooling over the real tokens, and length 1: standard
operators in float32, so that only a later quantisation can make a difference to the original.
"""

from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors import SafetensorError
from safetensors.numpy import load_file

from agent_sidecar.errors import ModelRejected

CONFIG_FILE = "config.json"
SENTENCE_CONFIG_FILE = "sentence_bert_config.json"

INPUT_IDS = "input_ids"
ATTENTION_MASK = "attention_mask"
EMBEDDING = "embedding"

# what onnxruntime 1.31 reads; Gelu needs 20
OPSET = 20
IR_VERSION = 10
# added to the attention scores of padding: its softmax is then exactly 0
MASKED_OUT = -1e9

Config = TypeVar("Config")


class BertConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What of `config.json` the graph depends on."""

    hidden_size: int
    num_attention_heads: int
    num_hidden_layers: int
    layer_norm_eps: float
    hidden_act: str
    model_type: str


class SentenceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where sentence-transformers cuts a text: earlier than the 512 tokens BERT could take."""

    max_seq_length: int


def read_max_tokens(weights_dir: Path) -> int:
    """Raise ModelRejected naming the file when it does not say."""
    return _read_config(weights_dir / SENTENCE_CONFIG_FILE, SentenceConfig).max_seq_length


def export_encoder(weights_file: Path) -> onnx.ModelProto:
    """Give the float32 model: token ids and mask, both [batch, seq], to embedding [batch, D].

    Raises ModelRejected, naming the file, when it and its `config.json` are no BERT of this kind.
    """
    config_file = weights_file.parent / CONFIG_FILE
    config = _read_config(config_file, BertConfig)
    if (config.model_type, config.hidden_act) != ("bert", "gelu"):
        raise ModelRejected(
            f"{config_file}: model_type {config.model_type!r} with hidden_act "
            f"{config.hidden_act!r} is not the kind of BERT that this export writes"
        )
    try:
        graph = _EncoderGraph(config, load_file(weights_file))
        hidden = graph.embed_tokens()
        for layer in range(config.num_hidden_layers):
            prefix = f"encoder.layer.{layer}"
            hidden = graph.transform(graph.attend(hidden, prefix), prefix)
        graph.pool(hidden)
    except (OSError, SafetensorError) as exc:
        raise ModelRejected(f"{weights_file} cannot be read: {exc}") from exc
    except KeyError as exc:
        raise ModelRejected(f"{weights_file} holds no tensor {exc}") from exc
    model = graph.finish()
    onnx.checker.check_model(model)
    return model


def _read_config(file: Path, kind: type[Config]) -> Config:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as exc:
        raise ModelRejected(f"{file} cannot be read: {exc}") from exc


class _EncoderGraph:
    """Collects nodes and constants; each method appends its part and names the value it ends in."""

    def __init__(self, config: BertConfig, weights: dict[str, NDArray[np.float32]]) -> None:
        self._config = config
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        heads = config.num_attention_heads
        # 0 keeps the length that the input has there
        self._to_heads = self._integers(0, 0, heads, config.hidden_size // heads)
        self._from_heads = self._integers(0, 0, config.hidden_size)
        self._scale = self._scalar(1.0 / np.sqrt(config.hidden_size // heads))
        self._mask = self._op("Cast", ATTENTION_MASK, to=TensorProto.FLOAT)
        padding = self._op("Sub", self._scalar(1.0), self._mask)
        self._score_bias = self._op(
            "Unsqueeze",
            self._op("Mul", padding, self._scalar(MASKED_OUT)),
            self._integers(1, 2),
        )

    def embed_tokens(self) -> str:
        """Word + position + the one segment type a single sentence has, normalised."""
        words = self._op("Gather", self._weight("embeddings.word_embeddings.weight"), INPUT_IDS)
        length = self._op("Gather", self._op("Shape", INPUT_IDS), self._integers(1), axis=0)
        positions = self._op(
            "Slice",
            self._weight("embeddings.position_embeddings.weight"),
            self._integers(0),
            length,
            self._integers(0),
        )
        segment = self._constant(self._weights["embeddings.token_type_embeddings.weight"][0])
        summed = self._op("Add", self._op("Add", words, segment), positions)
        return self._normalise(summed, "embeddings.LayerNorm")

    def attend(self, hidden: str, prefix: str) -> str:
        """Self-attention of one layer, with its residual and norm."""
        query, key, value = (
            self._op(
                "Transpose",
                self._op(
                    "Reshape",
                    self._dense(hidden, f"{prefix}.attention.self.{part}"),
                    self._to_heads,
                ),
                # the key comes out transposed for the product with the query
                perm=[0, 2, 3, 1] if part == "key" else [0, 2, 1, 3],
            )
            for part in ("query", "key", "value")
        )
        scores = self._op("Mul", self._op("MatMul", query, key), self._scale)
        shares = self._op("Softmax", self._op("Add", scores, self._score_bias), axis=-1)
        mixed = self._op("Transpose", self._op("MatMul", shares, value), perm=[0, 2, 1, 3])
        output = self._dense(
            self._op("Reshape", mixed, self._from_heads), f"{prefix}.attention.output.dense"
        )
        return self._normalise(
            self._op("Add", output, hidden), f"{prefix}.attention.output.LayerNorm"
        )

    def transform(self, hidden: str, prefix: str) -> str:
        """Apply one layer's two dense steps to each token, with residual and norm."""
        wide = self._op("Gelu", self._dense(hidden, f"{prefix}.intermediate.dense"))
        output = self._dense(wide, f"{prefix}.output.dense")
        return self._normalise(self._op("Add", output, hidden), f"{prefix}.output.LayerNorm")

    def pool(self, hidden: str) -> None:
        """Average over the tokens that are no padding, scaled to length 1."""
        mask = self._op("Unsqueeze", self._mask, self._integers(2))
        tokens = self._integers(1)
        total = self._op("ReduceSum", self._op("Mul", hidden, mask), tokens, keepdims=0)
        mean = self._op("Div", total, self._op("ReduceSum", mask, tokens, keepdims=0))
        self._nodes.append(
            helper.make_node("LpNormalization", [mean], [EMBEDDING], axis=1, p=2, name="unit")
        )

    def finish(self) -> onnx.ModelProto:
        batch = ["batch", "seq"]
        graph = helper.make_graph(
            self._nodes,
            "sentence_encoder",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, batch)
                for name in (INPUT_IDS, ATTENTION_MASK)
            ],
            [
                helper.make_tensor_value_info(
                    EMBEDDING, TensorProto.FLOAT, ["batch", self._config.hidden_size]
                )
            ],
            self._constants,
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )

    def _dense(self, value: str, name: str) -> str:
        # the file holds [out, in], MatMul wants [in, out]
        kernel = self._constant(self._weights[f"{name}.weight"].T)
        return self._op("Add", self._op("MatMul", value, kernel), self._weight(f"{name}.bias"))

    def _normalise(self, value: str, name: str) -> str:
        return self._op(
            "LayerNormalization",
            value,
            self._weight(f"{name}.weight"),
            self._weight(f"{name}.bias"),
            axis=-1,
            epsilon=self._config.layer_norm_eps,
        )

    def _weight(self, name: str) -> str:
        return self._constant(self._weights[name])

    def _integers(self, *values: int) -> str:
        return self._constant(np.array(values, np.int64))

    def _scalar(self, value: float) -> str:
        return self._constant(np.array(value, np.float32))

    def _constant(self, values: NDArray[np.float32] | NDArray[np.int64]) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(kind, list(inputs), [output], name=output, **attributes)
        )
        return output
