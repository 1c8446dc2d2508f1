"""Any sentence-transformers model as ONNX, by way of sentence-transformers and torch themselves.

Only for preparing a model: needs the extra `models`, which brings torch. Supports what the
embedder at run time can honour: one encoder, mean or first-token pooling, a fast tokenizer.
"""

import importlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from tokenizers import Tokenizer

from agent_sidecar.errors import ModelExtraMissing, ModelRejected

# the oldest with LayerNormalization in one operator, the newest the tracing export is sure of
OPSET = 17
# protobuf, and so one ONNX file, ends at 2 GB
LARGEST_BYTES = 2_000_000_000
POOLINGS = ("mean", "cls")
MODULES = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A model as its authors run it, loaded, and found to be of a kind that can be exported."""

    model: Any
    pooling: str
    dimension: int
    max_tokens: int

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Give the original's own vectors, one text at a time as a call would ask for them."""
        vectors: NDArray[np.float32] = self.model.encode(
            list(texts), batch_size=1, convert_to_numpy=True, show_progress_bar=False
        )
        return vectors

    def tokenizer(self) -> Tokenizer:
        """Give a copy that cuts at `max_tokens` and knows what to pad with."""
        backend = self.model.tokenizer.backend_tokenizer
        tokenizer = Tokenizer.from_str(backend.to_str())
        tokenizer.enable_truncation(self.max_tokens)
        tokenizer.enable_padding(
            pad_id=self.model.tokenizer.pad_token_id, pad_token=self.model.tokenizer.pad_token
        )
        return tokenizer


def load_original(model: str) -> Original:
    """Load a hub name or a folder; raises ModelExtraMissing or ModelRejected saying why."""
    sentence_transformers = _from_extra("sentence_transformers")
    try:
        loaded = sentence_transformers.SentenceTransformer(
            # the attention written out: the fused one cannot be traced for any length
            model,
            device="cpu",
            model_kwargs={"attn_implementation": "eager"},
        )
    except Exception as exc:
        raise ModelRejected(
            f"{model} cannot be loaded by sentence-transformers ({exc}): check the name, whether "
            "the hub can be reached, or give a folder that holds the model"
        ) from exc
    _check_modules(model, loaded)
    _check_tokenizer(model, loaded)
    return Original(
        model=loaded.eval(),
        pooling=loaded[1].pooling_mode,
        dimension=int(loaded.get_embedding_dimension()),
        max_tokens=int(loaded.max_seq_length),
    )


def export_original(original: Original) -> onnx.ModelProto:
    """Trace encoder, pooling and normalisation to one float32 model, free in batch and length.

    Vectors get length 1 even where the original leaves them longer: only directions are compared.
    """
    torch = _from_extra("torch")
    examples = original.model.tokenizer(
        ["a longer example, so that the other is padded", "short"],
        padding=True,
        return_tensors="pt",
    )
    axes = {0: "batch", 1: "seq"}
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # the tracing export is deprecated and says so at every step; the parity check judges it
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _encoder(torch, original),
            (examples["input_ids"], examples["attention_mask"]),
            file,
            input_names=["input_ids", "attention_mask"],
            output_names=["embedding"],
            dynamic_axes={
                "input_ids": axes,
                "attention_mask": axes,
                "embedding": {0: "batch"},
            },
            opset_version=OPSET,
            dynamo=False,
        )
    return onnx.load_model_from_string(file.getvalue())


def _from_extra(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        raise ModelExtraMissing(
            f"preparing a model other than the default needs {exc.name or module}: "
            "pip install -c constraints.txt '.[models]'"
        ) from exc


def _check_modules(model: str, loaded: Any) -> None:
    kinds = [type(module).__name__ for module in loaded]
    if kinds not in ([*MODULES], [*MODULES[:2]]):
        raise ModelRejected(
            f"{model} is made of {', '.join(kinds)}; only Transformer, Pooling and, if wanted, "
            "Normalize can be prepared"
        )
    if loaded[1].pooling_mode not in POOLINGS:
        raise ModelRejected(
            f"{model} pools by {loaded[1].pooling_mode!r}; only {' or '.join(POOLINGS)} can be "
            "prepared"
        )
    if loaded.default_prompt_name is not None:
        raise ModelRejected(
            f"{model} puts the prompt {loaded.default_prompt_name!r} before every text, which is "
            "not supported: choose a model without"
        )
    weight_bytes = sum(weight.numel() for weight in loaded.parameters()) * 4
    if weight_bytes > LARGEST_BYTES:
        raise ModelRejected(
            f"{model} has {weight_bytes / 1e9:.1f} GB of weights; at most "
            f"{LARGEST_BYTES / 1e9:.0f} GB fit one ONNX file"
        )


def _check_tokenizer(model: str, loaded: Any) -> None:
    if getattr(loaded.tokenizer, "backend_tokenizer", None) is None:
        raise ModelRejected(f"{model} has no fast tokenizer (tokenizer.json)")
    if loaded.tokenizer.padding_side != "right" or loaded.tokenizer.pad_token_id is None:
        raise ModelRejected(f"{model} does not pad on the right; such a model cannot be prepared")
    if not loaded.max_seq_length:
        raise ModelRejected(f"{model} does not say its max_seq_length")


def _encoder(torch: Any, original: Original) -> Any:
    class Encoder(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.transformer = original.model[0].auto_model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            hidden = self.transformer(
                input_ids=input_ids, attention_mask=attention_mask
            ).last_hidden_state
            if original.pooling == "cls":
                pooled = hidden[:, 0]
            else:
                mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
                pooled = (hidden * mask).sum(1) / mask.sum(1)
            return torch.nn.functional.normalize(pooled, p=2, dim=1)

    return Encoder().eval()
